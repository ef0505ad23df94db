"""The port to whoever takes sealed cards: an acquirer or gateway that holds the readers' keys.

An authorisation only reserves money. It is captured when the reader says that the sale is approved, and reversed
otherwise: so money that nobody confirmed never leaves the cardholder's account. Every call carries a key of ours that
stays the same however often the call is made; the processor's own reference, or that key, finds it again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

from protocols.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedTap:
    """A card that only the processor can open. ``format``: the reader protocol whose layout ``data`` has.

    ``scheme``: ``dukpt-tdes`` or ``dukpt-aes``; ``ksn``: 10 or 12 bytes.
    """

    format: str
    scheme: str
    ksn: bytes
    data: bytes = field(repr=False)
    serial_number: str = ""
    entry_mode: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationRequest:
    """What the issuer is asked. ``key`` is new for each card that was shown, and said again by nobody else."""

    key: str
    amount: Money
    tap: SealedTap
    terminal_id: str
    """Our reader, as the processor's reports shall name it."""
    reference: str
    """The tap session, for who compares reports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """The issuer reserved ``amount``, which may be less than was asked."""

    reference: str
    amount: Money
    response_code: str = "00"
    authorization_code: str = ""
    issuer_data: bytes = field(default=b"", repr=False)
    """BER-TLV objects 91, 71 and 72 for the card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """The issuer, or the processor in its place, said no; nothing is reserved."""

    response_code: str
    reference: str = ""
    issuer_data: bytes = field(default=b"", repr=False)
    text: str = ""
    """The processor's own English words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A capture or refund that the processor accepted, by its reference there."""

    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversed:
    """Nothing is reserved any more. ``was_there`` is False when the processor knows of nothing to take back."""

    was_there: bool
    reference: str = ""


class CardPresentError(Exception):
    """A call that brought no answer of the issuer."""


class NotReached(CardPresentError):
    """Surely nothing happened: no connection, or turned away before anything was looked at."""


class AnswerUnknown(CardPresentError):
    """It may have happened: ask again with the same key, or take it back."""


class ProcessorRefused(CardPresentError):
    """The processor understood and will not do it, now or later; nothing happened. ``code`` is its own word."""

    def __init__(self, code: str, text: str, *, is_access: bool = False) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text
        #: The key or the account is what it objects to.
        self.is_access = is_access


class CardPresentProcessor(Protocol):
    """One merchant's account. Calls block for at most ``ANSWER_WITHIN_S``, and raise only CardPresentError."""

    def authorize(self, request: AuthorizationRequest) -> Approved | Declined:
        """Ask the issuer. Asked at most once for a key: a repetition might reserve the money twice."""
        ...

    def reverse(self, reference: str, key: str, authorization_key: str, amount: Money) -> Reversed:
        """Take an authorisation back in full, by its reference, or by the key it was asked with when that is empty."""
        ...

    def capture(self, reference: str, key: str, amount: Money) -> Taken:
        """Take what was reserved. The same key takes it once."""
        ...

    def refund(self, reference: str, key: str, amount: Money) -> Taken:
        """Give back of a capture, named by its reference. The same key gives it once."""
        ...

    def check(self) -> None:
        """Whether the keys are good; changes nothing."""
        ...


class CardPresentProcessors(Protocol):
    """Which processor a merchant has."""

    def of(self, merchant_id: str) -> CardPresentProcessor:
        """Raises CardPresentNotConnected, or what keeps the account from being used in this mode."""
        ...

    def with_access(self, access: Access) -> CardPresentProcessor:
        """One that is not kept, for keys that are not stored yet. Raises what keeps them from being used."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Whose account, and which server: the processor's own test or live one when ``base`` is empty."""

    organization: str
    key_id: str
    secret: str = field(repr=False)
    livemode: bool = False
    base: str = ""


#: Longest that a call may take; a device asks for about as long.
ANSWER_WITHIN_S: Final = 15.0
