"""The day at a glance: what was sold, how the readers are, and what needs somebody."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import Response

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.db.unit_of_work import Transaction
from control_plane.devices import queries as devices
from control_plane.http.dependencies import ReadDb
from control_plane.http.security import SIGNED_IN
from control_plane.payments import queries as payments
from control_plane.transactions import queries as ledger
from control_plane.transactions.models import Kind, Status
from control_plane.web import present, words
from control_plane.web.i18n import N_
from control_plane.web.pages.pos import recent_sales
from control_plane.web.views import Attention
from control_plane.web.visits import Visit, site_of
from protocols.money import Money
from protocols.session import SessionState

router = APIRouter()

_MOST: Final = 200
_MOST_ATTENTION: Final = 6
_HOURS: Final = 24
_LABEL_EVERY: Final = 6
_BAR_WIDTH: Final = 20
_BAR_HEIGHT: Final = 96
#: A certificate is renewed by itself at two thirds of its 90 days; one that has less left than this is stuck.
_CERTIFICATE_WARNING: Final = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Bar:
    """One hour of the day, in units of the drawing."""

    x: int
    y: int
    height: int
    count: int
    title: str
    label: str


@dataclass(frozen=True, slots=True)
class Day:
    """What was sold today."""

    href: str
    sums: list[Money]
    count: int
    rate: float | None
    average: Money | None
    bars: list[Bar]


@router.get("/")
def overview(request: Request, caller: Annotated[Caller, SIGNED_IN], db: ReadDb) -> Response:
    """What of it this caller may see."""
    site = site_of(request)
    visit = site.visit(db, request, caller)
    readers = (
        devices.readers(db, caller.scope, devices.ReaderFilter(), limit=_MOST)
        if caller.can(Permission.READER_VIEW)
        else []
    )
    sees_sales = caller.can(Permission.TRANSACTION_VIEW)
    return site.page(
        visit,
        "overview.html",
        greeting=_greeting(visit),
        today=visit.today(),
        sales=_day(db, visit) if sees_sales else None,
        attention=_attention(db, visit, readers),
        reader_counts=_counts(readers),
        recent=recent_sales(db, visit) if sees_sales else None,
    )


def _greeting(visit: Visit) -> str:
    hour = visit.now.astimezone(visit.zone).hour
    name = visit.caller.name.split(" ")[0]
    if hour < 12:
        return visit.say(N_("Good morning, %(name)s"), name=name)
    if hour < 18:
        return visit.say(N_("Good afternoon, %(name)s"), name=name)
    return visit.say(N_("Good evening, %(name)s"), name=name)


def _day(db: Transaction, visit: Visit) -> Day:
    scope = visit.caller.scope
    today = visit.today().isoformat()
    since, until = visit.start_of(today), visit.start_of(today, days=1)
    wanted = ledger.TransactionFilter(since=since, until=until)
    sales = replace(wanted, kinds=(Kind.SALE,), statuses=(Status.APPROVED,))
    counts = ledger.count_by_status(db, scope, wanted)
    totals = ledger.totals(db, scope, sales)
    approved, attempts = sum(one.count for one in totals), sum(counts.values())
    average = None
    if len(totals) == 1 and approved:
        average = Money(totals[0].net_minor // approved, totals[0].currency)
    return Day(
        href="/transactions?" + urlencode({"from": today, "to": today}),
        sums=[Money(one.net_minor, one.currency) for one in ledger.totals(db, scope, wanted)],
        count=approved,
        rate=counts.get(Status.APPROVED, 0) / attempts if attempts else None,
        average=average,
        bars=_bars(visit, ledger.moments_of(db, scope, sales)),
    )


def _bars(visit: Visit, moments: list[datetime]) -> list[Bar]:
    counts = Counter(moment.astimezone(visit.zone).hour for moment in moments)
    most = max(counts.values(), default=1)
    bars = []
    for hour in range(_HOURS):
        height = max(round(counts[hour] / most * _BAR_HEIGHT), 3)
        bars.append(
            Bar(
                x=3 + hour * _BAR_WIDTH,
                y=100 - height,
                height=height,
                count=counts[hour],
                title=f"{hour}:00–{hour}:59: {counts[hour]}",
                label=str(hour) if hour % _LABEL_EVERY == 0 else "",
            )
        )
    return bars


def _counts(readers: Any) -> list[tuple[int, words.Word, str]]:
    reaches = Counter(
        present.reach(row.device_is_online, row.device_last_seen_at) for row in readers
    )
    return [
        (reaches[reach], words.REACH[reach], f"/readers?reach={reach}")
        for reach in ("online", "offline", "never_seen")
        if reaches[reach]
    ]


def _attention(db: Transaction, visit: Visit, readers: Any) -> list[Attention]:
    found: list[Attention] = []
    caller = visit.caller
    if caller.can(Permission.PAYMENT_SESSION_VIEW):
        unknown = payments.recent_sessions(
            db, caller.scope, states=[SessionState.UNKNOWN], limit=_MOST_ATTENTION
        )
        found += [
            Attention(
                visit.say(
                    N_("%(amount)s on %(reader)s is not known yet"),
                    amount=visit.formats.money(session.amount),
                    reader=session.reader_name,
                ),
                visit.say(N_("Omnitill is asking the reader. Do not charge it again.")),
                f"/pos/{session.id}",
                "warn",
                "question",
            )
            for session in unknown
        ]
    for row in readers:
        reader = present.reader_row(row, visit.places)
        health = words.word(words.HEALTH, row.state)
        if reader.reach != "online":
            text = visit.say(N_("%(reader)s is offline"), reader=reader.name)
            why = visit.say(words.HEALTH_NEXT["unknown"])
            if reader.last_seen is not None:
                ago = visit.formats.ago(reader.last_seen, visit.now)
                why = visit.say(N_("Last heard of %(when)s."), when=ago)
            found.append(Attention(text, why, reader.href, "bad", "offline"))
        elif health.tone in {"bad", "warn"}:
            text = f"{reader.name}: {visit.say(health.text)}"
            why = visit.health_next(row.state, reader.reason)
            found.append(Attention(text, why, reader.href, health.tone, health.icon))
    if caller.can(Permission.DEVICE_VIEW):
        soon = visit.now + _CERTIFICATE_WARNING
        for device in devices.devices(db, caller.scope, devices.DeviceFilter(), limit=_MOST):
            expires = device.certificate_expires_at
            if expires is not None and expires < soon and device.state.may_connect:
                text = visit.say(N_("The certificate of %(box)s ends soon"), box=device.name)
                why = visit.say(
                    N_("It renews itself when the box is online. It ends %(when)s."),
                    when=visit.formats.ago(expires, visit.now),
                )
                href = f"/readers/boxes/{device.id}"
                found.append(Attention(text, why, href, "warn", "key"))
    return found[:_MOST_ATTENTION]
