// Live: the microphone over `WS /v1/realtime`, confirmed words and those that may change.

import { ROOT, getJson, supports } from "./api.js";
import { fillLanguages, fillModels, languageName, models } from "./choices.js";
import { copyShown } from "./copying.js";
import { $, announce, el, save, showError } from "./dom.js";
import { getKey } from "./key.js";
import { base64, level, listen, obstacle, pcm16 } from "./microphone.js";
import { newEntry, remember } from "./past.js";
import { Spoken } from "./spoken.js";

const RATE_HZ = 24_000;
const LAST_WORDS_MS = 20_000;
const EVENT = "conversation.item.input_audio_transcription.";
const PROTOCOL_LETTERS = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
let session = null;

class Session {
  spoken = new Spoken();
  heard = 0; // samples
  isOpen = false;

  constructor() {
    this.key = getKey();
    if (this.key && !PROTOCOL_LETTERS.test(this.key))
      throw new Error("This key holds letters that browsers cannot send here.");
    state("connecting …");
  }

  /** Connect. Browsers tell nothing of a refused handshake, so the server is asked before. */
  async open() {
    try {
      await mayListen();
    } catch (error) {
      await this.end(error);
    }
    if (this.isClosed) return;
    const url = new URL("v1/realtime", ROOT);
    url.protocol = url.protocol.replace("http", "ws");
    url.searchParams.set("intent", "transcription");
    const protocols = ["realtime", ...(this.key ? [`openai-insecure-api-key.${this.key}`] : [])];
    this.socket = new WebSocket(url, protocols);
    this.socket.onmessage = ({ data }) => !this.isClosed && this.take(JSON.parse(data));
    this.socket.onclose = (event) => this.end(this.broken(event));
  }

  tell(event) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(event));
  }

  take(event) {
    this.spoken.take(event);
    if (this.patience) this.wait(); // it is behind, but it comes
    switch (event.type) {
      case "session.created":
        this.isOpen = true;
        this.configure();
        break;
      case "session.updated":
        this.isConfigured = true;
        this.hear();
        break;
      case "input_audio_buffer.lag":
        $("l-lag").textContent = `${event.lag_s.toFixed(1)} s`;
        break;
      case "input_audio_buffer.cleared":
        this.end(null); // all that was said before is told by then
        break;
      case `${EVENT}delta`:
        said(event.item_id, event.delta);
        break;
      case `${EVENT}tentative`:
        tentative(event.text);
        break;
      case `${EVENT}completed`:
        finish(event.item_id, event.transcript);
        break;
      case `${EVENT}failed`:
        showError($("l-error"), event.error);
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
      const onSamples = (samples) => {
        this.heard += samples.length;
        $("l-level").value = level(samples);
        this.tell({ type: "input_audio_buffer.append", audio: base64(pcm16(samples)) });
      };
      const microphone = await listen(RATE_HZ, onSamples, (gone) => {
        showError($("l-error"), gone);
        this.stop(); // what was said until then is still to be heard
      });
      if (this.isStopping || this.isClosed) {
        await microphone.stop(); // it was allowed after all was over
        return;
      }
      this.microphone = microphone;
      $("l-lag").textContent = "0.0 s"; // the server tells when it falls behind, and when it has caught up
      state("listening");
    } catch (error) {
      this.end(error);
    }
  }

  /** Send what is left, wait for its words, say goodbye. */
  async stop() {
    if (this.isStopping) return;
    if (!this.isConfigured) {
      await this.end(null);
      return;
    }
    this.isStopping = true;
    state("waiting for the last words …");
    $("l-stop").ariaDisabled = "true"; // not `disabled`, which would let the focus fall
    await this.microphone?.stop?.();
    this.tell({ type: "input_audio_buffer.commit" });
    // what is left after that is silence; a slow server tells of turns long after they have ended, and in order
    this.tell({ type: "input_audio_buffer.clear" });
    this.wait();
  }

  /** Wait for what the server tells next, but not for ever. */
  wait() {
    const late = new Error(`The last words did not come within ${LAST_WORDS_MS / 1000} seconds.`);
    clearTimeout(this.patience);
    this.patience = setTimeout(() => this.end(late), LAST_WORDS_MS);
  }

  fail(error) {
    if (this.isStopping && error.code === "input_audio_buffer_commit_empty") return; // a pause came before
    if (this.isConfigured) showError($("l-error"), error);
    else this.end(error);
  }

  /** What to say of a connection that the server, or something between, has ended. */
  broken({ code, reason }) {
    if (reason) return new Error(`The session ended: ${reason} (close code ${code}).`);
    if (!this.isOpen)
      return new Error(
        "The server refused the connection, though it answers: it takes no more sessions now, or a proxy " +
          "before it does not let WebSockets through.",
      );
    const lost = this.isStopping ? ", and the last words may be missing" : "";
    return new Error(`The connection to the server broke off (close code ${code})${lost}.`);
  }

  /** End, once: `error` tells why, unless somebody wanted it. */
  async end(error) {
    if (this.isClosed) return;
    this.isClosed = true;
    clearTimeout(this.patience);
    if (error && error.status !== 401) showError($("l-error"), error);
    this.socket?.close();
    if (!this.isStopping) await this.microphone?.stop?.();
    session = null;
    this.keep();
    tentative("");
    $("l-level").value = 0;
    $("l-lag").textContent = "–";
    state("not connected");
    setRunning(false);
  }

  /** What was said is in the history, with the times of its turns where the server tells them. */
  keep() {
    const [model, language] = [$("l-model").value, $("l-language").value];
    const name = language ? languageName(language).toLowerCase() : "unknown";
    const doc = this.spoken.doc({ language: name, until: Number((this.heard / RATE_HZ).toFixed(3)) });
    if (doc) remember(newEntry("Live", { model, language }, doc));
  }
}

/** Throw what keeps this key from listening, or the server from answering. */
async function mayListen() {
  if (!(await supports("/v1/usage"))) {
    await getJson("v1/models");
    return;
  }
  const { scopes } = await getJson("v1/usage");
  if (!scopes.includes("live"))
    throw new Error(`This key may not listen live: its scopes are ${scopes.join(", ")}, without live.`);
}

const state = (text) => ($("l-state").textContent = text);

function setRunning(isRunning) {
  const [pressed, next] = isRunning ? ["l-start", "l-stop"] : ["l-stop", "l-start"];
  const hadFocus = document.activeElement === $(pressed);
  $(next).disabled = false;
  if (hadFocus) $(next).focus();
  $(pressed).disabled = true;
  $("l-stop").ariaDisabled = null;
  for (const id of ["l-model", "l-language", "l-turns"]) $(id).disabled = isRunning;
}

function paragraph(item) {
  let found = $("l-said").querySelector(`[data-item="${CSS.escape(item)}"]`);
  if (!found) {
    found = el("p", { dir: "auto", dataset: { item } });
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
    session.open();
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
  $("l-copy").addEventListener("click", ({ target }) => copyShown(text(), target));
  $("l-save").addEventListener("click", () => save(`${text()}\n`, "live.txt"));
  $("l-clear").addEventListener("click", () => {
    $("l-said").replaceChildren();
    announce("Cleared.");
  });
  addEventListener("beforeunload", (event) => session && event.preventDefault());
  $("l-model").addEventListener("change", () => fillLanguages($("l-language"), $("l-model").value));
}

export async function show() {
  explain();
  if (session) return;
  fillModels($("l-model"), await models());
  fillLanguages($("l-language"), $("l-model").value);
}
