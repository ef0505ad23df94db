"""What a till is set up with, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from protocols.money import Money

#: Places on the board of quick keys, and presets on F1 to F8.
QUICK_KEYS: Final = 24
PRESET_KEYS: Final = 8
#: Amounts by currency, in minor units. Empty: no limit; when some are set, a currency without one has no room at all.
Amounts = Mapping[str, int]


class Channel(StrEnum):
    """The ways to take money at a till; the same words as the methods of an attempt."""

    READER = "reader"
    KEYED = "keyed"
    SAVED = "saved"
    BANK_DEBIT = "bank_debit"
    LINK = "link"


class FieldKind(StrEnum):
    """What may be written into a field."""

    TEXT = "text"
    NUMBER = "number"
    DATE = "date"
    CHOICE = "choice"
    POSTAL_CODE = "postal_code"
    EMAIL = "email"
    ORDER_NUMBER = "order_number"
    """Also guards against charging one order twice, and is the payment's reference."""


class TaxMode(StrEnum):
    """Whether prices contain the tax."""

    INCLUSIVE = "inclusive"
    ADDED = "added"


class CheckPolicy(StrEnum):
    """What to do when the bank says that the address, postal code or security code is not the cardholder's."""

    ACCEPT = "accept"
    ASK = "ask"
    """Hold the money until the cashier has looked."""
    BLOCK = "block"
    """Do not take it."""


class Colour(StrEnum):
    """Of a quick key. Closed, so that each has enough contrast in light and dark."""

    PLAIN = "plain"
    BLUE = "blue"
    GREEN = "green"
    YELLOW = "yellow"
    PINK = "pink"
    GREY = "grey"


@dataclass(frozen=True, slots=True)
class TaxRate:
    """A named percentage, such as 20 or 5.5."""

    id: str
    name: str
    percent: Decimal
    mode: TaxMode


@dataclass(frozen=True, slots=True, kw_only=True)
class TillField:
    """A field of the merchant's own."""

    id: str
    key: str
    label_en: str
    label_fr: str = ""
    kind: FieldKind = FieldKind.TEXT
    required_for: frozenset[Channel] = frozenset()
    choices: tuple[str, ...] = ()
    pattern: str = ""
    """``9`` is a digit, ``A`` a letter, ``*`` either; the rest stands for itself."""
    searchable: bool = True
    active: bool = True

    def label(self, language: str) -> str:
        """How it is called in a language."""
        return self.label_fr if language == "fr" and self.label_fr else self.label_en


@dataclass(frozen=True, slots=True, kw_only=True)
class TillItem:
    """Something that is sold."""

    id: str
    name: str
    price: Money
    tax_id: str | None = None
    code: str = ""
    quick_key: int | None = None
    colour: Colour = Colour.PLAIN
    active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TillPreset:
    """A charge that is made again and again."""

    id: str
    name: str
    amount: Money
    reference: str = ""
    note: str = ""
    method: Channel | None = None
    customer_id: str | None = None
    quick_key: int | None = None
    """1 to 8, for F1 to F8."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What can be put on a sale with one key."""

    items: tuple[TillItem, ...] = ()
    presets: tuple[TillPreset, ...] = ()

    def preset(self, preset_id: str) -> TillPreset | None:
        """The preset of a link."""
        return next((one for one in self.presets if one.id == preset_id), None)

    @property
    def board(self) -> list[TillItem]:
        """The items that have a quick key, in its order."""
        keyed = [item for item in self.items if item.quick_key is not None]
        return sorted(keyed, key=lambda item: item.quick_key or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TillSettings:
    """What holds for every payment of a merchant."""

    merchant_id: str
    currency: str
    currencies: tuple[str, ...] = ()
    """All that are offered; ``currency`` is the first."""
    tip_percents: tuple[Decimal, ...] = ()
    tips_when_keyed: bool = False
    taxes: tuple[TaxRate, ...] = ()
    default_tax: TaxRate | None = None
    fields: tuple[TillField, ...] = ()
    """Active ones, in their order."""
    refund_limits: Amounts = field(default_factory=dict)
    """A refund above it waits for somebody's approval."""
    charge_limits: Amounts = field(default_factory=dict)
    """Nobody charges more at once."""
    address_check: CheckPolicy = CheckPolicy.ACCEPT
    postal_code_check: CheckPolicy = CheckPolicy.ASK
    cvc_check: CheckPolicy = CheckPolicy.BLOCK
    moto: bool = False
    """Whether a keyed card is a mail or telephone order unless the cashier says otherwise."""
    duplicate_window: timedelta = timedelta(minutes=10)
    capture_later: bool = False
    link_life: timedelta = timedelta(hours=72)

    def tax(self, tax_id: str | None) -> TaxRate | None:
        """A rate by its id; the usual one for None; None for one that is gone."""
        if tax_id is None:
            return self.default_tax
        return next((tax for tax in self.taxes if tax.id == tax_id), None)

    def verdict(
        self, *, address: str | None = None, postal_code: str | None = None, cvc: str | None = None
    ) -> CheckPolicy:
        """The strictest policy of the checks that failed. ``unavailable`` and ``unchecked`` are no failure."""
        outcomes = (
            (address, self.address_check),
            (postal_code, self.postal_code_check),
            (cvc, self.cvc_check),
        )
        failed = [policy for outcome, policy in outcomes if outcome == "fail"]
        return max(failed, key=_STRICTNESS.index, default=CheckPolicy.ACCEPT)


_STRICTNESS: Final = (CheckPolicy.ACCEPT, CheckPolicy.ASK, CheckPolicy.BLOCK)
