// Files and addresses that are to be transcribed, one after the other.

import { copyShown } from "./copying.js";
import { $, announce, badge, button, el, keepingFocus, mark, save, seconds, showError } from "./dom.js";
import { options, transcribe } from "./run.js";

const KINDS = {
  waiting: ["waiting", ""],
  running: ["running", "busy"],
  paused: ["paused", "warn"],
  done: ["done", "good"],
  failed: ["failed", "bad"],
  cancelled: ["cancelled", "warn"],
};
const FIELDS = {
  model: "t-model",
  language: "t-language",
  prompt: "t-prompt",
  hotwords: "t-hotwords",
  temperature: "t-temperature",
  diarize: "t-diarize",
  diarization: "t-diarize",
  url: "t-url",
};
const LONGEST_PAUSE_S = 900; // a day's limit is told instead
const items = [];
let [isRunning, number, told] = [false, 0, null];

/** Tell whether something would be lost: work that runs or waits for it, or a recording that is nowhere else. */
export const isBusy = () =>
  items.some(
    ({ state, source }) =>
      ["running", "paused"].includes(state) ||
      (state === "waiting" && isRunning) ||
      (state !== "done" && source.isRecorded),
  );
export const count = () => items.length;

export function add(source) {
  number += 1;
  const item = { id: number, source, state: "waiting", text: "" };
  items.push(item);
  draw(item);
  update();
  return item;
}

