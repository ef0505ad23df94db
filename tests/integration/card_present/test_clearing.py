"""What was reserved is taken once or taken back, whatever fails on the way."""

from __future__ import annotations

import dataclasses

import pytest

from control_plane import events
from control_plane.acquirer_sandbox.faults import FaultKind
from control_plane.card_present.lifecycle import AuthorizationState
from control_plane.card_present.processor import NotReached, ProcessorRefused
from control_plane.payments.events import LateResult
from protocols.money import Money
from tests.fakes.card_processor import FakeCardProcessor
from tests.integration.card_present.conftest import CardShop
from tests.support.acquirer import AcquirerServer, request_for, sealed_card
from tests.support.card_sessions import ask_for

S = AuthorizationState
#: Each way in which a call, or its answer, gets lost.
FAULTS = [
    FaultKind.LOST_REQUEST,
    FaultKind.LOST_ANSWER,
    FaultKind.SERVER_ERROR,
    FaultKind.SERVER_ERROR_AFTER_SUCCESS,
    FaultKind.TIMEOUT_AFTER_SUCCESS,
]


def test_an_approved_sale_takes_the_money_once(
    shop: CardShop, processor: FakeCardProcessor
) -> None:
    ask = ask_for(shop.sale())
    shop.ask(ask)
    assert processor.captured == {}

    row_id = shop.end(ask)
    shop.settle()
    shop.settle(hours=24)

    assert list(processor.captured.values()) == [Money(12_50, "EUR")]
    assert processor.calls == ["capture"]
    assert processor.reversals == []
    row = shop.row(ask.tap_id)
    assert (row.state, row.transaction_id) == (S.CAPTURED, row_id)
    assert shop.alarms() == []


@pytest.mark.parametrize("outcome", ["declined", "cancelled", "failed"])
def test_a_sale_that_ended_otherwise_gives_the_money_back(
    shop: CardShop, processor: FakeCardProcessor, outcome: str
) -> None:
    ask = ask_for(shop.sale())
    shop.ask(ask)

    shop.end(ask, outcome)
    shop.settle()

    assert (processor.reserved, processor.captured) == ({}, {})
    assert processor.reversals == [(f"ref-{ask.tap_id}", ask.tap_id)]
    assert shop.row(ask.tap_id).state is S.REVERSED


def test_a_reader_that_is_never_heard_of_again_keeps_no_money(
    shop: CardShop, processor: FakeCardProcessor
) -> None:
    ask = ask_for(shop.sale())
    shop.ask(ask)

    shop.settle(hours=11)
    assert shop.row(ask.tap_id).state is S.APPROVED
    shop.settle(hours=2)

    assert processor.reserved == {}
    assert shop.row(ask.tap_id).state is S.REVERSED


def test_an_approval_after_that_is_a_contradiction_and_the_ledger_says_so(
    shop: CardShop, processor: FakeCardProcessor
) -> None:
    ask = ask_for(shop.sale())
    shop.ask(ask)
    shop.settle(hours=13)

    shop.end(ask)
    shop.settle(hours=1)

    assert shop.alarms() == ["payment.not_authorized"]
    assert shop.ledger() == [("sale", "approved", 12_50), ("reversal", "approved", 12_50)]
    assert (processor.reserved, processor.captured) == ({}, {})


def test_a_processor_that_is_away_is_asked_until_it_answers(
    shop: CardShop, processor: FakeCardProcessor
) -> None:
    ask = ask_for(shop.sale())
    shop.ask(ask)
    shop.end(ask)
    processor.trouble = NotReached("no route")
    for _ in range(6):
        shop.settle(seconds=400)
    assert shop.row(ask.tap_id).state is S.CAPTURING

    processor.trouble = None
    shop.settle(hours=2)

    assert shop.row(ask.tap_id).state is S.CAPTURED
    assert shop.alarms() == ["payment.not_cleared"]


def test_a_capture_that_is_refused_raises_an_alarm(
    shop: CardShop, processor: FakeCardProcessor
) -> None:
    ask = ask_for(shop.sale())
    shop.ask(ask)
    shop.end(ask)
    processor.trouble = ProcessorRefused("INVALID_DATA", "expired")

    shop.settle()

    assert shop.row(ask.tap_id).state is S.CAPTURE_REFUSED
    assert shop.alarms() == ["payment.not_cleared"]


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("ends", ["approved", "failed"])
def test_a_lost_authorisation_moves_no_money(
    acquired_shop: CardShop, acquirer: AcquirerServer, kind: FaultKind, ends: str
) -> None:
    shop = acquired_shop
    ask = ask_for(shop.sale(), card=sealed_card())
    acquirer.fault(kind, delay_s=2.0)

    answer = shop.ask(ask)
    # Whatever the reader makes of "unavailable": without an approval of ours there is no money.
    shop.end(ask, ends)
    for _ in range(8):
        shop.settle(seconds=60)

    assert answer.status == "unavailable"
    assert acquirer.money() == (0, 0, 0)
    assert shop.row(ask.tap_id).state is S.REVERSED
    assert ("payment.not_authorized" in shop.alarms()) is (ends == "approved")


