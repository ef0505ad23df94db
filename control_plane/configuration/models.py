"""Tables of what was set."""

from datetime import datetime
from typing import Any, Final

from sqlmodel import Field, SQLModel

from control_plane.configuration.layers import LayerKind
from control_plane.db.columns import Json, UtcDateTime, table_of, text_enum


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


class ConfigRevision(SQLModel, table=True):
    """One change of one layer. The layer at a revision is its row with the greatest number up to there."""

    __tablename__ = "config_revision"

    merchant_id: str = Field(primary_key=True, max_length=40, foreign_key="merchant.id")
    #: Counts up within the merchant, without gaps.
    number: int = Field(primary_key=True)
    kind: LayerKind = Field(sa_type=text_enum(LayerKind))
    object_id: str = Field(max_length=64)
    #: Settings by profile.
    document: dict[str, Any] = Field(sa_type=Json)
    note: str = Field(default="", max_length=500)
    created_by: str = Field(default="", max_length=200)
    created_at: datetime = Field(sa_type=UtcDateTime)


class DeviceConfigVersion(SQLModel, table=True):
    """A configuration that a device was to have, for ever as it was."""

    __tablename__ = "device_config_version"

    device_id: str = Field(primary_key=True, max_length=64, foreign_key="device.id")
    version: int = Field(primary_key=True)
    merchant_id: str = Field(max_length=40, index=True)
    revision: int
    hash: str = Field(max_length=64)
    document: dict[str, Any] = Field(sa_type=Json)
    #: Which layer each setting is from, by reader and name.
    provenance: dict[str, Any] = Field(sa_type=Json)
    #: From what each sealed text was made: one that did not change is not sealed anew.
    sealed: dict[str, Any] = Field(sa_type=Json)
    created_by: str = Field(default="", max_length=200)
    created_at: datetime = Field(sa_type=UtcDateTime)


REVISIONS: Final = table_of(ConfigRevision)
VERSIONS: Final = table_of(DeviceConfigVersion)
READER_SETTINGS: Final = table_of(ReaderSettings)
