"""A shop with readers of its own and an account on the sandbox, as a browser meets both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from playwright.sync_api import BrowserContext, FrameLocator, Page, expect
from sqlalchemy import ColumnElement, Row, Table, delete, select

from control_plane.accounts.permissions import Role
from control_plane.processors.stripe.client import Patience
from control_plane.virtual_terminal.models import ACCOUNTS, ATTEMPTS, PAYMENTS
from control_plane.virtual_terminal.processor import Processors
from control_plane.wiring.processors import StripeProcessors
from tests.fixtures.virtual_terminal import connect
from tests.support.play_account import VISA, PlayAccount
from tests.web.live_site import LiveSite

FRAME = "card-fields iframe, link-pay iframe"


@dataclass(frozen=True, slots=True)
class PaySite:
    """The shop's site, and what the sandbox knows."""

    site: LiveSite
    sandbox: PlayAccount
    earlier: frozenset[str] = frozenset()
    """Payments of other tests on the same site."""

    @property
    def address(self) -> str:
        return self.site.address

    def till(
        self, context: BrowserContext, query: str = "new=1", role: Role = Role.CASHIER
    ) -> Page:
        """The cashier's page, signed in."""
        self.site.sign_in(context, role)
        page = context.new_page()
        page.goto(f"{self.address}/pos?{query}")
        return page

    def payments(self) -> list[str]:
        """States of this test's payments, the first first."""
        return [row.state.value for row in self._rows(PAYMENTS, PAYMENTS.c.id)]

    def attempts(self) -> list[tuple[str, str]]:
        """Method and state of this test's attempts, payment by payment, the first first."""
        rows = self._rows(ATTEMPTS, ATTEMPTS.c.payment_id, ATTEMPTS.c.number)
        return [(row.method.value, row.state.value) for row in rows]

    def _rows(self, table: Table, *order: ColumnElement[Any]) -> list[Row[Any]]:
        with self.site.parts.database.reading_connection() as db:
            found = db.execute(select(table).order_by(*order)).all()
        whose = "id" if table is PAYMENTS else "payment_id"
        return [row for row in found if getattr(row, whose) not in self.earlier]


def open_account(site: LiveSite, sandbox: PlayAccount, *, moto: bool | None = True) -> PaySite:
    """Let the shop's account be this sandbox."""
    parts = site.parts
    with parts.database.connection() as db:
        db.execute(delete(ACCOUNTS))
    connect(parts, site.shop.merchant_id, sandbox.url, moto=moto)
    processors = parts.get(Processors)
    assert isinstance(processors, StripeProcessors)
    processors.patience = Patience(connect_s=2.0, read_s=3.0, deadline_s=8.0, pause_s=0.05)
    with parts.database.reading_connection() as db:
        earlier = frozenset(db.execute(select(PAYMENTS.c.id)).scalars())
    return PaySite(site, sandbox, earlier)


def fields_of(page: Page) -> FrameLocator:
    """The provider's fields, once they are there."""
    expect(page.locator(FRAME).first).to_be_visible()
    return page.frame_locator(FRAME).first


def type_card(
    page: Page, number: str = VISA, *, expiry: str = "1234", cvc: str = "123", postal: str = "10001"
) -> None:
    """Type a card into the provider's fields, as fingers do."""
    fields = fields_of(page)
    fields.locator("[name=country]").select_option("US")
    for name, text in (
        ("number", number),
        ("expiry", expiry),
        ("cvc", cvc),
        ("postal_code", postal),
    ):
        fields.locator(f"[name={name}]").press_sequentially(text)
