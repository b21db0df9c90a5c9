// What all pages have: their elements by id, and where they say what went wrong.

import { Problem } from "./server.js";

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
