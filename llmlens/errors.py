"""Everything llmlens raises on purpose. No imports, so every layer may use it.

LensError
├── SettingsError        llmlens.toml or an environment variable is wrong
├── GatewayError         the gateway cannot be found, started or reached
├── StoreError           the log cannot be opened, written or read
│   ├── StoreLocked      another process holds the database file
│   └── QueryError       the SQL of the caller is wrong or not allowed
├── StudyError           an experiment or a comparison cannot be made of what was given
├── PromptError          a prompt cannot be made, found or filled in
├── WireError            bytes that the dialect they came in does not allow
├── CallError            one LLM call did not end well; carries the `Fault`
└── Denied               the gateway refuses a call; nothing was sent and nothing is owed
    ├── BadRequest       400: the request itself is wrong
    ├── Unauthenticated  401: no key, or not one of ours
    ├── Forbidden        403: the key is good, the thing asked for is not allowed
    ├── ModelUnknown     404: no provider serves this model
    ├── CacheMiss        404: `x-llmlens-cache: only`, and the log has no such answer
    ├── TooLarge         413: the body is over the limit
    ├── UpstreamFailed   502: the provider cannot be reached, or broke off before it answered
    ├── InternalError    500: a bug of the gateway; its log has the traceback
    ├── UpstreamTimeout  504: the provider did not answer in time
    └── LogUnavailable   503: the call could not be logged, so it was not sent
"""


class LensError(Exception):
    """Root of every error that llmlens raises on purpose."""


class SettingsError(LensError):
    """A setting is unknown, of the wrong type or contradictory; names the file and the key."""


class GatewayError(LensError):
    """The gateway cannot be found, started or reached; says what to do."""


class StoreError(LensError):
    """The log cannot be opened, written or read."""


class StoreLocked(StoreError):
    """Another process holds the database file; the message names its PID."""


class QueryError(StoreError):
    """The caller's SQL is wrong, not read-only, or reaches for what it may not see."""


class StudyError(LensError):
    """An experiment or a comparison cannot be made of what was given; says what to do."""


class PromptError(LensError):
    """A prompt cannot be made, found or filled in; names the message, the line or the variable."""


class WireError(LensError):
    """Bytes or JSON that the dialect they came in does not allow."""


class CallError(LensError):
    """One LLM call did not end well. `fault` is a `records.Fault`, `call_id` its row in the log."""

    def __init__(self, message: str, fault: object = None, call_id: str | None = None) -> None:
        super().__init__(message)
        self.fault = fault
        self.call_id = call_id


class Denied(LensError):
    """The gateway refuses a call. `status` is the HTTP status, `code` a stable machine word."""

    status = 403
    code = "denied"
    type = "invalid_request_error"  # OpenAI's word; Anthropic's follows from the status

    def __init__(self, message: str, *, retry_after_s: float | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.param = param


class BadRequest(Denied):
    """The request is not one of its dialect."""

    status, code = 400, "bad_request"


class Unauthenticated(Denied):
    """No key, or not one of ours."""

    status, code, type = 401, "invalid_api_key", "authentication_error"


class Forbidden(Denied):
    """The key is good; what it asks for is not allowed."""

    status, code, type = 403, "forbidden", "permission_error"


class ModelUnknown(Denied):
    """No provider serves this model; the message names those that are known."""

    status, code = 404, "model_not_found"


class CacheMiss(Denied):
    """The caller asked for logged answers only, and there is none."""

    status, code = 404, "cache_miss"


class TooLarge(Denied):
    """The body is over `gateway.max_body_bytes`."""

    status, code = 413, "request_too_large"


class UpstreamFailed(Denied):
    """The provider cannot be reached, or broke off before it answered."""

    status, code, type = 502, "upstream_failed", "api_error"


class UpstreamTimeout(UpstreamFailed):
    """The provider did not answer in time."""

    status, code = 504, "upstream_timeout"


class InternalError(Denied):
    """The gateway has a bug; the row says `internal_error`, its log has the traceback."""

    status, code, type = 500, "internal_error", "api_error"


class LogUnavailable(Denied):
    """The journal cannot be written, so the call was not sent."""

    status, code, type = 503, "log_unavailable", "api_error"
