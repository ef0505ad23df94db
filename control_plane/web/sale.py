"""Puts the page of a transaction together from the ledger and from the payment that the row is of."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final

from control_plane.accounts.permissions import Permission
from control_plane.card_present import refunds as card_refunds
from control_plane.card_present.refunds import CardRefundView, CardSaleView
from control_plane.customers import queries as customers
from control_plane.db.unit_of_work import Transaction
from control_plane.errors import NotFound
from control_plane.payments import queries as sessions
from control_plane.payments.sessions import can_be_reversed
from control_plane.till import queries as till
from control_plane.till.limits import limit_in
from control_plane.transactions import queries as ledger
from control_plane.transactions.ledger import READER
from control_plane.transactions.models import Kind, Status
from control_plane.transactions.queries import Found
from control_plane.virtual_terminal import cloud_readers
from control_plane.virtual_terminal import queries as payments
from control_plane.virtual_terminal.cloud_readers import CloudReaderView
from control_plane.virtual_terminal.declines import explain, explain_refund
from control_plane.virtual_terminal.lifecycle import PaymentState, RefundState
from control_plane.virtual_terminal.models import PAYMENTS
from control_plane.virtual_terminal.refunding import NEEDS_CARD
from control_plane.virtual_terminal.views import (
    AttemptView,
    DisputeView,
    MomentView,
    PaymentView,
    RefundView,
)
from control_plane.web import card_words, pay_words, present, refund_words, words
from control_plane.web.i18n import N_
from control_plane.web.paper import paper_of
from control_plane.web.paying import card_of, face_of
from control_plane.web.sale_views import (
    Disputed,
    Fact,
    GivenBack,
    RefundForm,
    SoldLine,
    Try,
    Twin,
)
from control_plane.web.views import Moment
from control_plane.web.visits import Visit, names_of
from protocols.ids import new_id
from protocols.money import CURRENCIES, Money

#: Columns that say nothing to anybody but us, and values that nobody else is to have.
_HIDDEN: Final = frozenset({"message_hash", "merchant_id", "card_fingerprint", "version"})
_AMOUNT: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)? [A-Z]{3}")
_LOOKED_AT: Final = frozenset(
    {RefundState.UNKNOWN, RefundState.PENDING, RefundState.CREATED, RefundState.AT_READER}
)

_WITH_THE_CUSTOMER: Final = frozenset({Kind.SALE, Kind.REFUND, Kind.REVERSAL})
#: What money goes back by.
_BACK: Final = frozenset({Kind.REFUND, Kind.REVERSAL, Kind.DISPUTE, Kind.FEE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sale:
    """A row of the ledger, a payment, or both."""

    row: Found | None
    payment: PaymentView | None
    attempts: Sequence[AttemptView] = ()
    refunds: Sequence[RefundView] = ()
    disputes: Sequence[DisputeView] = ()

    @property
    def id(self) -> str:
        """As the address has it."""
        if self.row is not None:
            return str(self.row.id)
        return self.payment.id if self.payment else ""

    @property
    def left(self) -> Money | None:
        """What can still be given back by the processor; None when that is nothing, or not its matter."""
        paid = self.payment
        if paid is None or paid.state is not PaymentState.PAID or paid.processor_id is None:
            return None
        held = sum(one.amount_minor for one in self.refunds if one.state.holds_money)
        minor = paid.captured_minor - held
        return Money(minor, paid.currency) if minor > 0 else None


def sale_of(db: Transaction, visit: Visit, thing_id: str) -> Sale:
    """What an id of the ledger, or of a payment, stands for. Raises NotFound, Forbidden."""
    scope, caller = visit.caller.scope, visit.caller
    if thing_id.startswith("pay_"):
        caller.must(Permission.PAYMENT_VIEW)
        payment = payments.payment(db, scope, thing_id)
        row = ledger.transaction(db, scope, payment.transaction_id or "")
        return _whole(db, visit, row, payment)
    row = ledger.transaction(db, scope, thing_id)
    if row is None:
        raise NotFound("transaction", thing_id)
    if row.kind is not Kind.SALE or not caller.can(Permission.PAYMENT_VIEW):
        return Sale(row=row, payment=None)
    try:
        payment_id = row.payment_id or _payment_of_session(db, visit, row.session_id)
        payment = payments.payment(db, scope, payment_id)
    except NotFound:
        return Sale(row=row, payment=None)
    if payment.transaction_id not in (None, row.id):
        # A declined try of a payment that was paid by another.
        return Sale(row=row, payment=None)
    return _whole(db, visit, row, payment)


def _payment_of_session(db: Transaction, visit: Visit, session_id: str | None) -> str:
    """The payment that a sale on a reader of ours is a try of; empty for a sale of its own. Raises NotFound."""
    if session_id is None or not visit.caller.can(Permission.PAYMENT_SESSION_VIEW):
        return ""
    return sessions.session(db, visit.caller.scope, session_id).payment_id or ""


def _whole(db: Transaction, visit: Visit, row: Found | None, payment: PaymentView) -> Sale:
    scope = visit.caller.scope
    disputes: list[DisputeView] = []
    if visit.caller.can(Permission.DISPUTE_VIEW):
        disputes = payments.disputes(db, scope, payment_id=payment.id)
    return Sale(
        row=row,
        payment=payment,
        attempts=payments.attempts(db, scope, payment.id),
        refunds=payments.refunds_of(db, scope, payment.id),
        disputes=disputes,
    )


def page_values(db: Transaction, visit: Visit, sale: Sale) -> dict[str, Any]:
    """What ``transactions/detail.html`` shows."""
    row, payment = sale.row, sale.payment
    # Nobody gets a receipt for what a bank or the processor took.
    has_receipt = (
        row is not None and row.status is Status.APPROVED and row.kind in _WITH_THE_CUSTOMER
    )
    return {
        "sale_id": sale.id,
        "amount": _amount(sale),
        "kind": row.kind.value if row is not None else "sale",
        "at": row.occurred_at if row is not None else payment.created_at if payment else visit.now,
        "word": _word(sale),
        "badges": _badges(sale),
        "notes": _notes(visit, sale),
        "facts": _facts(db, visit, sale),
        "lines": sold_lines(sale),
        "tax": _part(payment, "tax_minor"),
        "tip": _part(payment, "tip_minor"),
        "tries": [_try(visit, one) for one in sale.attempts],
        "refunds": [_given_back(visit, one) for one in sale.refunds],
        "disputes": [disputed(visit, one) for one in sale.disputes],
        "twins": _twins(db, visit, sale),
        "moments": _moments(db, visit, sale),
        "raw": json.dumps(_raw(sale), indent=2, ensure_ascii=False),
        "receipt": paper_of(db, visit, row.id) if has_receipt and row is not None else None,
        "receipt_href": f"/v1/transactions/{row.id}/receipt"
        if has_receipt and row is not None
        else "",
        "shop_copy": (row.merchant_receipt or "") if row is not None else "",
        "can_reverse": _can_reverse(db, visit, sale),
        "may_refund": visit.caller.can(Permission.PAYMENT_REFUND_CREATE),
        "left": sale.left,
        "till_href": _till_href(visit, sale),
        "payment_id": payment.id if payment else "",
        "email": _email(db, visit, sale),
        **_on_encrypting_reader(db, visit, sale),
    }


def _on_encrypting_reader(db: Transaction, visit: Visit, sale: Sale) -> dict[str, Any]:
    """What replaces values of the page when an encrypting reader took the money, and a processor of its own has it."""
    taken = card_sale_of(db, visit, sale)
    if taken is None:
        return {}
    given = card_refunds.refunds_of(db, visit.caller.scope, sale.id)
    return {
        "badges": [*_badges(sale), card_words.MONEY[taken.state]],
        "refunds": [_given_back_by_card(one) for one in given],
        "left": taken.left if taken.left.minor else None,
        # Such a reader has no way to give money back itself.
        "can_reverse": False,
    }


def card_sale_of(db: Transaction, visit: Visit, sale: Sale) -> CardSaleView | None:
    """The money of a sale on an encrypting reader; None for all others."""
    row = sale.row
    if row is None or row.source != READER or row.kind is not Kind.SALE:
        return None
    return card_refunds.sale_of(db, visit.caller.scope, row.id)


def _given_back_by_card(one: CardRefundView) -> GivenBack:
    return GivenBack(
        id=one.id,
        amount=Money(one.amount_minor, one.currency),
        word=card_words.REFUND[one.state],
        reason="",
        note=one.note,
        by=one.requested_by_name,
        decided_by="",
        at=one.requested_at,
        failure=one.problem,
        href=f"/transactions/{one.transaction_id}" if one.transaction_id else "",
        can_look=False,
    )


def refund_form(db: Transaction, visit: Visit, sale: Sale) -> RefundForm | None:
    """The dialog, unless nothing is left or the visitor may not."""
    taken = card_sale_of(db, visit, sale)
    if taken is not None:
        return _card_refund_form(visit, sale, taken)
    left, payment = sale.left, sale.payment
    if left is None or payment is None or not visit.caller.can(Permission.PAYMENT_REFUND_CREATE):
        return None
    settings = till.settings_of(db, visit.caller.merchant_id)
    own = till.limits_of(db, visit.caller.merchant_id, visit.caller.id)
    bounds = [
        bound
        for amounts in (settings.refund_limits, own.refund)
        if (bound := limit_in(amounts, left.currency)) is not None
    ]
    on_reader = payment.method_kind == NEEDS_CARD
    readers = cloud_readers.readers_for_payment(db, visit.caller.scope) if on_reader else []
    return RefundForm(
        key=new_id("frm"),
        action=f"/transactions/{payment.id}/refunds",
        on_reader=on_reader,
        readers=[(one.id, _reader_label(visit, one)) for one in readers],
        reader=_likely_reader(sale, readers),
        left=left,
        amount=f"{left.decimal():f}",
        currency=left.currency,
        by="all",
        reason="requested_by_customer",
        note="",
        reasons=[(key, visit.say(text)) for key, text in refund_words.REASONS.items()],
        lines=[line for line in sold_lines(sale) if line.left],
        approval_above=_left_unseen(sale, bounds),
    )


def _reader_label(visit: Visit, reader: CloudReaderView) -> str:
    state = N_("Busy") if reader.held_by else N_("Online") if reader.is_online else N_("Offline")
    place = visit.places.get(reader.location_id, "")
    return " · ".join(part for part in (reader.name, place, visit.say(state)) if part)


def _likely_reader(sale: Sale, readers: Sequence[CloudReaderView]) -> str:
    """The one that took the payment, if it is free; else the first free one of the same shop, or of any."""
    took = {one.cloud_reader_id for one in sale.attempts}
    place = sale.payment.location_id if sale.payment is not None else None
    free = [one for one in readers if one.is_online and not one.held_by]
    free.sort(key=lambda one: (one.id not in took, one.location_id != place))
    return free[0].id if free else ""


def _card_refund_form(visit: Visit, sale: Sale, taken: CardSaleView) -> RefundForm | None:
    if not taken.left.minor or not visit.caller.can(Permission.PAYMENT_REFUND_CREATE):
        return None
    return RefundForm(
        key=new_id("frm"),
        action=f"/transactions/{sale.id}/card-refunds",
        left=taken.left,
        amount=f"{taken.left.decimal():f}",
        currency=taken.left.currency,
        by="all",
        reason="",
        note="",
        reasons=[],
    )


def _left_unseen(sale: Sale, bounds: Sequence[Money]) -> Money | None:
    """What can go back without a second person: the lowest bound less what went without one; None: anything."""
    if not bounds:
        return None
    lowest = min(bounds, key=lambda bound: bound.minor)
    unseen = sum(
        one.amount_minor
        for one in sale.refunds
        if one.state.holds_money
        and one.state is not RefundState.AWAITING_APPROVAL
        and one.decided_by is None
    )
    return Money(max(0, lowest.minor - unseen), lowest.currency)


def sold_lines(sale: Sale) -> list[SoldLine]:
    """The order, and what was not given back of each line."""
    payment = sale.payment
    if payment is None:
        return []
    gone = Counter[int]()
    for refund in sale.refunds:
        if refund.state.holds_money:
            for line in refund.lines:
                gone[int(line["index"])] += int(line["quantity"])
    return [
        SoldLine(
            index=index,
            name=str(item.get("name") or ""),
            quantity=int(item["quantity"]),
            unit=Money(int(item["unit_minor"]), payment.currency),
            total=Money(int(item["total_minor"]), payment.currency),
            tax=_percent(item),
            left=max(0, int(item["quantity"]) - gone[index]),
        )
        for index, item in enumerate(payment.items)
    ]


def disputed(visit: Visit, one: DisputeView) -> Disputed:
    """A dispute as pages show it."""
    reason = refund_words.DISPUTE_REASONS.get(one.reason, one.reason)
    return Disputed(
        id=one.id,
        amount=one.amount,
        word=words.word(refund_words.DISPUTE, one.status),
        reason=visit.say(reason),
        due_by=one.due_by,
        is_open=one.status in refund_words.DISPUTES_OPEN,
        at=one.created_at,
        href=f"/transactions/{one.payment_id}" if one.payment_id else "",
    )


def told(visit: Visit, moment: MomentView) -> Moment:
    """A line of a payment's timeline."""
    sentence = moment.kind.french if visit.language == "fr" else moment.kind.english
    facts = {name: _told_fact(visit, value) for name, value in moment.facts.items()}
    icon, tone = refund_words.MOMENTS.get(moment.kind, ("info", "off"))
    return Moment(
        moment.at,
        sentence.format_map(_Known(facts)),
        icon,
        tone,
        detail="" if moment.text.startswith("rfd_") else moment.text,
        by=moment.actor_name,
    )


