"""Customers on both databases: found as one types, changed, put away; and never anybody else's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Role
from control_plane.audit.models import AuditEvent
from control_plane.audit.tags import AuditTag
from control_plane.customers import queries, service
from control_plane.customers.errors import (
    CountryNotRecognised,
    CustomerArchived,
    EmailNotRecognised,
    NameMissing,
    PhoneNotRecognised,
)
from control_plane.customers.models import CUSTOMERS, WORDS
from control_plane.customers.queries import CustomerFilter
from control_plane.customers.service import Details
from control_plane.db.columns import table_of
from control_plane.errors import DomainError, NotFound
from control_plane.parts import Parts
from tests.fakes.clock import FakeClock
from tests.fixtures.control_plane import Factory

EVENTS = table_of(AuditEvent)
JEANNE = Details(
    name="Jeanne-Marie Dupont",
    email="Jeanne.Dupont@Example.com",
    phone="+33 6 12 34 56 78",
    address={"line1": "1 rue de la Paix", "city": "Paris", "country": "fr"},
    language="fr",
)
BAKERY = Details(name="", company="Boulangerie Été", phone="04 78 00 11 22")

Add = Callable[[Details], str]


@pytest.fixture
def caller(make: Factory) -> Caller:
    return make.caller(make.merchant(), Role.CASHIER)


@pytest.fixture
def add(parts: Parts, caller: Caller) -> Add:
    """Add a customer of the caller's merchant."""

    def added(details: Details) -> str:
        with parts.database.transaction() as db:
            return service.create_customer(db, caller, details)

    return added


def found(parts: Parts, caller: Caller, text: str, **wanted: Any) -> list[str]:
    with parts.database.reading_connection() as db:
        rows = queries.customers(db, caller.scope, CustomerFilter(text=text, **wanted))
    return [row.id for row in rows]


def tags(parts: Parts) -> list[str]:
    with parts.database.reading_connection() as db:
        return list(
            db.execute(
                select(EVENTS.c.tag)
                .where(EVENTS.c.tag.startswith("customer:"))
                .order_by(EVENTS.c.seq)
            ).scalars()
        )


@pytest.mark.parametrize(
    "text",
    ["jean", "DUPONT", "marie dup", "jeanne.dup", "example.com", "06 12 34", "+33612", "5678"],
)
def test_a_customer_is_found_while_one_types(
    parts: Parts, caller: Caller, add: Add, text: str
) -> None:
    jeanne = add(JEANNE)
    add(BAKERY)

    assert found(parts, caller, text) == [jeanne]


@pytest.mark.parametrize("text", ["upont", "jean durand", "0612 99", "100%", "été jeanne"])
def test_what_matches_only_in_part_is_not_found(
    parts: Parts, caller: Caller, add: Add, text: str
) -> None:
    add(JEANNE)
    add(BAKERY)

    assert found(parts, caller, text) == []


@pytest.mark.parametrize("text", ["", "  ", "_", "'%"])
def test_signs_alone_narrow_nothing(parts: Parts, caller: Caller, add: Add, text: str) -> None:
    add(JEANNE)
    add(BAKERY)

    assert len(found(parts, caller, text)) == 2


def test_nothing_typed_lists_the_latest_first(
    parts: Parts, caller: Caller, add: Add, clock: FakeClock
) -> None:
    jeanne = add(JEANNE)
    clock.advance(60)
    bakery = add(BAKERY)
    assert found(parts, caller, "") == [bakery, jeanne]

    clock.advance(60)
    with parts.database.transaction() as db:
        service.note_used(db, caller.merchant_id, jeanne)

    assert found(parts, caller, "") == [jeanne, bakery]


def test_details_are_stored_tidied(parts: Parts, caller: Caller, add: Add) -> None:
    jeanne = add(JEANNE)

    with parts.database.reading_connection() as db:
        row = queries.customer(db, caller.scope, jeanne)

    assert row is not None
    assert row.email == "jeanne.dupont@example.com"
    assert row.address == {"line1": "1 rue de la Paix", "city": "Paris", "country": "FR"}
    assert row.language == "fr"


