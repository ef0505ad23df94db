"""A payment that a processor takes: begun at the till, tried again, captured, cancelled, watched until it is decided.

Routes that talk to the processor run in a thread that may wait, and hold no transaction meanwhile.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.responses import JSONResponse, RedirectResponse, Response

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.customers import queries as customers
from control_plane.db.unit_of_work import Transaction
from control_plane.errors import DomainError, NotFound
from control_plane.http.dependencies import App
from control_plane.http.security import requires
from control_plane.http.threads import apart
from control_plane.mail import mail_queue
from control_plane.parts import Parts
from control_plane.payments import queries as sessions
from control_plane.payments import sessions as tap_sessions
from control_plane.payments.errors import AnswerLost, SessionDecided
from control_plane.payments.timeline import session_topic
from control_plane.receipts import service as receipts
from control_plane.receipts.sheet import Sheet
from control_plane.till import queries as tills
from control_plane.till.values import Channel
from control_plane.virtual_terminal import links, queries
from control_plane.virtual_terminal.desk import Desk
from control_plane.virtual_terminal.errors import FieldsRefused, PossibleDuplicate
from control_plane.virtual_terminal.lifecycle import PaymentState
from control_plane.virtual_terminal.reader_desk import CloudReaderWish, ReaderDesk
from control_plane.virtual_terminal.timeline import payment_topic, payments_topic
from control_plane.virtual_terminal.views import PaymentView
from control_plane.virtual_terminal.wishes import Again, ChargeWish, LinkWish, Order, ReaderWish
from control_plane.web import forms, paying, present
from control_plane.web.forms import Asked, Filled, filled, policy_of
from control_plane.web.i18n import N_
from control_plane.web.link_mail import link_mail
from control_plane.web.pages.pos import READER_COOKIE, recent_sales, remember_reader
from control_plane.web.paper import paper_of
from control_plane.web.pay_views import MethodPanel, PaymentPanel
from control_plane.web.paying import Around
from control_plane.web.streams import follow
from control_plane.web.views import SessionPanel
from control_plane.web.visits import Site, Visit, site_of
from protocols.ids import new_id
from protocols.money import Money

router = APIRouter()

Charging = Annotated[Caller, requires(Permission.PAYMENT_CHARGE_CREATE)]
Managing = Annotated[Caller, requires(Permission.PAYMENT_CHARGE_MANAGE)]
Watching = Annotated[Caller, requires(Permission.PAYMENT_VIEW)]
Wish = Annotated[Filled, Depends(filled)]

BankKind = Literal["us_bank_account", "sepa_debit"]
_METHODS: Final[dict[Channel, Literal["keyed", "saved", "bank_debit"]]] = {
    Channel.KEYED: "keyed",
    Channel.SAVED: "saved",
    Channel.BANK_DEBIT: "bank_debit",
}
#: Which field a refusal of the desk is shown at.
_PLACES: Final[dict[str, str]] = {
    "amount_minor": "amount",
    "currency": "amount",
    "location_id": "form",
    "saved_method_id": "saved",
    "reader_id": "reader",
    "customer_id": "customer",
}


@router.post("/pos/payments")
async def begin(request: Request, caller: Charging, parts: App, wish: Wish) -> Response:
    """Begin a payment: a typed or saved card, a bank debit, a link, or a reader with more than an amount."""
    return await apart(_begin, request, caller, parts, wish)


@router.post("/pos/pay_{rest}/attempts")
async def try_again(
    request: Request, caller: Charging, parts: App, wish: Wish, rest: str
) -> Response:
    """Another try at a payment, by whichever way."""
    return await apart(_try_again, request, caller, parts, wish, f"pay_{rest}")


@router.get("/pos/pay_{rest}/live", response_class=EventSourceResponse)
async def live(
    request: Request, caller: Watching, parts: App, rest: str
) -> AsyncIterator[ServerSentEvent]:
    """What changes on the page of a payment, and the recent sales."""
    payment_id = f"pay_{rest}"
    session_id = await apart(_session_id, parts, caller, payment_id)
    urgent = [payment_topic(payment_id), *([session_topic(session_id)] if session_id else [])]
    topics = [*urgent, payments_topic(caller.merchant_id)]
    render = partial(_fragments, parts, request, caller, payment_id, _Tries())
    async for event in follow(parts.live, topics, render, urgent=urgent):
        yield event


@router.get("/pos/pay_{rest}/try")
async def ask_for_try(
    request: Request,
    caller: Charging,
    parts: App,
    rest: str,
    way: Annotated[str, Query(alias="try", max_length=20)],
    moto: bool = False,
) -> Response:
    """The form of another try by one way."""
    return await apart(_form_of_try, request, caller, parts, f"pay_{rest}", way, moto=moto)


@router.get("/pos/pay_{rest}")
async def show(
    request: Request,
    caller: Watching,
    parts: App,
    rest: str,
    way: Annotated[str, Query(alias="try", max_length=20)] = "",
    moto: bool = False,
    said: Annotated[str, Query(max_length=10)] = "",
) -> Response:
    """A payment, under way or decided: a closed tab comes back to it."""
    return await apart(_page, request, caller, parts, f"pay_{rest}", way=way, moto=moto, said=said)


@router.post("/pos/pay_{rest}/action")
async def action(caller: Charging, parts: App, rest: str) -> Response:
    """What opens the bank's page: asked for by a script when the payer is to answer."""
    view = await apart(parts.get(Desk).after_action, caller, f"pay_{rest}")
    asked = view.action
    return JSONResponse(
        {"secret": asked.client_secret if asked else None, "url": asked.url if asked else None}
    )


