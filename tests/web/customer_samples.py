"""Samples of the pages of customers, receipts and the demo's mailbox."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

from control_plane.receipts.look import ReceiptField
from control_plane.web import pay_words, words
from control_plane.web.pages.customers import CustomerRow, Method, Written
from control_plane.web.pages.demo_mailbox import MailRow
from control_plane.web.pay_views import FieldsAccount
from control_plane.web.views import Choice, Page
from tests.web.samples import NOW, SALES, Sample, eur

_CONSENT = "I allow Maison Perrin to keep this card and to charge it for what I order."


def _method(
    id_: str, title: str, state: str, *, kind: str = "card", expires: str = "", **more: object
) -> Method:
    facts: dict[str, object] = {
        "id": id_,
        "kind": kind,
        "title": title,
        "state": state,
        "expires": expires,
        "detail": "credit" if kind == "card" else "",
        "is_default": False,
        "can_charge": state in ("active", "expires_soon", "expired"),
        "consent_how": "phone",
        "consent_text": _CONSENT,
        "consent_at": NOW - timedelta(days=40),
        "consent_by": "Jules Petit",
        **more,
    }
    return Method(**facts)  # type: ignore[arg-type]  # by name, for brevity


METHODS = [
    _method("smt_1", "Visa •• 4242", "active", expires="12/29", is_default=True),
    _method("smt_2", "Mastercard •• 5100", "expires_soon", expires="12/26"),
    _method(
        "smt_3",
        "SEPA •• 3000",
        "pending",
        kind="sepa_debit",
        consent_how="paper",
        mandate_id="mandate_1Q2w3e4r",
        mandate_status="pending",
    ),
]
CUSTOMERS = [
    CustomerRow(
        "cst_1", "Jeanne Dupont", "Fleurs Dupont", "jeanne@example.com", "+33 6 12 34 56 78",
        "fr", NOW - timedelta(minutes=4), False, METHODS,
    ),
    CustomerRow(
        "cst_2", "Boulangerie Été", "", "", "04 78 00 11 22", "", NOW - timedelta(days=2), False,
        [_method("smt_4", "Visa •• 0119", "expired", expires="03/26")],
    ),
    CustomerRow(
        "cst_3", "Ada Lovelace", "", "ada@example.com", "", "en", NOW - timedelta(days=30), True
    ),
]  # fmt: skip
_LIST = {"q": "", "with_archived": False, "is_filtered": False, "expiring": 2, "page": Page()}
_DETAIL = {
    "customer": CUSTOMERS[0],
    "methods": METHODS,
    "chargeable": METHODS[:2],
    "facts": [
        ("E-mail", "jeanne@example.com", "email"),
        ("Phone", "+33 6 12 34 56 78", "phone"),
        ("Address", "1 rue de la Paix\n75002 Paris\nFR", "lines"),
        ("Language", "Français", ""),
        ("Customer id", "cst_06f3k8m2r4s6t8v0w2x4y6z8a0", "id"),
    ],
    "states": words.SESSION | pay_words.PAYMENT,
    "note": "Orders every Friday.\nRings twice.",
    "history": SALES,
    "currency": "EUR",
    "can_save": True,
    "notice": "",
}
_RECEIPTS = {
    "written": {
        "message": "Merci de votre visite !",
        "footer": "12 rue de la Paix, 69002 Lyon",
        "language": "fr",
        "reply_to": "shop@",
        "shown": ["items", "taxes", "logo"],
    },
    "problems": {"reply_to": "Write the e-mail address like name@example.com."},
    "saved": False,
    "has_logo": True,
    "fields": [(field.value, words.RECEIPT_FIELDS[field.value]) for field in ReceiptField],
    "choices": [Choice("en", "English"), Choice("fr", "Français")],
}

CUSTOMER_SAMPLES = {
    "customers": Sample(
        "customers/list.html", "/customers", {**_LIST, "customers": CUSTOMERS}
    ),
    "customers-none": Sample(
        "customers/list.html", "/customers", {**_LIST, "customers": [], "expiring": 0}
    ),
    "customers-not-found": Sample(
        "customers/list.html",
        "/customers",
        {**_LIST, "customers": [], "q": "zoë", "is_filtered": True},
    ),
    "customers-expiring": Sample(
        "customers/expiring.html",
        "/customers/expiring",
        {
            "cards": [
                ("/customers/cst_2", "Boulangerie Été", CUSTOMERS[1].methods[0]),
                ("/customers/cst_1", "Jeanne Dupont", METHODS[1]),
            ]
        },
    ),
    "customers-expiring-none": Sample(
        "customers/expiring.html", "/customers/expiring", {"cards": []}
    ),
    "customer": Sample("customers/detail.html", "/customers/cst_1", _DETAIL),
    "customer-new": Sample(
        "customers/detail.html",
        "/customers/cst_2",
        {**_DETAIL, "methods": [], "chargeable": [], "history": [], "note": ""},
    ),
    "customer-archived": Sample(
        "customers/detail.html",
        "/customers/cst_3",
        {
            **_DETAIL,
            "customer": CUSTOMERS[2],
            "chargeable": [],
            "notice": "Ada Lovelace is archived. Bring the customer back first.",
        },
    ),
    "customer-form": Sample(
        "customers/form.html",
        "/customers/new",
        {
            "filled": Written(name="Jeanne", email="jeanne@", country="F"),
            "problems": {
                "email": "Write the e-mail address like name@example.com.",
                "country": "Write the country with its two letters, such as FR.",
            },
            "customer_id": "",
            "has_address": True,
        },
    ),
    "customer-charge": Sample(
        "customers/charge.html",
        "/customers/cst_1/charge",
        {
            "customer": CUSTOMERS[0],
            "method": METHODS[1],
            "money": eur(45_00),
            "amount": "45.00",
            "reference": "A-1049",
            "key": "form_1",
        },
    ),
    "customer-save": Sample(
        "customers/save_method.html",
        "/customers/cst_1/methods/add",
        {
            "customer": CUSTOMERS[0],
            "account": FieldsAccount("http://127.0.0.1:9/fields.js", "pk_test_preview"),
            "kinds": "card",
            "currency": "EUR",
            "consent": _CONSENT,
        },
    ),
    "settings-receipts": Sample("settings/receipts.html", "/settings/receipts", _RECEIPTS),
    "mailbox": Sample(
        "mailbox/list.html",
        "/mailbox",
        {
            "mails": [
                MailRow("/mailbox/mml_1", "jeanne@example.com", "Reçu de Maison Perrin : 12,34 €",
                        NOW - timedelta(minutes=1), True),
                MailRow("/mailbox/mml_2", "ada@example.com", "Receipt from Maison Perrin: €4.20",
                        NOW - timedelta(days=1), False),
            ],
            "page": Page(),
        },
    ),
    "mailbox-empty": Sample("mailbox/list.html", "/mailbox", {"mails": [], "page": Page()}),
    "mail": Sample(
        "mailbox/detail.html",
        "/mailbox/mml_1",
        {
            "mail": SimpleNamespace(
                id="mml_1",
                to="jeanne@example.com",
                sender="Maison Perrin <till@omnitill.example>",
                subject="Reçu de Maison Perrin : 12,34 €",
                received_at=NOW,
                html="<p>Reçu</p>",
                text="Bonjour,\n\nTotal 12,34 €",
                attachments=[SimpleNamespace(name="receipt-2026-11-23.pdf")],
            )
        },
    ),
}  # fmt: skip
