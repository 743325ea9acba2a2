// The list of what was done in this browser. A browser that keeps nothing is told of, and no obstacle.

import { $, announce, badge, button, day, el, seconds, showError, update } from "./dom.js";
import { entries, entryOf, forget, keep, onOthers } from "./history.js";

const SAVED_AFTER_MS = 400;
const forgotten = new Set();
let listed = []; // ids, as the list shows them
let [pending, told] = [null, null];

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

/** Return a new entry for a transcript. */
export const newEntry = (name, options, doc) => ({
  id: crypto.getRandomValues(new Uint32Array(3)).join("-"),
  created: Date.now(),
  name,
  options,
  doc,
});

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
  if (!pending) return;
  const { entry, timer } = pending;
  clearTimeout(timer);
  pending = null;
  if (forgotten.has(entry.id)) return;
  attempt(async () => {
    await keep(entry);
    await list();
  });
}

function markForgotten(ids) {
  ids.forEach((id) => forgotten.add(id));
  if (pending && forgotten.has(pending.entry.id)) {
    clearTimeout(pending.timer);
    pending = null;
  }
  told.gone((id) => forgotten.has(id));
}

/** Open an entry as it is kept, with what was just written in it. */
const openKept = (id) =>
  attempt(async () => {
    saveNow();
    const entry = await entryOf(id);
    if (entry) told.open(entry);
    else await list(); // another tab has deleted it
  });

/** Delete entries, or all that are kept; the focus goes to what follows them in the list. */
const remove = (chosen = null) =>
  attempt(async () => {
    const ids = chosen ?? (await entries()).map(({ id }) => id); // one may not be listed yet
    const at = listed.indexOf(ids[0]);
    await forget(ids);
    markForgotten(ids);
    await list();
    const left = $("history").querySelectorAll("button[data-action=delete]");
    (left[Math.min(at, left.length - 1)] ?? $("history-title")).focus();
    announce(ids.length === 1 ? "The transcript is deleted." : `${ids.length} transcripts are deleted.`);
  });

function rowOf({ id, created, name, model, start, duration, language }) {
  return el(
    "li",
    { class: "item", "data-key": id },
    el(
      "div",
      { class: "item-head" },
      el("span", { class: "item-name", dir: "auto", text: name }),
      el("span", { class: "help", text: `${day(created)} · ${model} · ${seconds(duration)}` }),
      badge(language),
      button("Open", () => openKept(id), { class: "small", "aria-label": `Open ${name}` }),
      button("Delete", () => remove([id]), {
        class: "small quiet danger",
        dataset: { action: "delete" },
        "aria-label": `Delete ${name}`,
      }),
    ),
    el("p", { class: "item-text", dir: "auto", text: start || "(nobody speaks)" }),
  );
}

async function list() {
  const all = await entries();
  $("history-clear").hidden = all.length === 0;
  listed = all.map(({ id }) => id);
  const nothing = el("li", { class: "empty", text: "Nothing yet." });
  update($("history"), el("ul", {}, ...(all.length ? all.map(rowOf) : [nothing])));
}

export const listHistory = () => attempt(list);

/**
 * `open(entry)` shows an entry; `gone(isForgotten)` is called when some were deleted, `kept(id)` when another
 * tab has kept one.
 */
export function initHistory({ open, gone, kept }) {
  told = { open, gone, kept };
  onOthers(async ({ kept: id, forgotten: ids }) => {
    if (ids) markForgotten(ids);
    await listHistory();
    if (id && pending?.entry.id !== id) attempt(async () => kept(await entryOf(id)));
  });
  addEventListener("pagehide", saveNow);
  $("history-clear").addEventListener("click", () => {
    if (confirm("Delete all transcripts that this browser keeps?")) remove();
  });
}
