"""Turns payments into what the templates of payments show. Decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import segno
from markupsafe import Markup

from control_plane.accounts.permissions import Permission
from control_plane.virtual_terminal.declines import explain
from control_plane.virtual_terminal.ladder import Offer
from control_plane.virtual_terminal.lifecycle import AttemptMethod, AttemptState, PaymentState
from control_plane.web import pay_words, present
from control_plane.web.pay_views import (
    AttemptRow,
    BillLine,
    CheckRow,
    ChosenCustomer,
    LinkCard,
    OfferCard,
    PaymentPanel,
)
from control_plane.web.views import SaleRow
from protocols.money import Money

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from control_plane.receipts.sheet import Sheet
    from control_plane.till.values import TillField
    from control_plane.virtual_terminal.views import AttemptView, LinkView, PaymentView
    from control_plane.web.pay_views import FieldsAccount
    from control_plane.web.views import SessionPanel
    from control_plane.web.visits import Visit

_ENDED: Final = frozenset({AttemptState.DECLINED, AttemptState.FAILED})
_CHECKED: Final = frozenset({"pass", "fail", "unavailable", "unchecked"})
_DEPOSITS: Final = "verify_with_microdeposits"


def sale_of_payment(payment: PaymentView, places: Mapping[str, str]) -> SaleRow:
    """A payment in a list of sales."""
    return SaleRow(
        href=f"/pos/{payment.id}",
        at=payment.created_at,
        amount=payment.amount,
        kind="sale",
        state=payment.state.value,
        place=places.get(payment.location_id or "", ""),
        cashier=payment.cashier_name,
        card=present.card(payment.card_brand, payment.card_last4),
        reference=payment.reference,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What belongs to a payment besides itself."""

    attempts: Sequence[AttemptView] = ()
    link: LinkView | None = None
    base_url: str = ""
    account: FieldsAccount | None = None
    session: SessionPanel | None = None
    receipt: Sheet | None = None
    customer_email: str = ""
    own_fields: Sequence[TillField] = ()
    notice: str = ""


def panel(visit: Visit, payment: PaymentView, around: Around) -> PaymentPanel:
    """A payment as the till shows it."""
    last = payment.attempt
    face = face_of(payment)
    reason, advice = _reason(visit, last) if face in {"declined", "failed"} else ("", "")
    may = visit.caller.can
    customer = None
    if payment.customer_id:
        customer = ChosenCustomer(payment.customer_id, payment.customer_name, around.customer_email)
    own = {one.key: one.label(visit.language) for one in around.own_fields}
    waits = face in {
        "link",
        "requires_action",
        "microdeposits",
        "open",
        "declined",
        "failed",
        "reader",
    }
    holds = face in {"authorized", "checks"}
    return PaymentPanel(
        id=payment.id,
        amount=payment.amount,
        face=face,
        started_at=payment.created_at,
        cashier=payment.cashier_name,
        place=visit.places.get(payment.location_id or "", ""),
        customer=customer,
        reference=payment.reference,
        note=payment.note,
        own_fields=[(own.get(key, key), value) for key, value in payment.fields.items()],
        lines=lines_of(payment),
        tax=Money(payment.tax_minor, payment.currency) if payment.tax_minor else None,
        tip=Money(payment.tip_minor, payment.currency) if payment.tip_minor else None,
        method=last.method.value if last else "",
        moto=bool(last and last.moto),
        card=card_of(payment),
        authorization_code=(last.authorization_code or "") if last else "",
        reason=reason,
        advice=advice,
        code=(last.code or "") if last and reason else "",
        explanation=payment.explanation,
        checks=_checks(last),
        captured=_captured(payment),
        capture_before=payment.capture_before,
        offers=[_offer(one) for one in payment.offers if _may_offer(visit, one)],
        attempts=[_attempt(visit, one) for one in around.attempts],
        link=_link(around) if face == "link" else None,
        session=around.session if face == "reader" else None,
        account=around.account,
        receipt=around.receipt,
        receipt_email=payment.receipt_email or around.customer_email,
        duplicate_href=f"/pos/{payment.duplicate_of}" if payment.duplicate_of else "",
        transaction_href=(
            f"/transactions/{payment.transaction_id}" if payment.transaction_id else ""
        ),
        can_cancel=waits and may(Permission.PAYMENT_CHARGE_CREATE),
        can_capture=holds and may(Permission.PAYMENT_CHARGE_MANAGE),
        notice=around.notice,
    )


