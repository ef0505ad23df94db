"""What every page needs: who visits, in which language, what surrounds the page; and how an error becomes a page."""

from __future__ import annotations

from asyncio import to_thread
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

from starlette.responses import HTMLResponse, Response

from control_plane.accounts import queries as accounts
from control_plane.accounts.permissions import Permission
from control_plane.db.unit_of_work import context_of
from control_plane.devices import queries as devices
from control_plane.errors import DomainError
from control_plane.formats import Formats
from control_plane.http.middleware import request_id_of
from control_plane.http.security import csrf_token, current_caller
from control_plane.mail.mailbox_mailer import MailboxMailer
from control_plane.mail.mailer import Mailer
from control_plane.virtual_terminal import queries as payments
from control_plane.web import words
from control_plane.web.i18n import LANGUAGES, N_, choose_language, translations
from control_plane.web.present import Names
from control_plane.web.simulators import Simulators
from control_plane.web.static_files import StaticFiles
from control_plane.web.templating import Templates
from control_plane.web.views import Choice, Person, Shell
from protocols.money import Money

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import tzinfo

    from fastapi import Request
    from sqlalchemy import Row

    from control_plane.accounts.caller import Caller
    from control_plane.db.unit_of_work import Transaction
    from control_plane.http.problems import Problem
    from control_plane.parts import Parts

LANGUAGE_COOKIE: Final = "omnitill-language"
THEME_COOKIE: Final = "omnitill-theme"
THEMES: Final = frozenset({"light", "dark"})


@dataclass(frozen=True, slots=True)
class Visit:
    """One request by somebody who is signed in."""

    caller: Caller
    language: str
    shell: Shell
    now: datetime
    merchant_name: str
    currency: str
    places: Mapping[str, str]
    """Names of the locations within reach, by id; without the archived ones."""

    @property
    def formats(self) -> Formats:
        """How values are written for this visitor."""
        return Formats(self.language)

    @property
    def zone(self) -> tzinfo:
        """Where times are shown."""
        return self.shell.zone

    def say(self, text: str, **values: object) -> str:
        """A text in the visitor's language, with its ``%(name)s`` filled in."""
        translated = translations(self.language).gettext(text)
        return translated % values if values else translated

    def health_next(self, health: str, reason: str) -> str:
        """What to do about a reader, and what its box says of it."""
        advice = self.say(words.HEALTH_NEXT[health]) if health in words.HEALTH_NEXT else ""
        told = self.say(N_("The box says: %(reason)s."), reason=reason) if reason else ""
        return f"{advice} {told}".strip()

    def explain(self, error: DomainError) -> str:
        """The sentence of an error in the visitor's language."""
        return sentence(self.language, error.message, error.facts)

    def start_of(self, day: str, *, days: int = 0) -> datetime | None:
        """Midnight of a day (and some) where the visitor is; None for what is no day."""
        try:
            wanted = date.fromisoformat(day) + timedelta(days=days)
        except (ValueError, OverflowError):
            return None
        return datetime.combine(wanted, time.min, tzinfo=self.zone)

    def today(self) -> date:
        """The day where the visitor is."""
        return self.now.astimezone(self.zone).date()

    def context(self) -> dict[str, object]:
        """What each template gets."""
        return {"shell": self.shell, "zone": self.shell.zone, "now": self.now}


@dataclass(frozen=True, slots=True)
class DemoSignIns:
    """Ready-made sign-ins that the demo shows on its form: (role, e-mail, password) each."""

    accounts: tuple[tuple[str, str, str], ...]


