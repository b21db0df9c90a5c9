// What all pages have: their elements by id, and where they say what went wrong.

import { form, models, openModel, Problem } from "./server.js";

export const field = Object.fromEntries(
  [...document.querySelectorAll("[id]")].map((element) => [element.id, element]),
);

// Shows an error, or that there is none.
function complain(error) {
  field.problem.textContent = error?.message ?? "";
  field.problem.hidden = !error;
  if (error) field.problem.scrollIntoView({ block: "nearest" });
}

// Runs an action for the user, and shows its error in place of an earlier one.
export function attempt(action) {
  complain(null);
  return report(action);
}

let newest = new AbortController(); // of the action whose outcome the page is to show

// Returns the signal of a new action, which ends those before it.
export function replaceAction() {
  newest.abort();
  newest = new AbortController();
  return newest.signal;
}

// Lists the models of the server, for pages that need nothing else of the form.
export function listModels() {
  return attempt(async () => {
    await form();
    field.model.replaceChildren(...(await models()).map((name) => new Option(name)));
  });
}

// Returns the chosen model, for pages that call its signatures.
export function chosenModel() {
  const model = openModel(field.model.value);
  if (model.predict) return model;
  throw new Problem("A gateway has no such page; open that of the model server itself.");
}

// Runs an action, and shows its error.
export async function report(action) {
  try {
    await action();
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error instanceof Problem) return complain(error);
    console.error(error);
    complain(new Problem("The page does not understand the server's answer; reload the page."));
  }
}
