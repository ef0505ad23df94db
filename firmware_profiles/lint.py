"""What is wrong with profiles beyond their form: facts without a source, words that no code knows, rules that clash.

A `Finding` that is no note must be mended before the files ship. Notes list what nobody has verified yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from firmware_profiles import settings, versions
from firmware_profiles.errors import ProfileUnreadable, SettingRefused
from firmware_profiles.profile import CLOUD_PROTOCOLS, ReaderProfile, value_at
from protocols.errors import CommandNotPossible
from protocols.readers import registry
from protocols.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from firmware_profiles.loading import Catalogue

#: A terminal's machine wants a password; any will do for looking whether it understands the rest.
_ANY_PASSWORD: Final = "000000"  # noqa: S105 - the password of nothing
_WARN_AND_CRIT: Final = (
    ("temperature_c_warn", "temperature_c_crit", 1),
    ("battery_warn_pct", "battery_crit_pct", -1),
    ("error_rate_warn", "error_rate_crit", 1),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing: in which file, at which key, and what about it."""

    file: str
    key: str
    text: str
    is_note: bool = False

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.file, self.key, self.text)))


def lint(catalogue: Catalogue) -> list[Finding]:
    """Everything that is to be said of all files, file by file."""
    findings = [Finding("", "", str(fault)) for fault in catalogue.faults]
    profiles: dict[str, ReaderProfile] = {}
    for name in catalogue.names:
        try:
            profile, document = catalogue.load_with_document(name)
        except ProfileUnreadable as fault:
            findings.append(Finding(str(fault.facts["file"]), str(fault.facts["key"]), fault.why))
            continue
        profiles[name] = profile
        findings += lint_profile(profile, document)
    findings += _clashes(profiles)
    return findings


def lint_profile(profile: ReaderProfile, document: Mapping[str, Any]) -> list[Finding]:
    """What is to be said of one profile; `document` are its merged tables."""
    file = f"{profile.id}.toml"
    found: list[tuple[str, str]] = []
    for check in (_kind, _sources, _update, _versions, _quirks, _settings, _limits, _protocol):
        found += check(profile, document)
    notes = [(key, "no source is named: unverified") for key in unverified(profile)]
    return [Finding(file, key, text) for key, text in found] + [
        Finding(file, key, text, is_note=True) for key, text in notes
    ]


def unverified(profile: ReaderProfile) -> list[str]:
    """The facts that a device is recognised by, driven by and updated by, as far as they have no source."""
    protocol = profile.protocol
    lines = ("serial", "tcp", "usb_hid", "ble_gatt")
    facts = [
        *recognised_by(profile),
        *(f"protocol.{line}" for line in lines if getattr(protocol, line) is not None),
        *(["protocol.timeouts_ms"] if protocol.timeouts_ms else []),
        *(["bootloader"] if profile.bootloader and profile.bootloader.usb else []),
    ]
    if profile.firmware is not None and profile.can("firmware_update"):
        facts += ["firmware.method", "firmware.version_source"]
        facts += ["firmware.version_format"] if profile.firmware.version_format else []
    return [fact for fact in facts if not _has_source(profile, fact)]


def recognised_by(profile: ReaderProfile) -> list[str]:
    """The facts by which a device may be taken for this model."""
    match = profile.match
    return [
        *(f"match.usb[{index}].vid" for index, rule in enumerate(match.usb) if rule.enabled),
        *(
            f"match.ble[{index}].{'service' if rule.service else 'name'}"
            for index, rule in enumerate(match.ble)
            if rule.enabled
        ),
        *(f"match.serial[{index}].usb" for index, rule in enumerate(match.serial) if rule.enabled),
        *(f"match.tcp[{index}].port" for index, rule in enumerate(match.tcp) if rule.enabled),
        *(f"match.cloud[{index}].device_type" for index in range(len(match.cloud))),
    ]


def _has_source(profile: ReaderProfile, fact: str) -> bool:
    """A table counts as verified when it is, or when facts in it are."""
    return profile.is_verified(fact) or any(
        known.startswith((f"{fact}.", f"{fact}[")) for known in profile.profile.verified
    )


