"""What a reader's own books say about a payment whose answer was lost. Pure: asking the reader is `agent.payment`'s.

A reader remembers its last payment and the totals of its day. Both are noted before the money command (`Baseline`);
what they say afterwards is compared with that. The last payment decides when it is plainly ours or plainly older; the
totals decide otherwise, and may contradict. What neither can tell is for a person.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from protocols.readers.protocol import (
    CardFacts,
    Outcome,
    PaymentFacts,
    Purchase,
    Refund,
    Reverse,
)

if TYPE_CHECKING:
    from protocols.money import Money
    from protocols.readers.protocol import (
        Finished,
        IssuerAnswer,
        LateResult,
        ReaderCommand,
        TapData,
        Totals,
    )

PaymentOutcome = Literal["approved", "declined", "cancelled", "failed"]
DecidedBy = Literal["answer", "recall", "totals", "reader_status", "not_begun"]

#: A reader's clock writes whole seconds, and stamps a payment when it feels like it.
_CLOCK_SLACK: Final = timedelta(seconds=5)
#: Readers count the payments of a scheme in one byte.
_FULL_COUNT: Final = 0xFF
#: Any leap year: a stamp has no year.
_SOME_YEAR: Final = "2024"
_STAMP: Final = "%m%d%H%M%S"
_HALF_A_YEAR: Final = timedelta(days=183)

#: Entry modes that need nothing of the card once it was read.
_CARD_IS_DONE: Final = frozenset({"contactless", "magstripe"})

_OUTCOMES: Final[dict[Outcome, PaymentOutcome]] = {
    Outcome.APPROVED: "approved",
    Outcome.DECLINED: "declined",
    Outcome.CANCELLED: "cancelled",
    Outcome.FAILED: "failed",
    Outcome.BUSY: "failed",
    Outcome.UNSUPPORTED: "failed",
}


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    """What is to be done. `receipt_number`: of the payment that a reversal takes back."""

    amount: Money
    kind: Literal["sale", "refund", "reversal"] = "sale"
    card_timeout_s: int | None = None
    receipt_number: int | None = None

    def command(self) -> ReaderCommand:
        """The one command that moves the money. Raises ValueError for a reversal that names no payment."""
        if self.kind == "sale":
            return Purchase(self.amount, self.card_timeout_s)
        if self.kind == "refund":
            return Refund(self.amount)
        if self.receipt_number is None:
            raise ValueError("a reversal needs the receipt number of the payment")
        return Reverse(self.receipt_number, self.amount)

    @property
    def turnover(self) -> Money:
        """What it adds to the reader's totals."""
        return self.amount if self.kind == "sale" else -self.amount


