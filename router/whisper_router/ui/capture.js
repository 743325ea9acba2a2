// An AudioWorklet: hands the microphone's samples over in pieces of a tenth of a second.

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.held = new Float32Array(Math.round(sampleRate / 10));
    this.count = 0;
    this.ends = false;
    this.port.onmessage = () => {
      this.port.postMessage(this.held.slice(0, this.count));
      this.port.postMessage(null);
      this.ends = true;
    };
  }

  process([[samples]]) {
    for (const sample of samples ?? []) {
      this.held[this.count++] = sample;
      if (this.count === this.held.length) {
        this.port.postMessage(this.held.slice());
        this.count = 0;
      }
    }
    return !this.ends;
  }
}

registerProcessor("capture", Capture);
