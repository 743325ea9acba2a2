// Looking again and again, but only while somebody looks.

const LONGEST_MS = 30_000;

/**
 * Call `work` now and every `interval_ms` until `stop()`. It is given a function that tells whether what it
 * finds is still wanted: an answer to an earlier call may come after that to a later one.
 *
 * What fails is tried again after twice the time, up to half a minute; a page that is shown again, or a
 * device that is online again, does not wait. `onError` gets what went wrong, or null.
 */
export class Poll {
  #timer = 0;
  #runs = 0;
  #failures = 0;
  #isWaiting = false;
  #isOn = false;

  constructor(work, interval_ms, onError) {
    Object.assign(this, { work, interval_ms, onError });
    document.addEventListener("visibilitychange", () => this.#wake());
    addEventListener("online", () => this.#wake());
  }

  async start() {
    this.stop();
    this.#isOn = true;
    await this.#turn(this.#runs);
  }

  /** Look now, if anybody looks at all. */
  async look() {
    if (this.#isOn) await this.start();
  }

  stop() {
    this.#isOn = false;
    this.#runs += 1;
    this.#failures = 0;
    this.#rest();
  }

  #rest() {
    clearTimeout(this.#timer);
    this.#isWaiting = false;
  }

  #wake() {
    if (!this.#isWaiting || document.visibilityState !== "visible") return;
    this.#rest();
    this.#turn(this.#runs);
  }

  async #turn(run) {
    if (document.visibilityState === "visible") {
      let problem = null;
      try {
        await this.work(() => run === this.#runs);
      } catch (error) {
        problem = error;
      }
      if (run !== this.#runs) return;
      this.#failures = problem ? this.#failures + 1 : 0;
      this.onError(problem);
      if (problem?.status === 401 || problem?.status === 403) return;
    }
    this.#isWaiting = true;
    const wait_ms = Math.min(LONGEST_MS, this.interval_ms * 2 ** this.#failures);
    this.#timer = setTimeout(() => {
      this.#isWaiting = false;
      this.#turn(run);
    }, wait_ms);
  }
}
