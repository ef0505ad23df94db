"""What the templates of payments show: plain values, made by the pages from what services and queries return."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from markupsafe import Markup

    from control_plane.receipts.sheet import Sheet
    from control_plane.web.views import ReaderChoice, SessionPanel
    from protocols.money import Money

#: What Stripe's own script needs besides the origin that it comes from.
_STRIPE: str = "https://js.stripe.com"
_STRIPE_FRAMES: tuple[str, ...] = ("https://hooks.stripe.com",)
_STRIPE_CALLS: tuple[str, ...] = ("https://api.stripe.com",)


@dataclass(frozen=True, slots=True)
class FieldsAccount:
    """Whose card fields a page shows."""

    script_url: str
    publishable_key: str
    moto: bool | None = None
    """Whether telephone orders are enabled; None: never asked."""

    @property
    def origin(self) -> str:
        """Where the script, its frames and its calls are."""
        parts = urlsplit(self.script_url)
        return f"{parts.scheme}://{parts.netloc}"

    def policy(self) -> str:
        """The content security policy of a page with these fields: ours, and exactly the provider's origins."""
        is_stripe = self.origin == _STRIPE
        frames = (self.origin, *(_STRIPE_FRAMES if is_stripe else ()))
        calls = (*(() if is_stripe else (self.origin,)), *(_STRIPE_CALLS if is_stripe else ()))
        return "; ".join(
            (
                "default-src 'self'",
                f"script-src 'self' {self.origin}",
                f"frame-src {' '.join(frames)}",
                f"connect-src 'self' {' '.join(calls)}",
                "img-src 'self' data:",
                "object-src 'none'",
                "base-uri 'none'",
                "form-action 'self'",
                "frame-ancestors 'none'",
            )
        )


@dataclass(frozen=True, slots=True)
class MethodChoice:
    """One way to pay, beside the amount. Texts are keys of the catalogues."""

    value: str
    text: str
    icon: str
    verb: str


@dataclass(frozen=True, slots=True)
class OwnField:
    """A field of the merchant's own, as filled in so far."""

    key: str
    label: str
    input: str = "text"
    required: bool = False
    choices: Sequence[str] = ()
    example: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class PresetKey:
    """A sale that is made again and again."""

    href: str
    name: str
    amount: Money
    key: int | None = None


@dataclass(frozen=True, slots=True)
class ItemKey:
    """A thing on the board."""

    id: str
    name: str
    price: Money
    colour: str = "plain"


@dataclass(frozen=True, slots=True)
class BillLine:
    """So many of one thing."""

    name: str
    quantity: int
    total: Money
    item_id: str = ""


@dataclass(frozen=True, slots=True)
class TaxPart:
    """All of a sale that one rate takes."""

    name: str
    amount: Money


@dataclass(frozen=True, slots=True)
class TipChoice:
    """One tip to choose: ``value`` is a percentage, or nothing."""

    value: str
    text: str


@dataclass(frozen=True, slots=True)
class Bill:
    """What the sale comes to."""

    lines: Sequence[BillLine] = ()
    """Without the one of the amount that was typed, unless there are others."""
    taxes: Sequence[TaxPart] = ()
    tips: Sequence[TipChoice] = ()
    tip: str = ""
    tip_amount: Money | None = None
    total: Money | None = None
    """None while there is nothing to add up."""
    asks: bool = False
    """Whether the total is more than what is typed, so that the server works it out with each change."""
    problem: str = ""

    @property
    def shows_total(self) -> bool:
        """Whether a sum is worth a line of its own."""
        return self.total is not None and bool(self.lines or self.taxes or self.tip_amount)


@dataclass(frozen=True, slots=True)
class ChosenCustomer:
    """Whose payment it is."""

    id: str
    name: str
    email: str = ""


@dataclass(frozen=True, slots=True)
class SavedChoice:
    """Something the customer let the shop keep."""

    id: str
    title: str
    detail: str
    usable: bool = True


@dataclass(frozen=True, slots=True)
class MethodPanel:
    """What one way to pay needs beside the amount."""

    method: str
    currency: str
    account: FieldsAccount | None = None
    moto: bool = False
    """Whether the switch for telephone orders is on."""
    customer: ChosenCustomer | None = None
    saved: Sequence[SavedChoice] = ()
    saved_id: str = ""
    bank_kinds: Sequence[str] = ()
    link_life: timedelta = timedelta(days=3)
    readers: Sequence[ReaderChoice] = ()
    reader_id: str = ""
    key: str = ""
    """Of another try: the same form, sent again, is the same try."""
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One check of the bank: ``verdict`` is pass, fail, unavailable or unchecked."""

    name: str
    """address, postal_code or cvc."""
    verdict: str


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One try, in the list of all."""

    number: int
    method: str
    state: str
    at: datetime
    card: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OfferCard:
    """One way to go on. Texts are keys of the catalogues."""

    method: str
    text: str
    more: str
    icon: str
    query: str
    """What leads to its form."""


@dataclass(frozen=True, slots=True)
class LinkCard:
    """A payment link that waits for its payer."""

    url: str
    qr: Markup
    expires_at: datetime
    sent_to: str = ""


@dataclass(frozen=True, slots=True)
class PaymentPanel:
    """A payment, as the till shows it."""

    id: str
    amount: Money
    face: str
    """What to show: a state of the payment, or one of declined, failed, link, reader, checks, microdeposits."""
    started_at: datetime
    cashier: str = ""
    place: str = ""
    customer: ChosenCustomer | None = None
    reference: str = ""
    note: str = ""
    own_fields: Sequence[tuple[str, str]] = ()
    lines: Sequence[BillLine] = ()
    tax: Money | None = None
    tip: Money | None = None
    method: str = ""
    moto: bool = False
    card: str = ""
    authorization_code: str = ""
    reason: str = ""
    """Why not, and what to do, in the visitor's language."""
    advice: str = ""
    code: str = ""
    explanation: str = ""
    checks: Sequence[CheckRow] = ()
    captured: Money | None = None
    """When it is not all of the amount."""
    capture_before: datetime | None = None
    offers: Sequence[OfferCard] = ()
    attempts: Sequence[AttemptRow] = ()
    link: LinkCard | None = None
    session: SessionPanel | None = None
    account: FieldsAccount | None = None
    receipt: Sheet | None = None
    receipt_email: str = ""
    duplicate_href: str = ""
    transaction_href: str = ""
    can_cancel: bool = False
    can_capture: bool = False
    notice: str = ""
    """Why what was asked a moment ago was not done."""
    done: str = ""
    """What was done a moment ago."""


@dataclass(frozen=True, slots=True)
class PayerLink:
    """A payment, as its payer sees it."""

    face: str
    """payable, or a key of ``pay_words.LINK_FACES``."""
    merchant: str = ""
    amount: Money | None = None
    reference: str = ""
    lines: Sequence[BillLine] = ()
    card: str = ""
    account: FieldsAccount | None = None
    client_secret: str = field(default="", repr=False)
