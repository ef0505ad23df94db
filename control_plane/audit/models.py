"""Tables of the activity log."""

from datetime import datetime
from typing import Any

from sqlalchemy import Column, UniqueConstraint
from sqlmodel import Field, SQLModel

from control_plane.audit.actor import ActorKind
from control_plane.db.columns import AutoIncrement, Json, UtcDateTime, text_enum


class AuditEvent(SQLModel, table=True):
    """One action. Never changed, never deleted; its hash covers it and the one before."""

    __tablename__ = "audit_event"
    __table_args__ = (UniqueConstraint("merchant_id", "seq"),)

    position: int | None = Field(
        default=None, sa_column=Column(AutoIncrement, primary_key=True, autoincrement=True)
    )
    id: str = Field(unique=True, max_length=40)
    merchant_id: str = Field(foreign_key="merchant.id", max_length=40)
    #: 1, 2, 3 … within the merchant.
    seq: int
    at: datetime = Field(sa_type=UtcDateTime)
    #: A value of AuditTag; text, so that the log stays readable when a tag is retired.
    tag: str = Field(max_length=80)
    actor_kind: ActorKind = Field(sa_type=text_enum(ActorKind))
    actor_id: str = Field(max_length=64, index=True)
    actor_name: str = Field(max_length=200)
    object_id: str = Field(max_length=64, index=True)
    object_name: str = Field(max_length=200)
    before: dict[str, Any] | None = Field(default=None, sa_type=Json)
    after: dict[str, Any] | None = Field(default=None, sa_type=Json)
    ip: str = Field(max_length=64)
    user_agent: str = Field(max_length=300)
    previous_hash: str = Field(max_length=64)
    hash: str = Field(max_length=64)


class AuditHead(SQLModel, table=True):
    """The end of a merchant's chain. Locked by who appends; sealed with a key that the database does not have."""

    __tablename__ = "audit_head"

    merchant_id: str = Field(foreign_key="merchant.id", primary_key=True, max_length=40)
    count: int
    last_hash: str = Field(max_length=64)
    seal: str = Field(max_length=64)
