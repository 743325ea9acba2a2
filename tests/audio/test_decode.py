"""Decoding: real containers, and files made to hurt."""

import random
import socket
import struct
import time
from pathlib import Path

import av
import numpy as np
import pytest

from support.audio_files import (
    FLAC_RATE_HZ,
    SAMPLES,
    ffmpeg,
    flac_of_silence,
    floats_of,
    loudness,
    tone,
    wav,
)
from whisper_router.audio.decode import decode
from whisper_router.audio.media import EXTENSIONS, Encoding, PcmFormat
from whisper_router.errors import AudioTooLong, AudioTooShort, AudioUndecodable

SPEECH = SAMPLES / "en_three_segments.wav"
SPEECH_S = 6.92
LIMIT_S = 600.0


@pytest.fixture
def decoded(tmp_path):
    """Decode a file or bytes; return what was said of it, and the samples."""

    def decoded(source: Path | bytes, *, pcm=None, max_duration_s: float = LIMIT_S):
        if isinstance(source, bytes):
            path = tmp_path / "source"
            path.write_bytes(source)
            source = path
        target = tmp_path / "target.f32"
        result = decode(source, target, pcm=pcm, max_duration_s=max_duration_s)
        samples = np.fromfile(target, dtype=np.float32)
        assert result.samples == len(samples)
        assert np.isfinite(samples).all()
        return result, samples

    return decoded


@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_what_is_no_number_becomes_silence(decoded, kind, value, rate_hz):
    """One NaN in a float file must not hide the speech around it."""
    samples = tone(1.0, rate_hz)
    samples[rate_hz // 2] = value
    _, heard = decoded(wav(samples, rate_hz, kind=kind))
    np.testing.assert_allclose(heard[:7_000], tone(1.0, 16_000)[:7_000], atol=0.02)
    assert loudness(heard[9_000:]) == pytest.approx(loudness(tone(1.0, 16_000)[9_000:]), rel=0.01)


def test_16_khz_mono_comes_through_unchanged(decoded):
    """Every sample is the file's own, between -1 and 1."""
    result, samples = decoded(SPEECH)
    assert (result.codec, result.sample_rate_hz, result.channels) == ("pcm_s16le", 16_000, 1)
    np.testing.assert_array_equal(samples, floats_of(SPEECH))


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_rate_becomes_16_khz(decoded, rate_hz, channels):
    """Length, pitch and loudness stay."""
    sine = tone(1.0, rate_hz, hz=1000, level=0.5)
    source = wav(np.repeat(sine[:, None], channels, axis=1), rate_hz)
    result, samples = decoded(source)
    assert (result.sample_rate_hz, result.channels) == (rate_hz, channels)
    assert len(samples) == pytest.approx(16_000, abs=2)
    spectrum = np.abs(np.fft.rfft(samples[:16_000] * np.hanning(len(samples[:16_000]))))
    assert np.argmax(spectrum) == pytest.approx(1000, abs=1)
    assert loudness(samples[1000:-1000]) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)


@pytest.mark.parametrize("kind", ["u8", "s16", "s24", "s32", "f32", "f64"])
def test_any_sample_width_gives_the_same_sound(decoded, kind):
    """8 to 64 bits, whole numbers and floats."""
    sine = tone(0.5, 16_000)
    result, samples = decoded(wav(sine, 16_000, kind=kind))
    tolerance = 0.02 if kind == "u8" else 1e-4
    assert result.codec == f"pcm_{kind}" + ("" if kind == "u8" else "le")
    np.testing.assert_allclose(samples, sine, atol=tolerance)


def test_frequencies_over_8_khz_do_not_fold_back(decoded):
    """A proper resampler filters before it drops samples."""
    _result, samples = decoded(wav(tone(1.0, 48_000, hz=10_000, level=0.9), 48_000))
    assert loudness(samples[1000:-1000]) < 0.001


@pytest.mark.parametrize("channels", [2, 3, 4, 6, 8, 16])
@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_channels_are_averaged(decoded, channels, rate_hz):
    """One channel of sound among silent ones is divided by their number; no clipping."""
    sine = tone(0.5, rate_hz, level=0.9)
    frames = np.zeros((len(sine), channels), dtype=np.float32)
    for sounding in range(channels):
        frames[:] = 0
        frames[:, sounding] = sine
        _result, samples = decoded(wav(frames, rate_hz))
        expected = 0.9 / np.sqrt(2) / channels
        assert loudness(samples[500:-500]) == pytest.approx(expected, rel=0.02)


