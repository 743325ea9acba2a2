"""The query of a live WebSocket."""

import pytest

from whisper_router.api.forms import ResponseFormat
from whisper_router.api.live_order import Patience, parse_live
from whisper_router.domain import Client
from whisper_router.errors import InvalidParameter

USUAL = Patience(no_data_s=1.0, inactivity_s=2.5)


def parsed(**query: str):
    return parse_live(list(query.items()), patience=USUAL, request_id="r", client=Client(name="k"))


def test_nothing_needs_to_be_asked_for():
    """The default model, its language detected, answers as JSON, the server's patience."""
    order = parsed()
    assert order.request.model == "whisper-1"
    assert order.request.language is None
    assert (order.request.request_id, order.request.client.name) == ("r", "k")
    assert order.response_format is ResponseFormat.JSON
    assert not order.interim
    assert order.patience == USUAL


def test_faster_whisper_servers_parameters_mean_what_they_meant():
    """With its names of languages, too."""
    order = parsed(
        model="small",
        language="german",
        response_format="verbose_json",
        temperature="0.2",
        vad_filter="true",
        prompt="Ines",
        hotwords="Joao, Rui",
    )
    assert (order.request.model, order.request.language) == ("small", "de")
    assert order.response_format is ResponseFormat.VERBOSE_JSON
    assert order.request.decoding.temperature == 0.2
    assert order.request.prompt == "Ines"
    assert order.request.hotwords == ("Joao", "Rui")


def test_our_own_parameters():
    """Tentative text, and how long silence may be."""
    order = parsed(interim="true", no_data_s="0", inactivity_s="30")
    assert order.interim
    assert order.patience == Patience(no_data_s=0, inactivity_s=30)


@pytest.mark.parametrize(
    ("param", "query"),
    [
        ("response_format", {"response_format": "srt"}),
        ("response_format", {"response_format": "xml"}),
        ("interim", {"response_format": "text", "interim": "true"}),
        ("language", {"language": "klingon"}),
        ("temperature", {"temperature": "warm"}),
        ("vad_filter", {"vad_filter": "perhaps"}),
        ("no_data_s", {"no_data_s": "-1"}),
        ("inactivity_s", {"inactivity_s": "soon"}),
    ],
)
def test_what_cannot_be_done_is_refused_and_named(param, query):
    """Before any audio."""
    with pytest.raises(InvalidParameter) as caught:
        parsed(**query)
    assert caught.value.param == param
