"""Jinja environments, one a language, with the filters that pages use."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from markupsafe import Markup, escape

from control_plane.formats import TAGS, Formats
from control_plane.web import pay_words, words
from control_plane.web.i18n import LANGUAGES, N_, translations

if TYPE_CHECKING:
    from jinja2.runtime import Context

    from control_plane.web.static_files import StaticFiles

#: The main navigation: address, name, icon, permission, key after `g`, and whether it hides in the menu on a phone.
NAVIGATION = (
    ("/pos", N_("Take a payment"), "till", "payment:session:create", "p", False),
    ("/transactions", N_("Transactions"), "receipt", "transaction:view", "t", False),
    ("/customers", N_("Customers"), "customer", "customer:view", "c", False),
    ("/readers", N_("Readers"), "reader", "reader:view", "r", False),
    ("/", N_("Overview"), "overview", "location:view", "o", False),
    ("/team", N_("Team"), "team", "user:view", "m", True),
    ("/activity", N_("Activity log"), "log", "audit:view", "l", True),
)
FOLDER = Path(__file__).parent / "templates"


class Templates:
    """Renders templates. A context has `zone` (tzinfo) and `now` (aware) for the time filters."""

    def __init__(self, static: StaticFiles) -> None:
        self.static = static
        loader = FileSystemLoader(FOLDER)
        self._environments = {
            language: _environment(language, loader, static) for language in LANGUAGES
        }

    def render(self, name: str, language: str, **context: object) -> str:
        """The text of a template."""
        context.setdefault("now", datetime.now(UTC))
        return self._environments[language].get_template(name).render(context)


def _environment(language: str, loader: FileSystemLoader, static: StaticFiles) -> Environment:
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        extensions=["jinja2.ext.i18n"],
    )
    environment.policies["ext.i18n.trimmed"] = True
    catalogue = translations(language)
    # The i18n extension adds this method when it is loaded.
    install: Any = environment.install_gettext_callables  # type: ignore[attr-defined]
    # Jinja takes what gettext returns as safe. It is not when somebody's text gets there as a key, so escape it.
    install(
        lambda text: str(escape(catalogue.gettext(text))),
        lambda one, many, count: str(escape(catalogue.ngettext(one, many, count))),
        newstyle=True,
    )
    formats = Formats(language)
    environment.filters.update(
        money=formats.money,
        number=formats.number,
        percent=formats.percent,
        day=formats.day,
        span=formats.span,
        symbol=formats.symbol,
        currency_name=formats.currency_name,
        moment=pass_context(_zoned(formats.moment)),
        clock=pass_context(_zoned(formats.clock)),
        when=pass_context(lambda context, at: formats.when(at, context["zone"], context["now"])),
        ago=pass_context(lambda context, at: _ago(context, at, formats)),
    )
    environment.globals.update(
        static=static.url,
        build=static.build,
        language=language,
        language_tag=TAGS[language],
        languages=LANGUAGES,
        words=words,
        pay_words=pay_words,
        shell_nav=NAVIGATION,
    )
    return environment


def _zoned(write: Any) -> Any:  # a method of Formats that takes (at, zone)
    def shown(context: Context, at: datetime) -> str:
        zone: tzinfo = context["zone"]
        return str(write(at, zone))

    return shown


def _ago(context: Context, at: datetime, formats: Formats) -> Markup:
    return Markup('<time datetime="{}" data-ago title="{}">{}</time>').format(
        at.astimezone(UTC).isoformat(timespec="seconds"),
        formats.moment(at, context["zone"]),
        formats.ago(at, context["now"]),
    )
