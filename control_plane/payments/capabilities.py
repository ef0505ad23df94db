"""What the model of a reader can do, as far as it matters before a command is sent there."""

from __future__ import annotations

from functools import cache

from control_plane.payments.errors import ReaderCannot
from control_plane.payments.queries import ReaderForPayment
from firmware_profiles import ProfileError, load_profile


def require(reader: ReaderForPayment, capability: str) -> None:
    """Raises ReaderCannot when the reader's profile says so; an unknown model is judged by its device."""
    if not _can(reader.profile, capability):
        raise ReaderCannot(reader=reader.name, reader_id=reader.id, capability=capability)


@cache
def _can(profile_id: str, capability: str) -> bool:
    try:
        return load_profile(profile_id).can(capability)
    except ProfileError:
        return True
