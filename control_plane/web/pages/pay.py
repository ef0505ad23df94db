"""The payer's own page behind a payment link. Nobody is signed in: the address is the key."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from control_plane.http.dependencies import App
from control_plane.http.security import PUBLIC, refuse_other_sites
from control_plane.http.threads import apart
from control_plane.parts import Parts
from control_plane.virtual_terminal.desk import Desk
from control_plane.virtual_terminal.errors import LinkGone
from control_plane.virtual_terminal.lifecycle import AttemptMethod, PaymentState
from control_plane.virtual_terminal.views import OpenedLink
from control_plane.web import paying
from control_plane.web.forms import policy_of
from control_plane.web.pay_views import FieldsAccount, PayerLink
from control_plane.web.visits import site_of

router = APIRouter()

_HIDDEN: Final = {"X-Robots-Tag": "noindex, nofollow", "Referrer-Policy": "no-referrer"}
_FACES: Final[dict[PaymentState, str]] = {
    PaymentState.PAID: "paid",
    PaymentState.PROCESSING: "processing",
    PaymentState.AUTHORIZED: "held",
    PaymentState.UNKNOWN: "checking",
    PaymentState.CANCELED: "expired",
}


@router.get("/pay/{token}", dependencies=[PUBLIC])
async def show(request: Request, parts: App, token: str) -> Response:
    """What is to be paid, or what became of it."""
    return await apart(_show, request, parts, token)


@router.post("/pay/{token}", dependencies=[PUBLIC])
async def confirmed(request: Request, parts: App, token: str) -> Response:
    """The payer has confirmed with the provider: look what came of it."""
    refuse_other_sites(request)
    # Where there is none, the page says so.
    with suppress(LinkGone):
        await apart(parts.get(Desk).after_link, token)
    return RedirectResponse(f"/pay/{token}", 303)


def _show(request: Request, parts: Parts, token: str) -> Response:
    site = site_of(request)
    try:
        link = _payer_link(parts.get(Desk).open_link(token))
    except LinkGone:
        link = PayerLink("gone")
    status = 404 if link.face == "gone" else 200
    response = site.public_page(request, "pay/page.html", status=status, link=link)
    response.headers.update(_HIDDEN | policy_of(link.account))
    return response


def _payer_link(opened: OpenedLink) -> PayerLink:
    payment = opened.payment
    account = None
    if opened.is_payable:
        account = FieldsAccount(opened.script_url, opened.publishable_key)
    return PayerLink(
        face="payable" if opened.is_payable else _face(opened),
        merchant=opened.merchant_name,
        amount=payment.amount,
        reference=payment.reference,
        lines=paying.lines_of(payment),
        account=account,
        client_secret=opened.client_secret or "",
    )


def _face(opened: OpenedLink) -> str:
    payment = opened.payment
    if payment.state in _FACES:
        return _FACES[payment.state]
    last = payment.attempt
    if last is not None and last.method is not AttemptMethod.LINK and last.state.is_open:
        return "elsewhere"
    return "expired"
