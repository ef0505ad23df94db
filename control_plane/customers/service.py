"""Rules about customers. What they let us keep is in ``methods``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from sqlalchemy import delete, insert, update

from control_plane.accounts.caller import Caller
from control_plane.accounts.service import normalized_email
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.customers import queries
from control_plane.customers.errors import (
    CountryNotRecognised,
    CustomerArchived,
    EmailNotRecognised,
    NameMissing,
    PhoneNotRecognised,
)
from control_plane.customers.models import CUSTOMERS, WORDS
from control_plane.customers.queries import Found
from control_plane.customers.words import words_of
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.errors import NotFound, RequestRefused
from protocols.ids import new_id
from protocols.readers.emv import redact_card_numbers

#: What customers are written to in.
LANGUAGES: Final = ("en", "fr")
ADDRESS_PARTS: Final = ("line1", "line2", "city", "state", "postal_code", "country")
_FEWEST_DIGITS: Final = 4
_IN_A_PHONE_NUMBER: Final = frozenset("0123456789 +-./()\u00a0")
#: Lengths of columns, for who asks before the database does.
LENGTHS: Final = {"name": 200, "company": 200, "phone": 40, "note": 2000, "address": 200}


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What is known of a customer. Free texts may hold anything; card numbers in them are masked."""

    name: str = ""
    email: str = ""
    phone: str = ""
    company: str = ""
    address: Mapping[str, str] = field(default_factory=dict)
    language: str | None = None
    note: str = ""


def create_customer(db: Transaction, caller: Caller, details: Details) -> str:
    """A new customer; returns the id. Raises what is in ``errors`` for details that cannot be."""
    values = _checked(details)
    customer_id = new_id("cst")
    now = context_of(db).clock.now()
    db.execute(
        insert(CUSTOMERS).values(
            id=customer_id,
            merchant_id=caller.merchant_id,
            created_at=now,
            updated_at=now,
            used_at=now,
            **values,
        )
    )
    index(db, caller.merchant_id, customer_id)
    record(
        db, caller.merchant_id, caller.actor, AuditTag.CUSTOMER_CREATE,
        object_id=customer_id, object_name=name_of(values),
    )  # fmt: skip
    return customer_id


def update_customer(
    db: Transaction, caller: Caller, customer_id: str, changes: Mapping[str, Any]
) -> None:
    """Change some details, by the names of ``Details``. Raises NotFound, CustomerArchived, and as for a new one."""
    row = customer_of(db, caller, customer_id, lock=True)
    if row.archived_at is not None:
        raise CustomerArchived(name=row.name or row.company)
    before = {name: getattr(row, name) for name in Details.__dataclass_fields__}
    after = _checked(Details(**{**before, **changes}))
    changed = [name for name, value in after.items() if value != before[name]]
    if not changed:
        return
    now = context_of(db).clock.now()
    db.execute(update(CUSTOMERS).where(CUSTOMERS.c.id == row.id).values(**after, updated_at=now))
    index(db, caller.merchant_id, row.id)
    # The log is kept for ever, people's own data is not: of it, only that it changed is written down.
    record(
        db, caller.merchant_id, caller.actor, AuditTag.CUSTOMER_UPDATE,
        object_id=row.id, object_name=name_of(after), after={"changed": changed},
    )  # fmt: skip


def archive_customer(db: Transaction, caller: Caller, customer_id: str) -> None:
    """Put a customer away: not found by searches, not charged. The history stays. Idempotent. Raises NotFound."""
    row = customer_of(db, caller, customer_id, lock=True)
    if row.archived_at is None:
        _set_archived(db, caller, row, AuditTag.CUSTOMER_ARCHIVE)


def restore_customer(db: Transaction, caller: Caller, customer_id: str) -> None:
    """Bring an archived customer back. Idempotent. Raises NotFound."""
    row = customer_of(db, caller, customer_id, lock=True)
    if row.archived_at is not None:
        _set_archived(db, caller, row, AuditTag.CUSTOMER_RESTORE)


def customer_of(db: Transaction, caller: Caller, customer_id: str, *, lock: bool = False) -> Found:
    """One customer that the caller may see, archived or not. Raises NotFound."""
    row = queries.customer(db, caller.scope, customer_id, lock=lock)
    if row is None:
        raise NotFound("customer", customer_id)
    return row


