"""Pages of payments with values as a page would give them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import segno
from markupsafe import Markup

from control_plane.web import pay_words
from control_plane.web.pay_views import (
    AttemptRow,
    Bill,
    BillLine,
    CheckRow,
    ChosenCustomer,
    FieldsAccount,
    ItemKey,
    LinkCard,
    MethodPanel,
    OfferCard,
    OwnField,
    PayerLink,
    PaymentPanel,
    PresetKey,
    SavedChoice,
    TaxPart,
    TipChoice,
)
from tests.web.samples import CASHIER, FORM, NOW, READERS, RECEIPT, SALES, SESSION, Sample, eur

# Nothing is there: the fields say so, and that is what the preview shows of them.
ACCOUNT = FieldsAccount("http://127.0.0.1:9/fields.js", "pk_test_preview", moto=True)
CUSTOMER = ChosenCustomer("cst_1", "Léa Marchand", "lea@example.com")
FULL = replace(
    FORM,
    methods=pay_words.METHODS,
    account=ACCOUNT,
    customer=CUSTOMER,
    presets=[PresetKey("/pos?preset=pre_1", "Deposit", eur(50_00), 1)],
    board=[
        ItemKey("itm_1", "Bouquet", eur(24_00), "pink"),
        ItemKey("itm_2", "Vase", eur(18_50), "blue"),
        ItemKey("itm_3", "Delivery", eur(6_00), "yellow"),
    ],
    sells=True,
    bill=Bill(
        lines=[
            BillLine("Bouquet", 2, eur(48_00), "itm_1"),
            BillLine("Delivery", 1, eur(6_00), "itm_3"),
        ],
        taxes=[TaxPart("VAT 20%", eur(9_00))],
        tips=[TipChoice("", "None"), TipChoice("5", "5%"), TipChoice("10", "10%")],
        tip="5",
        tip_amount=eur(2_70),
        total=eur(56_70),
        asks=True,
    ),
    own_fields=[OwnField("table", "Table", required=True, value="12")],
)
PANEL = PaymentPanel(
    id="pay_1",
    amount=eur(45_00),
    face="paid",
    started_at=NOW - timedelta(minutes=1),
    cashier="Jules Petit",
    method="keyed",
    card="Visa •••• 4242",
    account=ACCOUNT,
)
CHECKS = [
    CheckRow("address", "unavailable"),
    CheckRow("postal_code", "fail"),
    CheckRow("cvc", "pass"),
]
QR = segno.make("https://till.example/pay/att_06g1.Zk3").svg_inline(border=2, omitsize=True)
LINK = LinkCard(
    "https://till.example/pay/att_06g1.Zk3",
    Markup(QR),  # noqa: S704 - drawn by segno
    NOW + timedelta(days=3),
    "lea@example.com",
)


def offers(*names: str) -> list[OfferCard]:
    cards = []
    for name in names:
        method, text, more, icon = pay_words.OFFERS[name]
        cards.append(OfferCard(method, text, more, icon, f"try={method}"))
    return cards


DECLINED = replace(
    PANEL,
    face="declined",
    reason="The card has not enough money left.",
    advice="Ask for another card, or send a link.",
    code="insufficient_funds",
    checks=CHECKS,
    offers=offers("moto", "reader", "link", "keyed"),
    attempts=[
        AttemptRow(1, "keyed", "declined", NOW, "Visa •••• 9995", "Not enough money."),
        AttemptRow(2, "keyed", "failed", NOW, "Visa •••• 9995"),
    ],
    can_cancel=True,
)


def _form(**changes: Any) -> dict[str, object]:
    return {"form": replace(FULL, **changes), "session": None, "pay": None, "sales": SALES}


def _panel(panel: PaymentPanel, form: MethodPanel | None = None) -> dict[str, object]:
    return {"form": form, "session": None, "pay": panel, "sales": SALES}


def _face(face: str, **changes: Any) -> Sample:
    return Sample(
        "pos/page.html", "/pos/pay_1", _panel(replace(PANEL, face=face, **changes)), person=CASHIER
    )


def _payer(face: str, **changes: Any) -> Sample:
    link = PayerLink(face, "Maison Perrin", eur(45_00), "A-1050")
    return Sample("pay/page.html", "/pay/att_1.x", {"link": replace(link, **changes)}, person=None)


PAY_SAMPLES = {
    "payer": _payer(
        "payable",
        account=ACCOUNT,
        client_secret="pi_1_secret_x",
        lines=[BillLine("Bouquet", 1, eur(39_00)), BillLine("Delivery", 1, eur(6_00))],
    ),
    "payer-paid": _payer("paid", card="Visa •••• 4242"),
    "payer-processing": _payer("processing"),
    "payer-held": _payer("held"),
    "payer-expired": _payer("expired"),
    "payer-elsewhere": _payer("elsewhere"),
    "payer-checking": _payer("checking"),
    "payer-gone": Sample(
        "pay/page.html", "/pay/x", {"link": PayerLink("gone")}, person=None, status=404
    ),
    "pos-full": Sample("pos/page.html", "/pos", _form(), person=CASHIER),
    "pos-keyed": Sample("pos/page.html", "/pos", _form(method="keyed", moto=True)),
    "pos-saved": Sample(
        "pos/page.html",
        "/pos",
        _form(
            method="saved",
            saved=[
                SavedChoice("smt_1", "Visa •••• 4242", "Expires 12/27"),
                SavedChoice("smt_2", "Amex •••• 0005", "Expired 10/26"),
                SavedChoice("smt_3", "Test Bank •••• 6789", "Bank account", usable=False),
            ],
            saved_id="smt_1",
        ),
    ),
    "pos-bank-debit": Sample(
        "pos/page.html", "/pos", _form(method="bank_debit", bank_kinds=("sepa_debit",))
    ),
    "pos-link": Sample("pos/page.html", "/pos", _form(method="link")),
    "pos-not-connected": Sample("pos/page.html", "/pos", _form(method="keyed", account=None)),
    "pay-asking": _face("in_progress"),
    "pay-paid": _face("paid", receipt=RECEIPT, receipt_email="lea@example.com", customer=CUSTOMER,
                      authorization_code="042817", transaction_href="/transactions/tx_1"),
    "pay-declined": Sample("pos/page.html", "/pos/pay_1", _panel(DECLINED)),
    "pay-declined-keyed": Sample(
        "pos/page.html",
        "/pos/pay_1",
        _panel(DECLINED, MethodPanel("keyed", "EUR", ACCOUNT, moto=True, key="form_2")),
    ),
    "pay-declined-reader": Sample(
        "pos/page.html",
        "/pos/pay_1",
        _panel(DECLINED, MethodPanel("reader", "EUR", ACCOUNT, readers=READERS, reader_id="rd_1")),
    ),
    "pay-reader": _face("reader", method="reader", session=SESSION, can_cancel=True),
    "pay-stripe-reader": _face("reader", method="reader", card="", can_cancel=True),
    "pay-link": _face("link", method="link", card="", link=LINK, can_cancel=True),
    "pay-action": _face("requires_action", can_cancel=True),
    "pay-deposits": _face("microdeposits", method="bank_debit", can_cancel=True),
    "pay-processing": _face("processing", method="bank_debit"),
    "pay-held": _face("authorized", can_capture=True, capture_before=NOW + timedelta(days=6)),
    "pay-held-cashier": _face("authorized", capture_before=NOW + timedelta(days=6)),
    "pay-checks": _face("checks", can_capture=True, checks=CHECKS),
    "pay-unknown": _face("unknown", explanation="Stripe did not answer in time."),
    "pay-canceled": _face("canceled"),
    "pay-refused": _face("paid", notice="The payment is paid already.", duplicate_href="/pos/pay_0"),
}  # fmt: skip