def test_opposite_channels_cancel(decoded):
    """An average, not the left channel."""
    sine = tone(0.5, 16_000)
    _result, samples = decoded(wav(np.stack([sine, -sine], axis=1), 16_000))
    assert loudness(samples) < 1e-4


@pytest.mark.parametrize("extension", sorted(EXTENSIONS))
def test_every_accepted_extension_decodes(decoded, containers, extension):
    """Same length, same loudness, sound in the same places, whatever the container."""
    _result, samples = decoded(containers[extension])
    reference = floats_of(SPEECH)
    assert len(samples) / 16_000 == pytest.approx(SPEECH_S, abs=0.15)
    assert envelope_match(samples, reference) > 0.9


def envelope_match(samples, reference) -> float:
    """Correlation of the loudness in steps of 0.1 s, at the best shift of up to 0.1 s."""
    size = min(len(samples), len(reference)) // 1600 * 1600 - 1600
    wanted = np.abs(reference[:size]).reshape(-1, 1600).mean(axis=1)
    return max(
        float(np.corrcoef(np.abs(samples[at : at + size]).reshape(-1, 1600).mean(1), wanted)[0, 1])
        for at in range(0, 1600, 160)
    )


@pytest.mark.parametrize("name", ["blob", "upload", "speech.wav", "speech.txt", "-i", "http:x"])
def test_the_name_means_nothing(decoded, containers, tmp_path, name):
    """An MP3 under any name is an MP3."""
    renamed = tmp_path / name
    renamed.write_bytes(containers["mp3"].read_bytes())
    result, _samples = decoded(renamed)
    assert result.codec.startswith("mp3")


def test_the_first_sound_track_of_a_video_is_taken(decoded, video):
    """Not the pictures, and not the second track."""
    result, samples = decoded(video)
    assert result.codec == "aac"
    assert envelope_match(samples, floats_of(SPEECH)) > 0.95


def test_a_track_of_an_unknown_codec_is_passed_over(decoded, containers, tmp_path):
    """If a later one can be decoded; alone it is an error that says so."""
    both = tmp_path / "both.mov"
    ffmpeg("-i", SPEECH, "-i", SPEECH, "-map", "0", "-map", "1", "-c:a:0", "adpcm_ima_qt", both)
    broken = both.read_bytes().replace(b"ima4", b"zzzz")
    result, _samples = decoded(broken)
    assert result.codec == "aac"
    ffmpeg("-i", SPEECH, "-c:a", "adpcm_ima_qt", both)
    with pytest.raises(AudioUndecodable, match="its audio codec is not supported"):
        decoded(both.read_bytes().replace(b"ima4", b"zzzz"))


def test_metadata_in_any_charset_does_no_harm(decoded, tmp_path):
    """Old files have Latin-1 in UTF-8 places."""
    tagged = tmp_path / "tagged.flac"
    ffmpeg("-i", SPEECH, "-metadata", "title=XXXXXX", tagged)
    data = tagged.read_bytes()
    assert b"XXXXXX" in data
    decoded(data.replace(b"XXXXXX", b"gr\xf6\xdfe\xff"))


def test_channel_maps_in_an_unusual_order_do_not_crash(decoded, tmp_path):
    """PyAV 18.1 freed the map of such a layout twice."""
    six = tmp_path / "six.caf"
    ffmpeg("-i", SPEECH, "-af", "pan=5.1|c0=c0|c1=c0|c2=c0|c3=c0|c4=c0|c5=c0", six)
    data = six.read_bytes()
    at = data.index(b"chan") + 12
    for tag in (122, 123, 124):  # the 5.1 orders of CoreAudio other than FFmpeg's own
        changed = data[:at] + struct.pack(">I", tag << 16 | 6) + data[at + 4 :]
        result, _samples = decoded(changed)
        assert result.channels == 6


def test_gaps_in_time_stamps_are_closed(decoded, tmp_path):
    """Browsers record WebM with pauses in the clock; nothing is put in their place."""
    path = tmp_path / "gap.mkv"
    with av.open(path, "w") as out:
        stream = out.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for number in range(10):
            frame = av.AudioFrame.from_ndarray(
                (tone(0.1, 16_000) * 32767).astype(np.int16)[None, :], format="s16", layout="mono"
            )
            frame.sample_rate = 16_000
            frame.pts = number * 16_000
            out.mux(stream.encode(frame))
    result, _samples = decoded(path)
    assert result.duration_s == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("stated", [0, 0xFFFFFFFF, 0x7FFFFFFF, 100_000_000])
