// The popup of the alternatives to the characters of a span.

const asIs = { ignoreBOM: true }; // which means that a byte order mark is kept
const decoder = new TextDecoder("utf-8", asIs);

export function bits(logProbability) {
  return -logProbability / Math.LN2;
}

// Code points that show nothing of their own, or change how others show: controls, those that
// direct text included, white space, and marks that join what stands before them.
const UNSEEN = /[\p{C}\p{Z}\p{M}]/u;

// A character as the popup shows it: bytes and what cannot be seen are escaped.
export function look(bytes) {
  const names = { 9: "\\t", 10: "\\n", 13: "\\r", 32: "space" };
  if (bytes.length === 1 && names[bytes[0]]) return names[bytes[0]];
  const text = decoder.decode(bytes);
  if (bytes.length === 1 && (text === "\ufffd" || UNSEEN.test(text))) return escaped(bytes);
  if (text.includes("\ufffd") && !isReplacement(bytes)) return escaped(bytes);
  if (!UNSEEN.test(text)) return text;
  const points = Array.from(text, (one) => one.codePointAt(0).toString(16).toUpperCase());
  return points.map((point) => `U+${point.padStart(4, "0")}`).join(" ");
}

function escaped(bytes) {
  return Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
}

// Whether bytes are the replacement character itself, and not what a decoder replaces by it.
function isReplacement(bytes) {
  return String(bytes) === "239,191,189";
}

// Shows the alternatives to the characters of a span below it, or above where there is no room.
export function openPopup(popup, span, characters) {
  popup.replaceChildren(...characters.map(table));
  popup.hidden = false;
  const { left, top, bottom } = span.getBoundingClientRect();
  const { clientWidth, clientHeight } = document.documentElement;
  const most = clientWidth - popup.offsetWidth - 8;
  const above = top - popup.offsetHeight - 6;
  const isBelow = bottom + 6 + popup.offsetHeight <= clientHeight || above < 0;
  popup.style.left = `${scrollX + Math.max(8, Math.min(left, most))}px`;
  popup.style.top = `${scrollY + (isBelow ? bottom + 6 : above)}px`;
}

// Returns the alternatives as a sentence, which a screen reader announces.
export function spoken(characters) {
  return characters
    .map((character) => {
      const rows = rowsOf(character).map((one) => `${look(one.bytes)} ${percent(one)}`);
      return `${title(character)}: ${rows.join(", ")}.`;
    })
    .join(" ");
}

function title({ bytes, logProbability }) {
  return `${look(bytes)}, ${bits(logProbability).toFixed(2)} bits`;
}

function percent({ logProbability }) {
  const share = 100 * Math.exp(logProbability);
  return `${share.toFixed(share < 1 ? 2 : 1)}%`;
}

function isSame(one, other) {
  return look(one.bytes) === look(other.bytes);
}

// The alternatives, to which the character itself is added where it is none of the likeliest.
function rowsOf(character) {
  const { alternatives } = character;
  const isIn = alternatives.some((one) => isSame(one, character));
  return isIn ? alternatives : [...alternatives, character];
}

function table(character) {
  const made = document.createElement("table");
  made.createCaption().textContent = title(character);
  for (const one of rowsOf(character)) {
    const row = made.insertRow();
    row.classList.toggle("taken", isSame(one, character));
    row.insertCell().textContent = look(one.bytes);
    const bar = document.createElement("i");
    bar.style.setProperty("--share", 100 * Math.exp(one.logProbability));
    row.insertCell().append(bar);
    row.insertCell().textContent = percent(one);
  }
  return made;
}
