"""Files that many audio tests read, made once."""

from pathlib import Path

import pytest

from support.audio_files import SAMPLES, amr, ffmpeg
from whisper_router.audio.media import EXTENSIONS

SPEECH = SAMPLES / "en_three_segments.wav"
CODECS = {"mpeg": ["-c:a", "mp2"], "3gp": ["-c:a", "aac"], "mpga": ["-f", "mp3"]}


@pytest.fixture(scope="session")
def containers(tmp_path_factory) -> dict[str, Path]:
    """The same speech in a file of every accepted extension."""
    folder = tmp_path_factory.mktemp("containers")
    made = {}
    for extension in EXTENSIONS - {"amr"}:
        made[extension] = folder / f"speech.{extension}"
        ffmpeg("-i", SPEECH, *CODECS.get(extension, []), made[extension])
    made["amr"] = amr(SPEECH, folder / "speech.amr")
    return made


@pytest.fixture(scope="session")
def video(tmp_path_factory) -> Path:
    """A video with a picture track first, then two sound tracks: the speech, and a tone."""
    path = tmp_path_factory.mktemp("video") / "film.mp4"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc=size=160x120:rate=10:duration=6.92"),
        *("-i", SPEECH, "-f", "lavfi", "-i", "sine=frequency=1000:duration=6.92"),
        *("-map", "0:v", "-map", "1:a", "-map", "2:a", "-c:v", "mpeg4", "-c:a", "aac"),
        path,
    )
    return path
