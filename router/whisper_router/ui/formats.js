// A transcript in every format of the server, byte for byte as the server writes it. Pure.
//
// `doc` is the object of `verbose_json`; what a person has changed is in `segments` and `words`.

const ENGLISH_SPACE = /[\s\x1c-\x1f\x85]+/u;
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

/** Round half to even, as Python does. */
function rounded(value) {
  const low = Math.floor(value);
  if (value - low === 0.5) return low % 2 ? low + 1 : low;
  return Math.round(value);
}

const milliseconds = (time_s) => rounded(Math.max(time_s, 0) * 1000);
const pad = (value, width) => String(value).padStart(width, "0");

function timestamp(ms, point) {
  const [seconds, minutes] = [Math.floor(ms / 1000), Math.floor(ms / 60_000)];
  const whole = [Math.floor(minutes / 60), minutes % 60, seconds % 60].map((part) => pad(part, 2));
  return `${whole.join(":")}${point}${pad(ms % 1000, 3)}`;
}

export function oneLine(text) {
  let line = text.split(ENGLISH_SPACE).filter(Boolean).join(" ");
  while (line.includes("-->")) line = line.replaceAll("-->", "->");
  return line;
}

const trimmed = (text) => text.replace(/^[\s\x1c-\x1f\x85]+|[\s\x1c-\x1f\x85]+$/gu, "");
const flat = (text) => text.replaceAll("\n", " ");
const cleanName = (speaker) => oneLine(speaker).replace(/[<>&[\]]/g, "");
const lead = (cue) => (cue.speaker === undefined ? "" : `[${cleanName(cue.speaker)}]: `);

/** Subtitles from segments: those with text, in an order in which starts never go back. */
export function cues(doc) {
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
    const name = (cue.speaker ?? "unknown").split(ENGLISH_SPACE).filter(Boolean).join("_");
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

/** Compact JSON in which times and probabilities have a decimal point, also whole ones. */
function json(value, name = "") {
  if (typeof value === "number") return FLOATS.has(name) ? float(value) : String(value);
  if (Array.isArray(value)) return `[${value.map((item) => json(item)).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const pairs = Object.entries(value).filter(([, item]) => item !== undefined);
  return `{${pairs.map(([key, item]) => `${JSON.stringify(key)}:${json(item, key)}`).join(",")}}`;
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

/** Every format: how it is written, what its files are called, and whether it needs speakers. */
export const FORMATS = {
  text: { name: "Text", suffix: "txt", write: (doc) => `${textOf(doc)}\n` },
  srt: { name: "SubRip subtitles", suffix: "srt", write: (doc) => srt(cues(doc)) },
  vtt: { name: "WebVTT subtitles", suffix: "vtt", write: (doc) => vtt(cues(doc)) },
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
    write: (doc) => json({ ...onlySegments(doc), vtt_text: vtt(cues(doc)) }),
  },
  tsv: { name: "Table (TSV)", suffix: "tsv", write: (doc) => tsv(cues(doc)) },
  lrc: { name: "Lyrics (LRC)", suffix: "lrc", write: (doc) => lrc(cues(doc)) },
  aud: { name: "Audacity labels", suffix: "txt", write: (doc) => aud(cues(doc)) },
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
  const parts = text.split(ENGLISH_SPACE).filter(Boolean);
  const length = segment.end - segment.start;
  const place = (index) => Number((segment.start + (length * index) / parts.length).toFixed(3));
  const speaker = segment.speaker === undefined ? {} : { speaker: segment.speaker };
  const kept = parts.map((word, index) =>
    words.length === parts.length
      ? { ...words[index], word }
      : { word, start: place(index), end: place(index + 1), ...speaker },
  );
  return { segment: { ...segment, text: ` ${trimmed(text)}`.trimEnd() }, words: kept };
}