@pytest.mark.parametrize(
    ("details", "refusal"),
    [
        (Details(email="a@example.com"), NameMissing),
        (Details(name="   "), NameMissing),
        (Details(name="A", email="nobody"), EmailNotRecognised),
        (Details(name="A", email="a@example.com\nBcc: b@example.com"), EmailNotRecognised),
        (Details(name="A", phone="call me"), PhoneNotRecognised),
        (Details(name="A", phone="4242 4242 4242 4242"), PhoneNotRecognised),
        (Details(name="A", address={"country": "France"}), CountryNotRecognised),
        (Details(name="A", address={"planet": "Mars"}), DomainError),
        (Details(name="A", language="tlh"), DomainError),
    ],
)
def test_details_that_cannot_be_are_refused_and_nothing_is_stored(
    parts: Parts, caller: Caller, add: Add, details: Details, refusal: type[DomainError]
) -> None:
    with pytest.raises(refusal):
        add(details)

    with parts.database.reading_connection() as db:
        assert db.execute(select(func.count()).select_from(CUSTOMERS)).scalar_one() == 0
        assert db.execute(select(func.count()).select_from(WORDS)).scalar_one() == 0
    assert tags(parts) == []


def test_a_card_number_in_a_free_text_is_masked(parts: Parts, caller: Caller, add: Add) -> None:
    number = "4242 4242 4242 4242"
    customer = add(Details(name=f"A {number}", company=number, note=f"card {number} 12/30"))

    with parts.database.reading_connection() as db:
        row = queries.customer(db, caller.scope, customer)
        words = db.execute(select(WORDS.c.word)).scalars().all()

    assert row is not None
    assert row.note == "card 4242 42** **** 4242 12/30"
    assert number not in f"{row.name} {row.company}"
    assert all(len(word) < 8 for word in words)


def test_a_change_is_found_under_its_new_name_only_and_logged_without_it(
    parts: Parts, caller: Caller, add: Add
) -> None:
    jeanne = add(JEANNE)

    with parts.database.transaction() as db:
        service.update_customer(db, caller, jeanne, {"name": "Jeanne Moreau", "note": "regular"})

    assert found(parts, caller, "marie") == []
    assert found(parts, caller, "moreau") == [jeanne]
    assert tags(parts) == [AuditTag.CUSTOMER_CREATE, AuditTag.CUSTOMER_UPDATE]
    with parts.database.reading_connection() as db:
        after = db.execute(
            select(EVENTS.c.after).where(EVENTS.c.tag == AuditTag.CUSTOMER_UPDATE.value)
        ).scalar_one()
    assert after == {"changed": ["name", "note"]}


def test_a_change_to_the_same_leaves_no_trace(parts: Parts, caller: Caller, add: Add) -> None:
    jeanne = add(JEANNE)

    with parts.database.transaction() as db:
        service.update_customer(db, caller, jeanne, {"name": JEANNE.name, "email": JEANNE.email})

    assert tags(parts) == [AuditTag.CUSTOMER_CREATE]


def test_an_archived_customer_is_not_found_or_changed_until_brought_back(
    parts: Parts, caller: Caller, add: Add
) -> None:
    jeanne = add(JEANNE)
    with parts.database.transaction() as db:
        service.archive_customer(db, caller, jeanne)
        service.archive_customer(db, caller, jeanne)

    assert found(parts, caller, "jean") == []
    assert found(parts, caller, "jean", with_archived=True) == [jeanne]
    with (
        pytest.raises(CustomerArchived, match="Jeanne-Marie Dupont is archived"),
        parts.database.transaction() as db,
    ):
        service.update_customer(db, caller, jeanne, {"name": "X"})

    with parts.database.transaction() as db:
        service.restore_customer(db, caller, jeanne)
    assert found(parts, caller, "jean") == [jeanne]
    assert tags(parts) == [
        AuditTag.CUSTOMER_CREATE,
        AuditTag.CUSTOMER_ARCHIVE,
        AuditTag.CUSTOMER_RESTORE,
    ]


def test_customers_of_another_merchant_are_not_there(
    parts: Parts, make: Factory, caller: Caller, add: Add
) -> None:
    jeanne = add(JEANNE)
    stranger = make.caller(make.merchant("Elsewhere"), Role.OWNER)

    assert found(parts, stranger, "jean") == []
    with parts.database.reading_connection() as db:
        assert queries.names(db, stranger.scope, {jeanne}) == {}
        assert queries.names(db, caller.scope, {jeanne}) == {jeanne: JEANNE.name}
    with pytest.raises(NotFound), parts.database.transaction() as db:
        service.update_customer(db, stranger, jeanne, {"name": "Mine"})
    assert found(parts, caller, "dupont") == [jeanne]


def test_the_processors_number_is_taken_once(parts: Parts, caller: Caller, add: Add) -> None:
    jeanne = add(JEANNE)

    with parts.database.transaction() as db:
        first = service.link_processor(db, caller.merchant_id, jeanne, "cus_1")
        second = service.link_processor(db, caller.merchant_id, jeanne, "cus_2")
        by_number = queries.by_processor_id(db, caller.merchant_id, "cus_1")

    assert (first, second) == ("cus_1", "cus_1")
    assert by_number is not None
    assert by_number.id == jeanne