@router.post("/pos/pay_{rest}/deposits")
async def check_deposits(
    request: Request,
    caller: Charging,
    parts: App,
    rest: str,
    first: Annotated[str, Form(max_length=4)] = "",
    second: Annotated[str, Form(max_length=4)] = "",
    code: Annotated[str, Form(max_length=12)] = "",
) -> Response:
    """Check the two small deposits, or the code beside them."""
    amounts = None
    if first.isdecimal() and second.isdecimal():
        amounts = (int(first), int(second))
    verb = partial(parts.get(Desk).verify_microdeposits, amounts=amounts, code=code or None)
    return await apart(_do, request, caller, parts, f"pay_{rest}", verb)


@router.post("/pos/pay_{rest}/send")
async def send_link(
    request: Request,
    caller: Charging,
    parts: App,
    rest: str,
    send_to: Annotated[str, Form(max_length=254)] = "",
) -> Response:
    """Send the link to its payer, once more if need be."""
    verb = partial(_mail_link, request, parts, address=send_to)
    return await apart(_do, request, caller, parts, f"pay_{rest}", verb)


@router.post("/pos/pay_{rest}/receipt")
async def send_receipt(
    request: Request,
    caller: Charging,
    parts: App,
    rest: str,
    to: Annotated[str, Form(max_length=254)] = "",
) -> Response:
    """Send the receipt by e-mail."""
    verb = partial(_mail_receipt, parts, address=to)
    return await apart(_do, request, caller, parts, f"pay_{rest}", verb, said="sent")


@router.post("/pos/pay_{rest}/accept")
async def accept(request: Request, caller: Managing, parts: App, rest: str) -> Response:
    """Take the money although a check failed."""
    return await apart(_do, request, caller, parts, f"pay_{rest}", parts.get(Desk).accept_checks)


@router.post("/pos/pay_{rest}/capture")
async def capture(request: Request, caller: Managing, parts: App, rest: str) -> Response:
    """Take the money that is held."""
    return await apart(_do, request, caller, parts, f"pay_{rest}", parts.get(Desk).capture)


@router.post("/pos/pay_{rest}/{verb}")
async def act(request: Request, caller: Charging, parts: App, rest: str, verb: str) -> Response:
    """Cancel, stop the reader, give up a try, or look up how it stands."""
    desk = parts.get(Desk)
    verbs: dict[str, Callable[[Caller, str], object]] = {
        "cancel": desk.cancel,
        "stop": partial(_stop, parts),
        "give-up": desk.give_up_attempt,
        "resolve": desk.resolve,
        "after-action": desk.after_action,
    }
    if verb not in verbs:
        raise NotFound("page", verb)
    return await apart(_do, request, caller, parts, f"pay_{rest}", verbs[verb])


