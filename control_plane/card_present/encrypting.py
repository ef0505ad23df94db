"""Which readers give sealed cards away instead of asking a bank themselves."""

from __future__ import annotations

from functools import cache
from typing import Final

from firmware_profiles import ProfileError, load_profile

#: Protocols of such readers. Those whose makers' clouds ask the bank are not among them.
PROTOCOLS: Final = frozenset({"magtek_mms", "idtech_neo"})


@cache
def is_encrypting_reader(profile_id: str) -> bool:
    """Whether readers of this profile need a processor of ours; of an unknown model, no."""
    try:
        return load_profile(profile_id).protocol.name in PROTOCOLS
    except ProfileError:
        return False
