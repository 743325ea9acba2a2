// One transcription: its form, its progress, its text as it comes, its result.

import { ApiError, events, upload } from "./api.js";
import { modelNamed } from "./choices.js";
import { $ } from "./dom.js";

const KNOWN_S = [0.25, 1, 4]; // the server knows a request by then whose body it has, if it is not very busy

/** What the options say now. */
export function options() {
  const chosen = (id) => $(id).value.trim();
  return {
    model: chosen("t-model"),
    language: chosen("t-language"),
    task: document.querySelector("input[name=task]:checked").value,
    words: $("t-words").checked,
    diarize: $("t-diarize").checked,
    prompt: chosen("t-prompt"),
    hotwords: chosen("t-hotwords"),
    temperature: chosen("t-temperature"),
    vad: chosen("t-vad"),
    skip: $("t-skip").checked,
  };
}

function formOf(source, wanted) {
  const form = new FormData();
  const isElsewhere = modelNamed(wanted.model)?.engine === "upstream"; // knows no extension of ours
  const add = (name, value) => value && form.append(name, value);
  add("model", wanted.model);
  add("language", wanted.language);
  add("prompt", wanted.prompt);
  add("hotwords", wanted.hotwords);
  add("temperature", wanted.temperature);
  add("vad", wanted.vad);
  add("diarize", wanted.diarize && "true");
  add("on_error", wanted.skip && "skip");
  add("timestamp_granularities[]", "segment");
  add("timestamp_granularities[]", wanted.words && "word");
  if (isElsewhere) {
    add("response_format", "verbose_json");
  } else {
    add("stream", "true");
    add("include[]", "verbose_json");
  }
  if (source.file) form.append("file", source.file, source.file.name || "recording.wav");
  else form.append("url", source.url);
  return form;
}

const WORDS = {
  receiving: "Receiving",
  decoding: "Decoding",
  waiting: "Waiting for its turn",
  transcribing: "Transcribing",
};

async function follow(id, signal, onProgress) {
  for (const wait_s of KNOWN_S) {
    await new Promise((resolve) => setTimeout(resolve, wait_s * 1000));
    if (signal.aborted) return;
    try {
      for await (const told of events(`v1/progress/${id}`, { signal })) {
        if (signal.aborted) return;
        const place = told.queue_position ? `, ${told.queue_position} before it` : "";
        if (told.stage in WORDS) onProgress({ stage: `${WORDS[told.stage]}${place}`, percent: told.percent });
      }
      return;
    } catch (error) {
      if (error.status !== 404) return; // it has ended, or nobody tells how far it is: the answer will
    }
  }
}

/**
 * Transcribe a file or an address.
 *
 * `onProgress({stage, percent})`, `onText(delta)`. Resolves with the object of `verbose_json`.
 */
export async function transcribe(source, wanted, { signal, onProgress, onText }) {
  const id = `page-${crypto.getRandomValues(new Uint32Array(4)).join("-")}`;
  const ended = new AbortController();
  signal.addEventListener("abort", () => ended.abort());
  let [doc, text, isOldStyle] = [null, "", false];
  const onEvent = (event) => {
    if (event.error) throw new ApiError(event.error.message, { code: event.error.code, requestId: id });
    if (event.type === "transcript.text.delta") {
      text += event.delta;
      onText(event.delta);
    } else if (event.type === "transcript.text.done") {
      doc = event.verbose_json ?? plain(event.text, wanted);
    } else if (event.text !== undefined && event.type === undefined) {
      // a server that streams as faster-whisper-server did: a whole answer for each segment
      isOldStyle = true;
      text += event.text;
      onText(event.text);
    }
  };
  const path = wanted.task === "translate" ? "v1/audio/translations" : "v1/audio/transcriptions";
  try {
    await upload(path, formOf(source, wanted), {
      id,
      signal,
      onEvent,
      onUpload: (sent, whole) =>
        onProgress({ stage: "Uploading", percent: whole ? (100 * sent) / whole : 0 }),
      onSent: () => {
        onProgress({ stage: "Uploaded", percent: null });
        follow(id, ended.signal, onProgress);
      },
      onWhole: (answer) => {
        doc = answer;
      },
    });
  } catch (problem) {
    throw await reasonOf(problem, source);
  } finally {
    ended.abort();
  }
  if (doc) return doc;
  if (!isOldStyle && modelNamed(wanted.model)?.engine !== "upstream")
    throw new ApiError("The answer ended before the transcript did.", { requestId: id });
  return plain(text, wanted);
}

/** Return a better reason where it is not the server that is away, but the file. */
async function reasonOf(problem, { file }) {
  if (!problem.isAway || !file) return problem;
  const reader = file.stream().getReader();
  try {
    await reader.read();
    reader.cancel();
    return problem;
  } catch {
    return new Error("This file cannot be read: it is a folder, or was moved, changed or deleted.");
  }
}

/** A transcript of which nothing is known but its text. */
function plain(text, wanted) {
  const segments = text.trim() ? [{ id: 0, start: 0, end: 0.001, text: ` ${text.trim()}` }] : [];
  return {
    task: wanted.task,
    language: wanted.language || "unknown",
    duration: 0,
    text,
    segments,
    untimed: true,
  };
}