class Site:
    """The templates and files of this program, and the pages made of them."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.static = StaticFiles()
        self.templates = Templates(self.static)

    def visit(self, db: Transaction, request: Request, caller: Caller) -> Visit:
        """Who visits and what surrounds the page, in two statements; one more for who approves refunds."""
        merchant = accounts.merchant(db, caller.merchant_id)
        found = db.execute(accounts.locations_of(caller.scope)).all()
        locations = sorted(
            (row for row in found if row.archived_at is None), key=lambda row: row.name
        )
        place = merchant.name
        if len(locations) == 1:
            place = f"{merchant.name} · {locations[0].name}"
        zone = ZoneInfo(locations[0].time_zone) if locations else UTC
        waiting = 0
        if caller.can(Permission.PAYMENT_REFUND_APPROVE):
            waiting = payments.count_waiting(db, caller.scope)
        language = language_of(request, caller)
        return Visit(
            caller=caller,
            language=language,
            shell=self._shell(request, caller, zone=zone, place=place, waiting=waiting),
            now=context_of(db).clock.now(),
            merchant_name=merchant.name,
            currency=merchant.currency,
            places={row.id: row.name for row in locations},
        )

    def page(
        self,
        visit: Visit,
        template: str,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        **values: object,
    ) -> HTMLResponse:
        """A page, or a fragment of one, for somebody who is signed in."""
        return HTMLResponse(self.fragment(visit, template, **values), status, headers)

    def fragment(self, visit: Visit, template: str, **values: object) -> str:
        """The text of a template."""
        return self.templates.render(template, visit.language, **visit.context(), **values)

    def public_page(
        self, request: Request, template: str, *, status: int = 200, **values: object
    ) -> HTMLResponse:
        """A page for anybody."""
        shell = self._shell(request, None, zone=UTC, place="")
        text = self.templates.render(
            template, language_of(request, None), shell=shell, zone=UTC, now=self.parts.clock.now(),
            **values,
        )  # fmt: skip
        return HTMLResponse(text, status)

    async def problem_page(self, request: Request, problem: Problem) -> Response:
        """What went wrong, as a page; the sign-in page when nobody is signed in."""
        if problem.status == 401:
            return self._ask_to_sign_in(request)
        try:
            caller = await current_caller(request)
        except DomainError:
            caller = None
        language = language_of(request, caller)
        return await to_thread(self._problem_page, request, caller, language, problem)

    def _problem_page(
        self, request: Request, caller: Caller | None, language: str, problem: Problem
    ) -> Response:
        say = translations(language).gettext
        title, text = words.PROBLEMS.get(problem.status, words.PROBLEMS[500])
        detail = say(text) if text else sentence(language, problem.message, problem.facts)
        if caller is None:
            ways = [("/sign-in", say("Sign in"))]
        elif caller.can(Permission.PAYMENT_SESSION_CREATE):
            ways = [("/pos", say("Take a payment")), ("/", say("Overview"))]
        else:
            ways = [("/", say("Overview"))]
        shell = self._shell(request, caller, zone=UTC, place="")
        body = self.templates.render(
            "errors/page.html", language, shell=shell, zone=UTC, now=self.parts.clock.now(),
            title=say(title), text=detail, ways=ways,
            request_id=request_id_of(request.scope) if problem.status >= 500 else "",
        )  # fmt: skip
        return HTMLResponse(body, problem.status)

    def _ask_to_sign_in(self, request: Request) -> Response:
        back = return_address(request)
        if "hx-request" in request.headers:
            return Response(
                status_code=401, headers={"HX-Redirect": f"/sign-in?next={quote(back)}"}
            )
        return self.sign_in_page(request, next=back, status=401)

    def sign_in_page(
        self,
        request: Request,
        *,
        next: str,  # noqa: A002 - the name in the form
        status: int = 200,
        email: str = "",
        problem: str = "",
        wait_s: object = 0,
    ) -> HTMLResponse:
        """The form, with what was said against the last attempt."""
        demo = self.parts.find(DemoSignIns)
        return self.public_page(
            request,
            "sign_in.html",
            status=status,
            next=next,
            email=email,
            problem=problem,
            wait_s=wait_s,
            demo_accounts=demo.accounts if demo is not None else (),
        )

    def _shell(
        self,
        request: Request,
        caller: Caller | None,
        *,
        zone: tzinfo,
        place: str,
        waiting: int = 0,
    ) -> Shell:
        theme = request.cookies.get(THEME_COOKIE, "")
        person = csrf = None
        if caller is not None:
            person = Person(
                name=caller.name,
                email=caller.email,
                role=caller.role,
                permissions=caller.scope.permissions,
            )
            csrf = csrf_token(self.parts, caller.session_id) if caller.session_id else ""
        return Shell(
            world=self.parts.settings.mode,
            theme=theme if theme in THEMES else "",
            zone=zone,
            csrf=csrf or "",
            path=request.url.path,
            place=place,
            person=person,
            waiting=waiting,
            has_mailbox=has_mailbox(self.parts),
            has_simulators=self.parts.find(Simulators) is not None,
        )


def has_mailbox(parts: Parts) -> bool:
    """Whether mail stays in the mailbox of the demo."""
    return isinstance(parts.find(Mailer), MailboxMailer)


def shops_to_give(visit: Visit) -> list[Choice]:
    """Where somebody or something that the visitor lets in may work; all shops only from who has all."""
    shops = [Choice(id_, name) for id_, name in visit.places.items()]
    if visit.caller.scope.location_ids is None:
        shops.insert(0, Choice("", visit.say(N_("All shops"))))
    return shops


def names_of(db: Transaction, visit: Visit, rows: Sequence[Row[Any]]) -> Names:
    """What the ids of ledger rows stand for."""
    scope = visit.caller.scope
    return Names(
        readers=devices.reader_names(db, scope, {row.reader_id for row in rows if row.reader_id}),
        places=visit.places,
        people=accounts.user_names(db, scope, {row.cashier_id for row in rows if row.cashier_id}),
    )


def site_of(request: Request) -> Site:
    """The site that the app was made with."""
    site: Site = request.app.state.site
    return site


def language_of(request: Request, caller: Caller | None) -> str:
    """What this browser chose, else what its user is known to speak, else what the browser asks for."""
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    if chosen not in LANGUAGES and caller is not None:
        chosen = caller.language
    return choose_language(chosen, request.headers.get("accept-language"))


def sentence(language: str, message: str, facts: Mapping[str, object]) -> str:
    """The text of an error in a language. Facts that are words of ours, such as a state, are translated too."""
    say: Callable[[str], str] = translations(language).gettext
    told: dict[str, Any] = {name: _told(value, language) for name, value in facts.items()}
    return DomainError(**told).detail(say(message))


def _told(value: object, language: str) -> object:
    match value:
        case Money():
            return Formats(language).money(value)
        case str() if value in words.FACTS:
            return translations(language).gettext(words.FACTS[value])
        case _:
            return value


def return_address(request: Request) -> str:
    """Where to go after signing in: the page that was asked for, when it can be asked for again."""
    if "hx-request" in request.headers:
        return own_path(request.headers.get("hx-current-url", "/"))
    if request.method != "GET":
        return own_path(request.headers.get("referer", "/"))
    query = f"?{request.url.query}" if request.url.query else ""
    return own_path(request.url.path + query)


def own_path(address: str) -> str:
    """The path of an address of ours; `/` for anything that could lead elsewhere."""
    parts = urlsplit(address)
    path = parts.path if parts.path.startswith("/") else "/"
    if path.startswith(("//", "/sign-in", "/sign-out")) or "\\" in path:
        return "/"
    return f"{path}?{parts.query}" if parts.query else path
