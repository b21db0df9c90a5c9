// The text on the page: characters as spans, their shades, and which of them shows alternatives.

import { bits, look, openPopup, spoken } from "./alternatives.js";

export const MOST_BITS = 8; // surprise at which the shade is full

const asIs = { ignoreBOM: true }; // which means that a byte order mark is kept
const encoder = new TextEncoder();

// Shows characters as spans. A code point of several bytes is one span, even where each byte is a
// character to the model.
//
// One span at a time is a tab stop, from which arrow keys go to the others. The popup shows the
// alternatives of the span that the pointer is on, or else of the one that was opened by a tap or a
// key, which `status` announces.
export class Text {
  constructor(element, popup, status) {
    this.element = element;
    this.popup = popup;
    this.status = status;
    this.surprising = true; // whether characters are shaded as they come
    this.clear();
    element.addEventListener("pointerover", (event) => this.hover(event));
    element.addEventListener("pointerleave", () => this.show(this.opened));
    element.addEventListener("click", (event) => this.toggle(event.target));
    element.addEventListener("focusin", (event) => this.makeStop(event.target));
    element.addEventListener("focusout", (event) => this.leave(event));
    element.addEventListener("keydown", (event) => this.press(event));
  }

  clear() {
    this.close();
    this.element.replaceChildren();
    this.spans = new Map(); // the characters of each span
    this.characters = [];
    this.pending = [];
    this.decoder = new TextDecoder("utf-8", asIs);
    this.stop = null; // the span that is a tab stop
  }

  // Adds characters at the end; `kind` is "prompt" or "".
  add(characters, kind = "") {
    for (const character of characters) {
      this.characters.push(character);
      this.pending.push(character);
      const shown = this.decoder.decode(character.bytes, { stream: true });
      if (shown) this.append(shown, kind); // otherwise more bytes belong to it
    }
  }

  // Shows the bytes of an incomplete code point at the end of a text.
  end() {
    const shown = this.decoder.decode();
    if (shown) this.append(shown);
  }

  append(shown, kind = "") {
    const span = document.createElement("span");
    span.textContent = shown;
    span.classList.toggle("prompt", kind === "prompt");
    this.spans.set(span, this.pending);
    if (this.surprising) shadeBySurprise(span, this.pending);
    this.pending = [];
    this.element.append(span);
    if (!this.stop) this.makeStop(span);
  }

  // Shades each character by its surprise, -log2 p.
  shadeBySurprise() {
    for (const [span, characters] of this.spans) shadeBySurprise(span, characters);
  }

  // Shades by a number from -1 to 1 for each of the last characters.
  shadeBy(values) {
    let end = values.length - this.pending.length;
    for (const [span, characters] of [...this.spans].reverse()) {
      shade(span, end > 0 ? values[end - 1] : 0);
      end -= characters.length;
    }
  }

  // A finger hovers over nothing: it taps, which is a click.
  hover({ target, pointerType }) {
    if (pointerType !== "touch") this.show(this.spans.has(target) ? target : this.opened);
  }

  // Shows the alternatives of a span; null for none.
  show(span) {
    this.shown?.classList.remove("chosen");
    this.shown = span;
    this.popup.hidden = !span;
    if (!span) return;
    span.classList.add("chosen");
    openPopup(this.popup, span, this.spans.get(span));
  }

  // Keeps the alternatives of a span open, and announces them.
  open(span) {
    if (document.activeElement !== span) {
      this.makeStop(span);
      span.focus();
    }
    this.opened = span;
    span.setAttribute("aria-expanded", "true");
    this.show(span);
    this.status.textContent = spoken(this.spans.get(span));
  }

  // Closes the popup; returns whether it was open.
  close() {
    const { shown } = this;
    this.opened = null;
    this.stop?.setAttribute("aria-expanded", "false");
    this.show(null);
    this.status.textContent = "";
    return Boolean(shown);
  }

  toggle(span) {
    if (this.spans.has(span) && this.opened !== span) this.open(span);
    else this.close();
  }

  leave({ relatedTarget }) {
    if (!this.spans.has(relatedTarget)) this.close();
  }

  // Makes a span the tab stop. Only this one is a button, so that the rest reads as a text.
  makeStop(span) {
    if (!this.spans.has(span) || span === this.stop) return;
    const name = look(encoder.encode(span.textContent)); // white space would be no name
    const attributes = {
      tabindex: 0,
      role: "button",
      "aria-label": name,
      "aria-expanded": false,
      "aria-controls": this.popup.id,
    };
    for (const key of Object.keys(attributes)) this.stop?.removeAttribute(key);
    for (const [key, value] of Object.entries(attributes)) span.setAttribute(key, value);
    this.stop = span;
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.spans.has(event.target)) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.toggle(event.target);
      return;
    }
    const next = this.neighbour(event.target, event.key);
    if (next === undefined) return;
    event.preventDefault();
    if (!next) return;
    const wasOpen = this.opened;
    this.makeStop(next);
    next.focus();
    if (wasOpen) this.open(next);
  }

  // Returns where a key leads: null for nowhere, undefined for a key that leads to no character.
  neighbour(span, key) {
    switch (key) {
      case "ArrowRight":
        return span.nextSibling;
      case "ArrowLeft":
        return span.previousSibling;
      case "ArrowDown":
        return onNextLine(span, "nextSibling");
      case "ArrowUp":
        return onNextLine(span, "previousSibling");
      case "Home":
        return this.element.firstChild;
      case "End":
        return this.element.lastChild;
    }
  }
}

// Returns the nearest character on the next line in a direction; null where there is none.
function onNextLine(span, way) {
  const place = (one) => one.getBoundingClientRect();
  const from = place(span);
  const distance = (one) => Math.abs(place(one).left - from.left);
  const isApart = (one, other) => Math.abs(place(one).top - place(other).top) > from.height / 2;
  let best = span[way];
  while (best && !isApart(best, span)) best = best[way];
  for (let one = best?.[way]; one && !isApart(one, best); one = one[way]) {
    if (distance(one) < distance(best)) best = one;
  }
  return best;
}

function shadeBySurprise(span, characters) {
  const total = characters.reduce((sum, one) => sum + bits(one.logProbability), 0);
  shade(span, Math.min(1, total / MOST_BITS));
}

function shade(span, value) {
  span.classList.toggle("high", value > 0);
  span.classList.toggle("low", value < 0);
  span.style.setProperty("--share", `${Math.round(100 * Math.abs(value))}%`);
}
