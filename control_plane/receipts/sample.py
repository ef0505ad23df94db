"""A made-up sale that shows every part of a receipt, for the preview of a template."""

from __future__ import annotations

from datetime import datetime, tzinfo
from decimal import Decimal

from control_plane.receipts.document import Item, Receipt, Standing, Tax
from protocols.money import Money


def sample_receipt(
    *, merchant: str, place: str, at: datetime, zone: tzinfo, currency: str, cashier: str
) -> Receipt:
    """Two coffees and a cake."""

    def money(units: int) -> Money:
        return Money.parse(f"{units}", currency)

    tax = Money((money(15).minor * 20 + 60) // 120, currency)
    return Receipt(
        id="tx_sample",
        merchant=merchant,
        place=place,
        at=at,
        zone=zone,
        kind="sale",
        standing=Standing.DONE,
        total=money(17),
        items=(
            Item(name="Espresso", quantity=2, unit=money(3), total=money(6)),
            Item(name="Tarte Tatin", quantity=1, unit=money(9), total=money(9)),
        ),
        taxes=(Tax("", Decimal(20), tax),),
        tip=money(2),
        card_brand="visa",
        card_last4="4242",
        entry_mode="contactless",
        verification="none",
        approval_code="087612",
        application_label="VISA CREDIT",
        aid="A0000000031010",
        terminal_id="52500001",
        receipt_number=17,
        reference="A-1049",
        fields=(("Table", "Table", "12"),),
        customer="Jeanne Dupont",
        cashier=cashier,
        settled=Money.parse("18.32", "USD" if currency != "USD" else "EUR"),
        settled_rate=Decimal("1.077647"),
        printed=("TVR 0000008000", "TSI E800"),
    )
