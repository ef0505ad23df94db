"""Items as CSV: what is exported can be imported again, and changes nothing.

A file is taken whole or not at all: each thing that is wrong is told with its line. A row is the item with the same
code, else the one with the same name, else a new one; items that are not in the file stay.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select

from control_plane.accounts.caller import Caller
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.db.unit_of_work import Transaction
from control_plane.till import queries
from control_plane.till.errors import UnreadableFile
from control_plane.till.models import ITEMS
from control_plane.till.service import save_item
from control_plane.till.values import QUICK_KEYS, Colour, TillItem, TillSettings
from protocols.errors import MoneyMismatch
from protocols.money import CURRENCIES, Money

COLUMNS: Final = ("code", "name", "price", "currency", "tax", "quick_key", "colour", "sold")
_NEEDED: Final = frozenset({"name", "price"})
MOST_ROWS: Final = 5_000
_LARGEST_FILE: Final = 2_000_000
_LONGEST: Final = {"name": 120, "code": 60}
_YES: Final = frozenset({"", "yes", "true", "1", "oui"})
_NO: Final = frozenset({"no", "false", "0", "non"})
#: A spreadsheet runs a cell that begins with one of these.
_RUNS: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class RowProblem:
    """What is wrong in a line of the file; 1 is the line of the column names."""

    line: int
    column: str
    message: str
    """English, the key of its translation, with ``{value}`` and ``{known}``."""
    value: str = ""
    known: str = ""

    def __str__(self) -> str:
        return self.message.format(value=self.value, known=self.known)


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of a file. With problems, nothing was changed."""

    new: int = 0
    changed: int = 0
    same: int = 0
    problems: tuple[RowProblem, ...] = ()


class NoName:
    """A row without a name."""

    message = "Write a name."


class LongText:
    """More than is kept."""

    message = "“{value}” is too long: at most {known} characters."


class NoPrice:
    """A price that is none."""

    message = "“{value}” is no price above zero in {known}. Write it like 12.34."


class NoCurrency:
    """A currency that nothing here can count in."""

    message = "“{value}” is no currency that is known here. Write it like EUR."


class NoTax:
    """A tax rate that the merchant has not."""

    message = "There is no tax rate called “{value}”. There are: {known}."


class NoQuickKey:
    """A quick key that is not there."""

    message = "“{value}” is no quick key. Write 1 to {known}, or nothing."


class NoColour:
    """A colour that is not there."""

    message = "“{value}” is no colour of a key. There are: {known}."


class NoAnswer:
    """Neither yes nor no."""

    message = "“{value}” is neither yes nor no."


class Twice:
    """The same code or quick key in two rows."""

    message = "“{value}” is also in line {known}."


def export(settings: TillSettings, items: Sequence[TillItem]) -> str:
    """A CSV file of items, with a line of column names."""
    taxes = {tax.id: tax.name for tax in settings.taxes}
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\r\n")
    rows.writerow(COLUMNS)
    for item in items:
        rows.writerow(
            [
                _shown(item.code), _shown(item.name), f"{item.price.decimal():f}",
                item.price.currency, _shown(taxes.get(item.tax_id or "", "")),
                item.quick_key or "", item.colour.value, "yes" if item.active else "no",
            ]
        )  # fmt: skip
    return text.getvalue()


def import_items(db: Transaction, caller: Caller, file: bytes, *, name: str) -> Imported:
    """Take a CSV file. Raises UnreadableFile for what is no table; else problems are in the answer."""
    settings = queries.settings_of(db, caller.merchant_id)
    had = [
        queries.item_of_row(row)
        for row in db.execute(select(ITEMS).where(ITEMS.c.merchant_id == caller.merchant_id))
    ]
    wanted: list[TillItem] = []
    problems: list[RowProblem] = []
    seen: dict[tuple[str, object], int] = {}
    for line, row in _rows(file):
        reading = _Reading(settings, line, row)
        item = reading.item()
        named = "" if item.code else item.name
        for column, value in (("code", item.code), ("name", named), ("quick_key", item.quick_key)):
            if value and (first := seen.setdefault((column, value), line)) != line:
                reading.refuse(column, Twice.message, str(first))
        problems += reading.problems
        wanted.append(item)
    if problems:
        return Imported(problems=tuple(problems))
    by_code = {item.code: item for item in had if item.code}
    by_name = {item.name: item for item in had}
    counts = Counter[str]()
    for item in wanted:
        there = by_code.get(item.code) if item.code else by_name.get(item.name)
        counts[_take(db, caller, item, there)] += 1
    if counts["new"] or counts["changed"]:
        record(
            db, caller.merchant_id, caller.actor, AuditTag.TILL_ITEMS_IMPORT,
            object_id=caller.merchant_id, object_name=name or "CSV", after=dict(counts),
        )  # fmt: skip
    return Imported(counts["new"], counts["changed"], counts["same"])


