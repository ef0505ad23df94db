"""One thing that was seen, whoever saw it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from firmware_profiles.matching import BleSeen, UsbSeen, score

if TYPE_CHECKING:
    from collections.abc import Iterable

    from firmware_profiles import ReaderProfile


@dataclass(frozen=True, slots=True)
class Sighting:
    """A device as it can be seen without talking to it.

    `place`: where it is, such as `usb 1-1.2`; two devices are never in one place. `address`: how a transport opens it;
    empty when no transport can. `port`: the device file of a USB-serial bridge.
    """

    place: str
    address: str
    seen: UsbSeen | BleSeen
    port: str = ""

    def words(self) -> str:
        """What was seen, for people: `0801:2020 MagTek DynaFlex II, number B5A0001, at usb 1-1.2`."""
        seen = self.seen
        if isinstance(seen, BleSeen):
            return f"{seen.name or 'a radio device without a name'}, at {self.place}"
        texts = filter(None, [f"{seen.vid:04x}:{seen.pid:04x}", seen.manufacturer, seen.product])
        number = f", number {seen.serial}" if seen.serial else ""
        return f"{' '.join(texts)}{number}, at {self.place}"

    def is_same_unit(self, other: Sighting) -> bool:
        """It looks exactly like the other one, wherever it is now."""
        return self.seen == other.seen


@dataclass(frozen=True, slots=True)
class Gone:
    """Nothing is in this place any more."""

    place: str


def ranked(
    profiles: Iterable[ReaderProfile], sighting: Sighting
) -> list[tuple[float, ReaderProfile]]:
    """The profiles that may fit with their points, best first; equal points in the order of their ids."""
    found = [(score(profile, sighting.seen), profile) for profile in profiles]
    return sorted((one for one in found if one[0] > 0), key=lambda one: (-one[0], one[1].id))


def loader_of(profiles: Iterable[ReaderProfile], sighting: Sighting) -> ReaderProfile | None:
    """The profile whose reader has these numbers while it takes new firmware; several share them: the first id."""
    if not isinstance(sighting.seen, UsbSeen):
        return None
    numbers = (sighting.seen.vid, sighting.seen.pid)
    found = [
        profile
        for profile in profiles
        if profile.bootloader is not None
        and any((one.vid, one.pid) == numbers for one in profile.bootloader.usb)
    ]
    return min(found, key=lambda profile: profile.id, default=None)


def may_be_reader(profiles: Iterable[ReaderProfile], sighting: Sighting) -> bool:
    """Whether it comes from a maker of readers, so that people want to know of it even if no profile fits."""
    seen = sighting.seen
    return isinstance(seen, UsbSeen) and any(
        rule.vid == seen.vid for profile in profiles for rule in profile.match.usb if rule.enabled
    )
