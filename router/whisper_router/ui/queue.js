// Files and addresses that are to be transcribed, one after the other.

import { copyShown } from "./copying.js";
import { $, announce, badge, button, el, showError } from "./dom.js";
import { options, transcribe } from "./run.js";

const KINDS = {
  waiting: ["waiting", ""],
  running: ["running", "busy"],
  done: ["done", "good"],
  failed: ["failed", "bad"],
  cancelled: ["cancelled", "warn"],
};
const items = [];
let [isRunning, number, onDone] = [false, 0, null];

export function add(source) {
  number += 1;
  const item = { id: number, source, state: "waiting", text: "" };
  items.push(item);
  draw(item);
  update();
  return item;
}

function draw(item) {
  const name = item.source.name;
  item.parts = {
    state: el("span"),
    open: button("Show", () => onDone(item), { class: "small", hidden: true, "aria-label": `Show ${name}` }),
    cancel: button("Cancel", () => cancel(item), { class: "small", "aria-label": `Cancel ${name}` }),
    remove: button("Remove", () => remove(item), { class: "small quiet", "aria-label": `Remove ${name}` }),
    retry: button("Try again", () => retry(item), {
      class: "small",
      hidden: true,
      "aria-label": `Try ${name} again`,
    }),
    stage: el("span", { class: "help number" }),
    bar: el("progress", { max: 100, value: 0, "aria-label": `Progress of ${name}` }),
    text: el("p", { class: "item-text", role: "log", "aria-label": `Text of ${name}`, tabindex: "0" }),
    part: button("Copy the text so far", ({ target }) => copyShown(item.text, target), {
      class: "small",
      hidden: true,
      "aria-label": `Copy what was recognised of ${name}`,
    }),
    error: el("div", { class: "alert", role: "alert", hidden: true }),
  };
  const { state, open, cancel: stop, remove: drop, retry: again, stage, bar, text, part, error } = item.parts;
  item.row = el(
    "li",
    { class: "item" },
    el(
      "div",
      { class: "item-head" },
      el("span", { class: "item-name", text: name }),
      stage,
      state,
      open,
      again,
      stop,
      drop,
    ),
    bar,
    text,
    part,
    error,
  );
  $("queue").append(item.row);
  show(item);
}

function show(item) {
  const [words, kind] = KINDS[item.state];
  const { state, open, cancel: stop, remove: drop, retry: again, bar, text, part, stage } = item.parts;
  state.replaceChildren(badge(words, kind));
  open.hidden = item.state !== "done";
  stop.hidden = bar.hidden = item.state !== "running";
  drop.hidden = item.state === "running";
  again.hidden = !["failed", "cancelled"].includes(item.state);
  const isPart = ["failed", "cancelled"].includes(item.state) && item.text !== "";
  text.hidden = !(item.state === "running" || isPart) || !item.text;
  part.hidden = !isPart;
  if (item.state !== "running") stage.textContent = "";
}

function update() {
  const waiting = items.filter((item) => item.state === "waiting").length;
  $("queue-box").hidden = items.length === 0;
  $("start").disabled = waiting === 0 || isRunning;
  $("start").textContent = isRunning
    ? "Transcribing …"
    : waiting > 1
      ? `Transcribe ${waiting} files`
      : "Transcribe";
  $("clear").hidden = !items.some((item) => !["waiting", "running"].includes(item.state));
}

function remove(item) {
  items.splice(items.indexOf(item), 1);
  item.row.remove();
  update();
}

function retry(item) {
  Object.assign(item, { state: "waiting", text: "" });
  item.parts.text.textContent = "";
  showError(item.parts.error, null);
  show(item);
  update();
}

function cancel(item) {
  item.abort?.abort();
}

async function run(item) {
  const { stage, bar, text, error } = item.parts;
  item.abort = new AbortController();
  item.options = options();
  item.state = "running";
  show(item);
  const onProgress = ({ stage: words, percent }) => {
    const isKnown = percent !== null && percent !== undefined;
    if (isKnown) bar.value = percent;
    else bar.removeAttribute("value");
    stage.textContent = isKnown ? `${words} ${percent.toFixed(percent < 100 ? 1 : 0)} %` : words;
  };
  const onText = (delta) => {
    item.text += delta;
    text.append(delta);
    text.hidden = false;
    text.scrollTop = text.scrollHeight;
  };
  try {
    item.doc = await transcribe(item.source, item.options, { signal: item.abort.signal, onProgress, onText });
    item.state = "done";
    announce(`${item.source.name} is transcribed.`);
  } catch (problem) {
    item.state = problem.name === "AbortError" ? "cancelled" : "failed";
    if (item.state === "failed") showError(error, problem);
  }
  show(item);
}

async function start() {
  isRunning = true;
  for (;;) {
    update();
    const next = items.find((item) => item.state === "waiting");
    if (!next) break;
    await run(next);
    if (next.state === "done") await onDone(next);
  }
  isRunning = false;
  update();
}

/** `finished(item)` is called when an item is done, and when somebody wants to see it again. */
export function initQueue(finished) {
  onDone = finished;
  $("start").addEventListener("click", start);
  $("clear").addEventListener("click", () => {
    for (const item of [...items]) if (!["waiting", "running"].includes(item.state)) remove(item);
  });
}
