"""What a reader's books prove about a lost payment, and what they do not."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from agent.evidence import (
    Baseline,
    Books,
    Decision,
    PaymentRequest,
    StillUnknown,
    judge_answer,
    weigh,
)
from protocols.money import Money
from protocols.readers.protocol import (
    BrandTotal,
    Finished,
    LateResult,
    Outcome,
    PaymentFacts,
    Purchase,
    ReadTotals,
    RecallLast,
    Refund,
    Reverse,
    Totals,
)


def eur(minor: int) -> Money:
    return Money(minor, "EUR")


SALE = PaymentRequest(eur(12_34))
BEFORE = PaymentFacts(
    0, eur(12_34), receipt_number=16, trace_number=90, reader_date="0504", reader_time="120000"
)
OURS = replace(BEFORE, receipt_number=17, trace_number=91, reader_time="120500")
BASE = Books(100, BEFORE, Outcome.APPROVED, "approved", 1, eur(12_34)).baseline(
    SALE, 101, is_fresh=True
)


def books(
    last: PaymentFacts | None,
    outcome: Outcome = Outcome.APPROVED,
    *,
    count: int | None = None,
    total: int | None = None,
) -> Books:
    return Books(200, last, outcome, "some text", count, eur(total) if total is not None else None)


def decided(baseline: Baseline, now: Books, request: PaymentRequest = SALE) -> Decision:
    decision = weigh(request, baseline, now)
    assert isinstance(decision, Decision)
    return decision


def unknown(baseline: Baseline, now: Books, request: PaymentRequest = SALE) -> StillUnknown:
    still = weigh(request, baseline, now)
    assert isinstance(still, StillUnknown)
    return still


# --- the last receipt ------------------------------------------------------------------------------------------


def test_a_new_receipt_of_this_amount_is_this_payment() -> None:
    decision = decided(BASE, books(OURS))

    assert (decision.outcome, decision.decided_by) == ("approved", "recall")
    assert decision.facts == OURS
    assert decision.explanation == (
        "The answer was lost; the reader's last receipt 0017 shows 12.34 EUR approved after this payment began."
    )


def test_the_same_receipt_as_before_means_that_nothing_was_charged() -> None:
    decision = decided(BASE, books(BEFORE))

    assert (decision.outcome, decision.decided_by) == ("failed", "recall")
    assert decision.explanation == (
        "The answer was lost; the reader's last receipt is still 0016, from before this payment, "
        "so nothing was charged."
    )


@pytest.mark.parametrize(
    ("outcome", "decision"),
    [
        (Outcome.DECLINED, "declined"),
        (Outcome.CANCELLED, "cancelled"),
        (Outcome.FAILED, "failed"),
    ],
)
def test_a_new_receipt_that_was_not_approved_tells_how_it_ended(
    outcome: Outcome, decision: str
) -> None:
    found = decided(BASE, books(OURS, outcome))

    assert (found.outcome, found.decided_by) == (decision, "recall")
    assert "some text" in found.explanation


def test_a_last_payment_without_a_number_that_was_stopped_is_this_one() -> None:
    stopped = PaymentFacts(0x6C)

    assert decided(BASE, books(stopped, Outcome.CANCELLED)).outcome == "cancelled"


def test_a_stopped_payment_that_was_the_last_one_before_proves_that_nothing_came_after() -> None:
    stopped = books(PaymentFacts(0x6C), Outcome.CANCELLED)
    baseline = stopped.baseline(SALE, 201, is_fresh=True)

    assert decided(baseline, stopped).outcome == "failed"


def test_somebody_elses_payment_of_another_amount_decides_nothing() -> None:
    elses = replace(OURS, amount=eur(99))

    still = unknown(BASE, books(elses))

    assert still.needs_person


def remembered_from(stamp: str, at: float) -> Books:
    return replace(Books(at, BEFORE, Outcome.APPROVED), clock=(stamp, at))


def test_a_receipt_dated_before_the_command_is_for_a_person() -> None:
    remembered = remembered_from("0504120000", 1000).baseline(SALE, 1600, is_fresh=False)

    assert remembered.not_before == "0504120955"
    assert unknown(remembered, books(replace(OURS, reader_time="120300"))).needs_person
    assert decided(remembered, books(replace(OURS, reader_time="121001"))).outcome == "approved"


@pytest.mark.parametrize(("time", "is_ours"), [("1205", True), ("1204", True), ("1203", False)])
def test_a_reader_that_tells_no_seconds_may_mean_any_of_that_minute(
    time: str, is_ours: bool
) -> None:
    now = remembered_from("0504120450", 0)
    last = replace(OURS, reader_time=time)

    judged = weigh(SALE, now.baseline(SALE, 10, is_fresh=False), books(last))

    assert isinstance(judged, Decision) == is_ours


def test_the_new_year_comes_after_the_old_one() -> None:
    remembered = remembered_from("1231235900", 1000).baseline(SALE, 1120, is_fresh=False)
    new_year = replace(OURS, reader_date="0101", reader_time="000105")
    silvester = replace(OURS, reader_date="1231", reader_time="235930")

    assert remembered.not_before == "0101000055"
    assert decided(remembered, books(new_year)).outcome == "approved"
    assert unknown(remembered, books(silvester)).needs_person


# --- the totals ------------------------------------------------------------------------------------------------

TOTALS_ONLY = Baseline(count=4, sum_minor=100_00)


def test_totals_that_grew_by_exactly_this_amount_prove_the_payment() -> None:
    decision = decided(TOTALS_ONLY, books(None, Outcome.UNSUPPORTED, count=5, total=112_34))

    assert (decision.outcome, decision.decided_by) == ("approved", "totals")
    assert decision.explanation == (
        "The answer was lost; exactly 12.34 EUR more is in the reader's totals of 112.34 EUR."
    )


def test_totals_that_did_not_change_prove_that_nothing_was_charged() -> None:
    decision = decided(TOTALS_ONLY, books(None, Outcome.UNSUPPORTED, count=4, total=100_00))

    assert (decision.outcome, decision.decided_by) == ("failed", "totals")


@pytest.mark.parametrize(
    ("count", "total"),
    [(6, 112_34), (5, 100_00), (5, 112_35), (0, 0), (None, None)],
    ids=["two payments", "a free one", "another amount", "day closed", "not told"],
)
def test_totals_that_changed_otherwise_prove_nothing(count: int | None, total: int | None) -> None:
    assert unknown(
        TOTALS_ONLY, books(None, Outcome.UNSUPPORTED, count=count, total=total)
    ).needs_person


def test_a_refund_takes_its_amount_from_the_totals() -> None:
    refund = PaymentRequest(eur(12_34), "refund")

    assert decided(TOTALS_ONLY, books(None, count=5, total=87_66), refund).outcome == "approved"
    assert decided(TOTALS_ONLY, books(None, count=4, total=100_00), refund).outcome == "failed"


def test_somebody_elses_payment_beside_ours_shows_in_the_totals() -> None:
    elses = replace(OURS, amount=eur(99))

    without_ours = decided(BASE, books(elses, count=2, total=13_33))
    with_ours = decided(BASE, books(elses, count=3, total=25_67))

    assert (without_ours.outcome, without_ours.decided_by) == ("failed", "totals")
    assert (with_ours.outcome, with_ours.decided_by) == ("approved", "totals")
    assert unknown(BASE, books(elses, count=3, total=25_68)).needs_person


def test_totals_in_another_currency_prove_nothing() -> None:
    swiss = replace(books(None, count=4), sum=Money(100_00, "CHF"))

    assert unknown(TOTALS_ONLY, swiss).needs_person


# --- together --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "outcome", "count", "total"),
    [
        (OURS, Outcome.APPROVED, 1, 12_34),
        (OURS, Outcome.DECLINED, 2, 24_68),
        (BEFORE, Outcome.APPROVED, 2, 24_68),
    ],
    ids=["approved but not added", "declined but added", "older but added"],
)
def test_books_that_contradict_each_other_are_for_a_person(
    last: PaymentFacts, outcome: Outcome, count: int, total: int
) -> None:
    still = unknown(BASE, books(last, outcome, count=count, total=total))

    assert still.needs_person
    assert "contradict" in still.reason


def test_a_last_payment_proves_nothing_when_it_is_not_known_what_was_before() -> None:
    assert unknown(Baseline(), books(OURS)).needs_person
    assert (
        decided(Baseline(count=0, sum_minor=0), books(OURS, count=1, total=12_34)).outcome
        == "approved"
    )
    declined = books(OURS, Outcome.DECLINED, count=0, total=0)
    assert decided(Baseline(count=0, sum_minor=0), declined).outcome == "declined"


def test_an_answer_that_came_late_decides_only_where_the_books_cannot() -> None:
    late = LateResult(OURS, Outcome.APPROVED)
    other = LateResult(replace(OURS, amount=eur(1)), Outcome.APPROVED)

    from_late = weigh(SALE, Baseline(), books(None, Outcome.UNSUPPORTED), late)
    from_books = weigh(SALE, BASE, books(BEFORE), late)

    assert isinstance(from_late, Decision)
    assert (from_late.outcome, from_late.decided_by) == ("approved", "answer")
    assert isinstance(from_books, Decision)
    assert from_books.outcome == "failed"
    assert isinstance(weigh(SALE, Baseline(), books(None), other), StillUnknown)


# --- the answer ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "decision", "by"),
    [
        (Outcome.APPROVED, "approved", "answer"),
        (Outcome.DECLINED, "declined", "answer"),
        (Outcome.CANCELLED, "cancelled", "answer"),
        (Outcome.FAILED, "failed", "answer"),
        (Outcome.BUSY, "failed", "not_begun"),
        (Outcome.UNSUPPORTED, "failed", "not_begun"),
    ],
)
def test_a_plain_answer_decides_by_itself(outcome: Outcome, decision: str, by: str) -> None:
    judged = judge_answer(SALE, Finished(SALE.command(), outcome, text="said"))

    assert isinstance(judged, Decision)
    assert (judged.outcome, judged.decided_by, judged.amount) == (decision, by, SALE.amount)


@pytest.mark.parametrize("outcome", [Outcome.LOST, Outcome.DONE])
def test_an_answer_that_says_nothing_of_the_money_leaves_it_unknown(outcome: Outcome) -> None:
    judged = judge_answer(SALE, Finished(SALE.command(), outcome, payment=OURS))

    assert isinstance(judged, StillUnknown)
    assert not judged.needs_person


def test_a_part_that_was_approved_is_the_amount_that_moved() -> None:
    part = replace(OURS, amount=eur(10_00))

    judged = judge_answer(SALE, Finished(SALE.command(), Outcome.APPROVED, payment=part))

    assert isinstance(judged, Decision)
    assert judged.amount == eur(10_00)


# --- the baseline ----------------------------------------------------------------------------------------------


def test_a_baseline_survives_as_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(BASE), type=Baseline) == BASE
    assert msgspec.json.encode(Baseline()) == b"{}"


def test_books_are_read_from_what_the_reader_answers() -> None:
    totals = Totals((BrandTotal("Visa", 2, eur(20_00)), BrandTotal("others", 1, eur(5_00))))

    read = Books.of(
        Finished(RecallLast(), Outcome.DECLINED, payment=BEFORE, text="declined"),
        Finished(ReadTotals(), Outcome.DONE, totals=totals),
        7.0,
    )

    assert read == Books(7.0, BEFORE, Outcome.DECLINED, "declined", 3, eur(25_00))


def test_a_sum_without_a_count_decides_by_itself() -> None:
    """As ECR17 tells it: one sum, no number of payments, and a result without its amount."""
    recalled = Finished(RecallLast(), Outcome.APPROVED, payment=replace(OURS, amount=None))

    def told(minor: int) -> Books:
        totals = Finished(ReadTotals(), Outcome.DONE, totals=Totals((), eur(minor)))
        return Books.of(recalled, totals, 300)

    before = Books(100, BEFORE, Outcome.APPROVED, "approved", None, eur(50_00))
    baseline = before.baseline(SALE, 101, is_fresh=True)

    assert told(50_00).count is None
    assert decided(baseline, told(62_34)).outcome == "approved"
    assert decided(baseline, told(50_00)).outcome == "failed"
    assert unknown(baseline, told(60_00)).needs_person


def test_books_without_a_count_go_on_after_a_sale_without_an_amount() -> None:
    before = Books(100, BEFORE, Outcome.APPROVED, "approved", None, eur(50_00))
    finished = Finished(Purchase(eur(12_34)), Outcome.APPROVED, payment=replace(OURS, amount=None))

    after = before.after(SALE, finished, 150)

    assert after is not None
    assert (after.count, after.sum) == (None, eur(62_34))


def test_a_count_that_does_not_fit_its_byte_is_not_believed() -> None:
    totals = Totals((BrandTotal("Visa", 255, eur(20_00)),), total=eur(20_00))

    read = Books.of(
        Finished(RecallLast(), Outcome.FAILED),
        Finished(ReadTotals(), Outcome.DONE, totals=totals),
        7,
    )

    assert (read.count, read.sum) == (None, eur(20_00))


KNOWN = Books(100, BEFORE, Outcome.APPROVED, "", 1, eur(12_34))


def test_books_are_forgotten_after_a_lost_answer_and_stay_when_nothing_began() -> None:
    lost = KNOWN.after(SALE, Finished(SALE.command(), Outcome.LOST), 150)
    busy = KNOWN.after(SALE, Finished(SALE.command(), Outcome.BUSY), 150)

    assert (lost, busy) == (None, KNOWN)


def test_books_go_on_after_an_approved_sale() -> None:
    approved = Finished(SALE.command(), Outcome.APPROVED, payment=OURS)

    after = KNOWN.after(SALE, approved, 150)

    assert after == Books(150, OURS, Outcome.APPROVED, "", 2, eur(24_68), clock=("0504120500", 150))


@pytest.mark.parametrize(
    ("request_", "command"),
    [
        (PaymentRequest(eur(1), card_timeout_s=30), Purchase(eur(1), 30)),
        (PaymentRequest(eur(1), "refund"), Refund(eur(1))),
        (PaymentRequest(eur(1), "reversal", receipt_number=5), Reverse(5, eur(1))),
    ],
)
def test_each_kind_of_request_has_one_command(request_: PaymentRequest, command: object) -> None:
    assert request_.command() == command


def test_a_reversal_must_name_its_payment() -> None:
    with pytest.raises(ValueError, match="receipt number"):
        PaymentRequest(eur(1), "reversal").command()
