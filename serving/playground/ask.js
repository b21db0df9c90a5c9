// Sends requests to the server of this page, whichever it is, and reads what both kinds answer.

export const ALTERNATIVES = 8; // of each character that is generated

const ROOT = new URL("..", import.meta.url);
// HTTP/2 has no words for a status, and these are what proxies answer.
const WORDS = {
  429: "Too Many Requests",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};

export const encoder = new TextEncoder();

// What the user is to read; the message is a sentence.
export class Problem extends Error {}

// Returns the object that the server answers with.
export async function ask(path, body, signal) {
  const response = await send(path, body, signal);
  const answer = parse(await reached(response.text()));
  if (!response.ok) throw new Problem(refusal(response, answer));
  if (!answer) throw new Problem("The answer is not JSON; it may be that of a proxy on the way.");
  return answer;
}

// Yields the objects of an answer in server-sent events.
export async function* askForEvents(path, body, signal) {
  const response = await send(path, body, signal);
  if (!response.ok) throw new Problem(refusal(response, parse(await reached(response.text()))));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let unread = "";
  try {
    for (;;) {
      const { done, value } = await reached(reader.read());
      if (done) throw new Problem("The answer ended before the text did; try again.");
      const events = (unread + value).split("\n\n");
      unread = events.pop();
      for (const event of events) {
        const data = event.replace(/^data: /, "");
        if (data === "[DONE]") return;
        const answer = parse(data);
        if (answer?.error) throw new Problem(refusal(response, answer));
        yield answer;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function send(path, body, signal) {
  const headers = { "Content-Type": "application/json" };
  const options = body ? { method: "POST", body: toJson(body), headers } : {};
  return reached(fetch(new URL(path, ROOT), { ...options, signal }));
}

// Returns what is promised, with a sentence for the user where the connection breaks.
async function reached(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server cannot be reached; see whether it runs, and try again.");
  }
}

// Converts to JSON as JSON.stringify does, and BigInts, too: integers beyond 2^53 lose no digit.
function toJson(value) {
  if (typeof value === "bigint") return String(value);
  if (Array.isArray(value)) return `[${value.map(toJson).join()}]`;
  if (typeof value !== "object" || !value) return JSON.stringify(value);
  const members = Object.entries(value).map(([key, one]) => `${JSON.stringify(key)}:${toJson(one)}`);
  return `{${members.join()}}`;
}

// Returns the object of a JSON text; null where there is none.
function parse(text) {
  try {
    const parsed = JSON.parse(text);
    return typeof parsed === "object" ? parsed : null;
  } catch {
    return null;
  }
}

// Says in a sentence why there is no answer.
function refusal({ status, statusText }, answer) {
  const said = answer?.error?.message ?? answer?.error;
  if (said && typeof said === "string") {
    const sentence = said[0].toUpperCase() + said.slice(1);
    return /[.!?]$/.test(sentence) ? sentence : `${sentence}.`;
  }
  const words = `${status} ${statusText || (WORDS[status] ?? "")}`.trim();
  const passes = status >= 500 || status === 429;
  return `The server answered ${words}${passes ? "; try again later" : ""}.`;
}

// Converts a JSON string, or base64 of bytes that are not UTF-8, to bytes.
export function toBytes(value) {
  if (typeof value === "string") return encoder.encode(value);
  return Uint8Array.from(atob(value.b64), (character) => character.charCodeAt(0));
}

export function toBase64(bytes) {
  return { b64: btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")) };
}

// Splits text into the model's characters, bytes or code points, of which there are `count`.
export function characters(bytes, count) {
  if (bytes.length === count) return Array.from(bytes, (byte) => Uint8Array.of(byte));
  return Array.from(new TextDecoder().decode(bytes), (one) => encoder.encode(one));
}
