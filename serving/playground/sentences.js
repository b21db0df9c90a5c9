// The page between two sentences: asks for those on the line at once, and shows where the slider is.

import { attempt, chosenModel, field, listModels, replaceAction } from "./page.js";
import { toBytes } from "./ask.js";

const COUNT = 17; // sentences on the line; a model takes up to 32

let sentences = []; // on the line, of the last answer

async function interpolate() {
  const inputs = { first: [field.first.value], second: [field.second.value], count: [COUNT] };
  const outputs = await chosenModel().predict("", "interpolate", inputs, replaceAction());
  const texts = Array.isArray(outputs) ? outputs : outputs.texts;
  sentences = texts[0].map((text) => new TextDecoder().decode(toBytes(text)));
  Object.assign(field.place, { max: sentences.length - 1, disabled: false });
  show();
}

function show() {
  const place = field.place.valueAsNumber;
  const share = `${Math.round((100 * place) / (sentences.length - 1))}%`;
  field.share.textContent = share;
  field.place.setAttribute("aria-valuetext", share);
  field.sentence.textContent = sentences[place];
}

field.place.addEventListener("input", show);
field.request.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(interpolate);
});
listModels();
