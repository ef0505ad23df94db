"""Phones that take cards by themselves (Tap to Pay): pairing them, and what their app asks for.

A phone pairs with a code from a QR picture, once, and gets a token. The token is bound to a shop and to the user who
made the code: what is taken with the phone is taken in that user's name, with that user's rights as they are now.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from sqlalchemy import Row, bindparam, insert, select, update

from control_plane import live
from control_plane.accounts import queries as account_queries
from control_plane.accounts import sign_in
from control_plane.accounts.caller import Caller, CallerKind
from control_plane.accounts.permissions import Permission
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.db.columns import UtcDateTime
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import changed
from control_plane.devices.enrollment import CODE_ALPHABET, normalized_code
from control_plane.devices.timeline import readers_topic
from control_plane.errors import Forbidden, NotFound, NotSignedIn, Unavailable
from control_plane.till.queries import settings_of
from control_plane.virtual_terminal import cloud_readers, queries
from control_plane.virtual_terminal.beginning import Try, begin
from control_plane.virtual_terminal.charging import make_way
from control_plane.virtual_terminal.errors import AddressNeeded, PhoneCodeRefused
from control_plane.virtual_terminal.lifecycle import AttemptMethod, AttemptState
from control_plane.virtual_terminal.models import PHONES
from control_plane.virtual_terminal.office import Office
from control_plane.virtual_terminal.processor import AnswerUnknown, NotReached, Refused
from control_plane.virtual_terminal.reader_desk import ReaderDesk, add_task
from control_plane.virtual_terminal.views import PaymentView
from control_plane.virtual_terminal.wishes import Again, Order
from protocols.ids import new_id
from protocols.readers.emv import redact_card_numbers
from protocols.secret import Secret

CODE_LENGTH: Final = 12
CODE_LIFETIME: Final = timedelta(minutes=15)
TOKEN_PREFIX: Final = "omp_"  # noqa: S105 - what tokens begin with, none of them
#: A phone that was heard of less long ago is not written down again.
_TOUCH_AFTER: Final = timedelta(minutes=1)
_CODE_PURPOSE: Final = "phone code"
_TOKEN_PURPOSE: Final = "phone token"  # noqa: S105 - a purpose
_BY_TOKEN: Final = select(PHONES).where(
    PHONES.c.token_hash.in_(bindparam("hashes", expanding=True)), PHONES.c.revoked_at.is_(None)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneView:
    """A phone as it stands, without what it signs in with."""

    id: str
    merchant_id: str
    location_id: str
    user_id: str
    user_name: str
    name: str
    platform: str
    app_version: str
    code_expires_at: datetime
    paired_at: datetime | None
    last_seen_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime

    def state(self, now: datetime) -> str:
        """paired, waiting (for its code), expired, revoked."""
        if self.revoked_at is not None:
            return "revoked"
        if self.paired_at is not None:
            return "paired"
        return "waiting" if self.code_expires_at > now else "expired"


_COLUMNS: Final = [PHONES.c[name] for name in PhoneView.__dataclass_fields__]


@dataclass(frozen=True, slots=True)
class PairedPhone:
    """A phone that proved who it is, and in whose name it acts."""

    phone: PhoneView
    caller: Caller


@dataclass(frozen=True, slots=True)
class PhoneSale:
    """A payment for this phone. The app's software takes the card with the client secret."""

    payment: PaymentView
    client_secret: Secret[str] | None


def address(base_url: str, code: str) -> str:
    """What the QR picture says to the app: where to pair, and with what."""
    return f"omnitill://pair?{urlencode({'server': base_url, 'code': code})}"


def phones(db: Transaction, scope: Scope) -> list[PhoneView]:
    """All that are paired, wait for their code or were revoked, the newest first."""
    rows = db.execute(
        select(*_COLUMNS).where(*scope.conditions(PHONES)).order_by(PHONES.c.id.desc())
    )
    return [_view(row) for row in rows]


def phone(db: Transaction, scope: Scope, phone_id: str) -> PhoneView:
    """Raises NotFound outside of the scope."""
    row = db.execute(
        select(*_COLUMNS).where(*scope.conditions(PHONES), PHONES.c.id == phone_id)
    ).one_or_none()
    if row is None:
        raise NotFound("phone", phone_id)
    return _view(row)


