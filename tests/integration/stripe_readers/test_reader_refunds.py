"""Refunds for which the customer presents the card again: whatever is lost, there is never a second one."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Role
from control_plane.accounts.queries import MERCHANTS
from control_plane.processors.stripe.adapter import StripeProcessor
from control_plane.sandbox import reader_actions
from control_plane.sandbox.card_present import at_reader
from control_plane.sandbox.readers import ReaderFault
from control_plane.virtual_terminal import queries, reader_refunds, settle
from control_plane.virtual_terminal.desk import Desk
from control_plane.virtual_terminal.errors import (
    CloudReaderHeld,
    RefundAuthorizing,
    RefundDecided,
    RefundOnReader,
    RefundTooLarge,
    RefundWithoutReader,
)
from control_plane.virtual_terminal.lifecycle import PaymentState, RefundState
from control_plane.virtual_terminal.models import ACCOUNTS, REFUNDS
from control_plane.virtual_terminal.processor import ProcessorReader
from control_plane.virtual_terminal.views import PaymentView, RefundView
from control_plane.virtual_terminal.wishes import RefundWish
from protocols.money import Money
from tests.support.counter_reader import Counter

INTERAC = "interac_present"


@pytest.fixture
def till(counter: Counter) -> Counter:
    return canadian(counter)


def canadian(counter: Counter) -> Counter:
    with counter.shop.parts.database.connection() as db:
        mine = ACCOUNTS.c.merchant_id == counter.shop.merchant_id
        db.execute(
            update(MERCHANTS)
            .where(MERCHANTS.c.id == counter.shop.merchant_id)
            .values(currency="CAD")
        )
        db.execute(update(ACCOUNTS).where(mine).values(country="CA", default_currency="CAD"))
    return counter


def manager(till: Counter) -> Caller:
    return till.shop.make.caller(till.shop.merchant_id, Role.MANAGER)


def desk(till: Counter) -> Desk:
    return till.shop.parts.get(Desk)


def tap(till: Counter, kind: str = INTERAC, number: str | None = None) -> None:
    engine = till.shop.sandbox.engine
    with engine.transaction():
        card = at_reader(kind, number, tip=None, has_cvc=True)
        reader_actions.present(engine, till._found(), card)  # noqa: SLF001 - the bench's own


def paid(till: Counter, minor: int = 1000, kind: str = INTERAC) -> PaymentView:
    begun = till.sell(minor, "CAD")
    tap(till, kind)
    till.look()
    payment = till.payment(begun.id)
    assert (payment.state, payment.method_kind) == (PaymentState.PAID, kind)
    return payment


def give_back(till: Counter, payment_id: str, **wish: Any) -> RefundView:
    return desk(till).refund(
        manager(till), RefundWish(payment_id=payment_id, reader_id=till.reader.id, **wish)
    )


def look(till: Counter, *, seconds: float = 6) -> int:
    """Let time pass, and look at the refunds that are due."""
    till.clock.advance(timedelta(seconds=seconds))
    due = reader_refunds.due(desk(till).office, limit=20)
    for merchant_id, refund_id in due:
        reader_refunds.look(desk(till).office, merchant_id, refund_id)
    return len(due)


def until_over(till: Counter, refund_id: str, *, looks: int = 60) -> RefundView:
    for _ in range(looks):
        if not refund(till, refund_id).state.holds_reader:
            return refund(till, refund_id)
        look(till)
    raise AssertionError(f"{refund_id} is not over: {refund(till, refund_id)}")


def refund(till: Counter, refund_id: str) -> RefundView:
    with till.shop.parts.database.reading() as db:
        return queries.refund(db, till.caller.scope, refund_id)


def given(till: Counter) -> list[int]:
    """What really went back."""
    return [one["amount"] for one in till.shop.sandbox.objects("refund")]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys with which a reader was asked to refund."""
    keys: list[str] = []
    ask = StripeProcessor.refund_on_reader

    def listening(self: StripeProcessor, reader_id: str, **facts: Any) -> ProcessorReader:
        keys.append(facts["key"])
        return ask(self, reader_id, **facts)

    monkeypatch.setattr(StripeProcessor, "refund_on_reader", listening)
    return keys


