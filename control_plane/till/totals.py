"""What a sale comes to: net, tax, tip and total, exact.

Rounding: the tax of each line is rounded to the minor unit, a half away from zero; the taxes of a sale are the sums of
their lines. So lines, taxes and total always add up, and a line's tax does not depend on the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from control_plane.errors import RequestRefused
from control_plane.till.values import TaxMode, TaxRate, TillItem, TillSettings
from protocols.errors import MoneyMismatch
from protocols.money import Money

MOST_LINES: Final = 100
MOST_OF_ONE: Final = 9_999


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedLine:
    """A line as the till asks for it: an item of the catalogue, or a name with its price."""

    quantity: int = 1
    item_id: str | None = None
    name: str = ""
    unit: Money | None = None
    tax_id: str | None = None
    """None: the item's, else the usual one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """So many of one thing at one price."""

    name: str
    unit: Money
    quantity: int = 1
    tax: TaxRate | None = None
    item_id: str | None = None


@dataclass(frozen=True, slots=True)
class LineTotal:
    """A line and what it comes to: ``net + tax == total``."""

    line: Line
    net: Money
    tax: Money
    total: Money

    def stored(self) -> dict[str, object]:
        """As a payment keeps it in ``items``."""
        line = self.line
        return {
            "name": line.name,
            "quantity": line.quantity,
            "unit_minor": line.unit.minor,
            "tax_rate": None if line.tax is None else f"{line.tax.percent:f}",
            "tax_name": None if line.tax is None else line.tax.name,
            "tax_minor": self.tax.minor,
            "total_minor": self.total.minor,
            "item_id": line.item_id,
        }


@dataclass(frozen=True, slots=True)
class TaxLine:
    """All of a sale that one rate applies to."""

    rate: TaxRate
    net: Money
    tax: Money


@dataclass(frozen=True, slots=True)
class Totals:
    """What a sale comes to: ``net + tax + tip == total``, and ``tax`` is the sum of ``taxes``."""

    lines: tuple[LineTotal, ...]
    taxes: tuple[TaxLine, ...]
    net: Money
    tax: Money
    tip: Money
    total: Money

    @property
    def before_tip(self) -> Money:
        """What a tip in percent is of."""
        return self.net + self.tax


def total(lines: Sequence[Line], tip: Money | None = None) -> Totals:
    """What lines and a tip come to.

    Raises RequestRefused for none, too many, two currencies, or a sum without sense.
    """
    if not 1 <= len(lines) <= MOST_LINES:
        raise RequestRefused(field="items", reason=f"Put 1 to {MOST_LINES} lines on a sale.")
    zero = Money(0, lines[0].unit.currency)
    try:
        counted = tuple(_line_total(line) for line in lines)
        taxes: dict[TaxRate, TaxLine] = {}
        for one in counted:
            if (rate := one.line.tax) is not None:
                had = taxes.get(rate, TaxLine(rate, zero, zero))
                taxes[rate] = TaxLine(rate, had.net + one.net, had.tax + one.tax)
        net = sum((one.net for one in counted), zero)
        tax = sum((one.tax for one in counted), zero)
        given = zero if tip is None else tip
        whole = net + tax + given
    except MoneyMismatch as mismatch:
        raise RequestRefused(
            field="items", reason=f"The lines do not add up: {mismatch}."
        ) from mismatch
    if given.minor < 0 or (net + tax).minor < 0:
        raise RequestRefused(field="items", reason="A sale and its tip are not below zero.")
    return Totals(counted, tuple(taxes.values()), net, tax, given, whole)


def tip_of(amount: Money, percent: Decimal) -> Money:
    """A tip of so many percent, to the nearest minor unit."""
    return _share(amount, Fraction(percent) / 100)


def lines_of(
    settings: TillSettings, items: Sequence[TillItem], asked: Sequence[AskedLine]
) -> list[Line]:
    """What the till asks for, with the prices and taxes of the catalogue. Raises RequestRefused.

    ``items``: those whose ids are asked for (``queries.items_by_id``). The price of an item is never the caller's.
    """
    known = {item.id: item for item in items}
    return [_line_of(settings, known, one) for one in asked]


def _line_of(settings: TillSettings, known: dict[str, TillItem], asked: AskedLine) -> Line:
    if not 1 <= asked.quantity <= MOST_OF_ONE:
        raise RequestRefused(field="items", reason=f"Sell 1 to {MOST_OF_ONE} of a thing at once.")
    if asked.item_id is not None:
        item = known.get(asked.item_id)
        if item is None or not item.active:
            raise RequestRefused(
                field="items", reason="An item is no longer sold. Take it off and choose another."
            )
        name, unit, tax_id = item.name, item.price, asked.tax_id or item.tax_id
    elif asked.unit is None or asked.unit.minor <= 0:
        raise RequestRefused(field="items", reason="Write a price above zero for each line.")
    else:
        name, unit, tax_id = asked.name.strip(), asked.unit, asked.tax_id
    tax = settings.tax(tax_id)
    if tax is None and tax_id is not None:
        raise RequestRefused(field="items", reason="A tax rate is gone. Choose another.")
    return Line(name=name[:120], unit=unit, quantity=asked.quantity, tax=tax, item_id=asked.item_id)


def _line_total(line: Line) -> LineTotal:
    gross = Money(line.unit.minor * line.quantity, line.unit.currency)
    if line.tax is None:
        return LineTotal(line, gross, Money(0, gross.currency), gross)
    percent = Fraction(line.tax.percent)
    if line.tax.mode is TaxMode.ADDED:
        tax = _share(gross, percent / 100)
        return LineTotal(line, gross, tax, gross + tax)
    tax = _share(gross, percent / (100 + percent))
    return LineTotal(line, gross - tax, tax, gross)


def _share(amount: Money, share: Fraction) -> Money:
    """Exact, then rounded once: a half goes away from zero."""
    exact = amount.minor * share
    sign = -1 if exact < 0 else 1
    return Money(sign * int(abs(exact) + Fraction(1, 2)), amount.currency)
