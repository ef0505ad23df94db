"""How devices come: codes, enrolment, and fresh certificates. Each function works in the caller's transaction."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import insert, update

from control_plane import live
from control_plane.accounts import queries as accounts
from control_plane.audit.actor import Actor, ActorKind
from control_plane.audit.service import record as record_audit
from control_plane.audit.tags import AuditTag
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import changed
from control_plane.devices import queries, timeline
from control_plane.devices.authority import Authority, Issued
from control_plane.devices.errors import CodeRefused
from control_plane.devices.lifecycle import DeviceNotInState, DeviceState, DeviceStep, advance
from control_plane.devices.models import CERTIFICATES, CODES, DEVICES
from control_plane.devices.queries import Found
from control_plane.devices.service import ACCESS_TOPIC, location_of, take_place
from control_plane.errors import NotFound, RequestRefused
from protocols.cloud.http import EnrollRequest
from protocols.ids import new_device_id, new_id
from protocols.readers.emv import redact_card_numbers
from protocols.secret import Secret

#: No 0 O, 1 I L, U V: a code is read aloud and typed.
CODE_ALPHABET: Final = "23456789ABCDEFGHJKMNPQRSTWXYZ"
CODE_LENGTH: Final = 8
CODE_LIFETIME: Final = timedelta(hours=24)
MOST_CODE_USES: Final = 10_000
FIRST_CELL: Final = "00"
_LONGEST_CODE_LIFETIME: Final = timedelta(days=90)
_CODE_PURPOSE: Final = "enrollment code"


@dataclass(frozen=True, slots=True)
class NewDevice:
    """Who was just enrolled."""

    device_id: str
    cell: str
    epoch: int
    issued: Issued
    merchant_name: str
    location_name: str


def normalized_code(text: str) -> str:
    """A code as it is hashed: blanks, dashes and case do not count."""
    return "".join(character for character in text.upper() if character.isalnum())


def issue_code(
    db: Transaction,
    scope: Scope,
    location_id: str,
    *,
    by: Actor,
    note: str = "",
    lifetime: timedelta = CODE_LIFETIME,
    max_uses: int = 1,
    replaces_id: str | None = None,
) -> tuple[str, Secret[str]]:
    """A new enrolment code: its id, and the code itself, which is shown once and not kept.

    Raises LocationUnknown, NotFound for a device to replace that is not there, RequestRefused for limits.
    """
    if not timedelta(0) < lifetime <= _LONGEST_CODE_LIFETIME:
        raise RequestRefused(field="expires_in_s", reason="A code lives up to 90 days.")
    if not 1 <= max_uses <= MOST_CODE_USES or (replaces_id and max_uses > 1):
        raise RequestRefused(
            field="max_uses",
            reason=f"A code works 1 to {MOST_CODE_USES} times, and once when it replaces a device.",
        )
    location = location_of(db, scope, location_id)
    if replaces_id is not None and queries.device(db, scope, replaces_id) is None:
        raise NotFound("device", replaces_id)
    code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))
    code_id = new_id("enc")
    context = context_of(db)
    now = context.clock.now()
    db.execute(
        insert(CODES).values(
            id=code_id,
            merchant_id=scope.merchant_id,
            location_id=location_id,
            code_hash=context.keyring.hash(code, _CODE_PURPOSE),
            hint=code[-2:],
            note=note[:200],
            replaces_id=replaces_id,
            max_uses=max_uses,
            used=0,
            expires_at=now + lifetime,
            created_by=by.id,
            created_at=now,
        )
    )
    record_audit(
        db, scope.merchant_id, by, AuditTag.DEVICE_CODE_CREATE,
        object_id=code_id, object_name=location.name,
        after={"max_uses": max_uses, "expires_at": (now + lifetime).isoformat()},
    )  # fmt: skip
    return code_id, Secret(f"{code[:4]}-{code[4:]}")


def revoke_code(db: Transaction, scope: Scope, code_id: str, *, by: Actor) -> None:
    """From now on the code lets nobody in. Raises NotFound."""
    code = queries.code(db, scope, code_id)
    if code is None:
        raise NotFound("enrolment code", code_id)
    now = context_of(db).clock.now()
    if not changed(
        db,
        update(CODES)
        .where(CODES.c.id == code_id, CODES.c.revoked_at.is_(None))
        .values(revoked_at=now),
    ):
        return
    location = location_of(db, scope, code.location_id)
    record_audit(
        db, scope.merchant_id, by, AuditTag.DEVICE_CODE_REVOKE,
        object_id=code_id, object_name=location.name,
    )  # fmt: skip


def enrol(
    db: Transaction, authority: Authority, request: EnrollRequest, *, ip: str = ""
) -> NewDevice:
    """Turn a code and a certificate request into a device with a certificate. Raises CodeRefused, CsrRefused.

    The use of the code, the device and its certificate are one transaction: a refused request uses nothing up.
    """
    context = context_of(db)
    now = context.clock.now()
    code = _use_code(db, request.code, now)
    device_id = new_device_id()
    issued = authority.sign_device(request.csr_pem, device_id)
    # A box says what it likes of itself; it is stored, so no card number may be in it.
    hostname, platform, serial_number, agent_version = map(
        redact_card_numbers,
        (request.hostname, request.platform, request.serial_number, request.agent_version[:100]),
    )
    old_id = code.replaces_id or _known_before(db, request.previous_device_id, code.merchant_id)
    old = queries.device_by_id(db, old_id) if old_id else None
    name = old.name if old is not None else hostname or serial_number or device_id
    state = advance(DeviceState.CLAIMED, DeviceStep.ENROL)
    db.execute(
        insert(DEVICES).values(
            id=device_id,
            merchant_id=code.merchant_id,
            location_id=code.location_id,
            name=name[:100],
            state=state,
            state_since=now,
            cell=FIRST_CELL,
            serial_number=serial_number,
            hostname=hostname,
            platform=platform,
            agent_version=agent_version,
            boot=0,
            conn=0,
            presence="unknown",
            is_online=False,
            reported={},
            telemetry={},
            epoch=1,
            replaces_id=old_id,
            certificate_expires_at=issued.not_after,
            enrolled_at=now,
            created_at=now,
        )
    )
    _keep_certificate(db, code.merchant_id, device_id, issued, now)
    timeline.record(
        db, code.merchant_id, device_id, "device.enrolled",
        facts={"code_id": code.id, "agent_version": agent_version},
    )  # fmt: skip
    live.publish(db, ACCESS_TOPIC, key=ACCESS_TOPIC)
    actor = Actor(kind=ActorKind.DEVICE, id=device_id, name=name[:100], ip=ip)
    if code.replaces_id is not None:
        take_place(db, code.replaces_id, device_id, code.merchant_id)
        record_audit(
            db, code.merchant_id, actor, AuditTag.DEVICE_REPLACE,
            object_id=code.replaces_id, object_name=name, after={"replaced_by": device_id},
        )  # fmt: skip
    record_audit(
        db, code.merchant_id, actor, AuditTag.DEVICE_ENROLL, object_id=device_id, object_name=name,
        after={"location_id": code.location_id, "certificate": issued.serial},
    )  # fmt: skip
    merchant_name, location_name = _names(db, code.merchant_id, code.location_id)
    return NewDevice(device_id, FIRST_CELL, 1, issued, merchant_name, location_name)


def renew(db: Transaction, authority: Authority, device: Found, csr_pem: str) -> Issued:
    """A fresh certificate for a device that proved to be itself; the old one lives on to its own end."""
    if not device.state.may_connect:
        raise DeviceNotInState(
            device_id=device.id, state=device.state.value, step="renew its certificate"
        )
    now = context_of(db).clock.now()
    issued = authority.sign_device(csr_pem, device.id)
    _keep_certificate(db, device.merchant_id, device.id, issued, now)
    db.execute(
        update(DEVICES)
        .where(DEVICES.c.id == device.id)
        .values(certificate_expires_at=issued.not_after)
    )
    timeline.record(
        db, device.merchant_id, device.id, "device.certificate_renewed",
        facts={"certificate": issued.serial, "not_after": issued.not_after.isoformat()},
    )  # fmt: skip
    record_audit(
        db, device.merchant_id, Actor(kind=ActorKind.DEVICE, id=device.id, name=device.name),
        AuditTag.DEVICE_RENEW, object_id=device.id, object_name=device.name,
        after={"certificate": issued.serial},
    )  # fmt: skip
    return issued


def _use_code(db: Transaction, text: str, now: datetime) -> Found:
    hashes = context_of(db).keyring.hashes(normalized_code(text), _CODE_PURPOSE)
    used = db.execute(
        update(CODES)
        .where(
            CODES.c.code_hash.in_(hashes),
            CODES.c.used < CODES.c.max_uses,
            CODES.c.revoked_at.is_(None),
            CODES.c.expires_at > now,
        )
        .values(used=CODES.c.used + 1)
        .returning(CODES)
    ).one_or_none()
    if used is not None:
        return used
    code = queries.code_by_hash(db, hashes)
    if code is None:
        raise CodeRefused("unknown")
    if code.revoked_at is not None:
        raise CodeRefused("withdrawn")
    raise CodeRefused("expired" if code.expires_at <= now else "used up")


def _known_before(db: Transaction, device_id: str | None, merchant_id: str) -> str | None:
    """A box says who it was: believed for the history only, and only within the merchant."""
    if device_id is None:
        return None
    device = queries.device_by_id(db, device_id)
    return device_id if device is not None and device.merchant_id == merchant_id else None


def _keep_certificate(
    db: Transaction, merchant_id: str, device_id: str, issued: Issued, now: datetime
) -> None:
    db.execute(
        insert(CERTIFICATES).values(
            serial=issued.serial,
            merchant_id=merchant_id,
            device_id=device_id,
            fingerprint=issued.fingerprint,
            public_key=issued.public_key_pem,
            not_after=issued.not_after,
            issued_at=now,
        )
    )


def _names(db: Transaction, merchant_id: str, location_id: str) -> tuple[str, str]:
    merchant = db.execute(
        accounts.MERCHANTS.select().where(accounts.MERCHANTS.c.id == merchant_id)
    ).one()
    location = db.execute(
        accounts.LOCATIONS.select().where(accounts.LOCATIONS.c.id == location_id)
    ).one()
    return merchant.name, location.name
