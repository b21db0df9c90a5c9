// The page for speech: records or takes a file, and shows its spectrogram and what is recognized.

import { toBase64 } from "./ask.js";
import { decode, encodeWav, Recording } from "./audio.js";
import { attempt, chosenModel, field, listModels, replaceAction } from "./page.js";

const SECONDS = 20; // of the longest recording
const QUIET = -2; // standard deviations that are white, and
const LOUD = 3; // that are black

let recording = null; // while one is made
let isAsking = false; // whether the browser asks if the page may record

// Returns a function that calls signatures of the chosen model, and what its recordings must be.
async function openRecognizer(signal) {
  const model = chosenModel();
  const call = (signature, audio) => model.predict("", signature, { audio }, signal);
  const { sample_rate, max_seconds } = await call("spectrogram", []);
  return { call, rate: sample_rate, seconds: max_seconds };
}

async function recognize(samples, { call, rate }, signal) {
  const wav = encodeWav(samples, rate);
  const audio = [toBase64(wav)];
  const [{ spectrogram }, { text, times }] = await Promise.all([
    call("spectrogram", audio),
    call("recognize", audio),
  ]);
  if (signal.aborted) return;
  show(spectrogram[0], text[0], times[0], samples.length / rate);
  URL.revokeObjectURL(field.audio.src);
  field.audio.src = URL.createObjectURL(new Blob([wav], { type: "audio/wav" }));
}

function show(frames, text, times, seconds) {
  draw(frames);
  field.said.textContent = text || "Nothing was recognized.";
  field.duration.textContent = `${seconds.toFixed(2)} s`;
  const characters = [...text].map((character, position) => {
    const mark = document.createElement("span");
    mark.textContent = character;
    mark.style.left = `${(100 * times[position]) / seconds}%`;
    mark.title = `${times[position].toFixed(2)} s`;
    return mark;
  });
  field.times.replaceChildren(...characters);
  field.heard.hidden = false;
}

function draw(frames) {
  const [width, height] = [frames.length, frames[0].length];
  Object.assign(field.spectrogram, { width, height });
  const context = field.spectrogram.getContext("2d");
  const image = context.createImageData(width, height);
  frames.forEach((bands, x) =>
    bands.forEach((value, band) => {
      const grey = 255 * (1 - (value - QUIET) / (LOUD - QUIET));
      image.data.set([grey, grey, grey, 255], 4 * ((height - 1 - band) * width + x));
    }),
  );
  context.putImageData(image, 0, 0);
}

async function record() {
  const signal = replaceAction();
  let sound, recognizer;
  showAsking(true);
  try {
    recognizer = await openRecognizer(signal);
    const begun = await Recording.begin(Math.min(SECONDS, recognizer.seconds));
    showAsking(false);
    if (signal.aborted) return begun.stop(); // a file was chosen meanwhile
    recording = begun;
    field.record.textContent = "Stop";
    sound = await recording.sound;
  } finally {
    showAsking(false);
    recording = null;
    field.record.textContent = "Record";
  }
  if (signal.aborted) return;
  const { rate, seconds } = recognizer;
  // A recording ends somewhat after its time.
  const samples = await decode(sound, rate, Infinity);
  await recognize(samples.subarray(0, Math.floor(seconds * rate)), recognizer, signal);
}

// The button keeps the focus, which it would lose if it were disabled.
function showAsking(isSo) {
  isAsking = isSo;
  field.record.setAttribute("aria-disabled", isSo);
}

async function take(file) {
  recording?.stop();
  const signal = replaceAction();
  const recognizer = await openRecognizer(signal);
  const samples = await decode(file, recognizer.rate, recognizer.seconds);
  await recognize(samples, recognizer, signal);
}

field.request.addEventListener("submit", (event) => {
  event.preventDefault();
  if (recording) recording.stop();
  else if (!isAsking) attempt(record);
});
field.file.addEventListener("change", () => {
  const [file] = field.file.files;
  field.file.value = ""; // so that the same file can be chosen again
  if (file) attempt(() => take(file));
});
listModels();
