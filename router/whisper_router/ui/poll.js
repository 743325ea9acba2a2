// Looking again and again, but only while somebody looks.

/** Call `work` now and every `interval_ms` until `stop()`; never twice at a time. */
export class Poll {
  #timer = 0;
  #runs = 0;

  constructor(work, interval_ms, onError) {
    Object.assign(this, { work, interval_ms, onError });
  }

  async start() {
    this.stop();
    await this.#turn(this.#runs);
  }

  stop() {
    this.#runs += 1;
    clearTimeout(this.#timer);
  }

  async #turn(run) {
    try {
      if (document.visibilityState === "visible") await this.work();
      this.onError(null);
    } catch (error) {
      this.onError(error);
      if (error.status === 401 || error.status === 403) return;
    }
    if (run === this.#runs) this.#timer = setTimeout(() => this.#turn(run), this.interval_ms);
  }
}
