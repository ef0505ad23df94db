"""What every processor must do, on the sandbox: one test or more for each method of the port."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from control_plane.processors.stripe.adapter import StripeProcessor
from control_plane.processors.stripe.client import Access
from control_plane.sandbox.dispatch import Answer, Request
from control_plane.sandbox.settings import SandboxSettings
from control_plane.virtual_terminal.processor import (
    CartLine,
    Confirmation,
    Declined,
    MotoNotEnabled,
    NewIntent,
    NewSetup,
    NotVerified,
    ReaderInput,
    ReaderPayment,
    ReaderRefused,
    Refused,
    UnexpectedState,
)
from protocols.money import Money
from tests.fixtures.virtual_terminal import PATIENCE
from tests.support import stripe_sandbox
from tests.support.play_account import (
    DECLINED,
    DISPUTED,
    INSUFFICIENT,
    NEEDS_3DS,
    REFUND_FAILS,
    VISA,
    PlayAccount,
)
from tests.support.stripe_sandbox import SECRET_KEY

ADDRESS = {
    "line1": "1 Main",
    "city": "Austin",
    "state": "TX",
    "postal_code": "73301",
    "country": "US",
}


def order(
    minor: int = 1234, currency: str = "USD", *, attempt: str = "att_1", **facts: Any
) -> NewIntent:
    """A PaymentIntent to make; ``facts`` are those of NewIntent."""
    methods = facts.pop("methods", ("card",))
    return NewIntent(
        amount=Money(minor, currency), methods=methods, metadata={"attempt": attempt}, **facts
    )


def customer(processor: StripeProcessor) -> str:
    return processor.save_customer(
        None, name="Ada", email="ada@example.com", phone="", metadata={}, key="cst_1:create"
    ).id


@pytest.fixture
def no_moto() -> Iterator[tuple[StripeProcessor, PlayAccount]]:
    """An account that Stripe has not opened for telephone orders."""
    with stripe_sandbox.sandbox_server(SandboxSettings(moto_enabled=False)) as server:
        access = Access(secret_key=SECRET_KEY, base=server.url)
        with closing(StripeProcessor(access, PATIENCE)) as adapter:
            yield adapter, PlayAccount(server)


# --- the account ------------------------------------------------------------------------------------------------


def test_the_account_says_whose_key_it_is(processor: StripeProcessor) -> None:
    info = processor.account()

    assert info.id.startswith("acct_")
    assert (info.country, info.default_currency, info.livemode) == ("US", "USD", False)


def test_the_probe_finds_telephone_orders_open_and_leaves_nothing(
    processor: StripeProcessor, sandbox: PlayAccount
) -> None:
    assert processor.probe_moto() is True

    assert sandbox.objects("payment_intent") == []
    assert sandbox.objects("charge") == []
    assert sandbox.objects("event") == []


def test_the_probe_finds_them_closed_and_leaves_nothing(
    no_moto: tuple[StripeProcessor, PlayAccount],
) -> None:
    processor, sandbox = no_moto

    assert processor.probe_moto() is False

    assert sandbox.objects("payment_intent") == []


def test_a_telephone_order_on_a_closed_account_is_named_for_what_it_is(
    no_moto: tuple[StripeProcessor, PlayAccount],
) -> None:
    processor, sandbox = no_moto

    with pytest.raises(MotoNotEnabled):
        processor.create_payment(
            order(), Confirmation(token=sandbox.token(), moto=True), key="att_1:create"
        )

    assert sandbox.objects("payment_intent") == []


# --- typed cards ------------------------------------------------------------------------------------------------


def test_a_typed_card_is_charged_in_one_call_that_tells_everything(
    processor: StripeProcessor, sandbox: PlayAccount
) -> None:
    payment = processor.create_payment(
        order(description="Two lamps", receipt_email="ada@example.com"),
        Confirmation(token=sandbox.token(), moto=True),
        key="att_1:create",
    )

    assert (payment.status, payment.amount, payment.received_minor) == (
        "succeeded",
        Money(1234, "USD"),
        1234,
    )
    assert payment.metadata == {"attempt": "att_1"}
    charge = payment.charge
    assert charge is not None
    assert (charge.captured, charge.captured_minor, charge.moto) == (True, 1234, True)
    assert (charge.instrument.kind, charge.instrument.brand, charge.instrument.last4) == (
        "card",
        "visa",
        "4242",
    )
    assert charge.instrument.fingerprint
    assert (charge.checks.cvc, charge.checks.postal_code) == ("pass", "pass")
    settled = charge.settlement
    assert settled is not None
    assert settled.amount == Money(1234, "USD")
    assert settled.net_minor == 1234 - settled.fee_minor
    assert settled.fee_minor > 0


def test_a_typed_card_is_one_call(
    processor: StripeProcessor, sandbox: PlayAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve, calls = sandbox.server.api.serve, []

    async def counting(request: Request) -> Answer:
        calls.append(f"{request.method} {request.path}")
        return await serve(request)

    monkeypatch.setattr(sandbox.server.api, "serve", counting)

    processor.create_payment(order(), Confirmation(token=sandbox.token()), key="att_1:create")

    assert calls == ["POST /v1/payment_intents"]


def test_the_same_key_again_brings_the_same_payment(
    processor: StripeProcessor, sandbox: PlayAccount
) -> None:
    confirm = Confirmation(token=sandbox.token())
    first = processor.create_payment(order(), confirm, key="att_1:create")

    again = processor.create_payment(order(), confirm, key="att_1:create")

    assert again == first
    assert len(sandbox.taken()) == 1


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (DECLINED, "generic_decline"),
        (INSUFFICIENT, "insufficient_funds"),
        ("4000000000000069", "expired_card"),
        ("4000000000000127", "incorrect_cvc"),
        ("4000000000009979", "stolen_card"),
    ],
)
def test_a_decline_tells_why_and_how_the_intent_stands(
    processor: StripeProcessor, sandbox: PlayAccount, number: str, code: str
) -> None:
    with pytest.raises(Declined) as declined:
        processor.create_payment(
            order(), Confirmation(token=sandbox.token(number)), key="att_1:create"
        )

    assert declined.value.decline.code == code
    payment = declined.value.payment
    assert payment is not None
    assert (payment.status, payment.received_minor) == ("requires_payment_method", 0)
    assert payment.charge is not None
    assert payment.charge.id == declined.value.decline.charge_id
    assert (payment.charge.status, payment.charge.instrument.last4) == ("failed", number[-4:])
    assert sandbox.taken() == []


def test_a_declined_intent_takes_another_card(
    processor: StripeProcessor, sandbox: PlayAccount
) -> None:
    with pytest.raises(Declined) as declined:
        processor.create_payment(
            order(), Confirmation(token=sandbox.token(DECLINED)), key="att_1:create"
        )
    assert declined.value.payment is not None

    payment = processor.confirm_payment(
        declined.value.payment.id, Confirmation(token=sandbox.token()), key="att_2:confirm"
    )

    assert payment.status == "succeeded"
    assert len(sandbox.objects("payment_intent")) == 1
    assert len(sandbox.taken()) == 1


def test_a_paid_intent_is_not_confirmed_again(
    processor: StripeProcessor, sandbox: PlayAccount
) -> None:
    payment = processor.create_payment(
        order(), Confirmation(token=sandbox.token()), key="att_1:create"
    )

    with pytest.raises(UnexpectedState):
        processor.confirm_payment(
            payment.id, Confirmation(token=sandbox.token()), key="att_2:confirm"
        )

    assert len(sandbox.taken()) == 1


def test_a_token_is_good_for_one_payment(processor: StripeProcessor, sandbox: PlayAccount) -> None:
    token = sandbox.token()
    processor.create_payment(order(), Confirmation(token=token), key="att_1:create")

    with pytest.raises(Refused):
        processor.create_payment(
            order(attempt="att_2"), Confirmation(token=token), key="att_2:create"
        )

    assert len(sandbox.taken()) == 1


def test_a_card_that_must_be_confirmed_waits_for_its_owner(
    processor: StripeProcessor, sandbox: PlayAccount
) -> None:
    payment = processor.create_payment(
        order(),
        Confirmation(token=sandbox.token(NEEDS_3DS), return_url="https://shop.example/back"),
        key="att_1:create",
    )

    assert payment.status == "requires_action"
    assert payment.next_action is not None
    assert payment.client_secret
    assert sandbox.taken() == []


def test_a_charge_without_its_owner_does_not_wait(
    processor: StripeProcessor, sandbox: PlayAccount
) -> None:
    with pytest.raises(Declined) as declined:
        processor.create_payment(
            order(),
            Confirmation(token=sandbox.token(NEEDS_3DS), fail_on_action=True),
            key="att_1:create",
        )

    assert declined.value.decline.code in {"authentication_required", "authentication_not_handled"}
    assert sandbox.taken() == []


def test_a_telephone_order_asks_nobody_to_confirm(
    processor: StripeProcessor, sandbox: PlayAccount
) -> None:
    payment = processor.create_payment(
        order(), Confirmation(token=sandbox.token(NEEDS_3DS), moto=True), key="att_1:create"
    )

    assert payment.status == "succeeded"


@pytest.mark.parametrize(
    ("minor", "currency"), [(500, "JPY"), (1230, "KWD"), (1299, "EUR")], ids=["0", "3", "2"]
)
def test_amounts_are_in_minor_units_of_any_number_of_digits(
    processor: StripeProcessor, sandbox: PlayAccount, minor: int, currency: str
) -> None:
    payment = processor.create_payment(
        order(minor, currency), Confirmation(token=sandbox.token()), key="att_1:create"
    )

    assert payment.amount == Money(minor, currency)
    assert payment.charge is not None
    assert payment.charge.settlement is not None
    assert payment.charge.settlement.amount.currency == "USD"
    assert payment.charge.settlement.rate is not None


def test_a_currency_that_stripe_counts_otherwise_is_not_asked_in(
    processor: StripeProcessor, sandbox: PlayAccount
) -> None:
    with pytest.raises(Refused) as refused:
        processor.create_payment(
            order(500, "ISK"), Confirmation(token=sandbox.token()), key="att_1:create"
        )

    assert refused.value.code == "currency_not_supported"
    assert sandbox.objects("payment_intent") == []


# --- without confirmation, finding, changing --------------------------------------------------------------------


def test_an_intent_for_a_link_waits_for_a_method(processor: StripeProcessor) -> None:
    payment = processor.create_payment(order(), key="att_1:create")

    assert (payment.status, payment.charge) == ("requires_payment_method", None)
    assert payment.client_secret
    assert payment.client_secret not in repr(payment)


def test_an_open_intent_can_be_changed(processor: StripeProcessor) -> None:
    payment = processor.create_payment(order(), key="att_1:create")

    changed = processor.update_payment(
        payment.id,
        amount=Money(900, "USD"),
        methods=("card_present",),
        capture="manual",
        metadata={"attempt": "att_2"},
        key="att_2:update",
    )

    assert changed.amount == Money(900, "USD")
    assert changed.metadata == {"attempt": "att_2"}
    assert processor.read_payment(payment.id) == changed


def test_a_payment_is_found_by_what_we_wrote_on_it(
    processor: StripeProcessor, sandbox: PlayAccount
) -> None:
    wanted = processor.create_payment(
        order(attempt="att_1"), Confirmation(token=sandbox.token()), key="att_1:create"
    )
    processor.create_payment(order(attempt="att_2"), key="att_2:create")

    assert processor.find_payment("attempt", "att_1") == wanted
    assert processor.find_payment("attempt", "att_3") is None


def test_an_old_payment_is_found_behind_many_others(
    processor: StripeProcessor, sandbox: PlayAccount
) -> None:
    wanted = processor.create_payment(order(attempt="o'brien"), key="old")
    sandbox.put_forward(days=2)
    for number in range(3):
        processor.create_payment(order(attempt=f"new_{number}"), key=f"new_{number}")

    assert processor.find_payment("attempt", "o'brien") == wanted
    assert processor.find_payment("attempt", "new_9") is None


def test_a_payment_that_is_not_there_is_refused(processor: StripeProcessor) -> None:
    with pytest.raises(Refused) as refused:
        processor.read_payment("pi_0nothing")

    assert refused.value.code == "resource_missing"


# --- authorise, capture, cancel ---------------------------------------------------------------------------------


def held(processor: StripeProcessor, sandbox: PlayAccount, **facts: Any) -> str:
    payment = processor.create_payment(
        order(2000, capture="manual", **facts),
        Confirmation(token=sandbox.token()),
        key="att_1:create",
    )
    assert (payment.status, payment.capturable_minor) == ("requires_capture", 2000)
    assert payment.charge is not None
    assert payment.charge.capture_before is not None
    return payment.id


@pytest.mark.parametrize(("asked", "taken"), [(None, 2000), (1500, 1500)])
def test_held_money_is_captured_whole_or_in_part(
    processor: StripeProcessor, sandbox: PlayAccount, asked: int | None, taken: int
) -> None:
    payment_id = held(processor, sandbox)

    payment = processor.capture(payment_id, amount_minor=asked, key="att_1:capture")

    assert (payment.status, payment.received_minor, payment.capturable_minor) == (
        "succeeded",
        taken,
        0,
    )
    assert payment.charge is not None
    assert payment.charge.captured_minor == taken
    assert payment.charge.settlement is not None
    assert payment.charge.settlement.amount == Money(taken, "USD")


def test_more_than_is_held_is_not_captured(
    processor: StripeProcessor, sandbox: PlayAccount
) -> None:
    payment_id = held(processor, sandbox)

    with pytest.raises(Refused):
        processor.capture(payment_id, amount_minor=2001, key="att_1:capture")

    assert processor.read_payment(payment_id).status == "requires_capture"
    assert sandbox.balance() == 0


def test_a_hold_is_raised_to_a_new_total(processor: StripeProcessor, sandbox: PlayAccount) -> None:
    payment_id = held(processor, sandbox, ask_incremental=True)

    payment = processor.increment(payment_id, 2500, key="att_1:increment")

    assert payment.capturable_minor == 2500


def test_held_money_is_let_go(processor: StripeProcessor, sandbox: PlayAccount) -> None:
    payment_id = held(processor, sandbox)

    payment = processor.cancel_payment(payment_id, reason="abandoned", key="att_1:cancel")

    assert (payment.status, payment.cancellation_reason) == ("canceled", "abandoned")
    assert sandbox.balance() == 0
    with pytest.raises(UnexpectedState):
        processor.capture(payment_id, key="att_1:capture")


def test_a_paid_payment_is_not_canceled(processor: StripeProcessor, sandbox: PlayAccount) -> None:
    payment = processor.create_payment(
        order(), Confirmation(token=sandbox.token()), key="att_1:create"
    )

    with pytest.raises(UnexpectedState):
        processor.cancel_payment(payment.id, key="att_1:cancel")


# --- refunds and disputes ---------------------------------------------------------------------------------------


def paid(processor: StripeProcessor, sandbox: PlayAccount, number: str = VISA) -> str:
    return processor.create_payment(
        order(2000), Confirmation(token=sandbox.token(number)), key="att_1:create"
    ).id


def test_money_is_given_back_in_parts_and_no_more_than_was_taken(
    processor: StripeProcessor, sandbox: PlayAccount
) -> None:
    payment_id = paid(processor, sandbox)

    part = processor.refund(
        payment_id, amount_minor=500, reason="duplicate", metadata={"refund": "rfd_1"}, key="rfd_1"
    )
    rest = processor.refund(payment_id, amount_minor=1500, reason="other", metadata={}, key="rfd_2")
    with pytest.raises(Refused):
        processor.refund(payment_id, amount_minor=1, reason=None, metadata={}, key="rfd_3")

    assert (part.status, part.amount, part.reason) == ("succeeded", Money(500, "USD"), "duplicate")
    assert part.metadata == {"refund": "rfd_1"}
    assert part.settlement is not None
    assert part.settlement.amount == Money(-500, "USD")
    assert rest.reason is None
    assert processor.refunds_of(payment_id) == [rest, part]
    assert processor.read_refund(part.id) == part
    assert sandbox.balance() == 0


def test_a_refund_with_the_same_key_is_given_once(
    processor: StripeProcessor, sandbox: PlayAccount
) -> None:
    payment_id = paid(processor, sandbox)

    refunds = [
        processor.refund(payment_id, amount_minor=500, reason=None, metadata={}, key="rfd_1")
        for _ in range(2)
    ]

    assert refunds[0] == refunds[1]
    assert sandbox.balance() == 1500


def test_a_refund_can_fail_days_later(processor: StripeProcessor, sandbox: PlayAccount) -> None:
    payment_id = paid(processor, sandbox, REFUND_FAILS)
    given = processor.refund(payment_id, amount_minor=2000, reason=None, metadata={}, key="rfd_1")
    assert given.status == "succeeded"

    sandbox.put_forward(days=30)

    failed = processor.read_refund(given.id)
    assert failed.status == "failed"
    assert failed.failure_reason
    assert sandbox.balance() == 2000


def test_a_disputed_payment_tells_what_was_withdrawn(
    processor: StripeProcessor, sandbox: PlayAccount
) -> None:
    payment_id = paid(processor, sandbox, DISPUTED)
    sandbox.put_forward(days=1)

    (dispute,) = processor.disputes_of(payment_id)

    assert processor.read_dispute(dispute.id) == dispute
    assert (dispute.payment_id, dispute.amount, dispute.reason) == (
        payment_id,
        Money(2000, "USD"),
        "fraudulent",
    )
    assert dispute.status == "needs_response"
    assert dispute.due_by is not None
    assert [one.amount for one in dispute.movements] == [Money(-2000, "USD")]
    assert dispute.movements[0].fee_minor > 0


# --- customers and saved methods --------------------------------------------------------------------------------


def test_a_customer_is_made_and_changed(processor: StripeProcessor) -> None:
    customer_id = customer(processor)

    changed = processor.save_customer(
        customer_id,
        name="Ada Lovelace",
        email="",
        phone="+15550100",
        metadata={"customer": "cst_1"},
        key="cst_1:2",
    )

    assert changed.id == customer_id
    assert (changed.name, changed.phone) == ("Ada Lovelace", "+15550100")
    # What was left empty stays as it was.
    assert changed.email == "ada@example.com"


def test_a_card_is_saved_and_charged_without_its_owner(
    processor: StripeProcessor, sandbox: PlayAccount
) -> None:
    customer_id = customer(processor)
    setup = processor.setup(
        NewSetup(customer_id=customer_id, methods=("card",), token=sandbox.token(), moto=True),
        key="smt_1:setup",
    )
    assert setup.status == "succeeded"
    assert setup.instrument is not None
    assert processor.read_setup(setup.id) == setup

    payment = processor.create_payment(
        order(customer_id=customer_id),
        Confirmation(
            instrument_id=setup.instrument.processor_id,
            off_session=True,
            stored_usage="unscheduled",
            fail_on_action=True,
        ),
        key="att_1:create",
    )

    assert (payment.status, payment.customer_id) == ("succeeded", customer_id)
    (kept,) = processor.instruments_of(customer_id)
    assert kept == setup.instrument
    assert (kept.brand, kept.last4, kept.exp_year) == ("visa", "4242", 2034)


def test_a_card_is_saved_while_it_pays(processor: StripeProcessor, sandbox: PlayAccount) -> None:
    customer_id = customer(processor)

    payment = processor.create_payment(
        order(customer_id=customer_id, save_for="off_session"),
        Confirmation(token=sandbox.token()),
        key="att_1:create",
    )

    (kept,) = processor.instruments_of(customer_id)
    assert kept.processor_id == payment.instrument_id


def test_a_card_that_was_let_go_is_not_charged_again(
    processor: StripeProcessor, sandbox: PlayAccount
) -> None:
    customer_id = customer(processor)
    setup = processor.setup(
        NewSetup(customer_id=customer_id, methods=("card",), token=sandbox.token()), key="smt_1"
    )
    assert setup.instrument is not None
    assert setup.instrument.processor_id is not None

    processor.detach(setup.instrument.processor_id, key="smt_1:detach")

    assert processor.instruments_of(customer_id) == []
    with pytest.raises(Refused):
        processor.create_payment(
            order(customer_id=customer_id),
            Confirmation(instrument_id=setup.instrument.processor_id, off_session=True),
            key="att_1:create",
        )
    assert sandbox.taken() == []


def test_a_card_that_cannot_be_saved_is_declined(
    processor: StripeProcessor, sandbox: PlayAccount
) -> None:
    with pytest.raises(Declined) as declined:
        processor.setup(
            NewSetup(
                customer_id=customer(processor), methods=("card",), token=sandbox.token(DECLINED)
            ),
            key="smt_1",
        )

    assert declined.value.decline.code == "generic_decline"
    assert declined.value.payment is None


# --- bank debits ------------------------------------------------------------------------------------------------


def test_a_bank_debit_is_on_its_way_for_days(
    processor: StripeProcessor, sandbox: PlayAccount
) -> None:
    payment = processor.create_payment(
        order(methods=("us_bank_account",)),
        Confirmation(token=sandbox.bank_token(), mandate_offline=True),
        key="att_1:create",
    )
    assert (payment.status, payment.received_minor) == ("processing", 0)
    assert payment.charge is not None
    assert payment.charge.instrument.mandate_id is not None
    assert processor.read_mandate(payment.charge.instrument.mandate_id).status == "active"

    sandbox.put_forward(days=10)

    settled = processor.read_payment(payment.id)
    assert (settled.status, settled.received_minor) == ("succeeded", 1234)


def test_a_sepa_debit_has_a_mandate_with_a_reference(
    processor: StripeProcessor, sandbox: PlayAccount
) -> None:
    payment = processor.create_payment(
        order(currency="EUR", methods=("sepa_debit",)),
        Confirmation(token=sandbox.bank_token("sepa_debit")),
        key="att_1:create",
    )

    assert payment.charge is not None
    assert payment.charge.instrument.kind == "sepa_debit"
    assert payment.charge.instrument.mandate_id is not None
    assert processor.read_mandate(payment.charge.instrument.mandate_id).reference


@pytest.mark.parametrize(
    "proof", [{"amounts": (32, 45)}, {"code": "SM11AA"}], ids=["amounts", "code"]
)
def test_an_account_is_verified_with_two_small_deposits(
    processor: StripeProcessor, sandbox: PlayAccount, proof: dict[str, Any]
) -> None:
    payment = processor.create_payment(
        order(methods=("us_bank_account",)),
        Confirmation(token=sandbox.bank_token(verified=False), mandate_offline=True),
        key="att_1:create",
    )
    assert payment.status == "requires_action"
    assert payment.next_action is not None
    assert payment.next_action.kind == "verify_with_microdeposits"

    verified = processor.verify_microdeposits(payment.id, **proof)

    assert verified.status == "processing"


# --- readers ----------------------------------------------------------------------------------------------------


@pytest.fixture
def reader_id(processor: StripeProcessor) -> str:
    location_id = processor.create_location("Main street", ADDRESS, key="loc_1")
    reader = processor.register_reader(
        "simulated-wpe",
        label="Counter 1",
        location_id=location_id,
        metadata={"reader": "rd_1"},
        key="rd_1",
    )
    assert (reader.label, reader.location_id, reader.status) == ("Counter 1", location_id, "online")
    assert reader.last_seen_at is not None
    return reader.id


def in_person(processor: StripeProcessor, minor: int = 1200) -> str:
    return processor.create_payment(
        order(minor, methods=("card_present",), capture="manual"), key="att_1:create"
    ).id


def present(sandbox: PlayAccount, reader_id: str, **card: Any) -> None:
    """A customer holds a card to the reader."""
    helpers = sandbox.server.client().v1.test_helpers.terminal.readers
    helpers.present_payment_method(reader_id, card or None)  # type: ignore[arg-type]  # the test's own words


def test_readers_are_listed_renamed_and_removed(processor: StripeProcessor, reader_id: str) -> None:
    renamed = processor.rename_reader(reader_id, "Counter 2")
    assert renamed.label == "Counter 2"
    assert [one.id for one in processor.readers(renamed.location_id)] == [reader_id]

    processor.remove_reader(reader_id)

    assert processor.readers() == []


def test_a_reader_takes_a_card(
    processor: StripeProcessor, sandbox: PlayAccount, reader_id: str
) -> None:
    payment_id = in_person(processor)

    asked = processor.process_on_reader(
        reader_id, payment_id, ReaderPayment(tip_eligible_minor=1000, skip_tipping=False), key="a:1"
    )
    assert asked.action is not None
    assert (asked.action.kind, asked.action.status, asked.action.payment_id) == (
        "process_payment_intent",
        "in_progress",
        payment_id,
    )
    present(sandbox, reader_id)

    done = processor.read_reader(reader_id)
    assert done.action is not None
    assert done.action.status == "succeeded"
    payment = processor.read_payment(payment_id)
    assert payment.status == "requires_capture"
    assert payment.charge is not None
    card = payment.charge.instrument
    assert (card.kind, card.last4 is not None, card.entry_mode is not None) == (
        "card_present",
        True,
        True,
    )
    assert card.emv["application_preferred_name"]
    assert payment.charge.capture_before is not None


def test_a_decline_at_a_reader_is_told_by_the_reader_and_the_intent(
    processor: StripeProcessor, sandbox: PlayAccount, reader_id: str
) -> None:
    payment_id = in_person(processor, 1255)
    processor.process_on_reader(reader_id, payment_id, ReaderPayment(), key="a:1")

    present(sandbox, reader_id)

    done = processor.read_reader(reader_id).action
    assert done is not None
    assert (done.status, done.failure_code) == ("failed", "card_declined")
    payment = processor.read_payment(payment_id)
    assert payment.last_error is not None
    assert payment.last_error.code == "incorrect_pin"
    assert payment.status == "requires_payment_method"


def test_a_reader_is_told_to_stop(processor: StripeProcessor, reader_id: str) -> None:
    payment_id = in_person(processor)
    processor.process_on_reader(reader_id, payment_id, ReaderPayment(), key="a:1")

    stopped = processor.cancel_on_reader(reader_id)

    assert stopped.action is None or stopped.action.status != "in_progress"
    assert processor.read_payment(payment_id).status == "requires_payment_method"


def test_a_reader_that_is_off_says_so(
    processor: StripeProcessor, sandbox: PlayAccount, reader_id: str
) -> None:
    payment_id = in_person(processor)
    with sandbox.engine.transaction():
        reader = sandbox.engine.fetch("terminal.reader", reader_id)
        sandbox.engine.save(reader | {"_silent_since": sandbox.engine.now() - 600})

    with pytest.raises(ReaderRefused) as refused:
        processor.process_on_reader(reader_id, payment_id, ReaderPayment(), key="a:1")

    assert refused.value.code == "terminal_reader_offline"


def test_a_reader_shows_a_cart(processor: StripeProcessor, reader_id: str) -> None:
    lines = (CartLine(description="Lamp", amount_minor=1000, quantity=2),)

    shown = processor.show_cart(reader_id, lines, Money(2400, "USD"), 400)

    assert shown.action is not None
    assert shown.action.kind == "set_reader_display"


def test_a_reader_asks_questions(
    processor: StripeProcessor, sandbox: PlayAccount, reader_id: str
) -> None:
    questions = (
        ReaderInput(kind="email", title="Receipt", description="Where to?", required=True),
        ReaderInput(kind="selection", title="Bag?", choices=("Yes", "No")),
    )

    processor.ask_on_reader(reader_id, questions, key="q:1")
    sandbox.server.client().v1.test_helpers.terminal.readers.succeed_input_collection(reader_id)

    action = processor.read_reader(reader_id).action
    assert action is not None
    assert (action.kind, action.status) == ("collect_inputs", "succeeded")
    assert [one["title"] for one in action.inputs] == ["Receipt", "Bag?"]
    assert all(one["value"] for one in action.inputs)


def test_a_card_that_must_be_shown_again_is_refunded_on_the_reader(
    processor: StripeProcessor, sandbox: PlayAccount, reader_id: str
) -> None:
    payment_id = in_person(processor)
    processor.process_on_reader(reader_id, payment_id, ReaderPayment(), key="a:1")
    present(sandbox, reader_id)
    processor.capture(payment_id, key="a:2")

    asked = processor.refund_on_reader(
        reader_id,
        payment_id=payment_id,
        amount_minor=1200,
        metadata={"refund": "rfd_1"},
        key="rfd_1",
    )
    assert asked.action is not None
    assert asked.action.kind == "refund_payment"
    assert asked.action.metadata == {"refund": "rfd_1"}
    present(sandbox, reader_id)

    done = processor.read_reader(reader_id).action
    assert done is not None
    assert done.status == "succeeded"
    assert [(one.id, one.metadata) for one in processor.refunds_of(payment_id)] == [
        (done.refund_id, {"refund": "rfd_1"})
    ]
    assert sandbox.balance() == 0


def test_a_phone_gets_what_it_needs_to_be_a_reader(
    processor: StripeProcessor, reader_id: str
) -> None:
    location_id = processor.read_reader(reader_id).location_id

    assert processor.connection_token(location_id)
    assert processor.connection_token()
    assert processor.onboarding_link("Café Lumière").startswith("http")


# --- what happened ----------------------------------------------------------------------------------------------


def test_events_tell_what_happened(processor: StripeProcessor, sandbox: PlayAccount) -> None:
    payment_id = paid(processor, sandbox)

    events = list(processor.events_since(datetime.now(UTC) - timedelta(hours=1)))

    kinds = {event.kind for event in events if event.object_id == payment_id}
    assert kinds >= {"payment_intent.created", "payment_intent.succeeded"}
    assert list(processor.events_since(datetime.now(UTC) + timedelta(hours=1))) == []


def test_an_address_for_events_comes_with_the_secret_they_are_signed_with(
    processor: StripeProcessor,
) -> None:
    address = processor.add_webhook("https://shop.example", ("charge.failed",), key="acc_1")

    assert address.secret.reveal().startswith("whsec_")
    with pytest.raises(NotVerified):
        processor.verify_webhook(b"{}", "t=1,v1=0", [address.secret.reveal()])


def test_history_is_complete_and_goes_on_where_it_stopped(
    processor: StripeProcessor, sandbox: PlayAccount
) -> None:
    since = datetime.now(UTC) - timedelta(hours=1)
    for number in range(3):
        processor.create_payment(
            order(attempt=f"att_{number}"),
            Confirmation(token=sandbox.token(DISPUTED)),
            key=f"att_{number}",
        )
    sandbox.put_forward(days=1)
    refunded = processor.create_payment(order(), Confirmation(token=sandbox.token()), key="x")
    processor.refund(refunded.id, amount_minor=10, reason=None, metadata={}, key="rfd_1")

    whole = list(processor.history(since))

    assert [one.cursor.partition(":")[0] for one in whole] == (
        ["payment"] * 4 + ["refund"] + ["dispute"] * 3
    )
    assert len({one.cursor for one in whole}) == len(whole)
    for number, one in enumerate(whole):
        assert list(processor.history(since, after=one.cursor)) == whole[number + 1 :]
    assert list(processor.history(datetime.now(UTC) + timedelta(days=9))) == []
