// The page for speech: records or takes a file, and shows its spectrogram and what is recognized.

import { toBase64 } from "./ask.js";
import { decode, encodeWav, Recording } from "./audio.js";
import { attempt, field } from "./page.js";
import { form, models, openModel, Problem } from "./server.js";

const SECONDS = 20; // of the longest recording
const QUIET = -2; // standard deviations that are white, and
const LOUD = 3; // that are black

let recording = null; // while one is made

async function recognize(blob) {
  const model = openModel(field.model.value);
  if (!model.predict) {
    throw new Problem("A gateway has no such page; open that of the model server itself.");
  }
  const { sample_rate } = await model.predict("", "spectrogram", { audio: [] });
  const samples = await decode(blob, sample_rate);
  const wav = encodeWav(samples, sample_rate);
  const inputs = { audio: [toBase64(wav)] };
  const [{ spectrogram }, { text, times }] = await Promise.all([
    model.predict("", "spectrogram", inputs),
    model.predict("", "recognize", inputs),
  ]);
  show(spectrogram[0], text[0], times[0], samples.length / sample_rate);
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
  if (recording) return recording.stop();
  recording = await Recording.begin(SECONDS);
  field.record.textContent = "Stop";
  const sound = await recording.sound;
  recording = null;
  field.record.textContent = "Record";
  await recognize(sound);
}

field.request.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(record);
});
field.file.addEventListener("change", () => {
  const [file] = field.file.files;
  if (file) attempt(() => recognize(file));
});
attempt(async () => {
  await form();
  field.model.replaceChildren(...(await models()).map((name) => new Option(name)));
});
