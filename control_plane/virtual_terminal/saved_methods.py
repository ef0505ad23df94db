"""Saves a card or a bank account without charging it: consent first, then a set-up at the processor.

No row is written before the call, because no money moves: the idempotency key is made of the token, which is good
once, so the same form sent again gets the same answer, however its first answer was lost.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final, Literal

import structlog
from sqlalchemy import bindparam, select

from control_plane.accounts.caller import Caller
from control_plane.customers import methods, service
from control_plane.customers import queries as customers
from control_plane.customers.errors import CustomerArchived
from control_plane.customers.methods import Consent, Kept, checked_consent
from control_plane.customers.models import ConsentHow, MandateStatus, MethodKind
from control_plane.db.scope import Scope
from control_plane.errors import NotFound
from control_plane.virtual_terminal import declines
from control_plane.virtual_terminal.errors import (
    AnswerLost,
    NotConnected,
    ProcessorNotReached,
    ProcessorRefused,
    SavingDeclined,
)
from control_plane.virtual_terminal.models import ACCOUNTS
from control_plane.virtual_terminal.office import Office
from control_plane.virtual_terminal.processor import (
    AnswerUnknown,
    Decline,
    Declined,
    Instrument,
    MotoNotEnabled,
    NewSetup,
    NotReached,
    Processor,
    ProcessorError,
    ProcessorSetup,
    Refused,
)

log = structlog.get_logger()

_SIGNED_AS: Final = "set-up"
#: The customer was not at a browser of their own: staff typed, and the consent was given otherwise.
_OFFLINE: Final = frozenset({ConsentHow.PHONE, ConsentHow.PAPER, ConsentHow.IN_PERSON})
_MOTO: Final = frozenset({ConsentHow.PHONE, ConsentHow.PAPER})
_MAY_MOTO: Final = select(ACCOUNTS.c.moto_enabled).where(
    ACCOUNTS.c.merchant_id == bindparam("merchant")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveWish:
    """What to save, for whom, and what they said to it."""

    customer_id: str
    token: str = field(repr=False)
    """``ctoken_…`` of the processor's own fields."""
    kind: Literal["card", "us_bank_account", "sepa_debit"]
    consent_text: str
    consent_how: str
    return_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveOutcome:
    """It is saved, or the payer has something to do first."""

    method_id: str | None = None
    """``smt_…``"""
    action: str | None = None
    """use_stripe_sdk, redirect_to_url, verify_with_microdeposits, …"""
    client_secret: str | None = field(default=None, repr=False)
    handle: str | None = None
    """For ``finish_saving``, when the payer has done it."""


def save(office: Office, caller: Caller, wish: SaveWish) -> SaveOutcome:
    """Save a method. Talks to the processor, so it is never called inside a transaction.

    Raises NotFound, CustomerArchived, ConsentMissing, NotConnected, SavingDeclined, ProcessorRefused,
    ProcessorNotReached, AnswerLost; after the last two the same wish may be sent again.
    """
    consent = checked_consent(wish.consent_text, wish.consent_how)
    processor = office.processors.of(caller.merchant_id)
    their_id = make_known(office, processor, caller, wish.customer_id)
    with office.reading() as db:
        account_may = bool(db.execute(_MAY_MOTO, {"merchant": caller.merchant_id}).scalar())
    moto = account_may and wish.kind == "card" and consent.how in _MOTO
    new = NewSetup(
        customer_id=their_id,
        methods=(wish.kind,),
        token=wish.token,
        moto=moto,
        mandate_offline=wish.kind != "card" and consent.how in _OFFLINE,
        return_url=wish.return_url,
        metadata={"customer": wish.customer_id, "consent": consent.how.value},
    )
    # The token itself stands in no log of the processor's.
    key = hashlib.sha256(f"{wish.customer_id} {wish.token}".encode()).hexdigest()[:40]
    setup = _ask(processor, new, key)
    return _concluded(office, caller, processor, wish.customer_id, setup, consent)


def finish_saving(
    office: Office,
    caller: Caller,
    customer_id: str,
    handle: str,
    *,
    consent_text: str,
    consent_how: str,
) -> SaveOutcome:
    """The payer has done what the processor wanted: read what came of it. Raises what ``save`` raises."""
    consent = checked_consent(consent_text, consent_how)
    setup_id, _, signature = handle.partition(".")
    if not office.keyring.is_signed(_bound(caller, customer_id, setup_id), signature, _SIGNED_AS):
        raise NotFound("saved method", setup_id)
    processor = office.processors.of(caller.merchant_id)
    try:
        setup = processor.read_setup(setup_id)
    except ProcessorError as failure:
        raise ProcessorNotReached from failure
    return _concluded(office, caller, processor, customer_id, setup, consent)


def forget(office: Office, merchant_id: str, processor_id: str) -> None:
    """Let the processor forget a method that was removed here. Raises ProcessorNotReached, to be tried again."""
    try:
        processor = office.processors.of(merchant_id)
        processor.detach(processor_id, key=f"{processor_id}:detach")
    except NotConnected:
        log.info("method_not_detached", processor_id=processor_id, reason="not connected")
    except Refused as refused:
        # It is not attached (any more), or unknown: nothing is left to forget.
        log.info("method_not_detached", processor_id=processor_id, reason=str(refused))
    except ProcessorError as failure:
        raise ProcessorNotReached from failure


