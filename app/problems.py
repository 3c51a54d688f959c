"""Why a request is refused, in the words of the error body. Services raise these; `errors` turns them into answers."""

from collections.abc import Mapping
from itertools import islice

STATUSES: Mapping[str, int] = {
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "payload_too_large": 413,
    "unsupported_media_type": 415,
    "validation": 422,
    "rate_limited": 429,
    "internal": 500,
    "unavailable": 503,
}


_MOST_FIELDS = 50
_LONGEST_NAME = 100


class Problem(Exception):
    """A refusal: `slug` and `message` are its body, `details` says which fields (path -> sentences), if any."""

    slug = "bad_request"

    def __init__(
        self,
        message: str,
        *,
        details: Mapping[str, list[str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.headers = dict(headers or {})

    @property
    def status(self) -> int:
        """The HTTP status of `slug`."""
        return STATUSES[self.slug]

    def body(self) -> dict[str, object]:
        """As JSON: `error`, `message`, and `details` where there are any."""
        shown: dict[str, object] = {"error": self.slug, "message": self.message}
        if self.details is not None:
            shown["details"] = dict(self.details)
        return shown


class BadRequest(Problem):
    """The bytes are not what the route reads at all."""


class Unauthorized(Problem):
    """No token, or a wrong one."""

    slug = "unauthorized"

    def __init__(self, message: str) -> None:
        super().__init__(message, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(Problem):
    """A good token that does not reach this far."""

    slug = "forbidden"


class NotFound(Problem):
    """There is no such thing."""

    slug = "not_found"


def no_job(job_id: str) -> NotFound:
    """No job has this id."""
    return NotFound(f"there is no job {job_id.lower()}")


class Conflict(Problem):
    """Right in itself, wrong in the present state."""

    slug = "conflict"


class UnsupportedMediaType(Problem):
    """A body that is not declared to be JSON."""

    slug = "unsupported_media_type"


class Invalid(Problem):
    """JSON of the wrong shape. The message names the first field, `details` all of them."""

    slug = "validation"

    @classmethod
    def of(cls, details: Mapping[str, list[str]]) -> "Invalid":
        """The problem of these fields."""
        # The client chooses the names of unknown fields; the answer to it stays small all the same.
        bounded = {name[:_LONGEST_NAME]: list(said) for name, said in islice(details.items(), _MOST_FIELDS)}
        field, sentences = next(iter(bounded.items()))
        return cls(f"{field}: {sentences[0]}", details=bounded)


class RateLimited(Problem):
    """Right in itself, and too often."""

    slug = "rate_limited"

    def __init__(self, message: str, retry_after_seconds: int) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after_seconds)})


class Unavailable(Problem):
    """The database cannot serve now; come back."""

    slug = "unavailable"

    def __init__(self, message: str, retry_after_seconds: int = 2) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after_seconds)})


class Internal(Problem):
    """A defect of ours. Never says what happened: the log does, under the request id."""

    slug = "internal"

    def __init__(self) -> None:
        super().__init__("internal server error")


def field_messages(messages: object, path: str = "") -> dict[str, list[str]]:
    """marshmallow's nested messages as one level: `{"jobs": {0: {"kind": […]}}}` -> `{"jobs.0.kind": […]}`."""
    if isinstance(messages, dict):
        flat: dict[str, list[str]] = {}
        for name, inner in messages.items():
            # marshmallow's name for what concerns the object and no field of it
            here = path if name == "_schema" else f"{path}.{name}" if path else str(name)
            for field, sentences in field_messages(inner, here).items():
                flat.setdefault(field, []).extend(sentences)
        return flat
    return {path or "body": [str(each) for each in messages] if isinstance(messages, list) else [str(messages)]}
