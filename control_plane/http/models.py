"""The table of idempotency keys."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from control_plane.db.columns import UtcDateTime, encrypted


class IdempotencyKey(SQLModel, table=True):
    """The answer that a request with this key got."""

    __tablename__ = "idempotency_key"

    merchant_id: str = Field(foreign_key="merchant.id", primary_key=True, max_length=40)
    route: str = Field(primary_key=True, max_length=200)
    key: str = Field(primary_key=True, max_length=200)
    request_hash: str = Field(max_length=64)
    status: int
    #: Sealed, because an answer may hold a secret that is shown once.
    answer: str = Field(sa_type=encrypted("idempotent answer"))
    created_at: datetime = Field(sa_type=UtcDateTime, index=True)
