"""How a merchant's receipts look: words, what is shown, and the logo, which is drawn anew from what was uploaded."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from typing import Final

from PIL import Image, UnidentifiedImageError
from sqlalchemy import select

from control_plane.accounts.caller import Caller
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import insert
from control_plane.errors import RequestRefused
from control_plane.mail.message import checked_address
from control_plane.receipts.models import TEMPLATES
from control_plane.receipts.wording import LANGUAGES
from protocols.readers.emv import redact_card_numbers

LARGEST_UPLOAD: Final = 2 * 1024 * 1024
#: A picture of more is not opened: a small file can hold a huge one.
MOST_PIXELS: Final = 24_000_000
_LOGO_BOX: Final = (640, 240)
_FORMATS: Final = ("PNG", "JPEG")


class ReceiptField(StrEnum):
    """What may be shown besides amount, date and method."""

    LOGO = "logo"
    ITEMS = "items"
    TAXES = "taxes"
    REFERENCE = "reference"
    FIELDS = "fields"
    CUSTOMER = "customer"
    CASHIER = "cashier"
    CARD = "card"
    """How the card was read and its holder checked, and the approval code."""
    EMV = "emv"
    """Application, AID, terminal, and what the reader printed."""
    SETTLED = "settled"


#: A shop that never chose; the settled amount is the shop's own affair.
USUALLY_SHOWN: Final = frozenset(ReceiptField) - {ReceiptField.SETTLED, ReceiptField.CASHIER}


class LogoRefused(RequestRefused):
    """A file that is no picture of ours to print."""

    code = "logo_refused"
    message = "Upload the logo as a PNG or JPEG file of at most 2 MB."


@dataclass(frozen=True, slots=True)
class Logo:
    """A PNG that we drew."""

    png: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The template of a merchant."""

    message: str = ""
    footer: str = ""
    shown: frozenset[ReceiptField] = USUALLY_SHOWN
    language: str = "en"
    reply_to: str = ""
    logo: Logo | None = None

    def shows(self, field: ReceiptField) -> bool:
        """Whether a part is wanted."""
        return field in self.shown


def look_of(db: Transaction, merchant_id: str) -> Look:
    """What the merchant chose, else the usual."""
    row = db.execute(select(TEMPLATES).where(TEMPLATES.c.merchant_id == merchant_id)).one_or_none()
    if row is None:
        return Look()
    known = {field.value for field in ReceiptField}
    return Look(
        message=row.message,
        footer=row.footer,
        shown=frozenset(ReceiptField(one) for one in row.shown if one in known),
        language=row.language,
        reply_to=row.reply_to,
        logo=Logo(row.logo_png, row.logo_width, row.logo_height) if row.logo_png else None,
    )


def checked_look(
    *,
    message: str,
    footer: str,
    shown: Collection[str],
    language: str,
    reply_to: str,
    logo: Logo | None,
) -> Look:
    """A template as it may be stored: tidied, without card numbers. Raises RequestRefused, AddressNotRecognised."""
    if language not in LANGUAGES:
        raise RequestRefused(field="language", reason="Choose one of en and fr.")
    known = {field.value for field in ReceiptField}
    if unknown := sorted(set(shown) - known):
        raise RequestRefused(field="shown", reason=f"Receipts have no {', '.join(unknown)}.")
    return Look(
        message=_plain(message, 500),
        footer=_plain(footer, 1000),
        shown=frozenset(map(ReceiptField, shown)),
        language=language,
        reply_to=checked_address(reply_to) if reply_to.strip() else "",
        logo=logo,
    )


def change_look(db: Transaction, caller: Caller, look: Look) -> None:
    """From now on receipts look so."""
    values = {
        "message": look.message,
        "footer": look.footer,
        "shown": sorted(look.shown),
        "language": look.language,
        "reply_to": look.reply_to,
        "logo_png": look.logo.png if look.logo else None,
        "logo_width": look.logo.width if look.logo else 0,
        "logo_height": look.logo.height if look.logo else 0,
        "updated_at": context_of(db).clock.now(),
    }
    db.execute(
        insert(db, TEMPLATES)
        .values(merchant_id=caller.merchant_id, **values)
        .on_conflict_do_update(index_elements=["merchant_id"], set_=values)
    )
    record(
        db, caller.merchant_id, caller.actor, AuditTag.RECEIPT_TEMPLATE_UPDATE,
        object_id=caller.merchant_id, object_name="receipts",
        after={"shown": sorted(look.shown), "language": look.language, "logo": look.logo is not None},
    )  # fmt: skip


def logo_from(upload: bytes) -> Logo:
    """The picture drawn anew, small enough for a receipt, without anything that came along. Raises LogoRefused."""
    if not 0 < len(upload) <= LARGEST_UPLOAD:
        raise LogoRefused(field="logo")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(BytesIO(upload), formats=_FORMATS) as picture:
                if picture.width * picture.height > MOST_PIXELS:
                    raise LogoRefused(field="logo")
                picture.load()
                drawn = picture.convert("RGBA")
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError,
            Image.DecompressionBombError, Image.DecompressionBombWarning):  # fmt: skip
        raise LogoRefused(field="logo") from None
    drawn.thumbnail(_LOGO_BOX)
    out = BytesIO()
    drawn.save(out, "PNG", optimize=True)
    return Logo(out.getvalue(), drawn.width, drawn.height)


def _plain(text: str, length: int) -> str:
    kept = "".join(sign for sign in text if sign.isprintable() or sign == "\n").strip()
    return redact_card_numbers(kept)[:length]
