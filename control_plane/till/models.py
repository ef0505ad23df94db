"""Tables of a till's settings. Amounts by currency are JSON: ``{"EUR": 50000}``, in minor units."""

from datetime import datetime
from decimal import Decimal
from typing import Final

from sqlalchemy import BigInteger, Index, Numeric, UniqueConstraint
from sqlmodel import Field, SQLModel

from control_plane.db.columns import Json, UtcDateTime, table_of, text_enum
from control_plane.till.values import CheckPolicy, Colour, FieldKind, TaxMode

_MERCHANT: Final = "merchant.id"


class StoredSettings(SQLModel, table=True):
    """What holds for every payment of a merchant. No row: the defaults."""

    __tablename__ = "till_settings"

    merchant_id: str = Field(foreign_key=_MERCHANT, primary_key=True, max_length=40)
    #: Offered besides the merchant's own.
    currencies: list[str] = Field(default_factory=list, sa_type=Json)
    #: Percent, as decimal text.
    tip_percents: list[str] = Field(default_factory=list, sa_type=Json)
    tips_when_keyed: bool = False
    default_tax_id: str | None = Field(default=None, foreign_key="tax_rate.id", max_length=40)
    refund_limits: dict[str, int] = Field(default_factory=dict, sa_type=Json)
    charge_limits: dict[str, int] = Field(default_factory=dict, sa_type=Json)
    address_check: CheckPolicy = Field(sa_type=text_enum(CheckPolicy))
    postal_code_check: CheckPolicy = Field(sa_type=text_enum(CheckPolicy))
    cvc_check: CheckPolicy = Field(sa_type=text_enum(CheckPolicy))
    moto: bool = False
    duplicate_minutes: int
    capture_later: bool = False
    link_hours: int
    updated_at: datetime = Field(sa_type=UtcDateTime)


class StoredTax(SQLModel, table=True):
    """A rate of tax."""

    __tablename__ = "tax_rate"
    __table_args__ = (Index("ix_tax_rate_merchant", "merchant_id", "position"),)

    #: ``tax_…``
    id: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(foreign_key=_MERCHANT, max_length=40)
    name: str = Field(max_length=80)
    percent: Decimal = Field(sa_type=Numeric(7, 4))
    mode: TaxMode = Field(sa_type=text_enum(TaxMode))
    position: int
    active: bool = True


class StoredField(SQLModel, table=True):
    """A field of the merchant's own. A removed one stays, so that old payments can name it."""

    __tablename__ = "till_field"
    __table_args__ = (UniqueConstraint("merchant_id", "key"),)

    #: ``fld_…``
    id: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(foreign_key=_MERCHANT, max_length=40)
    key: str = Field(max_length=40)
    label_en: str = Field(max_length=80)
    #: Empty: as in English.
    label_fr: str = Field(default="", max_length=80)
    kind: FieldKind = Field(sa_type=text_enum(FieldKind))
    #: Words of ``values.Channel``.
    required_for: list[str] = Field(default_factory=list, sa_type=Json)
    choices: list[str] = Field(default_factory=list, sa_type=Json)
    #: See ``patterns``; empty for any.
    pattern: str = Field(default="", max_length=60)
    searchable: bool = True
    position: int
    active: bool = True


class StoredItem(SQLModel, table=True):
    """Something that is sold."""

    __tablename__ = "till_item"
    __table_args__ = (
        UniqueConstraint("merchant_id", "code"),
        UniqueConstraint("merchant_id", "quick_key"),
        Index("ix_till_item_merchant", "merchant_id", "active", "name"),
    )

    #: ``itm_…``
    id: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(foreign_key=_MERCHANT, max_length=40)
    name: str = Field(max_length=120)
    price_minor: int = Field(sa_type=BigInteger)
    currency: str = Field(max_length=3)
    #: None: the till's usual tax.
    tax_id: str | None = Field(default=None, foreign_key="tax_rate.id", index=True, max_length=40)
    #: The shop's own number of it.
    code: str | None = Field(default=None, max_length=60)
    #: Its place on the board of quick keys, from 1.
    quick_key: int | None = None
    colour: Colour = Field(default=Colour.PLAIN, sa_type=text_enum(Colour))
    active: bool = True
    updated_at: datetime = Field(sa_type=UtcDateTime)


class StoredPreset(SQLModel, table=True):
    """A charge that is made again and again."""

    __tablename__ = "till_preset"
    __table_args__ = (
        UniqueConstraint("merchant_id", "quick_key"),
        Index("ix_till_preset_merchant", "merchant_id", "position"),
    )

    #: ``pre_…``
    id: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(foreign_key=_MERCHANT, max_length=40)
    name: str = Field(max_length=80)
    amount_minor: int = Field(sa_type=BigInteger)
    currency: str = Field(max_length=3)
    reference: str = Field(default="", max_length=200)
    note: str = Field(default="", max_length=200)
    #: A word of ``values.Channel``; None: whichever the till has open.
    method: str | None = Field(default=None, max_length=20)
    customer_id: str | None = Field(default=None, max_length=40)
    #: 1 to 8, for F1 to F8.
    quick_key: int | None = None
    position: int


class StoredLimits(SQLModel, table=True):
    """What one member may do at the till, below what their role allows. No row: no limit."""

    __tablename__ = "member_limit"

    merchant_id: str = Field(foreign_key=_MERCHANT, primary_key=True, max_length=40)
    user_id: str = Field(foreign_key="user_account.id", primary_key=True, index=True, max_length=40)
    charge: dict[str, int] = Field(default_factory=dict, sa_type=Json)
    refund: dict[str, int] = Field(default_factory=dict, sa_type=Json)
    day: dict[str, int] = Field(default_factory=dict, sa_type=Json)
    #: Words of ``values.Channel``; None: every method.
    methods: list[str] | None = Field(default=None, sa_type=Json)
    updated_at: datetime = Field(sa_type=UtcDateTime)


SETTINGS: Final = table_of(StoredSettings)
TAXES: Final = table_of(StoredTax)
FIELDS: Final = table_of(StoredField)
ITEMS: Final = table_of(StoredItem)
PRESETS: Final = table_of(StoredPreset)
LIMITS: Final = table_of(StoredLimits)
