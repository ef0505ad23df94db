"""Every method of the port, once or more: what is sent is what Stripe documents, and nothing else."""

from __future__ import annotations

import re
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from control_plane.processors.stripe.adapter import StripeProcessor
from control_plane.sandbox.dispatch import Answer, Request
from control_plane.virtual_terminal.processor import (
    CartLine,
    Confirmation,
    Declined,
    NewIntent,
    NewSetup,
    NotVerified,
    Processor,
    ProcessorError,
    ReaderInput,
    ReaderPayment,
)
from protocols.money import Money
from tests.support.play_account import DECLINED, DISPUTED, NEEDS_3DS, PlayAccount
from tests.support.stripe_schema import RequestJudge, fields_of

ADDRESS = {
    "line1": "1 Main",
    "city": "Austin",
    "state": "TX",
    "postal_code": "73301",
    "country": "US",
}

#: All calls of the adapter with all parameters that it can send; ``{}`` stands for an id, ``[]`` for a number.
DOCUMENTED = {
    "GET /v1/account": "",
    "GET /v1/customers/{}/payment_methods": "limit",
    "GET /v1/disputes": "created[gte] limit payment_intent",
    "GET /v1/disputes/{}": "",
    "GET /v1/events": "created[gte] limit",
    "GET /v1/mandates/{}": "",
    "GET /v1/payment_intents": "created[gte] expand[] limit",
    "GET /v1/payment_intents/search": "expand[] limit query",
    "GET /v1/payment_intents/{}": "expand[]",
    "GET /v1/payment_methods/{}": "",
    "GET /v1/refunds": "created[gte] expand[] limit payment_intent",
    "GET /v1/refunds/{}": "expand[]",
    "GET /v1/setup_intents/{}": "expand[]",
    "GET /v1/terminal/readers": "limit location",
    "GET /v1/terminal/readers/{}": "",
    "DELETE /v1/terminal/readers/{}": "",
    "POST /v1/customers": "email metadata[customer] name",
    "POST /v1/customers/{}": "email metadata[customer] name phone",
    "POST /v1/payment_intents": "allowed_payment_method_types[] amount capture_method confirm confirmation_token"
    " currency customer description error_on_requires_action expand[] mandate_data[customer_acceptance][type]"
    " metadata[attempt] off_session payment_method payment_method_options[card][moto]"
    " payment_method_options[card][request_incremental_authorization]"
    " payment_method_options[card][stored_credential_usage]"
    " payment_method_options[card_present][request_incremental_authorization_support] receipt_email return_url"
    " setup_future_usage",
    "POST /v1/payment_intents/{}": "allowed_payment_method_types[] amount capture_method currency expand[]"
    " metadata[attempt]",
    "POST /v1/payment_intents/{}/cancel": "cancellation_reason expand[]",
    "POST /v1/payment_intents/{}/capture": "amount_to_capture expand[]",
    "POST /v1/payment_intents/{}/confirm": "allowed_payment_method_types[] confirmation_token expand[]",
    "POST /v1/payment_intents/{}/increment_authorization": "amount expand[]",
    "POST /v1/payment_intents/{}/verify_microdeposits": "amounts[] descriptor_code expand[]",
    "POST /v1/payment_methods/{}/detach": "",
    "POST /v1/refunds": "amount expand[] metadata[refund] payment_intent reason",
    "POST /v1/setup_intents": "allowed_payment_method_types[] confirm confirmation_token customer expand[]"
    " mandate_data[customer_acceptance][type] metadata[method] payment_method_options[card][moto] return_url usage",
    "POST /v1/terminal/connection_tokens": "location",
    "POST /v1/terminal/locations": "address[city] address[country] address[line1] address[postal_code] address[state]"
    " display_name",
    "POST /v1/terminal/onboarding_links": "link_options[apple_terms_and_conditions][merchant_display_name] link_type",
    "POST /v1/terminal/readers": "label location metadata[reader] registration_code",
    "POST /v1/terminal/readers/{}": "label",
    "POST /v1/terminal/readers/{}/cancel_action": "",
    "POST /v1/terminal/readers/{}/collect_inputs": "inputs[][custom_text][description] inputs[][custom_text][title]"
    " inputs[][required] inputs[][selection][choices][][id] inputs[][selection][choices][][text] inputs[][type]",
    "POST /v1/terminal/readers/{}/process_payment_intent": "payment_intent"
    " process_config[enable_customer_cancellation] process_config[moto] process_config[skip_tipping]"
    " process_config[tipping][amount_eligible]",
    "POST /v1/terminal/readers/{}/refund_payment": "amount metadata[refund] payment_intent"
    " refund_payment_config[enable_customer_cancellation]",
    "POST /v1/terminal/readers/{}/set_reader_display": "cart[currency] cart[line_items][][amount]"
    " cart[line_items][][description] cart[line_items][][quantity] cart[tax] cart[total] type",
    "POST /v1/webhook_endpoints": "description enabled_events[] url",
}
#: In the SDK and in the documentation, but in no published schema: Stripe opens them per account.
GATED = re.compile(r"\[moto\]")