def kept_of(instrument: Instrument, *, is_confirmed: bool, mandate: str | None = None) -> Kept:
    """What the processor told of a method, as customers keep it."""
    mandate_id = mandate or instrument.mandate_id
    status = MandateStatus.ACTIVE if is_confirmed else MandateStatus.PENDING
    return Kept(
        kind=MethodKind(instrument.kind),
        processor_id=instrument.processor_id or "",
        last4=instrument.last4 or "",
        brand=instrument.brand or "",
        exp_month=instrument.exp_month,
        exp_year=instrument.exp_year,
        fingerprint=instrument.fingerprint or "",
        funding=instrument.funding or "",
        bank_name=instrument.bank_name or "",
        mandate_id=mandate_id,
        mandate_status=status if mandate_id else None,
        is_confirmed=is_confirmed,
    )


def make_known(office: Office, processor: Processor, caller: Caller, customer_id: str) -> str:
    """The processor's id of the customer, who is made known there first when need be.

    Raises NotFound, CustomerArchived, ProcessorRefused, ProcessorNotReached.
    """
    with office.reading() as db:
        row = service.customer_of(db, caller, customer_id)
    if row.archived_at is not None:
        raise CustomerArchived(name=row.name or row.company)
    if row.processor_id is not None:
        return str(row.processor_id)
    try:
        made = processor.save_customer(
            None,
            name=row.name or row.company,
            email=row.email,
            phone=row.phone,
            metadata={"customer": customer_id},
            key=f"{customer_id}:create",
        )
    except Refused as refused:
        raise ProcessorRefused(reason=str(refused)) from refused
    except ProcessorError as failure:
        raise ProcessorNotReached from failure
    with office.writing() as db:
        return service.link_processor(db, caller.merchant_id, customer_id, made.id)


def _ask(processor: Processor, new: NewSetup, key: str) -> ProcessorSetup:
    try:
        return _set_up(processor, new, key)
    except Declined as declined:
        raise _declined(declined.decline) from declined
    except Refused as refused:
        raise ProcessorRefused(reason=str(refused)) from refused
    except NotReached as failure:
        raise ProcessorNotReached from failure
    except AnswerUnknown as failure:
        raise AnswerLost from failure


def _set_up(processor: Processor, new: NewSetup, key: str) -> ProcessorSetup:
    try:
        return processor.setup(new, key=f"{key}:setup")
    except MotoNotEnabled:
        # The account lost the right: the bank may then want to see the payer.
        without = NewSetup(
            customer_id=new.customer_id,
            methods=new.methods,
            token=new.token,
            mandate_offline=new.mandate_offline,
            return_url=new.return_url,
            metadata=new.metadata,
        )
        return processor.setup(without, key=f"{key}:setup-present")


def _concluded(
    office: Office,
    caller: Caller,
    processor: Processor,
    customer_id: str,
    setup: ProcessorSetup,
    consent: Consent,
) -> SaveOutcome:
    action = setup.next_action.kind if setup.next_action else None
    is_waiting = setup.status == "processing" or action == "verify_with_microdeposits"
    method_id = None
    if setup.status == "succeeded" or is_waiting:
        method_id = _keep(office, caller, processor, customer_id, setup, consent)
    elif setup.status != "requires_action":
        raise _declined(setup.last_error)
    if action is None:
        return SaveOutcome(method_id=method_id)
    signature = office.keyring.sign(_bound(caller, customer_id, setup.id), _SIGNED_AS)
    return SaveOutcome(
        method_id=method_id,
        action=action,
        client_secret=setup.client_secret,
        handle=f"{setup.id}.{signature}",
    )


def _keep(
    office: Office,
    caller: Caller,
    processor: Processor,
    customer_id: str,
    setup: ProcessorSetup,
    consent: Consent,
) -> str:
    instrument = setup.instrument
    if instrument is None or not instrument.processor_id:
        raise ProcessorRefused(reason="It did not say what it saved.")
    if instrument.kind == "card" and not instrument.last4:
        try:
            instrument = processor.read_instrument(instrument.processor_id or "")
        except ProcessorError as failure:
            raise ProcessorNotReached from failure
    kept = kept_of(instrument, is_confirmed=setup.status == "succeeded", mandate=setup.mandate_id)
    with office.writing() as db:
        everywhere = Scope(caller.merchant_id)
        if customers.customer(db, everywhere, customer_id) is None:
            raise NotFound("customer", customer_id)
        return methods.save_method(db, caller.merchant_id, caller.actor, customer_id, kept, consent)


def _declined(decline: Decline | None) -> SavingDeclined:
    code = decline.code if decline is not None else None
    return SavingDeclined(reason=declines.explain(code).text, decline_code=code or "")


def _bound(caller: Caller, customer_id: str, setup_id: str) -> bytes:
    """What the signature of a set-up covers: whose it is, and for which customer."""
    return f"{caller.merchant_id} {customer_id} {setup_id}".encode()
