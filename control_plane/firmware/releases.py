"""Releases: announced, brought here piece by piece, signed when they are complete, given to devices."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import update

from control_plane.audit.actor import Actor
from control_plane.audit.service import record
from control_plane.audit.tags import AuditTag
from control_plane.db.scope import Scope
from control_plane.db.unit_of_work import Transaction, context_of
from control_plane.db.upsert import insert_new
from control_plane.devices.authority import Authority
from control_plane.firmware import queries
from control_plane.firmware.errors import FileAltered, PieceRefused, ReleaseKnown, ReleaseRefused
from control_plane.firmware.models import RELEASES, ReleaseState
from control_plane.firmware.queries import Found
from firmware_profiles import ProfileError, load_profile
from firmware_profiles.planner import PULLS, PUSHES
from protocols.cloud.commands import FirmwareRelease, ReleaseFile
from protocols.cloud.releases import signed_bytes
from protocols.ids import new_id

#: Of a file that a device may have in its answer at once.
LARGEST_PIECE: Final = 1024 * 1024


class Announcement(BaseModel):
    """A release whose file follows."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "profile": "feig-cvend-plug",
                    "component": "app",
                    "version": "GER-APP-v2.0.12",
                    "number": 32,
                    "size": 1048576,
                    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                    "is_vendor_signed": True,
                    "notes": "Mends the receipt of refunds.",
                }
            ]
        },
    )

    profile: str = Field(max_length=100)
    component: str = Field(default="", max_length=60)
    version: str = Field(min_length=1, max_length=200)
    channel: str = Field(default="stable", max_length=40)
    min_current: str = Field(default="", max_length=200)
    number: int = Field(default=0, ge=0, le=65_535, description="The reader's own name for it.")
    size: int = Field(gt=0, le=512 * 1024 * 1024)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    is_vendor_signed: bool = Field(default=False, description="Its maker signed the file itself.")
    notes: str = Field(default="", max_length=2000)


class Shelf:
    """The files, in a folder that all replicas share; each is named by its release."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def here(self, release_id: str) -> int:
        """How many bytes have come."""
        try:
            return self._path(release_id).stat().st_size
        except FileNotFoundError:
            return 0

    def add(self, release_id: str, offset: int, piece: bytes, size: int) -> int:
        """Keep a piece; how many bytes are here now. Raises PieceRefused when it is not the next."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._path(release_id).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            here = os.fstat(file.fileno()).st_size
            if offset != here or here + len(piece) > size:
                raise PieceRefused(here)
            file.write(piece)
            file.flush()
            os.fsync(file.fileno())
            return here + len(piece)

    def read(self, release_id: str, offset: int, length: int) -> bytes:
        """A piece of a complete file."""
        with self._path(release_id).open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def hash_of(self, release_id: str) -> str:
        """SHA-256 in hex; reads all of it."""
        with self._path(release_id).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def drop(self, release_id: str) -> None:
        """Begin anew."""
        with contextlib.suppress(FileNotFoundError):
            self._path(release_id).unlink()

    def _path(self, release_id: str) -> Path:
        return self._folder / release_id


def announce(db: Transaction, scope: Scope, wanted: Announcement, *, by: Actor) -> Found:
    """Make room for a release. Raises ReleaseRefused, ReleaseKnown."""
    if reason := next(_objections(wanted), ""):
        raise ReleaseRefused(reason=reason)
    release_id = new_id("frl")
    values = {
        **wanted.model_dump(),
        "id": release_id,
        "merchant_id": scope.merchant_id,
        "state": ReleaseState.UPLOADING,
        "signature": "",
        "certificate": "",
        "created_by": by.id,
        "created_at": context_of(db).clock.now(),
    }
    unique = ["merchant_id", "profile", "component", "version", "number"]
    if not insert_new(db, RELEASES, values, unique=unique):
        raise ReleaseKnown(version=wanted.version, profile=wanted.profile)
    record(
        db,
        scope.merchant_id,
        by,
        AuditTag.FIRMWARE_RELEASE_ADD,
        object_id=release_id,
        object_name=f"{wanted.profile} {wanted.version}",
        after={"sha256": wanted.sha256, "size": wanted.size},
    )
    return queries.release(db, scope, release_id)


def complete(db: Transaction, scope: Scope, release: Found, shelf: Shelf, ca: Authority) -> Found:
    """The file is here: check it, sign it, offer it. Raises FileAltered; then it must be uploaded anew."""
    if shelf.hash_of(release.id) != release.sha256:
        shelf.drop(release.id)
        raise FileAltered
    signed = ca.sign_once(signed_bytes(manifest(release)))
    db.execute(
        update(RELEASES)
        .where(RELEASES.c.id == release.id, RELEASES.c.state == ReleaseState.UPLOADING)
        .values(
            state=ReleaseState.READY,
            signature=signed.signature,
            certificate=signed.certificate_pem,
        )
    )
    return queries.release(db, scope, release.id)


def withdraw(db: Transaction, scope: Scope, release_id: str, *, by: Actor) -> Found:
    """Order it no more; updates that were ordered go on. Raises NotFound."""
    release = queries.release(db, scope, release_id, lock=True)
    db.execute(
        update(RELEASES).where(RELEASES.c.id == release_id).values(state=ReleaseState.WITHDRAWN)
    )
    record(
        db,
        scope.merchant_id,
        by,
        AuditTag.FIRMWARE_RELEASE_WITHDRAW,
        object_id=release_id,
        object_name=f"{release.profile} {release.version}",
    )
    return queries.release(db, scope, release_id)


def manifest(release: Found) -> FirmwareRelease:
    """What a device is told of a release."""
    return FirmwareRelease(
        release_id=release.id,
        profile=release.profile,
        component=release.component,
        version=release.version,
        files=[
            ReleaseFile(
                number=release.number,
                size=release.size,
                sha256=release.sha256,
                path=f"/v1/device/firmware/{release.id}/{release.number}",
            )
        ],
        signature=release.signature,
        certificate=release.certificate,
    )


def _objections(wanted: Announcement) -> Iterator[str]:
    try:
        profile = load_profile(wanted.profile)
    except ProfileError as unknown:
        yield unknown.message
        return
    firmware = profile.firmware
    if firmware is None or firmware.method not in PUSHES - PULLS:
        yield f"readers of the profile {profile.id} take no files from here."
        return
    if firmware.file is not None and wanted.size > firmware.file.max_bytes:
        yield f"{profile.id} takes {firmware.file.max_bytes} bytes at most."
    if firmware.channels and wanted.channel not in firmware.channels:
        yield f"{profile.id} has the channels {', '.join(firmware.channels)}."
