// A transcript in every format of the server, byte for byte as the server writes it. Pure.
//
// `doc` is the object of `verbose_json`; what a person has changed is in `segments` and `words`.

import { isPlain, shaped } from "./shaping.js";
import { milliseconds, oneLine, pad, parts, rounded, trimmed } from "./texts.js";

const SAME_TURN_MS = 500;
const FLOATS = new Set([
  "start",
  "end",
  "duration",
  "temperature",
  "avg_logprob",
  "compression_ratio",
  "no_speech_prob",
]);

function timestamp(ms, point) {
  const [seconds, minutes] = [Math.floor(ms / 1000), Math.floor(ms / 60_000)];
  const whole = [Math.floor(minutes / 60), minutes % 60, seconds % 60].map((part) => pad(part, 2));
  return `${whole.join(":")}${point}${pad(ms % 1000, 3)}`;
}

const flat = (text) => text.replaceAll("\n", " ");
const cleanName = (speaker) => oneLine(speaker).replace(/[<>&[\]]/g, "");
const lead = (cue) => (cue.speaker === undefined ? "" : `[${cleanName(cue.speaker)}]: `);

/** Subtitles from segments: those with text, in an order in which starts never go back. */
function cues(doc) {
  let start = 0;
  const made = [];
  for (const segment of doc.segments) {
    const text = oneLine(segment.text);
    if (!text) continue;
    start = Math.max(start, milliseconds(segment.start));
    made.push({ start, end: Math.max(start + 1, milliseconds(segment.end)), text, speaker: segment.speaker });
  }
  return made;
}

/** Subtitles, shaped if `shape` wants that. `namesSpeakers`: their texts are written behind the names. */
function subtitles(doc, shape, { namesSpeakers = false } = {}) {
  return isPlain(shape) ? cues(doc) : shaped(doc, shape, namesSpeakers ? lead : null);
}

const named = (doc, shape) => subtitles(doc, shape, { namesSpeakers: true });

function srt(shown) {
  const line = (cue, number) =>
    `${number + 1}\n${timestamp(cue.start, ",")} --> ${timestamp(cue.end, ",")}\n${lead(cue)}${cue.text}\n\n`;
  return shown.map(line).join("");
}

function vtt(shown) {
  const voice = (cue) => (cue.speaker === undefined ? cue.text : `<v ${cleanName(cue.speaker)}>${cue.text}`);
  const line = (cue) => `${timestamp(cue.start, ".")} --> ${timestamp(cue.end, ".")}\n${voice(cue)}\n\n`;
  return `WEBVTT\n\n${shown.map(line).join("")}`;
}

function tsv(shown) {
  const rows = shown.map((cue) => `${cue.start}\t${cue.end}\t${flat(lead(cue) + cue.text)}\n`);
  return `start\tend\ttext\n${rows.join("")}`;
}

function aud(shown) {
  const label = (cue) => (cue.speaker === undefined ? "" : `[[${cleanName(cue.speaker)}]]`);
  const inSeconds = (ms) => (ms / 1000).toFixed(3);
  return shown
    .map((cue) => `${inSeconds(cue.start)}\t${inSeconds(cue.end)}\t${label(cue)}${flat(cue.text)}\n`)
    .join("");
}

function lrc(shown) {
  const at = (ms) => {
    const hundredths = rounded(ms / 10);
    return `${pad(Math.floor(hundredths / 6000), 2)}:${pad(((hundredths % 6000) / 100).toFixed(2), 5)}`;
  };
  return shown.map((cue) => `[${at(cue.start)}]${flat(lead(cue) + cue.text)}\n`).join("");
}

function rttm(shown) {
  const turns = [];
  for (const cue of shown) {
    const name = parts(cue.speaker ?? "unknown").join("_");
    const last = turns.at(-1);
    if (last && last.name === name && cue.start - last.end <= SAME_TURN_MS)
      last.end = Math.max(last.end, cue.end);
    else turns.push({ start: cue.start, end: cue.end, name });
  }
  const inSeconds = (ms) => (ms / 1000).toFixed(3);
  const line = (turn) =>
    `SPEAKER audio 1 ${inSeconds(turn.start)} ${inSeconds(turn.end - turn.start)} <NA> <NA> ${turn.name} <NA> <NA>\n`;
  return turns.map(line).join("");
}

/** Write a number with a decimal point as Python writes one. */
function float(value) {
  if (Object.is(value, -0)) return "-0.0";
  if (Number.isInteger(value)) return `${value}.0`;
  if (Math.abs(value) >= 1e-4) return String(value);
  return value.toExponential().replace(/e([+-])(\d)$/, "e$10$2");
}