def test_the_same_card_at_the_reader_gets_its_money_back(till: Counter) -> None:
    payment = paid(till)
    begun = give_back(till, payment.id)
    before = given(till)
    tap(till)
    look(till)

    done = refund(till, begun.id)
    assert (begun.state, before) == (RefundState.AT_READER, [])
    assert (done.state, given(till)) == (RefundState.SUCCEEDED, [1000])
    assert done.transaction_id is not None
    assert till.payment(payment.id).refunded_minor == 1000
    kinds = [one.kind.value for one in till.moments(payment.id)]
    assert kinds[-3:] == ["refund_begun", "refund_at_reader", "refund_succeeded"]


def test_the_processors_word_settles_it_before_any_look(till: Counter) -> None:
    payment = paid(till)
    begun = give_back(till, payment.id, amount_minor=400)
    tap(till)
    reader_refunds.hear(desk(till).office, till.shop.merchant_id, till.reader.processor_id)

    assert refund(till, begun.id).state is RefundState.SUCCEEDED
    assert given(till) == [400]


def test_without_a_reader_nothing_is_asked_and_nothing_moves(till: Counter) -> None:
    payment = paid(till)
    with pytest.raises(RefundOnReader):
        desk(till).refund(manager(till), RefundWish(payment_id=payment.id))

    assert given(till) == []
    assert till.payment(payment.id).refunded_minor == 0


def test_other_cards_go_back_without_a_reader(till: Counter) -> None:
    payment = paid(till, kind="card_present")
    with pytest.raises(RefundWithoutReader):
        give_back(till, payment.id)

    assert given(till) == []
    done = desk(till).refund(manager(till), RefundWish(payment_id=payment.id))
    assert done.state is RefundState.SUCCEEDED


def test_the_same_form_again_is_the_same_refund(till: Counter) -> None:
    payment = paid(till)
    first = give_back(till, payment.id, amount_minor=300, form_key="frm_1")
    again = give_back(till, payment.id, amount_minor=300, form_key="frm_1")
    tap(till)
    look(till)

    assert again.id == first.id
    assert given(till) == [300]


def test_a_reader_that_is_offline_gets_nothing_and_all_can_still_go_back(till: Counter) -> None:
    payment = paid(till)
    till.unplug()
    failed = give_back(till, payment.id)

    assert failed.state is RefundState.FAILED
    assert failed.failure_reason == "terminal_reader_offline"
    till.plug_in()
    assert given(till) == []
    assert give_back(till, payment.id).state is RefundState.AT_READER


def test_a_reader_in_an_update_refuses_and_is_said_in_words(till: Counter) -> None:
    payment = paid(till)
    till.fault(ReaderFault.UPDATE_AT_NOON)
    failed = give_back(till, payment.id)

    assert failed.state is RefundState.FAILED
    assert failed.failure_reason == "terminal_reader_busy"
    assert given(till) == []


def test_a_customer_who_cancels_gets_nothing_back(till: Counter) -> None:
    payment = paid(till)
    begun = give_back(till, payment.id)
    till.press_cancel()
    look(till)

    canceled = refund(till, begun.id)
    assert canceled.state is RefundState.CANCELED
    assert canceled.failure_reason == "customer_canceled"
    assert given(till) == []


def test_another_card_gets_nothing(till: Counter) -> None:
    payment = paid(till)
    begun = give_back(till, payment.id)
    tap(till, "card_present")
    look(till)

    failed = refund(till, begun.id)
    assert failed.state is RefundState.FAILED
    assert failed.failure_reason == "card_declined"
    assert given(till) == []


