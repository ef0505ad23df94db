"""Rules about saved methods: kept with consent, brought up to date by the processor, removed by either.

Nothing here talks to the processor: what it said is handed in, what it is to be told is owed as a job.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import insert, update

from control_plane.accounts.caller import Caller
from control_plane.audit.actor import Actor
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.customers import queries, service
from control_plane.customers.errors import (
    ConsentMissing,
    CustomerArchived,
    MethodNotConfirmed,
    MethodNotUsable,
)
from control_plane.customers.models import (
    METHODS,
    ConsentHow,
    MandateStatus,
    MethodKind,
    MethodStatus,
)
from control_plane.customers.queries import Found
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.errors import NotFound
from control_plane.outbox import owe
from protocols.ids import new_id
from protocols.readers.emv import redact_card_numbers

#: The job that lets the processor forget a method; payload: merchant_id, processor_id.
DETACH: Final = "saved_methods.detach"
_SHORTEST_CONSENT: Final = 10
_BRANDS: Final = {
    "visa": "Visa",
    "mastercard": "Mastercard",
    "amex": "American Express",
    "cartes_bancaires": "Cartes Bancaires",
    "discover": "Discover",
    "diners": "Diners Club",
    "jcb": "JCB",
    "unionpay": "UnionPay",
    "eftpos_au": "eftpos",
}
_BANK_KINDS: Final = {MethodKind.US_BANK_ACCOUNT: "ACH", MethodKind.SEPA_DEBIT: "SEPA"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the processor keeps for us, as it told."""

    kind: MethodKind
    processor_id: str
    last4: str
    brand: str = ""
    exp_month: int | None = None
    exp_year: int | None = None
    fingerprint: str = ""
    funding: str = ""
    bank_name: str = ""
    mandate_id: str | None = None
    mandate_status: MandateStatus | None = None
    allow_redisplay: str = "limited"
    is_confirmed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """The customer's word: what was shown or read out, and how they agreed."""

    text: str
    how: ConsentHow
    at: datetime | None = None
    """When it was given, if not now."""


def checked_consent(text: str, how: str) -> Consent:
    """The consent as it may be stored. Raises ConsentMissing."""
    words = redact_card_numbers(" ".join(text.split()))[:2000]
    if len(words) < _SHORTEST_CONSENT or how not in set(ConsentHow):
        raise ConsentMissing(field="consent")
    return Consent(text=words, how=ConsentHow(how))


def save_method(
    db: Transaction, merchant_id: str, actor: Actor, customer_id: str, kept: Kept, consent: Consent
) -> str:
    """Keep a method; returns its id. The same ``processor_id`` again only brings it up to date.

    The same card, saved before under another number of the processor's, gives way to the new one.
    """
    now = context_of(db).clock.now()
    facts = _facts(kept)
    known = queries.method_by_processor_id(db, merchant_id, kept.processor_id, lock=True)
    if known is not None:
        db.execute(update(METHODS).where(METHODS.c.id == known.id).values(**facts, updated_at=now))
        service.index(db, merchant_id, known.customer_id)
        return str(known.id)
    older = queries.same_card(db, customer_id, kept.fingerprint) if kept.fingerprint else []
    for row in older:
        _retire(db, row, now)
    was_default = any(row.is_default for row in older)
    has_default = any(row.is_default for row in _methods(db, merchant_id, customer_id))
    method_id = new_id("smt")
    db.execute(
        insert(METHODS).values(
            id=method_id,
            merchant_id=merchant_id,
            customer_id=customer_id,
            processor_id=kept.processor_id,
            consent_text=consent.text,
            consent_how=consent.how,
            consent_at=consent.at or now,
            consent_by=actor.id,
            consent_by_name=actor.name,
            is_default=was_default or not has_default,
            created_at=now,
            updated_at=now,
            **facts,
        )
    )
    service.index(db, merchant_id, customer_id)
    record(
        db, merchant_id, actor, AuditTag.METHOD_SAVE,
        object_id=method_id, object_name=title_of(facts),
        after={"customer_id": customer_id, "consent_how": consent.how.value},
    )  # fmt: skip
    return method_id


