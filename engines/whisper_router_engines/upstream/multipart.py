"""Writes a form as multipart/form-data (RFC 7578), file included, while its parts arrive."""

import secrets
from collections.abc import AsyncGenerator, Callable

from whisper_router.engine_api import FormField, FormFile, RelayedForm

OCTETS = "application/octet-stream"
_ESCAPES = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})
"""As the HTML standard writes names into a form."""
_BREAKS = str.maketrans({"\r": " ", "\n": " "})


class Multipart:
    """One body for a form; its `model` is another one than was asked for here.

    `on_piece` is called for each piece of the body that is taken.
    """

    def __init__(
        self, form: RelayedForm, *, model: str, on_piece: Callable[[], None] = lambda: None
    ) -> None:
        self._form, self._model, self._on_piece = form, model, on_piece
        self._boundary = f"form-{secrets.token_hex(16)}"
        self.error: Exception | None = None
        """What broke the upload, if it did so while the body was sent."""

    @property
    def content_type(self) -> str:
        """The header for it."""
        return f"multipart/form-data; boundary={self._boundary}"

    async def length(self) -> int:
        """Return how many bytes it will have, once the form is complete."""
        await self._form.complete()
        count = len(self._end)
        async for part in self._parts():
            count += len(self._head(part)) + len(b"\r\n")
            count += _size_bytes(part)
        return count

    async def body(self) -> AsyncGenerator[bytes, None]:
        """Yield it."""
        try:
            async for part in self._parts():
                yield self._piece(self._head(part))
                if isinstance(part, FormField):
                    yield part.value.encode()
                else:
                    async for data in part.data:
                        yield self._piece(data)
                yield b"\r\n"
            yield self._piece(self._end)
        except Exception as error:
            self.error = error
            raise

    async def _parts(self) -> AsyncGenerator[FormField | FormFile, None]:
        yield FormField(name="model", value=self._model)
        async for part in self._form.parts():
            if isinstance(part, FormFile) or part.name != "model":
                yield part

    def _piece(self, data: bytes) -> bytes:
        self._on_piece()
        return data

    def _head(self, part: FormField | FormFile) -> bytes:
        name = part.name if isinstance(part, FormField) else "file"
        lines = [f"--{self._boundary}"]
        disposition = f'Content-Disposition: form-data; name="{name.translate(_ESCAPES)}"'
        if isinstance(part, FormFile):
            filename = (part.filename or "audio").translate(_ESCAPES)
            lines += [
                f'{disposition}; filename="{filename}"',
                f"Content-Type: {(part.content_type or OCTETS).translate(_BREAKS)}",
            ]
        else:
            lines.append(disposition)
        return "\r\n".join([*lines, "", ""]).encode()

    @property
    def _end(self) -> bytes:
        return f"--{self._boundary}--\r\n".encode()


def _size_bytes(part: FormField | FormFile) -> int:
    if isinstance(part, FormField):
        return len(part.value.encode())
    if part.size_bytes is None:
        raise ValueError("the form is not complete")
    return part.size_bytes
