"""What the doctor makes of a reader's answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from agent.reader_diagnosis import remarks, silence_fix, support_line
from protocols.readers import registry
from protocols.readers.protocol import AskStatus, Finished, Identity, Outcome
from tests.support.reader_cases import Case, cases

NOON = datetime(2026, 11, 24, 12, 0)  # noqa: DTZ001 - a reader shows local wall time


def told(outcome: Outcome = Outcome.DONE, **more: Any) -> Finished:  # as in Finished
    return Finished(AskStatus(), outcome, **more)


@pytest.mark.parametrize("case", cases(), ids=str)
def test_a_sound_reader_needs_nothing_and_has_a_line_for_support(case: Case) -> None:
    answer = case.opened(starts_at=NOON).do(AskStatus())

    found = [one for one in remarks(case.protocol, answer, NOON) if one.subject != "clock"]
    line = support_line(case.protocol, answer.identity or Identity(), answer)

    assert found == []
    assert line.startswith(f"{case.protocol} · ")
    assert "\n" not in line


@pytest.mark.parametrize("protocol", ["magtek_mms", "idtech_neo"])
def test_an_opened_reader_is_taken_out_of_use(protocol: str) -> None:
    found = remarks(protocol, told(Outcome.FAILED, details={"tamper": "yes"}), NOON)

    assert [(one.subject, one.weight) for one in found] == [("tamper", "bad")]
    assert "out of use" in found[0].fix


@pytest.mark.parametrize(
    ("protocol", "code", "outcome", "weight", "fix"),
    [
        ("zvt", 0xF0, Outcome.FAILED, "bad", "Close its day"),
        ("zvt", 0x9C, Outcome.BUSY, "warning", "Wait"),
        ("zvt", 0xDC, Outcome.FAILED, "bad", "Take the card out"),
        ("zvt", 0xDF, Outcome.FAILED, "bad", "Call whoever"),
        ("ecr17", 0, Outcome.FAILED, "bad", "Have it configured"),
        ("ecr17", 4, Outcome.FAILED, "bad", "exchanged"),
        ("ecr17", 5, Outcome.BUSY, "warning", "Wait"),
    ],
)
def test_each_status_has_what_helps(
    protocol: str, code: int, outcome: Outcome, weight: str, fix: str
) -> None:
    (found,) = remarks(protocol, told(outcome, code=code, text="so it is"), NOON)

    assert (found.subject, found.weight) == ("status", weight)
    assert fix in found.fix
    assert "so it is" in found.words


@pytest.mark.parametrize(
    ("protocol", "details", "subject"),
    [
        ("zvt", {"locks": "closure"}, "locks"),
        ("zvt", {"reader_clock": "20261124 114000"}, "clock"),
        ("ecr17", {"software_update": "pending"}, "software"),
        ("magtek_mms", {"transaction": "running"}, "transaction"),
        ("magtek_mms", {"battery_percent": "12", "external_power": "no"}, "battery"),
        ("magtek_mms", {"refused": "parameter"}, "identity"),
    ],
)
def test_what_a_reader_tells_of_itself_is_remarked(
    protocol: str, details: dict[str, str], subject: str
) -> None:
    (found,) = remarks(protocol, told(details=details), NOON)

    assert found.subject == subject
    assert found.fix


def test_what_is_in_order_is_not_remarked() -> None:
    details = {
        "battery_percent": "12",
        "external_power": "yes",
        "tamper": "no",
        "reader_clock": "20261124 115800",
    }

    assert remarks("magtek_mms", told(details=details), NOON) == ()


def test_every_protocol_has_its_diagnosis() -> None:
    assert [remarks(name, told(), NOON) for name in registry.names()] == [()] * 5


@pytest.mark.parametrize(
    ("address", "heard", "says"),
    [
        ("serial:///dev/ttyS0", False, "?baud="),
        ("serial:///dev/ttyS0", True, "the profile"),
        ("tcp://10.0.0.1:20007", False, "network"),
        ("tcp://10.0.0.1:20007", True, "not as generic-zvt-tcp should"),
        ("usb://0801:2020", False, "--udev-rules"),
        ("ble://AA:BB", False, "bluetoothctl power on"),
    ],
)
def test_silence_has_advice_for_its_line(address: str, heard: bool, says: str) -> None:
    assert says in silence_fix(address, "generic-zvt-tcp", heard=heard)
