"""Every error this program raises on purpose, with its HTTP mapping.

`RouterError.envelope()` is the OpenAI error body; HTTP, SSE and every other protocol send it
unchanged. The statuses and codes follow the OpenAI audio API where it has one for the case.
"""

INVALID_REQUEST = "invalid_request_error"
SERVER_ERROR = "server_error"


class RouterError(Exception):
    """Base of all expected failures. The message is a sentence for the person who called."""

    status: int = 500
    kind: str = SERVER_ERROR
    code: str | None = None
    param: str | None = None
    retry_after_s: int | None = None

    def envelope(self) -> dict[str, dict[str, str | None]]:
        """Return `{"error": {message, type, param, code}}`, all four keys always present."""
        return {
            "error": {
                "message": str(self),
                "type": self.kind,
                "param": self.param,
                "code": self.code,
            }
        }


class InvalidRequest(RouterError):
    """The request cannot be understood as a whole (not multipart, no boundary, cut short)."""

    status, kind = 400, INVALID_REQUEST


class InvalidParameter(InvalidRequest):
    """A field has a value that is never acceptable."""

    code: str | None = "invalid_value"

    def __init__(self, message: str, *, param: str, code: str | None = "invalid_value") -> None:
        super().__init__(message)
        self.param, self.code = param, code


class InvalidConfiguration(InvalidRequest):
    """The configuration that was to be read again cannot be used."""

    code = "invalid_configuration"


class MissingParameter(InvalidRequest):
    """A required field is absent."""

    code = "missing_required_parameter"

    def __init__(self, param: str) -> None:
        super().__init__(f"Missing required parameter: '{param}'.")
        self.param = param


class UnsupportedFormat(InvalidRequest):
    """The file's extension is not on the list of accepted ones."""

    code, param = "unsupported_format", "file"


class AudioUndecodable(InvalidRequest):
    """The file's content is not audio that can be decoded."""

    code, param = "audio_undecodable", "file"


class AudioTooShort(InvalidRequest):
    """The file is empty or holds less than 0.1 s of audio."""

    code, param = "audio_too_short", "file"


class ChannelsUnusable(InvalidRequest):
    """Speakers are to be told apart by their channels, and the audio has one, or too many."""

    code, param = "unsupported_value", "diarization"


class AudioTooLong(InvalidRequest):
    """The file decodes to more audio than the configured limit."""

    code, param = "audio_too_long", "file"


class AuthenticationRequired(RouterError):
    """No key was sent, and one is needed."""

    status, kind = 401, INVALID_REQUEST


class IncorrectApiKey(RouterError):
    """The key that was sent is not one of ours."""

    status, kind, code = 401, INVALID_REQUEST, "invalid_api_key"


class PermissionDenied(RouterError):
    """The key is known but may not do this."""

    status, kind, code = 403, "permission_error", "permission_denied"


class InsufficientScope(PermissionDenied):
    """The key has not the scope that this needs."""

    code = "insufficient_scope"


class RouteNotFound(RouterError):
    """No such path."""

    status, kind = 404, INVALID_REQUEST


class MethodNotAllowed(RouterError):
    """The path exists, the method does not."""

    status, kind = 405, INVALID_REQUEST


class ModelNotFound(RouterError):
    """No alias or preset has this name."""

    status, kind, code = 404, INVALID_REQUEST, "model_not_found"


class ModelNotAllowed(ModelNotFound):
    """The model is there, but not for this key."""

    status, kind, code, param = 403, "permission_error", "model_not_allowed", "model"


class RequestCancelled(RouterError):
    """Somebody who may do so has ended the work. A status that no client tries again by itself."""

    status, kind, code = 410, INVALID_REQUEST, "request_cancelled"


class ModelInUse(RouterError):
    """The model cannot be unloaded or deleted now: somebody uses it, or it is being fetched."""

    status, kind, code = 409, INVALID_REQUEST, "model_in_use"


class NotSupported(RouterError):
    """What is asked for is none of this server's business."""

    status, kind, code = 501, INVALID_REQUEST, "not_supported"


class UploadTooLarge(RouterError):
    """The body is over the configured limit. (The wire contract types it `server_error`.)"""

    status, kind, code = 413, SERVER_ERROR, "upload_too_large"


class UploadTimeout(RouterError):
    """The client stopped sending in mid-upload."""

    status, kind, code = 408, INVALID_REQUEST, "upload_timeout"


class UrlRefused(InvalidRequest):
    """An address that a client named is not one to which a request may go."""

    code, param = "url_refused", "url"


class UrlFetchFailed(InvalidRequest):
    """What an address stands for could not be fetched: no host, no such file, cut short."""

    code, param = "url_fetch_failed", "url"


class UrlUnsupported(UnsupportedFormat):
    """What an address stands for is neither audio nor video."""

    param = "url"


class UrlTooLarge(RouterError):
    """What an address stands for is over the configured limit."""

    status, kind, code, param = 413, INVALID_REQUEST, "url_too_large", "url"


