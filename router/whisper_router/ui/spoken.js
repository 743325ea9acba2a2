// What a live session has heard, as a transcript for the history. Pure.

const EVENT = "conversation.item.input_audio_transcription.";

export class Spoken {
  #turns = new Map();

  /** Take an event of the session. */
  take({ type, item_id: id, ...told }) {
    if (type === "input_audio_buffer.speech_started") this.#turn(id).start = told.audio_start_ms / 1000;
    if (type === "input_audio_buffer.speech_stopped") this.#turn(id).end = told.audio_end_ms / 1000;
    if (type === `${EVENT}delta`) this.#turn(id).text += told.delta;
    if (type === `${EVENT}completed`) this.#turn(id).text = told.transcript;
  }

  #turn(id) {
    if (!this.#turns.has(id)) this.#turns.set(id, { text: "" });
    return this.#turns.get(id);
  }

  /** Return it as an object of `verbose_json`, `until` seconds long; null: nobody has spoken. */
  doc({ language, until }) {
    const said = [...this.#turns.values()].filter(({ text }) => text.trim());
    if (!said.length) return null;
    const isTimed = said.every(({ start }) => start !== undefined);
    const segments = said.map(({ text, start, end }, id) => ({
      id,
      start: isTimed ? start : 0,
      end: isTimed ? Math.max(start, end ?? until) : 0,
      text: ` ${text.trim()}`,
    }));
    const text = said.map((turn) => turn.text.trim()).join(" ");
    const untimed = isTimed ? undefined : true;
    return { task: "transcribe", language, duration: until, text, segments, untimed };
  }
}
