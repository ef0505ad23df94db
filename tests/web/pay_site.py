"""A shop with readers of its own and an account on the sandbox, as a browser meets both."""

from __future__ import annotations

from dataclasses import dataclass

from playwright.sync_api import BrowserContext, FrameLocator, Page, expect
from sqlalchemy import delete, select

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
        """States of all payments, the first first."""
        with self.site.parts.database.reading_connection() as db:
            rows = db.execute(select(PAYMENTS.c.state).order_by(PAYMENTS.c.id)).scalars()
            return [state.value for state in rows]

    def attempts(self) -> list[tuple[str, str]]:
        """Method and state of all attempts, the first first."""
        with self.site.parts.database.reading_connection() as db:
            rows = db.execute(
                select(ATTEMPTS.c.method, ATTEMPTS.c.state).order_by(
                    ATTEMPTS.c.payment_id, ATTEMPTS.c.number
                )
            ).all()
        return [(row.method.value, row.state.value) for row in rows]


def open_account(site: LiveSite, sandbox: PlayAccount, *, moto: bool | None = True) -> PaySite:
    """Let the shop's account be this sandbox."""
    parts = site.parts
    with parts.database.connection() as db:
        db.execute(delete(ACCOUNTS))
    connect(parts, site.shop.merchant_id, sandbox.url, moto=moto)
    processors = parts.get(Processors)
    assert isinstance(processors, StripeProcessors)
    processors.patience = Patience(connect_s=2.0, read_s=3.0, deadline_s=8.0, pause_s=0.05)
    return PaySite(site, sandbox)


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