@pytest.mark.parametrize("kind", FAULTS)
def test_a_lost_capture_takes_the_money_once(
    acquired_shop: CardShop, acquirer: AcquirerServer, kind: FaultKind
) -> None:
    shop = acquired_shop
    ask = ask_for(shop.sale(), card=sealed_card())
    assert shop.ask(ask).status == "approved"
    acquirer.fault(kind, "*/captures", times=2, delay_s=2.0)

    shop.end(ask)
    for _ in range(4):
        shop.settle(seconds=60)

    assert acquirer.money() == (0, 12_50, 0)
    assert shop.row(ask.tap_id).state is S.CAPTURED


@pytest.mark.parametrize("kind", FAULTS)
def test_a_lost_reversal_is_asked_again(
    acquired_shop: CardShop, acquirer: AcquirerServer, kind: FaultKind
) -> None:
    shop = acquired_shop
    ask = ask_for(shop.sale(), card=sealed_card())
    shop.ask(ask)
    acquirer.fault(kind, "*/reversals", times=2, delay_s=2.0)

    shop.end(ask, "cancelled")
    for _ in range(4):
        shop.settle(seconds=60)

    assert acquirer.money() == (0, 0, 0)
    assert shop.row(ask.tap_id).state is S.REVERSED


def test_another_word_for_a_sale_that_is_paid_is_no_missing_money(
    shop: CardShop, processor: FakeCardProcessor
) -> None:
    ask = ask_for(shop.sale())
    shop.ask(ask)
    shop.end(ask)
    shop.settle()

    with shop.parts.database.connection() as db:
        late = LateResult(ask.session_id, shop.merchant_id, "dev-shop1", "tx_late", "approved", "x")
        events.publish(db, late)
    shop.settle()

    assert shop.alarms() == []
    assert shop.row(ask.tap_id).state is S.CAPTURED


def test_an_approval_that_nobody_asked_for_raises_an_alarm(
    shop: CardShop, processor: FakeCardProcessor
) -> None:
    ask = ask_for(shop.sale())

    shop.end(ask)
    shop.settle()

    assert shop.alarms() == ["payment.not_authorized"]
    assert (processor.asked, processor.captured) == ([], {})


def test_the_books_of_the_acquirer_are_those_of_the_ledger(
    acquired_shop: CardShop, acquirer: AcquirerServer
) -> None:
    shop = acquired_shop
    for minor, ends in [
        (12_50, "approved"), (9_05, "declined"), (10_51, "declined"), (30_00, "approved"),
        (7_21, "failed"), (8_22, "failed"), (8_23, "failed"), (8_24, "failed"), (5_10, "declined"),
        (44_00, "cancelled"),
    ]:  # fmt: skip
        ask = ask_for(shop.sale(minor), amount_minor=minor, card=sealed_card())
        answer = shop.ask(ask)
        assert (answer.status == "approved") is (ends in {"approved", "cancelled"})
        shop.end(ask, ends)
    for _ in range(6):
        shop.settle(seconds=60)

    sold = sum(amount for kind, status, amount in shop.ledger() if status == "approved")

    assert sold == 42_50
    assert acquirer.money() == (0, sold, 0)


def test_what_only_arrives_late_is_taken_back_too(
    acquired_shop: CardShop, acquirer: AcquirerServer
) -> None:
    shop = acquired_shop
    ask = ask_for(shop.sale(), card=sealed_card())
    acquirer.fault(FaultKind.LOST_REQUEST)
    shop.ask(ask)
    shop.end(ask, "failed")
    shop.settle()
    assert shop.row(ask.tap_id).state is S.REVERSING

    # What a network held back arrives a while after it was given up.
    late = shop.processors.of("").authorize(dataclasses.replace(request_for(12_50), key=ask.tap_id))
    for _ in range(6):
        shop.settle(seconds=60)

    assert late.reference
    assert acquirer.money() == (0, 0, 0)
