"""Who and what the demo's shop has before its first customer: people, two locations, a code for the till."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import update

from control_plane.accounts import queries as accounts
from control_plane.accounts import service
from control_plane.accounts.caller import Caller, CallerKind
from control_plane.accounts.passwords import Passwords
from control_plane.accounts.permissions import Permission, Role
from control_plane.accounts.sign_in import scope_of
from control_plane.audit.actor import SYSTEM
from control_plane.db.unit_of_work import Transaction
from control_plane.devices.enrollment import issue_code
from control_plane.web.visits import DemoSignIns
from protocols.secret import Secret

#: Good enough for an address that only this machine can reach.
PASSWORD: Final = "omnitill-demo"  # noqa: S105 - it is printed when the demo starts
ORGANISATION: Final = "Maison Lumière"
SHOP: Final = "Lyon, Place Bellecour"
OTHER_SHOP: Final = "Paris, Canal Saint-Martin"

_PEOPLE: Final = (
    (Role.CASHIER, "Camille Roux"),
    (Role.MANAGER, "Marc Delorme"),
    (Role.IT, "Inès Haddad"),
    (Role.ACCOUNTANT, "Paul Weber"),
    (Role.OWNER, "Nora Lambert"),
)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who can sign in with ``PASSWORD``."""

    role: Role
    name: str
    email: str


ROLES: Final = tuple(role for role, _ in _PEOPLE)
PEOPLE: Final = tuple(Person(role, name, f"{role.value}@lumiere.example") for role, name in _PEOPLE)


@dataclass(frozen=True, slots=True)
class Shop:
    """The organisation of the demo."""

    merchant_id: str
    location_id: str
    other_location_id: str
    is_new: bool


def sign_ins() -> DemoSignIns:
    """What the sign-in page offers to copy."""
    return DemoSignIns(tuple((one.role.value, one.email, PASSWORD) for one in PEOPLE))


def furnish(db: Transaction, passwords: Passwords, *, language: str | None = None) -> Shop:
    """The demo's organisation: made now, or found as an earlier run left it in the same database."""
    for merchant in accounts.merchants(db):
        if merchant.name == ORGANISATION:
            return _found(db, merchant.id)
    merchant_id = service.create_merchant(db, ORGANISATION, currency="EUR")
    location_id, other_location_id = (
        service.create_location(db, merchant_id, name, time_zone="Europe/Paris")
        for name in (SHOP, OTHER_SHOP)
    )
    password_hash = passwords.hash(PASSWORD)
    for person in PEOPLE:
        service.create_user(
            db,
            merchant_id,
            email=person.email,
            name=person.name,
            role=person.role,
            password_hash=password_hash,
        )
    if language is not None:
        db.execute(update(accounts.USERS).values(language=language))
    return Shop(merchant_id, location_id, other_location_id, is_new=True)


def enrolment_code(db: Transaction, merchant_id: str, location_id: str) -> Secret[str]:
    """A code for one box, good for an hour."""
    scope = scope_of(merchant_id, Role.OWNER, None)
    _, code = issue_code(
        db, scope, location_id, by=SYSTEM, note="demo", lifetime=timedelta(hours=1)
    )
    return code


def caller(db: Transaction, merchant_id: str, role: Role) -> Caller:
    """The person of a role, as the one who acts."""
    email = next(one.email for one in PEOPLE if one.role is role)
    person = db.execute(accounts.USERS.select().where(accounts.USERS.c.email == email)).one()
    return Caller(
        kind=CallerKind.USER,
        id=person.id,
        name=person.name,
        scope=scope_of(merchant_id, role, None),
    )


def api_key(db: Transaction, merchant_id: str) -> Secret[str]:
    """A key for the public API that may do what a shop does every day."""
    owner = Caller(
        kind=CallerKind.USER,
        id="system",
        name="Omnitill",
        scope=scope_of(merchant_id, Role.OWNER, None),
    )
    _, token = service.create_api_key(
        db,
        owner,
        name="demo --check",
        permissions=[
            Permission.PAYMENT_SESSION_CREATE,
            Permission.PAYMENT_SESSION_CANCEL,
            Permission.PAYMENT_SESSION_VIEW,
            Permission.PAYMENT_CHARGE_CREATE,
            Permission.PAYMENT_REFUND_CREATE,
            Permission.PAYMENT_VIEW,
            Permission.TRANSACTION_VIEW,
            Permission.READER_VIEW,
        ],
    )
    return token


def _found(db: Transaction, merchant_id: str) -> Shop:
    scope = scope_of(merchant_id, Role.OWNER, None)
    ids = {row.name: row.id for row in db.execute(accounts.locations_of(scope))}
    return Shop(merchant_id, ids[SHOP], ids[OTHER_SHOP], is_new=False)
