"""A receipt written in one language, line by line, as every form of it shows it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Final

from control_plane.formats import Formats
from control_plane.receipts import wording
from control_plane.receipts.document import Receipt, Standing
from control_plane.receipts.look import Logo, Look, ReceiptField
from protocols.money import Money

_F: Final = ReceiptField
_STANDINGS: Final = {
    Standing.DONE: "",
    Standing.HELD: "Amount held, not yet charged",
    Standing.ON_ITS_WAY: "Bank debit on its way, not yet paid",
    Standing.NOT_TAKEN: "Nothing was charged",
}


@dataclass(frozen=True, slots=True)
class ItemLine:
    """``2 × Espresso``, ``€2.50`` each, ``€5.00``."""

    name: str
    each: str
    total: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """All texts of a receipt, in the order in which they stand."""

    language: str
    merchant: str
    place: str
    when: str
    title: str
    warning: str
    """That no money moved (yet); empty when it did."""
    total: str
    items: tuple[ItemLine, ...]
    sums: tuple[tuple[str, str], ...]
    """Between the items and the total: (label, amount)."""
    facts: tuple[tuple[str, str], ...]
    printed: tuple[str, ...]
    message: tuple[str, ...]
    footer: tuple[str, ...]
    number: str
    logo: Logo | None

    @property
    def logo_address(self) -> str:
        """The logo itself, as the address of a picture; empty without one."""
        if self.logo is None:
            return ""
        return f"data:image/png;base64,{base64.b64encode(self.logo.png).decode()}"

    def say(self, text: str) -> str:
        """A text of ours in this language."""
        return wording.say(text, self.language)


def sheet_of(receipt: Receipt, look: Look, language: str) -> Sheet:
    """The receipt as the merchant wants it, in a language of ``wording.LANGUAGES``."""
    write = Formats(language)

    def say(text: str) -> str:
        return wording.say(text, language)

    shows = look.shows
    items = receipt.items if shows(_F.ITEMS) else ()
    return Sheet(
        language=language,
        merchant=receipt.merchant,
        place=receipt.place if receipt.place != receipt.merchant else "",
        when=write.moment(receipt.at, receipt.zone),
        title=say(wording.KINDS.get(receipt.kind, "Receipt")),
        warning=say(text) if (text := _STANDINGS[receipt.standing]) else "",
        total=_signed(receipt, write),
        items=tuple(
            ItemLine(
                f"{write.number(item.quantity)} × {item.name}" if item.quantity != 1 else item.name,
                write.money(item.unit) if item.quantity != 1 else "",
                write.money(item.total),
            )
            for item in items
        ),
        sums=tuple(_sums(receipt, look, write)),
        facts=tuple(_facts(receipt, look, write)),
        printed=receipt.printed if shows(_F.EMV) else (),
        message=tuple(look.message.splitlines()),
        footer=tuple(look.footer.splitlines()),
        number=receipt.id,
        logo=look.logo if shows(_F.LOGO) else None,
    )


def _signed(receipt: Receipt, write: Formats) -> str:
    text = write.money(receipt.total)
    return text if receipt.kind == "sale" else f"−{text}"


def _sums(receipt: Receipt, look: Look, write: Formats) -> list[tuple[str, str]]:
    sums: list[tuple[str, str]] = []
    taxes = receipt.taxes if look.shows(_F.TAXES) else ()
    if taxes:
        net = receipt.total.minor - sum(tax.amount.minor for tax in receipt.taxes)
        net -= receipt.tip.minor if receipt.tip else 0
        sums.append((_say(write, "Before tax"), write.money(Money(net, receipt.total.currency))))
    for tax in taxes:
        name = f"{tax.name} {write.percent_points(tax.percent)}".strip()
        sums.append((name, write.money(tax.amount)))
    if receipt.tip is not None and receipt.tip.minor:
        sums.append((_say(write, "Tip"), write.money(receipt.tip)))
    return sums


def _facts(receipt: Receipt, look: Look, write: Formats) -> list[tuple[str, str]]:
    shows, language = look.shows, write.language
    facts = [
        (
            "Paid back to" if receipt.kind != "sale" else "Paid with",
            _method(receipt, language),
            True,
        ),
        (
            "of which given back",
            write.money(receipt.given_back) if receipt.given_back else "",
            True,
        ),
        ("Belongs to", _original(receipt, write), True),
        ("Card read", _entry(receipt, language), shows(_F.CARD)),
        (
            "Checked by",
            _word(wording.VERIFICATIONS, receipt.verification, language),
            shows(_F.CARD),
        ),
        ("Approval code", receipt.approval_code, shows(_F.CARD)),
        ("Application", receipt.application_label, shows(_F.EMV)),
        ("AID", receipt.aid, shows(_F.EMV)),
        ("Terminal", receipt.terminal_id, shows(_F.EMV)),
        ("Receipt number", _number(receipt.receipt_number), shows(_F.EMV)),
        ("Order number", receipt.reference, shows(_F.REFERENCE)),
        ("Customer", receipt.customer, shows(_F.CUSTOMER)),
        ("Served by", receipt.cashier, shows(_F.CASHIER)),
        ("Settled as", _settled(receipt, write), shows(_F.SETTLED)),
    ]
    told = [(_say(write, label), value) for label, value, wanted in facts if value and wanted]
    if shows(_F.FIELDS):
        told += [
            (french if language == "fr" and french else english, value)
            for english, french, value in receipt.fields
            if value
        ]
    return told


def _method(receipt: Receipt, language: str) -> str:
    name = wording.BRANDS.get(receipt.card_brand.lower(), receipt.card_brand)
    if not name or receipt.method != "card":
        name = wording.say(wording.METHODS.get(receipt.method, "Other"), language)
    return f"{name} •••• {receipt.card_last4}" if receipt.card_last4 else name


def _entry(receipt: Receipt, language: str) -> str:
    if receipt.is_moto:
        return wording.say("by telephone or mail", language)
    return _word(wording.ENTRY_MODES, receipt.entry_mode, language)


def _word(words: dict[str, str], value: str, language: str) -> str:
    return wording.say(words[value], language) if value in words else value.replace("_", " ")


def _original(receipt: Receipt, write: Formats) -> str:
    if receipt.original is None:
        return ""
    day = write.calendar_day(receipt.original.at.astimezone(receipt.zone))
    return _say(write, "sale of %s, %s") % (day, write.money(receipt.original.amount))


def _settled(receipt: Receipt, write: Formats) -> str:
    if receipt.settled is None or receipt.settled.currency == receipt.total.currency:
        return ""
    amount = write.money(receipt.settled)
    if receipt.settled_rate is None:
        return amount
    return _say(write, "%s at %s") % (amount, write.rate(receipt.settled_rate))


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _say(write: Formats, text: str) -> str:
    return wording.say(text, write.language)
