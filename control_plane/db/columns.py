"""Column types, once for both databases, and the names of constraints.

Imported by every ``models.py`` before its first table, so that the naming convention is in force. Each helper
returns ``Any`` because SQLModel's ``sa_type`` is typed as a class, while these are instances.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Integer,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import SQLModel

from control_plane.db.keyring import Keyring

SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

#: Longest value of a stored enum.
ENUM_LENGTH: Final = 40
#: Where an engine keeps the keys for its ``Encrypted`` columns.
KEYRING_ATTRIBUTE: Final = "omnitill_keyring"


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment. Refuses naive ones; comes back in UTC from either database."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class TextEnum(TypeDecorator[StrEnum]):
    """A StrEnum as text of its value. Use ``text_enum(State)``."""

    impl = String(ENUM_LENGTH)
    cache_ok = True

    def __init__(self, enum: type[StrEnum]) -> None:
        super().__init__()
        if longest := [member for member in enum if len(member) > ENUM_LENGTH]:
            raise ValueError(f"{longest} do not fit into {ENUM_LENGTH} characters")
        self.enum = enum

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        del dialect
        return None if value is None else self.enum(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:
        del dialect
        return None if value is None else self.enum(value)


class _Encrypted(TypeDecorator[str]):
    impl = Text
    cache_ok = True

    def __init__(self, purpose: str) -> None:
        super().__init__()
        self.purpose = purpose

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else _keyring(dialect).seal(value.encode(), self.purpose)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else _keyring(dialect).open(value, self.purpose).decode()


def table_of(model: type[SQLModel]) -> Table:
    """The Core table of a SQLModel table class, for statements on hot paths."""
    table: Table = model.__table__  # type: ignore[attr-defined]  # only table classes have it
    return table


def text_enum(enum: type[StrEnum]) -> Any:
    """A VARCHAR of values, so that a new member needs no migration."""
    return TextEnum(enum)


def encrypted(purpose: str) -> Any:
    """Text sealed with AES-GCM, bound to ``purpose``: a value moved into another column does not open."""
    return _Encrypted(purpose)


#: JSON, as JSONB on PostgreSQL; None is NULL. No floats: money and times have better forms.
Json: Any = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
#: A 64-bit primary key that the database counts up; SQLite counts only plain INTEGER.
AutoIncrement: Any = BigInteger().with_variant(Integer(), "sqlite")


def _keyring(dialect: Dialect) -> Keyring:
    keyring = getattr(dialect, KEYRING_ATTRIBUTE, None)
    if not isinstance(keyring, Keyring):
        raise TypeError("an encrypted column needs an engine made by control_plane.db.engine")
    return keyring
