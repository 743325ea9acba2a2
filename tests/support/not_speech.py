"""A hundred files without any speech: silence, noise, machines, telephones and music."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from support import sounds as s
from support.audio_files import ffmpeg, wav
from support.sounds import at

ORGAN = (1.0, 0.8, 0.4, 0.5, 0.1, 0.3, 0.0, 0.3)
REED = (1.0, 0.1, 0.7, 0.1, 0.5, 0.1, 0.3, 0.05, 0.2)
BRASS = (1.0, 0.9, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A sound and the file it comes in. `suffix` names the container, `kind` a WAV's samples."""

    sound: s.Sound
    seconds: float = 8.0
    rate_hz: int = 16_000
    suffix: str = ".wav"
    kind: str = "s16"
    channels: int = 1

    def write(self, folder: Path, name: str) -> Path:
        """Write it as `folder/name` with its suffix."""
        samples = self.sound(s.Clock(seconds=self.seconds, rate_hz=self.rate_hz, name=name))
        mono = np.clip(samples, -1, 1).astype(np.float32)
        plain = folder / f"{name}.wav"
        frames = np.repeat(mono[:, None], self.channels, axis=1)
        plain.write_bytes(wav(frames, self.rate_hz, kind=self.kind))
        if self.suffix == ".wav":
            return plain
        target = plain.with_suffix(self.suffix)
        ffmpeg("-i", plain, target)
        plain.unlink()
        return target


SILENT: Mapping[str, File] = {
    "silence-short": File(sound=s.silence, seconds=0.2),
    "silence-minute": File(sound=s.silence, seconds=60),
    "silence-8k": File(sound=s.silence, rate_hz=8_000),
    "silence-stereo-48k": File(sound=s.silence, rate_hz=48_000, channels=2),
    "silence-24-bit": File(sound=s.silence, rate_hz=44_100, kind="s24"),
    "silence-float": File(sound=s.silence, kind="f32"),
    "silence-flac": File(sound=s.silence, seconds=30, suffix=".flac"),
    "silence-mp3": File(sound=s.silence, seconds=30, rate_hz=44_100, suffix=".mp3"),
    "silence-opus": File(sound=s.silence, rate_hz=48_000, suffix=".webm"),
    "silence-aac": File(sound=s.silence, rate_hz=44_100, suffix=".m4a"),
}
"""Digital silence."""

NEARLY_SILENT: Mapping[str, File] = {
    "dither-16-bit": File(sound=s.dither(16), seconds=20, kind="f32"),
    "dither-8-bit": File(sound=s.dither(8), kind="u8"),
    "offset": File(sound=s.constant(0.02)),
    "offset-large": File(sound=s.constant(-0.3), rate_hz=44_100, suffix=".flac"),
    "white-90": File(sound=at(-90, s.noise()), kind="f32"),
    "white-75": File(sound=at(-75, s.noise()), seconds=30),
    "pink-75": File(sound=at(-75, s.noise(3))),
    "hum-75": File(sound=at(-75, s.hum(50))),
}

NOISE: Mapping[str, File] = {
    "white-60": File(sound=at(-60, s.noise()), seconds=30),
    "white-50": File(sound=at(-50, s.noise()), rate_hz=44_100),
    "white-40": File(sound=at(-40, s.noise()), suffix=".mp3"),
    "white-30": File(sound=at(-30, s.noise()), rate_hz=48_000, channels=2),
    "white-20": File(sound=at(-20, s.noise())),
    "white-10": File(sound=at(-10, s.noise()), seconds=30),
    "white-clipped": File(sound=at(-1, s.noise()), kind="f32"),
    "pink-60": File(sound=at(-60, s.noise(3))),
    "pink-50": File(sound=at(-50, s.noise(3)), suffix=".flac"),
    "pink-40": File(sound=at(-40, s.noise(3)), rate_hz=48_000, suffix=".webm"),
    "pink-30": File(sound=at(-30, s.noise(3)), seconds=60, suffix=".mp3"),
    "pink-20": File(sound=at(-20, s.noise(3))),
    "pink-12": File(sound=at(-12, s.noise(3)), rate_hz=44_100, suffix=".m4a"),
    "brown-50": File(sound=at(-50, s.noise(6))),
    "brown-40": File(sound=at(-40, s.noise(6)), rate_hz=44_100, kind="s24"),
    "brown-20": File(sound=at(-20, s.noise(6))),
    "brown-12": File(sound=at(-12, s.noise(6)), seconds=30, suffix=".ogg"),
    "telephone-band": File(sound=at(-30, s.noise(low_hz=300, high_hz=3_400)), rate_hz=8_000),
    "hiss": File(sound=at(-35, s.noise(low_hz=4_000)), rate_hz=44_100),
    "rumble": File(sound=at(-20, s.noise(high_hz=120))),
    "noise-bursts": File(sound=at(-25, s.on_and_off(s.noise(3), on_s=0.4, off_s=0.7))),
}

