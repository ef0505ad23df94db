"""One shown card, one question, one answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from control_plane.card_present import response_codes
from control_plane.card_present.lifecycle import HOLDING, NEXT, AuthorizationState
from control_plane.card_present.processor import (
    AnswerUnknown,
    Approved,
    AuthorizationRequest,
    Declined,
    NotReached,
    ProcessorRefused,
)
from protocols.cloud.events import AuthorizationAsk
from protocols.money import Money
from protocols.session import SessionState
from tests.fakes.card_processor import FakeCardProcessor, approve
from tests.integration.card_present.conftest import CardShop
from tests.support.card_sessions import ask_for

S = AuthorizationState


def fails_with(error: Exception) -> Callable[[AuthorizationRequest], Approved]:
    def fail(request: AuthorizationRequest) -> Approved:
        raise error

    return fail


def test_an_approval_tells_what_the_card_needs(
    shop: CardShop, processor: FakeCardProcessor
) -> None:
    ask = ask_for(shop.sale())

    answer = shop.ask(ask)

    assert (answer.status, answer.response_code) == ("approved", "00")
    assert answer.authorization_code == "A12345"
    assert answer.issuer_data == bytes.fromhex("910A00112233445566773030")
    assert processor.reserved == {ask.tap_id: Money(12_50, "EUR")}
    assert shop.row(ask.tap_id).state is S.APPROVED


def test_the_same_card_gets_the_same_answer_from_many_threads(
    shop: CardShop, processor: FakeCardProcessor
) -> None:
    ask = ask_for(shop.sale())
    together = threading.Barrier(8)

    def once(_: int) -> object:
        together.wait(10)
        return shop.service.answer("dev-shop1", ask, wait_s=20)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(once, range(8)))

    assert len(processor.asked) == 1
    assert [getattr(one, "status", None) for one in answers] == ["approved"] * 8
    assert len(set(map(repr, answers))) == 1


def test_a_decline_is_told_in_words(shop: CardShop, processor: FakeCardProcessor) -> None:
    processor.answer = lambda _: Declined(response_code="51", reference="r")
    ask = ask_for(shop.sale())

    answer = shop.ask(ask)

    assert (answer.status, answer.response_code) == ("declined", "51")
    assert answer.text == response_codes.WORDS["51"]
    assert shop.row(ask.tap_id).state is S.DECLINED


def test_after_a_decline_another_card_may_be_shown(
    shop: CardShop, processor: FakeCardProcessor
) -> None:
    session = shop.sale()
    processor.answer = lambda _: Declined(response_code="05")
    shop.ask(ask_for(session))
    processor.answer = approve

    assert shop.ask(ask_for(session)).status == "approved"


def test_two_cards_at_a_time_are_one_too_many(shop: CardShop, processor: FakeCardProcessor) -> None:
    session = shop.sale()
    shop.ask(ask_for(session))

    answer = shop.ask(ask_for(session))

    assert (answer.status, answer.text) == ("refused", response_codes.ANOTHER_CARD)
    assert len(processor.asked) == 1


def test_a_part_of_the_amount_is_a_decline_and_is_taken_back(
    shop: CardShop, processor: FakeCardProcessor
) -> None:
    processor.answer = lambda request: Approved(reference="r1", amount=Money(6_00, "EUR"))
    ask = ask_for(shop.sale())

    answer = shop.ask(ask)
    shop.settle()

    assert (answer.status, answer.issuer_data) == ("declined", b"")
    assert processor.reserved == {}
    assert shop.row(ask.tap_id).state is S.REVERSED


@pytest.mark.parametrize(
    ("change", "device"),
    [
        ({"amount_minor": 12_51}, "dev-shop1"),
        ({"currency": "USD"}, "dev-shop1"),
        ({"reader_id": "rd_another1"}, "dev-shop1"),
        ({"session_id": "ts_of_nobody"}, "dev-shop1"),
        ({}, "dev-other1"),
    ],
)
def test_what_is_not_this_sale_asks_nobody(
    shop: CardShop, processor: FakeCardProcessor, change: dict[str, object], device: str
) -> None:
    ask = msgspec.structs.replace(ask_for(shop.sale()), **change)

    answer = shop.ask(ask, device)

    assert (answer.status, answer.text) == ("refused", response_codes.NOT_THIS)
    assert (processor.asked, shop.rows()) == ([], [])


def test_another_device_learns_nothing_of_a_card(
    shop: CardShop, processor: FakeCardProcessor
) -> None:
    ask = ask_for(shop.sale())
    shop.ask(ask)

    answer = shop.ask(ask, "dev-other1")

    assert (answer.status, answer.authorization_code) == ("refused", "")


@pytest.mark.parametrize(
    "state", [SessionState.CREATED, SessionState.CANCELLING, SessionState.FAILED]
)
def test_a_sale_that_does_not_run_is_refused_for_ever(
    shop: CardShop, processor: FakeCardProcessor, state: SessionState
) -> None:
    ask = ask_for(shop.sale(state=state))

    assert shop.ask(ask) == shop.ask(ask)

    assert shop.ask(ask).text == response_codes.SESSION_OVER
    assert processor.asked == []


def test_without_a_processor_the_card_is_refused_in_words(shop: CardShop) -> None:
    shop.processors.processor = None

    answer = shop.ask(ask_for(shop.sale()))

    assert answer.status == "refused"
    assert "Stripe" in answer.text


@pytest.mark.parametrize(
    ("error", "status", "state"),
    [
        (NotReached("no route"), "unavailable", S.REFUSED),
        (AnswerUnknown("time-out"), "unavailable", S.REVERSING),
        (ProcessorRefused("INVALID_DATA", "not decrypted"), "refused", S.REFUSED),
    ],
)
def test_a_failure_is_told_and_kept(
    shop: CardShop,
    processor: FakeCardProcessor,
    error: Exception,
    status: str,
    state: AuthorizationState,
) -> None:
    processor.answer = fails_with(error)
    ask = ask_for(shop.sale())

    assert shop.ask(ask).status == status
    assert shop.ask(ask).status == status

    assert shop.row(ask.tap_id).state is state
    assert len(processor.asked) == 1


def test_no_transaction_is_open_while_the_processor_thinks(
    shop: CardShop, processor: FakeCardProcessor
) -> None:
    asks: list[AuthorizationAsk] = []

    def look_meanwhile(request: AuthorizationRequest) -> Approved:
        # A writer that waited for ours would never get its turn on SQLite.
        shop.end(asks[0], "cancelled")
        return approve(request)

    processor.answer = look_meanwhile
    asks.append(ask_for(shop.sale()))

    answer = shop.ask(asks[0])
    shop.settle()

    assert answer.status == "unavailable"
    assert processor.reserved == {}
    assert shop.row(asks[0].tap_id).state is S.REVERSED


def test_nothing_of_the_sealed_card_is_kept(shop: CardShop) -> None:
    ask = ask_for(shop.sale())
    shop.ask(ask)

    kept = repr(tuple(shop.row(ask.tap_id)))

    assert ask.card.data.hex() not in kept.lower()
    assert repr(ask.card.data) not in kept


def test_every_state_can_end_and_an_end_stays() -> None:
    assert set(NEXT) == set(S)
    assert {state for state in S if state.is_final} == {
        S.REFUSED, S.DECLINED, S.REVERSED, S.CAPTURED, S.CAPTURE_REFUSED,
    }  # fmt: skip
    assert set(HOLDING) <= set(S)
