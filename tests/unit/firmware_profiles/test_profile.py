"""Profiles are read strictly, merge with what they inherit, and one bad file stops nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from firmware_profiles import ProfileUnknown, load_all, load_profile
from firmware_profiles.errors import ProfileUnreadable

GOOD = """
schema = 1
[profile]
id = "{id}"
revision = 1
vendor = "any"
model = "a reader"
kind = "payment_terminal"
family = "zvt"
[protocol]
name = "zvt"
framing = "tcp"
config_byte = 0xBE
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "good")
    return tmp_path


def write(folder: Path, name: str, more: str = "", *, base: str = GOOD) -> None:
    folder.joinpath(f"{name}.toml").write_text(base.format(id=name) + more)


def fault(folder: Path, more: str, *, base: str = GOOD) -> ProfileUnreadable:
    write(folder, "bad", more, base=base)
    with pytest.raises(ProfileUnreadable) as unreadable:
        load_profile("bad", folder)
    return unreadable.value


def test_a_profile_keeps_the_options_of_its_protocol_apart(folder: Path) -> None:
    profile = load_profile("good", folder)

    assert profile.protocol.name == "zvt"
    assert profile.protocol.options == {"config_byte": 0xBE}


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ("[health]\nhartbeat_s = 5\n", "health.hartbeat_s"),
        ("[halth]\nheartbeat_s = 5\n", "halth"),
        ("[[match.tcp]]\nport = 1\nouis = []\n", "match.tcp[0].ouis"),
        ("[protocol.tcp]\nport = 1\nspeed = 3\n", "protocol.tcp.speed"),
        ('[firmware]\nversion_source = "x"\nmetod = "y"\n', "firmware.metod"),
    ],
)
def test_a_key_that_nobody_knows_is_refused_by_name(folder: Path, more: str, key: str) -> None:
    refused = fault(folder, more)

    assert refused.facts == {"file": "bad.toml", "key": key}
    assert str(refused) == f"bad.toml: {key}: no such key; check its spelling"


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ('[health]\nheartbeat_s = "soon"\n', "health.heartbeat_s"),
        ("[[match.tcp]]\nport = 70000\n", "match.tcp[0].port"),
        ("[[match.usb]]\nvid = 0x10000\n", "match.usb[0].vid"),
        ("[match.confirm]\nprobe = 'zvt:05 01'\nanswer = '('\n", "match.confirm.answer"),
        ('[firmware]\nversion_source = "x"\ncompare = "semver"\n', "firmware.compare"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_place(
    folder: Path, more: str, key: str
) -> None:
    assert fault(folder, more).facts["key"] == key


def test_a_file_that_is_no_toml_is_refused_with_the_line(folder: Path) -> None:
    refused = fault(folder, "= 3")

    assert "bad.toml" in str(refused)
    assert "line" in str(refused)


def test_a_profile_is_named_like_its_file(folder: Path) -> None:
    write(folder, "other", base=GOOD.replace("{id}", "somebody-else"))

    with pytest.raises(ProfileUnreadable) as unreadable:
        load_profile("other", folder)

    assert unreadable.value.facts["key"] == "profile.id"


def test_a_profile_that_is_not_there_is_refused_with_those_that_are(folder: Path) -> None:
    with pytest.raises(ProfileUnknown, match="known are good"):
        load_profile("goood", folder)


def test_one_bad_file_stops_nobody_else(folder: Path) -> None:
    write(folder, "bad", "[nonsense]\n")

    profiles, faults = load_all(folder)

    assert list(profiles) == ["good"]
    assert [fault.facts["file"] for fault in faults] == ["bad.toml"]


def test_two_files_of_one_name_are_a_clash(folder: Path) -> None:
    vendor = folder / "vendor"
    vendor.mkdir()
    write(vendor, "good")

    with pytest.raises(ProfileUnreadable, match="two files of this name"):
        load_profile("good", folder)


def test_a_child_merges_tables_and_replaces_everything_else(folder: Path) -> None:
    child = """
    [profile]
    id = "{id}"
    model = "another"
    inherits = "good"
    [protocol]
    config_byte = 0x8E
    timeouts_ms = {{ t3 = 1 }}
    """
    write(folder, "child", base=child)

    profile = load_profile("child", folder)

    assert (profile.profile.vendor, profile.profile.model) == ("any", "another")
    assert profile.protocol.options == {"config_byte": 0x8E}
    assert profile.timeout_s("t3", 5) == 0.001
    assert profile.timeout_s("t4", 180) == 180


@pytest.mark.parametrize("parent", ["nobody", "child"])
def test_a_profile_cannot_inherit_from_nobody_or_from_itself(folder: Path, parent: str) -> None:
    write(folder, "child", base=GOOD.replace("[protocol]", f'inherits = "{parent}"\n[protocol]'))

    with pytest.raises(ProfileUnreadable) as unreadable:
        load_profile("child", folder)

    assert unreadable.value.facts["key"] == "profile.inherits"


def test_a_fact_is_verified_when_it_or_its_table_has_a_source(folder: Path) -> None:
    sources = '[profile.verified]\n"match.tcp[0]" = "a"\n"protocol.framing" = "b"\n'
    write(folder, "sourced", base=GOOD.replace("[protocol]", f"{sources}[protocol]"))

    profile = load_profile("sourced", folder)

    assert profile.is_verified("match.tcp[0].port")
    assert profile.is_verified("protocol.framing")
    assert not profile.is_verified("match.tcp[01].port")
    assert not profile.is_verified("protocol")


def test_a_capability_is_what_is_neither_false_nor_none_nor_empty(folder: Path) -> None:
    can = '[capabilities]\nabort = true\nrefund = false\nreceipt = "none"\nreads = []\nvoltage = "newer"\n'
    write(folder, "able", can)

    profile = load_profile("able", folder)

    assert [name for name in profile.capabilities if profile.can(name)] == ["abort", "voltage"]
    assert not profile.can("teleport")


def test_a_default_in_a_profile_is_never_shared(folder: Path) -> None:
    first, second = load_profile("good", folder), load_profile("good", folder)

    assert first == second
    assert first is not second