def remove_method(db: Transaction, caller: Caller, method_id: str) -> None:
    """Never charge it again, and let the processor forget it. Idempotent. Raises NotFound."""
    row = method_of(db, caller, method_id, lock=True)
    if row.status is MethodStatus.REMOVED:
        return
    _retire(db, row, context_of(db).clock.now())
    rest = _methods(db, row.merchant_id, row.customer_id)
    if row.is_default and rest:
        db.execute(update(METHODS).where(METHODS.c.id == rest[0].id).values(is_default=True))
    service.index(db, row.merchant_id, row.customer_id)
    record(
        db, caller.merchant_id, caller.actor, AuditTag.METHOD_REMOVE,
        object_id=row.id, object_name=title_of(row._mapping),  # noqa: SLF001 - its public name in SQLAlchemy
        after={"customer_id": row.customer_id},
    )  # fmt: skip


def prefer_method(db: Transaction, caller: Caller, method_id: str) -> None:
    """The one that is offered first from now on. Raises NotFound, MethodNotUsable."""
    row = usable(method_of(db, caller, method_id, lock=True))
    if row.is_default:
        return
    others = (METHODS.c.customer_id == row.customer_id, METHODS.c.is_default)
    db.execute(update(METHODS).where(*others).values(is_default=False))
    db.execute(update(METHODS).where(METHODS.c.id == row.id).values(is_default=True))
    record(
        db, caller.merchant_id, caller.actor, AuditTag.METHOD_DEFAULT,
        object_id=row.id, object_name=title_of(row._mapping),  # noqa: SLF001 - its public name in SQLAlchemy
        after={"customer_id": row.customer_id},
    )  # fmt: skip


def method_of(
    db: Transaction,
    caller: Caller,
    method_id: str,
    *,
    customer_id: str | None = None,
    lock: bool = False,
) -> Found:
    """One saved method that the caller may see, of this customer if one is named. Raises NotFound."""
    row = queries.method(db, caller.scope, method_id, lock=lock)
    if row is None or customer_id not in (None, row.customer_id):
        raise NotFound("saved method", method_id)
    return row


def chargeable(db: Transaction, caller: Caller, method_id: str) -> Found:
    """A method that may be charged now, of a customer who is not archived.

    Raises NotFound, MethodNotUsable, MethodNotConfirmed, CustomerArchived. A card whose date has passed may be
    tried: banks renew cards without a new number.
    """
    row = usable(method_of(db, caller, method_id))
    customer = service.customer_of(db, caller, row.customer_id)
    if customer.archived_at is not None:
        raise CustomerArchived(name=customer.name or customer.company)
    return row


def usable(row: Found) -> Found:
    """The row itself. Raises MethodNotUsable, MethodNotConfirmed."""
    title = title_of(row._mapping)  # noqa: SLF001 - its public name in SQLAlchemy
    match row.status:
        case MethodStatus.REMOVED | MethodStatus.FAILED:
            raise MethodNotUsable(method=title)
        case MethodStatus.PENDING:
            raise MethodNotConfirmed(method=title)
        case _:
            return row


def note_updated(db: Transaction, merchant_id: str, kept: Kept) -> bool:
    """The processor says how a method looks now, such as a renewed card; False when it is not one of ours.

    A renewed card works again; a removed one stays removed, and one of the bank's refusals stays refused.
    """
    row = queries.method_by_processor_id(db, merchant_id, kept.processor_id, lock=True)
    if row is None or row.status is MethodStatus.REMOVED:
        return False
    facts = _facts(kept)
    # What only a set-up tells is not in such a message.
    for name in ("mandate_id", "mandate_status", "allow_redisplay"):
        del facts[name]
    if row.status is MethodStatus.FAILED:
        del facts["status"]
    now = context_of(db).clock.now()
    db.execute(update(METHODS).where(METHODS.c.id == row.id).values(**facts, updated_at=now))
    service.index(db, merchant_id, row.customer_id)
    return True