PLACES: Mapping[str, File] = {
    "rain": File(
        sound=at(-30, s.mixed(s.noise(3), s.scattered(300, s.click, length_s=0.02))), seconds=20
    ),
    "rain-on-a-roof": File(
        sound=at(-25, s.scattered(80, s.struck(s.noise(6), fade_s=0.01), length_s=0.08)),
        rate_hz=44_100,
    ),
    "wind": File(sound=at(-25, s.swelling(s.noise(6, high_hz=700), period_s=3.1)), seconds=20),
    "sea": File(
        sound=at(-25, s.swelling(s.noise(3), period_s=7, depth=0.9)), seconds=60, suffix=".mp3"
    ),
    "engine-idle": File(sound=at(-20, s.motor(13))),
    "engine-fast": File(sound=at(-20, s.motor(55)), rate_hz=48_000, channels=2),
    "helicopter": File(sound=at(-18, s.motor(11)), seconds=20, suffix=".ogg"),
    "fan": File(sound=at(-35, s.mixed(s.noise(4, high_hz=2_000), s.hum(100))), seconds=30),
    "vinyl": File(sound=at(-45, s.scattered(12, s.click, length_s=0.02)), rate_hz=44_100),
    "geiger": File(sound=at(-30, s.scattered(5, s.click, length_s=0.02))),
    "keyboard": File(
        sound=at(-30, s.scattered(6, s.struck(s.noise(2), fade_s=0.012), length_s=0.1))
    ),
    "metronome": File(sound=at(-25, s.every(0.5, s.click))),
    "knocking": File(
        sound=at(-20, s.every(0.3, s.struck(s.noise(6, high_hz=500), fade_s=0.05))), seconds=5
    ),
    "crickets": File(
        sound=at(-30, s.on_and_off(s.swelling(s.tone(4_300), period_s=0.03), on_s=0.4, off_s=0.3)),
        rate_hz=44_100,
    ),
    "birds": File(
        sound=at(-25, s.scattered(2, s.bowed(s.chirp(2_500, 5_000, period_s=0.12)), length_s=0.5)),
        rate_hz=44_100,
        suffix=".mp3",
    ),
}

