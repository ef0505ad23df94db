"""A processor of sealed cards that keeps books in memory; a test says what it answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from control_plane.card_present.errors import CardPresentNotConnected
from control_plane.card_present.processor import (
    Access,
    Approved,
    AuthorizationRequest,
    CardPresentProcessor,
    Declined,
    Reversed,
    Taken,
)
from protocols.money import Money

Answer = Callable[[AuthorizationRequest], Approved | Declined]


def approve(request: AuthorizationRequest) -> Approved:
    """In full, with data for the card."""
    return Approved(
        reference=f"ref-{request.key}",
        amount=request.amount,
        authorization_code="A12345",
        issuer_data=bytes.fromhex("910A00112233445566773030"),
    )


@dataclass
class FakeCardProcessor:
    """Everything that was asked, in order; ``reserved`` by key, ``captured`` and ``refunded`` by reference."""

    answer: Answer = approve
    trouble: Exception | None = None
    asked: list[AuthorizationRequest] = field(default_factory=list)
    reserved: dict[str, Money] = field(default_factory=dict)
    captured: dict[str, Money] = field(default_factory=dict)
    refunded: dict[str, Money] = field(default_factory=dict)
    reversals: list[tuple[str, str]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def authorize(self, request: AuthorizationRequest) -> Approved | Declined:
        with self._lock:
            self.asked.append(request)
        outcome = self.answer(request)
        if isinstance(outcome, Approved):
            self.reserved[request.key] = outcome.amount
        return outcome

    def reverse(self, reference: str, key: str, authorization_key: str, amount: Money) -> Reversed:
        self._call("reverse")
        self.reversals.append((reference, authorization_key))
        return Reversed(was_there=self.reserved.pop(authorization_key, None) is not None)

    def capture(self, reference: str, key: str, amount: Money) -> Taken:
        self._call("capture")
        self.reserved.pop(reference.removeprefix("ref-"), None)
        self.captured[key] = amount
        return Taken(reference=f"cap-{key}")

    def refund(self, reference: str, key: str, amount: Money) -> Taken:
        self._call("refund")
        self.refunded[key] = amount
        return Taken(reference=f"given-{key}")

    def check(self) -> None:
        self._call("check")

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.trouble is not None:
            raise self.trouble


@dataclass
class FakeCardProcessors:
    """The same processor for every merchant; none when it is None."""

    processor: CardPresentProcessor | None

    def of(self, merchant_id: str) -> CardPresentProcessor:
        if self.processor is None:
            raise CardPresentNotConnected
        return self.processor

    def with_access(self, access: Access) -> CardPresentProcessor:
        return self.of("")