def _kind(profile: ReaderProfile, _: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    is_cloud = profile.profile.kind == "cloud_reader"
    if is_cloud != (profile.protocol.name in CLOUD_PROTOCOLS):
        yield "protocol.name", f"{profile.protocol.name!r} does not go with {profile.profile.kind}"
    if is_cloud and profile.framings:
        yield "protocol", "a reader that its maker's cloud drives has no line of ours"
    if is_cloud and not profile.match.cloud:
        yield "match.cloud", "without its name in the cloud nobody finds it"
    if not is_cloud and profile.match.cloud:
        yield "match.cloud", "only a cloud_reader is known to a cloud"
    if not is_cloud and not profile.framings:
        yield "protocol", "it names no line: add [protocol.serial], tcp, usb_hid or ble_gatt"
    if profile.profile.kind == "card_reader" and not profile.redaction.forbid_clear_data:
        yield "redaction.forbid_clear_data", "must be true: a card reader gives sealed data only"


def _sources(profile: ReaderProfile, document: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for fact in profile.profile.verified:
        if value_at(document, fact) is None:
            yield f"profile.verified.{fact}", "names nothing that stands in this profile"
    for fact in recognised_by(profile):
        if not profile.is_verified(fact):
            yield (
                fact,
                "what a device is recognised by needs a source in profile.verified, or enabled = false",
            )


def _update(profile: ReaderProfile, _: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    firmware = profile.firmware
    is_generic = profile.id.startswith("generic-")
    if is_generic and profile.can("firmware_update"):
        yield (
            "capabilities.firmware_update",
            "must be false: nobody knows what stands behind a generic profile",
        )
    if is_generic and firmware is not None and firmware.compare != "opaque":
        yield "firmware.compare", "must be opaque: nobody knows what a generic reader writes"
    if not profile.can("firmware_update"):
        return
    if firmware is None or firmware.method is None:
        yield "firmware.method", "is missing, and capabilities.firmware_update is true"
        return
    if "stable" not in firmware.channels:
        return
    needed = [*recognised_by(profile), "firmware.method"]
    needed += ["bootloader"] if profile.bootloader and profile.bootloader.usb else []
    for fact in needed:
        if not profile.is_verified(fact):
            yield fact, "needs a source before updates may come from the channel stable"


def _versions(profile: ReaderProfile, _: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    firmware = profile.firmware
    if firmware is None:
        return
    named = set(versions.group_names(firmware))
    if firmware.compare.startswith("numeric:"):
        for name in firmware.compare.removeprefix("numeric:").split(","):
            if name not in named:
                yield "firmware.compare", f"version_format has no group {name!r}"
    for name in firmware.group_must_match:
        if name not in named:
            yield "firmware.group_must_match", f"version_format has no group {name!r}"
    least = firmware.min_allowed
    if least and versions.compare(firmware, least, least) is versions.Order.UNKNOWN:
        yield "firmware.min_allowed", f"{least!r} cannot be compared by {firmware.compare}"


def _quirks(profile: ReaderProfile, _: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    known = actions(profile.protocol.name)
    ids = [quirk.id for quirk in profile.quirks]
    for index, quirk in enumerate(profile.quirks):
        key = f"quirks[{index}]"
        if ids.count(quirk.id) > 1:
            yield f"{key}.id", f"{quirk.id!r} is there twice"
        if quirk.action.partition(":")[0] not in known:
            yield (
                f"{key}.action",
                f"{quirk.action!r} is none that {profile.protocol.name} knows: {_list(known)}",
            )
        if not versions.is_rule(quirk.applies):
            yield (
                f"{key}.applies",
                f"{quirk.applies!r} is neither *, nor a range such as >=2.0,<2.1, nor version_missing:NAME",
            )


def actions(protocol: str) -> Collection[str]:
    """The quirk actions that a protocol knows: `QUIRKS` of its machine. None for a protocol that there is not."""
    if protocol not in registry.names():
        return ()
    known: Collection[str] = getattr(
        import_module(f"protocols.readers.{protocol}.machine"), "QUIRKS", ()
    )
    return known


def _settings(profile: ReaderProfile, _: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, setting in profile.settings.items():
        key = f"settings.{name}"
        if setting.min is not None and setting.max is not None and setting.min > setting.max:
            yield f"{key}.min", "is above max"
        if setting.type == "enum" and not setting.values:
            yield f"{key}.values", "is missing"
        if setting.default is not None:
            try:
                settings.check_value(name, setting, setting.default)
            except SettingRefused as refused:
                yield f"{key}.default", refused.fix
        if setting.sets is not None and not _is_there(profile, setting.sets):
            yield f"{key}.sets", f"[protocol] has no {setting.sets}"
        if setting.scope == "device" and setting.enabled:
            if setting.write is None:
                yield f"{key}.write", "is missing: how is it written into the device?"
            elif not profile.is_verified(f"{key}.write"):
                yield f"{key}.write", "needs a source in profile.verified, or enabled = false"


def _is_there(profile: ReaderProfile, target: str) -> bool:
    protocol = profile.protocol
    table, _, name = target.rpartition(".")
    return name in (protocol.timeouts_ms if table == "timeouts_ms" else protocol.options)


def _limits(profile: ReaderProfile, _: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    health = profile.health
    for warn, crit, direction in _WARN_AND_CRIT:
        low, high = getattr(health, warn), getattr(health, crit)
        if low is not None and high is not None and (high - low) * direction <= 0:
            yield f"health.{crit}", f"is reached before {warn}"
    if health.silent_max_s <= health.heartbeat_s:
        yield (
            "health.silent_max_s",
            "is not longer than heartbeat_s: every reader would count as silent",
        )
    if profile.protocol.retries.get("money_command", 0):
        yield "protocol.retries.money_command", "must be 0: a money command is never sent again"


def _protocol(profile: ReaderProfile, _: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    name = profile.protocol.name
    if name in CLOUD_PROTOCOLS:
        return
    if name not in registry.names():
        yield "protocol.name", f"{name!r} is no protocol; there are {', '.join(registry.names())}"
        return
    given = {**profile.machine_settings(), "currency": "EUR"}
    if "password" in profile.settings:
        given["password"] = Secret(_ANY_PASSWORD)
    for framing in profile.framings:
        try:
            registry.host_machine(name, framing, given)
        except CommandNotPossible as refused:
            yield "protocol", str(refused)
        except (TypeError, ValueError) as wrong:
            yield "protocol", f"an option has a value of another kind: {wrong}"


def _clashes(profiles: Mapping[str, ReaderProfile]) -> Iterable[Finding]:
    seen: dict[object, str] = {}
    for name, profile in profiles.items():
        rules: list[tuple[str, object]] = [
            (f"match.cloud[{index}]", rule.device_type)
            for index, rule in enumerate(profile.match.cloud)
        ]
        if profile.match.confirm is None:
            rules += [
                (f"match.usb[{index}]", (rule.vid, rule.pid, rule.product, rule.manufacturer))
                for index, rule in enumerate(profile.match.usb)
                if rule.enabled
            ]
        for key, rule in rules:
            if rule in seen:
                yield Finding(f"{name}.toml", key, f"is the same as in {seen[rule]}.toml")
            seen[rule] = name


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