MAINS_AND_TONES: Mapping[str, File] = {
    "hum-50-loud": File(sound=at(-15, s.hum(50)), seconds=30),
    "hum-50": File(sound=at(-35, s.hum(50)), rate_hz=44_100),
    "hum-60": File(sound=at(-35, s.hum(60, harmonics=20)), suffix=".mp3"),
    "hum-and-hiss": File(sound=at(-40, s.mixed(s.hum(60), s.noise())), seconds=20),
    "tone-100": File(sound=at(-15, s.tone(100))),
    "tone-440": File(sound=at(-10, s.tone(440)), rate_hz=44_100, channels=2),
    "tone-1000": File(sound=at(-20, s.tone(1_000)), seconds=30),
    "tone-3000": File(sound=at(-20, s.tone(3_000)), rate_hz=8_000),
    "tone-12000": File(sound=at(-20, s.tone(12_000)), rate_hz=48_000, suffix=".flac"),
    "beats": File(sound=at(-20, s.mixed(s.tone(300), s.tone(303)))),
    "vibrato": File(sound=at(-20, s.tone(600, vibrato_hz=5.5, vibrato=0.02))),
    "square": File(sound=at(-15, s.square(220))),
    "saw": File(sound=at(-15, s.saw(110)), rate_hz=44_100, suffix=".m4a"),
    "chirp-up": File(sound=at(-20, s.chirp(50, 7_000, period_s=4))),
    "chirp-fast": File(sound=at(-20, s.chirp(300, 3_000, period_s=0.3)), suffix=".mp3"),
    "chirp-down": File(sound=at(-20, s.chirp(6_000, 100, period_s=8)), rate_hz=48_000),
    "siren-slow": File(sound=at(-15, s.siren(500, 1_300, period_s=4)), seconds=20),
    "siren-fast": File(sound=at(-15, s.siren(700, 1_600, period_s=0.35))),
}

TELEPHONE: Mapping[str, File] = {
    "dial-tone": File(sound=at(-20, s.mixed(s.tone(350), s.tone(440))), rate_hz=8_000),
    "ring-back": File(
        sound=at(-20, s.on_and_off(s.mixed(s.tone(440), s.tone(480)), on_s=2, off_s=4)), seconds=20
    ),
    "busy": File(sound=at(-20, s.on_and_off(s.tone(425), on_s=0.5, off_s=0.5)), rate_hz=8_000),
    "old-bell": File(sound=at(-20, s.on_and_off(s.every(0.05, s.bell(1_500)), on_s=1, off_s=2))),
    "touch-tones": File(
        sound=at(
            -20,
            s.every(
                0.25, *s.keys([(697, 1209), (770, 1336), (852, 1477), (941, 1336), (697, 1477)])
            ),
        ),
        rate_hz=8_000,
    ),
    "modem": File(sound=at(-20, s.shifting(1_070, 1_270, bits_per_s=300)), rate_hz=8_000),
    "fax": File(sound=at(-20, s.shifting(1_100, 1_650, 1_850, 2_100, bits_per_s=50))),
    "time-signal": File(sound=at(-20, s.on_and_off(s.tone(1_000), on_s=0.1, off_s=0.9))),
}


def piano(hz: float) -> s.Sound:
    """A piano-like note."""
    return s.struck(s.harmonic(hz, [1, 0.6, 0.35, 0.2, 0.12, 0.06]), fade_s=0.6)


def organ(hz: float) -> s.Sound:
    """An organ-like note."""
    return s.bowed(s.harmonic(hz, ORGAN), attack_s=0.03)


def strings(hz: float) -> s.Sound:
    """Three saw-teeth, a little apart."""
    return s.bowed(s.mixed(s.saw(hz), s.saw(hz * 1.004), s.saw(hz * 0.996)), attack_s=0.3)


def flute(hz: float) -> s.Sound:
    """A tone with vibrato and some breath."""
    breath = at(-45, s.noise(low_hz=1_000))
    return s.bowed(s.mixed(at(-15, s.tone(hz, vibrato_hz=5, vibrato=0.01)), breath))


def clarinet(hz: float) -> s.Sound:
    """Odd partials."""
    return s.bowed(s.harmonic(hz, REED), attack_s=0.05)


def brass(hz: float) -> s.Sound:
    """Many partials."""
    return s.bowed(s.harmonic(hz, BRASS), attack_s=0.06)


def bass(hz: float) -> s.Sound:
    """A plucked saw-tooth."""
    return s.struck(s.saw(hz), fade_s=0.3)


BEAT = s.mixed(s.every(1.0, s.kick, s.kick), s.every(1.0, s.silence, s.snare), s.every(0.25, s.hat))
LINE = s.every(0.25, *s.melody(bass, -36, -36, -24, -33, -36, -29, -24, -31))
CHORDS = s.every(
    2.0,
    s.chord(piano, -12, -8, -5),
    s.chord(piano, -10, -7, -3),
    s.chord(piano, -14, -10, -5),
    s.chord(piano, -12, -9, -5),
)

