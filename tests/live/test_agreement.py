"""What is confirmed, on hypotheses that grow, change their minds and move in time."""

from hypothesis import given
from hypothesis import strategies as st

from whisper_router.live.agreement import Agreement
from whisper_router.live.words import LiveWord, text_of

TEXTS = st.lists(st.sampled_from(["one", "two", "Two", "three,", "four"]), max_size=12)


def words(text, *, start_s=0.0, ends=()):
    """One word for each half second."""
    return [
        LiveWord(
            text=f" {item}",
            start_s=start_s + number / 2,
            end_s=start_s + number / 2 + 0.4,
            probability=1,
            ends_segment=number in ends,
        )
        for number, item in enumerate(text.split())
    ]


def heard(agreement, *texts):
    return [text_of(agreement.hear(words(text))) for text in texts]


def test_the_common_prefix_of_two_hypotheses_is_confirmed():
    """The rest waits for the next one."""
    agreement = Agreement()
    assert heard(agreement, "alpha bra", "alpha bravo char", "alpha bravo charlie") == [
        "",
        "alpha",
        "bravo",
    ]
    assert text_of(agreement.tentative) == "charlie"
    assert text_of(agreement.finish()) == "charlie"
    assert agreement.tentative == ()


def test_case_and_punctuation_do_not_matter_and_the_later_spelling_counts():
    """Whisper adds the comma once it has heard what follows."""
    agreement = Agreement()
    assert heard(agreement, "hello world", "Hello, World and") == ["", "Hello, World"]


def test_only_neighbours_are_compared():
    """Two equal hypotheses with another one between them agree on nothing."""
    assert heard(Agreement(), "alpha", "bravo", "alpha") == ["", "", ""]


def test_a_hypothesis_that_hears_confirmed_words_otherwise_changes_nothing():
    """They are found by their time, and what follows is compared as ever."""
    agreement = Agreement()
    heard(agreement, "alpha bravo", "alpha bravo")
    assert heard(agreement, "alfa braver charlie", "alpha brave charlie delta") == ["", "charlie"]
    assert text_of(agreement.tentative) == "delta"


def test_confirmed_words_whose_times_have_moved_are_not_repeated():
    """A trimmed window shifts what whisper.cpp stamps."""
    agreement = Agreement()
    heard(agreement, "x alpha bravo", "x alpha bravo")
    agreement.hear(words("alpha bravo charlie", start_s=1.3))
    assert text_of(agreement.tentative) == "charlie"


def test_a_repetition_after_a_pause_is_new():
    """Somebody says the same again."""
    agreement = Agreement()
    heard(agreement, "stop", "stop")
    agreement.hear([*words("halt"), *words("stop", start_s=3)])
    assert text_of(agreement.tentative) == "stop"


def test_the_cut_is_at_the_end_of_the_last_confirmed_segment():
    """A segment with one tentative word is none."""
    agreement = Agreement()
    agreement.hear(words("a b c d", ends=(1, 3)))
    assert agreement.cut_s is None
    agreement.hear(words("a b c x", ends=(1, 3)))
    assert agreement.cut_s == 0.9


def test_a_trimmed_window_forgets_the_words_before_it():
    """The next hypothesis begins with the first word that is still in it."""
    agreement = Agreement()
    heard(agreement, "a b c d", "a b c d")
    assert text_of(agreement.trim(1.0)) == "a b"
    agreement.hear(words("c d e", start_s=1.0))
    assert text_of(agreement.tentative) == "e"
    assert agreement.last is not None
    assert agreement.last.text == " d"


def test_force_confirms_all_but_the_last_word():
    """The window is full: its end may cut a word in two."""
    agreement = Agreement()
    assert text_of(agreement.force(words("a b c"))) == "a b"
    assert text_of(agreement.tentative) == "c"
    assert Agreement().force([]) == ()


@given(st.lists(TEXTS, max_size=6))
def test_confirmed_words_only_grow_and_are_what_two_in_a_row_have_said(hypotheses):
    """Every confirmed word stands in the last two hypotheses, at about its place in time."""
    agreement, before = Agreement(), []
    confirmed: list[LiveWord] = []
    for texts in hypotheses:
        hypothesis = words(" ".join(texts))
        new = agreement.hear(hypothesis)
        assert all(word in hypothesis for word in new)
        keys = [word.key for word in before]
        assert all(word.key in keys for word in new)
        confirmed += new
        assert [word.start_s for word in confirmed] == sorted(word.start_s for word in confirmed)
        before = hypothesis
    assert agreement.last == (confirmed[-1] if confirmed else None)
