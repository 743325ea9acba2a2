"""Parts that come and go with the dialects that are served."""

from whisper_router.api.deps import Dialect, DialectOptions
from whisper_router.api.dialects import MODULES, detailed_paths
from whisper_router.api.openapi.dialects import PARTS as ALL
from whisper_router.api.openapi.document import document
from whisper_router.api.openapi.parts import (
    ALSO_AT,
    DIALECT,
    DialectPart,
    Operation,
    json_answer,
    record,
    text,
)
from whisper_router.api.services import ServiceInfo

SERVICE = ServiceInfo(name="x", version="1", docs="https://example.org")


def part(options: DialectOptions) -> DialectPart:
    """Describe a route of its own, one in the place of ours, and one that an option brings."""

    def operation(name: str) -> dict:
        answers = {200: json_answer("OddAnswer", "It.")}
        return Operation(id=name, summary="Odd", tag="Odd", answers=answers).to_json()

    extra = {"/v1/odd": {"get": operation("oddStream")}} if options.old_sse else {}
    return DialectPart(
        tag="Odd",
        description="A server that nobody has.",
        paths={
            "/odd": {"post": operation("oddPost")},
            "/v1/models/{id}": {"delete": operation("oddDelete")},
            **extra,
        },
        schemas={"OddAnswer": record("It.", {"text": text("It.")})},
    )


PARTS = {Dialect.SPEACHES: part}


def described(**options: object) -> dict:
    return document(SERVICE, DialectOptions(**options), PARTS)


def test_a_part_is_there_where_its_dialect_is_served():
    """With its tag and its schemas."""
    told = described(enabled=frozenset({Dialect.SPEACHES}))
    assert told["paths"]["/odd"]["post"]["operationId"] == "oddPost"
    assert "OddAnswer" in told["components"]["schemas"]
    tag = {"name": "Odd", "description": "A server that nobody has.", DIALECT: True}
    assert tag in told["tags"]


def test_no_trace_of_it_is_left_where_it_is_not():
    """Our own operations are back, too."""
    told = described(enabled=frozenset({Dialect.WHISPERX}))
    assert "odd" not in str(told).lower()
    assert told["paths"]["/v1/models/{id}"]["delete"]["operationId"] == "deleteModel"


def test_its_operations_take_the_place_of_ours():
    """As its routes come before ours; the other methods of the path stay."""
    methods = described()["paths"]["/v1/models/{id}"]
    assert methods["delete"]["operationId"] == "oddDelete"
    assert methods["get"]["operationId"] == "retrieveModel"


def test_options_reach_the_part():
    """Some change what it serves."""
    assert "/v1/odd" not in described()["paths"]
    assert "/v1/odd" in described(old_sse=True)["paths"]


def test_ours_stays_where_the_dialect_is_not():
    """At the next of its paths."""
    paths = described()["paths"]
    assert paths["/models/{id}"]["delete"]["operationId"] == "deleteModel"
    assert ALSO_AT not in paths["/models/{id}"]["delete"]


def test_errors_have_detail_exactly_where_the_server_sends_it():
    """By path, as the server decides it."""
    told = document(SERVICE, DialectOptions())
    for path, operations in told["paths"].items():
        for operation in operations.values():
            found = {
                "DetailedError" in answer["$ref"]
                for answer in operation["responses"].values()
                if "$ref" in answer
            }
            assert found == {path in detailed_paths(DialectOptions())}


def test_every_dialect_has_a_part():
    """In the order of the routes, which decides whose operation is described."""
    assert list(ALL) == list(MODULES)


def test_schemas_begin_with_the_dialects_own_name():
    """None takes the place of another's."""
    names = [name for part in ALL.values() for name in part(DialectOptions()).schemas]
    assert len(names) == len(set(names))
    own = set(document(SERVICE, DialectOptions(enabled=frozenset()))["components"]["schemas"])
    assert not own & set(names)
