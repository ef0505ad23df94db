"""Every template with values as a page would give them: what the preview shows and the template tests render."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import segno
from markupsafe import Markup

from control_plane.accounts.permissions import ROLES, Role
from control_plane.receipts import document as paper
from control_plane.receipts.look import Look
from control_plane.receipts.sheet import sheet_of
from control_plane.web import card_words, words
from control_plane.web.pages.alerts import AlertRow
from control_plane.web.pages.box_support import Check, Line, Order
from control_plane.web.pages.reader_settings import SettingField
from control_plane.web.views import (
    Attention,
    Choice,
    Moment,
    Page,
    Person,
    ReaderChoice,
    ReaderRow,
    SaleRow,
    SessionPanel,
    Shell,
    TillForm,
)
from protocols.money import Money

NOW = datetime(2026, 11, 23, 15, 4, 12, tzinfo=UTC)
OWNER = Person(
    name="Ada Moreau",
    email="owner@demo.example",
    role="owner",
    permissions=frozenset(permission.value for permission in ROLES[Role.OWNER]),
)
CASHIER = Person(
    name="Jules Petit",
    email="cashier@demo.example",
    role="cashier",
    permissions=frozenset(permission.value for permission in ROLES[Role.CASHIER]),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A template, where it would be found, and what it shows."""

    template: str
    path: str
    context: Mapping[str, object]
    person: Person | None = OWNER
    status: int = 200

    def shell(self, theme: str = "") -> Shell:
        return Shell(
            world="demo",
            theme=theme,
            zone=ZoneInfo("Europe/Paris"),
            csrf="token",
            path=self.path,
            place="Maison Perrin · Lyon",
            person=self.person,
        )


def eur(minor: int) -> Money:
    return Money(minor, "EUR")


