"""How much a process may serve and grow before it is recycled."""

from whisper_router.supervisor.wear import MIB, WARM_UP_CHUNKS, Wear, WearLimits


def worn(wear: Wear, *, chunks: int) -> Wear:
    for _ in range(chunks):
        wear.serve()
    return wear


def test_without_limits_nothing_wears():
    """The default: an idle unload frees everything anyway."""
    wear = worn(Wear(), chunks=1000)
    wear.learn(MIB)
    wear.learn(1 << 40)
    assert wear.verdict() is None
    assert not wear.is_overdue()


def test_a_number_of_chunks_is_enough_and_twice_as_many_are_too_many():
    """In between it is recycled only while nobody uses it."""
    wear = worn(Wear(WearLimits(max_chunks=3)), chunks=2)
    assert wear.verdict() is None
    worn(wear, chunks=1)
    assert wear.verdict() == "it has served 3 chunks"
    assert not wear.is_overdue()
    assert worn(wear, chunks=3).is_overdue()


def test_memory_counts_from_what_the_first_chunks_needed():
    """Each worker makes its buffers with its first chunk: that is no leak."""
    wear = Wear(WearLimits(max_growth_bytes=100 * MIB), workers=2)
    worn(wear, chunks=1).learn(500 * MIB)
    worn(wear, chunks=2 * WARM_UP_CHUNKS - 1).learn(900 * MIB)
    worn(wear, chunks=1).learn(1000 * MIB)
    assert wear.verdict() is None
    wear.learn(1001 * MIB)
    assert wear.verdict() == "its memory has grown by 101 MiB"
    assert not wear.is_overdue()
    wear.learn(1101 * MIB)
    assert wear.is_overdue()
    wear.learn(950 * MIB)
    assert wear.verdict() is None


def test_a_first_measurement_after_the_warm_up_is_what_it_is_measured_by():
    """Measurements are seconds apart, and chunks may be quick."""
    wear = worn(Wear(WearLimits(max_growth_bytes=MIB)), chunks=50)
    wear.learn(700 * MIB)
    assert wear.verdict() is None
    wear.learn(702 * MIB)
    assert wear.verdict() is not None


def test_a_fresh_process_begins_from_nothing():
    """Also with another amount of memory."""
    wear = worn(Wear(WearLimits(max_chunks=2, max_growth_bytes=MIB)), chunks=9)
    wear.learn(MIB)
    wear.begin()
    assert wear.chunks == 0
    assert wear.verdict() is None
    worn(wear, chunks=1).learn(50 * MIB)
    assert wear.verdict() is None
