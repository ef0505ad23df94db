"""Saving a card or an account without a charge, against the sandbox, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
from sqlalchemy import func, select

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Role
from control_plane.customers import methods, queries, service
from control_plane.customers.errors import ConsentMissing, CustomerArchived
from control_plane.customers.models import METHODS, ConsentHow, MandateStatus, MethodStatus
from control_plane.customers.service import Details
from control_plane.errors import NotFound
from control_plane.jobs.catalog import all_jobs
from control_plane.jobs.worker import Worker
from control_plane.sandbox.faults import FaultKind
from control_plane.virtual_terminal import saved_methods
from control_plane.virtual_terminal.desk import Desk
from control_plane.virtual_terminal.errors import (
    AnswerLost,
    NotConnected,
    ProcessorRefused,
    SavingDeclined,
)
from control_plane.virtual_terminal.office import Office
from control_plane.virtual_terminal.processor import Processors
from control_plane.virtual_terminal.saved_methods import SaveOutcome, SaveWish
from tests.fixtures.virtual_terminal import Connected
from tests.support.play_account import DECLINED, NEEDS_3DS, VISA

WORDS = "You may charge my card for the orders that I place by telephone."
Kind = Literal["card", "us_bank_account", "sepa_debit"]
Save = Callable[..., SaveOutcome]


@pytest.fixture
def office(connected: Connected) -> Office:
    parts = connected.parts
    return Office(parts.database, parts.get(Processors), parts.clock)


@pytest.fixture
def caller(connected: Connected) -> Caller:
    return connected.make.caller(connected.merchant_id, Role.CASHIER)


@pytest.fixture
def customer_id(connected: Connected, caller: Caller) -> str:
    with connected.parts.database.transaction() as db:
        return service.create_customer(
            db, caller, Details(name="Jeanne Dupont", email="jeanne@example.com")
        )


@pytest.fixture
def save(office: Office, caller: Caller, customer_id: str) -> Save:
    def saved(token: str, kind: Kind = "card", *, how: str = "in_person") -> SaveOutcome:
        wish = SaveWish(
            customer_id=customer_id, token=token, kind=kind, consent_text=WORDS, consent_how=how
        )
        return saved_methods.save(office, caller, wish)

    return saved


def row_of(connected: Connected, caller: Caller, method_id: str | None) -> Any:  # a row
    with connected.parts.database.reading_connection() as db:
        return queries.method(db, caller.scope, method_id or "")


def count(connected: Connected) -> int:
    with connected.parts.database.reading_connection() as db:
        return db.execute(select(func.count()).select_from(METHODS)).scalar_one()


def test_a_card_is_saved_with_consent_and_nothing_is_charged(
    connected: Connected, caller: Caller, customer_id: str, save: Save
) -> None:
    outcome = save(connected.sandbox.token())

    row = row_of(connected, caller, outcome.method_id)
    assert (row.brand, row.last4, row.exp_month, row.exp_year) == ("visa", "4242", 12, 2034)
    assert (row.status, row.is_default) == (MethodStatus.ACTIVE, True)
    assert (row.consent_text, row.consent_how) == (WORDS, ConsentHow.IN_PERSON)
    assert row.fingerprint
    with connected.parts.database.reading_connection() as db:
        customer = queries.customer(db, caller.scope, customer_id)
    (theirs,) = connected.sandbox.objects("customer")
    assert customer is not None
    assert (customer.processor_id, theirs["email"]) == (theirs["id"], "jeanne@example.com")
    assert connected.sandbox.taken() == []


def test_the_same_form_again_saves_nothing_again(connected: Connected, save: Save) -> None:
    token = connected.sandbox.token()

    first, second = save(token), save(token)

    assert first == second
    assert count(connected) == 1
    assert len(connected.sandbox.objects("setup_intent")) == 1


def test_an_answer_that_was_lost_is_fetched_by_sending_the_form_again(
    connected: Connected, caller: Caller, save: Save
) -> None:
    save(connected.sandbox.token("5555555555554444"))
    token = connected.sandbox.token()
    connected.sandbox.fault(FaultKind.LOST_ANSWER, "POST /v1/setup_intents", times=9)
    with pytest.raises(AnswerLost):
        save(token)
    assert count(connected) == 1

    connected.sandbox.engine.faults.clear()
    outcome = save(token)

    assert row_of(connected, caller, outcome.method_id).last4 == "4242"
    assert len(connected.sandbox.objects("setup_intent")) == 2


def test_a_card_that_the_bank_refuses_is_not_saved(connected: Connected, save: Save) -> None:
    with pytest.raises(SavingDeclined) as refused:
        save(connected.sandbox.token(DECLINED))

    assert refused.value.facts["decline_code"] in {"generic_decline", "card_declined"}
    assert count(connected) == 0


def test_without_consent_nobody_is_asked(connected: Connected, save: Save) -> None:
    with pytest.raises(ConsentMissing):
        save(connected.sandbox.token(), how="by owl")

    assert connected.sandbox.objects("customer") == []
    assert count(connected) == 0


def test_by_telephone_no_bank_asks_the_payer(connected: Connected, save: Save) -> None:
    outcome = save(connected.sandbox.token(NEEDS_3DS), how="phone")

    assert outcome.action is None
    assert outcome.method_id is not None


def test_a_payer_who_is_there_confirms_first(
    connected: Connected, office: Office, caller: Caller, customer_id: str, save: Save
) -> None:
    outcome = save(connected.sandbox.token(NEEDS_3DS), how="in_person")
    assert (outcome.method_id, outcome.action) == (None, "use_stripe_sdk")
    assert outcome.client_secret
    assert outcome.handle is not None
    assert count(connected) == 0

    stranger = connected.make.caller(connected.make.merchant("Elsewhere"), Role.OWNER)
    for who, handle in ((stranger, outcome.handle), (caller, f"{outcome.handle[:-4]}AAAA")):
        with pytest.raises(NotFound):
            saved_methods.finish_saving(
                office, who, customer_id, handle, consent_text=WORDS, consent_how="in_person"
            )
    again = saved_methods.finish_saving(
        office, caller, customer_id, outcome.handle, consent_text=WORDS, consent_how="in_person"
    )

    assert (again.method_id, again.action) == (None, "use_stripe_sdk")
    assert count(connected) == 0


@pytest.mark.parametrize("kind", ["us_bank_account", "sepa_debit"])
def test_a_bank_account_is_saved_with_its_mandate(
    connected: Connected, caller: Caller, save: Save, kind: Kind
) -> None:
    outcome = save(connected.sandbox.bank_token(kind), kind, how="paper")

    row = row_of(connected, caller, outcome.method_id)
    assert (row.kind.value, row.status) == (kind, MethodStatus.ACTIVE)
    assert row.mandate_id.startswith("mandate_")
    assert row.mandate_status is MandateStatus.ACTIVE
    assert row.last4.isdecimal()


def test_a_bank_account_that_waits_for_two_small_payments_cannot_be_charged_yet(
    connected: Connected, caller: Caller, save: Save
) -> None:
    outcome = save(connected.sandbox.bank_token(verified=False), "us_bank_account", how="paper")

    assert outcome.action == "verify_with_microdeposits"
    assert row_of(connected, caller, outcome.method_id).status is MethodStatus.PENDING


def test_what_is_removed_here_is_forgotten_by_the_processor(
    connected: Connected, caller: Caller, save: Save
) -> None:
    outcome = save(connected.sandbox.token(VISA))
    with connected.parts.database.transaction() as db:
        methods.remove_method(db, caller, outcome.method_id or "")
    assert [one["customer"] is None for one in connected.sandbox.objects("payment_method")] == [
        False
    ]

    worker = Worker(connected.parts, {methods.DETACH: all_jobs()[methods.DETACH]}, threads=0)
    assert worker.run_one()

    assert [one["customer"] for one in connected.sandbox.objects("payment_method")] == [None]
    assert not worker.run_one()


def test_forgetting_what_is_gone_is_done_at_once(connected: Connected, office: Office) -> None:
    saved_methods.forget(office, connected.merchant_id, "pm_unknown")
    saved_methods.forget(office, connected.make.merchant("Elsewhere"), "pm_unknown")


def test_a_token_that_is_none_says_so(connected: Connected, save: Save) -> None:
    with pytest.raises(ProcessorRefused):
        save("ctoken_unknown")

    assert count(connected) == 0


def test_nothing_is_saved_for_an_archived_customer_or_without_an_account(
    connected: Connected, office: Office, caller: Caller, customer_id: str, save: Save
) -> None:
    with connected.parts.database.transaction() as db:
        service.archive_customer(db, caller, customer_id)
    with pytest.raises(CustomerArchived):
        save(connected.sandbox.token())

    elsewhere = connected.make.caller(connected.make.merchant("Elsewhere"), Role.OWNER)
    wish = SaveWish(
        customer_id=customer_id, token="ctoken_1", kind="card",
        consent_text=WORDS, consent_how="phone",
    )  # fmt: skip
    with pytest.raises(NotConnected):
        saved_methods.save(office, elsewhere, wish)
    assert count(connected) == 0


def test_the_desk_is_where_jobs_find_the_office(connected: Connected) -> None:
    assert isinstance(connected.parts.get(Desk).office, Office)
