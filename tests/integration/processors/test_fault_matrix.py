"""Each call that moves money, with each fault: it moves at most once, and what we are told is what is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest

from control_plane.processors.stripe.adapter import StripeProcessor
from control_plane.sandbox.faults import FaultKind
from control_plane.virtual_terminal.processor import (
    AnswerUnknown,
    Confirmation,
    Declined,
    NewIntent,
    NewSetup,
    NotReached,
    ReaderPayment,
)
from protocols.money import Money
from tests.support.play_account import DECLINED, PlayAccount

ADDRESS = {
    "line1": "1 Main",
    "city": "Austin",
    "state": "TX",
    "postal_code": "73301",
    "country": "US",
}


@dataclass(frozen=True, slots=True)
class MoneyCall:
    """``prepare`` makes what the call needs and returns the call, which may be made again with the same key."""

    name: str
    on: str
    prepare: Callable[[StripeProcessor, PlayAccount], Callable[[], object]]
    #: How often it has happened.
    times_done: Callable[[PlayAccount], int]


def order(minor: int = 2000, **facts: Any) -> NewIntent:
    methods = facts.pop("methods", ("card",))
    metadata = {"attempt": "att_1"}
    return NewIntent(amount=Money(minor, "USD"), methods=methods, metadata=metadata, **facts)


def charge(processor: StripeProcessor, sandbox: PlayAccount) -> Callable[[], object]:
    confirm = Confirmation(token=sandbox.token(), moto=True)
    return lambda: processor.create_payment(order(), confirm, key="att_1:create")


def another_try(processor: StripeProcessor, sandbox: PlayAccount) -> Callable[[], object]:
    payment = processor.create_payment(order(), key="att_1:create")
    confirm = Confirmation(token=sandbox.token())
    return lambda: processor.confirm_payment(payment.id, confirm, key="att_2:confirm")


def saved_card(processor: StripeProcessor, sandbox: PlayAccount) -> Callable[[], object]:
    customer = processor.save_customer(
        None, name="Ada", email="", phone="", metadata={}, key="cst_1"
    )
    new = NewSetup(customer_id=customer.id, methods=("card",), token=sandbox.token())
    card = processor.setup(new, key="smt_1").instrument
    assert card is not None
    confirm = Confirmation(instrument_id=card.processor_id, off_session=True, fail_on_action=True)
    return lambda: processor.create_payment(order(customer_id=customer.id), confirm, key="a:1")


def bank_debit(processor: StripeProcessor, sandbox: PlayAccount) -> Callable[[], object]:
    confirm = Confirmation(token=sandbox.bank_token(), mandate_offline=True)
    wish = order(methods=("us_bank_account",))
    return lambda: processor.create_payment(wish, confirm, key="att_1:create")


def _held(processor: StripeProcessor, sandbox: PlayAccount) -> str:
    confirm = Confirmation(token=sandbox.token())
    wish = order(capture="manual", ask_incremental=True)
    return processor.create_payment(wish, confirm, key="att_1:create").id


def capture(processor: StripeProcessor, sandbox: PlayAccount) -> Callable[[], object]:
    payment_id = _held(processor, sandbox)
    return lambda: processor.capture(payment_id, amount_minor=1500, key="att_1:capture")


def cancel(processor: StripeProcessor, sandbox: PlayAccount) -> Callable[[], object]:
    payment_id = _held(processor, sandbox)
    return lambda: processor.cancel_payment(payment_id, key="att_1:cancel")


def increment(processor: StripeProcessor, sandbox: PlayAccount) -> Callable[[], object]:
    payment_id = _held(processor, sandbox)
    return lambda: processor.increment(payment_id, 2500, key="att_1:increment")


def refund(processor: StripeProcessor, sandbox: PlayAccount) -> Callable[[], object]:
    charge(processor, sandbox)()
    (intent,) = sandbox.objects("payment_intent")
    return lambda: processor.refund(
        intent["id"], amount_minor=700, reason=None, metadata={}, key="rfd_1"
    )


def _reader(processor: StripeProcessor) -> tuple[str, str]:
    place = processor.create_location("Main street", ADDRESS, key="loc_1")
    reader = processor.register_reader(
        "simulated-wpe", label="Counter", location_id=place, metadata={}, key="rd_1"
    )
    wish = order(methods=("card_present",), capture="manual")
    return reader.id, processor.create_payment(wish, key="att_1:create").id


def on_reader(processor: StripeProcessor, sandbox: PlayAccount) -> Callable[[], object]:
    reader_id, payment_id = _reader(processor)
    return lambda: processor.process_on_reader(
        reader_id, payment_id, ReaderPayment(), key="att_1:process"
    )


def refund_on_reader(processor: StripeProcessor, sandbox: PlayAccount) -> Callable[[], object]:
    reader_id, payment_id = _reader(processor)
    processor.process_on_reader(reader_id, payment_id, ReaderPayment(), key="att_1:process")
    sandbox.server.client().v1.test_helpers.terminal.readers.present_payment_method(reader_id)
    processor.capture(payment_id, key="att_1:capture")
    return lambda: processor.refund_on_reader(
        reader_id,
        payment_id=payment_id,
        amount_minor=700,
        metadata={"refund": "rfd_1"},
        key="rfd_1",
    )


def _intents(status: str, field: str, amount: int) -> Callable[[PlayAccount], int]:
    return lambda sandbox: sum(
        one["status"] == status and one[field] == amount
        for one in sandbox.objects("payment_intent")
    )


def _charges(sandbox: PlayAccount) -> int:
    return sum(one["status"] in {"succeeded", "pending"} for one in sandbox.objects("charge"))


def _actions(kind: str) -> Callable[[PlayAccount], int]:
    return lambda sandbox: sum(
        (one["action"] or {}).get("type") == kind for one in sandbox.objects("terminal.reader")
    )


CALLS = [
    MoneyCall("charge", "POST /v1/payment_intents", charge, _charges),
    MoneyCall("another_try", "POST /v1/payment_intents/*/confirm", another_try, _charges),
    MoneyCall("saved_card", "POST /v1/payment_intents", saved_card, _charges),
    MoneyCall("bank_debit", "POST /v1/payment_intents", bank_debit, _charges),
    MoneyCall(
        "capture",
        "POST /v1/payment_intents/*/capture",
        capture,
        _intents("succeeded", "amount_received", 1500),
    ),
    MoneyCall(
        "cancel", "POST /v1/payment_intents/*/cancel", cancel, _intents("canceled", "amount", 2000)
    ),
    MoneyCall(
        "increment",
        "POST /v1/payment_intents/*/increment_authorization",
        increment,
        _intents("requires_capture", "amount_capturable", 2500),
    ),
    MoneyCall("refund", "POST /v1/refunds", refund, lambda sandbox: len(sandbox.objects("refund"))),
    MoneyCall(
        "on_reader",
        "POST /v1/terminal/readers/*/process_payment_intent",
        on_reader,
        _actions("process_payment_intent"),
    ),
    MoneyCall(
        "refund_on_reader",
        "POST /v1/terminal/readers/*/refund_payment",
        refund_on_reader,
        _actions("refund_payment"),
    ),
]
#: What a call may say when the fault stays, and how often it has happened by then.
STAYS: dict[FaultKind, tuple[type[Exception], int]] = {
    FaultKind.LOST_REQUEST: (AnswerUnknown, 0),
    FaultKind.LOST_ANSWER: (AnswerUnknown, 1),
    FaultKind.TIMEOUT_AFTER_SUCCESS: (AnswerUnknown, 1),
    FaultKind.SERVER_ERROR: (AnswerUnknown, 0),
    FaultKind.SERVER_ERROR_AFTER_SUCCESS: (AnswerUnknown, 1),
    FaultKind.SERVER_ERROR_REMEMBERED: (AnswerUnknown, 0),
    FaultKind.CONFLICT: (NotReached, 0),
    FaultKind.RATE_LIMIT: (NotReached, 0),
}
#: Stripe remembers its 500 for the key, so only reading tells; that is somebody else's turn.
REMEMBERED = {FaultKind.SERVER_ERROR_AFTER_SUCCESS, FaultKind.SERVER_ERROR_REMEMBERED}
MATRIX = list(product(CALLS, STAYS))
IDS = [f"{call.name}-{kind}" for call, kind in MATRIX]


@pytest.mark.parametrize(("call", "kind"), MATRIX, ids=IDS)
def test_a_fault_that_passes_changes_nothing(
    processor: StripeProcessor, sandbox: PlayAccount, call: MoneyCall, kind: FaultKind
) -> None:
    ask = call.prepare(processor, sandbox)
    before = call.times_done(sandbox)
    sandbox.fault(kind, call.on)

    if kind in REMEMBERED:
        with pytest.raises(AnswerUnknown):
            ask()
    else:
        assert ask() == ask()

    assert call.times_done(sandbox) == before + (kind is not FaultKind.SERVER_ERROR_REMEMBERED)


@pytest.mark.parametrize(("call", "kind"), MATRIX, ids=IDS)
def test_a_fault_that_stays_is_told_apart_and_nothing_happens_twice(
    processor: StripeProcessor, sandbox: PlayAccount, call: MoneyCall, kind: FaultKind
) -> None:
    ask = call.prepare(processor, sandbox)
    before = call.times_done(sandbox)
    failure, done = STAYS[kind]
    sandbox.fault(kind, call.on, times=99)

    with pytest.raises(failure):
        ask()
    assert call.times_done(sandbox) == before + done

    sandbox.engine.faults.clear()
    if kind in REMEMBERED:
        with pytest.raises(AnswerUnknown):
            ask()
    else:
        ask()
    assert call.times_done(sandbox) == before + (kind is not FaultKind.SERVER_ERROR_REMEMBERED)


@pytest.mark.parametrize(
    "kind", [kind for kind in STAYS if kind is not FaultKind.SERVER_ERROR_REMEMBERED], ids=str
)
def test_a_decline_is_a_decline_whatever_happens_on_the_way(
    processor: StripeProcessor, sandbox: PlayAccount, kind: FaultKind
) -> None:
    confirm = Confirmation(token=sandbox.token(DECLINED))
    sandbox.fault(kind, "POST /v1/payment_intents")
    expected = AnswerUnknown if kind is FaultKind.SERVER_ERROR_AFTER_SUCCESS else Declined

    with pytest.raises(expected):
        processor.create_payment(order(), confirm, key="att_1:create")

    assert [one["status"] for one in sandbox.objects("charge")] == ["failed"]
    assert sandbox.balance() == 0


@pytest.mark.parametrize(
    "kind", [FaultKind.LOST_ANSWER, FaultKind.SERVER_ERROR_AFTER_SUCCESS], ids=str
)
def test_a_charge_whose_answer_was_lost_is_found_by_what_we_wrote_on_it(
    processor: StripeProcessor, sandbox: PlayAccount, kind: FaultKind
) -> None:
    ask = charge(processor, sandbox)
    sandbox.fault(kind, "POST /v1/payment_intents", times=99)
    with pytest.raises(AnswerUnknown):
        ask()

    found = processor.find_payment("attempt", "att_1")

    assert found is not None
    assert (found.status, found.received_minor) == ("succeeded", 2000)
    assert found.charge is not None
    assert found.charge.settlement is not None


def test_a_decline_is_told_even_when_its_details_cannot_be_read(
    processor: StripeProcessor, sandbox: PlayAccount
) -> None:
    sandbox.fault(FaultKind.LOST_REQUEST, "GET *", times=99)

    with pytest.raises(Declined) as declined:
        processor.create_payment(
            order(), Confirmation(token=sandbox.token(DECLINED)), key="att_1:create"
        )

    assert declined.value.payment is not None
    assert declined.value.payment.charge is None
    assert declined.value.decline.charge_id == sandbox.objects("charge")[0]["id"]
