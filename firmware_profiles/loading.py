"""From files to profiles: the built-in ones, and above them an overlay. One bad file stops nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from firmware_profiles import overlay as overlays
from firmware_profiles.errors import (
    OverlayUntrusted,
    ProfileError,
    ProfileUnknown,
    ProfileUnreadable,
)
from firmware_profiles.profile import ReaderProfile, merge, parse, read_profile, value_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from firmware_profiles.overlay import Files

BUILT_IN: Final = Path(__file__).parent / "catalog"
#: A file of this name is no model: it holds what several have in common.
_ABSTRACT: Final = "-base"


class Catalogue:
    """The profiles of a folder, and of an overlay above it.

    An overlay's file replaces the built-in one of its name, and may inherit from built-in ones. `certificate_pem` is
    that of the control plane; `None` takes the overlay unsigned, as only a person on a command line may.
    """

    def __init__(
        self,
        folder: Path = BUILT_IN,
        *,
        overlay: Path | None = None,
        certificate_pem: bytes | None = None,
    ) -> None:
        self.faults: list[ProfileError] = []
        """What is wrong with the folders themselves."""
        self._clashes: dict[str, ProfileUnreadable] = {}
        self._files = self._by_name(overlays.read_folder(folder))
        self._overlaid: set[str] = set()
        if overlay is not None:
            try:
                above = (
                    overlays.read_folder(overlay)
                    if certificate_pem is None
                    else overlays.read_signed(overlay, certificate_pem)
                )
            except OverlayUntrusted as fault:
                self.faults.append(fault)
            else:
                named = self._by_name(above)
                self._overlaid = set(named)
                self._files |= named

    @property
    def names(self) -> list[str]:
        """The models that there are files for."""
        return sorted(name for name in self._files if not name.endswith(_ABSTRACT))

    def is_overlaid(self, profile_id: str) -> bool:
        """Whether it comes from the overlay."""
        return profile_id in self._overlaid

    def path(self, profile_id: str) -> Path:
        """The file of a model."""
        return self._files[profile_id][0]

    def load(self, profile_id: str) -> ReaderProfile:
        """One profile by its name. Raises ProfileUnknown or ProfileUnreadable."""
        return self.load_with_document(profile_id)[0]

    def load_with_document(self, profile_id: str) -> tuple[ReaderProfile, dict[str, Any]]:
        """As `load`, with the merged tables as they stand in the files."""
        if profile_id in self._clashes:
            raise self._clashes[profile_id]
        if profile_id not in self._files or profile_id.endswith(_ABSTRACT):
            raise ProfileUnknown(profile_id, self.names)
        path, _ = self._files[profile_id]
        chain = self._chain(profile_id)
        document: dict[str, Any] = {}
        for _, tables in reversed(chain):
            document = merge(document, tables)
        try:
            profile = read_profile(document, path.name)
        except ProfileUnreadable as fault:
            raise _where_it_stands(fault, chain) from fault
        if profile.id != profile_id:
            raise ProfileUnreadable(
                path.name, "profile.id", f"{profile.id!r} is not the name of the file"
            )
        return profile, document

    def load_all(self) -> tuple[dict[str, ReaderProfile], list[ProfileError]]:
        """Every profile that can be read, by name, and what is wrong with the others."""
        profiles: dict[str, ReaderProfile] = {}
        faults: list[ProfileError] = list(self.faults)
        for profile_id in self.names:
            try:
                profiles[profile_id] = self.load(profile_id)
            except ProfileUnreadable as fault:
                faults.append(fault)
        return profiles, faults

    def _by_name(self, files: Files) -> dict[str, tuple[Path, bytes]]:
        named: dict[str, tuple[Path, bytes]] = {}
        for path, content in files.items():
            if path.stem in named:
                other = named[path.stem][0].parent
                self._clashes[path.stem] = ProfileUnreadable(
                    path.name, "", f"two files of this name, the other in {other}"
                )
            named[path.stem] = (path, content)
        return named

    def _chain(self, profile_id: str) -> list[tuple[str, dict[str, Any]]]:
        """A file and those that it inherits from, the nearest first, each with its name and tables."""
        chain: list[tuple[str, dict[str, Any]]] = []
        seen: list[str] = []
        name: str | None = profile_id
        while name is not None:
            path, content = self._files[name]
            document = parse(content, path.name)
            chain.append((path.name, document))
            seen.append(name)
            about = document.get("profile")
            name = about.get("inherits") if isinstance(about, dict) else None
            if name is not None and (name not in self._files or name in seen):
                raise ProfileUnreadable(
                    path.name, "profile.inherits", f"{name!r} cannot be inherited from"
                )
        return chain


class _Chosen:
    """The catalogue of this process: the built-in one until `use_overlay` found another to be sound."""

    catalogue: Catalogue | None = None


def use_overlay(folder: Path, certificate_pem: bytes) -> list[ProfileError]:
    """From now on, `load_profile` and `load_all` of this process know what is in a signed folder too.

    All of it or nothing: when the signature is not of the holder of one of these certificates, or a file in it is no
    profile, the built-in ones are used alone, and what is wrong is returned (file and key are named). A folder that
    is not there, or is empty, is no overlay.
    """
    _Chosen.catalogue = None
    if not folder.is_dir() or not any(folder.iterdir()):
        return []
    both = Catalogue(overlay=folder, certificate_pem=certificate_pem)
    faults = both.load_all()[1]
    if not faults:
        _Chosen.catalogue = both
    return faults


def load_profile(profile_id: str, folder: Path = BUILT_IN) -> ReaderProfile:
    """One profile by its name. Raises ProfileUnknown or ProfileUnreadable."""
    return _of(folder).load(profile_id)


def load_all(folder: Path = BUILT_IN) -> tuple[dict[str, ReaderProfile], list[ProfileError]]:
    """Every profile that can be read, by name, and what is wrong with the others."""
    return _of(folder).load_all()


def _of(folder: Path) -> Catalogue:
    return (folder == BUILT_IN and _Chosen.catalogue) or Catalogue(folder)


def _where_it_stands(
    fault: ProfileUnreadable, chain: Sequence[tuple[str, Mapping[str, Any]]]
) -> ProfileUnreadable:
    """The same, naming the file that the key was inherited from."""
    key = str(fault.facts["key"])
    for file, tables in chain:
        if value_at(tables, key) is not None:
            return ProfileUnreadable(file, key, fault.why)
    return fault