def note_detached(db: Transaction, merchant_id: str, processor_id: str) -> bool:
    """The processor has forgotten a method; False when it is not one of ours, or known to be gone."""
    row = queries.method_by_processor_id(db, merchant_id, processor_id, lock=True)
    if row is None or row.status is MethodStatus.REMOVED:
        return False
    now = context_of(db).clock.now()
    _set(db, row, status=MethodStatus.REMOVED, is_default=False, removed_at=now)
    service.index(db, merchant_id, row.customer_id)
    return True


def note_refused(
    db: Transaction, merchant_id: str, method_id: str, reason: str, *, expired: bool = False
) -> None:
    """The bank will not take it again (``do_not_try_again``), or says that it expired."""
    row = db.execute(
        METHODS.select().where(METHODS.c.merchant_id == merchant_id, METHODS.c.id == method_id)
    ).one_or_none()
    if row is None or row.status is MethodStatus.REMOVED:
        return
    status = MethodStatus.EXPIRED if expired else MethodStatus.FAILED
    _set(db, row, status=status, status_reason=reason[:100])


def note_mandate(db: Transaction, merchant_id: str, mandate_id: str, status: MandateStatus) -> int:
    """A mandate came into force, or was withdrawn; how many methods that concerns."""
    rows = queries.methods_by_mandate(db, merchant_id, mandate_id)
    for row in rows:
        changes: dict[str, Any] = {"mandate_status": status}
        if status is MandateStatus.INACTIVE:
            changes |= {"status": MethodStatus.FAILED, "status_reason": "mandate_inactive"}
        elif status is MandateStatus.ACTIVE and row.status is MethodStatus.PENDING:
            changes |= {"status": MethodStatus.ACTIVE}
        _set(db, row, **changes)
    return len(rows)


def note_charged(db: Transaction, merchant_id: str, method_id: str) -> None:
    """It was charged just now; so it works, whatever its date says."""
    now = context_of(db).clock.now()
    db.execute(
        update(METHODS)
        .where(METHODS.c.merchant_id == merchant_id, METHODS.c.id == method_id)
        .values(used_at=now)
    )


def title_of(facts: Any) -> str:  # a row's mapping, or values on their way into one
    """``Visa •• 4242``, ``SEPA •• 3000``: what people call a method."""
    bank = _BANK_KINDS.get(facts["kind"])
    name = facts["bank_name"] or bank if bank else brand_name(facts["brand"])
    return f"{name} •• {facts['last4']}".strip()


def brand_name(brand: str) -> str:
    """As its owner writes it."""
    return _BRANDS.get(brand, brand.replace("_", " ").title())


def _facts(kept: Kept) -> dict[str, Any]:
    return {
        "kind": kept.kind,
        "brand": kept.brand[:40],
        "last4": kept.last4[-4:],
        "exp_month": kept.exp_month,
        "exp_year": kept.exp_year,
        "fingerprint": kept.fingerprint,
        "funding": kept.funding[:20],
        "bank_name": kept.bank_name[:200],
        "mandate_id": kept.mandate_id,
        "mandate_status": kept.mandate_status,
        "allow_redisplay": kept.allow_redisplay,
        "status": MethodStatus.ACTIVE if kept.is_confirmed else MethodStatus.PENDING,
        "status_reason": "",
    }


def _retire(db: Transaction, row: Found, now: datetime) -> None:
    _set(db, row, status=MethodStatus.REMOVED, is_default=False, removed_at=now)
    owe(
        db,
        DETACH,
        {"merchant_id": row.merchant_id, "processor_id": row.processor_id},
        merchant_id=row.merchant_id,
        dedupe_key=f"detach {row.id}",
    )


def _set(db: Transaction, row: Found, **changes: Any) -> None:
    now = context_of(db).clock.now()
    db.execute(update(METHODS).where(METHODS.c.id == row.id).values(**changes, updated_at=now))


def _methods(db: Transaction, merchant_id: str, customer_id: str) -> list[Found]:
    return [
        row
        for row in queries.methods(db, Scope(merchant_id), customer_id)
        if row.status is not MethodStatus.FAILED
    ]