def _take(db: Transaction, caller: Caller, item: TillItem, there: TillItem | None) -> str:
    wanted = item if there is None else TillItem(
        id=there.id, name=item.name, price=item.price, tax_id=item.tax_id, code=item.code,
        quick_key=item.quick_key, colour=item.colour, active=item.active,
    )  # fmt: skip
    if wanted == there:
        return "same"
    save_item(db, caller, wanted)
    return "new" if there is None else "changed"


def _rows(file: bytes) -> Iterator[tuple[int, dict[str, str]]]:
    if len(file) > _LARGEST_FILE:
        raise UnreadableFile(field="file")
    try:
        text = file.decode("utf-8-sig")
    except UnicodeDecodeError:
        # What spreadsheets write on older desktops.
        text = file.decode("cp1252", "replace")
    if "\x00" in text:
        raise UnreadableFile(field="file")
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        header = [cell.strip().casefold() for cell in next(reader, [])]
        if not set(header) >= _NEEDED or len(set(header)) != len(header):
            raise UnreadableFile(field="file")
        count = 0
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            count += 1
            if count > MOST_ROWS:
                raise UnreadableFile(field="file")
            values = dict(zip(header, (_read(cell) for cell in cells), strict=False))
            yield reader.line_num, values
    except csv.Error:
        raise UnreadableFile(field="file") from None


class _Reading:
    """One row, read column by column."""

    def __init__(self, settings: TillSettings, line: int, row: dict[str, str]) -> None:
        self.problems: list[RowProblem] = []
        self._settings = settings
        self._line = line
        self._row = row

    def item(self) -> TillItem:
        """What the row says; where that makes no sense, a problem is noted and something harmless taken."""
        if not self._row.get("name"):
            self.refuse("name", NoName.message)
        for column, most in _LONGEST.items():
            if len(self._row.get(column, "")) > most:
                self.refuse(column, LongText.message, str(most))
        price, tax_id, quick_key = self._price(), self._tax(), self._quick_key()
        colour, sold = self._colour(), self._sold()
        return TillItem(
            id="",
            name=self._row.get("name", ""),
            code=self._row.get("code", ""),
            price=price,
            tax_id=tax_id,
            quick_key=quick_key if sold else None,
            colour=colour,
            active=sold,
        )

    def refuse(self, column: str, message: str, known: str = "") -> None:
        """Note a problem of a column."""
        value = self._row.get(column, "")[:40]
        self.problems.append(RowProblem(self._line, column, message, value, known))

    def _price(self) -> Money:
        currency = self._row.get("currency", "").upper() or self._settings.currency
        if currency not in CURRENCIES:
            self.refuse("currency", NoCurrency.message)
            return Money(1, self._settings.currency)
        try:
            price = Money.parse(self._row.get("price", ""), currency)
        except MoneyMismatch:
            price = Money(0, currency)
        if price.minor <= 0:
            self.refuse("price", NoPrice.message, currency)
        return price

    def _tax(self) -> str | None:
        name = self._row.get("tax", "")
        if not name:
            return None
        taxes = {tax.name.casefold(): tax.id for tax in self._settings.taxes}
        if name.casefold() not in taxes:
            known = ", ".join(tax.name for tax in self._settings.taxes) or "–"
            self.refuse("tax", NoTax.message, known)
        return taxes.get(name.casefold())

    def _quick_key(self) -> int | None:
        text = self._row.get("quick_key", "")
        if not text:
            return None
        if not (text.isascii() and text.isdecimal() and 1 <= int(text[:4]) <= QUICK_KEYS):
            self.refuse("quick_key", NoQuickKey.message, str(QUICK_KEYS))
            return None
        return int(text)

    def _colour(self) -> Colour:
        text = self._row.get("colour", "").casefold() or Colour.PLAIN.value
        if text not in set(Colour):
            self.refuse("colour", NoColour.message, ", ".join(Colour))
            return Colour.PLAIN
        return Colour(text)

    def _sold(self) -> bool:
        text = self._row.get("sold", "").casefold()
        if text not in _YES | _NO:
            self.refuse("sold", NoAnswer.message)
        return text not in _NO


def _shown(text: str) -> str:
    return f"'{text}" if text.startswith(_RUNS) else text


def _read(text: str) -> str:
    text = text.strip()
    return text[1:] if text.startswith("'") and text[1:].startswith(_RUNS) else text
