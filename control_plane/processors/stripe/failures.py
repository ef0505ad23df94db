"""What an error of the SDK means to us."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import stripe

from control_plane.processors.stripe import reading
from control_plane.processors.stripe.transport import NothingSent
from control_plane.virtual_terminal.processor import (
    AnswerUnknown,
    Decline,
    Declined,
    MotoNotEnabled,
    NotReached,
    ProcessorError,
    ReaderRefused,
    Refused,
    UnexpectedState,
)

#: Of a typed card, and of one typed into a reader.
_MOTO: Final = frozenset({"payment_method_options[card][moto]", "process_config[moto]"})

#: The object is not where the caller took it to be; reading it again says where it is.
_ELSEWHERE: Final = frozenset(
    {
        "charge_already_captured",
        "charge_already_refunded",
        "charge_expired_for_capture",
        "intent_invalid_state",
        "payment_intent_unexpected_state",
        "setup_intent_unexpected_state",
    }
)
#: Refusals by whom we are, not by what we asked: they say nothing of an earlier request with the same key.
_NOT_HEARD: Final = (stripe.AuthenticationError, stripe.PermissionError)


class Fate(StrEnum):
    """What became of one request."""

    ANSWERED = "answered"
    """It was decided; the same request would get the same answer."""
    TURNED_AWAY = "turned_away"
    """Surely nothing happened, and another try may be heard."""
    RUNNING = "running"
    """An earlier request with this key is not through yet."""
    UNKNOWN = "unknown"
    """It may have happened."""


def fate_of(error: stripe.StripeError, *, may_have_happened: bool) -> Fate:
    """``may_have_happened``: an earlier request of the same call got no answer."""
    match error:
        case NothingSent() | stripe.RateLimitError():
            return Fate.TURNED_AWAY
        case stripe.APIConnectionError():
            return Fate.UNKNOWN
        # The same key with other words: what was first asked under it may well have been done.
        case stripe.IdempotencyError():
            return Fate.UNKNOWN
    code = _code(error)
    if error.http_status == 409:
        return Fate.RUNNING if code == "idempotency_key_in_use" else Fate.TURNED_AWAY
    if code == "lock_timeout":
        return Fate.TURNED_AWAY
    if code == "terminal_reader_timeout":
        return Fate.UNKNOWN
    if isinstance(error, _NOT_HEARD):
        return Fate.TURNED_AWAY if may_have_happened else Fate.ANSWERED
    if error.http_status is not None and 400 <= error.http_status < 500:
        return Fate.ANSWERED
    return Fate.UNKNOWN


def may_repeat(error: stripe.StripeError) -> bool:
    """Whether a call whose answer was lost could bring more when it is sent again; Stripe says in a header if not."""
    if isinstance(error, stripe.IdempotencyError) or _code(error) == "terminal_reader_timeout":
        return False
    return (error.headers or {}).get("stripe-should-retry") != "false"


def given_up(error: stripe.StripeError, fate: Fate, *, may_have_happened: bool) -> ProcessorError:
    """The failure after the last try."""
    words = f"{type(error).__name__}: {error.user_message or 'no answer'}"
    if fate is Fate.TURNED_AWAY and not may_have_happened:
        return NotReached(words)
    return AnswerUnknown(words)


def answered(error: stripe.StripeError) -> ProcessorError:
    """A decided answer that is not yes."""
    said = error.error
    code = _code(error)
    param = getattr(said, "param", None) or ""
    message = error.user_message or ""
    if isinstance(error, stripe.CardError):
        payment = getattr(said, "payment_intent", None)
        return Declined(
            reading.decline(said) or Decline(code=code, message=message),
            reading.payment(payment) if payment is not None else None,
        )
    if code == "parameter_unknown" and param in _MOTO:
        return MotoNotEnabled(message, code=code, param=param)
    if code in _ELSEWHERE:
        return UnexpectedState(message, code=code, param=param)
    if code.startswith("terminal_"):
        return ReaderRefused(message, code=code, param=param)
    if not code:
        code = {401: "authentication", 403: "permission"}.get(error.http_status or 0, "")
    return Refused(message, code=code, param=param)


def _code(error: stripe.StripeError) -> str:
    # The SDK keeps the code of some classes only; the answer has it always.
    return getattr(error.error, "code", None) or error.code or ""
