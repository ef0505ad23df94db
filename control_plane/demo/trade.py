"""What the demo's shop sells, and to whom: items, presets, taxes, a field of its own, and customers."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Final

from control_plane.accounts.caller import Caller
from control_plane.customers.service import Details, create_customer
from control_plane.db.unit_of_work import Transaction
from control_plane.till import queries, service
from control_plane.till.values import (
    Channel,
    Colour,
    FieldKind,
    TaxMode,
    TaxRate,
    TillField,
    TillItem,
    TillPreset,
)
from protocols.money import Money

#: Name, price in cents, tax, code, colour.
_ITEMS: Final = (
    ("Espresso", 2_20, "food", "ESP", Colour.YELLOW),
    ("Café crème", 4_20, "food", "CRM", Colour.YELLOW),
    ("Croissant", 1_80, "food", "CRO", Colour.YELLOW),
    ("Tarte du jour", 5_50, "food", "TRT", Colour.PINK),
    ("Panier déjeuner", 14_90, "food", "PAN", Colour.GREEN),
    ("Moulin à café", 89_00, "goods", "MOU", Colour.BLUE),
    ("Sac de grains 1 kg", 24_00, "food", "GRA", Colour.GREEN),
    ("Bon cadeau 50", 50_00, None, "BON", Colour.GREY),
)
#: Name, cents, note, method.
_PRESETS: Final = (
    ("Monthly retainer", 150_00, "Retainer", Channel.SAVED),
    ("Table deposit", 20_00, "Deposit", Channel.KEYED),
    ("Coffee for the office", 48_00, "Weekly delivery", Channel.SAVED),
)
#: Name, company, e-mail, telephone, line 1, city, postal code, country, language.
_CUSTOMERS: Final = (
    (
        "Élodie Martin", "", "elodie.martin@example.com", "+33 6 12 34 56 78",
        "12 rue Mercière", "Lyon", "69002", "FR", "fr",
    ),
    (
        "Thomas Girard", "Atelier Girard", "thomas@girard.example", "+33 4 72 00 11 22",
        "3 quai Saint-Vincent", "Lyon", "69001", "FR", "fr",
    ),
    (
        "Hannah Vogel", "", "hannah.vogel@example.com", "+49 151 2345678",
        "Torstraße 8", "Berlin", "10119", "DE", "en",
    ),
    (
        "James O’Connor", "O’Connor & Sons", "james@oconnor.example", "+353 1 555 0199",
        "4 Dame Street", "Dublin", "D02 X285", "IE", "en",
    ),
    (
        "Léa Fontaine", "", "lea.fontaine@example.com", "+33 6 98 76 54 32",
        "5 place Bellecour", "Lyon", "69002", "FR", "fr",
    ),
    (
        "Marco Bianchi", "", "marco.bianchi@example.com", "+39 333 1234567",
        "Via Dante 20", "Milano", "20121", "IT", "en",
    ),
    (
        "Sofia Almeida", "", "sofia.almeida@example.com", "+351 912 345 678",
        "Rua Augusta 110", "Lisboa", "1100-048", "PT", "en",
    ),
    (
        "Nadia Benali", "Cabinet Benali", "nadia@benali.example", "+33 4 78 22 33 44",
        "18 cours Lafayette", "Lyon", "69003", "FR", "fr",
    ),
)  # fmt: skip


def furnish(db: Transaction, owner: Caller) -> list[str]:
    """Set the till up and write the customers down; the ids of the customers, in order."""
    taxes = {
        key: service.save_tax(db, owner, TaxRate("", name, Decimal(percent), TaxMode.INCLUSIVE))
        for key, name, percent in (("food", "TVA 10 %", "10"), ("goods", "TVA 20 %", "20"))
    }
    for number, (name, cents, tax, code, colour) in enumerate(_ITEMS, start=1):
        item = TillItem(
            id="",
            name=name,
            price=Money(cents, "EUR"),
            tax_id=taxes[tax] if tax else None,
            code=code,
            quick_key=number,
            colour=colour,
        )
        service.save_item(db, owner, item)
    for number, (name, cents, note, method) in enumerate(_PRESETS, start=1):
        preset = TillPreset(
            id="",
            name=name,
            amount=Money(cents, "EUR"),
            note=note,
            method=method,
            quick_key=number,
        )
        service.save_preset(db, owner, preset)
    service.save_field(
        db,
        owner,
        TillField(
            id="",
            key="table",
            label_en="Table or event",
            label_fr="Table ou événement",
            kind=FieldKind.TEXT,
        ),
    )
    settings = queries.settings_of(db, owner.merchant_id)
    service.update_settings(
        db,
        owner,
        replace(
            settings,
            currencies=("EUR", "USD", "GBP", "CHF", "JPY"),
            tip_percents=(Decimal(5), Decimal(10), Decimal(15)),
            refund_limits={"EUR": 50_00},
        ),
    )
    return [_customer(db, owner, row) for row in _CUSTOMERS]


def _customer(db: Transaction, owner: Caller, row: tuple[str, ...]) -> str:
    name, company, email, phone, line1, city, postal_code, country, language = row
    return create_customer(
        db,
        owner,
        Details(
            name=name,
            company=company,
            email=email,
            phone=phone,
            address={
                "line1": line1, "city": city, "postal_code": postal_code, "country": country,
            },
            language=language,
        ),
    )  # fmt: skip
