"""Sounds without any speech, made from formulas: the same samples on every machine and day.

Everything is mono, float32 between -1 and 1, at a rate of the caller's choice. Levels in dB are
of the root of the mean square, to full scale.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Wave = npt.NDArray[np.float64]
A4_HZ = 440.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """How long, how fine, and which random numbers: a sound is a function of this."""

    seconds: float
    rate_hz: int
    name: str

    @property
    def count(self) -> int:
        return round(self.seconds * self.rate_hz)

    @property
    def times(self) -> Wave:
        return np.arange(self.count) / self.rate_hz

    def random(self) -> np.random.Generator:
        """Return random numbers that depend on the name alone."""
        return np.random.default_rng(zlib.crc32(self.name.encode()))

    def lasting(self, seconds: float) -> "Clock":
        return Clock(seconds=seconds, rate_hz=self.rate_hz, name=self.name)


Sound = Callable[[Clock], Wave]
"""What fills a clock's samples."""


def at(level_db: float, sound: Sound) -> Sound:
    """Bring a sound to a level; what would go beyond full scale is clipped."""

    def levelled(clock: Clock) -> Wave:
        samples = sound(clock)
        loud = float(np.sqrt(np.mean(np.square(samples)))) or 1.0
        return np.clip(samples * (10 ** (level_db / 20) / loud), -1, 1)

    return levelled


def mixed(*sounds: Sound) -> Sound:
    """Add sounds."""
    return lambda clock: np.sum([sound(clock) for sound in sounds], axis=0)


def silence(clock: Clock) -> Wave:
    """Digital silence."""
    return np.zeros(clock.count)


def constant(value: float) -> Sound:
    """An offset, as a bad sound card adds."""
    return lambda clock: np.full(clock.count, value)


def dither(bits: int) -> Sound:
    """Triangular noise of one step of `bits`-bit audio."""

    def made(clock: Clock) -> Wave:
        first, second = clock.random().random((2, clock.count))
        return 2.0 ** (1 - bits) * (first - second)

    return made


def noise(slope_db: float = 0.0, *, low_hz: float = 0.0, high_hz: float = 1e9) -> Sound:
    """Noise whose power falls by `slope_db` per octave: 0 white, 3 pink, 6 brown; in a band."""

    def made(clock: Clock) -> Wave:
        spectrum = np.fft.rfft(clock.random().standard_normal(clock.count))
        hz = np.fft.rfftfreq(clock.count, 1 / clock.rate_hz)
        gain = np.maximum(hz, 20.0) ** (-slope_db / 6.02)
        gain[(hz < max(low_hz, 1.0)) | (hz > high_hz)] = 0
        return np.fft.irfft(spectrum * gain, clock.count)

    return made


def swelling(sound: Sound, *, period_s: float, depth: float = 1.0) -> Sound:
    """Let a sound come and go, as wind and waves do."""

    def made(clock: Clock) -> Wave:
        rise = (1 - np.cos(2 * np.pi * clock.times / period_s)) / 2
        return sound(clock) * (1 - depth + depth * rise)

    return made


def hum(hz: float, *, harmonics: int = 8) -> Sound:
    """Mains hum."""
    return lambda clock: np.sum(
        [np.sin(2 * np.pi * hz * n * clock.times + n) / n for n in range(1, harmonics + 1)], axis=0
    )


def tone(hz: float, *, vibrato_hz: float = 0.0, vibrato: float = 0.0) -> Sound:
    """A sine; `vibrato` is how far its pitch swings, as a part of it."""

    def made(clock: Clock) -> Wave:
        times = clock.times
        swing = vibrato / max(vibrato_hz, 1e-9) * np.cos(2 * np.pi * vibrato_hz * times)
        return np.sin(2 * np.pi * hz * times - hz * swing)

    return made


def harmonic(hz: float, partials: Sequence[float]) -> Sound:
    """Partials of these strengths."""
    return lambda clock: np.sum(
        [
            strength * np.sin(2 * np.pi * hz * n * clock.times)
            for n, strength in enumerate(partials, 1)
            if hz * n < clock.rate_hz / 2
        ],
        axis=0,
    )


def saw(hz: float) -> Sound:
    """A saw-tooth without aliases."""
    return harmonic(hz, [1 / n for n in range(1, 40)])


def square(hz: float) -> Sound:
    """A square wave without aliases."""
    return harmonic(hz, [n % 2 / n for n in range(1, 40)])


def chirp(start_hz: float, end_hz: float, *, period_s: float) -> Sound:
    """A sine that glides from one pitch to the other, again and again."""

    def made(clock: Clock) -> Wave:
        part = clock.times % period_s / period_s
        hz = start_hz * (end_hz / start_hz) ** part
        return np.sin(2 * np.pi * np.cumsum(hz) / clock.rate_hz)

    return made


def siren(low_hz: float, high_hz: float, *, period_s: float) -> Sound:
    """A tone that rises and falls."""

    def made(clock: Clock) -> Wave:
        part = (1 - np.cos(2 * np.pi * clock.times / period_s)) / 2
        return np.sin(2 * np.pi * np.cumsum(low_hz + (high_hz - low_hz) * part) / clock.rate_hz)

    return made


