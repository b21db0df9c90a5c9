// The text on the page: characters as spans, their shades, and a tooltip of their alternatives.

export const MOST_BITS = 8; // surprise at which the shade is full

const decoder = new TextDecoder();

function bits(logProbability) {
  return -logProbability / Math.LN2;
}

// A character as the tooltip shows it; bytes and white space are escaped.
function look(bytes) {
  const names = { 9: "\\t", 10: "\\n", 13: "\\r", 32: "space" };
  if (bytes.length === 1 && names[bytes[0]]) return names[bytes[0]];
  const text = decoder.decode(bytes);
  const printable = !text.includes("\ufffd") && bytes[0] >= 0x20 && bytes[0] !== 0x7f;
  if (printable) return text;
  return Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
}

// Shows characters as spans. A code point of several bytes is one span, even where each byte is a
// character to the model.
export class Text {
  constructor(element, tooltip) {
    this.element = element;
    this.tooltip = tooltip;
    this.surprising = true; // whether characters are shaded as they come
    this.clear();
    element.addEventListener("pointerover", (event) => this.choose(event.target));
    element.addEventListener("pointerleave", () => this.choose(null));
    element.addEventListener("blur", () => this.choose(null));
    element.addEventListener("keydown", (event) => this.step(event));
  }

  clear() {
    this.element.replaceChildren();
    this.spans = new Map(); // the characters of each span
    this.characters = [];
    this.pending = [];
    this.decoder = new TextDecoder();
    this.chosen = null;
    this.tooltip.hidden = true;
  }

  // Adds characters at the end; `kind` is "prompt" or "".
  add(characters, kind = "") {
    for (const character of characters) {
      this.characters.push(character);
      this.pending.push(character);
      const shown = this.decoder.decode(character.bytes, { stream: true });
      if (shown) this.show(shown, kind); // otherwise more bytes belong to it
    }
  }

  // Shows the bytes of an incomplete code point at the end of a text.
  end() {
    const shown = this.decoder.decode();
    if (shown) this.show(shown);
  }

  show(shown, kind = "") {
    const span = document.createElement("span");
    span.textContent = shown;
    span.classList.toggle("prompt", kind === "prompt");
    this.spans.set(span, this.pending);
    if (this.surprising) shadeBySurprise(span, this.pending);
    this.pending = [];
    this.element.append(span);
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

  // Shows the alternatives to a character.
  choose(span) {
    this.chosen?.classList.remove("chosen");
    this.chosen = this.spans.has(span) ? span : null;
    this.tooltip.hidden = !this.chosen;
    if (!this.chosen) return;
    span.classList.add("chosen");
    this.tooltip.replaceChildren(...this.spans.get(span).map(table));
    const { left, bottom } = span.getBoundingClientRect();
    const most = document.documentElement.clientWidth - this.tooltip.offsetWidth - 8;
    this.tooltip.style.left = `${scrollX + Math.max(8, Math.min(left, most))}px`;
    this.tooltip.style.top = `${scrollY + bottom + 6}px`;
  }

  step(event) {
    const way = { ArrowRight: "nextSibling", ArrowLeft: "previousSibling" }[event.key];
    if (!way) return;
    event.preventDefault();
    const end = way === "nextSibling" ? this.element.firstChild : this.element.lastChild;
    this.choose(this.chosen ? (this.chosen[way] ?? this.chosen) : end);
  }
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

function table({ bytes, logProbability, alternatives }) {
  const made = document.createElement("table");
  const caption = made.createCaption();
  caption.textContent = `${look(bytes)}, ${bits(logProbability).toFixed(2)} bits`;
  const same = (other) => look(other.bytes) === look(bytes);
  const rows = [...alternatives];
  if (!rows.some(same)) rows.push({ bytes, logProbability });
  for (const one of rows) {
    const row = made.insertRow();
    row.classList.toggle("taken", same(one));
    row.insertCell().textContent = look(one.bytes);
    const bar = document.createElement("i");
    const share = 100 * Math.exp(one.logProbability);
    bar.style.setProperty("--share", share);
    row.insertCell().append(bar);
    row.insertCell().textContent = `${share.toFixed(share < 1 ? 2 : 1)}%`;
  }
  return made;
}
