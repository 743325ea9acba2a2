// Live: the microphone over `WS /v1/realtime`, confirmed words and those that may change.

import { ROOT } from "./api.js";
import { fillLanguages, fillModels, models } from "./choices.js";
import { $, announce, copy, el, save, showError } from "./dom.js";
import { getKey, needKey } from "./key.js";
import { base64, level, listen, obstacle, pcm16 } from "./microphone.js";

const RATE_HZ = 24_000;
const LAST_WORDS_MS = 20_000;
const EVENT = "conversation.item.input_audio_transcription.";
const PROTOCOL_LETTERS = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
let session = null;

class Session {
  pending = new Set();
  isOpen = false;

  constructor() {
    const url = new URL("v1/realtime", ROOT);
    url.protocol = url.protocol.replace("http", "ws");
    url.searchParams.set("intent", "transcription");
    const key = getKey();
    if (key && !PROTOCOL_LETTERS.test(key))
      throw new Error("This key holds letters that browsers cannot send here.");
    this.socket = new WebSocket(url, ["realtime", ...(key ? [`openai-insecure-api-key.${key}`] : [])]);
    this.socket.onmessage = ({ data }) => this.take(JSON.parse(data));
    this.socket.onclose = (event) => this.closed(event);
    state("connecting …");
  }

  tell(event) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(event));
  }

  take(event) {
    switch (event.type) {
      case "session.created":
        this.isOpen = true;
        this.configure();
        break;
      case "session.updated":
        this.hear();
        break;
      case "input_audio_buffer.lag":
        $("l-lag").textContent = `${event.lag_s.toFixed(1)} s`;
        break;
      case "input_audio_buffer.committed":
        this.pending.add(event.item_id);
        break;
      case `${EVENT}delta`:
        said(event.item_id, event.delta);
        break;
      case `${EVENT}tentative`:
        tentative(event.text);
        break;
      case `${EVENT}completed`:
        finish(event.item_id, event.transcript);
        this.settle(event.item_id);
        break;
      case `${EVENT}failed`:
        showError($("l-error"), event.error);
        this.settle(event.item_id);
        break;
      case "error":
        this.fail(event.error);
        break;
    }
  }

  configure() {
    const [model, language] = [$("l-model").value, $("l-language").value];
    const turns = $("l-turns").value === "none" ? null : { type: $("l-turns").value };
    this.tell({
      type: "session.update",
      session: {
        type: "transcription",
        include: ["item.input_audio_transcription.tentative"],
        audio: {
          input: { turn_detection: turns, transcription: { model, ...(language ? { language } : {}) } },
        },
      },
    });
  }

  async hear() {
    if (this.microphone) return;
    this.microphone = {};
    try {
      this.microphone = await listen(RATE_HZ, (samples) => {
        $("l-level").value = level(samples);
        this.tell({ type: "input_audio_buffer.append", audio: base64(pcm16(samples)) });
      });
      $("l-lag").textContent = "0.0 s"; // the server tells when it falls behind, and when it has caught up
      state("listening");
    } catch (error) {
      showError($("l-error"), error);
      this.socket.close();
    }
  }

  /** Send what is left, wait for its words, say goodbye. */
  async stop() {
    this.isStopping = true;
    state("waiting for the last words …");
    $("l-stop").disabled = true;
    await this.microphone?.stop?.();
    this.tell({ type: "input_audio_buffer.commit" });
    this.patience = setTimeout(() => this.socket.close(), LAST_WORDS_MS);
  }

  settle(item) {
    this.pending.delete(item);
    if (this.isStopping && this.pending.size === 0) this.socket.close();
  }

  fail(error) {
    if (this.isStopping && error.code === "input_audio_buffer_commit_empty") {
      this.settle(null); // the pause had ended the last turn
      return;
    }
    showError($("l-error"), error);
  }

  async closed(event) {
    clearTimeout(this.patience);
    if (!this.isStopping) await this.microphone?.stop?.();
    if (!this.isOpen && !this.isStopping) {
      // browsers tell no more of a refused handshake
      if (getKey())
        showError($("l-error"), new Error("The server refused the connection, or cannot be reached."));
      else needKey("The server refused the connection. Does it ask for a key?");
    } else if (!this.isStopping && event.reason) {
      showError($("l-error"), new Error(`The session ended: ${event.reason} (close code ${event.code}).`));
    }
    session = null;
    tentative("");
    $("l-level").value = 0;
    $("l-lag").textContent = "–";
    state("not connected");
    setRunning(false);
  }
}

const state = (text) => ($("l-state").textContent = text);

function setRunning(isRunning) {
  $("l-start").disabled = isRunning;
  $("l-stop").disabled = !isRunning;
  for (const id of ["l-model", "l-language", "l-turns"]) $(id).disabled = isRunning;
}

function paragraph(item) {
  let found = $("l-said").querySelector(`[data-item="${CSS.escape(item)}"]`);
  if (!found) {
    found = el("p", { dataset: { item } });
    $("l-said").append(found);
  }
  return found;
}

function said(item, delta) {
  paragraph(item).append(delta);
  tentative(""); // what follows is told next, if anything does
}

function finish(item, transcript) {
  if (transcript) paragraph(item).textContent = transcript;
  else paragraph(item).remove();
  tentative("");
}

function tentative(text) {
  $("l-tentative").textContent = text;
  $("l-tentative").hidden = !text;
}

const text = () => [...$("l-said").children].map((item) => item.textContent.trim()).join("\n");

function start() {
  showError($("l-error"), null);
  if (obstacle()) {
    explain();
    return;
  }
  try {
    session = new Session();
    setRunning(true);
  } catch (error) {
    showError($("l-error"), error);
  }
}

function explain() {
  const problem = obstacle();
  $("live-insecure").hidden = problem === null;
  $("l-start").disabled = problem !== null || session !== null;
  if (problem) $("live-insecure").replaceChildren(...problem.map((sentence) => el("p", { text: sentence })));
}

export function init() {
  $("l-start").addEventListener("click", start);
  $("l-stop").addEventListener("click", () => session?.stop());
  $("l-copy").addEventListener("click", () => copy(text()));
  $("l-save").addEventListener("click", () => save(`${text()}\n`, "live.txt"));
  $("l-clear").addEventListener("click", () => {
    $("l-said").replaceChildren();
    announce("Cleared.");
  });
  $("l-model").addEventListener("change", () => fillLanguages($("l-language"), $("l-model").value));
}

export async function show() {
  explain();
  if (session) return;
  fillModels($("l-model"), await models());
  fillLanguages($("l-language"), $("l-model").value);
}
