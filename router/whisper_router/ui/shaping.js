// Subtitles in lines that people can read, by the rules of the server (router/whisper_router/api/shaping.py).
// Pure. The words of `verbose_json` have lost their punctuation: it is taken from the text again.

import { SPACE, isSpace, letters, milliseconds, oneLine, parts, toMilliseconds, trimmed } from "./texts.js";

const TOKEN = new RegExp(`(?:${SPACE.source})?(?:(?!${SPACE.source}).)+`, "gsu");

/** Tell whether segments are cues as they are. */
export const isPlain = (shape) => !shape || Object.values(shape).every((value) => !value);

/** Give each segment its own words, in their order: those found in its text, else those that begin in it. */
export function wordsBySegment({ segments, words = [] }) {
  let next = 0;
  return segments.map((segment, index) => {
    const follower = segments[index + 1];
    const until = follower?.start ?? Infinity;
    const own = [];
    for (let at = 0; next < words.length; next += 1) {
      const { word, start } = words[next];
      const found = segment.text.indexOf(word, at);
      if (found >= 0 && start <= Math.max(until, segment.end)) at = found + word.length;
      else if (start >= until || (follower?.text.includes(word) && start >= segment.end)) break;
      own.push(words[next]);
    }
    return own;
  });
}

/** Cut a text at its words, each with all of the text up to its end; where they are not its own, at spaces. */
function timed(segment, words) {
  return stamped(segment, words) ?? shared(segment);
}

function stamped({ text, start, end }, words) {
  if (!words.length) return null;
  const found = [];
  let [begin, latest] = [0, start];
  for (const [number, word] of words.entries()) {
    const at = text.indexOf(word.word, begin);
    if (at < 0) return null;
    const gap = text.slice(begin, at);
    const marks = gap.length > 1 ? (gap.match(TOKEN) ?? []) : []; // the last one is the word's, if they touch
    const isApart = at > 0 && isSpace(text, at - 1);
    for (const mark of isApart ? marks : marks.slice(0, -1)) {
      found.push({ text: mark, start: latest, end: Math.max(latest, word.start) });
      begin += mark.length;
    }
    let until = at + word.word.length;
    const next = number + 1 < words.length ? text.indexOf(words[number + 1].word, until) : -1;
    while (until < text.length && until !== next && !isSpace(text, until)) until += 1;
    found.push({ text: text.slice(begin, until), start: word.start, end: word.end });
    [begin, latest] = [until, word.end];
  }
  for (const mark of begin < text.length ? (text.slice(begin).match(TOKEN) ?? []) : [])
    found.push({ text: mark, start: latest, end: Math.max(latest, end) });
  return found;
}

function shared({ text, start, end }) {
  const tokens = parts(text);
  const total = tokens.reduce((sum, token) => sum + letters(token), 0);
  let done = 0;
  return tokens.map((token) => {
    const begin = done;
    done += letters(token);
    const at = (count) => toMilliseconds(start + ((end - start) * count) / total);
    return { text: ` ${token}`, start: at(begin), end: at(done) };
  });
}

/**
 * Subtitles of segments as `shape` wants them: `width`, `lines` and `words` are the most letters of a line,
 * lines of a cue and words of a line (absent: any number), `marks` tells to mark each word in a cue of its own.
 * `lead(cue)` is what is written before a speaker's text, or null.
 */
export function shaped(doc, shape, lead) {
  const own = wordsBySegment(doc);
  const made = [];
  let latest = 0;
  doc.segments.forEach((segment, index) => {
    const words = timed(segment, own[index]).filter(({ text }) => trimmed(text));
    const led = lead ? letters(lead(segment)) : 0;
    for (const block of blocks(words, shape, led)) {
      for (const [begin, until, text] of shape.marks ? highlighted(block) : [plain(block)]) {
        latest = Math.max(latest, begin);
        made.push({ start: latest, end: Math.max(latest + 1, until), text, speaker: segment.speaker });
      }
    }
  });
  return made;
}

function blocks(words, shape, led) {
  const isCut = shape.width || shape.words;
  const perCue = !shape.width && shape.words ? 1 : shape.lines || Math.max(1, words.length);
  const lines = isCut ? linesOf(words, shape, led, perCue) : words.length ? [words] : [];
  const made = [];
  for (let at = 0; at < lines.length; at += perCue) made.push(lines.slice(at, at + perCue));
  return made;
}

function linesOf(words, shape, led, perCue) {
  const lines = [];
  let line = [];
  let width = led;
  for (const word of words) {
    const bare = letters(oneLine(word.text));
    const own = bare + (line.length && isSpace(word.text, 0) ? 1 : 0);
    const isFull = (shape.width && width + own > shape.width) || (shape.words && line.length >= shape.words);
    if (line.length && isFull) {
      lines.push(line);
      [line, width] = [[word], (lines.length % perCue === 0 ? led : 0) + bare];
    } else {
      line.push(word);
      width += own;
    }
  }
  if (line.length) lines.push(line);
  return lines;
}

const textOf = (line) => line.map(({ text }) => text).join("");

function plain(block) {
  const text = block.map((line) => oneLine(textOf(line))).join("\n");
  return [milliseconds(block[0][0].start), milliseconds(block.at(-1).at(-1).end), text];
}

/** A cue for each word, and for each pause between two of them one without a mark. */
function highlighted(block) {
  const [first, , text] = plain(block);
  const made = [];
  let at = first;
  for (const [word, shown] of marked(block)) {
    const [start, end] = [milliseconds(word.start), milliseconds(word.end)];
    if (start > at) made.push([at, start, text]);
    if (end > Math.max(start, at)) made.push([Math.max(start, at), end, shown]);
    at = Math.max(at, end);
  }
  return made;
}

function marked(block) {
  const lines = block.map((line) => oneLine(textOf(line)));
  return block.flatMap((line, number) => {
    const [before, after] = [lines.slice(0, number), lines.slice(number + 1)];
    const whole = textOf(line);
    const isTidy = lines[number] === trimmed(whole);
    let begin = 0;
    return line.map((word) => {
      const end = begin + word.text.length;
      const bare = trimmed(word.text);
      const text = whole.slice(0, begin) + word.text.replace(bare, () => `<u>${bare}</u>`) + whole.slice(end);
      begin = end;
      return [word, [...before, isTidy ? trimmed(text) : oneLine(text), ...after].join("\n")];
    });
  });
}
