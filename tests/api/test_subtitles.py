"""SRT and WebVTT."""

import math
import re

from hypothesis import given
from hypothesis import strategies as st

from whisper_router.api.subtitles import (
    ARROW,
    Cue,
    aud,
    cues,
    lrc,
    milliseconds,
    rttm,
    srt,
    tsv,
    vtt,
)
from whisper_router.domain import Segment

SRT_BLOCK = re.compile(
    r"(\d+)\n(\d\d+):([0-5]\d):([0-5]\d),(\d{3}) --> (\d\d+):([0-5]\d):([0-5]\d),(\d{3})\n(.+)\n\n"
)


def said(text: str, start_s: float, end_s: float) -> Segment:
    return Segment(start_s=start_s, end_s=end_s, text=text)


anything = st.builds(
    Segment,
    start_s=st.floats(),
    end_s=st.floats(),
    text=st.text() | st.sampled_from(["", " ", " a --> b", "--->", "1\n\n00:00"]),
)


def test_srt_counts_from_one_and_has_commas():
    """Contract case 24."""
    segments = [said(" Turn the light off.", 0, 2.6), said(" Now.", 3661.0015, 3662)]
    assert srt(cues(segments)) == (
        "1\n00:00:00,000 --> 00:00:02,600\nTurn the light off.\n\n"
        "2\n01:01:01,002 --> 01:01:02,000\nNow.\n\n"
    )


def test_vtt_has_a_header_and_points_and_no_ids():
    """Contract case 25."""
    assert vtt(cues([said(" Hi.", 0, 0.5)])) == "WEBVTT\n\n00:00:00.000 --> 00:00:00.500\nHi.\n\n"


def test_silence_has_no_cues():
    """An empty file in SRT, a bare header in WebVTT."""
    assert srt(cues([said("", 0, 1)])) == ""
    assert vtt([]) == "WEBVTT\n\n"


def test_empty_segments_leave_no_gap_in_the_numbers():
    """Players complain about gaps."""
    text = srt(cues([said(" a", 0, 1), said("  ", 1, 2), said(" b", 2, 3)]))
    assert re.findall(r"^(\d+)$", text, re.MULTILINE) == ["1", "2"]


def test_a_text_cannot_end_its_cue():
    """Line breaks and arrows are structure."""
    (cue,) = cues([said(" a\n\n2\r\nb --> c ---> d\u2028e", 0, 1)])
    assert cue.text == "a 2 b -> c -> d e"


def test_what_is_no_time_counts_as_zero():
    """NaN and infinities come from broken engines only."""
    assert [milliseconds(value) for value in (math.nan, math.inf, -1.0, 1.0)] == [0, 0, 0, 1000]


@given(st.lists(anything, max_size=8))
def test_cues_are_in_order_and_never_empty(segments: list[Segment]):
    """`start < end`, starts never go back, one line each."""
    found = list(cues(segments))
    assert len(found) == sum(bool(segment.text.split()) for segment in segments)
    for cue in found:
        assert cue.start_ms < cue.end_ms
        assert cue.text
        assert len(cue.text.splitlines()) == 1
        assert ARROW not in cue.text
    assert [cue.start_ms for cue in found] == sorted(cue.start_ms for cue in found)


@given(st.lists(anything, max_size=8))
def test_any_srt_text_is_a_sequence_of_blocks(segments: list[Segment]):
    """A strict parser reads the whole text, with indices 1 to n."""
    text, position, indices = srt(cues(segments)), 0, []
    while position < len(text):
        match = SRT_BLOCK.match(text, position)
        assert match is not None
        indices.append(int(match[1]))
        position = match.end()
    assert indices == list(range(1, len(indices) + 1))


def test_tables_labels_and_lyrics_have_a_line_for_each_cue():
    """Milliseconds, seconds, and minutes with hundredths of a second."""
    shown = [
        Cue(start_ms=0, end_ms=1500, text="red\ngreen"),
        Cue(start_ms=3_599_996, end_ms=3_600_500, text="blue"),
    ]
    assert tsv(shown) == "start\tend\ttext\n0\t1500\tred green\n3599996\t3600500\tblue\n"
    assert aud(shown) == "0.000\t1.500\tred green\n3599.996\t3600.500\tblue\n"
    assert lrc(shown) == "[00:00.00]red green\n[60:00.00]blue\n"
    assert (tsv([]), aud([]), lrc([])) == ("start\tend\ttext\n", "", "")


def test_each_format_says_who_speaks_in_its_own_way():
    """A name cannot end the span that it is in."""
    segment = Segment(start_s=1, end_s=2.5, text=" Hi.", speaker="A>n [n]")
    shown = list(cues([segment]))
    assert "\n[An n]: Hi.\n" in srt(shown)
    assert "\n<v An n>Hi.\n" in vtt(shown)
    assert "\n[An n]: Hi.\n" in vtt(shown, voice_spans=False)
    assert tsv(shown).endswith("1000\t2500\t[An n]: Hi.\n")
    assert aud(shown) == "1.000\t2.500\t[[An n]]Hi.\n"
    assert lrc(shown) == "[00:01.00][An n]: Hi.\n"


def test_rttm_has_a_line_for_each_turn():
    """Ten fields; a short pause ends no turn; a name has no spaces."""
    pieces = [(0, 1, "ann b"), (1.3, 2, "ann b"), (2, 3, "B"), (4, 5, "B"), (5, 6, None)]
    shown = cues([Segment(start_s=s, end_s=e, text=" x", speaker=who) for s, e, who in pieces])
    lines = rttm(shown).splitlines()
    assert lines[0] == "SPEAKER audio 1 0.000 2.000 <NA> <NA> ann_b <NA> <NA>"
    assert [line.split()[3:5] + line.split()[7:8] for line in lines[1:]] == [
        ["2.000", "1.000", "B"],
        ["4.000", "1.000", "B"],
        ["5.000", "1.000", "unknown"],
    ]
    assert all(len(line.split()) == 10 for line in lines)
    assert rttm([]) == ""