MUSIC: Mapping[str, File] = {
    "piano-chords": File(sound=at(-18, CHORDS), seconds=30, rate_hz=44_100),
    "piano-melody": File(
        sound=at(-18, s.every(0.4, *s.melody(piano, 0, 2, 4, 5, 7, 5, 4, 2, 0, -5))), suffix=".mp3"
    ),
    "arpeggio": File(sound=at(-18, s.every(0.15, *s.melody(piano, -12, -8, -5, 0, -5, -8)))),
    "organ": File(
        sound=at(-15, s.every(3.0, s.chord(organ, -24, -12, -5), s.chord(organ, -22, -10, -3))),
        seconds=20,
    ),
    "strings": File(
        sound=at(-20, s.every(4.0, s.chord(strings, -12, -8, -5), s.chord(strings, -14, -7, -3))),
        seconds=30,
        rate_hz=48_000,
        suffix=".webm",
    ),
    "flute": File(sound=at(-20, s.every(0.8, *s.melody(flute, 3, 5, 7, 10, 8, 7)))),
    "clarinet": File(
        sound=at(-20, s.every(0.6, *s.melody(clarinet, -9, -5, -2, 3, -2, -5))), rate_hz=44_100
    ),
    "brass": File(sound=at(-15, s.every(0.5, *s.melody(brass, -12, -12, -5, 0, -5, -12)))),
    "guitar": File(
        sound=at(-20, s.every(0.3, *s.melody(s.plucked, -17, -12, -8, -5, -8, -12), length_s=1.5)),
        rate_hz=44_100,
        suffix=".m4a",
    ),
    "harp": File(
        sound=at(-20, s.every(0.12, *s.melody(s.plucked, -12, -9, -5, 0, 3, 7, 12), length_s=2.0))
    ),
    "bells": File(
        sound=at(-18, s.every(0.7, *s.melody(s.bell, 0, -3, 4, 7, 2), length_s=3.0)), seconds=20
    ),
    "gong": File(sound=at(-20, s.every(5.0, s.bell(140, ratio=1.73, depth=9, fade_s=2.5)))),
    "music-box": File(
        sound=at(-25, s.every(0.25, *s.melody(lambda hz: s.bell(hz, depth=1), 12, 16, 19, 24, 19)))
    ),
    "bass-line": File(sound=at(-15, LINE)),
    "drums": File(sound=at(-15, BEAT), seconds=30, rate_hz=44_100, suffix=".mp3"),
    "drums-fast": File(sound=at(-12, s.mixed(s.every(0.3, s.kick, s.snare), s.every(0.15, s.hat)))),
    "techno": File(
        sound=at(-12, s.mixed(at(-12, s.every(0.45, s.kick)), at(-20, LINE))),
        seconds=60,
        rate_hz=44_100,
        suffix=".mp3",
    ),
    "band": File(
        sound=at(-15, s.mixed(at(-15, BEAT), at(-18, LINE), at(-18, CHORDS))),
        seconds=60,
        rate_hz=44_100,
        channels=2,
        suffix=".mp3",
    ),
    "band-quiet": File(
        sound=at(-45, s.mixed(at(-15, BEAT), at(-18, LINE), at(-18, CHORDS))), seconds=20
    ),
    "band-with-flute": File(
        sound=at(
            -15,
            s.mixed(
                at(-18, BEAT),
                at(-20, CHORDS),
                at(-18, s.every(0.8, *s.melody(flute, 3, 5, 7, 10, 8, 7))),
            ),
        ),
        seconds=30,
        rate_hz=48_000,
        suffix=".ogg",
    ),
}

NOT_SPEECH: Mapping[str, File] = {
    **SILENT,
    **NEARLY_SILENT,
    **NOISE,
    **PLACES,
    **MAINS_AND_TONES,
    **TELEPHONE,
    **MUSIC,
}
