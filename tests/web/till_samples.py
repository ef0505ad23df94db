"""Pages of the till's settings, of a transaction, refunds and disputes, with values as a page would give them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from control_plane.end_of_day.closings import Schedule
from control_plane.till.item_files import Imported
from control_plane.till.values import Colour, TaxMode, TaxRate, TillItem
from control_plane.web import pay_words, refund_words, till_words, words
from control_plane.web.closing_words import WHY, ClosingRow, DifferenceRow
from control_plane.web.pages.approvals import Waiting
from control_plane.web.pages.settings_fields import FieldRow
from control_plane.web.pages.settings_presets import PresetRow
from control_plane.web.sale_views import (
    Disputed,
    Fact,
    GivenBack,
    RefundForm,
    SoldLine,
    Try,
    Twin,
)
from control_plane.web.views import Choice, Page
from tests.web.samples import MOMENTS, NOW, RECEIPT, SALES, Sample, eur

CLOSINGS = [
    ClosingRow("Counter 1", "Lyon", NOW, eur(812_40), 31, eur(812_40), 31, True, []),
    ClosingRow(
        "Counter 2",
        "Lyon",
        NOW,
        eur(120_00),
        4,
        eur(132_40),
        5,
        False,
        [DifferenceRow(WHY["outside"], eur(-12_40), -1, "/transactions/tx_1", 18)],
    ),
]
VAT = TaxRate("tax_1", "TVA 20", Decimal(20), TaxMode.INCLUSIVE)
LOW = TaxRate("tax_2", "TVA 5,5", Decimal("5.5"), TaxMode.INCLUSIVE)
CHANNELS = {one.value: text for one, text in till_words.CHANNELS.items()}
POLICIES = [Choice(one.value, text) for one, text in till_words.POLICIES.items()]
ITEMS = [
    TillItem(
        id="itm_1", name="Espresso", price=eur(2_20), code="C1", quick_key=1, colour=Colour.YELLOW
    ),
    TillItem(
        id="itm_2",
        name="Croissant",
        price=eur(1_50),
        quick_key=2,
        colour=Colour.PINK,
        tax_id="tax_2",
    ),
    TillItem(
        id="itm_3",
        name="Menu of the day with coffee",
        price=eur(17_90),
        quick_key=4,
        colour=Colour.GREEN,
    ),
    TillItem(id="itm_4", name="Catering for a hundred", price=eur(2_400_00), code="CAT-100"),
]
BOARD: list[TillItem | None] = [
    next((item for item in ITEMS if item.quick_key == key), None) for key in range(1, 25)
]
FIELDS = [
    FieldRow(
        "fld_1",
        "Order number",
        "order_number",
        "Order number",
        "Keyed card, Payment link",
        "AB-1234",
        True,
    ),
    FieldRow(
        "fld_2",
        "Department",
        "department",
        "List to choose from",
        "",
        "Bar, Kitchen, Terrace",
        False,
    ),
]
PRESETS = [
    PresetRow(
        "pre_1",
        "Monthly retainer",
        eur(150_00),
        "Keyed card",
        "RET",
        "Atelier Roux",
        "F1",
        "https://x/pos?preset=pre_1",
    ),
    PresetRow("pre_2", "Deposit", eur(50_00), "", "", "", "", "https://x/pos?preset=pre_2"),
]
LINES = [
    SoldLine(
        index=0,
        name="Chair",
        quantity=3,
        unit=eur(15_00),
        total=eur(45_00),
        tax="TVA 20",
        left=2,
    ),
    SoldLine(index=1, name="Lamp", quantity=1, unit=eur(15_00), total=eur(15_00), tax="", left=1),
]
FACTS = [
    Fact("Transaction", "tx_01k9m3v6x2e8t4q7w5y1z0a2b3", "id"),
    Fact("Customer", "Léa Marchand", href="/customers/cst_1"),
    Fact("Card", "Visa •••• 4242"),
    Fact("Order number", "1042"),
    Fact("Fee", "€1.15"),
    Fact("Reaches your account", "€58.85"),
    Fact("Payment intent", "pi_3PxQ2s2eZvKYlo2C1a2b3c4d", "id"),
]
CHECKS = [
    ("Security code", pay_words.VERDICTS["pass"]),
    ("Postal code", pay_words.VERDICTS["fail"]),
    ("3-D Secure", refund_words.CHECKED["3-D Secure"]),
    ("Risk", refund_words.CHECKED["normal"]),
]
TRIES = [
    Try(
        number=1,
        method="Keyed card",
        word=pay_words.ATTEMPT["declined"],
        card="Visa •••• 0002",
        at=NOW,
        reason="There is not enough money on the account.",
        advice="Ask for another card.",
        code="insufficient_funds",
        checks=[],
    ),
    Try(
        number=2,
        method="Keyed card",
        word=pay_words.ATTEMPT["succeeded"],
        card="Visa •••• 4242",
        at=NOW,
        reason="",
        advice="",
        code="",
        checks=CHECKS,
    ),
]
REFUNDS = [
    GivenBack(
        id="rfd_01k9m3v6x2e8t4q7w5y1z0a2b3",
        amount=eur(15_00),
        word=refund_words.REFUND["succeeded"],
        reason=refund_words.REASONS["requested_by_customer"],
        note="One chair was broken",
        by="Ada Moreau",
        decided_by="",
        at=NOW,
        failure="",
        href="/transactions/tx_9",
        can_look=False,
    ),
    GivenBack(
        id="rfd_01k9m3v6x2e8t4q7w5y1z0a2b4",
        amount=eur(30_00),
        word=refund_words.REFUND["awaiting_approval"],
        reason=refund_words.REASONS["other"],
        note="",
        by="Ada Moreau",
        decided_by="",
        at=NOW,
        failure="",
        href="",
        can_look=False,
    ),
    GivenBack(
        id="rfd_01k9m3v6x2e8t4q7w5y1z0a2b5",
        amount=eur(5_00),
        word=refund_words.REFUND["unknown"],
        reason=refund_words.REASONS["duplicate"],
        note="",
        by="Ada Moreau",
        decided_by="Léon Perrin",
        at=NOW,
        failure="",
        href="",
        can_look=True,
    ),
]
DISPUTES = [
    Disputed(
        id="dsp_1",
        amount=eur(60_00),
        word=refund_words.DISPUTE["needs_response"],
        reason="Not the cardholder",
        due_by=NOW + timedelta(days=7),
        is_open=True,
        at=NOW,
        href="/transactions/pay_1",
    ),
    Disputed(
        id="dsp_2",
        amount=eur(12_00),
        word=refund_words.DISPUTE["lost"],
        reason="Nothing was delivered",
        due_by=None,
        is_open=False,
        at=NOW,
        href="",
    ),
]
FORM = RefundForm(
    key="frm_1",
    action="/transactions/pay_1/refunds",
    left=eur(45_00),
    amount="45.00",
    currency="EUR",
    by="all",
    reason="requested_by_customer",
    note="",
    reasons=list(refund_words.REASONS.items()),
    lines=LINES,
    approval_above=eur(40_00),
)
SALE: dict[str, Any] = {
    "sale_id": "tx_01k9m3v6x2e8t4q7w5y1z0a2b3",
    "amount": eur(60_00),
    "kind": "sale",
    "at": NOW,
    "word": words.SESSION["approved"],
    "badges": [words.Word("Partly given back", "undo", "off")],
    "notes": [],
    "facts": FACTS,
    "lines": LINES,
    "tax": eur(7_50),
    "tip": eur(3_00),
    "tries": TRIES,
    "refunds": REFUNDS,
    "disputes": [],
    "twins": [],
    "moments": MOMENTS,
    "raw": "{}",
    "receipt": RECEIPT,
    "receipt_href": "/v1/transactions/tx_1/receipt",
    "shop_copy": "",
    "can_reverse": False,
    "may_refund": True,
    "left": eur(45_00),
    "till_href": "",
    "payment_id": "pay_1",
    "email": "lea@example.com",
    "refund_form": FORM,
    "asked": None,
    "sent": False,
    "notice": "",
    "mail_key": "frm_2",
}
ON_READER: dict[str, Any] = {
    **SALE,
    "badges": [],
    "lines": [],
    "tax": None,
    "tip": None,
    "tries": [],
    "refunds": [],
    "refund_form": None,
    "can_reverse": True,
    "left": None,
    "shop_copy": "* SHOP COPY *\nCARD PAYMENT",
}
DECLINED: dict[str, Any] = {
    **ON_READER,
    "word": words.SESSION["declined"],
    "receipt": None,
    "can_reverse": False,
    "shop_copy": "",
    "notes": [
        ("bad", "cross", "There is not enough money on the account.", "Ask for another card.")
    ],
}
WRITTEN_TILL = {
    "currencies": ["EUR", "USD"],
    "tip_percents": "5  10  15",
    "default_tax": "tax_1",
    "duplicate_minutes": "10",
    "link_hours": "72",
    "address_check": "accept",
    "postal_code_check": "ask",
    "cvc_check": "block",
    "tips_when_keyed": True,
    "moto": False,
    "capture_later": False,
}
MEMBER: dict[str, Any] = {
    "saved": False,
    "problems": {},
    "is_self": False,
    "can_change": True,
    "condition": "active",
    "member": SimpleNamespace(
        id="usr_2", name="Jules Petit", email="jules@maison-perrin.fr", role="cashier"
    ),
    "roles": [Choice("cashier", "Cashier"), Choice("manager", "Manager")],
    "shops": [Choice("", "All shops"), Choice("loc_1", "Lyon")],
    "places": "Lyon",
    "chosen": ["loc_1"],
    "permissions": ["payment:charge:create"],
    "currencies": ["EUR", "USD"],
    "written": {"charge": {"EUR": "500.00"}, "day": {}, "refund": {}},
    "channels": CHANNELS,
    "methods": ["reader", "keyed"],
    "limits": ["€500.00 at once"],
}
WAITING = [
    Waiting(
        id="rfd_1",
        amount=eur(230_00),
        of=eur(460_00),
        at=NOW - timedelta(minutes=7),
        by="Ada Moreau",
        reason=refund_words.REASONS["requested_by_customer"],
        note="Two of four chairs came back",
        customer="Léa Marchand",
        card="Visa •••• 4242",
        href="/transactions/pay_1",
        is_own=False,
        above=None,
    ),
    Waiting(
        id="rfd_2",
        amount=eur(900_00),
        of=eur(900_00),
        at=NOW - timedelta(hours=3),
        by="Jules Petit",
        reason=refund_words.REASONS["other"],
        note="",
        customer="",
        card="Mastercard •••• 4444",
        href="/transactions/pay_2",
        is_own=False,
        above=eur(500_00),
    ),
    Waiting(
        id="rfd_3",
        amount=eur(120_00),
        of=eur(120_00),
        at=NOW - timedelta(hours=5),
        by="Léon Perrin",
        reason=refund_words.REASONS["duplicate"],
        note="",
        customer="",
        card="",
        href="/transactions/pay_3",
        is_own=True,
        above=None,
    ),
]

TILL_SAMPLES: dict[str, Sample] = {
    "transaction": Sample("transactions/detail.html", "/transactions/tx_1", ON_READER),
    "transaction-declined": Sample("transactions/detail.html", "/transactions/tx_4", DECLINED),
    "transaction-keyed": Sample("transactions/detail.html", "/transactions/tx_1", SALE),
    "transaction-disputed": Sample(
        "transactions/detail.html",
        "/transactions/tx_1",
        {
            **SALE,
            "disputes": DISPUTES,
            "twins": [Twin(id="pay_2", href="/transactions/pay_2", at=NOW)],
            "asked": SimpleNamespace(
                tone="warn",
                icon="clock",
                text="€30.00: the refund waits for approval.",
                more="",
                stop="",
                live="",
            ),
            "sent": True,
        },
    ),
    "transaction-refused": Sample(
        "transactions/detail.html",
        "/transactions/tx_1",
        {
            **SALE,
            "refund_form": replace(
                FORM,
                is_open=True,
                by="amount",
                amount="99",
                problem="€45.00 of this payment can still be given back. Enter at most that.",
            ),
        },
    ),
    "transactions-open": Sample(
        "transactions/open.html",
        "/transactions/open",
        {
            "rows": [
                replace(row, payment_state=state)
                for row, state in zip(SALES, ("authorized", "processing", "unknown"), strict=False)
            ],
            "counts": [("authorized", 1), ("processing", 1), ("unknown", 1)],
            "chosen": "",
            "q": "",
            "view": "open",
            "open_count": 3,
            "page": Page(),
        },
    ),
    "transactions-open-none": Sample(
        "transactions/open.html",
        "/transactions/open",
        {
            "rows": [],
            "counts": [],
            "chosen": "",
            "q": "",
            "view": "open",
            "open_count": 0,
            "page": Page(),
        },
    ),
    "approvals": Sample(
        "approvals.html",
        "/approvals",
        {
            "waiting": WAITING,
            "notice": "",
            "decided": (
                refund_words.REFUND["succeeded"],
                "€15.00 is on its way back.",
                "/transactions/pay_1",
            ),
        },
    ),
    "approvals-none": Sample(
        "approvals.html",
        "/approvals",
        {"waiting": [], "notice": "This refund was approved already.", "decided": None},
    ),
    "end-of-day": Sample(
        "end_of_day.html",
        "/end-of-day",
        {
            "closings": CLOSINGS,
            "every": True,
            "schedules": [Schedule("loc_1", "Lyon", "Europe/Paris", "03:30")],
            "saved": "loc_1",
            "problems": {},
            "page": Page(),
        },
    ),
    "end-of-day-none": Sample(
        "end_of_day.html",
        "/end-of-day",
        {
            "closings": [],
            "every": False,
            "schedules": [Schedule("loc_1", "Lyon", "Europe/Paris", "")],
            "saved": "",
            "problems": {"loc_1": "9 is no time of day."},
            "page": Page(),
        },
    ),
    "disputes": Sample(
        "disputes.html", "/disputes", {"disputes": DISPUTES, "every": True, "page": Page()}
    ),
    "disputes-none": Sample(
        "disputes.html", "/disputes", {"disputes": [], "every": False, "page": Page()}
    ),
    "settings-till": Sample(
        "settings/till.html",
        "/settings/till",
        {
            "saved": True,
            "written": WRITTEN_TILL,
            "problems": {},
            "own_currency": "EUR",
            "currencies": [Choice("USD", "USD · US Dollar"), Choice("JPY", "JPY · Japanese Yen")],
            "taxes": [Choice("tax_1", "TVA 20")],
            "policies": POLICIES,
            "most_tips": 4,
        },
    ),
    "settings-limits": Sample(
        "settings/limits.html",
        "/settings/limits",
        {
            "saved": False,
            "written": {"refund_limits": {"EUR": "100.00"}, "charge_limits": {"EUR": "many"}},
            "problems": {"charge_limits": "Write amounts above zero."},
            "currencies": ["EUR", "USD"],
            "members": [("usr_2", "Jules Petit", "Cashier", ["€500.00 at once", "Reader"])],
        },
    ),
    "settings-limits-none": Sample(
        "settings/limits.html",
        "/settings/limits",
        {
            "saved": False,
            "written": {"refund_limits": {}, "charge_limits": {}},
            "problems": {},
            "currencies": ["EUR"],
            "members": [],
        },
    ),
    "settings-taxes": Sample(
        "settings/taxes.html",
        "/settings/taxes",
        {
            "taxes": [VAT, LOW],
            "modes": {one.value: text for one, text in till_words.TAX_MODES.items()},
            "usual": "tax_1",
            "editing": "",
            "written": {"name": "", "percent": "x", "mode": "inclusive"},
            "problems": {"percent": "Write a percentage like 20 or 5.5."},
        },
    ),
    "settings-taxes-none": Sample(
        "settings/taxes.html",
        "/settings/taxes",
        {
            "taxes": [],
            "modes": {},
            "usual": "",
            "editing": "",
            "written": {"name": "", "percent": "", "mode": "inclusive"},
            "problems": {},
        },
    ),
    "settings-fields": Sample("settings/fields.html", "/settings/fields", {"fields": FIELDS}),
    "settings-fields-none": Sample("settings/fields.html", "/settings/fields", {"fields": []}),
    "settings-field": Sample(
        "settings/field.html",
        "/settings/fields/add",
        {
            "field_id": "",
            "written": {
                "label_en": "",
                "label_fr": "",
                "key": "",
                "kind": "choice",
                "pattern": "",
                "choices": "Bar",
                "required_for": ["keyed"],
                "searchable": True,
            },
            "problems": {"choices": "Write at least two choices, one a line."},
            "kinds": {one.value: text for one, text in till_words.FIELD_KINDS.items()},
            "channels": CHANNELS,
        },
    ),
    "settings-items": Sample(
        "settings/items.html",
        "/settings/items",
        {
            "items": ITEMS,
            "taxes": {"tax_2": "TVA 5,5"},
            "board": BOARD,
            "q": "",
            "notice": "",
            "imported": None,
            "problems": [(3, "price", "“free” is no price above zero in EUR.")],
            "problems_left": 4,
            "page": Page(),
        },
    ),
    "settings-items-none": Sample(
        "settings/items.html",
        "/settings/items",
        {
            "items": [],
            "taxes": {},
            "board": [],
            "q": "",
            "notice": "Choose a file first.",
            "imported": Imported(new=2),
            "problems": [],
            "problems_left": 0,
            "page": Page(),
        },
    ),
    "settings-item": Sample(
        "settings/item.html",
        "/settings/items/itm_1",
        {
            "item_id": "itm_1",
            "written": {
                "name": "Espresso",
                "price": "2.20",
                "currency": "EUR",
                "tax_id": "",
                "code": "C1",
                "quick_key": "1",
                "colour": "yellow",
            },
            "problems": {},
            "currencies": [Choice("EUR", "EUR"), Choice("USD", "USD")],
            "taxes": [Choice("tax_1", "TVA 20")],
            "usual": "TVA 20",
            "keys": [Choice("1", "1"), Choice("2", "2 · Croissant")],
            "colours": {one.value: text for one, text in till_words.COLOURS.items()},
        },
    ),
    "settings-presets": Sample("settings/presets.html", "/settings/presets", {"presets": PRESETS}),
    "settings-presets-none": Sample("settings/presets.html", "/settings/presets", {"presets": []}),
    "settings-preset": Sample(
        "settings/preset.html",
        "/settings/presets/pre_1",
        {
            "preset_id": "pre_1",
            "written": {
                "name": "Monthly retainer",
                "amount": "150.00",
                "currency": "EUR",
                "reference": "RET",
                "note": "",
                "method": "keyed",
                "customer": "cst_1",
                "quick_key": "1",
            },
            "problems": {},
            "currencies": [Choice("EUR", "EUR")],
            "methods": [Choice("keyed", "Keyed card")],
            "customers": [Choice("cst_1", "Atelier Roux")],
            "keys": [Choice("1", "F1")],
        },
    ),
    "team-member": Sample("team_member.html", "/team/usr_2", MEMBER),
    "team-member-owner": Sample("team_member.html", "/team/usr_3", {**MEMBER, "can_change": False}),
}
