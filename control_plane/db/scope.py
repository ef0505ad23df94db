"""Tenancy: what a caller may see. The only start of a query on a tenant's table."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import ColumnElement, Select, Table, false, select
from sqlmodel import SQLModel

from control_plane.db.columns import table_of

T = TypeVar("T", bound=SQLModel)


@dataclass(frozen=True, slots=True)
class Scope:
    """One merchant, some or all (None) of its locations, and named permissions."""

    merchant_id: str
    location_ids: frozenset[str] | None = None
    permissions: frozenset[str] = field(default_factory=frozenset)

    def select(self, table: type[T]) -> Select[T]:
        """Rows of ``table`` that belong to this scope. Raises TypeError for a table without ``merchant_id``."""
        return select(table).where(*self.conditions(table))

    def conditions(self, table: type[SQLModel] | Table) -> list[ColumnElement[bool]]:
        """The same as conditions, for Core statements, joins and updates."""
        columns = (table if isinstance(table, Table) else table_of(table)).c
        if "merchant_id" not in columns:
            raise TypeError(f"{table} has no merchant_id: it is no tenant's table")
        conditions = [columns.merchant_id == self.merchant_id]
        if self.location_ids is not None and "location_id" in columns:
            conditions.append(
                columns.location_id.in_(sorted(self.location_ids)) if self.location_ids else false()
            )
        return conditions

    def allows(self, permission: str) -> bool:
        """Whether the caller has a permission."""
        return permission in self.permissions

    def covers(self, location_id: str | None) -> bool:
        """Whether a location, or the whole merchant (None), is within reach."""
        return self.location_ids is None or location_id in self.location_ids

    def covers_all(self, location_ids: Collection[str] | None) -> bool:
        """Whether each of these locations, or the whole merchant (None), is within reach."""
        if self.location_ids is None:
            return True
        return location_ids is not None and self.location_ids.issuperset(location_ids)