def test_a_wav_header_that_lies_about_its_size_is_believed_only_as_far_as_the_data(decoded, stated):
    """Programs that write to a pipe cannot know the size."""
    sine = tone(1.0, 16_000)
    result, _samples = decoded(wav(sine, 16_000, data_bytes=stated))
    assert result.duration_s == pytest.approx(1.0)


@pytest.mark.parametrize("extension", ["wav", "mp3", "flac", "ogg", "webm", "mkv", "aac", "aiff"])
def test_a_truncated_file_gives_what_is_there(decoded, containers, extension):
    """Half of the bytes is about half of the sound."""
    data = containers[extension].read_bytes()
    result, _samples = decoded(data[: len(data) // 2])
    assert 0.2 * SPEECH_S < result.duration_s < 0.8 * SPEECH_S


def test_a_truncated_mp4_without_its_index_says_so(decoded, containers):
    """Its index is at the end: nothing can be decoded without it."""
    data = containers["m4a"].read_bytes()
    with pytest.raises(AudioUndecodable, match="an incomplete one"):
        decoded(data[: len(data) // 2])


@pytest.mark.parametrize("extension", ["mp3", "ogg", "flac", "webm", "aac", "m4a"])
def test_damage_in_the_middle_costs_a_little_sound(decoded, containers, extension):
    """A scratch is no reason to refuse the file."""
    data = bytearray(containers[extension].read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = random.Random(1).randbytes(400)
    result, _samples = decoded(bytes(data))
    assert result.duration_s == pytest.approx(SPEECH_S, abs=2)


@pytest.mark.parametrize("extension", ["flac", "m4a", "webm", "ogg"])
def test_a_file_that_is_mostly_damaged_is_refused_or_short(decoded, containers, extension):
    """Noise in place of audio never crashes, and is not passed off as audio."""
    data = bytearray(containers[extension].read_bytes())
    for at in range(4096, len(data) - 4096, 64):
        data[at : at + 32] = random.Random(at).randbytes(32)
    try:
        result, _samples = decoded(bytes(data))
    except (AudioUndecodable, AudioTooShort):
        return
    assert result.duration_s < SPEECH_S + 1


NOT_AUDIO = {
    "text": b"These are only words.\n" * 100,
    "json": b'{"audio": "none"}',
    "html": b"<!doctype html><html><body>413</body></html>",
    "png": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(2000),
    "jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(2000),
    "pdf": b"%PDF-1.7\n" + bytes(2000),
    "zip": b"PK\x03\x04" + bytes(2000),
    "zeros": bytes(50_000),
    "one byte": b"R",
    "wav magic only": b"RIFF",
    "wav header only in part": wav(tone(1, 16_000), 16_000)[:20],
    "program": Path("/bin/sh").read_bytes()[:100_000],
}


@pytest.mark.parametrize("kind", NOT_AUDIO)
def test_what_is_not_audio_is_refused_with_the_list_of_what_is(decoded, kind):
    """The message has the contract's form, and the reason."""
    with pytest.raises(AudioUndecodable) as caught:
        decoded(NOT_AUDIO[kind])
    message = str(caught.value)
    assert message.startswith("Invalid file format. Supported formats: ['3gp', 'aac', 'aiff',")
    assert "could not be decoded: it is no known audio container" in message
    assert (caught.value.code, caught.value.param) == ("audio_undecodable", "file")


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_are_refused(decoded, seed):
    """None of them is taken for an MP3."""
    generator = random.Random(seed)
    with pytest.raises((AudioUndecodable, AudioTooShort)):
        decoded(generator.randbytes(generator.randrange(1, 200_000)))


def test_a_video_without_sound_is_refused(decoded, tmp_path):
    """With the reason."""
    silent = tmp_path / "silent.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc=size=160x120:rate=10:duration=1", "-c:v", "mpeg4", silent)
    with pytest.raises(AudioUndecodable, match="it has no audio stream"):
        decoded(silent)


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{file}\n#EXT-X-ENDLIST\n",
    "hls of an address": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{url}\n#EXT-X-ENDLIST\n",
    "ffconcat": "ffconcat version 1.0\nfile '{path}'\n",
    "ffconcat of an address": "ffconcat version 1.0\nfile '{url}'\n",
    "dash": '<?xml version="1.0"?><MPD><Period><BaseURL>{url}</BaseURL></Period></MPD>',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n",
    "asx": '<asx version="3.0"><entry><ref href="{url}"/></entry></asx>',
    "pls": "[playlist]\nFile1={url}\nNumberOfEntries=1\n",
    "image sequence": "{path}%d.png",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_playlists_open_nothing(decoded, containers, tmp_path, kind):
    """No file and no address named inside an upload is ever opened, whatever it is called."""
    speech = containers["aac"]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/a.aac"
        source = tmp_path / "song.mp3"
        source.write_text(PLAYLISTS[kind].format(file=f"file://{speech}", path=speech, url=url))
        with pytest.raises(AudioUndecodable, match="no known audio container"):
            decoded(source)
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()


@pytest.mark.parametrize("duration_s", [0.0, 0.02, 0.099])
def test_too_short_audio_says_what_the_least_is(decoded, duration_s):
    """An empty recording, and 20 ms of one."""
    with pytest.raises(AudioTooShort) as caught:
        decoded(wav(tone(duration_s, 16_000), 16_000))
    assert str(caught.value) == ("Audio file is too short. Minimum audio length is 0.1 seconds.")
    assert (caught.value.status, caught.value.code) == (400, "audio_too_short")


def test_an_empty_file_is_too_short(decoded):
    """Zero bytes are a very short file, not an unknown format."""
    with pytest.raises(AudioTooShort):
        decoded(b"")


def test_a_tenth_of_a_second_is_enough(decoded):
    """The limit itself is accepted."""
    result, _samples = decoded(wav(tone(0.1, 16_000), 16_000))
    assert result.samples == 1600


def test_a_file_that_decodes_to_days_is_stopped_early(decoded, tmp_path):
    """70 kB of FLAC hold 3 days: decoding ends at the limit, in little time and disk."""
    bomb = flac_of_silence(3 * 86_400)
    assert len(bomb) < 100_000
    began = time.process_time()
    with pytest.raises(AudioTooLong, match=r"limit of 600 seconds .*audio\.max_duration_s"):
        decoded(bomb)
    assert time.process_time() - began < 5
    assert (tmp_path / "target.f32").stat().st_size <= LIMIT_S * 16_000 * 4


def test_the_flac_that_is_too_long_would_have_decoded(decoded):
    """The file of the test before is good, only long."""
    result, samples = decoded(flac_of_silence(140))
    assert (result.codec, result.sample_rate_hz) == ("flac", FLAC_RATE_HZ)
    assert result.duration_s == pytest.approx(131, abs=1)
    assert not samples.any()


def test_the_limit_of_the_length_is_the_length_of_the_sound(decoded):
    """A second is not too long for a limit of a second."""
    source = wav(tone(1.0, 16_000), 16_000)
    assert decoded(source, max_duration_s=1.0)[0].samples == 16_000
    with pytest.raises(AudioTooLong):
        decoded(source, max_duration_s=0.99)


@pytest.mark.parametrize("rate_hz", [1, 999, 1_000_000, 4_000_000_000])
def test_absurd_sample_rates_are_refused(decoded, rate_hz):
    """One sample a second would blow up 16,000 times."""
    with pytest.raises(AudioUndecodable, match=r"sample rate|no known"):
        decoded(wav_of_rate(rate_hz))


def wav_of_rate(rate_hz: int) -> bytes:
    data = bytearray(wav(tone(1.0, 16_000), 16_000))
    struct.pack_into("<I", data, 24, rate_hz)
    return bytes(data)


@pytest.mark.parametrize(("encoding", "kind"), [(Encoding.S16LE, "<i2"), (Encoding.S16BE, ">i2")])
def test_raw_pcm_is_read_as_it_is_said_to_be(decoded, encoding, kind):
    """No header: the content type says rate, channels and byte order."""
    sine = tone(1.0, 24_000, hz=1000)
    stereo = np.stack([sine, sine], axis=1)
    raw = (stereo * 32767).astype(kind).tobytes()
    pcm = PcmFormat(encoding=encoding, rate_hz=24_000, channels=2)
    result, samples = decoded(raw, pcm=pcm)
    assert (result.sample_rate_hz, result.channels) == (24_000, 2)
    assert len(samples) == pytest.approx(16_000, abs=2)
    assert loudness(samples[1000:-1000]) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)


def test_raw_pcm_of_an_odd_length_loses_the_odd_byte(decoded):
    """A stream cut inside a sample."""
    pcm = PcmFormat(encoding=Encoding.S16LE, rate_hz=16_000, channels=1)
    result, _samples = decoded(bytes(3201), pcm=pcm)
    assert result.samples == 1600


def test_a_full_disk_is_an_os_error(tmp_path):
    """The worker turns ENOSPC into its own answer."""
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        decode(SAMPLES / "en_two_speakers_long.wav", full, pcm=None, max_duration_s=LIMIT_S)