# --- doing it ------------------------------------------------------------------------------------------------------


def _begin(request: Request, caller: Caller, parts: Parts, wish: Filled) -> Response:
    site = site_of(request)
    with parts.database.reading() as db:
        visit = site.visit(db, request, caller)
        order, problems = forms.order_of(db, visit, wish)
        life = tills.settings_of(db, caller.merchant_id).link_life
        is_cloud = forms.is_cloud_reader(db, visit, wish.reader)
    problems |= _missing(visit, wish)
    if order is None or problems:
        return _refuse(request, parts, visit, wish, problems)
    try:
        payment_id = _charge(parts, caller, wish, order, life=life, is_cloud=is_cloud)
    except PossibleDuplicate as possible:
        return _ask(request, parts, visit, wish, possible)
    except DomainError as refused:
        return _refuse(request, parts, visit, wish, _problems(visit, refused), refused.status)
    _send_at_once(request, parts, caller, wish, payment_id)
    return _go(request, payment_id, wish)


def _try_again(
    request: Request, caller: Caller, parts: Parts, wish: Filled, payment_id: str
) -> Response:
    site = site_of(request)
    with parts.database.reading() as db:
        visit = site.visit(db, request, caller)
        queries.payment(db, caller.scope, payment_id)
        life = tills.settings_of(db, caller.merchant_id).link_life
        is_cloud = forms.is_cloud_reader(db, visit, wish.reader)
    problems = _missing(visit, wish)
    problems |= {name: visit.say(forms.LOOKS_LIKE_A_CARD) for name in wish.card_numbers()}
    if problems:
        return _answer(request, problems=problems, back=f"/pos/{payment_id}")
    again = Again(payment_id=payment_id, form_key=wish.key or None)
    try:
        _charge(parts, caller, wish, again, life=life, is_cloud=is_cloud)
    except DomainError as refused:
        found = _problems(visit, refused)
        return _answer(request, problems=found, back=f"/pos/{payment_id}", status=refused.status)
    _send_at_once(request, parts, caller, wish, payment_id)
    return _go(request, payment_id, wish)


def _charge(
    parts: Parts,
    caller: Caller,
    wish: Filled,
    order: Order | Again,
    *,
    life: timedelta,
    is_cloud: bool,
) -> str:
    """The id of the payment, whatever became of it."""
    desk = parts.get(Desk)
    match wish.channel:
        case Channel.LINK:
            link = desk.offer_link(
                caller, LinkWish(order=order, valid_for=life, send_to=wish.send_to or None)
            )
            return link.payment.id
        case Channel.READER:
            if is_cloud:
                theirs = CloudReaderWish(order=order, reader_id=wish.reader)
                return parts.get(ReaderDesk).start(caller, theirs).id
            return desk.start_on_reader(caller, ReaderWish(order=order, reader_id=wish.reader)).id
        case _:
            charge = ChargeWish(
                order=order,
                method=_METHODS[wish.channel],
                token=wish.token or None,
                saved_method_id=wish.saved or None,
                bank_kind=_bank_kind(wish),
                moto=wish.has("moto"),
                hint_brand=wish.brand or None,
                hint_last4=wish.last4 or None,
                return_url=f"{parts.settings.base_url}/pos",
                mandate_offline=wish.has("mandate"),
                save_for_later=wish.has("keep") and bool(wish.customer),
            )
            return desk.charge(caller, charge).id


def _send_at_once(
    request: Request, parts: Parts, caller: Caller, wish: Filled, payment_id: str
) -> None:
    """A link whose payer has an address; when it cannot be sent, the link is there all the same."""
    if wish.channel is Channel.LINK and wish.send_to:
        with suppress(DomainError):
            _mail_link(request, parts, caller, payment_id, address=wish.send_to)