def link_processor(db: Transaction, merchant_id: str, customer_id: str, processor_id: str) -> str:
    """Remember who the customer is to the processor; returns the id that counts, the first that was told."""
    mine = (CUSTOMERS.c.merchant_id == merchant_id, CUSTOMERS.c.id == customer_id)
    db.execute(
        update(CUSTOMERS)
        .where(*mine, CUSTOMERS.c.processor_id.is_(None))
        .values(processor_id=processor_id)
    )
    row = db.execute(CUSTOMERS.select().where(*mine)).one()
    return str(row.processor_id)


def note_used(db: Transaction, merchant_id: str, customer_id: str) -> None:
    """The customer pays now: the first in lists."""
    db.execute(
        update(CUSTOMERS)
        .where(CUSTOMERS.c.merchant_id == merchant_id, CUSTOMERS.c.id == customer_id)
        .values(used_at=context_of(db).clock.now())
    )


def index(db: Transaction, merchant_id: str, customer_id: str) -> None:
    """Write down anew the words that find a customer."""
    row = db.execute(
        CUSTOMERS.select().where(
            CUSTOMERS.c.merchant_id == merchant_id, CUSTOMERS.c.id == customer_id
        )
    ).one()
    words = words_of(
        texts=[row.name, row.company, row.email],
        phone=row.phone,
        last4=queries.last_numbers(db, customer_id),
    )
    db.execute(delete(WORDS).where(WORDS.c.customer_id == customer_id))
    db.execute(
        insert(WORDS),
        [
            {"merchant_id": merchant_id, "customer_id": customer_id, "word": word}
            for word in sorted(words)
        ],
    )


def name_of(values: Mapping[str, Any]) -> str:
    """What a customer is called: the name, else the company."""
    return str(values["name"] or values["company"])


def _set_archived(db: Transaction, caller: Caller, row: Found, tag: AuditTag) -> None:
    now = context_of(db).clock.now()
    archived_at = now if tag is AuditTag.CUSTOMER_ARCHIVE else None
    db.execute(
        update(CUSTOMERS)
        .where(CUSTOMERS.c.id == row.id)
        .values(archived_at=archived_at, updated_at=now)
    )
    record(
        db, caller.merchant_id, caller.actor, tag,
        object_id=row.id, object_name=row.name or row.company,
    )  # fmt: skip


def _checked(details: Details) -> dict[str, Any]:
    """The columns; texts trimmed, cut and without card numbers."""
    values = {
        name: _plain(value, LENGTHS[name]) if name in LENGTHS and name != "address" else value
        for name, value in asdict(details).items()
    }
    if not values["name"] and not values["company"]:
        raise NameMissing(field="name")
    values["email"] = _email(details.email)
    if values["phone"] and not _is_phone(values["phone"]):
        raise PhoneNotRecognised(field="phone")
    if details.language is not None and details.language not in LANGUAGES:
        raise RequestRefused(field="language", reason="Choose one of en and fr.")
    values["address"] = _address(details.address)
    return values


def _plain(text: str, length: int) -> str:
    """Free text as it is stored: without control characters but line ends, and without card numbers."""
    kept = "".join(sign for sign in text if sign.isprintable() or sign == "\n").strip()
    return redact_card_numbers(kept)[:length]


def _email(text: str) -> str:
    if not text.strip():
        return ""
    try:
        email = normalized_email(text)
    except RequestRefused:
        raise EmailNotRecognised(field="email") from None
    if not email.isprintable() or redact_card_numbers(email) != email:
        raise EmailNotRecognised(field="email")
    return email


def _is_phone(text: str) -> bool:
    # A masked card number has stars in it, so it is no telephone number.
    digits = sum(sign.isdecimal() for sign in text)
    return digits >= _FEWEST_DIGITS and _IN_A_PHONE_NUMBER.issuperset(text)


def _address(parts: Mapping[str, str]) -> dict[str, str]:
    if unknown := set(parts) - set(ADDRESS_PARTS):
        raise RequestRefused(
            field="address", reason=f"An address has no {', '.join(sorted(unknown))}."
        )
    address = {name: _plain(parts.get(name, ""), LENGTHS["address"]) for name in ADDRESS_PARTS}
    country = address["country"].upper()
    if country and not (len(country) == 2 and country.isascii() and country.isalpha()):
        raise CountryNotRecognised(field="country")
    return {name: value for name, value in {**address, "country": country}.items() if value}