READERS = [
    ReaderChoice("rd_1", "Counter 1", "Lyon", "online", "ready"),
    ReaderChoice("rd_2", "Counter 2", "Lyon", "online", "busy"),
    ReaderChoice("rd_3", "Terrace", "Lyon", "offline", "disconnected"),
    ReaderChoice("rd_4", "Kiosk", "Lyon", "online", "ready", lacks=card_words.NO_PROCESSOR),
]
SALES = [
    SaleRow(
        "/transactions/tx_1",
        NOW - timedelta(seconds=40),
        eur(12_34),
        "sale",
        "approved",
        "Counter 1",
        "Lyon",
        "Jules Petit",
        "Visa •• 4242",
    ),
    SaleRow(
        "/pos/ts_2",
        NOW - timedelta(minutes=4),
        eur(89_90),
        "sale",
        "unknown",
        "Counter 2",
        "Lyon",
        "Jules Petit",
    ),
    SaleRow(
        "/transactions/tx_3",
        NOW - timedelta(minutes=9),
        eur(4_20),
        "sale",
        "approved",
        "Counter 1",
        "Lyon",
        "Ada Moreau",
        "Girocard •• 0310",
        reference="A-1049",
    ),
    SaleRow(
        "/transactions/tx_4",
        NOW - timedelta(minutes=13),
        eur(230_00),
        "sale",
        "declined",
        "Counter 1",
        "Lyon",
        "Jules Petit",
        "Mastercard •• 5100",
    ),
    SaleRow(
        "/transactions/tx_5",
        NOW - timedelta(minutes=31),
        eur(17_50),
        "refund",
        "approved",
        "Counter 2",
        "Lyon",
        "Ada Moreau",
        "Visa •• 4242",
    ),
    SaleRow(
        "/transactions/tx_6",
        NOW - timedelta(hours=1),
        eur(6_00),
        "sale",
        "cancelled",
        "Counter 2",
        "Lyon",
        "Jules Petit",
    ),
    SaleRow(
        "/transactions/tx_7",
        NOW - timedelta(hours=27),
        eur(1_249_00),
        "sale",
        "approved",
        "Counter 1",
        "Lyon",
        "Ada Moreau",
        "Amex •• 0005",
    ),
]
FORM = TillForm(
    key="idem-1",
    currencies=["EUR", "CHF", "GBP", "JPY", "USD"],
    currency="EUR",
    readers=READERS,
    reader_id="rd_1",
)
RECEIPT = sheet_of(
    paper.Receipt(
        id="tx_06f3k8m2r4s6t8v0w2x4y6z8a0",
        merchant="Maison Perrin",
        place="12 rue Mercière, 69002 Lyon",
        at=NOW,
        zone=ZoneInfo("Europe/Paris"),
        kind="sale",
        standing=paper.Standing.DONE,
        total=eur(12_34),
        items=(
            paper.Item(name="Espresso", quantity=2, unit=eur(2_50), total=eur(5_00)),
            paper.Item(name="Tarte Tatin", quantity=1, unit=eur(7_34), total=eur(7_34)),
        ),
        card_brand="visa",
        card_last4="4242",
        entry_mode="contactless",
        approval_code="042817",
        terminal_id="68210437",
        receipt_number=117,
        aid="A0000000031010",
        printed=("* CUSTOMER COPY *", "SIM TERMINAL 1.02", "APPROVED", "Thank you"),
    ),
    Look(message="Thank you, and see you soon."),
    "en",
)
SESSION = SessionPanel(
    id="ts_06g1",
    amount=eur(12_34),
    kind="sale",
    state="waiting_for_card",
    reader="Counter 1",
    place="Lyon",
    started_at=NOW,
    seconds_left=47,
    seconds_total=60,
    can_cancel=True,
    reference="A-1050",
)
CHOICES = {
    "status": [Choice("approved", "Approved"), Choice("declined", "Declined")],
    "channel": [Choice(key, text) for key, text in words.CHANNELS.items()],
    "method": [Choice(key, text) for key, text in words.METHODS.items()],
    "location": [Choice("loc_1", "Lyon"), Choice("loc_2", "Annecy")],
    "reader": [Choice("rd_1", "Counter 1")],
    "cashier": [Choice("usr_1", "Jules Petit")],
    "health": [Choice("ready", "Ready")],
    "actor": [Choice("usr_1", "Jules Petit")],
}
NO_FILTERS = dict.fromkeys(
    [
        "q",
        "from",
        "to",
        "status",
        "channel",
        "method",
        "location",
        "reader",
        "cashier",
        "amount",
        "reach",
        "health",
        "actor",
    ],
    "",
)
MOMENTS = [
    Moment(NOW - timedelta(seconds=9), "Sale started", "till", "wait", by="Jules Petit"),
    Moment(NOW - timedelta(seconds=8), "Calling the reader", "send", "wait"),
    Moment(NOW - timedelta(seconds=7), "Waiting for the card", "tap", "wait"),
    Moment(NOW - timedelta(seconds=4), "Card seen", "card", "wait"),
    Moment(NOW - timedelta(seconds=3), "Asking the bank", "bank", "wait"),
    Moment(NOW, "Approved", "check", "good", detail="APPROVED 042817"),
]
FACTS: list[tuple[str, str, str, str]] = [
    ("Transaction", "tx_06g1xkq7m5v8n2b4c6d8f0g1h3", "id", ""),
    ("Session", "ts_06g1xkq7m5v8n2b4c6d8f0g1h3", "id", ""),
    ("Card", "Visa •••• 4242", "", ""),
    ("Read as", "Tapped", "", ""),
    ("Approval code", "042817", "", ""),
    ("Reader", "Counter 1", "", "/readers/rd_1"),
    ("Shop", "Lyon", "", ""),
    ("Cashier", "Jules Petit", "", ""),
    ("Order number", "A-1050", "", ""),
    ("Channel", "In person", "", ""),
]
FLEET = [
    ReaderRow(
        "rd_1",
        "/readers/rd_1",
        "Counter 1",
        "Lyon",
        "CCV Base Next",
        "online",
        "in_sync",
        "ready",
        software="1.02.3",
        last_seen=NOW - timedelta(seconds=3),
    ),
    ReaderRow(
        "rd_2",
        "/readers/rd_2",
        "Counter 2",
        "Lyon",
        "Ingenico Desk/3500",
        "online",
        "applying",
        "busy",
        software="8.12",
        last_seen=NOW - timedelta(seconds=9),
    ),
    ReaderRow(
        "rd_3",
        "/readers/rd_3",
        "Terrace",
        "Lyon",
        "Verifone V400m",
        "offline",
        "pending",
        "disconnected",
        "The cable was pulled",
        software="8.12",
        last_seen=NOW - timedelta(hours=3),
    ),
    ReaderRow("rd_4", "/readers/rd_4", "Window", "Annecy", "", "never_seen", "none", "unknown"),
]
BOXES = [
    SimpleNamespace(
        id="dev-1",
        href="/readers/boxes/dev-1",
        name="lyon-till",
        place="Lyon",
        reach="online",
        sync="in_sync",
        readers=3,
        version="0.1.0",
        last_seen=NOW - timedelta(seconds=2),
    ),
    SimpleNamespace(
        id="dev-2",
        href="/readers/boxes/dev-2",
        name="annecy-till",
        place="Annecy",
        reach="offline",
        sync="pending",
        readers=1,
        version="0.1.0",
        last_seen=NOW - timedelta(hours=5),
    ),
]
TABS = [
    SimpleNamespace(href="/readers", count=4, word=None, is_current=True),
    SimpleNamespace(
        href="/readers?reach=online", count=2, word=words.REACH["online"], is_current=False
    ),
    SimpleNamespace(
        href="/readers?reach=offline", count=1, word=words.REACH["offline"], is_current=False
    ),
    SimpleNamespace(
        href="/readers?reach=never_seen", count=1, word=words.REACH["never_seen"], is_current=False
    ),
]
CODE_TEXT = "K7PM-4XQ9"
COMMAND = f"omnitill-agent enroll --url https://till.example --code {CODE_TEXT}"
CODE = SimpleNamespace(
    id="enr_1",
    href="/readers/codes/enr_1",
    place="Lyon",
    hint="K7PM-••••",
    text=CODE_TEXT,
    command=COMMAND,
    used=0,
    uses=1,
    is_open=True,
    expires_at=NOW + timedelta(minutes=60),
    boxes=[],
    qr=Markup(segno.make(COMMAND).svg_inline(border=1, omitsize=True)),  # noqa: S704 - our own drawing
)