def test_a_lost_acknowledgement_is_found_on_the_reader_and_not_asked_again(
    till: Counter, asked: list[str]
) -> None:
    payment = paid(till)
    till.fault(ReaderFault.ACK_LOST)
    begun = give_back(till, payment.id)
    look(till)
    found = refund(till, begun.id)
    tap(till)
    look(till)

    assert (begun.state, found.state) == (RefundState.UNKNOWN, RefundState.AT_READER)
    assert refund(till, begun.id).state is RefundState.SUCCEEDED
    assert (given(till), len(asked)) == ([1000], 1)


def test_a_command_that_never_arrived_is_given_up_only_once_it_is_certain(
    till: Counter, asked: list[str]
) -> None:
    payment = paid(till)
    till.fault(ReaderFault.COMMAND_LOST)
    begun = give_back(till, payment.id)
    look(till)
    with pytest.raises(RefundTooLarge):
        give_back(till, payment.id)
    unknown = refund(till, begun.id)
    failed = until_over(till, begun.id)

    assert (begun.state, unknown.state) == (RefundState.UNKNOWN, RefundState.UNKNOWN)
    assert failed.state is RefundState.FAILED
    assert failed.failure_reason == "reader_gone"
    assert (given(till), len(asked)) == ([], 1)
    assert give_back(till, payment.id).state is RefundState.AT_READER


@pytest.mark.parametrize("fault", [ReaderFault.DROP_MID_AUTH, ReaderFault.CONNECTION_ERROR])
def test_a_reader_that_falls_silent_may_have_refunded_and_the_list_decides(
    till: Counter, asked: list[str], fault: ReaderFault
) -> None:
    payment = paid(till)
    till.fault(fault)
    begun = give_back(till, payment.id)
    tap(till)
    look(till)

    assert refund(till, begun.id).state is RefundState.SUCCEEDED
    assert (given(till), len(asked)) == ([1000], 1)


def test_a_reader_that_goes_away_while_it_waits_stays_unknown_until_it_is_back(
    till: Counter,
) -> None:
    payment = paid(till)
    begun = give_back(till, payment.id)
    till.unplug()
    for _ in range(30):
        look(till, seconds=60)
    gone = refund(till, begun.id)
    till.plug_in()
    over = until_over(till, begun.id)

    assert gone.state is RefundState.UNKNOWN
    assert over.state is RefundState.CANCELED
    assert given(till) == []


def test_an_action_that_hangs_is_taken_off_the_reader(till: Counter, asked: list[str]) -> None:
    payment = paid(till)
    till.fault(ReaderFault.STUCK_IN_PROGRESS)
    begun = give_back(till, payment.id)
    tap(till)
    over = until_over(till, begun.id, looks=120)

    assert over.state is RefundState.CANCELED
    assert over.failure_reason == "reader_no_card"
    assert (given(till), len(asked)) == ([], 1)


def test_a_kill_between_row_and_call_asks_no_reader_ever(till: Counter, asked: list[str]) -> None:
    payment = paid(till)
    begun = give_back(till, payment.id)
    with contextlib.suppress(RefundDecided):
        desk(till).cancel_refund(manager(till), begun.id)
    # As the row was written, before the call: nobody has called, nobody ever will.
    with till.shop.parts.database.connection() as db:
        settle.set_refund(
            db, begun.id, state=RefundState.CREATED, cancel_asked_at=None, failure_reason=None,
            state_since=till.clock.now(), look_again_at=till.clock.now(),
            leased_until=reader_refunds.lease(till.clock.now()),
        )  # fmt: skip
    early = look(till)
    over = until_over(till, begun.id)

    assert early == 0
    assert over.state is RefundState.FAILED
    assert (till.action(), given(till), len(asked)) == (None, [], 1)


def test_a_success_that_comes_after_it_was_given_up_counts(till: Counter) -> None:
    payment = paid(till)
    begun = give_back(till, payment.id)
    with till.shop.parts.database.connection() as db:
        settle.end_refund(db, till.shop.merchant_id, begun.id, "given up too early")
    tap(till)
    [there] = till.shop.sandbox.objects("refund")
    told = till.shop.processor.read_refund(there["id"])
    with till.shop.parts.database.connection() as db:
        settle.apply_refund(db, till.shop.merchant_id, told)

    assert refund(till, begun.id).state is RefundState.SUCCEEDED
    assert till.payment(payment.id).refunded_minor == 1000


