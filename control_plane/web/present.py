"""Turns what queries return into what templates show. Decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from control_plane.web import words
from control_plane.web.views import (
    Moment,
    ReaderChoice,
    ReaderRow,
    SaleRow,
    SessionPanel,
)
from protocols.money import Money
from protocols.session import SessionState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Row

    from control_plane.payments.views import SessionView, StepView
    from control_plane.receipts.sheet import Sheet

#: Names of card schemes as their owners write them; the rest is shown as the reader says it.
_BRANDS: Final = {
    "visa": "Visa",
    "mastercard": "Mastercard",
    "maestro": "Maestro",
    "girocard": "girocard",
    "amex": "Amex",
    "american express": "Amex",
    "jcb": "JCB",
    "diners": "Diners",
    "discover": "Discover",
    "unionpay": "UnionPay",
    "bancontact": "Bancontact",
    "v pay": "V PAY",
}
_LAST_DIGITS: Final = 4
_ANY_MAKER: Final = "any"


def card(brand: str | None, masked: str | None) -> str:
    """`Visa •••• 4242`; empty when no card was seen."""
    name = _BRANDS.get((brand or "").lower(), brand or "")
    digits = "".join(sign for sign in (masked or "") if sign.isdigit())[-_LAST_DIGITS:]
    if len(digits) < _LAST_DIGITS:
        return name
    return f"{name} •••• {digits}".strip()


def sale_of_session(session: SessionView, places: Mapping[str, str]) -> SaleRow:
    """A session in a list of sales."""
    return SaleRow(
        href=f"/pos/{session.id}",
        at=session.created_at,
        amount=session.amount,
        kind=session.kind.value,
        state=session.state.value,
        reader=session.reader_name,
        place=places.get(session.location_id, ""),
        cashier=session.cashier_name,
        card=card(session.card_brand, session.card_masked),
        reference=session.reference,
    )


@dataclass(frozen=True, slots=True)
class Names:
    """What the ids of ledger rows stand for."""

    readers: Mapping[str, str]
    places: Mapping[str, str]
    people: Mapping[str, str]


def sale_of_transaction(row: Row[Any], names: Names) -> SaleRow:
    """A row of the ledger in a list of sales."""
    return SaleRow(
        href=f"/transactions/{row.id}",
        at=row.occurred_at,
        amount=Money(row.amount_minor, row.currency),
        kind=row.kind.value,
        state=row.status.value,
        reader=names.readers.get(row.reader_id, ""),
        place=names.places.get(row.location_id, ""),
        cashier=names.people.get(row.cashier_id, ""),
        card=card(row.card_brand, row.card_masked or row.card_last4),
        channel=row.channel.value,
        method=row.method.value,
        reference=row.reference or "",
    )


def reader_choice(row: Row[Any], places: Mapping[str, str], *, lacks: str = "") -> ReaderChoice:
    """A reader on the form of a new sale; ``lacks``: why it can take no money."""
    return ReaderChoice(
        id=row.id,
        name=row.name,
        place=places.get(row.location_id, ""),
        reach=reach(row.device_is_online, row.device_last_seen_at),
        health=row.state,
        last_seen=row.device_last_seen_at,
        lacks=lacks,
    )


def reader_row(row: Row[Any], places: Mapping[str, str]) -> ReaderRow:
    """A reader in the fleet."""
    return ReaderRow(
        id=row.id,
        href=f"/readers/{row.id}",
        name=row.name,
        place=places.get(row.location_id, ""),
        model=maker_and_model(row.vendor, row.model),
        reach=reach(row.device_is_online, row.device_last_seen_at),
        sync=sync(row.device_reported, row.desired_hash),
        health=row.state if row.device_is_online else "unknown",
        reason=row.reason,
        device=row.device_name,
        device_href=f"/readers/boxes/{row.device_id}",
        software=row.software_version or "",
        last_seen=row.device_last_seen_at,
    )


def maker_and_model(vendor: str | None, model: str | None) -> str:
    """`CCV Base Next`. A profile for readers of whatever maker says `any`, which is no name."""
    return " ".join(part for part in (vendor if vendor != _ANY_MAKER else None, model) if part)


def reach(is_online: bool, last_seen: datetime | None) -> str:
    """Whether a box can be talked to: online, offline, never_seen."""
    if is_online:
        return "online"
    return "offline" if last_seen is not None else "never_seen"


def sync(reported: Mapping[str, Any] | None, desired_hash: str | None) -> str:
    """How the settings in force on a box compare with those that are wanted."""
    if desired_hash is None:
        return "none"
    config = (reported or {}).get("config") or {}
    if config.get("hash") == desired_hash and config.get("status") == "applied":
        return "in_sync"
    match config.get("status"):
        case "applying":
            return "applying"
        case "rejected" | "rolled_back":
            return "failed"
        case _:
            return "pending"


def session_panel(
    session: SessionView,
    steps: Sequence[StepView],
    now: datetime,
    *,
    places: Mapping[str, str],
    receipt: Sheet | None = None,
) -> SessionPanel:
    """A session as the till shows it."""
    left, total = _time_left(session, steps, now)
    return SessionPanel(
        id=session.id,
        amount=session.amount,
        kind=session.kind.value,
        state=session.state.value,
        reader=session.reader_name,
        place=places.get(session.location_id, ""),
        started_at=session.created_at,
        step=steps[-1].kind.value if steps else "",
        seconds_left=left,
        seconds_total=total,
        can_cancel=session.can_cancel,
        result_code=session.result_code,
        result_text=session.result_text,
        explanation=session.explanation,
        decided_by=session.decided_by or "",
        card=card(session.card_brand, session.card_masked),
        authorization_code=session.authorization_code or "",
        reference=session.reference,
        note=session.note,
        cashier=session.cashier_name,
        transaction_href=(
            f"/transactions/{session.transaction_id}" if session.transaction_id else ""
        ),
        receipt=receipt,
    )


def session_moments(steps: Sequence[StepView]) -> list[Moment]:
    """The timeline of a session."""
    moments = []
    for step in steps:
        word = words.word(words.SESSION_STEPS, step.kind.value)
        moments.append(
            Moment(step.at, word.text, word.icon, word.tone, detail=step.text, by=step.actor_name)
        )
    return moments


def device_moments(rows: Sequence[Row[Any]], names: Mapping[str, str]) -> list[Moment]:
    """What happened to a box or a reader, newest first; ``names`` are those of readers.

    That a reader was busy is told by its sales, so its going back to ready is told only when it was away.
    """
    moments: list[Moment] = []
    told: dict[str | None, str] = {}
    for row in reversed(rows):
        if row.kind == "reader.busy" or told.get(row.reader_id) == row.kind == "reader.ready":
            continue
        told[row.reader_id] = row.kind
        moments.append(_device_moment(row, names.get(row.reader_id or "", "")))
    return moments[::-1]


def order_moments(rows: Sequence[Row[Any]], people: Mapping[str, str]) -> list[Moment]:
    """What a reader was asked to do, and what it said; ``people`` are the names of those who asked."""
    moments = []
    for row in rows:
        word = words.word(words.ORDERS[row.kind], row.state.value)
        at = row.finished_at or row.issued_at
        by = people.get(row.issued_by, "")
        moments.append(Moment(at, word.text, word.icon, word.tone, detail=row.result_text, by=by))
    return moments


def _device_moment(row: Row[Any], name: str) -> Moment:
    health = row.kind.removeprefix("reader.")
    if row.kind in words.DEVICE_EVENTS or health not in words.HEALTH:
        word = words.word(words.DEVICE_EVENTS, row.kind)
    else:
        word = words.HEALTH[health]
    tone = {"warning": "warn", "error": "bad"}.get(row.severity.value, word.tone)
    icon = "alert" if row.severity.value == "error" else word.icon
    detail = " · ".join(part for part in (name, row.text) if part)
    return Moment(row.happened_at, word.text, icon, tone, detail=detail)


def _time_left(
    session: SessionView, steps: Sequence[StepView], now: datetime
) -> tuple[float, float]:
    """Seconds left and in all of what is waited for; zeros when nobody knows how long it takes."""
    if session.state is SessionState.CREATED:
        total = (session.expires_at - session.created_at).total_seconds()
        return max((session.expires_at - now).total_seconds(), 0.0), total
    if session.state is not SessionState.WAITING_FOR_CARD:
        return 0.0, 0.0
    total = float(session.card_timeout_s)
    waiting = [step for step in steps if step.kind.value == "waiting_for_card"]
    since = waiting[-1].at if waiting else session.state_since
    if waiting and waiting[-1].remaining_ms is not None:
        total = waiting[-1].remaining_ms / 1000
    return max(total - (now - since).total_seconds(), 0.0), total
