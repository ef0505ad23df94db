"""Run by Alembic; ``control_plane.db.migrate`` gives it an open connection."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import JSON, TypeDecorator
from sqlmodel.sql.sqltypes import AutoString

from control_plane.db.registry import complete_metadata


def _render(kind: str, item: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Migrations name only stock types: they must still mean the same when our classes have moved on."""
    if kind != "type":
        return False
    if isinstance(item, AutoString):
        return f"sa.String(length={item.length})" if item.length else "sa.String()"
    if isinstance(item, TypeDecorator):
        return f"sa.{item.impl_instance!r}"
    if isinstance(item, JSON):
        autogen.imports.add("from sqlalchemy.dialects import postgresql")
        return 'sa.JSON().with_variant(postgresql.JSONB(), "postgresql")'
    return False


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=complete_metadata(),
    render_as_batch=True,
    render_item=_render,
    transaction_per_migration=False,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
