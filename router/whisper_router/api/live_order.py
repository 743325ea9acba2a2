"""The query of a live WebSocket → what to listen for and how to tell it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from whisper_router.api.fields import Fields, boolean, number
from whisper_router.api.forms import ResponseFormat, parse_order
from whisper_router.domain import Client, Task, TranscriptionRequest
from whisper_router.errors import InvalidParameter

TELLABLE = frozenset({ResponseFormat.JSON, ResponseFormat.TEXT, ResponseFormat.VERBOSE_JSON})
DEFAULT_MODEL = "whisper-1"  # every server has it: faster-whisper-server's `model` was optional


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """When the client has finished: nothing came for `no_data_s`, nobody spoke for `inactivity_s`.

    0: that never ends a session.
    """

    no_data_s: float
    inactivity_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOrder:
    """One live session, understood. `interim`: tentative text is told too."""

    request: TranscriptionRequest
    response_format: ResponseFormat
    interim: bool
    patience: Patience


def parse_live(
    query: Sequence[tuple[str, str]], *, patience: Patience, request_id: str, client: Client
) -> LiveOrder:
    """Return what the query asks for; `patience` holds where it names none.

    Raises:
        InvalidParameter: a parameter has a value that is never acceptable; `param` names it.
    """
    form = Fields(query)
    if form.text("model") is None:
        query = [*query, ("model", DEFAULT_MODEL)]
    order = parse_order(query, task=Task.TRANSCRIBE, request_id=request_id, client=client)
    wanted = order.response.response_format
    if wanted not in TELLABLE:
        raise _unsupported(
            f"response_format '{wanted}' is not supported over a WebSocket. "
            "Use 'json', 'text' or 'verbose_json' instead.",
            "response_format",
        )
    interim = boolean("interim", form.text("interim")) or False
    if interim and wanted is ResponseFormat.TEXT:
        raise _unsupported("interim is not supported with response_format 'text'.", "interim")
    boolean("vad_filter", form.text("vad_filter"))  # speech is always looked for
    return LiveOrder(
        request=order.request,
        response_format=wanted,
        interim=interim,
        patience=Patience(
            no_data_s=_patience(form, "no_data_s", patience.no_data_s),
            inactivity_s=_patience(form, "inactivity_s", patience.inactivity_s),
        ),
    )


def _patience(form: Fields, name: str, usual_s: float) -> float:
    value = number(name, form.text(name), low=0, high=3600)
    return usual_s if value is None else value


def _unsupported(message: str, param: str) -> InvalidParameter:
    return InvalidParameter(message, param=param, code="unsupported_value")
