// Transcribe: what comes in (files, microphone, addresses), and what was done in this browser.

import { fillLanguages, fillModels, models } from "./choices.js";
import { $, announce, clock, fieldError, showError } from "./dom.js";
import { onDropped } from "./drop.js";
import { level, listen, obstacle, wav } from "./microphone.js";
import { changed, initHistory, listHistory, newEntry, remember } from "./past.js";
import { add, count, initQueue, isBusy } from "./queue.js";
import { TranscriptView } from "./transcript.js";

const RATE_HZ = 16_000;
const view = new TranscriptView($("result"));
let [recording, isTurning] = [null, false];

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
  drop.addEventListener("drop", over(false));
  onDropped((files, hasFolders) => {
    addFiles(files);
    const problem = hasFolders
      ? new Error("Folders cannot be taken: drop the files that are in them.")
      : null;
    showError($("t-error"), problem);
  });
  $("from-url").addEventListener("submit", (event) => {
    event.preventDefault();
    addAddress();
  });
}

function addAddress() {
  const address = $("t-url").value.trim();
  const url = new URL(address); // the field lets nothing else pass
  if (!["http:", "https:"].includes(url.protocol)) {
    const problem = new Error("Only addresses that begin with http:// or https:// can be fetched.");
    fieldError($("t-url"), $("t-error"), problem);
    return;
  }
  fieldError($("t-url"), $("t-error"), null);
  add({ url: address, name: nameIn(url) || url.hostname });
  $("t-url").value = "";
}

function nameIn(url) {
  const name = url.pathname.split("/").pop();
  try {
    return decodeURIComponent(name);
  } catch {
    return name; // its signs of percent are meant as such
  }
}

async function record() {
  fieldError($("t-url"), $("t-error"), null);
  const problem = obstacle();
  if (problem) {
    showError($("t-error"), new Error(problem.join(" ")));
    return;
  }
  const pieces = [];
  let count = 0;
  const onSamples = (samples) => {
    pieces.push(samples);
    count += samples.length;
    $("record-time").textContent = clock(count / RATE_HZ);
    $("record-level").value = level(samples);
  };
  try {
    const microphone = await listen(RATE_HZ, onSamples, (gone) => turn(() => stopRecording(gone)));
    recording = { microphone, pieces };
  } catch (error) {
    showError($("t-error"), error);
  }
  showRecording();
}

function showRecording() {
  $("record-name").textContent = recording ? "Stop recording" : "Record";
  $("record").classList.toggle("recording", recording !== null);
  $("recording").hidden = recording === null;
  if (recording) announce("Recording.");
}

/** End the recording, and put it in the queue; `problem` tells why, unless somebody wanted it. */
async function stopRecording(problem = null) {
  if (!recording) return;
  const { microphone, pieces } = recording;
  try {
    await microphone.stop();
  } catch (error) {
    problem ??= error;
  }
  recording = null;
  showRecording();
  if (problem) showError($("t-error"), problem);
  if (!pieces.some(({ length }) => length)) return; // it has heard nothing
  const now = new Date();
  const part = (value) => String(value).padStart(2, "0");
  const name = `recording-${part(now.getHours())}${part(now.getMinutes())}${part(now.getSeconds())}.wav`;
  const file = new File([wav(pieces, RATE_HZ)], name, { type: "audio/wav" });
  add({ file, name, isRecorded: true });
  announce(`${name} is in the queue.`);
}

/** Start or stop recording, one after the other. */
async function turn(work) {
  if (isTurning) return;
  isTurning = true;
  $("record").ariaDisabled = "true"; // not `disabled`, which would let the focus fall
  try {
    await work();
  } finally {
    isTurning = false;
    $("record").ariaDisabled = null;
  }
}

/** Keep a finished item, and show it unless that would take another from somebody's hands. */
function finished(item) {
  item.entry = newEntry(item.source.name, item.options, item.doc);
  const isCorrecting = isWriting() && $("result").contains(document.activeElement);
  if ($("result").hidden || (count() === 1 && !isCorrecting)) {
    open(item.entry, item.source.file);
    announce(`${item.source.name} is transcribed, and shown.`);
  } else {
    announce(`${item.source.name} is transcribed. Its button Show shows it.`);
  }
  remember(item.entry);
}

const isWriting = () =>
  document.activeElement?.isContentEditable || document.activeElement?.matches("input, textarea, select");

function open(entry, file) {
  view.show(entry, { file, onChange: changed });
  if (!isWriting()) $("result-title").focus();
}

/** Show what another tab has written, unless somebody is at it here, too. */
function corrected(entry) {
  const hasFocus = $("result").contains(document.activeElement);
  if (!entry || entry.id !== view.entry?.id || (hasFocus && isWriting())) return;
  view.show(entry, { file: view.file, onChange: changed });
  if (hasFocus) $("result-title").focus();
}

export function init() {
  initQueue({ finished, again: (item) => open(item.entry, item.source.file) });
  initHistory({
    open: (entry) => open(entry, null),
    gone: (isForgotten) => view.entry && isForgotten(view.entry.id) && view.hide(),
    kept: corrected,
  });
  initDrop();
  $("options").addEventListener("submit", (event) => event.preventDefault());
  $("record").addEventListener("click", ({ detail }) => {
    // the second of a double click is not meant as a new recording, however soon the first one had ended
    if (detail <= 1) turn(recording ? () => stopRecording() : record);
  });
  $("t-model").addEventListener("change", () =>
    fillLanguages($("t-language"), $("t-model").value, { mixed: true }),
  );
  addEventListener("beforeunload", (event) => (recording || isBusy()) && event.preventDefault());
}

export async function show() {
  try {
    fillModels($("t-model"), await models());
    fillLanguages($("t-language"), $("t-model").value, { mixed: true });
  } finally {
    await listHistory();
  }
}
