// Sound as a recognizer reads it: one channel at its sample rate, as the content of a WAV file.

import { Problem } from "./ask.js";

const HEADER = 44; // bytes
const SCALE = 1 << 15;
const LARGEST = 64 << 20; // bytes of a file that is decoded

// Returns the samples of sound in any format that the browser knows, at a sample rate.
export async function decode(blob, rate, seconds) {
  if (blob.size > LARGEST) throw new Problem("The file is larger than 64 MiB; cut it.");
  let sound;
  try {
    const context = new OfflineAudioContext(1, 1, rate);
    sound = await context.decodeAudioData(await blob.arrayBuffer());
  } catch {
    throw new Problem("There is no sound that this browser can read; record longer, or give a WAV file.");
  }
  if (sound.duration > seconds) {
    const [lasts, most] = [sound.duration, seconds].map((one) => one.toFixed(1));
    throw new Problem(`The recording lasts ${lasts} seconds, and the model takes ${most}; cut it.`);
  }
  const samples = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel++) {
    sound.getChannelData(channel).forEach((value, at) => {
      samples[at] += value / sound.numberOfChannels;
    });
  }
  return samples;
}

// Returns samples as the content of a WAV file of 16-bit PCM.
export function encodeWav(samples, rate) {
  const view = new DataView(new ArrayBuffer(HEADER + 2 * samples.length));
  const tag = (at, text) => [...text].forEach((one, i) => view.setUint8(at + i, one.charCodeAt(0)));
  tag(0, "RIFF");
  view.setUint32(4, view.byteLength - 8, true);
  tag(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // bytes of the format
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true); // bytes per second
  view.setUint16(32, 2, true); // bytes per sample
  view.setUint16(34, 16, true); // bits
  tag(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, at) => {
    const rounded = Math.round(value * SCALE);
    view.setInt16(HEADER + 2 * at, Math.min(Math.max(rounded, -SCALE), SCALE - 1), true);
  });
  return new Uint8Array(view.buffer);
}

// Records from the microphone until `stop` is called, or for some seconds.
export class Recording {
  static async begin(seconds) {
    if (!navigator.mediaDevices) {
      throw new Problem("Browsers record for pages of localhost and over HTTPS only; give a file.");
    }
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      return new Recording(stream, seconds);
    } catch {
      end(stream);
      throw new Problem("There is no microphone that this page may use; allow it, or give a file.");
    }
  }

  constructor(stream, seconds) {
    const recorder = new MediaRecorder(stream);
    this.stop = () => recorder.state === "recording" && recorder.stop();
    // Resolves to the sound once it has ended.
    this.sound = new Promise((resolve) => {
      const parts = [];
      recorder.addEventListener("dataavailable", ({ data }) => parts.push(data));
      recorder.addEventListener("stop", () => {
        end(stream);
        resolve(new Blob(parts, { type: recorder.mimeType }));
      });
    });
    recorder.start();
    setTimeout(this.stop, 1000 * seconds);
  }
}

// Releases the microphone.
function end(stream) {
  stream?.getTracks().forEach((track) => track.stop());
}