def _stop(parts: Parts, caller: Caller, payment_id: str) -> object:
    """Stop the reader that has the payment; what it then says is the truth, whoever was quicker."""
    with parts.database.reading() as db:
        last = queries.payment(db, caller.scope, payment_id).attempt
    if last is None:
        return None
    if last.cloud_reader_id is not None:
        return parts.get(ReaderDesk).cancel(caller, payment_id)
    if last.session_id is None:
        return parts.get(Desk).give_up_attempt(caller, payment_id)
    with parts.database.transaction() as db, suppress(SessionDecided, AnswerLost):
        tap_sessions.cancel_session(db, caller, last.session_id)
    return None


def _mail_link(
    request: Request, parts: Parts, caller: Caller, payment_id: str, *, address: str
) -> None:
    link = parts.get(Desk).link_of(caller, payment_id)
    if link is None:
        return
    site = site_of(request)
    with parts.database.reading() as db:
        visit = site.visit(db, request, caller)
    message = link_mail(site, visit, link, address, base_url=parts.settings.base_url)
    # The same minute is the same wish: two clicks are one mail.
    key = f"link {link.attempt_id} {message.to} {visit.now:%Y%m%d%H%M}"
    with parts.database.connection() as db:
        links.note_sent(db, caller.scope, payment_id, message.to)
        mail_queue.queue_mail(
            db, caller.merchant_id, message, kind="payment_link", dedupe_key=key[:200],
            related_id=payment_id,
        )  # fmt: skip


def _mail_receipt(parts: Parts, caller: Caller, payment_id: str, *, address: str) -> None:
    with parts.database.reading() as db:
        prepared = receipts.prepare_mail(db, caller.scope, payment_id, address)
    key = f"{parts.clock.now():%Y%m%d%H%M}"
    with parts.database.connection() as db:
        receipts.send_receipt(db, caller.merchant_id, caller.actor, prepared, key=key)


def _do(
    request: Request,
    caller: Caller,
    parts: Parts,
    payment_id: str,
    verb: Callable[[Caller, str], object],
    *,
    said: str = "",
) -> Response:
    """Do one thing to a payment, then show what is true; a refusal is said above it."""
    try:
        verb(caller, payment_id)
    except DomainError as refused:
        if refused.status in {403, 404}:
            raise
        return _page(request, caller, parts, payment_id, refused=refused)
    return RedirectResponse(f"/pos/{payment_id}" + (f"?said={said}" if said else ""), 303)


# --- showing it ----------------------------------------------------------------------------------------------------


def _page(
    request: Request,
    caller: Caller,
    parts: Parts,
    payment_id: str,
    *,
    way: str = "",
    moto: bool = False,
    said: str = "",
    refused: DomainError | None = None,
) -> Response:
    site = site_of(request)
    visit, panel = _read(parts, request, caller, payment_id, refused=refused)
    if said == "sent":
        panel = replace(panel, done=visit.say(N_("The receipt is on its way.")))
    form = None
    with parts.database.reading() as db:
        if way and panel.offers:
            form = _try_panel(db, visit, panel, way, request, moto=moto)
        sales = recent_sales(db, visit)
    return site.page(
        visit, "pos/page.html", status=refused.status if refused else 200,
        headers=policy_of(panel.account),
        session=None, form=form, pay=panel, sales=sales,
    )  # fmt: skip


def _form_of_try(
    request: Request, caller: Caller, parts: Parts, payment_id: str, way: str, *, moto: bool
) -> Response:
    visit, panel = _read(parts, request, caller, payment_id)
    if not panel.offers:
        return Response(status_code=204, headers={"HX-Redirect": f"/pos/{payment_id}"})
    with parts.database.reading() as db:
        form = _try_panel(db, visit, panel, way, request, moto=moto)
    return site_of(request).page(visit, "pay/_try.html", form=form, pay=panel)


def _try_panel(
    db: Transaction, visit: Visit, panel: PaymentPanel, way: str, request: Request, *, moto: bool
) -> MethodPanel:
    asked = Asked(
        method=way,
        currency=panel.amount.currency,
        customer=panel.customer.id if panel.customer else "",
    )
    form = replace(forms.method_panel(db, visit, asked), key=new_id("form"))
    if moto:
        form = replace(form, moto=True)
    if way != Channel.READER:
        return form
    chosen = request.cookies.get(READER_COOKIE, "")
    readers = forms.readers_of(db, visit, chosen)
    ready = next((one.id for one in readers if one.is_ready), "")
    known = {one.id for one in readers}
    return replace(
        form, method=way, readers=readers, reader_id=chosen if chosen in known else ready
    )