def test_cancel_takes_it_off_the_reader(till: Counter) -> None:
    payment = paid(till)
    begun = give_back(till, payment.id)
    stopped = desk(till).cancel_refund(manager(till), begun.id)

    assert stopped.state is RefundState.CANCELED
    assert (till.action(), given(till)) == (None, [])
    with pytest.raises(RefundDecided):
        desk(till).cancel_refund(manager(till), begun.id)


def test_cancel_while_the_bank_is_asked_changes_nothing(till: Counter) -> None:
    payment = paid(till)
    begun = give_back(till, payment.id)
    till.bank_takes(20)
    tap(till)
    with pytest.raises(RefundAuthorizing):
        desk(till).cancel_refund(manager(till), begun.id)
    till.shop.sandbox.put_forward(seconds=30)
    over = until_over(till, begun.id)

    assert over.state is RefundState.SUCCEEDED
    assert given(till) == [1000]


def test_one_reader_has_one_thing_at_a_time(till: Counter) -> None:
    first, second = paid(till), paid(till, 700)
    give_back(till, first.id)
    with pytest.raises(CloudReaderHeld):
        give_back(till, second.id)
    with pytest.raises(CloudReaderHeld):
        till.sell(500, "CAD")

    action = till.action()
    assert action is not None
    assert (action["type"], action["refund_payment"]["amount"]) == ("refund_payment", 1000)
    assert given(till) == []


def test_a_look_while_another_has_the_lease_does_nothing(till: Counter) -> None:
    payment = paid(till)
    begun = give_back(till, payment.id)
    tap(till)
    with till.shop.parts.database.connection() as db:
        db.execute(
            update(REFUNDS)
            .where(REFUNDS.c.id == begun.id)
            .values(leased_until=reader_refunds.lease(till.clock.now()))
        )
    reader_refunds.look(desk(till).office, till.shop.merchant_id, begun.id)
    before = refund(till, begun.id)
    over = until_over(till, begun.id)

    assert before.state is RefundState.AT_READER
    assert over.state is RefundState.SUCCEEDED


def test_the_api_names_the_reader_and_takes_the_refund_off_again(till: Counter) -> None:
    payment = paid(till)
    api = till.shop.make.client_as(till.shop.merchant_id, Role.MANAGER)
    at = f"/v1/payments/{payment.id}/refunds"
    without = api.post(at, json={"amount_minor": 400})
    unknown = api.post(at, json={"reader_id": "rd_of_nobody"})
    before = given(till)
    begun = api.post(at, json={"amount_minor": 400, "reader_id": till.reader.id})
    stopped = api.post(f"/v1/refunds/{begun.json()['id']}/cancel")
    again = api.post(f"/v1/refunds/{begun.json()['id']}/cancel")

    assert (without.status_code, without.json()["code"]) == (409, "refund_on_reader")
    assert (unknown.status_code, before) == (404, [])
    assert (begun.status_code, begun.json()["state"]) == (201, "at_reader")
    assert begun.json()["reader_id"] == till.reader.id
    assert (stopped.json()["state"], stopped.json()["failure_reason"]) == (
        "canceled", "reader_stopped",
    )  # fmt: skip
    assert (again.status_code, again.json()["code"]) == (409, "refund_decided")
    assert (till.action(), given(till)) == (None, [])


def test_both_databases_hold_the_reader_for_it(any_counter: Counter) -> None:
    till = canadian(any_counter)
    payment = paid(till)
    begun = give_back(till, payment.id)
    with pytest.raises(CloudReaderHeld):
        till.sell(500, "CAD")
    tap(till)
    look(till)

    assert refund(till, begun.id).state is RefundState.SUCCEEDED
    assert Money(sum(given(till)), "CAD") == Money(1000, "CAD")