const quoted = (name) => (FLOATS.has(name) ? `"${name}"` : JSON.stringify(name));

/** Compact JSON in which times and probabilities have a decimal point, also whole ones. */
function json(value, name = "") {
  if (typeof value === "number") return FLOATS.has(name) ? float(value) : String(value);
  if (Array.isArray(value)) return `[${value.map((item) => json(item)).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  let pairs = "";
  for (const key in value)
    if (value[key] !== undefined) pairs += `${pairs && ","}${quoted(key)}:${json(value[key], key)}`;
  return `{${pairs}}`;
}

const textOf = (doc) => trimmed(doc.segments.map((segment) => segment.text).join(""));
const spoken = (doc) => doc.segments.filter((segment) => trimmed(segment.text));

function verbose(doc) {
  const { task, language, duration, words, usage, holes } = doc;
  const segments = spoken(doc).map((segment, id) => ({ ...segment, id }));
  return { task, language, duration, text: textOf(doc), segments, words, usage, holes };
}

function diarized(doc) {
  const said = spoken(doc).map((segment) => ({ ...segment, speaker: segment.speaker ?? "unknown" }));
  const lines = [];
  for (const { speaker, text } of said) {
    if (lines.at(-1)?.speaker === speaker) lines.at(-1).text += text;
    else lines.push({ speaker, text });
  }
  return {
    task: doc.task,
    duration: doc.duration,
    text: lines.map((line) => `${line.speaker}: ${trimmed(line.text)}`).join("\n"),
    segments: said.map(({ start, end, text, speaker }, index) => ({
      type: "transcript.text.segment",
      id: `seg_${pad(index + 1, 3)}`,
      start,
      end,
      text: trimmed(text),
      speaker,
    })),
    usage: doc.usage ?? { type: "duration", seconds: Math.max(1, Math.ceil(doc.duration)) },
    holes: doc.holes,
  };
}

const onlySegments = (doc) => ({ ...verbose(doc), words: undefined });
const JSON_TYPE = "application/json";

/**
 * Every format: how it is written, what its files are called, whether it needs speakers, and whether it
 * has subtitles that can be shaped.
 */
export const FORMATS = {
  text: { name: "Text", suffix: "txt", write: (doc) => `${textOf(doc)}\n` },
  srt: {
    name: "SubRip subtitles",
    suffix: "srt",
    shapes: true,
    write: (doc, shape) => srt(named(doc, shape)),
  },
  vtt: {
    name: "WebVTT subtitles",
    suffix: "vtt",
    shapes: true,
    write: (doc, shape) => vtt(subtitles(doc, shape)),
  },
  json: {
    name: "JSON",
    suffix: "json",
    type: JSON_TYPE,
    write: (doc) => json({ text: textOf(doc), usage: doc.usage, holes: doc.holes }),
  },
  verbose_json: {
    name: "JSON with times",
    suffix: "json",
    type: JSON_TYPE,
    write: (doc) => json(verbose(doc)),
  },
  vtt_json: {
    name: "JSON with WebVTT",
    suffix: "json",
    type: JSON_TYPE,
    shapes: true,
    write: (doc, shape) => json({ ...onlySegments(doc), vtt_text: vtt(subtitles(doc, shape)) }),
  },
  tsv: {
    name: "Table (TSV)",
    suffix: "tsv",
    shapes: true,
    write: (doc, shape) => tsv(named(doc, shape)),
  },
  lrc: {
    name: "Lyrics (LRC)",
    suffix: "lrc",
    shapes: true,
    write: (doc, shape) => lrc(named(doc, shape)),
  },
  aud: {
    name: "Audacity labels",
    suffix: "txt",
    shapes: true,
    write: (doc, shape) => aud(subtitles(doc, shape)),
  },
  diarized_json: {
    name: "JSON with speakers",
    suffix: "json",
    type: JSON_TYPE,
    speakers: true,
    write: (doc) => json(diarized(doc)),
  },
  rttm: { name: "Speaker turns (RTTM)", suffix: "rttm", speakers: true, write: (doc) => rttm(cues(doc)) },
};

/** Put new text in a segment; its words keep their times where there are as many, else share its time. */
export function edited(segment, words, text) {
  const written = parts(text);
  const length = segment.end - segment.start;
  const place = (index) => Number((segment.start + (length * index) / written.length).toFixed(3));
  const speaker = segment.speaker === undefined ? {} : { speaker: segment.speaker };
  const kept = written.map((word, index) =>
    words.length === written.length
      ? { ...words[index], word }
      : { word, start: place(index), end: place(index + 1), ...speaker },
  );
  return { segment: { ...segment, text: ` ${trimmed(text)}`.trimEnd() }, words: kept };
}
