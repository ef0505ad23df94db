"""Tables of releases and of updates that were ordered."""

from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import BigInteger, Index, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from control_plane.db.columns import UtcDateTime, table_of, text_enum

_MERCHANT = "merchant.id"


class ReleaseState(StrEnum):
    """What a release is good for."""

    UPLOADING = "uploading"
    """Its file is not here as a whole."""
    READY = "ready"
    WITHDRAWN = "withdrawn"


class FirmwareRelease(SQLModel, table=True):
    """One file of one version for readers of one profile, signed when it is complete."""

    __tablename__ = "firmware_release"
    __table_args__ = (UniqueConstraint("merchant_id", "profile", "component", "version", "number"),)

    #: ``frl_…``
    id: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(foreign_key=_MERCHANT, index=True, max_length=40)
    profile: str = Field(max_length=100)
    component: str = Field(default="", max_length=60)
    version: str = Field(max_length=200)
    channel: str = Field(default="stable", max_length=40)
    #: The oldest version from which it may be installed; empty: any.
    min_current: str = Field(default="", max_length=200)
    #: The reader's own name for the file.
    number: int
    size: int = Field(sa_type=BigInteger)
    sha256: str = Field(max_length=64)
    is_vendor_signed: bool = False
    notes: str = Field(default="", max_length=2000)
    state: ReleaseState = Field(sa_type=text_enum(ReleaseState))
    signature: str = Field(default="", max_length=200)
    certificate: str = Field(default="", sa_type=Text)
    created_by: str = Field(default="", max_length=64)
    created_at: datetime = Field(sa_type=UtcDateTime)


class FirmwareUpdate(SQLModel, table=True):
    """One update of one reader, as its device last told. Without a release the reader fetches its own."""

    __tablename__ = "firmware_update"
    __table_args__ = (
        Index(
            "uq_firmware_update_open",
            "reader_id",
            unique=True,
            postgresql_where=text("finished_at IS NULL"),
            sqlite_where=text("finished_at IS NULL"),
        ),
        Index("ix_firmware_update_reader", "reader_id", "created_at"),
    )

    #: ``job_…``; the device knows it by this id.
    id: str = Field(primary_key=True, max_length=40)
    merchant_id: str = Field(foreign_key=_MERCHANT, index=True, max_length=40)
    location_id: str = Field(max_length=40, index=True)
    device_id: str = Field(max_length=64, index=True)
    reader_id: str = Field(max_length=64)
    release_id: str | None = Field(
        default=None, foreign_key="firmware_release.id", index=True, max_length=40
    )
    command_id: str = Field(default="", max_length=40)
    version: str = Field(default="", max_length=200)
    version_before: str = Field(default="", max_length=200)
    #: ``ordered``, then the states of the device's own job.
    state: str = Field(default="ordered", max_length=40)
    percent: int | None = None
    text: str = Field(default="", max_length=2000)
    ordered_by: str = Field(default="", max_length=64)
    created_at: datetime = Field(sa_type=UtcDateTime)
    changed_at: datetime = Field(sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


RELEASES: Final = table_of(FirmwareRelease)
UPDATES: Final = table_of(FirmwareUpdate)
