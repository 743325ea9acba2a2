// The microphone as samples, where browsers allow it: on https and on this machine itself.

const LAST_PIECE_MS = 2000;
const START_MS = 8000;

/** Tell why there is no microphone, in sentences, or null where there may be one. */
export function obstacle() {
  if (!isSecureContext) {
    const port = location.port ? `:${location.port}` : "";
    return [
      "Browsers give the microphone to pages from https:// or from this machine only, and this page is from " +
        `${location.origin}.`,
      `On the machine of the server open http://localhost${port}/ui/. From elsewhere let SSH bring it to you: ` +
        `ssh -L 8000:localhost:${location.port || 80} ${location.hostname}, then open http://localhost:8000/ui/.`,
      "For everybody on the network: give the server a certificate, or put a proxy with TLS before it " +
        "(docs/operations.md, \u201cReverse proxies and TLS\u201d).",
    ];
  }
  if (!navigator.mediaDevices?.getUserMedia) return ["This browser has no microphone to offer."];
  return null;
}

function inWords(error) {
  const known = {
    NotAllowedError: "The microphone is not allowed. Allow it for this page in the browser's settings.",
    NotFoundError: "No microphone is connected.",
    NotReadableError: "The microphone is used by another program.",
    SecurityError: "This page may not use the microphone.",
  };
  return new Error(known[error.name] ?? `The microphone cannot be used: ${error.message}`);
}

/**
 * Listen. `onSamples` is given pieces of mono samples between -1 and 1; `onLost(error)` is called once if the
 * microphone vanishes, or is taken back, before `stop()`.
 *
 * Returns `{rate, stop}`; `stop()` resolves when the last piece was handed over. Where listening fails,
 * the microphone is off.
 */
export async function listen(rate, onSamples, onLost) {
  let [stream, context] = [null, null];
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
    context = new AudioContext({ sampleRate: rate });
    const stop = await capture(stream, context, onSamples);
    const gone = new Error("The microphone is gone: it was unplugged, or is not allowed any more.");
    for (const track of stream.getTracks()) {
      if (track.readyState === "ended") throw gone;
      track.addEventListener("ended", () => onLost(gone), { once: true });
    }
    return { rate, stop };
  } catch (error) {
    await release(stream, context);
    throw error instanceof DOMException ? inWords(error) : error;
  }
}

async function capture(stream, context, onSamples) {
  if (!context.audioWorklet) throw new Error("This browser cannot listen: it is too old for this page.");
  try {
    await context.audioWorklet.addModule("capture.js");
  } catch {
    throw new Error("A part of this page (capture.js) could not be loaded, without which it cannot listen.");
  }
  const node = new AudioWorkletNode(context, "capture", {
    numberOfOutputs: 0,
    channelCount: 1,
    channelCountMode: "explicit",
  });
  let ended;
  const end = new Promise((resolve) => (ended = resolve));
  node.port.onmessage = ({ data }) => (data === null ? ended() : onSamples(data));
  context.createMediaStreamSource(stream).connect(node);
  await Promise.race([context.resume(), new Promise((late) => setTimeout(late, START_MS))]);
  if (context.state !== "running") {
    throw new Error(
      "This browser's sound does not start. Some browsers (Firefox) need loudspeakers or headphones to listen, too.",
    );
  }
  return async () => {
    node.port.postMessage("end");
    const patience = setTimeout(ended, LAST_PIECE_MS); // a device that is gone hands nothing over
    await end;
    clearTimeout(patience);
    await release(stream, context);
  };
}

async function release(stream, context) {
  stream?.getTracks().forEach((track) => track.stop());
  if (context && context.state !== "closed") await context.close();
}

/** How loud samples are, from 0 to 1, on a scale of 60 dB. */
export function level(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const db = 10 * Math.log10(sum / Math.max(1, samples.length) + 1e-12);
  return Math.min(1, Math.max(0, 1 + db / 60));
}

/** Samples as 16 bit, little-endian. */
export function pcm16(samples) {
  const view = new DataView(new ArrayBuffer(samples.length * 2));
  samples.forEach((sample, index) =>
    view.setInt16(2 * index, Math.max(-32768, Math.min(32767, Math.round(sample * 32767))), true),
  );
  return new Uint8Array(view.buffer);
}

/** Pieces of samples as a WAV file. */
export function wav(pieces, rate) {
  const data = pieces.map(pcm16);
  const size = data.reduce((sum, piece) => sum + piece.length, 0);
  const head = new DataView(new ArrayBuffer(44));
  const text = (at, letters) =>
    [...letters].forEach((letter, index) => head.setUint8(at + index, letter.charCodeAt(0)));
  text(0, "RIFF");
  head.setUint32(4, 36 + size, true);
  text(8, "WAVEfmt ");
  head.setUint32(16, 16, true);
  head.setUint16(20, 1, true);
  head.setUint16(22, 1, true);
  head.setUint32(24, rate, true);
  head.setUint32(28, rate * 2, true);
  head.setUint16(32, 2, true);
  head.setUint16(34, 16, true);
  text(36, "data");
  head.setUint32(40, size, true);
  return new Blob([head, ...data], { type: "audio/wav" });
}

export function base64(data) {
  let letters = "";
  for (let at = 0; at < data.length; at += 8192)
    letters += String.fromCharCode(...data.subarray(at, at + 8192));
  return btoa(letters);
}
