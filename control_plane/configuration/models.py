"""Tables of what was set."""

from datetime import datetime
from typing import Any, Final

from sqlmodel import Field, SQLModel

from control_plane.db.columns import Json, UtcDateTime, table_of


class ReaderSettings(SQLModel, table=True):
    """What a shop has set on a reader, by the names of its profile's settings. What is not there has its default."""

    __tablename__ = "reader_settings"

    reader_id: str = Field(primary_key=True, max_length=64, foreign_key="reader.id")
    merchant_id: str = Field(max_length=40, index=True, foreign_key="merchant.id")
    chosen: dict[str, Any] = Field(sa_type=Json)
    #: Sealed with the installation's secret key; nobody is shown them again.
    secrets: dict[str, Any] = Field(sa_type=Json)
    changed_at: datetime = Field(sa_type=UtcDateTime)
    changed_by: str = Field(max_length=200)


READER_SETTINGS: Final = table_of(ReaderSettings)