function draw(item) {
  const { name, file, isRecorded } = item.source;
  const keep = button("Save the audio", () => save(file, name, file.type), {
    class: "small",
    "aria-label": `Save the audio of ${name}`,
  });
  item.parts = {
    state: el("span"),
    open: button("Show", () => told.again(item), {
      class: "small",
      hidden: true,
      "aria-label": `Show ${name}`,
    }),
    cancel: button("Cancel", () => cancel(item), { class: "small", "aria-label": `Cancel ${name}` }),
    remove: button("Remove", () => remove([item]), { class: "small quiet", "aria-label": `Remove ${name}` }),
    retry: button("Try again", () => retry(item), {
      class: "small",
      hidden: true,
      "aria-label": `Try ${name} again`,
    }),
    stage: el("span", { class: "help number" }),
    bar: el("progress", { max: 100, value: 0, "aria-label": `Progress of ${name}` }),
    text: el("p", {
      class: "item-text",
      dir: "auto",
      role: "log",
      "aria-label": `Text of ${name}`,
      tabindex: "0",
    }),
    part: button("Copy the text so far", ({ target }) => copyShown(item.text, target), {
      class: "small",
      hidden: true,
      "aria-label": `Copy what was recognised of ${name}`,
    }),
    error: el("div", { class: "alert", role: "alert", id: `item-error-${item.id}`, hidden: true }),
  };
  const { state, open, cancel: stop, remove: drop, retry: again, stage, bar, text, part, error } = item.parts;
  item.row = el(
    "li",
    { class: "item" },
    el(
      "div",
      { class: "item-head" },
      el("span", { class: "item-name", dir: "auto", text: name }),
      stage,
      state,
      open,
      again,
      stop,
      isRecorded ? keep : null,
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

const buttonsOf = (item) => (item ? [...item.row.querySelectorAll("button")] : []);

/** Show an item as it is; where that hides the button that was pressed, its next one has the focus. */
function show(item) {
  keepingFocus(
    item.row,
    () => showState(item),
    () => [...buttonsOf(item), $("start")],
  );
}

function showState(item) {
  const [words, kind] = KINDS[item.state];
  const { state, open, cancel: stop, remove: drop, retry: again, bar, text, part, stage } = item.parts;
  state.replaceChildren(badge(words, kind));
  open.hidden = item.state !== "done";
  const isUnderWay = ["running", "paused"].includes(item.state);
  stop.hidden = !isUnderWay;
  bar.hidden = item.state !== "running";
  drop.hidden = isUnderWay;
  again.hidden = !["failed", "cancelled"].includes(item.state);
  const isPart = ["failed", "cancelled"].includes(item.state) && item.text !== "";
  text.hidden = !(item.state === "running" || isPart) || !item.text;
  part.hidden = !isPart;
  if (!isUnderWay) stage.textContent = "";
}

const isOver = (item) => ["done", "failed", "cancelled"].includes(item.state);

function update() {
  const waiting = items.filter((item) => item.state === "waiting").length;
  $("queue-box").hidden = items.length === 0;
  $("start").ariaDisabled = String(waiting === 0 || isRunning); // not `disabled`, which would let the focus fall
  $("start").textContent = isRunning
    ? "Transcribing …"
    : waiting > 1
      ? `Transcribe ${waiting} files`
      : "Transcribe";
  $("clear").hidden = !items.some((item) => isOver(item));
}

function remove(gone) {
  const at = items.indexOf(gone[0]);
  for (const item of gone) items.splice(items.indexOf(item), 1);
  const work = () => {
    for (const { row } of gone) row.remove();
    update();
  };
  keepingFocus($("queue-box"), work, () => [
    ...buttonsOf(items[Math.min(at, items.length - 1)]),
    $("start"),
    $("choose"),
  ]);
}

function retry(item) {
  Object.assign(item, { state: "waiting", text: "" });
  item.parts.text.textContent = "";
  showProblem(item, null);
  show(item);
  update();
}

/** Tell what went wrong with an item, and at the option that it is about, if it is about one. */
function showProblem(item, problem) {
  const { error } = item.parts;
  showError(error, problem);
  for (const id of Object.values(FIELDS))
    mark($(id), error, problem !== null && FIELDS[problem.param] === id);
}

function cancel(item) {
  item.abort?.abort();
}

async function run(item) {
  const { stage, bar, text } = item.parts;
  let announced = "";
  item.abort = new AbortController();
  item.options = options();
  item.isServerAway = false;
  const onProgress = ({ stage: words, percent }) => {
    const isKnown = percent !== null && percent !== undefined;
    if (isKnown) bar.value = percent;
    else bar.removeAttribute("value");
    stage.textContent = isKnown ? `${words} ${percent.toFixed(percent < 100 ? 1 : 0)} %` : words;
    const quarter = isKnown ? `${words}, ${Math.floor(percent / 25) * 25} %` : words;
    if (quarter !== announced) announce(`${item.source.name}: ${quarter}`);
    announced = quarter;
  };
  const onText = (delta) => {
    item.text += delta;
    text.append(delta);
    text.hidden = false;
    text.scrollTop = text.scrollHeight;
  };
  const { signal } = item.abort;
  while (!isOver(item)) {
    item.state = "running";
    show(item);
    try {
      item.doc = await transcribe(item.source, item.options, { signal, onProgress, onText });
      item.state = "done";
    } catch (problem) {
      if (isPause(problem) && (await pause(item, problem.retryAfter_s))) continue;
      item.state = signal.aborted || problem.name === "AbortError" ? "cancelled" : "failed";
      if (item.state === "failed") showProblem(item, problem);
      item.isServerAway = problem.isAway;
    }
  }
  show(item);
}

const isPause = ({ status, retryAfter_s: wanted_s }) =>
  status === 429 && wanted_s > 0 && wanted_s <= LONGEST_PAUSE_S;

/** Wait as long as the server asks for, counting down; false if somebody cancels. */
function pause(item, wanted_s) {
  item.state = "paused";
  show(item);
  announce(`The server's limit is reached: the queue goes on in ${seconds(wanted_s)}.`);
  const until = performance.now() + wanted_s * 1000;
  return new Promise((resolve) => {
    const look = () => {
      const left_s = Math.ceil((until - performance.now()) / 1000);
      item.parts.stage.textContent = `The server's limit is reached. Again in ${seconds(left_s)}`;
      if (left_s > 0 && !item.abort.signal.aborted) return;
      clearInterval(timer);
      resolve(!item.abort.signal.aborted);
    };
    const timer = setInterval(look, 500);
    item.abort.signal.addEventListener("abort", look);
    look();
  });
}

/** What an option cannot be is said at the option, before anything is sent. */
function areOptionsValid() {
  const form = $("options");
  const wrong = form.querySelector(":invalid");
  if (wrong?.closest("details")) wrong.closest("details").open = true;
  return form.reportValidity();
}

async function start() {
  if ($("start").ariaDisabled === "true" || !areOptionsValid()) return;
  isRunning = true;
  try {
    for (;;) {
      update();
      const next = items.find((item) => item.state === "waiting");
      if (!next) break;
      await run(next);
      if (next.state === "done") told.finished(next);
      if (next.isServerAway) break; // the others need not fail, too
    }
  } finally {
    isRunning = false;
    update();
  }
}

/** `finished(item)` is called when an item is done, `again(item)` when somebody wants to see it again. */
export function initQueue({ finished, again }) {
  told = { finished, again };
  $("start").addEventListener("click", start);
  $("clear").addEventListener("click", () => {
    remove(items.filter((item) => isOver(item)));
  });
}
