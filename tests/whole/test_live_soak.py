"""Sessions that end in every way leave nothing behind; `soak_live.py` (bench) does it longer."""

from support.live_soak import soak


async def test_sessions_that_end_in_every_way_leave_nothing_and_lose_nothing(tmp_path):
    """Two rounds of a few seconds, four sessions at a time.

    Eight sessions on the slowest machine; those of this seed are of five kinds.
    """
    soaked = await soak(tmp_path, seed=9, rounds=2, round_s=3.0, sessions=4)
    print("\n".join(soaked.lines()))
    assert soaked.broken == []
    assert soaked.finished > 0
    deeds = set(soaked.rests[0].deeds + soaked.rests[1].deeds)
    assert {"finish", "commit"} <= deeds
    assert len(deeds) > 4
