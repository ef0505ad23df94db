"""What the API answers when it refuses. Types, codes and words are Stripe's."""

from __future__ import annotations

from typing import Any

# JSON values of any shape: what the wire carries.
Json = dict[str, Any]


class ApiError(Exception):
    """An answer that is not 2xx. ``keeps`` commits what the endpoint changed before it refused (a decline)."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str = "invalid_request_error",  # noqa: A002 - Stripe's name of the field
        code: str | None = None,
        param: str | None = None,
        keeps: bool = False,
        **facts: object,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.keeps = keeps
        self.fields: Json = {"message": message, "type": type, **facts}
        if code is not None:
            self.fields["code"] = code
            self.fields["doc_url"] = f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"
        if param is not None:
            self.fields["param"] = param

    def body(self, request_id: str) -> Json:
        """The answer's JSON."""
        log = f"https://dashboard.stripe.com/test/logs/{request_id}"
        return {"error": {**self.fields, "request_log_url": log}}


class MalformedRequest(ApiError):
    """Refused before the endpoint ran; such an answer is not remembered for its idempotency key."""


def unknown_parameter(param: str, *, known: list[str] | None = None) -> MalformedRequest:
    """A parameter that the endpoint does not take; names the nearest one it does."""
    hint = f". Did you mean {known[0]}?" if known else ""
    return MalformedRequest(
        f"Received unknown parameter: {param}{hint}", code="parameter_unknown", param=param
    )


def missing_parameter(param: str) -> MalformedRequest:
    """A parameter without which the endpoint does nothing."""
    return MalformedRequest(
        f"Missing required param: {param}.", code="parameter_missing", param=param
    )


def no_such(kind: str, identifier: str, *, param: str = "id", status: int = 404) -> ApiError:
    """An id that names nothing here; 404 when it is in the path, 400 in a parameter."""
    return ApiError(
        f"No such {kind}: '{identifier}'", status=status, code="resource_missing", param=param
    )


def bad_value(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """A value that is well formed and does not fit."""
    return ApiError(message, code=code, param=param)