def invite(
    db: Transaction, caller: Caller, *, name: str, location_id: str
) -> tuple[PhoneView, Secret[str]]:
    """A code to pair a phone with, shown once and good once for a quarter of an hour. Raises NotFound for the shop."""
    places = {one.location_id: one for one in cloud_readers.locations(db, caller.scope)}
    if location_id not in places:
        raise NotFound("location", location_id)
    if caller.kind is not CallerKind.USER:
        # Payments are taken in somebody's name.
        raise Forbidden(permission=Permission.PAYMENT_CHARGE_CREATE.value)
    code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))
    context = context_of(db)
    now = context.clock.now()
    phone_id = new_id("phn")
    label = redact_card_numbers(name.strip())[:200] or places[location_id].name
    db.execute(
        insert(PHONES).values(
            id=phone_id,
            merchant_id=caller.merchant_id,
            location_id=location_id,
            user_id=caller.id,
            user_name=caller.name,
            name=label,
            code_hash=context.keyring.hash(code, _CODE_PURPOSE),
            code_expires_at=now + CODE_LIFETIME,
            platform="",
            app_version="",
            created_at=now,
        )
    )
    record(
        db, caller.merchant_id, caller.actor, AuditTag.PHONE_INVITE,
        object_id=phone_id, object_name=label, after={"location_id": location_id},
    )  # fmt: skip
    return phone(db, caller.scope, phone_id), Secret("-".join((code[:4], code[4:8], code[8:])))


def pair(
    db: Transaction, code: str, *, platform: str = "", app_version: str = "", ip: str = ""
) -> tuple[PhoneView, Secret[str]]:
    """Turn a code into a phone with a token, which is told this once. Raises PhoneCodeRefused."""
    context = context_of(db)
    now = context.clock.now()
    token = f"{TOKEN_PREFIX}{secrets.token_urlsafe(32)}"
    hashes = context.keyring.hashes(normalized_code(code), _CODE_PURPOSE)
    row = db.execute(
        update(PHONES)
        .where(
            PHONES.c.code_hash.in_(hashes),
            PHONES.c.paired_at.is_(None),
            PHONES.c.revoked_at.is_(None),
            PHONES.c.code_expires_at > now,
        )
        .values(
            paired_at=now,
            last_seen_at=now,
            token_hash=context.keyring.hash(token, _TOKEN_PURPOSE),
            platform=redact_card_numbers(platform)[:100],
            app_version=redact_card_numbers(app_version)[:60],
        )
        .returning(*_COLUMNS)
    ).one_or_none()
    if row is None:
        raise PhoneCodeRefused(field="code")
    paired = _view(row)
    owner = _caller_of(db, paired, ip=ip, user_agent="")
    if owner is None:
        raise PhoneCodeRefused(field="code")
    _tell(db, paired)
    record(
        db, paired.merchant_id, owner.actor, AuditTag.PHONE_PAIR,
        object_id=paired.id, object_name=paired.name,
        after={"platform": paired.platform, "app_version": paired.app_version},
    )  # fmt: skip
    return paired, Secret(token)


def revoke(db: Transaction, caller: Caller, phone_id: str) -> PhoneView:
    """From now on the phone is let in no more. Raises NotFound."""
    known = phone(db, caller.scope, phone_id)
    now = context_of(db).clock.now()
    ended = update(PHONES).where(PHONES.c.id == phone_id, PHONES.c.revoked_at.is_(None))
    if changed(db, ended.values(revoked_at=now, token_hash=None)):
        _tell(db, known)
        record(
            db, caller.merchant_id, caller.actor, AuditTag.PHONE_REVOKE,
            object_id=phone_id, object_name=known.name,
        )  # fmt: skip
    return phone(db, caller.scope, phone_id)


def signed_in(db: Transaction, token: str, *, ip: str = "", user_agent: str = "") -> PairedPhone:
    """Whose phone sends a request. Raises NotSignedIn for a token that does not count, or whose user is gone."""
    hashes = context_of(db).keyring.hashes(token, _TOKEN_PURPOSE)
    row = db.execute(_BY_TOKEN, {"hashes": hashes}).one_or_none()
    if row is None:
        raise NotSignedIn
    known = _view(row)
    caller = _caller_of(db, known, ip=ip, user_agent=user_agent)
    if caller is None:
        raise NotSignedIn
    return PairedPhone(known, caller)


def touch(db: Transaction, paired: PairedPhone) -> None:
    """Remember that the phone was heard of, once a minute at most."""
    now = context_of(db).clock.now()
    db.execute(
        update(PHONES)
        .where(
            PHONES.c.id == paired.phone.id,
            PHONES.c.last_seen_at < bindparam("since", type_=UtcDateTime),
        )
        .values(last_seen_at=now),
        {"since": now - _TOUCH_AFTER},
    )