@dataclass(slots=True)
class _Tries:
    """What one stream has shown: whether another try was offered, and how often that ended."""

    is_offered: bool = False
    endings: int = 0


def _fragments(
    parts: Parts, request: Request, caller: Caller, payment_id: str, tries: _Tries
) -> Mapping[str, str]:
    site: Site = site_of(request)
    visit, panel = _read(parts, request, caller, payment_id)
    with parts.database.reading() as db:
        sales = recent_sales(db, visit)
    fragments = {
        "#pay-live": site.fragment(visit, "pay/_live.html", pay=panel),
        "#pay-facts": site.fragment(visit, "pay/_facts.html", pay=panel),
        "#recent": site.fragment(visit, "pos/_recent.html", sales=sales),
    }
    if panel.offers:
        tries.is_offered = True
    elif tries.is_offered:
        tries.is_offered = False
        tries.endings += 1
    if tries.endings and not tries.is_offered:
        # Somebody else was quicker: what is typed here has no use any more. Each ending is news of its own.
        fragments["#pay-try"] = f"<!-- {tries.endings} -->"
    return fragments


def _read(
    parts: Parts,
    request: Request,
    caller: Caller,
    payment_id: str,
    *,
    refused: DomainError | None = None,
) -> tuple[Visit, PaymentPanel]:
    with parts.database.reading() as db:
        visit = site_of(request).visit(db, request, caller)
        payment = queries.payment(db, caller.scope, payment_id)
        settings = tills.settings_of(db, caller.merchant_id)
        around = Around(
            attempts=queries.attempts(db, caller.scope, payment_id),
            base_url=parts.settings.base_url,
            account=forms.fields_account(db, caller.merchant_id),
            session=_session(db, visit, payment),
            receipt=_receipt(db, visit, payment),
            customer_email=_email(db, visit, payment),
            own_fields=settings.fields,
            notice=visit.explain(refused) if refused else "",
        )
    if paying.face_of(payment) == "link":
        around = replace(around, link=parts.get(Desk).link_of(caller, payment_id))
    return visit, paying.panel(visit, payment, around)


def _session(db: Transaction, visit: Visit, payment: PaymentView) -> SessionPanel | None:
    last = payment.attempt
    if last is None or last.session_id is None or not last.state.is_open:
        return None
    session = sessions.session(db, visit.caller.scope, last.session_id)
    if session.is_final:
        return None
    steps = sessions.steps(db, visit.caller.scope, last.session_id)
    return present.session_panel(session, steps, visit.now, places=visit.places)


def _session_id(parts: Parts, caller: Caller, payment_id: str) -> str | None:
    with parts.database.reading() as db:
        last = queries.payment(db, caller.scope, payment_id).attempt
    return last.session_id if last else None


def _receipt(db: Transaction, visit: Visit, payment: PaymentView) -> Sheet | None:
    if payment.state is not PaymentState.PAID or payment.transaction_id is None:
        return None
    return paper_of(db, visit, payment.transaction_id)


def _email(db: Transaction, visit: Visit, payment: PaymentView) -> str:
    if payment.customer_id is None or not visit.caller.can(Permission.CUSTOMER_VIEW):
        return ""
    row = customers.customer(db, visit.caller.scope, payment.customer_id)
    return row.email if row else ""


# --- saying it -----------------------------------------------------------------------------------------------------


def _missing(visit: Visit, wish: Filled) -> dict[str, str]:
    match wish.channel:
        case Channel.KEYED if not wish.token:
            return {"token": visit.say(N_("Fill in the fields of the card."))}
        case Channel.SAVED if not wish.saved:
            return {"saved": visit.say(N_("Choose the customer and one of their saved cards."))}
        case Channel.SAVED if not wish.has("agreed"):
            return {"agreed": visit.say(N_("Ask the customer, then tick this."))}
        case Channel.BANK_DEBIT if not wish.token:
            return {"token": visit.say(N_("Fill in the fields of the account."))}
        case Channel.BANK_DEBIT if not wish.has("mandate"):
            return {"mandate": visit.say(N_("Ask the account holder, then tick this."))}
        case Channel.READER if not wish.reader:
            return {"reader": visit.say(N_("Choose a reader."))}
        case _:
            return {}


