"""What a worker prints of its work."""

import re

from whisper_router.domain import Chunk, TranscriptionRequest
from whisper_router_engines.whispercpp.notes import Notes, described
from whisper_router_engines.whispercpp.protocol import Order, order_json, parse_order


def order(request_id: str) -> Order:
    chunk = Chunk(path="/spool/a.f32", start=16_000, end=40_000)
    request = TranscriptionRequest(model="x", request_id=request_id, prompt="a secret prompt")
    return parse_order(order_json(chunk, request))


def test_a_chunk_has_a_line_at_its_begin_and_at_its_end(capfd):
    """With the request, the worker and where it is; without anything that was said."""
    notes = Notes()
    notes.began(order("req_1"))
    notes.ended("done")
    begun, done = capfd.readouterr().err.splitlines()
    assert re.fullmatch(r"request_id=req_1 worker=\d+ chunk=1\.00-2\.50s begun", begun)
    assert re.fullmatch(r"request_id=req_1 .* done after 0\.\d+ s", done)


def test_an_error_says_of_whose_chunk_it_is(capfd):
    """Also when it is reported where nobody knows that any more."""
    notes, error = Notes(), RuntimeError("no memory")
    notes.began(order("req_2"))
    notes.failed(error)
    assert "failed after" in capfd.readouterr().err.splitlines()[-1]
    assert described(error).startswith("RuntimeError('no memory') request_id=req_2 worker=")


def test_an_id_breaks_no_line(capfd):
    """Whatever others may once put into it; and without one, or a chunk, all goes on."""
    notes = Notes()
    notes.ended("done")
    notes.began(order("a\nerror: b" + "c" * 500))
    Notes().began(order(""))
    first, second = capfd.readouterr().err.splitlines()
    assert first.startswith("request_id=a?error??bccc")
    assert len(first) < 200
    assert second.startswith("request_id=- ")
