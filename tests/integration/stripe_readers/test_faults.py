"""What goes wrong with readers, networks and processes. Money moves at most once, and the payment ends right."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from control_plane.sandbox.errors import ApiError
from control_plane.sandbox.faults import FaultKind
from control_plane.sandbox.readers import ReaderFault
from control_plane.virtual_terminal.lifecycle import AttemptState, PaymentState
from control_plane.virtual_terminal.office import Office
from control_plane.virtual_terminal.processor import Processor, Processors
from control_plane.virtual_terminal.reader_desk import LEASE, CloudReaderWish, ReaderDesk
from control_plane.virtual_terminal.wishes import Order
from protocols.money import Money
from protocols.secret import Secret
from tests.support.counter_reader import Counter

_PROCESS = "POST /v1/terminal/readers/*/process_payment_intent"


def _until_over(counter: Counter, payment_id: str, *, looks: int = 40, seconds: float = 6) -> None:
    for _ in range(looks):
        if not counter.look(seconds=seconds):
            return
    raise AssertionError(f"{payment_id} is not over: {counter.payment(payment_id)}")


def test_a_command_whose_acknowledgement_was_lost_is_not_sent_as_another_payment(
    counter: Counter,
) -> None:
    counter.fault(ReaderFault.ACK_LOST)
    begun = counter.sell()
    counter.look()
    counter.tap()
    counter.look()

    assert counter.payment(begun.id).state is PaymentState.PAID
    assert len(counter.intents()) == 1
    assert counter.captured() == 1000


def test_a_command_that_never_arrived_is_sent_again_with_the_same_intent(counter: Counter) -> None:
    counter.fault(ReaderFault.COMMAND_LOST)
    begun = counter.sell()
    before = counter.action()
    counter.look()
    counter.tap()
    counter.look()

    assert before is None
    assert counter.payment(begun.id).state is PaymentState.PAID
    assert len(counter.intents()) == 1
    assert counter.captured() == 1000


def test_a_reader_that_never_answers_is_given_up_and_can_charge_nothing_later(
    counter: Counter,
) -> None:
    for _ in range(4):
        counter.fault(ReaderFault.COMMAND_LOST)
    begun = counter.sell()
    _until_over(counter, begun.id)

    given_up = counter.payment(begun.id)
    assert given_up.state is PaymentState.OPEN
    assert given_up.attempt is not None
    assert (given_up.attempt.state, given_up.attempt.code) == (
        AttemptState.FAILED,
        "terminal_reader_timeout",
    )
    assert "can no longer go through" in given_up.attempt.message
    assert [one["status"] for one in counter.intents()] == ["canceled"]
    assert counter.captured() == 0


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (ReaderFault.HARDWARE_FAULT, "terminal_reader_hardware_fault"),
        (ReaderFault.UPDATE_AT_NOON, "terminal_reader_busy"),
    ],
)
def test_a_reader_that_refuses_says_so_and_is_free_for_the_next_try(
    counter: Counter, fault: ReaderFault, code: str
) -> None:
    counter.fault(fault)
    refused = counter.sell()

    assert refused.state is PaymentState.OPEN
    assert refused.attempt is not None
    assert (refused.attempt.state, refused.attempt.code) == (AttemptState.FAILED, code)
    assert refused.attempt.message.startswith("Counter 1: ")
    assert counter.action() is None
    counter.shop.sandbox.put_forward(seconds=700)
    assert counter.sell_again(refused.id).state is PaymentState.IN_PROGRESS
    assert len(counter.intents()) == 1


def test_an_offline_reader_is_named_offline_and_charges_nothing(counter: Counter) -> None:
    counter.unplug()
    refused = counter.sell()

    assert refused.attempt is not None
    assert refused.attempt.code == "terminal_reader_offline"
    assert "offline" in refused.attempt.message
    assert counter.captured() == 0


def test_a_card_that_was_left_in_is_said_in_words(counter: Counter) -> None:
    counter.fault(ReaderFault.CARD_LEFT_IN)
    counter.sell()
    counter.tap()
    counter.look()
    refused = counter.sell(700)

    assert refused.attempt is not None
    assert refused.attempt.code == "terminal_reader_busy"
    assert "a card was left in it" in refused.attempt.message
    assert counter.captured() == 1000


def test_connection_error_may_hide_a_charge_and_the_intent_decides(counter: Counter) -> None:
    counter.fault(ReaderFault.CONNECTION_ERROR)
    begun = counter.sell()
    counter.tap()
    counter.look()

    assert counter.action() is not None
    assert counter.payment(begun.id).state is PaymentState.PAID
    assert counter.captured() == 1000


def test_a_reader_that_dies_after_the_charge_does_not_keep_the_payment_from_being_paid(
    counter: Counter,
) -> None:
    counter.fault(ReaderFault.DROP_MID_AUTH)
    begun = counter.sell()
    counter.tap()
    _until_over(counter, begun.id)

    action = counter.action()
    assert action is not None
    assert action["status"] == "in_progress"
    assert counter.payment(begun.id).state is PaymentState.PAID
    assert counter.captured() == 1000


def test_in_progress_for_ever_on_a_dead_reader_ends_with_an_intent_that_nobody_can_charge(
    counter: Counter,
) -> None:
    begun = counter.sell()
    counter.unplug()
    _until_over(counter, begun.id)

    ended = counter.payment(begun.id)
    assert ended.state is PaymentState.OPEN
    assert ended.attempt is not None
    assert (ended.attempt.state, ended.attempt.code) == (AttemptState.FAILED, "connection_error")
    assert "Stripe was asked: nothing was charged" in ended.attempt.message
    counter.plug_in()
    with contextlib.suppress(ApiError):
        counter.tap()
    assert [one["status"] for one in counter.intents()] == ["canceled"]
    assert counter.shop.sandbox.taken() == []


def test_a_reader_that_hangs_while_it_is_online_is_freed_after_minutes(counter: Counter) -> None:
    counter.fault(ReaderFault.STUCK_IN_PROGRESS)
    begun = counter.sell()
    counter.tap()
    counter.look()
    waiting = counter.payment(begun.id)
    _until_over(counter, begun.id, seconds=60)

    ended = counter.payment(begun.id)
    assert waiting.state is PaymentState.IN_PROGRESS
    assert ended.state is PaymentState.OPEN
    assert counter.action() is None
    assert counter.captured() == 0


def test_a_payment_stored_by_a_reader_that_was_cut_off_cannot_charge_after_it_was_given_up(
    counter: Counter,
) -> None:
    counter.fault(ReaderFault.OFFLINE_STORE_THEN_DECLINE)
    begun = counter.sell()
    counter.tap()
    counter.unplug()
    _until_over(counter, begun.id)
    counter.shop.sandbox.put_forward(seconds=4000)

    assert counter.payment(begun.id).state is PaymentState.OPEN
    assert counter.captured() == 0


def test_after_a_lost_reader_the_next_attempt_gets_a_new_intent_and_is_paid_once(
    counter: Counter,
) -> None:
    begun = counter.sell()
    counter.unplug()
    _until_over(counter, begun.id)
    counter.plug_in()
    counter.sell_again(begun.id)
    counter.tap()
    counter.look()

    assert counter.payment(begun.id).state is PaymentState.PAID
    assert [one["status"] for one in counter.intents()] == ["canceled", "succeeded"]
    assert counter.captured() == 1000


def test_stopping_a_sale_on_a_dead_reader_makes_sure_that_it_charges_nothing(
    counter: Counter,
) -> None:
    begun = counter.sell()
    counter.unplug()
    stopped = counter.desk.cancel(counter.caller, begun.id)

    assert stopped.attempt is not None
    assert stopped.attempt.state is AttemptState.CANCELED
    assert [one["status"] for one in counter.intents()] == ["canceled"]
    assert counter.captured() == 0


@pytest.mark.parametrize(
    ("kind", "times"), [(FaultKind.SERVER_ERROR, 3), (FaultKind.SERVER_ERROR_REMEMBERED, 1)]
)
def test_money_that_cannot_be_taken_yet_is_not_called_paid(
    counter: Counter, kind: FaultKind, times: int
) -> None:
    begun = counter.sell()
    counter.tap()
    counter.shop.sandbox.fault(kind, "POST /v1/payment_intents/*/capture", times=times)
    counter.look()
    held = counter.payment(begun.id)
    _until_over(counter, begun.id)

    assert held.state is PaymentState.AUTHORIZED
    assert "not paid" in held.explanation
    paid = counter.payment(begun.id)
    assert (paid.state, paid.explanation) == (PaymentState.PAID, "")
    assert counter.captured() == 1000


@pytest.mark.parametrize(
    "call",
    [
        "POST /v1/payment_intents",
        _PROCESS,
        "POST /v1/payment_intents/*/capture",
        "GET /v1/payment_intents/*",
        "GET /v1/terminal/readers/*",
    ],
)
@pytest.mark.parametrize(
    "kind",
    [
        FaultKind.LOST_REQUEST,
        FaultKind.LOST_ANSWER,
        FaultKind.SERVER_ERROR,
        FaultKind.SERVER_ERROR_AFTER_SUCCESS,
        FaultKind.SERVER_ERROR_REMEMBERED,
        FaultKind.RATE_LIMIT,
        FaultKind.CONFLICT,
    ],
)
def test_each_call_may_fail_in_each_way_for_a_while(
    counter: Counter, call: str, kind: FaultKind
) -> None:
    counter.shop.sandbox.fault(kind, call, times=4)
    begun = counter.sell()
    for _ in range(12):
        counter.look()
        if _waits_for_card(counter):
            counter.tap()
    payment = counter.payment(begun.id)

    assert counter.captured() == (1000 if payment.state is PaymentState.PAID else 0)
    assert payment.state in {PaymentState.PAID, PaymentState.OPEN}
    assert len([one for one in counter.intents() if one["status"] != "canceled"]) <= 1


def _waits_for_card(counter: Counter) -> bool:
    action = counter.action()
    if action is None or action["status"] != "in_progress":
        return False
    intent = action["process_payment_intent"]["payment_intent"]
    (found,) = [one for one in counter.intents() if one["id"] == intent]
    return bool(found["status"] == "requires_payment_method")


class Killed(BaseException):
    """The process ends here, without a word: no ``except Exception`` sees it."""


@dataclass
class DyingProcessors:
    """Lets the process die before or after the n-th call to the processor."""

    real: Processors
    at: int
    after: bool
    calls: list[str] = field(default_factory=list)

    def of(self, merchant_id: str) -> Any:  # a Processor, whose methods are looked up by name
        return _Dying(self, self.real.of(merchant_id))

    def with_key(self, secret_key: Secret[str], api_base: str = "") -> Processor:
        return self.real.with_key(secret_key, api_base)

    @contextmanager
    def around(self, name: str) -> Iterator[None]:
        """One call."""
        self.calls.append(name)
        dies = len(self.calls) == self.at
        if dies and not self.after:
            raise Killed
        yield
        if dies:
            raise Killed


@dataclass
class _Dying:
    life: DyingProcessors
    real: Any  # a Processor

    def __getattr__(self, name: str) -> Any:  # a method of it
        method = getattr(self.real, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            with self.life.around(name):
                return method(*args, **kwargs)

        return call


@pytest.mark.parametrize("after", [False, True], ids=["before_the_call", "after_the_call"])
@pytest.mark.parametrize("at", range(1, 6))
def test_a_sale_goes_on_after_its_process_was_killed_at_any_call(
    counter: Counter, at: int, after: bool
) -> None:
    parts = counter.shop.parts
    dying = DyingProcessors(parts.get(Processors), at, after)
    desk = ReaderDesk(Office(parts.database, dying, parts.clock))
    order = Order(amount=Money(1000, "USD"), location_id=counter.reader.location_id)
    died = 0
    try:
        desk.start(counter.caller, CloudReaderWish(order=order, reader_id=counter.reader.id))
        counter.tap()
        counter.clock.advance(timedelta(seconds=6))
        for attempt_id in desk.due():
            desk.look(attempt_id)
    except Killed:
        died = 1
    counter.clock.advance(LEASE + timedelta(seconds=1))
    for _ in range(8):
        counter.look()
        if _waits_for_card(counter):
            counter.tap()

    assert died == (1 if at <= len(dying.calls) and len(dying.calls) == at else 0)
    (intent,) = counter.intents()
    payment_id = intent["metadata"]["payment"]
    assert counter.payment(payment_id).state is PaymentState.PAID
    assert counter.captured() == 1000


def test_nobody_touches_a_sale_that_another_process_is_at(counter: Counter) -> None:
    parts = counter.shop.parts
    dying = DyingProcessors(parts.get(Processors), at=2, after=False)
    desk = ReaderDesk(Office(parts.database, dying, parts.clock))
    order = Order(amount=Money(1000, "USD"), location_id=counter.reader.location_id)
    with pytest.raises(Killed):
        desk.start(counter.caller, CloudReaderWish(order=order, reader_id=counter.reader.id))

    assert counter.look(seconds=5) == 0
    assert counter.action() is None
    assert counter.look(seconds=LEASE.total_seconds()) == 1
    assert counter.action() is not None
