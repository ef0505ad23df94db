"""Every profile of the catalogue: readable, sourced, understood by its protocol, and proved by a recording."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent.readers.connecting import machine_for
from firmware_profiles import BUILT_IN, ReaderProfile, load_all, load_profile
from protocols.readers import registry
from protocols.readers.emv import contains_card_number
from protocols.readers.zvt.scripts import CARDS
from tests.support.recordings import RECORDINGS, read, replay

PROFILES, FAULTS = load_all()
#: A reader that its maker's cloud drives has no line of ours.
DRIVEN = sorted(
    (name, framing)
    for name, one in PROFILES.items()
    for framing in one.framings
    if one.protocol.name in registry.names()
)
PATHS = sorted(RECORDINGS.glob("*/*.jsonl"))


@pytest.fixture(params=sorted(PROFILES))
def profile(request: pytest.FixtureRequest) -> ReaderProfile:
    return PROFILES[request.param]


def test_every_file_of_the_catalogue_can_be_read() -> None:
    assert FAULTS == []
    files = {path.stem for path in BUILT_IN.rglob("*.toml") if not path.stem.endswith("-base")}
    assert set(PROFILES) == files


def test_what_a_device_is_recognised_by_has_a_source(profile: ReaderProfile) -> None:
    match = profile.match
    facts = [f"match.tcp[{index}].port" for index, rule in enumerate(match.tcp) if rule.enabled]
    facts += [f"match.usb[{index}].vid" for index, rule in enumerate(match.usb) if rule.enabled]
    facts += [f"match.ble[{index}].service" for index, rule in enumerate(match.ble) if rule.enabled]

    assert [fact for fact in facts if not profile.is_verified(fact)] == []


def test_firmware_is_only_offered_where_its_method_has_a_source(profile: ReaderProfile) -> None:
    offered = profile.can("firmware_update")

    assert not offered or (profile.firmware is not None and profile.is_verified("firmware.method"))


@pytest.mark.parametrize(("name", "framing"), DRIVEN)
def test_the_protocol_understands_every_option(name: str, framing: str) -> None:
    machine = machine_for(PROFILES[name], currency="EUR", framing=framing)

    assert machine.outgoing() == b""


def test_a_money_command_is_never_repeated(profile: ReaderProfile) -> None:
    assert profile.protocol.retries.get("money_command", 0) == 0


def test_each_model_that_we_drive_has_a_recording() -> None:
    driven = {name for name, one in PROFILES.items() if one.profile.kind != "cloud_reader"}

    assert {path.parent.name for path in PATHS} == driven


@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_recording_replays_to_the_same_bytes_and_endings(path: Path) -> None:
    head, lines = read(path)

    replayed = replay(load_profile(head["profile"]), lines, head.get("framing"))

    assert replayed.sent == replayed.expected
    assert replayed.finished == replayed.expected_finished
    assert len(replayed.finished) > 0


@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_recording_says_where_it_comes_from_and_holds_no_secret(path: Path) -> None:
    head, lines = read(path)
    recorded = [str(line.get("reader") or line.get("till") or "") for line in lines]
    texts = [bytes.fromhex(one).decode("latin-1") for one in recorded]
    # Fixed fields side by side may pass Luhn; no scheme's numbers begin with 0 or 1.
    texts = [one for one in texts if re.search(r"[2-9]\d{12}", one)]
    numbers = [card.number for card in CARDS.values()]

    assert head["source"]
    assert [text for text in texts if contains_card_number(text)] == []
    assert [number for number in numbers if number in "".join(recorded)] == []
