"""Payments at the sandbox's readers: what a command, a card, the bank and bad luck each do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import stripe
from stripe import PaymentIntent
from stripe.terminal import Reader

from control_plane.sandbox import control, reader_actions, readers
from control_plane.sandbox.readers import ReaderFault
from control_plane.sandbox.settings import SandboxSettings
from tests.support.stripe_sandbox import StripeSandbox, stripe_sandbox

# Any: parts of the SDK's parameters.
ADDRESS: Any = {
    "country": "US",
    "line1": "1 Main Street",
    "city": "San Francisco",
    "state": "CA",
    "postal_code": "94107",
}


class Till:
    """A sandbox with one reader, and short ways to do with it what an integration does."""

    def __init__(self, box: StripeSandbox) -> None:
        self.box = box
        self.api = box.client.v1
        location = self.api.terminal.locations.create({"display_name": "Shop", "address": ADDRESS})
        self.reader = self.api.terminal.readers.create(
            {"registration_code": "simulated-s700", "location": location.id}
        ).id

    # Any: parameters of the SDK.
    def intent(self, amount: int = 1000, **more: Any) -> PaymentIntent:
        types = more.pop("types", ["card_present"])
        params: Any = {
            "amount": amount,
            "currency": "usd",
            "allowed_payment_method_types": types,
            **more,
        }
        return self.api.payment_intents.create(params)

    def process(self, intent: PaymentIntent, **given: Any) -> Reader:
        config: Any = given or {"skip_tipping": True}
        return self.api.terminal.readers.process_payment_intent(
            self.reader,
            {"payment_intent": intent.id, "process_config": config},
        )

    def present(self, number: str | None = None, **more: Any) -> Reader:
        params: Any = {**more, **({"card_present": {"number": number}} if number else {})}
        helpers = self.box.client.v1.test_helpers.terminal.readers
        return helpers.present_payment_method(self.reader, params)

    def now(self) -> Reader:
        return self.api.terminal.readers.retrieve(self.reader)

    def paid(self, intent: PaymentIntent) -> PaymentIntent:
        return self.api.payment_intents.retrieve(intent.id, {"expand": ["latest_charge"]})

    def fault(self, kind: ReaderFault, delay_s: float = 0) -> None:
        found = readers.find(self.box.sandbox, self.reader)
        control.set_fault(self.box.sandbox, found, kind, delay_s)
        self.box.sandbox.save(found)

    def set(self, **own: Any) -> None:
        found = readers.find(self.box.sandbox, self.reader)
        self.box.sandbox.save({**found, **{f"_{name}": value for name, value in own.items()}})

    def charges(self) -> list[dict[str, Any]]:
        return self.box.sandbox.store.find("charge")

    def told(self) -> list[str]:
        return [one for one in self.box.event_types() if one.startswith("terminal.")]


@pytest.fixture
def till() -> Iterator[Till]:
    with stripe_sandbox() as box:
        yield Till(box)


def test_a_card_on_a_waiting_reader_pays_and_brings_what_a_receipt_needs(till: Till) -> None:
    intent = till.intent(capture_method="manual")

    waiting = till.process(intent)
    done = till.present()

    assert waiting.action is not None
    assert (waiting.action.type, waiting.action.status) == ("process_payment_intent", "in_progress")
    assert done.action is not None
    assert (done.action.status, done.action.failure_code) == ("succeeded", None)
    paid = till.paid(intent)
    assert (paid.status, paid.amount_capturable) == ("requires_capture", 1000)
    details = paid["latest_charge"]["payment_method_details"]["card_present"]
    assert (details.brand, details.last4, details.reader) == ("visa", "4242", till.reader)
    assert details.receipt.dedicated_file_name == "A0000000031010"
    assert len(details.receipt.application_cryptogram) == 16
    assert details.receipt.authorization_code.isdecimal()
    assert details.capture_before == till.box.sandbox.now() + 2 * 86_400
    assert till.told() == ["terminal.reader.action_succeeded"]


def test_an_authorisation_in_person_lapses_after_two_days(till: Till) -> None:
    intent = till.intent(capture_method="manual")
    till.process(intent)
    till.present()

    till.box.put_forward(days=2)

    assert till.paid(intent).status == "canceled"
    assert "charge.expired" in till.box.event_types()


@pytest.mark.parametrize(
    ("ending", "decline_code"),
    [
        (1, "call_issuer"),
        (2, "offline_pin_required"),
        (3, "online_or_offline_pin_required"),
        (5, "generic_decline"),
        (55, "incorrect_pin"),
        (65, "withdrawal_count_limit_exceeded"),
        (75, "pin_try_exceeded"),
    ],
)
@pytest.mark.parametrize("currency", ["usd", "jpy"])
def test_the_amounts_last_two_digits_decline(
    till: Till, ending: int, decline_code: str, currency: str
) -> None:
    intent = till.api.payment_intents.create(
        {
            "amount": 2000 + ending,
            "currency": currency,
            "allowed_payment_method_types": ["card_present"],
        }
    )

    till.process(intent)
    failed = till.present()

    assert failed.action is not None
    assert failed.action.status == "failed"
    assert failed.action.failure_code == "card_declined"
    assert failed.action.api_error is not None
    assert failed.action.api_error.decline_code == decline_code
    after = till.paid(intent)
    assert (after.status, after.amount_received) == ("requires_payment_method", 0)
    assert till.told() == ["terminal.reader.action_failed"]


def test_the_same_intent_is_paid_by_another_card_after_a_decline(till: Till) -> None:
    intent = till.intent()
    till.process(intent)
    till.present("4000000000009995")

    till.process(intent)
    till.present("5555555555554444")

    paid = till.paid(intent)
    assert (paid.status, paid.amount_received) == ("succeeded", 1000)
    assert [one["status"] for one in till.charges()] == ["succeeded", "failed"]


def test_a_tip_is_added_where_the_reader_asks_for_one(till: Till) -> None:
    till.api.terminal.configurations.create({"tipping": {"usd": {"percentages": [10, 15, 20]}}})
    intent = till.intent()

    till.process(intent, enable_customer_cancellation=True)
    till.present(amount_tip=150)

    paid = till.paid(intent)
    assert (paid.amount, paid.amount_received) == (1150, 1150)
    assert paid.amount_details is not None
    assert paid.amount_details.tip is not None
    assert paid.amount_details.tip.amount == 150


def test_no_tip_where_it_is_skipped(till: Till) -> None:
    till.api.terminal.configurations.create({"tipping": {"usd": {"percentages": [10, 15, 20]}}})
    intent = till.intent()
    till.process(intent, skip_tipping=True)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        till.present(amount_tip=150)

    assert refused.value.param == "amount_tip"
    assert till.charges() == []


def test_the_customer_cancels_only_where_a_button_is_shown(till: Till) -> None:
    intent = till.intent()
    sandbox = till.box.sandbox
    till.process(intent, skip_tipping=True)
    with pytest.raises(Exception, match="does not let the customer cancel"):
        reader_actions.press_cancel(sandbox, readers.find(sandbox, till.reader))

    till.process(intent, enable_customer_cancellation=True)
    reader_actions.press_cancel(sandbox, readers.find(sandbox, till.reader))

    action = till.now().action
    assert action is not None
    assert (action.status, action.failure_code, action.api_error) == (
        "failed",
        "customer_canceled",
        None,
    )
    assert till.paid(intent).status == "requires_payment_method"


def test_a_payment_that_waits_is_replaced_and_one_at_the_bank_is_not(till: Till) -> None:
    till.set(authorization_s=5)
    first, second = till.intent(), till.intent()
    till.process(first)
    till.process(second)
    till.present()

    with pytest.raises(stripe.InvalidRequestError) as refused:
        till.process(first)
    with pytest.raises(stripe.InvalidRequestError) as not_cancelled:
        till.api.terminal.readers.cancel_action(till.reader)
    till.box.put_forward(seconds=5)

    assert refused.value.code == not_cancelled.value.code == "terminal_reader_busy"
    assert till.paid(second).status == "succeeded"
    assert till.paid(first).status == "requires_payment_method"


def test_a_cancelled_action_leaves_no_event_and_no_money(till: Till) -> None:
    intent = till.intent()
    till.process(intent)

    free = till.api.terminal.readers.cancel_action(till.reader)

    assert free.action is None
    assert till.told() == []
    with pytest.raises(stripe.InvalidRequestError):
        till.present()
    assert till.charges() == []


def test_an_intent_that_is_paid_is_not_processed_again(till: Till) -> None:
    intent = till.intent()
    till.process(intent)
    till.present()

    with pytest.raises(stripe.InvalidRequestError) as refused:
        till.process(intent)

    assert refused.value.code == "intent_invalid_state"
    assert len(till.charges()) == 1


def test_a_card_can_be_looked_at_before_it_is_charged(till: Till) -> None:
    intent = till.intent()
    till.api.terminal.readers.collect_payment_method(till.reader, {"payment_intent": intent.id})
    collected = till.present("5200828282828210").action

    assert collected is not None
    assert collected.collect_payment_method is not None
    method = collected.collect_payment_method.payment_method
    assert method is not None
    assert method.card_present is not None
    assert (method.card_present.brand, method.card_present.funding) == ("mastercard", "debit")
    assert till.charges() == []

    confirmed = till.api.terminal.readers.confirm_payment_intent(
        till.reader, {"payment_intent": intent.id}
    )

    assert confirmed.action is not None
    assert confirmed.action.status == "succeeded"
    assert till.paid(intent).status == "succeeded"
    assert till.told() == [
        "terminal.reader.action_updated",
        "terminal.reader.action_succeeded",
        "terminal.reader.action_succeeded",
    ]


def test_nothing_is_confirmed_that_was_not_collected(till: Till) -> None:
    intent = till.intent()

    with pytest.raises(stripe.InvalidRequestError) as refused:
        till.api.terminal.readers.confirm_payment_intent(till.reader, {"payment_intent": intent.id})

    assert refused.value.code == "intent_invalid_state"
    assert till.charges() == []


def test_a_card_is_saved_while_it_pays(till: Till) -> None:
    customer = till.api.customers.create({"name": "Sam"})
    intent = till.intent(customer=customer.id, setup_future_usage="off_session")

    till.process(intent)
    till.present()

    details = till.paid(intent)["latest_charge"]["payment_method_details"]["card_present"]
    saved = till.api.customers.payment_methods.list(customer.id).data
    assert [one.id for one in saved] == [details.generated_card]
    assert saved[0].type == "card"
    again = till.api.payment_intents.create(
        {
            "amount": 500,
            "currency": "usd",
            "customer": customer.id,
            "payment_method": saved[0].id,
            "off_session": True,
            "confirm": True,
            "allowed_payment_method_types": ["card"],
        }
    )
    assert again.status == "succeeded"


def test_an_interac_refund_needs_the_card_that_paid(till: Till) -> None:
    intent = till.api.payment_intents.create(
        {
            "amount": 1000,
            "currency": "cad",
            "allowed_payment_method_types": ["card_present", "interac_present"],
        }
    )
    till.process(intent)
    till.present(type="interac_present")
    refund = till.api.terminal.readers.refund_payment
    refund(till.reader, {"payment_intent": intent.id, "amount": 400})
    other = till.present("4242424242424242")
    refund(till.reader, {"payment_intent": intent.id, "amount": 400})
    same = till.present(type="interac_present")

    assert other.action is not None
    assert other.action.status == "failed"
    assert same.action is not None
    assert same.action.refund_payment is not None
    refunds = till.api.refunds.list({"payment_intent": intent.id}).data
    assert [(one.id, one.amount) for one in refunds] == [(same.action.refund_payment.refund, 400)]


def test_a_cart_is_shown_at_once_and_tells_nobody(till: Till) -> None:
    shown = till.api.terminal.readers.set_reader_display(
        till.reader,
        {
            "type": "cart",
            "cart": {
                "currency": "usd",
                "total": 1000,
                "line_items": [{"amount": 1000, "description": "Tea", "quantity": 1}],
            },
        },
    )

    assert shown.action is not None
    assert shown.action.set_reader_display is not None
    assert shown.action.set_reader_display.cart is not None
    assert (shown.action.set_reader_display.cart.total, shown.action.status) == (1000, "succeeded")
    assert till.told() == []


def test_questions_are_answered_skipped_or_time_out(till: Till) -> None:
    asked: Any = {
        "inputs": [
            {"type": "email", "custom_text": {"title": "Receipt?"}, "required": True},
            {
                "type": "selection",
                "custom_text": {"title": "Bag?"},
                "selection": {
                    "choices": [{"id": "yes", "text": "Yes"}, {"id": "no", "text": "No"}]
                },
            },
        ]
    }
    helpers = till.box.client.v1.test_helpers.terminal.readers
    till.api.terminal.readers.collect_inputs(till.reader, asked)
    answered = helpers.succeed_input_collection(till.reader)
    till.api.terminal.readers.collect_inputs(till.reader, asked)
    skipped = helpers.succeed_input_collection(till.reader, {"skip_non_required_inputs": "all"})
    till.api.terminal.readers.collect_inputs(till.reader, asked)
    timed_out = helpers.timeout_input_collection(till.reader)

    assert answered.action is not None
    assert answered.action.collect_inputs is not None
    email, bag = answered.action.collect_inputs.inputs
    assert email.email is not None
    assert email.email.value == "sam@example.com"
    assert bag.selection is not None
    assert (bag.selection.id, bag.skipped) == ("yes", False)
    assert skipped.action is not None
    assert skipped.action.collect_inputs is not None
    assert [one.skipped for one in skipped.action.collect_inputs.inputs] == [False, True]
    assert timed_out.action is not None
    assert timed_out.action.status == "failed"


def test_a_card_number_is_typed_into_a_reader_where_the_account_may(till: Till) -> None:
    intent = till.intent(types=["card"])
    till.box.client.raw_request(
        "post",
        f"/v1/terminal/readers/{till.reader}/process_payment_intent",
        payment_intent=intent.id,
        process_config={"moto": True},
    )

    till.present(
        type="card",
        card={"number": "4242424242424242", "exp_month": 12, "exp_year": 2030, "cvc": "123"},
    )

    paid = till.paid(intent)
    assert paid.status == "succeeded"
    assert paid["latest_charge"]["payment_method_details"]["card"]["moto"] is True


def test_typed_cards_are_an_unknown_parameter_where_the_account_may_not() -> None:
    with stripe_sandbox(SandboxSettings(moto_enabled=False)) as box:
        till = Till(box)
        intent = till.intent(types=["card"])

        with pytest.raises(stripe.InvalidRequestError) as refused:
            box.client.raw_request(
                "post",
                f"/v1/terminal/readers/{till.reader}/process_payment_intent",
                payment_intent=intent.id,
                process_config={"moto": True},
            )

        assert refused.value.code == "parameter_unknown"
        assert refused.value.param == "process_config[moto]"
        assert till.now().action is None


# --- bad luck ---


def test_a_reader_that_drops_in_the_middle_has_charged_and_stays_in_progress(till: Till) -> None:
    intent = till.intent()
    till.process(intent)
    till.fault(ReaderFault.DROP_MID_AUTH)

    till.present()
    till.box.put_forward(seconds=120)

    after = till.now()
    assert after.action is not None
    assert (after.action.status, after.status) == ("in_progress", "offline")
    assert till.paid(intent).status == "succeeded"
    assert till.told() == []


def test_a_lost_connection_hides_a_charge(till: Till) -> None:
    intent = till.intent()
    till.process(intent)
    till.fault(ReaderFault.CONNECTION_ERROR)

    failed = till.present()

    assert failed.action is not None
    assert (failed.action.status, failed.action.failure_code) == ("failed", "connection_error")
    assert till.paid(intent).status == "succeeded"


def test_a_lost_acknowledgement_is_a_timeout_of_a_command_that_runs(till: Till) -> None:
    intent = till.intent()
    till.fault(ReaderFault.ACK_LOST)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        till.process(intent)

    assert refused.value.code == "terminal_reader_timeout"
    till.present()
    assert till.paid(intent).status == "succeeded"
    assert len(till.charges()) == 1


def test_a_lost_command_is_a_timeout_and_nothing_runs(till: Till) -> None:
    intent = till.intent()
    till.fault(ReaderFault.COMMAND_LOST)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        till.process(intent)

    assert refused.value.code == "terminal_reader_timeout"
    assert till.now().action is None
    assert till.process(intent).action is not None


def test_a_stuck_action_can_be_cancelled(till: Till) -> None:
    intent = till.intent()
    till.process(intent)
    till.fault(ReaderFault.STUCK_IN_PROGRESS)

    stuck = till.present()
    free = till.api.terminal.readers.cancel_action(till.reader)

    assert stuck.action is not None
    assert stuck.action.status == "in_progress"
    assert free.action is None
    assert till.charges() == []


def test_an_empty_battery_is_a_timeout_and_then_offline(till: Till) -> None:
    intent = till.intent()
    till.fault(ReaderFault.BATTERY_LOW)

    with pytest.raises(stripe.InvalidRequestError) as early:
        till.process(intent)
    till.box.put_forward(seconds=120)
    with pytest.raises(stripe.InvalidRequestError) as late:
        till.process(intent)

    assert (early.value.code, late.value.code) == (
        "terminal_reader_timeout",
        "terminal_reader_offline",
    )
    assert till.now().action is None


def test_an_update_at_noon_keeps_the_reader_busy_and_brings_a_new_version(till: Till) -> None:
    intent = till.intent()
    before = till.now().device_sw_version
    till.fault(ReaderFault.UPDATE_AT_NOON)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        till.process(intent)
    till.box.put_forward(seconds=600)

    assert refused.value.code == "terminal_reader_busy"
    assert (before, till.now().device_sw_version) == ("2.46.3.0", "2.47.3.0")
    assert till.process(intent).action is not None


def test_a_card_that_is_left_in_keeps_the_reader_busy(till: Till) -> None:
    first, second = till.intent(), till.intent()
    till.process(first)
    till.fault(ReaderFault.CARD_LEFT_IN)
    till.present()

    with pytest.raises(stripe.InvalidRequestError) as refused:
        till.process(second)
    till.set(card_in=False)

    assert refused.value.code == "terminal_reader_busy"
    assert till.paid(first).status == "succeeded"
    assert till.process(second).action is not None


def test_a_stored_payment_is_declined_when_the_reader_is_back(till: Till) -> None:
    intent = till.intent()
    till.process(intent)
    till.fault(ReaderFault.OFFLINE_STORE_THEN_DECLINE, delay_s=900)

    stored = till.present()
    till.box.put_forward(seconds=300)
    meanwhile = till.now()
    till.box.put_forward(seconds=600)
    after = till.now()

    assert stored.action is not None
    assert (stored.action.status, meanwhile.status, after.status) == (
        "in_progress",
        "offline",
        "online",
    )
    assert after.action is not None
    assert after.action.failure_code == "card_declined"
    (charge,) = till.charges()
    assert (
        charge["status"],
        charge["payment_method_details"]["card_present"]["offline"]["type"],
    ) == (
        "failed",
        "deferred",
    )


def test_a_hardware_fault_is_told_once(till: Till) -> None:
    intent = till.intent()
    till.fault(ReaderFault.HARDWARE_FAULT)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        till.process(intent)

    assert refused.value.code == "terminal_reader_hardware_fault"
    assert till.process(intent).action is not None


@pytest.mark.parametrize(
    ("kind", "order"),
    [
        (
            ReaderFault.DUPLICATE_WEBHOOK,
            ["payment_intent.succeeded", *["terminal.reader.action_succeeded"] * 2],
        ),
        (
            ReaderFault.OUT_OF_ORDER_WEBHOOK,
            ["terminal.reader.action_succeeded", "payment_intent.succeeded"],
        ),
        (ReaderFault.LATE_WEBHOOK, ["payment_intent.succeeded"]),
    ],
)
def test_webhooks_come_twice_late_or_in_the_wrong_order(
    till: Till, kind: ReaderFault, order: list[str]
) -> None:
    till.api.webhook_endpoints.create(
        {
            "url": "http://127.0.0.1:1/hook",
            "enabled_events": ["payment_intent.succeeded", "terminal.reader.action_succeeded"],
        }
    )
    till.fault(kind)
    till.process(till.intent())
    till.present()

    till.box.deliver()

    assert [one["event"]["type"] for one in till.box.delivered] == order


def test_a_late_webhook_comes_in_the_end(till: Till) -> None:
    till.api.webhook_endpoints.create(
        {"url": "http://127.0.0.1:1/hook", "enabled_events": ["terminal.reader.action_succeeded"]}
    )
    till.fault(ReaderFault.LATE_WEBHOOK, delay_s=300)
    till.process(till.intent())
    till.present()

    at_once = till.box.deliver()
    till.box.put_forward(seconds=300)

    assert (at_once, till.box.deliver()) == (0, 1)


def test_a_virtual_customer_presents_a_card_by_itself(till: Till) -> None:
    till.set(auto_present_s=3.0, authorization_s=2.0)
    intent = till.intent()
    till.process(intent)

    till.box.put_forward(seconds=4)
    at_the_bank = till.paid(intent).status
    till.box.put_forward(seconds=2)

    assert (at_the_bank, till.paid(intent).status) == ("requires_payment_method", "succeeded")


def test_the_virtual_customer_tips_where_asked(till: Till) -> None:
    till.api.terminal.configurations.create({"tipping": {"usd": {"percentages": [10, 15, 20]}}})
    till.set(auto_present_s=1.0)
    asked, skipped = till.intent(1234), till.intent(1234)
    till.process(asked, enable_customer_cancellation=True)
    till.box.put_forward(seconds=1)
    till.process(skipped, skip_tipping=True)
    till.box.put_forward(seconds=1)

    assert (till.paid(asked).amount_received, till.paid(skipped).amount_received) == (1420, 1234)


def test_the_virtual_customer_of_a_cancelled_action_pays_nothing(till: Till) -> None:
    till.set(auto_present_s=3.0)
    first, second = till.intent(), till.intent()
    till.process(first)
    till.api.terminal.readers.cancel_action(till.reader)

    till.box.put_forward(seconds=2)
    till.process(second)
    till.box.put_forward(seconds=2)

    assert till.charges() == []
    till.box.put_forward(seconds=1)
    assert till.paid(second).status == "succeeded"
    assert till.paid(first).status == "requires_payment_method"


def test_no_card_number_stays_anywhere(till: Till) -> None:
    till.set(authorization_s=5)
    intent = till.intent()
    till.api.terminal.readers.collect_payment_method(till.reader, {"payment_intent": intent.id})
    till.present("5555555555554444")
    till.process(intent)
    till.present("4000056655665556")

    kept = str(
        [till.box.sandbox.store.find(kind) for kind in ("terminal.reader", "charge", "event")]
    )

    assert "5555555555554444" not in kept
    assert "4000056655665556" not in kept