class Phones:
    """What the app on a phone asks for, in transactions of its own. ``parts.get(Phones)``."""

    def __init__(self, office: Office, desk: ReaderDesk) -> None:
        self._office = office
        self._desk = desk

    def connection_token(self, caller: Caller, location_id: str | None) -> str:
        """A short-lived licence for the processor's software to take payments in one shop.

        Raises NotFound for the shop, AddressNeeded when the processor does not know it, NotConnected, Unavailable.
        """
        with self._office.reading() as db:
            places = cloud_readers.locations(db, caller.scope)
        place = next((one for one in places if one.location_id == location_id), None)
        if place is None:
            raise NotFound("location", location_id or "")
        if place.processor_id is None:
            raise AddressNeeded(location=place.name)
        try:
            token = self._office.processors.of(caller.merchant_id).connection_token(
                place.processor_id
            )
        except (NotReached, AnswerUnknown, Refused) as failure:
            raise Unavailable(what="Stripe") from failure
        with self._office.writing() as db:
            record(
                db, caller.merchant_id, caller.actor, AuditTag.CONNECTION_TOKEN_CREATE,
                object_id=place.location_id, object_name=place.name,
            )  # fmt: skip
        return token

    def terms_link(self, caller: Caller) -> str:
        """Where an owner accepts Apple's terms for Tap to Pay on iPhone. Raises NotConnected, Unavailable."""
        with self._office.reading() as db:
            name = account_queries.merchant(db, caller.merchant_id).name
        try:
            link = self._office.processors.of(caller.merchant_id).onboarding_link(name)
        except (NotReached, AnswerUnknown, Refused) as failure:
            raise Unavailable(what="Stripe") from failure
        with self._office.writing() as db:
            record(
                db, caller.merchant_id, caller.actor, AuditTag.TERMS_LINK_CREATE,
                object_id=caller.merchant_id, object_name=name,
            )  # fmt: skip
        return link

    def start(self, paired: PairedPhone, order: Order | Again) -> PhoneSale:
        """Begin a sale that the phone takes; it is driven to its end as one on any other reader.

        Raises what the desk's ``charge`` raises.
        """
        caller = paired.caller
        caller.must(Permission.PAYMENT_CHARGE_CREATE)
        self._office.processors.of(caller.merchant_id)
        if isinstance(order, Again):
            make_way(self._office, caller, order)
        how = Try(method=AttemptMethod.READER, state=AttemptState.CREATED)
        with self._office.writing() as db:
            begun = begin(db, caller, order, how, settings_of(db, caller.merchant_id))
            if begun.is_new:
                add_task(db, begun, reader_id=None)
        if begun.is_new:
            self._desk.look(begun.attempt_id, mine=True)
        return self.sale(paired, begun.payment.id)

    def sale(self, paired: PairedPhone, payment_id: str) -> PhoneSale:
        """How a sale of this phone's user stands, with the secret while there is something to take."""
        with self._office.reading() as db:
            view = queries.payment(db, paired.caller.scope, payment_id)
        if view.cashier_id != paired.caller.id:
            raise NotFound("payment", payment_id)
        secret = None
        if view.processor_id and view.attempt is not None and view.attempt.state.is_open:
            try:
                found = self._office.processors.of(view.merchant_id).read_payment(view.processor_id)
            except (NotReached, AnswerUnknown) as silent:
                raise Unavailable(what="Stripe") from silent
            secret = found.client_secret
        return PhoneSale(view, None if secret is None else Secret(secret))

    def finished(self, paired: PairedPhone, payment_id: str) -> PhoneSale:
        """The app says that it is done, with whatever result: what became of the payment is read, not believed."""
        before = self.sale(paired, payment_id)
        if before.payment.attempt is not None:
            self._desk.look(before.payment.attempt.id)
        return self.sale(paired, payment_id)

    def cancel(self, paired: PairedPhone, payment_id: str) -> PhoneSale:
        """The app gave up: make sure that nothing can be taken any more."""
        self.sale(paired, payment_id)
        self._desk.cancel(paired.caller, payment_id)
        return self.sale(paired, payment_id)


def _caller_of(db: Transaction, known: PhoneView, *, ip: str, user_agent: str) -> Caller | None:
    """The user of a phone with their rights of now, in the phone's shop alone; None when they are gone."""
    everywhere = Scope(merchant_id=known.merchant_id)
    user = account_queries.user_of(db, everywhere, known.user_id)
    if user is None or user.disabled_at is not None:
        return None
    own: Sequence[str] | None = user.location_ids
    if own is not None and known.location_id not in own:
        return None
    return Caller(
        kind=CallerKind.USER,
        id=user.id,
        name=user.name,
        email=user.email,
        role=user.role.value,
        scope=sign_in.scope_of(known.merchant_id, user.role, [known.location_id]),
        ip=ip,
        user_agent=user_agent,
    )


def _tell(db: Transaction, known: PhoneView) -> None:
    live.publish(db, readers_topic(known.merchant_id), {"phone_id": known.id}, key=known.id)


def _view(row: Row[Any]) -> PhoneView:
    facts = row._mapping  # noqa: SLF001 - Row's public name for a mapping
    return PhoneView(**{name: facts[name] for name in PhoneView.__dataclass_fields__})
