"""The forms of a receipt: a page to print, a mail, plain text. The PDF is in ``pdf``.

The styles stand in the document itself: a mail or a saved file has no other place to take them from.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from control_plane.receipts.sheet import Sheet

#: Where the HTML of a mail finds the logo.
LOGO_ID: Final = "logo@omnitill"
#: A page with a receipt and nothing else: its own styles, pictures in it, no script, nothing from elsewhere.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'"
)
_WIDTH: Final = 44
_ENVIRONMENT: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)


def as_page(sheet: Sheet) -> str:
    """An HTML page that stands alone and prints well."""
    page = _ENVIRONMENT.get_template("page.html")
    return page.render(sheet=sheet, logo_address=sheet.logo_address).lstrip()


def as_mail(sheet: Sheet, *, subject: str, customer: str) -> str:
    """The HTML of a mail; the logo comes along as ``LOGO_ID``."""
    return (
        _ENVIRONMENT.get_template("mail.html")
        .render(
            sheet=sheet,
            subject=subject,
            greeting=greeting(sheet, customer),
            logo_address=f"cid:{LOGO_ID}" if sheet.logo else "",
        )
        .lstrip()
    )


def greeting(sheet: Sheet, customer: str) -> str:
    """How a mail begins."""
    return sheet.say("Hello %s,") % customer if customer else sheet.say("Hello,")


def as_text(sheet: Sheet) -> str:
    """Plain text, as wide as a receipt printer."""
    lines = [_centred(sheet.merchant)]
    lines += [_centred(text) for text in (sheet.place, sheet.when) if text]
    if sheet.warning:
        lines += ["", _centred(f"* {sheet.warning} *")]
    lines.append("-" * _WIDTH)
    for item in sheet.items:
        name = f"{item.name} ({item.each})" if item.each else item.name
        lines += _pair(name, item.total)
    if sheet.items:
        lines.append("-" * _WIDTH)
    for label, value in sheet.sums:
        lines += _pair(label, value)
    lines += _pair((sheet.say("Total") if sheet.items else sheet.title).upper(), sheet.total)
    lines.append("-" * _WIDTH)
    for label, value in sheet.facts:
        lines += _pair(label, value)
    for block in (sheet.message, sheet.printed, sheet.footer):
        if block:
            lines += ["", *(_centred(line) for line in block)]
    lines += ["", _centred(f"{sheet.say('Number')} {sheet.number}")]
    return "\n".join(lines) + "\n"


def _centred(text: str) -> str:
    return "\n".join(line.center(_WIDTH).rstrip() for line in textwrap.wrap(text, _WIDTH) or [""])


def _pair(label: str, value: str) -> list[str]:
    """The label on the left and the value on the right; on lines of their own when they do not fit."""
    room = _WIDTH - len(label) - len(value)
    if room >= 1:
        return [f"{label}{' ' * room}{value}"]
    values = textwrap.wrap(value, _WIDTH - 2) or [""]
    return [*textwrap.wrap(label, _WIDTH), *(line.rjust(_WIDTH) for line in values)]
