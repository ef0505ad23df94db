"""What the lint finds: each rule on a profile that breaks only that rule, and nothing on one that breaks none."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from firmware_profiles import Catalogue
from firmware_profiles.lint import lint, lint_profile, unverified
from firmware_profiles.profile import read_profile

GOOD: dict[str, Any] = {  # the tables of a file
    "schema": 1,
    "profile": {
        "id": "one", "revision": 1, "vendor": "Any", "model": "One", "kind": "payment_terminal", "family": "zvt",
        "verified": {
            "match.usb[0]": "its label", "bootloader": "its label", "firmware.method": "its manual",
            "protocol.tcp": "its manual", "settings.beep.write": "its manual",
        },
    },
    "match": {"usb": [{"vid": 1, "pid": 2}]},
    "bootloader": {"usb": [{"vid": 1, "pid": 3}]},
    "protocol": {"name": "zvt", "framing": "tcp", "config_byte": 0xBE, "tcp": {"port": 1}, "timeouts_ms": {"t4": 5}},
    "capabilities": {"firmware_update": True},
    "settings": {
        "password": {"type": "digits", "length": 6, "scope": "agent", "secret": True},
        "wait_s": {"type": "int", "min": 1, "max": 9, "default": 5, "scope": "agent", "sets": "timeouts_ms.t4"},
        "beep": {"type": "bool", "scope": "device", "write": {"method": "x"}},
    },
    "firmware": {
        "channels": ["stable"], "version_source": "x", "version_format": r"(?P<lang>[A-Z]+)(?P<n>\d+)",
        "compare": "numeric:n", "group_must_match": ["lang"], "min_allowed": "2", "method": "zvt_0814_push",
    },
    "quirks": [{"id": "a", "action": "decode_by_request", "applies": ">=2,<3"}],
    "health": {"heartbeat_s": 60, "silent_max_s": 61, "error_rate_warn": 0.1, "error_rate_crit": 0.2},
}  # fmt: skip


def found(document: dict[str, Any]) -> list[str]:
    """The keys that must be mended."""
    profile = read_profile(document, "one.toml")
    return [one.key for one in lint_profile(profile, document) if not one.is_note]


def changed(path: str, value: object) -> dict[str, Any]:
    document = copy.deepcopy(GOOD)
    *tables, key = path.split("/")
    table: Any = document
    for name in tables:
        table = table[int(name) if isinstance(table, list) else name]
    if value is None:
        del table[key]
    else:
        table[key] = value
    return document


def test_a_good_profile_has_nothing_to_mend() -> None:
    assert found(GOOD) == []


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        ("profile/verified/match.usb[0]", None, "match.usb[0].vid"),
        ("profile/verified/bootloader", None, "bootloader"),
        ("profile/verified/firmware.method", None, "firmware.method"),
        ("profile/verified/settings.beep.write", None, "settings.beep.write"),
        ("profile/verified/match.usb[7]", "a guess", "profile.verified.match.usb[7]"),
        ("profile/kind", "card_reader", "redaction.forbid_clear_data"),
        ("protocol/name", "zvtt", "protocol.name"),
        ("protocol/config_bite", 1, "protocol"),
        ("protocol/retries", {"money_command": 1}, "protocol.retries.money_command"),
        ("firmware/method", None, "firmware.method"),
        ("firmware/compare", "numeric:n,m", "firmware.compare"),
        ("firmware/group_must_match", ["language"], "firmware.group_must_match"),
        ("firmware/min_allowed", "two", "firmware.min_allowed"),
        ("quirks/0/action", "jump", "quirks[0].action"),
        ("quirks/0/applies", "2.x", "quirks[0].applies"),
        ("settings/wait_s/default", 10, "settings.wait_s.default"),
        ("settings/wait_s/min", 10, "settings.wait_s.min"),
        ("settings/wait_s/sets", "timeouts_ms.t9", "settings.wait_s.sets"),
        ("settings/beep/write", None, "settings.beep.write"),
        ("settings/mode", {"type": "enum", "scope": "agent"}, "settings.mode.values"),
        ("health/error_rate_crit", 0.1, "health.error_rate_crit"),
        ("health/silent_max_s", 60, "health.silent_max_s"),
        ("match/cloud", [{"device_type": "x"}], "match.cloud"),
    ],
)
def test_each_rule_names_the_key_that_breaks_it(path: str, value: object, key: str) -> None:
    keys = found(changed(path, value))

    assert key in keys


def test_a_source_is_demanded_only_before_updates_are_for_everybody() -> None:
    document = changed("firmware/channels", ["pilot"])
    del document["profile"]["verified"]["firmware.method"]
    del document["profile"]["verified"]["bootloader"]

    assert found(document) == []
    assert set(unverified(read_profile(document, "one.toml"))) >= {"bootloader", "firmware.method"}


def test_a_generic_profile_updates_nothing() -> None:
    document = copy.deepcopy(GOOD)
    document["profile"]["id"] = "generic-one"

    assert {"capabilities.firmware_update", "firmware.compare"} <= set(found(document))


def test_two_models_of_one_cloud_name_are_a_clash(tmp_path: Path) -> None:
    for name in ("first", "second"):
        tmp_path.joinpath(f"{name}.toml").write_text(
            f'schema = 1\n[profile]\nid = "{name}"\nrevision = 1\nvendor = "Any"\nmodel = "Any"\n'
            'kind = "cloud_reader"\nfamily = "any"\n[profile.verified]\n"match.cloud[0]" = "its site"\n'
            '[protocol]\nname = "stripe_terminal"\n[[match.cloud]]\ndevice_type = "same"\n'
        )

    findings = [str(one) for one in lint(Catalogue(tmp_path)) if not one.is_note]

    assert findings == ["second.toml: match.cloud[0]: is the same as in first.toml"]


def test_the_catalogue_itself_has_nothing_to_mend() -> None:
    assert [str(one) for one in lint(Catalogue()) if not one.is_note] == []