@dataclass
class Record:
    """What was called, and what came of it at the sandbox: method, path, form."""

    methods: set[str] = field(default_factory=set)
    sent: list[tuple[str, str, str]] = field(default_factory=list)


class Noted:
    """The adapter; each method that is called is noted."""

    def __init__(self, processor: StripeProcessor, record: Record) -> None:
        self._processor, self._record = processor, record

    def __getattr__(self, name: str) -> Any:  # any method of the port
        self._record.methods.add(name)
        return getattr(self._processor, name)


@pytest.fixture
def record(
    processor: StripeProcessor, sandbox: PlayAccount, monkeypatch: pytest.MonkeyPatch
) -> Record:
    """After every method of the port was called in every way that changes what is sent."""
    record = Record()
    serve = sandbox.server.api.serve

    async def noting(request: Request) -> Answer:
        is_get = request.method == "GET"
        form = request.query if is_get else request.body.decode()
        record.sent.append((request.method, request.path, form))
        return await serve(request)

    monkeypatch.setattr(sandbox.server.api, "serve", noting)
    walk(Noted(processor, record), sandbox, record)
    return record


def walk(port: Any, sandbox: PlayAccount, record: Record) -> None:  # Any: notes what is called
    """Call everything."""
    began = datetime.now(UTC) - timedelta(hours=1)
    info = port.account()
    assert info.id
    assert port.probe_moto() is True
    customer_id = port.save_customer(
        None, name="Ada", email="a@example.com", phone="", metadata={"customer": "cst_1"}, key="c:1"
    ).id
    port.save_customer(
        customer_id, name="Ada L.", email="ada@example.com", phone="+15550100",
        metadata={"customer": "cst_1"}, key="c:2",
    )  # fmt: skip
    _cards(port, sandbox, customer_id)
    _banks(port, sandbox, customer_id)
    _readers(port, sandbox, record)
    port.add_webhook("https://shop.example", ("charge.failed",), key="acc_1")
    with suppress(NotVerified):
        port.verify_webhook(b"{}", "t=1,v1=0", ["whsec_0"])
    assert list(port.events_since(began))
    assert {past.cursor.partition(":")[0] for past in port.history(began)} == {
        "payment",
        "refund",
        "dispute",
    }


def _cards(port: Any, sandbox: PlayAccount, customer_id: str) -> None:
    paid = port.create_payment(
        order(description="Lamp", receipt_email="a@example.com", customer_id=customer_id,
              save_for="off_session"),
        Confirmation(token=sandbox.token(), moto=True), key="a:1",
    )  # fmt: skip
    port.find_payment("attempt", "att_1")
    sandbox.put_forward(days=1)
    refund = port.refund(
        paid.id, amount_minor=100, reason="duplicate", metadata={"refund": "rfd_1"}, key="r:1"
    )
    port.read_refund(refund.id)
    port.refunds_of(paid.id)
    with suppress(Declined):
        port.create_payment(order(), Confirmation(token=sandbox.token(DECLINED)), key="a:2")
    # Yesterday's are only found by search.
    port.find_payment("attempt", "att_9")
    open_one = port.create_payment(order(), key="a:3")
    port.update_payment(
        open_one.id, amount=Money(900, "USD"), methods=("card",), capture="automatic",
        metadata={"attempt": "att_3"}, key="a:4",
    )  # fmt: skip
    port.confirm_payment(
        open_one.id, Confirmation(token=sandbox.token(DISPUTED)), methods=("card",), key="a:5"
    )
    held = port.create_payment(
        order(capture="manual", ask_incremental=True, methods=("card", "card_present")),
        Confirmation(token=sandbox.token(), return_url="https://shop.example"), key="a:6",
    )  # fmt: skip
    port.increment(held.id, 3000, key="a:7")
    port.capture(held.id, amount_minor=2500, key="a:8")
    waiting = port.create_payment(
        order(),
        Confirmation(token=sandbox.token(NEEDS_3DS), return_url="https://shop.example"),
        key="a:9",
    )
    port.cancel_payment(waiting.id, reason="abandoned", key="a:10")
    setup = port.setup(
        NewSetup(
            customer_id=customer_id, methods=("card",), token=sandbox.token(), moto=True,
            return_url="https://shop.example", metadata={"method": "smt_1"},
        ), key="s:1",
    )  # fmt: skip
    port.read_setup(setup.id)
    port.read_instrument(setup.instrument.processor_id)
    port.instruments_of(customer_id)
    port.create_payment(
        order(customer_id=customer_id),
        Confirmation(
            instrument_id=setup.instrument.processor_id, off_session=True, fail_on_action=True,
            stored_usage="unscheduled",
        ), key="a:11",
    )  # fmt: skip
    port.detach(setup.instrument.processor_id, key="s:2")
    sandbox.put_forward(days=1)
    (dispute,) = port.disputes_of(open_one.id)
    port.read_dispute(dispute.id)


