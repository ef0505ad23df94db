"""Sessions on an encrypting reader, and what its device asks for them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import insert

from control_plane.card_present.models import CARD_ACCOUNTS
from control_plane.db.unit_of_work import Transaction
from control_plane.devices.models import READERS
from control_plane.payments.lifecycle import SessionKind
from control_plane.payments.models import SESSIONS
from protocols.cloud.events import AuthorizationAsk, SealedCard
from protocols.ids import new_id
from protocols.session import SessionState

READER = "rd_mtk00001"
KSN = bytes.fromhex("FFFF9876543210E00001")


def add_account(db: Transaction, merchant_id: str, now: datetime, **other: Any) -> None:
    """An account of this merchant at the sandbox."""
    values = {
        "id": new_id("cpa"), "merchant_id": merchant_id, "processor": "cybersource",
        "organization": "shop", "key_id": "sandbox-key", "secret": "c2VjcmV0c2VjcmV0c2VjcmV0",
        "livemode": False, "api_base": "http://127.0.0.1:9", "connected_at": now, "problem": "",
    }  # fmt: skip
    db.execute(insert(CARD_ACCOUNTS).values(**values | other))


def add_reader(
    db: Transaction, merchant_id: str, location_id: str, device_id: str, now: datetime
) -> None:
    """An encrypting reader of a device."""
    db.execute(
        insert(READERS).values(
            id=READER, merchant_id=merchant_id, location_id=location_id, device_id=device_id,
            name="Counter", profile="magtek-dynaflex", address="usb://1", state="ready",
            health={}, reason="", first_seen_at=now, reported_at=now,
        )
    )  # fmt: skip


def add_session(
    db: Transaction,
    merchant_id: str,
    location_id: str,
    device_id: str,
    now: datetime,
    *,
    amount_minor: int = 1250,
    state: SessionState = SessionState.CARD_SEEN,
    reader_id: str = READER,
) -> str:
    """A sale that runs on the reader; its id."""
    session_id = new_id("ts")
    db.execute(
        insert(SESSIONS).values(
            id=session_id, merchant_id=merchant_id, location_id=location_id, device_id=device_id,
            reader_id=reader_id, cashier_id="usr_x", cashier_name="Ada", kind=SessionKind.SALE,
            amount_minor=amount_minor, currency="EUR", reference="", note="", card_timeout_s=60,
            state=state, state_since=now, holds_reader=not state.is_final, command_id=new_id("cmd"),
            expires_at=now, claimed_at=now, last_heard_at=now, explanation="", result_text="",
            late_result=False, created_at=now,
        )
    )  # fmt: skip
    return session_id


def ask_for(session_id: str, *, amount_minor: int = 1250, **other: Any) -> AuthorizationAsk:
    """What the device asks when a card was shown."""
    card = other.pop("card", None) or SealedCard(
        format="magtek_mms", scheme="dukpt-tdes", ksn=KSN, data=b"\xf9\x02\xdf\x00",
        masked_pan="476173******0119", card_brand="Visa", entry_mode="contactless",
    )  # fmt: skip
    facts: dict[str, Any] = {
        "session_id": session_id, "tap_id": new_id("tap"), "reader_id": READER,
        "amount_minor": amount_minor, "currency": "EUR", "card": card,
    }  # fmt: skip
    return AuthorizationAsk(**facts | other)
