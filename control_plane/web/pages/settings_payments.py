"""The accounts that take money: Stripe's, with its events and history, and the one for encrypting readers."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import APIRouter, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.responses import RedirectResponse, Response

from control_plane.accounts.caller import Caller
from control_plane.accounts.permissions import Permission
from control_plane.card_present import accounts as card_present
from control_plane.card_present.accounts import CardAccounts
from control_plane.card_present.processor import Access
from control_plane.db.unit_of_work import Transaction
from control_plane.errors import DomainError
from control_plane.http.dependencies import App, Db, ReadDb
from control_plane.http.security import requires
from control_plane.http.threads import apart
from control_plane.parts import Parts
from control_plane.virtual_terminal import accounts, importing, inbox
from control_plane.virtual_terminal.accounts import Accounts, AccountView, Keys
from control_plane.virtual_terminal.importing import ImportView
from control_plane.virtual_terminal.inbox import EventState, EventView
from control_plane.web.filled import Filled, Form
from control_plane.web.i18n import N_
from control_plane.web.streams import follow
from control_plane.web.visits import Visit, site_of
from protocols.secret import Secret

router = APIRouter(prefix="/settings/payments")

Setting = Annotated[Caller, requires(Permission.SETTINGS_MANAGE)]
Owning = Annotated[Caller, requires(Permission.PROCESSOR_MANAGE)]

_ADDRESS: Final = "/settings/payments"
_EVENTS: Final = 8
#: What is typed and shown again; a secret never is.
_SHOWN_AGAIN: Final = (
    "publishable_key", "api_base", "since", "card_organization", "card_key_id", "card_api_base",
)  # fmt: skip
#: Fields of the account of encrypting readers, as the form calls them.
_CARD_FIELDS: Final = frozenset({"organization", "key_id", "secret", "livemode", "api_base"})

MOTO: Final[dict[bool | None, str]] = {
    True: N_("Cards can be typed in for customers who are on the telephone."),
    False: N_(
        "This account may not take telephone orders. Ask Stripe support to enable MOTO payments; they want to see "
        "that you are PCI compliant. Until then, a reader or a payment link is offered instead."
    ),
    None: N_("Whether telephone orders are allowed could not be found out yet."),
}
_REASONS: Final = (
    N_("Stripe says that this key is of another mode. Copy it once more."),
    N_("A webhook secret begins with whsec_. Copy it again."),
    N_("This is the publishable key. Here belongs the secret one."),
    N_("A secret key begins with sk_ or rk_. Copy it from Stripe."),
    N_("A publishable key begins with pk_. Copy it from Stripe."),
    N_("One key is for tests and the other for real money. Copy both of one kind."),
    N_("An address begins with https://, such as that of the sandbox."),
    N_("Stripe does not know this key, or it was revoked. Copy it once more."),
    N_("Copy it from the Business Center: letters, digits and dashes."),
    N_("A shared secret is a longer text of base64. Copy it from the Business Center."),
    N_("An address begins with http:// or https://."),
    N_("A key of the sandbox works at the sandbox only, and no other key works there."),
    N_("CyberSource does not know this key. Copy it once more."),
)


@dataclass(frozen=True, slots=True)
class Connection:
    """What the page shows of an account."""

    account: AccountView
    moto: str
    webhook_url: str
    events: list[EventView]
    parked: int
    history: ImportView | None


@router.get("")
def show(request: Request, caller: Setting, db: ReadDb) -> Response:
    """What is connected."""
    return _page(request, caller, db)


@router.get("/live", response_class=EventSourceResponse)
async def live(request: Request, caller: Setting, parts: App) -> AsyncIterator[ServerSentEvent]:
    """Events as they come, and how far an import is."""

    def render() -> Mapping[str, str]:
        site = site_of(request)
        with parts.database.reading() as db:
            visit = site.visit(db, request, caller)
            connection = _connection(db, parts, caller.merchant_id)
            return {
                "#events": site.fragment(visit, "settings/_events.html", connection=connection),
                "#history": site.fragment(visit, "settings/_history.html", connection=connection),
            }

    topics = [inbox.topic(caller.merchant_id), importing.topic(caller.merchant_id)]
    async for event in follow(parts.live, topics, render):
        yield event


@router.post("/connect")
async def connect(request: Request, caller: Owning, parts: App, form: Form) -> Response:
    """Check the keys with Stripe, and keep them."""
    webhook = form.text("webhook_secret", 220)
    keys = Keys(
        secret_key=Secret(form.text("secret_key", 260)),
        publishable_key=form.text("publishable_key"),
        webhook_secret=Secret(webhook) if webhook else None,
        api_base=form.text("api_base", 300),
    )

    def act() -> None:
        parts.get(Accounts).connect(
            caller.merchant_id,
            caller.actor,
            keys,
            webhook_url=accounts.webhook_address(parts.settings.base_url),
        )

    return await _done(request, caller, parts, form, act)


@router.post("/probe")
async def probe(request: Request, caller: Owning, parts: App, form: Form) -> Response:
    """Ask again whether telephone orders are allowed."""
    return await _done(
        request,
        caller,
        parts,
        form,
        lambda: parts.get(Accounts).probe(caller.merchant_id, caller.actor),
    )


@router.post("/secret")
async def rotate(request: Request, caller: Owning, parts: App, form: Form) -> Response:
    """Accept another webhook secret besides the one before it."""
    secret = Secret(form.text("webhook_secret", 220))
    return await _done(
        request,
        caller,
        parts,
        form,
        lambda: parts.get(Accounts).rotate_webhook_secret(caller.merchant_id, caller.actor, secret),
    )


@router.post("/secret/retire")
async def retire(request: Request, caller: Owning, parts: App, form: Form) -> Response:
    """From now on only the newest secret counts."""
    return await _done(
        request,
        caller,
        parts,
        form,
        lambda: parts.get(Accounts).retire_webhook_secrets(caller.merchant_id, caller.actor),
    )


@router.post("/disconnect")
async def disconnect(request: Request, caller: Owning, parts: App, form: Form) -> Response:
    """Forget the keys."""
    return await _done(
        request,
        caller,
        parts,
        form,
        lambda: parts.get(Accounts).disconnect(caller.merchant_id, caller.actor),
    )


@router.post("/readers/connect")
async def connect_card_present(
    request: Request, caller: Owning, parts: App, form: Form
) -> Response:
    """Check the key with CyberSource, and keep it."""
    access = Access(
        organization=form.text("card_organization", 64),
        key_id=form.text("card_key_id", 64),
        secret=form.text("card_secret", 300),
        livemode=form.text("card_livemode") == "live",
        base=form.text("card_api_base", 300),
    )

    def act() -> None:
        try:
            parts.get(CardAccounts).connect(caller.merchant_id, caller.actor, access)
        except DomainError as refused:
            # Two forms of the page have fields of the same name.
            if refused.facts.get("field") in _CARD_FIELDS:
                refused.facts["field"] = f"card_{refused.facts['field']}"
            raise

    return await _done(request, caller, parts, form, act)


@router.post("/readers/check")
async def check_card_present(request: Request, caller: Owning, parts: App, form: Form) -> Response:
    """Ask CyberSource whether the key still works."""
    return await _done(
        request, caller, parts, form, lambda: parts.get(CardAccounts).check(caller.merchant_id)
    )


@router.post("/readers/disconnect")
async def disconnect_card_present(
    request: Request, caller: Owning, parts: App, form: Form
) -> Response:
    """Forget the key."""
    return await _done(
        request,
        caller,
        parts,
        form,
        lambda: parts.get(CardAccounts).disconnect(caller.merchant_id, caller.actor),
    )


@router.post("/import")
def start_import(request: Request, caller: Owning, db: Db, form: Form) -> Response:
    """Let a worker take over what happened before."""
    visit = site_of(request).visit(db, request, caller)
    try:
        since = datetime.fromisoformat(form.text("since")).replace(tzinfo=UTC)
    except ValueError:
        since = None
    if since is None or since > visit.now:
        problems = {"since": visit.say(N_("Choose a day in the past."))}
        return _page(request, caller, db, form=form, problems=problems, status=422)
    try:
        with db.begin_nested():
            importing.begin(db, caller.merchant_id, caller.actor, since, by_job=True)
    except DomainError as refused:
        problems = {"since": visit.explain(refused)}
        return _page(request, caller, db, form=form, problems=problems, status=refused.status)
    return RedirectResponse(_ADDRESS, 303)


@router.post("/replay")
def replay(caller: Owning, db: Db) -> Response:
    """Work on the parked events again."""
    inbox.replay(db, caller.actor, merchant_id=caller.merchant_id, failed=True)
    return RedirectResponse(_ADDRESS, 303)


async def _done(
    request: Request, caller: Caller, parts: Parts, form: Filled, act: Callable[[], object]
) -> Response:
    """The page again, with what was said against it; or after it was done."""
    try:
        await apart(act)
    except DomainError as refused:
        return await to_thread(_refused, request, caller, parts, form, refused)
    return RedirectResponse(_ADDRESS, 303)


def _refused(
    request: Request, caller: Caller, parts: Parts, form: Filled, refused: DomainError
) -> Response:
    with parts.database.reading() as db:
        visit = site_of(request).visit(db, request, caller)
        field = str(refused.facts.get("field", "form"))
        return _page(
            request,
            caller,
            db,
            form=form,
            problems={field: _words(visit, refused)},
            status=refused.status,
        )


def _words(visit: Visit, refused: DomainError) -> str:
    """Reasons are sentences of their own."""
    reason = refused.facts.get("reason")
    return visit.say(reason) if reason in _REASONS else visit.explain(refused)


def _page(
    request: Request,
    caller: Caller,
    db: Transaction,
    *,
    form: Filled | None = None,
    problems: Mapping[str, str] | None = None,
    status: int = 200,
) -> Response:
    site = site_of(request)
    visit = site.visit(db, request, caller)
    return site.page(
        visit,
        "settings/payments.html",
        status=status,
        connection=_connection(db, site.parts, caller.merchant_id),
        card_account=card_present.account_of(db, caller.merchant_id),
        written={name: form.text(name) if form else "" for name in _SHOWN_AGAIN},
        problems=problems or {},
        may=caller.can(Permission.PROCESSOR_MANAGE),
        base_url=accounts.webhook_address(site.parts.settings.base_url),
        is_live=site.parts.settings.mode == "live",
    )


def _connection(db: Transaction, parts: Parts, merchant_id: str) -> Connection | None:
    account = accounts.account_of(db, merchant_id)
    if account is None:
        return None
    return Connection(
        account=account,
        moto=MOTO[account.moto_enabled],
        webhook_url=accounts.webhook_address(parts.settings.base_url, account.id),
        events=inbox.newest(db, merchant_id, limit=_EVENTS),
        parked=inbox.count(db, merchant_id, EventState.PARKED),
        history=importing.newest(db, merchant_id),
    )
