"""What the templates show: plain values, made by the pages from what services and queries return.

Nothing here reads a database or decides anything. Samples of each are in `tests/web/samples.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from control_plane.web.pay_views import Bill

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, tzinfo

    from control_plane.receipts.sheet import Sheet
    from control_plane.web.pay_views import (
        ChosenCustomer,
        FieldsAccount,
        ItemKey,
        MethodChoice,
        OwnField,
        PresetKey,
        SavedChoice,
    )
    from protocols.money import Money


@dataclass(frozen=True, slots=True)
class Person:
    """Who is signed in, and what the pages may offer."""

    name: str
    email: str
    role: str
    permissions: frozenset[str]

    @property
    def initials(self) -> str:
        """One or two letters for the round picture."""
        words = self.name.split()
        return "".join(word[0] for word in (words[:1] + words[1:][-1:])).upper()


@dataclass(frozen=True, slots=True)
class Shell:
    """What surrounds every page."""

    world: str
    theme: str
    zone: tzinfo
    csrf: str
    path: str
    place: str = ""
    person: Person | None = None
    waiting: int = 0
    """Refunds that the visitor may approve or reject."""
    has_mailbox: bool = False
    """Whether mail stays here, in the mailbox of the demo."""
    has_simulators: bool = False
    """Whether the readers are the demo's simulated ones."""

    def may(self, permission: str) -> bool:
        """Whether to offer something; the server refuses it anyway."""
        return self.person is not None and permission in self.person.permissions


@dataclass(frozen=True, slots=True)
class SaleRow:
    """One attempt to take (or give back) money, in a list."""

    href: str
    at: datetime
    amount: Money
    kind: str
    state: str
    reader: str = ""
    place: str = ""
    cashier: str = ""
    card: str = ""
    channel: str = "in_person"
    method: str = "card_present"
    reference: str = ""
    customer: str = ""
    payment_state: str = ""
    """Of a payment that is in no book yet."""


@dataclass(frozen=True, slots=True)
class ReaderChoice:
    """A reader that a sale can be started on."""

    id: str
    name: str
    place: str
    reach: str
    health: str
    last_seen: datetime | None = None
    is_cloud: bool = False
    """Whether the processor drives it, not one of our boxes."""
    lacks: str = ""
    """Why it can take no money although nothing is wrong with it; a key of the catalogue."""

    @property
    def is_ready(self) -> bool:
        """Whether a sale would start at once."""
        return self.reach == "online" and self.health == "ready" and not self.lacks


@dataclass(frozen=True, slots=True)
class TillForm:
    """The form of a new sale, as filled in so far."""

    key: str
    currencies: Sequence[str]
    currency: str
    readers: Sequence[ReaderChoice]
    reader_id: str = ""
    amount: str = ""
    reference: str = ""
    note: str = ""
    problems: Mapping[str, str] = field(default_factory=dict)
    """Field name (or `form`) to a sentence in the reader's language."""
    method: str = "reader"
    methods: Sequence[MethodChoice] = ()
    account: FieldsAccount | None = None
    moto: bool = False
    """Whether the switch for telephone orders is on."""
    customer: ChosenCustomer | None = None
    saved: Sequence[SavedChoice] = ()
    saved_id: str = ""
    bank_kinds: Sequence[str] = ()
    link_life: timedelta = timedelta(days=3)
    own_fields: Sequence[OwnField] = ()
    has_order_field: bool = False
    """Whether one of them is the order number."""
    presets: Sequence[PresetKey] = ()
    board: Sequence[ItemKey] = ()
    sells: bool = False
    """Whether there are items to look for."""
    bill: Bill = field(default_factory=Bill)
    email: str = ""
    later: bool = False
    more_open: bool = False


@dataclass(frozen=True, slots=True)
class SessionPanel:
    """A tap session, running or decided."""

    id: str
    amount: Money
    kind: str
    state: str
    reader: str
    place: str
    started_at: datetime
    step: str = ""
    seconds_left: float = 0
    seconds_total: float = 60
    can_cancel: bool = False
    result_code: int | None = None
    result_text: str = ""
    explanation: str = ""
    decided_by: str = ""
    card: str = ""
    authorization_code: str = ""
    reference: str = ""
    note: str = ""
    cashier: str = ""
    transaction_href: str = ""
    receipt: Sheet | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """One entry of a timeline."""

    at: datetime
    text: str
    icon: str = "info"
    tone: str = "off"
    detail: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """An entry of a select box."""

    value: str
    text: str


@dataclass(frozen=True, slots=True)
class Page:
    """A keyset page: links to its neighbours, when there are any."""

    previous: str = ""
    next: str = ""


@dataclass(frozen=True, slots=True)
class ReaderRow:
    """A reader in the fleet."""

    id: str
    href: str
    name: str
    place: str
    model: str
    reach: str
    sync: str
    health: str
    reason: str = ""
    device: str = ""
    device_href: str = ""
    software: str = ""
    last_seen: datetime | None = None


@dataclass(frozen=True, slots=True)
class Attention:
    """Something that a person should look at."""

    text: str
    detail: str
    href: str
    tone: str
    icon: str
