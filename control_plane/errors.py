"""The error tree of the control plane.

DomainError
├── NotFound            404  no such thing, or not one that this caller may see
├── Forbidden           403  the caller lacks a permission
├── NotSignedIn         401  no credentials, or credentials that no longer count
├── Conflict            409  the thing is not in a state that allows this
├── RequestRefused      422  a well-formed request that says something impossible
├── TooManyRequests     429  slow down
└── Unavailable         503  something we depend on does not answer; try again

A feature derives its own errors from these. ``message`` is the English sentence, with ``{fact}``
placeholders, and the key of its translation; edges translate and show it, services only raise.
"""

from __future__ import annotations

from typing import ClassVar


class DomainError(Exception):
    """Something a caller can be told. Carries facts; ``code`` is stable and documented."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    #: What happened and what to do next. Formatted with the facts.
    message: ClassVar[str] = "Omnitill could not do this. Try again, or look at the log."

    def __init__(self, **facts: object) -> None:
        super().__init__(self.code)
        self.facts = facts

    @property
    def headers(self) -> dict[str, str]:
        """Headers that the answer carries, for who reads no body."""
        return {}

    def __str__(self) -> str:
        return self.detail()

    def detail(self, message: str | None = None) -> str:
        """``message`` (a translation of ours), or our English one, with the facts filled in."""
        return (message or self.message).format_map(_Facts(self.facts))


class NotFound(DomainError):
    """There is none, or the caller may not know that there is."""

    code = "not_found"
    status = 404
    message = "There is no {kind} {id} that you may see. Check the id, or ask for access."

    def __init__(self, kind: str = "page", id: str = "", **facts: object) -> None:  # noqa: A002 - the fact is called so
        super().__init__(kind=kind, id=id, **facts)


class Forbidden(DomainError):
    """The caller is known and lacks a permission."""

    code = "forbidden"
    status = 403
    message = "This needs the permission {permission}. An owner can give it to you."


class NotSignedIn(DomainError):
    """No credentials came, or they are unknown, expired or revoked."""

    code = "not_signed_in"
    status = 401
    message = "Sign in, or send an API key, to do this."


class Conflict(DomainError):
    """The thing is not in a state that allows this."""

    code = "conflict"
    status = 409
    message = "This cannot be done in the present state. Reload and look again."


class RequestRefused(DomainError):
    """Well-formed, but impossible. ``field`` names the part to change, when there is one."""

    code = "request_refused"
    status = 422
    message = "{reason}"


class TooManyRequests(DomainError):
    """The caller must slow down; ``retry_after_s`` says by how much."""

    code = "too_many_requests"
    status = 429
    retryable = True
    message = "Too many requests. Try again in {retry_after_s} seconds."


class Unavailable(DomainError):
    """Something we depend on does not answer."""

    code = "unavailable"
    status = 503
    retryable = True
    message = "{what} does not answer. Try again in a moment."


class _Facts(dict[str, object]):
    def __missing__(self, key: str) -> str:
        return "–"
