// The list of what was done in this browser. A browser that keeps nothing is told of, and no obstacle.

import { $, badge, button, day, el, seconds, showError } from "./dom.js";
import { entries, forget, forgetAll, keep } from "./history.js";

const SAVED_AFTER_MS = 400;
const forgotten = new Set();
const rows = new Map(); // of each entry's id: the entry, and where the list shows its text
let [pending, onOpen, onForgotten] = [null, null, null];

/** Do something with the history; what fails is told where the history is. */
async function attempt(work) {
  try {
    await work();
    showError($("history-error"), null);
  } catch (error) {
    const why = error?.message || String(error);
    showError($("history-error"), new Error(`This browser cannot keep the history: ${why}`));
  }
}

const start = (entry) => entry.doc.text.slice(0, 160) || "(nobody speaks)";

/** Keep an entry that is new. */
export const remember = (entry) =>
  attempt(async () => {
    await keep(entry);
    await list();
  });

/** Keep an entry as it is now, unless somebody deleted it: in a moment, with what is written until then. */
export function changed(entry) {
  if (pending && pending.entry.id !== entry.id) saveNow();
  clearTimeout(pending?.timer);
  pending = { entry, timer: setTimeout(saveNow, SAVED_AFTER_MS) };
}

function saveNow() {
  const { entry, timer } = pending;
  clearTimeout(timer);
  pending = null;
  if (forgotten.has(entry.id)) return;
  attempt(async () => {
    await keep(entry);
    const row = rows.get(entry.id);
    if (!row) return;
    row.entry = entry;
    row.text.textContent = start(entry);
  });
}

function markForgotten(ids) {
  ids.forEach((id) => forgotten.add(id));
  if (pending && forgotten.has(pending.entry.id)) {
    clearTimeout(pending.timer);
    pending = null;
  }
  onForgotten((id) => forgotten.has(id));
}

function rowOf(entry) {
  const remove = () =>
    attempt(async () => {
      await forget(entry.id);
      markForgotten([entry.id]);
      await list();
    });
  const row = { entry, text: el("p", { class: "item-text", text: start(entry) }) };
  rows.set(entry.id, row);
  return el(
    "li",
    { class: "item" },
    el(
      "div",
      { class: "item-head" },
      el("span", { class: "item-name", text: entry.name }),
      el("span", {
        class: "help",
        text: `${day(entry.created)} · ${entry.options.model} · ${seconds(entry.doc.duration)}`,
      }),
      badge(entry.doc.language),
      button("Open", () => onOpen(row.entry), { class: "small", "aria-label": `Open ${entry.name}` }),
      button("Delete", remove, { class: "small quiet danger", "aria-label": `Delete ${entry.name}` }),
    ),
    row.text,
  );
}

async function list() {
  const all = await entries();
  $("history-clear").hidden = all.length === 0;
  rows.clear();
  const drawn = all.map(rowOf);
  $("history").replaceChildren(
    ...(drawn.length ? drawn : [el("li", { class: "empty", text: "Nothing yet." })]),
  );
}

export const listHistory = () => attempt(list);

/** `open(entry)` shows an entry; `gone(isForgotten)` is called when some were deleted. */
export function initHistory(open, gone) {
  [onOpen, onForgotten] = [open, gone];
  $("history-clear").addEventListener("click", () => {
    if (!confirm("Delete all transcripts that this browser keeps?")) return;
    attempt(async () => {
      await forgetAll();
      markForgotten([...rows.keys()]);
      await list();
    });
  });
}