def every(period_s: float, *strikes: Sound, length_s: float | None = None) -> Sound:
    """Start one of `strikes` after the other, each `period_s` later."""

    def made(clock: Clock) -> Wave:
        out = np.zeros(clock.count)
        step = period_s * clock.rate_hz
        piece = clock.lasting(length_s or period_s)
        sounds = [strike(piece) for strike in strikes]
        for number in range(int(clock.count / step) + 1):
            _add(out, sounds[number % len(sounds)], int(number * step))
        return out

    return made


def scattered(per_second: float, strike: Sound, *, length_s: float) -> Sound:
    """Start `strike` at random moments, with random strength."""

    def made(clock: Clock) -> Wave:
        out, random = np.zeros(clock.count), clock.random()
        sound = strike(clock.lasting(length_s))
        for start in random.integers(0, clock.count, max(1, round(per_second * clock.seconds))):
            _add(out, sound * random.uniform(0.2, 1.0), int(start))
        return out

    return made


def struck(sound: Sound, *, fade_s: float, attack_s: float = 0.003) -> Sound:
    """Give a sound the envelope of something struck or plucked."""
    return lambda clock: (
        sound(clock) * np.minimum(clock.times / attack_s, 1) * np.exp(-clock.times / fade_s)
    )


def bowed(sound: Sound, *, attack_s: float = 0.15) -> Sound:
    """Let a sound come and end gently."""
    return lambda clock: (
        sound(clock)
        * np.minimum(clock.times / attack_s, 1)
        * np.minimum((clock.seconds - clock.times) / attack_s, 1)
    )


def bell(hz: float, *, ratio: float = 1.4, depth: float = 6.0, fade_s: float = 1.2) -> Sound:
    """A bell by frequency modulation (Chowning 1973)."""

    def made(clock: Clock) -> Wave:
        times = clock.times
        index = depth * np.exp(-times / fade_s)
        turn = np.sin(2 * np.pi * hz * ratio * times)
        return np.sin(2 * np.pi * hz * times + index * turn) * np.exp(-times / fade_s)

    return made


def plucked(hz: float) -> Sound:
    """A string (Karplus and Strong 1983)."""

    def made(clock: Clock) -> Wave:
        period = max(2, round(clock.rate_hz / hz))
        block = clock.random().uniform(-1, 1, period)
        blocks = []
        for _ in range(-(-clock.count // period)):
            blocks.append(block)
            block = 0.498 * (block + np.roll(block, 1))
        return np.concatenate(blocks)[: clock.count]

    return made


def kick(clock: Clock) -> Wave:
    """A bass drum: a sine that falls in pitch."""
    hz = 50 + 120 * np.exp(-clock.times / 0.03)
    return np.sin(2 * np.pi * np.cumsum(hz) / clock.rate_hz) * np.exp(-clock.times / 0.12)


snare: Sound = struck(mixed(noise(low_hz=1_000), tone(190)), fade_s=0.07)
hat: Sound = struck(noise(low_hz=3_000), fade_s=0.025, attack_s=0.001)
click: Sound = struck(noise(), fade_s=0.002, attack_s=0.0002)


def note(steps: int) -> float:
    """Return the pitch that many semitones above A4."""
    return A4_HZ * 2 ** (steps / 12)


def chord(of: Callable[[float], Sound], *steps: int) -> Sound:
    """Several notes of an instrument at once."""
    return mixed(*[of(note(step)) for step in steps])


def melody(of: Callable[[float], Sound], *steps: int) -> Sequence[Sound]:
    """Return the notes one by one, for `every`."""
    return [of(note(step)) for step in steps]


def keys(pairs: Sequence[tuple[float, float]]) -> Sequence[Sound]:
    """Return tones of two pitches each, with a pause after them, for `every`."""

    def key(low_hz: float, high_hz: float) -> Sound:
        both = mixed(tone(low_hz), tone(high_hz))
        return lambda clock: both(clock) * (clock.times < 0.6 * clock.seconds)

    return [key(*pair) for pair in pairs]


def shifting(*hz: float, bits_per_s: float) -> Sound:
    """A modem: random symbols as pitches."""

    def made(clock: Clock) -> Wave:
        symbols = clock.random().integers(0, len(hz), int(clock.seconds * bits_per_s) + 1)
        pitch = np.array(hz)[symbols[(clock.times * bits_per_s).astype(int)]]
        return np.sin(2 * np.pi * np.cumsum(pitch) / clock.rate_hz)

    return made


def on_and_off(sound: Sound, *, on_s: float, off_s: float) -> Sound:
    """Let a sound be heard for a while, then not, again and again."""
    return lambda clock: sound(clock) * (clock.times % (on_s + off_s) < on_s)


def motor(turns_hz: float) -> Sound:
    """An engine: bursts of low noise, each a little different."""
    rumble = noise(6, low_hz=30)
    return lambda clock: rumble(clock) * np.abs(np.sin(np.pi * turns_hz * clock.times)) ** 3


def _add(out: Wave, sound: Wave, start: int) -> None:
    piece = sound[: len(out) - start]
    out[start : start + len(piece)] += piece