def _banks(port: Any, sandbox: PlayAccount, customer_id: str) -> None:
    debit = port.create_payment(
        order(methods=("us_bank_account",)),
        Confirmation(token=sandbox.bank_token(), mandate_offline=True), key="b:1",
    )  # fmt: skip
    port.read_mandate(debit.charge.instrument.mandate_id)
    proofs: list[dict[str, Any]] = [{"amounts": (32, 45)}, {"code": "SM11AA"}]
    for number, proof in enumerate(proofs):
        asked = port.create_payment(
            order(methods=("us_bank_account",)),
            Confirmation(token=sandbox.bank_token(verified=False)), key=f"b:2:{number}",
        )  # fmt: skip
        port.verify_microdeposits(asked.id, **proof)
    port.setup(
        NewSetup(
            customer_id=customer_id, methods=("us_bank_account",), token=sandbox.bank_token(),
            mandate_offline=True,
        ), key="b:3",
    )  # fmt: skip


def _readers(port: Any, sandbox: PlayAccount, record: Record) -> None:
    place = port.create_location("Main street", ADDRESS, key="l:1")
    reader_id = port.register_reader(
        "simulated-wpe", label="One", location_id=place, metadata={"reader": "rd_1"}, key="l:2"
    ).id
    port.rename_reader(reader_id, "Two")
    port.readers(place)
    port.read_reader(reader_id)
    port.show_cart(
        reader_id, (CartLine(description="Lamp", amount_minor=1000),), Money(1200, "USD"), 200
    )
    questions = (
        ReaderInput(kind="email", title="Receipt", description="Where to?", required=True),
        ReaderInput(kind="selection", title="Bag?", choices=("Yes", "No")),
    )
    port.ask_on_reader(reader_id, questions, key="l:3")
    port.cancel_on_reader(reader_id)
    in_person = port.create_payment(order(methods=("card_present",), capture="manual"), key="l:4")
    port.process_on_reader(
        reader_id,
        in_person.id,
        ReaderPayment(skip_tipping=False, tip_eligible_minor=900),
        key="l:5",
    )
    _present(sandbox, reader_id, record)
    port.capture(in_person.id, key="l:6")
    port.refund_on_reader(
        reader_id,
        payment_id=in_person.id,
        amount_minor=100,
        metadata={"refund": "rfd_1"},
        key="l:7",
    )
    port.cancel_on_reader(reader_id)
    by_hand = port.create_payment(order(methods=("card",)), key="l:8")
    with suppress(ProcessorError):
        port.process_on_reader(reader_id, by_hand.id, ReaderPayment(moto=True), key="l:9")
    with suppress(ProcessorError):
        port.cancel_on_reader(reader_id)
    port.connection_token(place)
    port.onboarding_link("Café Lumière")
    port.read_payment(in_person.id)
    port.remove_reader(reader_id)


def _present(sandbox: PlayAccount, reader_id: str, record: Record) -> None:
    sandbox.server.client().v1.test_helpers.terminal.readers.present_payment_method(reader_id)
    # That was the customer, not the adapter.
    record.sent.pop()


def order(**facts: Any) -> NewIntent:
    methods = facts.pop("methods", ("card",))
    return NewIntent(
        amount=Money(2000, "USD"), methods=methods, metadata={"attempt": "att_1"}, **facts
    )


def test_only_what_stripe_documents_is_sent(record: Record, sandbox: PlayAccount) -> None:
    """The walk is complete, the schema finds nothing, and the list of calls above is what was sent."""
    port = {name for name in vars(Processor) if not name.startswith("_")}
    assert record.methods == port

    judge = RequestJudge(sandbox.server.api)
    problems = {
        f"{method} {path}: {problem}"
        for method, path, form in record.sent
        for problem in judge.problems(method, path, form)
        if not GATED.search(problem)
    }
    assert problems == set()

    assert {call: " ".join(sorted(names)) for call, names in _calls(record).items()} == {
        call: " ".join(sorted(names.split())) for call, names in DOCUMENTED.items()
    }


def test_no_card_number_and_no_removed_parameter_is_ever_sent(record: Record) -> None:
    everything = " ".join(f"{path} {form}" for _, path, form in record.sent)

    assert not re.search(r"(?<!\d)\d{13,19}(?!\d)", everything)
    assert "payment_method_types" not in everything.replace("allowed_payment_method_types", "")
    assert "number" not in {
        name for _, _, form in record.sent for name in re.split(r"[\[\]=&]|%5B|%5D", form)
    }


def _calls(record: Record) -> dict[str, set[str]]:
    calls: defaultdict[str, set[str]] = defaultdict(set)
    for method, path, form in record.sent:
        where = re.sub(r"/(?:[a-z]+_[0-9A-Za-z]*[0-9A-Z][0-9A-Za-z]*)(?=/|$)", "/{}", path)
        names = {re.sub(r"\[\d+\]", "[]", name) for name in fields_of(form)}
        calls[f"{method} {where}"] |= names - {"starting_after"}
    return dict(calls)
