// Transcribe: what comes in (files, microphone, addresses), and what was done in this browser.

import { fillLanguages, fillModels, models } from "./choices.js";
import { $, badge, button, clock, day, el, seconds, showError } from "./dom.js";
import { entries, forget, forgetAll, keep } from "./history.js";
import { level, listen, obstacle, wav } from "./microphone.js";
import { add, initQueue } from "./queue.js";
import { TranscriptView } from "./transcript.js";

const RATE_HZ = 16_000;
const SAVED_AFTER_MS = 400;
const view = new TranscriptView($("result"));
let [recording, saving] = [null, 0];

function addFiles(files) {
  for (const file of files) add({ file, name: file.name || "recording.wav" });
}

function initDrop() {
  const drop = $("drop");
  $("choose").addEventListener("click", () => $("files").click());
  $("files").addEventListener("change", () => {
    addFiles($("files").files);
    $("files").value = "";
  });
  const over = (isOver) => (event) => {
    event.preventDefault();
    drop.classList.toggle("over", isOver);
  };
  drop.addEventListener("dragover", over(true));
  drop.addEventListener("dragleave", over(false));
  drop.addEventListener("drop", (event) => {
    over(false)(event);
    addFiles(event.dataTransfer.files);
  });
  $("from-url").addEventListener("submit", (event) => {
    event.preventDefault();
    const url = $("t-url").value.trim();
    add({ url, name: decodeURIComponent(new URL(url).pathname.split("/").pop()) || new URL(url).hostname });
    $("t-url").value = "";
  });
}

async function record() {
  showError($("t-error"), null);
  const problem = obstacle();
  if (problem) {
    showError($("t-error"), new Error(problem.join(" ")));
    return;
  }
  const pieces = [];
  let count = 0;
  $("record").disabled = true;
  try {
    const microphone = await listen(RATE_HZ, (samples) => {
      pieces.push(samples);
      count += samples.length;
      $("record-time").textContent = clock(count / RATE_HZ);
      $("record-level").value = level(samples);
    });
    recording = { microphone, pieces };
    $("record-name").textContent = "Stop recording";
  } catch (error) {
    showError($("t-error"), error);
  }
  $("record").disabled = false;
  $("record").classList.toggle("recording", recording !== null);
  $("recording").hidden = recording === null;
}

async function stopRecording() {
  const { microphone, pieces } = recording;
  recording = null;
  await microphone.stop();
  const now = new Date();
  const part = (value) => String(value).padStart(2, "0");
  const name = `recording-${part(now.getHours())}${part(now.getMinutes())}${part(now.getSeconds())}.wav`;
  add({ file: new File([wav(pieces, RATE_HZ)], name, { type: "audio/wav" }), name });
  $("record-name").textContent = "Record";
  $("record").classList.remove("recording");
  $("recording").hidden = true;
}

/** Show a finished item, and keep it. */
async function finished(item) {
  item.entry ??= {
    id: crypto.getRandomValues(new Uint32Array(3)).join("-"),
    created: Date.now(),
    name: item.source.name,
    options: item.options,
    doc: item.doc,
  };
  open(item.entry, item.source.file);
  await keep(item.entry);
  await listHistory();
}

function open(entry, file) {
  view.show(entry, { file, onChange: changed });
  $("result-title").focus();
}

function changed(entry) {
  clearTimeout(saving);
  saving = setTimeout(async () => {
    await keep(entry);
    await listHistory();
  }, SAVED_AFTER_MS);
}

async function listHistory() {
  const all = await entries();
  $("history-clear").hidden = all.length === 0;
  const rows = all.map((entry) => {
    const remove = async () => {
      await forget(entry.id);
      await listHistory();
    };
    const start = entry.doc.text.slice(0, 160) || "(nobody speaks)";
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
        button("Open", () => open(entry, null), { class: "small", "aria-label": `Open ${entry.name}` }),
        button("Delete", remove, { class: "small quiet danger", "aria-label": `Delete ${entry.name}` }),
      ),
      el("p", { class: "item-text", text: start }),
    );
  });
  $("history").replaceChildren(
    ...(rows.length ? rows : [el("li", { class: "empty", text: "Nothing yet." })]),
  );
}

export function init() {
  initQueue(finished);
  initDrop();
  $("options").addEventListener("submit", (event) => event.preventDefault());
  $("record").addEventListener("click", () => (recording ? stopRecording() : record()));
  $("t-model").addEventListener("change", () =>
    fillLanguages($("t-language"), $("t-model").value, { mixed: true }),
  );
  $("history-clear").addEventListener("click", async () => {
    if (!confirm("Delete all transcripts that this browser keeps?")) return;
    await forgetAll();
    await listHistory();
  });
}

export async function show() {
  await listHistory();
  fillModels($("t-model"), await models());
  fillLanguages($("t-language"), $("t-model").value, { mixed: true });
}
