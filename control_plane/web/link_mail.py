"""The mail that brings a payment link to its payer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control_plane.mail.message import Message, checked_address
from control_plane.web.i18n import N_
from control_plane.web.paying import lines_of

if TYPE_CHECKING:
    from control_plane.virtual_terminal.views import LinkView
    from control_plane.web.visits import Site, Visit


def link_mail(site: Site, visit: Visit, link: LinkView, address: str, *, base_url: str) -> Message:
    """What the payer reads, in the language of the till. Raises AddressNotRecognised."""
    to = checked_address(address)
    amount = visit.formats.money(link.payment.amount)
    shop = visit.merchant_name
    values = {
        "shop": shop,
        "url": f"{base_url}/pay/{link.token}",
        "payment": link.payment,
        "lines": lines_of(link.payment),
        "expires_at": link.expires_at,
    }
    return Message(
        to=to,
        subject=visit.say(N_("Pay %(shop)s: %(amount)s"), shop=shop, amount=amount),
        text=site.fragment(visit, "pay/_mail.txt", **values),
        html=site.fragment(visit, "pay/_mail.html", **values),
        sender_name=shop,
    )
