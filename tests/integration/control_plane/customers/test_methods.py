"""Saved methods on both databases: consent first, one usual method, what the processor says, and removal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from sqlalchemy import func, select

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Role
from control_plane.customers import methods, queries, service
from control_plane.customers.errors import (
    ConsentMissing,
    CustomerArchived,
    MethodNotConfirmed,
    MethodNotUsable,
)
from control_plane.customers.methods import Consent, Kept
from control_plane.customers.models import (
    METHODS,
    ConsentHow,
    MandateStatus,
    MethodKind,
    MethodStatus,
)
from control_plane.customers.queries import CustomerFilter
from control_plane.customers.service import Details
from control_plane.errors import NotFound
from control_plane.outbox import JOBS
from control_plane.parts import Parts
from tests.fakes.clock import FakeClock
from tests.fixtures.control_plane import Factory

VISA = Kept(
    kind=MethodKind.CARD,
    processor_id="pm_visa",
    brand="visa",
    last4="4242",
    exp_month=11,
    exp_year=2026,
    fingerprint="fp_visa",
    funding="credit",
)
AMEX = replace(VISA, processor_id="pm_amex", brand="amex", last4="0005", fingerprint="fp_amex")
SEPA = Kept(
    kind=MethodKind.SEPA_DEBIT,
    processor_id="pm_sepa",
    last4="3000",
    fingerprint="fp_sepa",
    mandate_id="mandate_1",
    mandate_status=MandateStatus.PENDING,
    is_confirmed=False,
)
CONSENT = Consent(text="You may charge my card for orders by telephone.", how=ConsentHow.PHONE)

Save = Callable[[Kept], str]


@pytest.fixture
def caller(make: Factory) -> Caller:
    return make.caller(make.merchant(), Role.CASHIER)


@pytest.fixture
def customer_id(parts: Parts, caller: Caller) -> str:
    with parts.database.transaction() as db:
        return service.create_customer(db, caller, Details(name="Jeanne Dupont"))


@pytest.fixture
def save(parts: Parts, caller: Caller, customer_id: str) -> Save:
    def saved(kept: Kept) -> str:
        with parts.database.transaction() as db:
            return methods.save_method(
                db, caller.merchant_id, caller.actor, customer_id, kept, CONSENT
            )

    return saved


def method(parts: Parts, caller: Caller, method_id: str) -> Any:  # a row
    with parts.database.reading_connection() as db:
        return queries.method(db, caller.scope, method_id)


def listed(parts: Parts, caller: Caller, customer_id: str) -> list[tuple[str, bool]]:
    with parts.database.reading_connection() as db:
        rows = queries.methods(db, caller.scope, customer_id)
    return [(row.id, row.is_default) for row in rows]


def detached(parts: Parts) -> list[str]:
    with parts.database.reading_connection() as db:
        rows = db.execute(select(JOBS.c.payload).where(JOBS.c.kind == methods.DETACH)).scalars()
        return [payload["processor_id"] for payload in rows]


def test_a_card_is_kept_with_the_consent_that_was_given(
    parts: Parts, caller: Caller, customer_id: str, save: Save, clock: FakeClock
) -> None:
    saved = save(VISA)

    row = method(parts, caller, saved)
    assert (row.consent_text, row.consent_how) == (CONSENT.text, ConsentHow.PHONE)
    assert (row.consent_by, row.consent_by_name) == (caller.id, caller.name)
    assert row.consent_at == clock.now()
    assert listed(parts, caller, customer_id) == [(saved, True)]


@pytest.mark.parametrize(("text", "how"), [("", "phone"), ("ok", "phone"), ("A long text", "fax")])
def test_there_is_no_consent_without_words_or_a_way(text: str, how: str) -> None:
    with pytest.raises(ConsentMissing):
        methods.checked_consent(text, how)


def test_a_card_number_in_a_consent_is_masked() -> None:
    consent = methods.checked_consent("You may charge 4242 4242 4242 4242.", "paper")

    assert consent == Consent(text="You may charge 4242 42** **** 4242.", how=ConsentHow.PAPER)


def test_a_customer_is_found_by_the_last_four_of_a_card_until_it_is_removed(
    parts: Parts, caller: Caller, customer_id: str, save: Save
) -> None:
    saved = save(VISA)
    wanted = CustomerFilter(text="dupont 4242")
    with parts.database.reading_connection() as db:
        assert [row.id for row in queries.customers(db, caller.scope, wanted)] == [customer_id]

    with parts.database.transaction() as db:
        methods.remove_method(db, caller, saved)

    with parts.database.reading_connection() as db:
        assert queries.customers(db, caller.scope, wanted) == []


def test_the_same_method_told_twice_is_kept_once(
    parts: Parts, caller: Caller, customer_id: str, save: Save
) -> None:
    assert save(VISA) == save(replace(VISA, exp_year=2029))

    assert len(listed(parts, caller, customer_id)) == 1
    with parts.database.reading_connection() as db:
        assert db.execute(select(func.count()).select_from(METHODS)).scalar_one() == 1


def test_the_same_card_saved_again_takes_the_place_of_the_older(
    parts: Parts, caller: Caller, customer_id: str, save: Save
) -> None:
    save(VISA)
    amex = save(AMEX)

    newer = save(replace(VISA, processor_id="pm_visa_2"))

    assert listed(parts, caller, customer_id) == [(newer, True), (amex, False)]
    assert detached(parts) == ["pm_visa"]


def test_another_is_made_the_usual_one(
    parts: Parts, caller: Caller, customer_id: str, save: Save
) -> None:
    visa, amex = save(VISA), save(AMEX)

    with parts.database.transaction() as db:
        methods.prefer_method(db, caller, amex)

    assert listed(parts, caller, customer_id) == [(amex, True), (visa, False)]


def test_a_removed_method_is_forgotten_by_the_processor_once_and_the_next_becomes_usual(
    parts: Parts, caller: Caller, customer_id: str, save: Save
) -> None:
    visa, amex = save(VISA), save(AMEX)

    with parts.database.transaction() as db:
        methods.remove_method(db, caller, visa)
        methods.remove_method(db, caller, visa)

    assert listed(parts, caller, customer_id) == [(amex, True)]
    assert detached(parts) == ["pm_visa"]
    with parts.database.transaction() as db, pytest.raises(MethodNotUsable, match="Visa •• 4242"):
        methods.chargeable(db, caller, visa)


def test_a_bank_account_is_charged_only_once_its_mandate_is_in_force(
    parts: Parts, caller: Caller, save: Save
) -> None:
    saved = save(SEPA)
    with parts.database.transaction() as db:
        with pytest.raises(MethodNotConfirmed, match="SEPA •• 3000"):
            methods.chargeable(db, caller, saved)

        assert methods.note_mandate(db, caller.merchant_id, "mandate_1", MandateStatus.ACTIVE) == 1
        assert methods.chargeable(db, caller, saved).id == saved

        methods.note_mandate(db, caller.merchant_id, "mandate_1", MandateStatus.INACTIVE)
        with pytest.raises(MethodNotUsable):
            methods.chargeable(db, caller, saved)


def test_a_card_that_its_bank_renewed_works_again(parts: Parts, caller: Caller, save: Save) -> None:
    saved = save(VISA)
    with parts.database.transaction() as db:
        methods.note_refused(db, caller.merchant_id, saved, "expired_card", expired=True)
    assert method(parts, caller, saved).status is MethodStatus.EXPIRED

    renewed = replace(VISA, last4="1881", exp_year=2030, fingerprint="fp_new")
    with parts.database.transaction() as db:
        assert methods.note_updated(db, caller.merchant_id, renewed)

    row = method(parts, caller, saved)
    assert (row.last4, row.exp_year, row.status) == ("1881", 2030, MethodStatus.ACTIVE)
    assert row.consent_text == CONSENT.text
    with parts.database.reading_connection() as db:
        assert len(queries.customers(db, caller.scope, CustomerFilter(text="1881"))) == 1
        assert queries.customers(db, caller.scope, CustomerFilter(text="4242")) == []


def test_news_of_a_removed_or_unknown_method_change_nothing(
    parts: Parts, caller: Caller, save: Save
) -> None:
    saved = save(VISA)
    with parts.database.transaction() as db:
        methods.remove_method(db, caller, saved)

        assert not methods.note_updated(db, caller.merchant_id, replace(VISA, last4="9999"))
        assert not methods.note_updated(db, caller.merchant_id, replace(VISA, processor_id="pm_x"))
        assert not methods.note_detached(db, caller.merchant_id, "pm_visa")
        methods.note_refused(db, caller.merchant_id, saved, "stolen_card")

    row = method(parts, caller, saved)
    assert (row.last4, row.status) == ("4242", MethodStatus.REMOVED)


def test_a_method_that_the_processor_let_go_is_removed_without_telling_it_back(
    parts: Parts, caller: Caller, customer_id: str, save: Save
) -> None:
    save(VISA)

    with parts.database.transaction() as db:
        assert methods.note_detached(db, caller.merchant_id, "pm_visa")

    assert listed(parts, caller, customer_id) == []
    assert detached(parts) == []


def test_nothing_of_an_archived_customer_is_charged(
    parts: Parts, caller: Caller, customer_id: str, save: Save
) -> None:
    saved = save(VISA)
    with parts.database.transaction() as db:
        service.archive_customer(db, caller, customer_id)

        with pytest.raises(CustomerArchived):
            methods.chargeable(db, caller, saved)


def test_another_merchant_sees_and_touches_no_method(
    parts: Parts, make: Factory, caller: Caller, customer_id: str, save: Save
) -> None:
    saved = save(VISA)
    stranger = make.caller(make.merchant("Elsewhere"), Role.OWNER)

    with parts.database.transaction() as db:
        for refused in (methods.remove_method, methods.prefer_method, methods.chargeable):
            with pytest.raises(NotFound):
                refused(db, stranger, saved)
        assert queries.methods(db, stranger.scope, customer_id) == []
        assert not methods.note_detached(db, stranger.merchant_id, "pm_visa")

    assert method(parts, caller, saved).status is MethodStatus.ACTIVE


def test_cards_that_expire_are_listed_the_soonest_first(
    parts: Parts, caller: Caller, save: Save
) -> None:
    save(replace(AMEX, exp_month=2, exp_year=2027))
    december = save(replace(AMEX, processor_id="pm_2", fingerprint="2", exp_month=12))
    past = save(replace(VISA, exp_month=3, exp_year=2024))
    november = save(replace(AMEX, processor_id="pm_3", fingerprint="3"))
    save(SEPA)

    with parts.database.reading_connection() as db:
        rows = queries.expiring_cards(db, caller.scope, date(2026, 11, 23))

    assert [row.id for row in rows] == [past, november, december]
    assert rows[0].customer_name == "Jeanne Dupont"