def face_of(payment: PaymentView) -> str:
    """What to show of a payment: its state, refined by its last attempt."""
    last = payment.attempt
    if last is None:
        return payment.state.value
    is_open = last.state.is_open
    match payment.state:
        case PaymentState.OPEN if last.state in _ENDED:
            return "declined" if last.state is AttemptState.DECLINED else "failed"
        case PaymentState.IN_PROGRESS if last.method is AttemptMethod.LINK and is_open:
            return "link"
        case PaymentState.IN_PROGRESS if last.method is AttemptMethod.READER and is_open:
            return "reader"
        case PaymentState.REQUIRES_ACTION if last.method is AttemptMethod.LINK:
            return "link"
        case PaymentState.REQUIRES_ACTION if last.method is AttemptMethod.BANK_DEBIT:
            return "microdeposits"
        case PaymentState.AUTHORIZED if payment.waits_for_checks:
            return "checks"
        case _:
            return payment.state.value


def card_of(payment: PaymentView) -> str:
    """`Visa •••• 4242`: what was paid with, or what the last attempt was typed with."""
    last = payment.attempt
    shown = present.card(payment.card_brand, payment.card_last4)
    if shown or last is None:
        return shown
    return present.card(last.card_brand or last.hint_brand, last.card_last4 or last.hint_last4)


def lines_of(payment: PaymentView) -> list[BillLine]:
    """What is paid for."""
    return [_line(one, payment.currency) for one in payment.items]


def _reason(visit: Visit, last: AttemptView | None) -> tuple[str, str]:
    if last is None:
        return "", ""
    return explain(last.code).in_language(visit.language)


def _checks(last: AttemptView | None) -> list[CheckRow]:
    if last is None:
        return []
    found = {
        "address": last.address_check,
        "postal_code": last.postal_code_check,
        "cvc": last.cvc_check,
    }
    return [CheckRow(name, verdict) for name, verdict in found.items() if verdict in _CHECKED]


def _captured(payment: PaymentView) -> Money | None:
    if payment.state is not PaymentState.PAID or payment.captured_minor == payment.amount_minor:
        return None
    return Money(payment.captured_minor, payment.currency)


def _may_offer(visit: Visit, offer: Offer) -> bool:
    if offer is Offer.READER:
        return visit.caller.can(Permission.PAYMENT_SESSION_CREATE)
    return visit.caller.can(Permission.PAYMENT_CHARGE_CREATE)


def _offer(offer: Offer) -> OfferCard:
    method, text, more, icon = pay_words.OFFERS[offer]
    query = f"try={method}" + ("&moto=1" if offer is Offer.MOTO else "")
    return OfferCard(method, text, more, icon, query)


def _attempt(visit: Visit, one: AttemptView) -> AttemptRow:
    reason = ""
    if one.state in _ENDED:
        reason, _ = _reason(visit, one)
    card = present.card(one.card_brand or one.hint_brand, one.card_last4 or one.hint_last4)
    return AttemptRow(
        number=one.number,
        method=one.method.value,
        state=one.state.value,
        at=one.started_at,
        card=card,
        reason=reason,
    )


def _line(one: Mapping[str, object], currency: str) -> BillLine:
    total, quantity = one.get("total_minor", 0), one.get("quantity", 1)
    return BillLine(
        name=str(one.get("name", "")),
        quantity=quantity if isinstance(quantity, int) else 1,
        total=Money(total if isinstance(total, int) else 0, currency),
    )


def _link(around: Around) -> LinkCard | None:
    link = around.link
    if link is None:
        return None
    url = f"{around.base_url}/pay/{link.token}"
    drawn = segno.make(url, error="m").svg_inline(border=2, omitsize=True)
    last = link.payment.attempt
    # segno writes nothing of the text into the drawing but its squares.
    return LinkCard(url, Markup(drawn), link.expires_at, (last.link_sent_to or "") if last else "")  # noqa: S704
