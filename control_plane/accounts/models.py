"""Tables of merchants and of those who act for them."""

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, SQLModel

from control_plane.accounts.permissions import Role
from control_plane.db.columns import Json, UtcDateTime, text_enum

MERCHANT = "merchant.id"


class Merchant(SQLModel, table=True):
    """An organisation: owns everything, sees nothing of another."""

    __tablename__ = "merchant"

    id: str = Field(primary_key=True, max_length=40)
    name: str = Field(max_length=200)
    #: ISO 4217, the currency of a new payment unless another is chosen.
    currency: str = Field(default="EUR", max_length=3)
    created_at: datetime = Field(sa_type=UtcDateTime)


class Location(SQLModel, table=True):
    """A shop."""

    __tablename__ = "location"
    __table_args__ = (UniqueConstraint("merchant_id", "name"),)

    id: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(foreign_key=MERCHANT, index=True, max_length=40)
    name: str = Field(max_length=200)
    #: IANA name, such as Europe/Paris.
    time_zone: str = Field(default="UTC", max_length=64)
    created_at: datetime = Field(sa_type=UtcDateTime)
    archived_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class User(SQLModel, table=True):
    """A person, who may work for several merchants."""

    __tablename__ = "user_account"

    id: str = Field(primary_key=True, max_length=40)
    #: Trimmed and case-folded.
    email: str = Field(unique=True, max_length=254)
    name: str = Field(max_length=200)
    #: argon2id, with its own parameters; None until an invitation is accepted.
    password_hash: str | None = Field(default=None, max_length=255)
    #: Language of the pages: en or fr; None follows the browser.
    language: str | None = Field(default=None, max_length=10)
    created_at: datetime = Field(sa_type=UtcDateTime)


class Membership(SQLModel, table=True):
    """What a user may do for a merchant, and where."""

    __tablename__ = "membership"
    __table_args__ = (UniqueConstraint("merchant_id", "user_id"),)

    id: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(foreign_key=MERCHANT, index=True, max_length=40)
    user_id: str = Field(foreign_key="user_account.id", index=True, max_length=40)
    role: Role = Field(sa_type=text_enum(Role))
    #: None is every location.
    location_ids: list[str] | None = Field(default=None, sa_type=Json)
    created_at: datetime = Field(sa_type=UtcDateTime)
    disabled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class UserSession(SQLModel, table=True):
    """A sign-in on one browser."""

    __tablename__ = "user_session"

    id: str = Field(primary_key=True, max_length=40)
    token_hash: str = Field(unique=True, max_length=64)
    merchant_id: str = Field(foreign_key=MERCHANT, index=True, max_length=40)
    user_id: str = Field(foreign_key="user_account.id", index=True, max_length=40)
    created_at: datetime = Field(sa_type=UtcDateTime)
    last_seen_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ip: str = Field(default="", max_length=64)
    user_agent: str = Field(default="", max_length=300)


class Invitation(SQLModel, table=True):
    """A link with which a user chooses the first password, once."""

    __tablename__ = "invitation"

    id: str = Field(primary_key=True, max_length=40)
    token_hash: str = Field(unique=True, max_length=64)
    merchant_id: str = Field(foreign_key=MERCHANT, index=True, max_length=40)
    user_id: str = Field(foreign_key="user_account.id", index=True, max_length=40)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class ApiKey(SQLModel, table=True):
    """A program's credentials."""

    __tablename__ = "api_key"

    id: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(foreign_key=MERCHANT, index=True, max_length=40)
    name: str = Field(max_length=200)
    #: The first characters, to recognise it by.
    prefix: str = Field(max_length=20)
    token_hash: str = Field(unique=True, max_length=64)
    permissions: list[str] = Field(sa_type=Json)
    #: None is every location.
    location_ids: list[str] | None = Field(default=None, sa_type=Json)
    created_by: str = Field(max_length=40)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class SignInThrottle(SQLModel, table=True):
    """Attempts to sign in, counted for an account or an address (as a keyed hash)."""

    __tablename__ = "sign_in_throttle"

    key: str = Field(primary_key=True, max_length=64)
    attempts: int
    window_ends_at: datetime = Field(sa_type=UtcDateTime, index=True)
    blocked_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
