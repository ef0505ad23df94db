"""Which releases to install, in which order, or why not. Pure: it asks nobody.

A plan is refused with every reason that there is, each with a stable code and a sentence for people. A version that
cannot be read, or that no list knows, is never taken for an old one: a person must approve.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from firmware_profiles import versions
from firmware_profiles.versions import Order

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from firmware_profiles.profile import Firmware, ReaderProfile

#: Who updates the reader: the agent hands files over, the reader fetches them, or somebody else does it.
PUSHES: Final = frozenset({"zvt_0814_push", "mms_d801", "vendor_tool"})
PULLS: Final = frozenset({"zvt_0810_pull"})


class Approval(StrEnum):
    """What a person may approve."""

    UNKNOWN_VERSION = "unknown_version"
    DOWNGRADE = "downgrade"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One version of one component that may be installed. `position` is its place in the list of releases, newest last.

    `min_current` is the oldest version from which it may be installed. `variant` names the groups of the version that
    its own text does not hold, such as `{"lang": "GER"}`.
    """

    version: str
    position: int
    component: str = ""
    channel: str = "stable"
    min_current: str = ""
    variant: Mapping[str, str] = field(default_factory=dict)
    size: int = 0
    sha256: str = ""
    is_vendor_signed: bool = False
    is_withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class UpdateStep:
    """One installation. Without a release the reader fetches what its own host has for it."""

    method: str
    release: Release | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not: a stable code, and a sentence that says what to do."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class UpdatePlan:
    """Steps in their order, or refusals, or neither when what is wanted is installed."""

    installed: str
    steps: tuple[UpdateStep, ...] = ()
    refusals: tuple[Refusal, ...] = ()

    @property
    def is_current(self) -> bool:
        """Nothing is to do."""
        return not self.steps and not self.refusals


def plan(
    profile: ReaderProfile,
    installed: str | None,
    releases: Sequence[Release] = (),
    *,
    channel: str = "stable",
    target: str | None = None,
    component: str = "",
    approvals: Collection[str] = (),
) -> UpdatePlan:
    """How to get one component of a reader to `target`, else to the newest release of the channel.

    `installed`: as the reader told it, `None` or empty when it did not. A reader on `pilot` may have what is `stable`.
    """
    planning = _Planning(profile, versions.tidy(installed or ""), channel, component, approvals)
    return planning.plan(releases, target)


