"""Layers of settings, and what comes out of them for one reader. Pure.

From the general to the particular: the organisation, the location, the groups of the box by their rank, the box, and
the reader itself. In one layer, what is said for a model stands above what is said for every model. The more particular
layer wins, setting by setting.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

from firmware_profiles import ReaderProfile
from firmware_profiles import settings as schema
from firmware_profiles.errors import SettingRefused
from firmware_profiles.settings import Value

#: Stands for every model in a layer.
EVERY_MODEL: Final = "*"

Document = Mapping[str, Mapping[str, Any]]
"""Settings by the id of a profile, or ``EVERY_MODEL``."""


class LayerKind(StrEnum):
    """What a layer belongs to."""

    ORGANISATION = "organisation"
    LOCATION = "location"
    GROUP = "group"
    DEVICE = "device"
    READER = "reader"


class Layer(NamedTuple):
    """A layer as it stands at some revision."""

    kind: LayerKind
    object_id: str
    document: Document

    @property
    def origin(self) -> str:
        """How a leaf names it."""
        return f"{self.kind.value}:{self.object_id}"


@dataclass(frozen=True, slots=True)
class Effective:
    """What holds for one reader: each value, and the layer that it is from."""

    values: Mapping[str, Value]
    origins: Mapping[str, str]
    #: What an inherited layer asks for and this model does not take; the next more general value holds.
    cannot: tuple[tuple[str, SettingRefused], ...] = ()


def effective(profile: ReaderProfile, layers: Iterable[Layer]) -> Effective:
    """Settings of a reader of this model. ``layers`` go from the general to the particular."""
    offered = schema.offered(profile)
    values: dict[str, Value] = {}
    origins: dict[str, str] = {}
    cannot: list[tuple[str, SettingRefused]] = []
    for layer in layers:
        for name, value in _for_model(profile.id, layer.document).items():
            setting = offered.get(name)
            if setting is None or setting.secret:
                # An older or newer catalogue than the one that it was checked with; for every model it is no trouble.
                if name in layer.document.get(profile.id, {}):
                    refused = SettingRefused(
                        name, "known", model=profile.profile.model, names=", ".join(offered)
                    )
                    cannot.append((name, refused))
                continue
            try:
                values[name] = schema.check_value(name, setting, value)
            except SettingRefused as refused:
                cannot.append((name, refused))
                continue
            origins[name] = layer.origin
    return Effective(values, origins, tuple(cannot))


class Change(NamedTuple):
    """One leaf of two documents; None where it is not there."""

    path: str
    before: object
    after: object


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Leaves that differ, by their paths, such as ``rd_1/settings/language``."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    return [
        Change(path, old.get(path), new.get(path))
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
    ]


def _leaves(document: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, object]]:
    for name, value in document.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{name}/")
        else:
            yield f"{above}{name}", value


def _for_model(profile_id: str, document: Document) -> dict[str, Any]:
    return {**document.get(EVERY_MODEL, {}), **document.get(profile_id, {})}