def _problems(visit: Visit, refused: DomainError) -> dict[str, str]:
    if isinstance(refused, FieldsRefused):
        return {"form": visit.explain(refused)}
    asked = str(refused.facts.get("field", ""))
    place = _PLACES.get(asked, "form")
    if "reader_id" in refused.facts or "reader" in refused.facts:
        place = "reader"
    return {place: visit.explain(refused)}


def _bank_kind(wish: Filled) -> BankKind | None:
    if wish.channel is not Channel.BANK_DEBIT:
        return None
    return "us_bank_account" if wish.kind == "us_bank_account" else "sepa_debit"


def _go(request: Request, payment_id: str, wish: Filled) -> Response:
    where = f"/pos/{payment_id}"
    response = _answer(request, go=where) if _wants_json(request) else RedirectResponse(where, 303)
    if "hx-request" in request.headers:
        response = Response(status_code=204, headers={"HX-Redirect": where})
    if wish.channel is Channel.READER:
        remember_reader(request, response, wish.reader)
    return response


def _ask(
    request: Request, parts: Parts, visit: Visit, wish: Filled, possible: PossibleDuplicate
) -> Response:
    other = str(possible.facts.get("other", ""))
    with parts.database.reading() as db:
        text, href = _earlier(db, visit, other, possible)
    if _wants_json(request):
        return JSONResponse({"duplicate": {"text": text, "href": href}}, 409)
    return _refuse(request, parts, visit, wish, {"form": text}, 409)


def _earlier(
    db: Transaction, visit: Visit, other: str, possible: PossibleDuplicate
) -> tuple[str, str]:
    """What was charged before, in words, and where it is."""
    if not other.startswith("pay_"):
        minutes = possible.facts.get("minutes", 0)
        ago = timedelta(minutes=minutes if isinstance(minutes, int) else 0)
        known = possible.facts.get("amount")
        amount = visit.formats.money(known) if isinstance(known, Money) else ""
        said = visit.say(
            N_("%(amount)s was taken on a reader %(ago)s."),
            amount=amount, ago=visit.formats.ago(visit.now - ago, visit.now),
        )  # fmt: skip
        return said, f"/transactions/{other}"
    earlier = queries.payment(db, visit.caller.scope, other)
    ago_text = visit.formats.ago(earlier.created_at, visit.now)
    amount, card = visit.formats.money(earlier.amount), paying.card_of(earlier)
    if card:
        text = N_("%(amount)s was charged to %(card)s %(ago)s.")
        return visit.say(text, amount=amount, card=card, ago=ago_text), f"/pos/{other}"
    text = N_("%(amount)s was charged %(ago)s.")
    return visit.say(text, amount=amount, ago=ago_text), f"/pos/{other}"


def _refuse(
    request: Request,
    parts: Parts,
    visit: Visit,
    wish: Filled,
    problems: Mapping[str, str],
    status: int = 422,
) -> Response:
    if _wants_json(request):
        return _answer(request, problems=problems, status=status)
    site = site_of(request)
    with parts.database.reading() as db:
        form = forms.again(db, visit, wish, problems)
        sales = recent_sales(db, visit)
    return site.page(
        visit, "pos/page.html", status=status, headers=policy_of(form.account),
        form=form, session=None, pay=None, sales=sales,
    )  # fmt: skip


def _answer(
    request: Request,
    *,
    go: str = "",
    problems: Mapping[str, str] | None = None,
    back: str = "",
    status: int = 422,
) -> Response:
    if go:
        return JSONResponse({"go": go})
    if not _wants_json(request) and back:
        return RedirectResponse(back, 303)
    return JSONResponse({"problems": dict(problems or {})}, status)


def _wants_json(request: Request) -> bool:
    return "application/json" in request.headers.get("accept", "")