class _Known(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "–"


def _told_fact(visit: Visit, value: str) -> str:
    if _AMOUNT.fullmatch(value):
        number, _, currency = value.rpartition(" ")
        if currency in CURRENCIES:
            return visit.formats.money(Money.parse(number, currency))
    return value


def _amount(sale: Sale) -> Money:
    if sale.row is not None:
        return Money(sale.row.amount_minor, sale.row.currency)
    if sale.payment is None:
        raise NotFound("transaction")
    return sale.payment.amount


def _word(sale: Sale) -> words.Word:
    if sale.row is not None:
        return words.word(words.SESSION, sale.row.status.value)
    face = face_of(sale.payment) if sale.payment else ""
    if face in pay_words.PAYMENT:
        return pay_words.PAYMENT[face]
    state = sale.payment.state.value if sale.payment else ""
    return words.word(pay_words.PAYMENT, state)


def _badges(sale: Sale) -> list[words.Word]:
    badges = []
    payment = sale.payment
    given = sum(one.amount_minor for one in sale.refunds if one.state is RefundState.SUCCEEDED)
    if payment is not None and given:
        whole = given >= payment.captured_minor
        badges.append(
            words.Word(N_("Given back") if whole else N_("Partly given back"), "undo", "off")
        )
    if any(one.status in refund_words.DISPUTES_OPEN for one in sale.disputes):
        badges.append(words.Word(N_("Disputed"), "alert", "bad"))
    return badges


def _notes(visit: Visit, sale: Sale) -> list[tuple[str, str, str, str]]:
    """(tone, icon, text, more) of what should be read first."""
    row, payment = sale.row, sale.payment
    notes: list[tuple[str, str, str, str]] = []
    last = sale.attempts[-1] if sale.attempts else None
    if payment is not None and payment.state is PaymentState.UNKNOWN:
        call = pay_words.CALLS[PaymentState.UNKNOWN]
        notes.append(("warn", "question", visit.say(call.text), visit.say(call.more)))
    elif payment is not None and face_of(payment) in {"declined", "failed"} and last is not None:
        text, advice = explain(last.code).in_language(visit.language)
        notes.append(("bad", "cross", text, advice))
    elif payment is None and row is not None and row.status is not Status.APPROVED:
        if row.source == READER:
            why = words.reason_for(row.status.value, row.result_code)
            text, advice = visit.say(why.text), visit.say(why.more) if why.more else ""
        else:
            text, advice = explain(row.result_text).in_language(visit.language)
        word = words.word(words.SESSION, row.status.value)
        notes.append((word.tone, word.icon, text, advice))
    decided_by = (row.decided_by or "") if row is not None else ""
    if row is not None and decided_by not in ("", "answer") and decided_by in words.EVIDENCE:
        notes.append(("wait", "info", visit.say(words.EVIDENCE[decided_by]), row.explanation or ""))
    elif payment is not None and payment.explanation:
        notes.append(("wait", "info", visit.say(N_("How this was found out")), payment.explanation))
    return notes


def _facts(db: Transaction, visit: Visit, sale: Sale) -> list[Fact]:
    row, payment = sale.row, sale.payment
    facts: list[Fact] = []
    if row is not None:
        facts += _ledger_facts(db, visit, row)
    if payment is not None:
        facts += _payment_facts(db, visit, payment, with_cashier=row is None)
    customer_id = (payment.customer_id if payment else None) or (
        row.customer_id if row is not None else None
    )
    if customer_id and visit.caller.can(Permission.CUSTOMER_VIEW):
        name = customers.names(db, visit.caller.scope, [customer_id]).get(customer_id, customer_id)
        facts.insert(1, Fact(N_("Customer"), name, href=f"/customers/{customer_id}"))
    # The same thing may stand in the row and in the payment: the row's is the book's.
    first: dict[str, Fact] = {}
    for one in facts:
        if one.value:
            first.setdefault(one.label, one)
    return list(first.values())


def _ledger_facts(db: Transaction, visit: Visit, row: Found) -> list[Fact]:
    names = names_of(db, visit, [row])
    may_read = visit.caller.can(Permission.READER_VIEW)
    entry = row.entry_mode or ""
    facts = [
        Fact(N_("Transaction"), row.id, "id"),
        Fact(N_("Session"), row.session_id or "", "id"),
        Fact(
            N_("Belongs to"), row.original_id or "",
            href=f"/transactions/{row.original_id}" if row.original_id else "",
        ),
        Fact(N_("Card"), present.card(row.card_brand, row.card_masked or row.card_last4)),
        Fact(N_("Read as"), visit.say(words.ENTRY_MODES.get(entry, entry)) if entry else ""),
        Fact(N_("Checked by"), row.verification or ""),
        Fact(N_("Application"), row.application_label or ""),
        Fact(N_("AID"), row.aid or ""),
        Fact(N_("Approval code"), row.authorization_code or "", "id"),
        Fact(N_("The reader said") if row.source == READER else N_("The processor said"), _said(visit, row)),
        Fact(
            N_("Reader"), names.readers.get(row.reader_id, ""),
            href=f"/readers/{row.reader_id}" if may_read else "",
        ),
        Fact(N_("Shop"), visit.places.get(row.location_id or "", "")),
        Fact(N_("Cashier"), names.people.get(row.cashier_id, "")),
        Fact(N_("Order number"), row.reference or ""),
        Fact(N_("Note"), row.note or ""),
        Fact(N_("Channel"), visit.say(words.CHANNELS[row.channel.value])),
        Fact(N_("Method"), visit.say(words.METHODS[row.method.value])),
        Fact(N_("Terminal"), row.terminal_id or ""),
        Fact(N_("Receipt number"), "" if row.receipt_number is None else str(row.receipt_number)),
        Fact(N_("Trace number"), "" if row.trace_number is None else str(row.trace_number)),
        Fact(N_("In the book since"), visit.formats.moment(row.received_at, visit.zone)),
    ]  # fmt: skip
    if row.fee_minor:
        currency = row.settlement_currency or row.currency
        facts.append(Fact(N_("Fee"), visit.formats.money(Money(row.fee_minor, currency))))
    if row.settlement_amount_minor is not None:
        settled = Money(row.settlement_amount_minor, row.settlement_currency or row.currency)
        if row.kind in _BACK:
            settled = -settled
        facts.append(Fact(N_("Reaches your account"), visit.formats.money(settled)))
    if row.settlement_rate is not None and row.settlement_currency != row.currency:
        rate = f"1 {row.currency} = {row.settlement_rate.normalize():f} {row.settlement_currency}"
        facts.append(Fact(N_("Exchange rate"), rate))
    if row.source == "stripe":
        facts.append(Fact(N_("Charge"), row.external_id, "id"))
    if row.payment_id and visit.caller.can(Permission.PAYMENT_VIEW):
        facts.append(Fact(N_("Payment"), row.payment_id, "", f"/transactions/{row.payment_id}"))
    return facts


def _payment_facts(
    db: Transaction, visit: Visit, payment: PaymentView, *, with_cashier: bool
) -> list[Fact]:
    labels = {
        one.key: one.label(visit.language) for one in till.all_fields(db, payment.merchant_id)
    }
    settled = payment.settlement_minor
    facts = [
        Fact(N_("Payment"), payment.id, "id"),
        Fact(N_("Payment intent"), payment.processor_id or "", "id"),
        Fact(N_("Charge"), payment.charge_id or "", "id"),
        Fact(N_("Card"), card_of(payment)),
        Fact(N_("Order number"), payment.reference),
        Fact(N_("Note"), payment.note),
        Fact(N_("Shop"), visit.places.get(payment.location_id or "", "")),
        Fact(N_("Cashier"), payment.cashier_name if with_cashier else ""),
        *(Fact(labels.get(key, key), value) for key, value in payment.fields.items()),
    ]
    if payment.attempt is not None:
        method = pay_words.METHOD_NAMES.get(payment.attempt.method, payment.attempt.method)
        moto = " · MOTO" if payment.attempt.moto else ""
        facts.append(Fact(N_("Way to pay"), visit.say(method) + moto))
    if payment.capture_before is not None and payment.state is PaymentState.AUTHORIZED:
        lapses = visit.formats.moment(payment.capture_before, visit.zone)
        facts.append(Fact(N_("Held until"), lapses))
    if payment.captured_minor not in (0, payment.amount_minor):
        taken = Money(payment.captured_minor, payment.currency)
        facts.append(Fact(N_("Taken of it"), visit.formats.money(taken)))
    if payment.fee_minor is not None:
        fee = Money(payment.fee_minor, payment.settlement_currency or payment.currency)
        facts.append(Fact(N_("Fee"), visit.formats.money(fee)))
    if settled is not None:
        money = Money(settled, payment.settlement_currency or payment.currency)
        facts.append(Fact(N_("Reaches your account"), visit.formats.money(money)))
    if payment.receipt_email:
        facts.append(Fact(N_("Receipt to"), payment.receipt_email))
    return facts


def _said(visit: Visit, row: Found) -> str:
    said = visit.say(row.result_text) if row.result_text else ""
    return said if row.result_code is None else f"{said} ({row.result_code})".strip()


def _percent(item: Mapping[str, Any]) -> str:
    rate = item.get("tax_rate")
    return str(item.get("tax_name") or f"{rate} %") if rate else ""


def _part(payment: PaymentView | None, name: str) -> Money | None:
    minor = getattr(payment, name) if payment else 0
    return Money(minor, payment.currency) if payment and minor else None


def _try(visit: Visit, one: AttemptView) -> Try:
    text, advice = "", ""
    if one.code:
        text, advice = explain(one.code).in_language(visit.language)
    verdicts = {
        "address": one.address_check,
        "postal_code": one.postal_code_check,
        "cvc": one.cvc_check,
    }
    checks = [
        (visit.say(pay_words.CHECKS[name]), pay_words.VERDICTS[verdict])
        for name, verdict in verdicts.items()
        if verdict in pay_words.VERDICTS
    ]
    if one.three_d_secure:
        checks.append(("3-D Secure", _three_d_secure(one.three_d_secure)))
    if one.risk_level:
        checks.append((visit.say(N_("Risk")), words.word(refund_words.CHECKED, one.risk_level)))
    return Try(
        number=one.number,
        method=pay_words.METHOD_NAMES.get(one.method, one.method),
        word=words.word(pay_words.ATTEMPT, one.state.value),
        card=present.card(one.card_brand or one.hint_brand, one.card_last4 or one.hint_last4),
        at=one.started_at,
        reason=text,
        advice=advice,
        code=one.code or "",
        checks=checks,
    )


def _three_d_secure(result: str) -> words.Word:
    if result in {"authenticated", "succeeded"}:
        return refund_words.CHECKED["3-D Secure"]
    return words.Word(result.replace("_", " "), "info", "off")


def _given_back(visit: Visit, one: RefundView) -> GivenBack:
    failure = ""
    if one.failure_reason:
        failure = explain_refund(one.failure_reason).in_language(visit.language)[0]
    return GivenBack(
        id=one.id,
        amount=one.amount,
        word=refund_words.REFUND[one.state],
        reason=refund_words.REASONS[one.reason],
        note=one.note,
        by=one.requested_by_name,
        decided_by=one.decided_by_name or "",
        at=one.created_at,
        failure=failure,
        href=f"/transactions/{one.transaction_id}" if one.transaction_id else "",
        can_look=one.state in _LOOKED_AT,
        can_stop=one.is_stoppable,
    )


def _twins(db: Transaction, visit: Visit, sale: Sale) -> list[Twin]:
    """Other payments of the same card and amount, while nothing of this one was given back."""
    payment = sale.payment
    if payment is None or payment.state is not PaymentState.PAID or payment.refunded_minor:
        return []
    scope = visit.caller.scope
    marked = payments.payments_of(scope).where(PAYMENTS.c.duplicate_of == payment.id)
    twins = [
        Twin(id=row.id, href=f"/transactions/{row.id}", at=row.created_at)
        for row in db.execute(marked)
        if not row.refunded_minor
    ]
    if payment.duplicate_of:
        twins.append(_twin(db, visit, payment.duplicate_of))
    return twins


def _twin(db: Transaction, visit: Visit, other_id: str) -> Twin:
    try:
        at = sale_of(db, visit, other_id).payment
    except NotFound:
        at = None
    return Twin(id=other_id, href=f"/transactions/{other_id}", at=at.created_at if at else None)


def _moments(db: Transaction, visit: Visit, sale: Sale) -> list[Moment]:
    row, payment = sale.row, sale.payment
    scope = visit.caller.scope
    moments: list[Moment] = []
    session_ids = dict.fromkeys(one.session_id for one in sale.attempts if one.session_id)
    if row is not None and row.session_id is not None:
        session_ids[row.session_id] = None
    if visit.caller.can(Permission.PAYMENT_SESSION_VIEW):
        for session_id in session_ids:
            moments += present.session_moments(sessions.steps(db, scope, session_id))
    if payment is not None:
        moments += [told(visit, one) for one in payments.moments(db, scope, payment.id)]
    if row is not None and not moments:
        word = words.word(words.SESSION, row.status.value)
        moments = [Moment(row.occurred_at, word.text, word.icon, word.tone)]
    if row is not None and payment is None:
        moments += [_later(visit, later) for later in ledger.belonging_to(db, scope, row)]
    return sorted(moments, key=lambda moment: moment.at)


def _later(visit: Visit, later: Found) -> Moment:
    word = words.word(words.SESSION, later.status.value)
    amount = visit.formats.money(Money(later.amount_minor, later.currency))
    return Moment(
        later.occurred_at, words.KINDS[later.kind.value], "undo", word.tone, detail=amount
    )


def _can_reverse(db: Transaction, visit: Visit, sale: Sale) -> bool:
    row = sale.row
    if row is None or row.source != READER or row.session_id is None:
        return False
    if not visit.caller.can(Permission.PAYMENT_REFUND_CREATE):
        return False
    try:
        return can_be_reversed(db, visit.caller, row.session_id)
    except NotFound:
        return False


def _till_href(visit: Visit, sale: Sale) -> str:
    payment = sale.payment
    if payment is None or payment.is_final or not visit.caller.can(Permission.PAYMENT_CHARGE_CREATE):  # fmt: skip
        return ""
    return f"/pos/{payment.id}"


def _email(db: Transaction, visit: Visit, sale: Sale) -> str:
    payment = sale.payment
    if payment is None or not visit.caller.can(Permission.CUSTOMER_VIEW):
        return ""
    if payment.receipt_email or payment.customer_id is None:
        return payment.receipt_email
    row = customers.customer(db, visit.caller.scope, payment.customer_id)
    return row.email if row is not None else ""


def _raw(sale: Sale) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if sale.row is not None:
        found["transaction"] = _plain(dict(sale.row._mapping))  # noqa: SLF001 - its public name in SQLAlchemy
    if sale.payment is not None:
        values = asdict(sale.payment)
        for name in ("attempt", "offers", "action"):
            values.pop(name)
        found["payment"] = _plain(values)
    if sale.attempts:
        found["attempts"] = [_plain(asdict(one)) for one in sale.attempts]
    if sale.refunds:
        found["refunds"] = [_plain(asdict(one)) for one in sale.refunds]
    if sale.disputes:
        found["disputes"] = [_plain(asdict(one)) for one in sale.disputes]
    return found


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON has it, without what is empty."""
    plain: dict[str, Any] = {}
    for name, value in values.items():
        match value:
            case None | "" | [] | {}:
                continue
            case _ if name in _HIDDEN:
                continue
            case datetime():
                plain[name] = value.isoformat()
            case Enum():
                plain[name] = value.value
            case Decimal():
                plain[name] = str(value)
            case _:
                plain[name] = value
    return plain