def act(key: str, text: str, icon: str, **more: object) -> SimpleNamespace:
    empty = {
        "href": "",
        "action": "",
        "confirm": "",
        "title": "",
        "is_grave": False,
        "field": "",
        "field_label": "",
        "options": [],
        "value": "",
    }
    return SimpleNamespace(**{"key": key, "text": text, "icon": icon, **empty, **more})


def _till(**context: object) -> dict[str, object]:
    return {"form": FORM, "session": None, "pay": None, "sales": SALES, **context}


def _session(**changes: object) -> dict[str, object]:
    return _till(session=replace(SESSION, **changes))  # type: ignore[arg-type]  # the names of its fields


def _bars() -> list[SimpleNamespace]:
    counts = [0, 0, 0, 0, 0, 0, 0, 0, 3, 5, 9, 14, 18, 11, 8, 12, 2, 0, 0, 0, 0, 0, 0, 0]
    return [
        SimpleNamespace(
            x=3 + hour * 20,
            y=100 - max(count * 5, 3),
            height=max(count * 5, 3),
            count=count,
            title=f"{hour}:00: {count}",
            label=f"{hour}" if hour % 6 == 0 else "",
        )
        for hour, count in enumerate(counts)
    ]


SAMPLES: dict[str, Sample] = {
    "sign-in": Sample(
        "sign_in.html",
        "/sign-in",
        {
            "problem": "",
            "wait_s": 0,
            "next": "/",
            "email": "",
            "demo_accounts": [
                ("owner", "owner@demo.example", "demo-owner"),
                ("cashier", "cashier@demo.example", "demo-cashier"),
            ],
        },
        person=None,
    ),
    "sign-in-refused": Sample(
        "sign_in.html",
        "/sign-in",
        {
            "problem": "This e-mail and password do not belong together. Check both, and Caps Lock.",
            "wait_s": 0,
            "next": "/",
            "email": "a@b.example",
            "demo_accounts": [],
        },
        person=None,
    ),
    "pos": Sample("pos/page.html", "/pos", _till(), person=CASHIER),
    "pos-problem": Sample(
        "pos/page.html",
        "/pos",
        _till(
            form=replace(
                FORM,
                amount="12.345",
                reference="A-1",
                problems={
                    "amount": "EUR has two digits after the point. Write the amount like 12.34.",
                    "reader": "Terrace is offline. Check its cable, or pick another reader.",
                },
            )
        ),
    ),
    "pos-empty": Sample("pos/page.html", "/pos", _till(form=replace(FORM, readers=[]), sales=[])),
    "pos-calling": Sample(
        "pos/page.html", "/pos/ts_1", _session(state="created", seconds_left=12, seconds_total=15)
    ),
    "pos-waiting": Sample("pos/page.html", "/pos/ts_1", _session()),
    "pos-bank": Sample("pos/page.html", "/pos/ts_1", _session(state="authorizing", seconds_left=0)),
    "pos-unknown": Sample(
        "pos/page.html", "/pos/ts_1", _session(state="unknown", seconds_left=0, can_cancel=False)
    ),
    "pos-approved": Sample(
        "pos/page.html",
        "/pos/ts_1",
        _session(
            state="approved",
            receipt=RECEIPT,
            card="Visa •••• 4242",
            authorization_code="042817",
            transaction_href="/transactions/tx_1",
        ),
    ),
    "pos-found": Sample(
        "pos/page.html",
        "/pos/ts_1",
        _session(
            state="approved",
            receipt=RECEIPT,
            card="Visa •••• 4242",
            authorization_code="042817",
            decided_by="recall",
            explanation="The reader's last receipt 0117 shows 12.34 EUR approved.",
        ),
    ),
    "pos-declined": Sample(
        "pos/page.html",
        "/pos/ts_1",
        _session(
            state="declined",
            result_code=51,
            result_text="INSUFFICIENT FUNDS",
            transaction_href="/transactions/tx_1",
        ),
    ),
    "pos-cancelled": Sample("pos/page.html", "/pos/ts_1", _session(state="cancelled")),
    "pos-failed": Sample("pos/page.html", "/pos/ts_1", _session(state="failed", result_code=None)),
    "transactions": Sample(
        "transactions/list.html",
        "/transactions",
        {
            "filters": NO_FILTERS,
            "filters_open": False,
            "choices": CHOICES,
            "problems": [],
            "totals": [
                ("Approved", "€1,265.54"),
                ("Given back", "€17.50"),
                ("Net", "€1,248.04"),
                ("Attempts", "7"),
            ],
            "rows": SALES,
            "page": Page(next="/transactions?after=x"),
            "is_filtered": False,
            "view": "book",
            "export_href": "/transactions/file?",
            "open_count": 3,
        },
    ),
    "transactions-none": Sample(
        "transactions/list.html",
        "/transactions",
        {
            "filters": {**NO_FILTERS, "q": "4243"},
            "filters_open": True,
            "choices": CHOICES,
            "problems": ["Write the amount like 12.34."],
            "totals": [],
            "rows": [],
            "page": Page(),
            "is_filtered": True,
            "view": "book",
            "export_href": "/transactions/file?",
            "open_count": None,
        },
    ),
    "readers": Sample(
        "readers/list.html",
        "/readers",
        {
            "tabs": TABS,
            "filters": NO_FILTERS,
            "choices": CHOICES,
            "readers": FLEET,
            "boxes": BOXES,
            "codes": [CODE],
            "is_filtered": False,
            "query": "",
            "page": Page(),
            "has_more_boxes": False,
            "alerts_open": 2,
        },
    ),
    "readers-none": Sample(
        "readers/list.html",
        "/readers",
        {
            "tabs": TABS[:1],
            "filters": NO_FILTERS,
            "choices": CHOICES,
            "readers": [],
            "boxes": [],
            "codes": [],
            "is_filtered": False,
            "query": "",
            "page": Page(),
            "has_more_boxes": False,
            "alerts_open": 2,
        },
    ),
    "reader": Sample(
        "readers/detail.html",
        "/readers/rd_1",
        {
            "thing": SimpleNamespace(name="Counter 1", kind="CCV Base Next", place="Lyon"),
            "acts": [
                act("test", "Test the line", "tap", action="/x"),
                act(
                    "retire",
                    "Retire",
                    "stop",
                    action="/x",
                    confirm="It takes no more payments. Its history stays.",
                    title="Retire Counter 1?",
                    is_grave=True,
                ),
            ],
            "notice": "",
            "notice_tone": "good",
            "axes": [
                SimpleNamespace(
                    name="Reach", word=words.REACH["online"], why="Heard of 3 seconds ago."
                ),
                SimpleNamespace(
                    name="Health", word=words.HEALTH["ready"], why="It takes payments."
                ),
                SimpleNamespace(
                    name="Sync", word=words.SYNC["in_sync"], why="Nothing waits on the box."
                ),
            ],
            "facts": FACTS,
            "related": [
                SimpleNamespace(
                    href="/pos/ts_1", text="€12.34", sub="16:04", word=words.SESSION["approved"]
                )
            ],
            "related_title": "Latest sales",
            "moments": MOMENTS,
            "live": "/readers/rd_1/live",
        },
    ),
    "alerts": Sample(
        "alerts.html",
        "/alerts",
        {
            "alerts": [
                AlertRow(
                    "alr_1",
                    words.word(words.ALERTS, "reader.failing"),
                    "Counter 1",
                    "/readers/rd_1",
                    "Lyon",
                    NOW,
                    3,
                )
            ],
            "state": "open",
            "taken": 1,
            "page": Page(next="/alerts?cursor=x"),
        },
    ),
    "alerts-none": Sample(
        "alerts.html",
        "/alerts?state=resolved",
        {"alerts": [], "state": "resolved", "taken": None, "page": Page()},
    ),
    "boxes": Sample(
        "readers/boxes.html",
        "/readers/boxes",
        {
            "boxes": BOXES,
            "filters": {"q": "", "location": "", "reach": ""},
            "is_filtered": False,
            "choices": {"location": [], "reach": [Choice("online", "Online")]},
            "page": Page(next="/readers/boxes?cursor=x"),
        },
    ),
    "boxes-none": Sample(
        "readers/boxes.html",
        "/readers/boxes",
        {
            "boxes": [],
            "filters": {"q": "nobody", "location": "", "reach": ""},
            "is_filtered": True,
            "choices": {"location": [], "reach": []},
            "page": Page(),
        },
    ),
    "box-support": Sample(
        "readers/support.html",
        "/readers/boxes/dev-1/support",
        {
            "box": {"id": "dev-1", "name": "till-1", "is_online": False},
            "levels": [Choice("info", "All lines")],
            "follow_minutes": 5,
            "orders": [
                Order(
                    "Test",
                    words.word(words.COMMAND_STATES, "failed"),
                    NOW,
                    "Nothing listens.",
                    (Check("broker", words.word(words.CHECKS, "bad"), "Nothing listens."),),
                    "",
                ),
                Order(
                    "Bundle", words.word(words.COMMAND_STATES, "succeeded"), NOW, "", (), "/v1/x"
                ),
            ],
            "lines": [Line(1, NOW, "warn", "warning", "reader_gone", "name=counter-1")],
        },
    ),
    "reader-settings": Sample(
        "readers/settings.html",
        "/readers/rd_1/settings",
        {
            "reader": {"id": "rd_1", "name": "Counter 1", "place": "Lyon"},
            "model": "any ECR17 terminal on the network (Italy)",
            "fields": [
                SettingField(
                    "lrc_mode",
                    "enum",
                    "Check character",
                    "Which bytes it covers.",
                    "stx",
                    "std",
                    [Choice(one, one) for one in ("std", "stx", "noext", "stx_noext")],
                    is_secret=False,
                    is_set=False,
                    is_number=False,
                    most=200,
                ),
                SettingField(
                    "password",
                    "digits",
                    "Password of the terminal",
                    "It is never shown again.",
                    "",
                    "",
                    [],
                    is_secret=True,
                    is_set=True,
                    is_number=True,
                    most=6,
                ),
                SettingField(
                    "max_amount_minor",
                    "int",
                    "Largest payment, in cents",
                    "Counted in cents.",
                    "12x",
                    "",
                    [],
                    is_secret=False,
                    is_set=False,
                    is_number=True,
                    most=200,
                ),
            ],
            "axes": [
                SimpleNamespace(
                    name="Sync",
                    word=words.word(words.SYNC, "pending"),
                    why="Nothing waits on the box.",
                )
            ],
            "problems": {
                "max_amount_minor": "Largest payment, in cents takes a whole number from 1 to 99999999."
            },
            "saved": False,
            "changed": "Last changed by Ada, 23 Nov 2026, 14:02.",
        },
    ),
    "reader-add": Sample(
        "readers/add.html",
        "/readers/add",
        {
            "places": CHOICES["location"],
            "problems": {},
            "validities": [(15, "15 minutes"), (60, "1 hour"), (1440, "1 day")],
        },
    ),
    "reader-code": Sample("readers/code.html", "/readers/codes/enr_1", {"code": CODE}),
    "overview": Sample(
        "overview.html",
        "/",
        {
            "greeting": "Good afternoon, Ada",
            "today": date(2026, 11, 23),
            "sales": SimpleNamespace(
                href="/transactions",
                sums=[eur(1_265_54)],
                count=82,
                rate=0.964,
                average=eur(15_43),
                bars=_bars(),
            ),
            "attention": [
                Attention(
                    "Terrace is offline",
                    "Lyon has not heard of it for 3 hours.",
                    "/readers/rd_3",
                    "bad",
                    "offline",
                ),
                Attention(
                    "One sale is not known yet",
                    "€89.90 on Counter 2. Omnitill is asking the reader.",
                    "/pos/ts_2",
                    "warn",
                    "question",
                ),
            ],
            "reader_counts": [
                (2, words.REACH["online"], "/readers"),
                (1, words.REACH["offline"], "/readers"),
                (1, words.REACH["never_seen"], "/readers"),
            ],
            "recent": SALES[:4],
        },
    ),
    "team": Sample(
        "team.html",
        "/team",
        {
            "notice": "",
            "members": [
                SimpleNamespace(
                    id="usr_1",
                    can_change=False,
                    name="Ada Moreau",
                    email="owner@demo.example",
                    role="owner",
                    places="All shops",
                    since=NOW,
                    has_password=True,
                    is_active=True,
                ),
                SimpleNamespace(
                    id="usr_2",
                    can_change=True,
                    name="Jules Petit",
                    email="cashier@demo.example",
                    role="cashier",
                    places="Lyon",
                    since=NOW,
                    has_password=False,
                    is_active=True,
                ),
            ],
            "roles": [
                (role.value, sorted(permission.value for permission in permissions))
                for role, permissions in ROLES.items()
            ],
        },
    ),
    "team-add": Sample(
        "team_add.html",
        "/team/add",
        {
            "wanted": SimpleNamespace(name="Lina", email="lina@", role="cashier", location=""),
            "problems": {"email": "Write the address like name@example.com."},
            "roles": [Choice("cashier", "Cashier")],
            "shops": CHOICES["location"],
            "link": "",
        },
    ),
    "team-added": Sample(
        "team_add.html",
        "/team/add",
        {
            "wanted": SimpleNamespace(name="Lina Roy", email="lina@demo.example"),
            "link": "https://till.example/invitation#token",
            "ends_at": NOW + timedelta(hours=72),
        },
    ),
    "invitation": Sample(
        "invitation.html",
        "/invitation",
        {"token": "", "problems": {"password": "Choose a password of 10 to 200 characters."}},
        person=None,
    ),
    "keys": Sample(
        "keys/list.html",
        "/keys",
        {
            "keys": [
                SimpleNamespace(
                    id="key_1",
                    name="Book-keeping",
                    prefix="omk_demo_8sFq",
                    scopes=("report:view", "transaction:view"),
                    places="All shops",
                    used_at=NOW - timedelta(minutes=4),
                    state="active",
                )
            ]
        },
    ),
    "keys-none": Sample("keys/list.html", "/keys", {"keys": []}),
    "keys-add": Sample(
        "keys/add.html",
        "/keys/add",
        {
            "wanted": SimpleNamespace(name="", scopes=frozenset({"report:view"}), location=""),
            "problems": {"name": "Write what the key is for."},
            "scopes": ["report:view", "transaction:view"],
            "shops": CHOICES["location"],
            "secret": "",
        },
    ),
    "activity": Sample(
        "activity.html",
        "/activity",
        {
            "filters": NO_FILTERS,
            "choices": CHOICES,
            "events": [
                SimpleNamespace(
                    at=NOW,
                    text="Started a payment",
                    tag="payment:session:create",
                    actor="Jules Petit",
                    address="127.0.0.1",
                    object="ts_06g1",
                    details='{"amount_minor": 1234}',
                ),
                SimpleNamespace(
                    at=NOW,
                    text="Signed in",
                    tag="user:session:create",
                    actor="Ada Moreau",
                    address="127.0.0.1",
                    object="usr_1",
                    details="",
                ),
            ],
            "page": Page(),
        },
    ),
    "not-found": Sample(
        "errors/page.html",
        "/nowhere",
        {
            "title": "There is no such page",
            "text": "The address may be old. Nothing was lost.",
            "ways": [("/", "Go to the overview")],
            "request_id": "",
        },
        status=404,
    ),
    "forbidden": Sample(
        "errors/page.html",
        "/team",
        {
            "notice": "",
            "title": "You may not see this",
            "text": "This needs the permission user:view. An owner can give it to you.",
            "ways": [("/pos", "Take a payment")],
            "request_id": "req_1",
        },
        person=CASHIER,
        status=403,
    ),
    "offline": Sample("offline.html", "/offline", {}, person=None),
}

Render = Callable[[Sample], str]
