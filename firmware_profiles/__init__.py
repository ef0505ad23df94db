"""What each reader model is and can do, as data: one file per model under `catalog/<vendor>/`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from firmware_profiles.errors import ProfileError, ProfileUnknown, ProfileUnreadable
from firmware_profiles.profile import ReaderProfile, load_document, merge, read_profile

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BUILT_IN",
    "ProfileError",
    "ProfileUnknown",
    "ReaderProfile",
    "load_all",
    "load_profile",
]

BUILT_IN: Final = Path(__file__).parent / "catalog"
#: A file of this name is no model: it holds what several have in common.
_ABSTRACT: Final = "-base"


def load_profile(profile_id: str, folder: Path = BUILT_IN) -> ReaderProfile:
    """One profile by its name. Raises ProfileUnknown or ProfileUnreadable."""
    files = _files(folder)
    if profile_id not in files or profile_id.endswith(_ABSTRACT):
        raise ProfileUnknown(profile_id, _models(files))
    return _read(profile_id, files)


def load_all(folder: Path = BUILT_IN) -> tuple[dict[str, ReaderProfile], list[ProfileUnreadable]]:
    """Every profile that can be read, by name, and what is wrong with the others: one bad file stops nobody else."""
    profiles, faults = {}, []
    files = _files(folder)
    for profile_id in _models(files):
        try:
            profiles[profile_id] = _read(profile_id, files)
        except ProfileUnreadable as fault:
            faults.append(fault)
    return profiles, faults


def _files(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.toml")):
        if path.stem in files:
            raise ProfileUnreadable(
                path.name, "", f"two files of this name, the other in {files[path.stem].parent}"
            )
        files[path.stem] = path
    return files


def _models(files: Mapping[str, Path]) -> list[str]:
    return sorted(name for name in files if not name.endswith(_ABSTRACT))


def _read(profile_id: str, files: Mapping[str, Path]) -> ReaderProfile:
    path = files[profile_id]
    profile = read_profile(_document(path, files, ()), path.name)
    if profile.id != profile_id:
        raise ProfileUnreadable(
            path.name, "profile.id", f"{profile.id!r} is not the name of the file"
        )
    return profile


def _document(path: Path, files: Mapping[str, Path], children: tuple[str, ...]) -> dict[str, Any]:
    document = load_document(path)
    about = document.get("profile")
    parent = about.get("inherits") if isinstance(about, dict) else None
    if parent is None:
        return document
    if parent not in files or parent in (*children, path.stem):
        raise ProfileUnreadable(
            path.name, "profile.inherits", f"{parent!r} cannot be inherited from"
        )
    return merge(_document(files[parent], files, (*children, path.stem)), document)
