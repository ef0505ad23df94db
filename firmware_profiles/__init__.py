"""What each reader model is and can do, as data: one file per model under `catalog/<vendor>/`."""

from __future__ import annotations

from firmware_profiles.errors import ProfileError, ProfileUnknown
from firmware_profiles.loading import BUILT_IN, Catalogue, load_all, load_profile, use_overlay
from firmware_profiles.profile import ReaderProfile

__all__ = [
    "BUILT_IN",
    "Catalogue",
    "ProfileError",
    "ProfileUnknown",
    "ReaderProfile",
    "load_all",
    "load_profile",
    "use_overlay",
]
