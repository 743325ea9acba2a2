// Texts and times as the server's Python sees them: white space, rounding, letters. Pure.

export const SPACE = /(?:[^\S\ufeff]|[\x1c-\x1f\x85])+/u;
const TIDY = /^[!-~]+(?: [!-~]+)*$/; // most texts are: hours of them are to be quick

/** Round half to even, as Python does. */
export function rounded(value) {
  const low = Math.floor(value);
  if (value - low === 0.5) return low % 2 ? low + 1 : low;
  return Math.round(value);
}

/** Round a time to whole milliseconds: in binary only sixteenths of a second can be halves of one. */
export const toMilliseconds = (time_s) =>
  Number.isInteger(time_s * 16) ? rounded(time_s * 1000) / 1000 : Number(time_s.toFixed(3));

export const milliseconds = (time_s) => rounded(Math.max(time_s, 0) * 1000);
export const pad = (value, width) => String(value).padStart(width, "0");
export const parts = (text) => text.split(SPACE).filter(Boolean);
export const isSpace = (text, at) => !(text[at] > " " && text[at] <= "~") && SPACE.test(text.charAt(at));

export function trimmed(text) {
  let [begin, end] = [0, text.length];
  while (begin < end && isSpace(text, begin)) begin += 1;
  while (end > begin && isSpace(text, end - 1)) end -= 1;
  return text.slice(begin, end);
}

/** How many letters a text has: code points, not halves of them. */
export const letters = (text) => {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
};

export function oneLine(text) {
  const bare = text.startsWith(" ") ? text.slice(1) : text;
  if (TIDY.test(bare) && !bare.includes("-->")) return bare;
  let line = parts(text).join(" ");
  while (line.includes("-->")) line = line.replaceAll("-->", "->");
  return line;
}