class Baseline(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The reader's books before the money command. Durable before the command leaves; plain JSON."""

    knows_last: bool = False
    """The reader tells its last payment; False: only the totals can be compared."""
    receipt_number: int | None = None
    trace_number: int | None = None
    stamp: str = ""
    """`MMDDHHMMSS` of the last payment, as the reader wrote it."""
    not_before: str = ""
    """`MMDDHHMMSS` on the reader's clock shortly before the command left; empty when it was asked just then."""
    count: int | None = None
    sum_minor: int | None = None
    """Totals in the currency of the request; None when the reader does not tell them."""


@dataclass(frozen=True, slots=True)
class Decision:
    """How a payment ended, for good. `amount` is what moved; where nothing moved, what was asked."""

    outcome: PaymentOutcome
    amount: Money
    decided_by: DecidedBy
    explanation: str = ""
    """One English sentence, when it was not the plain answer."""
    code: int | None = None
    text: str = ""
    """What `code` means, in English."""
    facts: PaymentFacts = field(default_factory=PaymentFacts)
    receipt_lines: tuple[str, ...] = ()
    """The customer's copy, or the only one; card numbers masked."""
    merchant_receipt_lines: tuple[str, ...] = ()
    cancel_asked: bool = False


@dataclass(frozen=True, slots=True)
class StillUnknown:
    """It is not known whether money moved. `needs_person`: the reader's books cannot tell, asking again is in vain."""

    reason: str
    needs_person: bool = False
    receipt_lines: tuple[str, ...] = ()
    merchant_receipt_lines: tuple[str, ...] = ()
    cancel_asked: bool = False


@dataclass(frozen=True, slots=True)
class Books:
    """A reader's books at one moment. `read_at` is on the scale of `Clock.elapsed`."""

    read_at: float
    last: PaymentFacts | None
    """The last payment; None when the reader tells none, or cannot tell."""
    last_outcome: Outcome = Outcome.DONE
    last_text: str = ""
    count: int | None = None
    sum: Money | None = None
    """Totals of the day; None when the reader does not tell them."""
    clock: tuple[str, float] | None = None
    """`MMDDHHMMSS` that the reader's clock showed, and when that was."""

    @classmethod
    def of(
        cls,
        recalled: Finished,
        totals: Finished,
        read_at: float,
        clock: tuple[str, float] | None = None,
    ) -> Books:
        """From what a reader answered to `RecallLast` and `ReadTotals`."""
        told = totals.totals if totals.outcome is Outcome.DONE else None
        count, total = _count_and_sum(told) if told else (None, None)
        return cls(read_at, recalled.payment, recalled.outcome, recalled.text, count, total, clock)

    def after(self, request: PaymentRequest, finished: Finished, now: float) -> Books | None:
        """The books after one more payment with this answer; None when that cannot be told without asking."""
        facts = finished.payment
        if finished.outcome in {Outcome.BUSY, Outcome.UNSUPPORTED}:
            return self
        if facts is None or not _stamp(facts):
            return None
        if finished.outcome is not Outcome.APPROVED:
            count, total = self.count, self.sum
        elif request.kind == "sale" and self.sum is not None:
            count = None if self.count is None else self.count + 1
            total = self.sum + (facts.amount or request.amount)
        else:
            count, total = None, None
        # Stamped a moment ago, so the clock shows this or a little more.
        clock = (_stamp(facts), now)
        return Books(now, facts, finished.outcome, finished.text, count, total, clock)

    def baseline(self, request: PaymentRequest, now: float, *, is_fresh: bool) -> Baseline:
        """What to keep before a payment begins at `now`."""
        stamp = _stamp(self.last) if self.last else ""
        not_before = ""
        if self.clock is not None and not is_fresh:
            clock_stamp, at = self.clock
            clock = _moment(clock_stamp) + timedelta(seconds=now - at) - _CLOCK_SLACK
            not_before = clock.strftime(_STAMP)
        has_sum = self.sum is not None and self.sum.currency == request.amount.currency
        return Baseline(
            knows_last=self.last is not None,
            receipt_number=self.last.receipt_number if self.last else None,
            trace_number=self.last.trace_number if self.last else None,
            stamp=stamp,
            not_before=not_before,
            count=self.count if has_sum else None,
            sum_minor=self.sum.minor if self.sum and has_sum else None,
        )


class _Whose(Enum):
    """Whether the reader's last payment is the one in question."""

    OURS = auto()
    OLDER = auto()
    MISDATED = auto()
    """It has our amount, but the reader dates it before our command: an older one, or the clock was set."""
    UNCLEAR = auto()


class _Change(Enum):
    """What happened to the reader's totals."""

    ADDED = auto()
    """Exactly this payment."""
    NOTHING = auto()
    UNCLEAR = auto()


def judge_answer(request: PaymentRequest, finished: Finished) -> Decision | StillUnknown:
    """The decision that lies in the reader's own answer."""
    if finished.outcome in {Outcome.LOST, Outcome.DONE}:
        return StillUnknown(
            f"the answer was lost: {finished.text}" if finished.text else "the answer was lost"
        )
    facts = finished.payment or PaymentFacts()
    outcome = _OUTCOMES[finished.outcome]
    is_begun = finished.outcome not in {Outcome.BUSY, Outcome.UNSUPPORTED}
    return Decision(
        outcome,
        facts.amount if outcome == "approved" and facts.amount else request.amount,
        "answer" if is_begun else "not_begun",
        "" if is_begun else f"The reader did not begin: {finished.text}.",
        code=finished.code,
        text=finished.text,
        facts=facts,
    )


@dataclass(frozen=True, slots=True)
class IssuerAsked:
    """What went between a card on an encrypting reader and its issuer. `answer`: None while nobody has answered."""

    tap: TapData
    answer: IssuerAnswer | None = None


def judge_sealed(
    request: PaymentRequest, finished: Finished, asked: IssuerAsked | None
) -> Decision:
    """The decision about a payment on an encrypting reader. It is never open.

    Such a reader cannot take money by itself: nothing moves but what the issuer approved, and that is taken back unless
    the decision made here says approved.
    """
    answer = asked.answer if asked else None
    facts = _with_issuer(finished.payment or PaymentFacts(), asked)
    has_approval = answer is not None and answer.approved
    if finished.outcome is Outcome.APPROVED and not has_approval:
        why = "The card approved without its issuer, which nobody would pay; nothing was charged."
        return Decision(
            "failed", request.amount, "answer", why, finished.code, finished.text, facts
        )
    if finished.outcome not in {Outcome.LOST, Outcome.DONE}:
        decision = judge_answer(request, finished)
        if not isinstance(decision, Decision):
            raise AssertionError(finished.outcome)
        if (
            decision.outcome != "approved"
            and asked is not None
            and (answer is None or has_approval)
        ):
            why = "The card was not done; nothing was charged, and what its issuer may have approved is taken back."
            return replace(decision, facts=facts, explanation=why)
        return replace(decision, facts=facts)
    if has_approval and facts.card.entry_mode in _CARD_IS_DONE:
        why = "The line to the reader broke after the issuer had approved; the card was not needed any more."
        return Decision(
            "approved", request.amount, "reader_status", why, text=finished.text, facts=facts
        )
    why = "The line to the reader broke before the card was done; nothing was charged"
    if answer is None and asked is not None:
        why += ", and what its issuer may still approve is taken back"
    elif has_approval:
        why += ", and what its issuer approved is taken back"
    return Decision(
        "failed", request.amount, "reader_status", f"{why}.", text=finished.text, facts=facts
    )


def settle_sealed(request: PaymentRequest) -> Decision:
    """The end of a payment on an encrypting reader that the agent did not live to see."""
    return Decision(
        "failed",
        request.amount,
        "reader_status",
        "The agent was restarted while the payment ran; nothing was charged, and what the card's issuer may have "
        "approved is taken back.",
    )


def _with_issuer(facts: PaymentFacts, asked: IssuerAsked | None) -> PaymentFacts:
    if asked is None:
        return facts
    code = asked.answer.authorization_code if asked.answer else ""
    return replace(
        facts,
        card=asked.tap.card if facts.card == CardFacts() else facts.card,
        authorization_code=facts.authorization_code or code or None,
    )


def weigh(
    request: PaymentRequest, baseline: Baseline, books: Books, late: LateResult | None = None
) -> Decision | StillUnknown:
    """What the books say now, compared with what they said before. `late`: an answer that came after all."""
    whose = _whose(request, baseline, books)
    change = _change(request, baseline, books)
    if whose is _Whose.OURS:
        return _weigh_ours(request, books, change)
    if whose is _Whose.OLDER:
        if change is _Change.ADDED:
            return _contradiction(
                "its totals grew by this amount, but its last receipt is an older one"
            )
        last = books.last
        return Decision(
            "failed",
            request.amount,
            "recall",
            f"The answer was lost; the reader's last receipt is still {_receipt(last or PaymentFacts())}, "
            "from before this payment, "
            "so nothing was charged.",
        )
    if whose is _Whose.MISDATED:
        return StillUnknown(
            f"the reader's last receipt {_receipt(books.last or PaymentFacts())} has this amount, but a time "
            "before this payment",
            needs_person=True,
        )
    if change is _Change.UNCLEAR:
        change = _change_beside_another(request, baseline, books)
    if change is not _Change.UNCLEAR:
        return _by_totals(request, books, change)
    if late is not None and late.outcome in _OUTCOMES and late.payment.amount == request.amount:
        return Decision(
            _OUTCOMES[late.outcome],
            request.amount,
            "answer",
            "The reader's answer was lost at first and came later.",
            code=late.payment.result_code,
            facts=late.payment,
        )
    return StillUnknown(
        "neither the reader's last receipt nor its totals tell; look at its journal or the bank's list",
        needs_person=True,
    )


def _weigh_ours(request: PaymentRequest, books: Books, change: _Change) -> Decision | StillUnknown:
    facts = books.last or PaymentFacts()
    outcome = _OUTCOMES[books.last_outcome]
    if outcome == "approved":
        if change is _Change.NOTHING and request.kind == "sale":
            return _contradiction(
                f"its last receipt {_receipt(facts)} is approved, but its totals did not grow"
            )
        explanation = (
            f"The answer was lost; the reader's last receipt {_receipt(facts)} shows {request.amount} approved "
            "after this payment began."
        )
    elif change is _Change.ADDED:
        return _contradiction(
            "its totals grew by this amount, but its last payment was not approved"
        )
    else:
        explanation = (
            f"The answer was lost; the reader's last payment ended as: {books.last_text or outcome}, "
            "so nothing was charged."
        )
    return Decision(
        outcome,
        request.amount,
        "recall",
        explanation,
        code=facts.result_code,
        text=books.last_text,
        facts=facts,
    )


def _by_totals(request: PaymentRequest, books: Books, change: _Change) -> Decision:
    if change is _Change.ADDED:
        return Decision(
            "approved",
            request.amount,
            "totals",
            f"The answer was lost; exactly {request.turnover} more is in the reader's totals of {books.sum}.",
        )
    return Decision(
        "failed",
        request.amount,
        "totals",
        f"The answer was lost; this payment is not in the reader's totals of {books.sum}, so nothing was charged.",
    )


def _contradiction(what: str) -> StillUnknown:
    return StillUnknown(f"the reader's books contradict each other: {what}", needs_person=True)


def _whose(request: PaymentRequest, baseline: Baseline, books: Books) -> _Whose:
    last = books.last
    if last is None or books.last_outcome not in _OUTCOMES:
        return _Whose.UNCLEAR
    is_approved = books.last_outcome is Outcome.APPROVED
    seen = (last.receipt_number, last.trace_number, _stamp(last))
    if baseline.knows_last and seen == (
        baseline.receipt_number,
        baseline.trace_number,
        baseline.stamp,
    ):
        # A payment without any number cannot be told from another such one; none of them moved money.
        return (
            _Whose.OLDER if last.receipt_number is not None or not is_approved else _Whose.UNCLEAR
        )
    if not baseline.knows_last:
        # Without a "before" a last payment proves nothing by itself; together with the totals it does.
        change = _change(request, baseline, books)
        agrees = change is (_Change.ADDED if is_approved else _Change.NOTHING)
        return _Whose.OURS if agrees and last.amount in (None, request.amount) else _Whose.UNCLEAR
    if last.receipt_number is None and not is_approved:
        return _Whose.OURS
    if last.amount != request.amount:
        return _Whose.UNCLEAR
    stamp = _stamp(last)
    if len(last.reader_time or "") == len("HHMM"):
        # It may have been any second of that minute.
        stamp = stamp[:-2] + "59"
    if baseline.not_before and stamp and _is_before(stamp, baseline.not_before):
        return _Whose.MISDATED
    return _Whose.OURS


def _change(request: PaymentRequest, baseline: Baseline, books: Books) -> _Change:
    grown, counted = _growth(baseline, books, request.amount.currency)
    if grown == 0 and counted in (None, 0):
        return _Change.NOTHING
    if grown == request.turnover.minor and (request.kind != "sale" or counted in (None, 1)):
        return _Change.ADDED
    return _Change.UNCLEAR


def _change_beside_another(request: PaymentRequest, baseline: Baseline, books: Books) -> _Change:
    """The same when somebody else's payment, the last one, was added too."""
    last = books.last
    if last is None or last.amount is None or books.last_outcome is not Outcome.APPROVED:
        return _Change.UNCLEAR
    grown, counted = _growth(baseline, books, last.amount.currency)
    if grown is None or counted is None or request.kind != "sale" or not baseline.knows_last:
        return _Change.UNCLEAR
    match grown - last.amount.minor, counted - 1:
        case (0, 0):
            return _Change.NOTHING
        case (rest, 1) if rest == request.amount.minor:
            return _Change.ADDED
    return _Change.UNCLEAR


def _growth(baseline: Baseline, books: Books, currency: str) -> tuple[int | None, int | None]:
    """By how much the totals and their count grew, as far as both are known."""
    if baseline.sum_minor is None or books.sum is None or books.sum.currency != currency:
        return None, None
    grown = books.sum.minor - baseline.sum_minor
    if baseline.count is None or books.count is None:
        return grown, None
    return grown, books.count - baseline.count


def _count_and_sum(totals: Totals) -> tuple[int | None, Money | None]:
    """A count that a scheme's one byte could not hold, or that was not told, is not known."""
    counts = [one.count for one in totals.per_scheme]
    total = totals.total
    for one in totals.per_scheme if total is None else ():
        total = one.sum if total is None else total + one.sum
    is_untold = not counts and total is not None and total.minor != 0
    return (None if is_untold or _FULL_COUNT in counts else sum(counts)), total


def _stamp(facts: PaymentFacts) -> str:
    date, time = facts.reader_date or "", facts.reader_time or ""
    stamp = date + (f"{time}00" if len(time) == len("HHMM") else time)
    try:
        _moment(stamp)
    except ValueError:
        return ""
    return stamp


def _moment(stamp: str) -> datetime:
    return datetime.strptime(_SOME_YEAR + stamp, f"%Y{_STAMP}").replace(tzinfo=UTC)


def _is_before(stamp: str, other: str) -> bool:
    """Stamps have no year: what looks like more than half a year apart is the other way round."""
    apart = _moment(other) - _moment(stamp)
    return timedelta(0) < apart < _HALF_A_YEAR or apart < -_HALF_A_YEAR


def _receipt(facts: PaymentFacts) -> str:
    return f"{facts.receipt_number:04d}" if facts.receipt_number is not None else "without a number"