class UrlTimeout(RouterError):
    """Fetching from an address took too long, or the host was silent for too long."""

    status, kind, code, param = 408, INVALID_REQUEST, "url_timeout", "url"


class AudioRejected(RouterError):
    """Engines crashed on the same stretch of audio twice, or an engine refused it."""

    status, kind, code, param = 422, INVALID_REQUEST, "audio_rejected", "file"


class Unavailable(RouterError):
    """The server cannot do this now; a later try may succeed."""

    status, kind, code = 503, "service_unavailable_error", "server_is_overloaded"
    retry_after_s = 1


class TooManyOpenFiles(Unavailable):
    """There are no descriptors left, for this client or for what its request needs."""

    code = "too_many_open_files"
    retry_after_s = 5


class QueueFull(RouterError):
    """More is asked for than may wait."""

    status, kind, code = 429, "requests", "rate_limit_exceeded"
    retry_after_s = 1


class LimitReached(RouterError):
    """The key has used up one of its limits; `limit` is what the key file calls it.

    Nobody else is in the way, so this is no `QueueFull`: to try again sooner helps nothing.
    """

    status, code = 429, "rate_limit_exceeded"

    def __init__(self, message: str, *, limit: str, kind: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.limit, self.kind, self.retry_after_s = limit, kind, retry_after_s


class TooManySessions(QueueFull):
    """The model has as many live sessions as it may have."""

    code = "too_many_sessions"
    retry_after_s = 5


class QueueTimeout(RouterError):
    """The request waited for its turn for as long as it may."""

    status, kind, code = 504, SERVER_ERROR, "queue_timeout"


class ShuttingDown(Unavailable):
    """The router is stopping."""

    code = "shutting_down"


class StorageFull(Unavailable):
    """There is no room for the upload, the decoded audio or a model."""

    code = "storage_full"
    retry_after_s = 60


class ModelUnavailable(Unavailable):
    """The model's file is not here and could not be fetched, or is still being fetched."""

    code, param = "model_unavailable", "model"
    retry_after_s = 10


class MediaFailed(Unavailable):
    """The media worker was lost for a reason that is not the audio's fault."""

    code = "media_worker_failed"


class EngineError(RouterError):
    """Base of what goes wrong with an engine process."""

    status = 502
    code: str | None = "engine_failed"


class EngineStartFailed(EngineError):
    """The engine process ended, or never became ready."""

    status, kind, code = 503, SERVER_ERROR, "engine_start_failed"


class InsufficientMemory(EngineStartFailed):
    """The engine does not fit into the memory budget, whatever else is unloaded."""

    code = "insufficient_memory"


class EngineHeldOff(EngineStartFailed):
    """The engine has failed so often that it is left alone for a while."""

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class EngineStartOutOfMemory(EngineStartFailed):
    """Memory ran out while the engine started; with more room it may."""

    code = "engine_out_of_memory"


class EngineStartInterrupted(EngineStartFailed):
    """Somebody ended the engine process before it was ready; another start may succeed."""


class EngineCrashed(EngineError):
    """The engine's answer ended before it was complete."""

    code = "engine_crashed"


class EngineInterrupted(EngineCrashed):
    """The answer broke off through no fault of the audio, so it may be asked for again.

    Somebody else ended the worker, or none had taken the chunk up yet.
    """


class EngineOutOfMemory(EngineError):
    """The engine could not get the memory it needed."""

    status, code = 503, "engine_out_of_memory"


class EngineRejected(EngineError):
    """The engine refused the audio or an option.

    With a `param` it says that its model cannot do what that parameter asks for.
    """

    status, kind, code = 400, INVALID_REQUEST, "engine_rejected"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        if param is not None:
            self.param, self.code = param, "unsupported_value"


class UpstreamRefused(EngineError):
    """Another server has answered with an error, which is passed on as it is.

    `is_elsewhere_better` tells whether a server of the same kind may well do it: this one has too
    much to do, or cannot run its engine. `hold_off_s` is for how long others are to be asked first
    if it has too much to do; None: that is not it.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        kind: str,
        code: str | None,
        param: str | None = None,
        retry_after_s: int | None = None,
        is_elsewhere_better: bool = False,
    ) -> None:
        super().__init__(message)
        self.hold_off_s: float | None = None
        self.status, self.kind, self.code, self.param = status, kind, code, param
        self.retry_after_s, self.is_elsewhere_better = retry_after_s, is_elsewhere_better


class LoopDetected(RouterError):
    """The request was sent on from here before: servers send it on to each other in a circle."""

    status, code = 508, "loop_detected"


class EngineTimeout(EngineError):
    """The engine took longer than its time budget."""

    status, code = 504, "engine_timeout"


class ConfigurationError(Exception):
    """The configuration cannot be used. Never answered over HTTP: it ends the program (exit 2)."""
