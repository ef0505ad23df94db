"""The merchant's template of receipts."""

from datetime import datetime
from typing import Final

from sqlalchemy import LargeBinary
from sqlmodel import Field, SQLModel

from control_plane.db.columns import Json, UtcDateTime, table_of


class ReceiptTemplate(SQLModel, table=True):
    """How the receipts of a merchant look."""

    __tablename__ = "receipt_template"

    merchant_id: str = Field(foreign_key="merchant.id", primary_key=True, max_length=40)
    #: Under the amount, such as a thank-you; and at the end, such as an address and tax number.
    message: str = Field(default="", max_length=500)
    footer: str = Field(default="", max_length=1000)
    #: What is shown besides amount and date, which always are; see ``settings.ReceiptField``.
    shown: list[str] = Field(sa_type=Json)
    #: Of customers whose language is not known.
    language: str = Field(default="en", max_length=10)
    #: Where answers to a mail go; empty for nowhere.
    reply_to: str = Field(default="", max_length=254)
    #: Drawn anew by us from what was uploaded.
    logo_png: bytes | None = Field(default=None, sa_type=LargeBinary)
    logo_width: int = 0
    logo_height: int = 0
    updated_at: datetime = Field(sa_type=UtcDateTime)


TEMPLATES: Final = table_of(ReceiptTemplate)
