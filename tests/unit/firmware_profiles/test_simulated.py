"""Each profile of the catalogue on each line it has, with the simulated reader of its protocol: it sells."""

from __future__ import annotations

import re

import pytest

from agent.readers.connecting import machine_for
from firmware_profiles import load_all
from firmware_profiles.versions import is_readable
from protocols.money import Money
from protocols.readers import registry
from protocols.readers.protocol import AskStatus, Connect, OnlineWanted, Outcome, Purchase
from protocols.secret import Secret
from tests.support.reader_cases import APPROVES, NUMBERS
from tests.support.reader_wire import Wire

PROFILES = load_all()[0]
#: What the simulated reader says of itself where the profile's model writes something special.
SAYS = {"feig-cvend-plug": {"software_version": "GER-APP-v2.0.9"}}
LINES = sorted((name, framing) for name, one in PROFILES.items() for framing in one.framings)


@pytest.fixture(params=LINES, ids="-".join)
def line(request: pytest.FixtureRequest) -> tuple[str, str]:
    name, framing = request.param
    return name, framing


def wire_of(name: str, framing: str) -> Wire:
    profile = PROFILES[name]
    host = machine_for(profile, currency="EUR", password=Secret("123456"), framing=framing)
    settings = {"pace": 0.0, **SAYS.get(name, {})}
    terminal = registry.terminal_machine(profile.protocol.name, framing, settings)
    return Wire(host, terminal, framing, issuer=APPROVES)


def test_every_model_that_we_drive_has_a_line() -> None:
    driven = {name for name, one in PROFILES.items() if one.profile.kind != "cloud_reader"}

    assert {name for name, _ in LINES} == driven
    assert len(driven) == 10


def test_it_is_recognised_by_what_it_answers(line: tuple[str, str]) -> None:
    name, framing = line
    profile = PROFILES[name]
    wire = wire_of(name, framing)
    wire.connect()

    met = wire.do(Connect())
    told = [met, wire.do(AskStatus())]

    assert [one.outcome for one in told] == [Outcome.DONE, Outcome.DONE]
    identities = [one.identity for one in told if one.identity is not None]
    versions = [one.software_version for one in identities if one.software_version]
    serials = [one.serial_number for one in identities if one.serial_number]
    confirm = profile.match.confirm
    if confirm is not None and confirm.answer is not None:
        assert versions
        assert re.search(confirm.answer, versions[-1])
    if confirm is not None and confirm.serial_from is not None:
        assert serials
    if profile.firmware is not None and profile.can("firmware_update"):
        assert versions
        assert is_readable(profile.firmware, versions[-1])


def test_it_takes_a_payment(line: tuple[str, str]) -> None:
    name, framing = line
    wire = wire_of(name, framing)
    wire.connect()
    wire.do(Connect())
    if not wire.is_connected:
        wire.connect()

    paid = wire.do(Purchase(Money(12_00, "EUR")))

    assert paid.outcome is Outcome.APPROVED
    asked = [event for event in wire.events if isinstance(event, OnlineWanted)]
    assert bool(asked) is not PROFILES[name].can("authorises")
    assert [number for number in NUMBERS if number in repr(wire.events)] == []
