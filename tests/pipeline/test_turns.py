"""Who speaks when in a file: media workers, levels and the built-in diarization."""

import pytest

from support.speech import sample
from whisper_router.audio.media import MediaLimits
from whisper_router.audio.media_pool import MediaPool
from whisper_router.audio.spool import Spool
from whisper_router.domain import SpeakerOptions
from whisper_router.errors import ChannelsUnusable, InvalidParameter
from whisper_router.pipeline.stages import Stages
from whisper_router.pipeline.transcribe import MediaSource
from whisper_router.pipeline.turns import SpeakerFinder
from whisper_router.plugins import load_diarizations
from whisper_router.tasks import Tasks

STEREO = sample("stereo_two_speakers_44k")


@pytest.fixture
async def spool(tmp_path):
    spool = Spool.create(tmp_path)
    yield spool
    spool.close()


@pytest.fixture
async def finder(spool):
    tasks = Tasks()
    media = MediaPool(workers=1, limits=MediaLimits(), tasks=tasks)
    await media.start()
    stages = Stages(diarizations=load_diarizations(), diarization="channels")
    yield SpeakerFinder(media, spool, stages)
    await media.close()
    await tasks.close()


async def test_turns_are_labelled_and_no_file_is_left(finder, spool):
    found = await finder.find(MediaSource(path=STEREO.path), SpeakerOptions(names=("ann",)))
    assert found.duration_s == pytest.approx(STEREO.seconds, abs=0.05)
    assert {turn.speaker for turn in found.turns} == {"ann", "A"}
    assert all(turn.end_s <= found.duration_s for turn in found.turns)
    assert list(spool.directory.iterdir()) == []


async def test_what_cannot_be_done_leaves_no_file_either(finder, spool):
    with pytest.raises(ChannelsUnusable):
        await finder.find(MediaSource(path=sample("en_hello_gb").path), SpeakerOptions())
    with pytest.raises(InvalidParameter):
        await finder.find(MediaSource(path=STEREO.path), SpeakerOptions(method="voices"))
    assert list(spool.directory.iterdir()) == []
