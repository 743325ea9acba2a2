// Copying that can be seen: the button that was pressed says so for a moment.

import { announce, copy } from "./dom.js";

const SEEN_MS = 2000;
const labels = new WeakMap();

/** Copy a text; `pressed` is the button that is to tell. */
export async function copyShown(text, pressed) {
  if (!labels.has(pressed)) labels.set(pressed, { label: pressed.textContent, timer: 0 });
  const known = labels.get(pressed);
  clearTimeout(known.timer);
  try {
    await copy(text);
    pressed.textContent = "Copied";
  } catch {
    pressed.textContent = "Not copied";
    announce("The browser does not allow copying.");
  }
  known.timer = setTimeout(() => {
    pressed.textContent = known.label;
    labels.delete(pressed);
  }, SEEN_MS);
}