class _Planning:
    def __init__(
        self,
        profile: ReaderProfile,
        installed: str,
        channel: str,
        component: str,
        approvals: Collection[str],
    ) -> None:
        self.profile = profile
        self.model = f"{profile.profile.vendor} {profile.profile.model}"
        self.installed = installed
        self.channel = channel
        self.component = component
        self.approvals = approvals

    def plan(self, releases: Sequence[Release], target: str | None) -> UpdatePlan:
        firmware, method = self.profile.firmware, self._method()
        if firmware is None or method is None:
            return self._refused(self._no_method())
        if method in PULLS:
            return UpdatePlan(self.installed, (UpdateStep(method),))
        self.firmware: Firmware = firmware
        if firmware.channels and self.channel not in firmware.channels:
            return self._refused(
                Refusal(
                    "channel_not_offered",
                    f"{self.model} gets no updates from the channel {self.channel}; "
                    f"it may have {' or '.join(firmware.channels)}.",
                )
            )
        known = [one for one in releases if one.component in ("", self.component or one.component)]
        self.known = sorted(known, key=lambda one: one.position)
        wanted = self._wanted(target)
        if isinstance(wanted, Refusal):
            return self._refused(wanted)
        order = self._order(self.installed, wanted.version)
        if order is Order.SAME and not self._is_foreign(wanted):
            return UpdatePlan(self.installed)
        if order is Order.NEWER and target is None:
            return UpdatePlan(self.installed)  # nobody asked to go back
        if refusals := [*self._unfit(wanted), *self._unsafe(wanted)]:
            return self._refused(*refusals)
        path = self._path(wanted)
        if path is None:
            return self._refused(self._no_path(wanted))
        return UpdatePlan(self.installed, tuple(UpdateStep(method, one) for one in path))

    def _refused(self, *refusals: Refusal) -> UpdatePlan:
        return UpdatePlan(self.installed, refusals=refusals)

    def _method(self) -> str | None:
        firmware = self.profile.firmware
        if firmware is None or not self.profile.can("firmware_update"):
            return None
        return firmware.method if firmware.method in PUSHES | PULLS else None

    def _no_method(self) -> Refusal:
        firmware = self.profile.firmware
        if firmware is not None and firmware.method == "host_driven":
            return Refusal(
                "updated_by_host",
                f"{self.model} is updated by its payment host. Ask the provider of the terminal for a new version.",
            )
        if firmware is not None and firmware.method == "vendor_tool":
            return Refusal(
                "updated_by_vendor_tool",
                f"{self.model} is updated with its maker's own program, at the reader.",
            )
        if self.profile.profile.kind == "cloud_reader":
            return Refusal(
                "updated_by_cloud",
                f"{self.model} updates itself from its maker's cloud, outside opening hours when that is set there.",
            )
        return Refusal(
            "update_not_offered", f"No way to update {self.model} is known here. Ask its maker."
        )

    # --- what is wanted ---

    def _wanted(self, target: str | None) -> Release | Refusal:
        if target is not None:
            named = [one for one in self.known if _same_text(one.version, target)]
            mine = [one for one in named if not self._is_foreign(one)] or named
            if not mine:
                return Refusal("release_unknown", f"There is no release {target} for {self.model}.")
            return mine[-1]
        offered = [
            one
            for one in self.known
            if self._is_offered(one) and not self._is_foreign(one) and not self._is_forbidden(one)
        ]
        if not offered:
            return Refusal(
                "no_release",
                f"There is no release for {self.model} with {self.installed or 'an unknown version'} "
                f"in the channel {self.channel}.",
            )
        return offered[-1]

    def _is_offered(self, release: Release) -> bool:
        return not release.is_withdrawn and (
            release.channel == self.channel
            or (self.channel, release.channel) == ("pilot", "stable")
        )

    def _is_forbidden(self, release: Release) -> bool:
        least = self.firmware.min_allowed
        return bool(least) and self._order(release.version, least) not in (Order.SAME, Order.NEWER)

    def _is_foreign(self, release: Release) -> bool:
        return versions.is_readable(self.firmware, self.installed) and bool(
            versions.foreign_groups(self.firmware, self.installed, self._variant(release))
        )

    def _variant(self, release: Release) -> dict[str, str]:
        return {**(versions.groups(self.firmware, release.version) or {}), **release.variant}

    # --- whether it may be installed ---

    def _unfit(self, release: Release) -> Iterable[Refusal]:
        """What is wrong with the release itself; no approval helps."""
        version, file = release.version, self.firmware.file
        if release.is_withdrawn:
            yield Refusal("withdrawn", f"{version} was withdrawn. Choose another release.")
        elif not self._is_offered(release):
            yield Refusal(
                "other_channel",
                f"{version} is in the channel {release.channel}, this reader is on {self.channel}.",
            )
        if self._is_forbidden(release):
            yield Refusal(
                "below_min_allowed",
                f"{version} is not known to be {self.firmware.min_allowed} or newer, the oldest for {self.model}.",
            )
        if missing := [
            name for name in self.firmware.group_must_match if name not in self._variant(release)
        ]:
            yield Refusal(
                "variant_unknown",
                f"The release {version} does not say which {' and '.join(missing)} it is for. Add it to the release.",
            )
        if file is None:
            return
        if release.size > file.max_bytes:
            yield Refusal(
                "too_large",
                f"The file of {version} has {release.size} bytes; {self.model} takes {file.max_bytes} at most.",
            )
        if file.sha256_required and not release.sha256:
            yield Refusal(
                "hash_missing", f"The release {version} names no SHA-256. Upload its file again."
            )
        if file.vendor_signed and not release.is_vendor_signed:
            yield Refusal(
                "not_vendor_signed",
                f"The file of {version} is not signed by {self.profile.profile.vendor}; the reader would refuse it.",
            )

    def _unsafe(self, release: Release) -> Iterable[Refusal]:
        """What is wrong with this release on this reader."""
        version = release.version
        order = self._order(self.installed, version)
        if order in (Order.UNKNOWN, Order.DIFFERENT):
            if Approval.UNKNOWN_VERSION not in self.approvals:
                told = (
                    f"tells {self.installed!r}" if self.installed else "does not tell its version"
                )
                yield Refusal(
                    "unknown_version",
                    f"The reader {told}, which cannot be compared with {version}. "
                    "Look at the reader, then approve the update by hand.",
                )
            if not versions.is_readable(self.firmware, self.installed):
                return
        if foreign := versions.foreign_groups(
            self.firmware, self.installed, self._variant(release)
        ):
            yield Refusal(
                "other_variant",
                f"{version} is for another {' and '.join(foreign)} than {self.installed}. Choose its own variant.",
            )
        if order is Order.NEWER and self.firmware.downgrade == "deny":
            yield Refusal(
                "downgrade_denied",
                f"{self.installed} is newer than {version}, and {self.model} is not set back.",
            )
        elif (
            order is Order.NEWER
            and self.firmware.downgrade == "allow_with_approval"
            and Approval.DOWNGRADE not in self.approvals
        ):
            yield Refusal(
                "downgrade_needs_approval",
                f"{self.installed} is newer than {version}. Somebody must approve going back.",
            )

    # --- the way there ---

    def _order(self, one: str, other: str) -> Order:
        """By the rule of the profile; where that knows no order, by the list of releases."""
        order = versions.compare(self.firmware, one, other)
        if order is not Order.DIFFERENT:
            return order
        mine, theirs = self._position(one), self._position(other)
        if mine is None or theirs is None or mine == theirs:
            return Order.DIFFERENT
        return Order.OLDER if mine < theirs else Order.NEWER

    def _position(self, text: str) -> int | None:
        places = [
            one.position
            for one in self.known
            if versions.compare(self.firmware, text, one.version) is Order.SAME
        ]
        return max(places, default=None)

    def _may_follow(self, version: str, release: Release) -> bool:
        return not release.min_current or self._order(version, release.min_current) in (
            Order.SAME,
            Order.NEWER,
        )

    def _path(self, wanted: Release) -> tuple[Release, ...] | None:
        """The fewest steps, each to a newer version that its `min_current` allows; of equally few the newest."""
        if self._order(self.installed, wanted.version) is not Order.OLDER:
            return (wanted,)  # approved by a person, or the rule allows it
        stones = [
            one
            for one in reversed(self.known)
            if one is not wanted and self._order(one.version, wanted.version) is Order.OLDER
            and not any(self._unfit(one)) and not self._is_foreign(one)
        ]  # fmt: skip
        ways: deque[tuple[str, tuple[Release, ...]]] = deque([(self.installed, ())])
        seen = {self.installed}
        while ways:
            version, way = ways.popleft()
            if self._may_follow(version, wanted):
                return (*way, wanted)
            for stone in stones:
                if (
                    stone.version not in seen
                    and self._order(version, stone.version) is Order.OLDER
                    and self._may_follow(version, stone)
                ):
                    seen.add(stone.version)
                    ways.append((stone.version, (*way, stone)))
        return None

    def _no_path(self, wanted: Release) -> Refusal:
        return Refusal(
            "no_path",
            f"{wanted.version} can be installed from {wanted.min_current} on, this reader has {self.installed}, "
            "and no release leads there. Add the releases between.",
        )


def _same_text(one: str, other: str) -> bool:
    return versions.tidy(one) == versions.tidy(other)
