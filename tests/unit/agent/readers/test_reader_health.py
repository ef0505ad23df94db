"""When a reader's health is told, and that it is told once."""

from __future__ import annotations

from datetime import datetime

import pytest

from agent.reader_health import ReaderHealth, Told
from firmware_profiles.profile import Health
from protocols.money import Money
from protocols.readers.protocol import (
    AskStatus,
    Finished,
    Noticed,
    Outcome,
    Purchase,
)

NOON = datetime(2026, 5, 4, 12, 0)  # noqa: DTZ001 (local time, as a reader shows it)
SALE = Purchase(Money(100, "EUR"))


def status(**details: str) -> Finished:
    return Finished(AskStatus(), Outcome.DONE, details=details)


def kinds(told: list[Told]) -> list[tuple[str, str]]:
    return [(one.kind, one.severity) for one in told]


def test_a_battery_is_told_at_each_limit_once_and_when_it_is_well_again() -> None:
    health = ReaderHealth(Health(battery_warn_pct=20, battery_crit_pct=10))

    assert health.happened(status(battery_percent="55"), 0) == []
    assert kinds(health.happened(status(battery_percent="20"), 1)) == [("battery", "warning")]
    assert health.happened(status(battery_percent="19"), 2) == []
    assert kinds(health.happened(status(battery_percent="9"), 3)) == [("battery", "error")]
    assert health.happened(status(battery_percent="8"), 4) == []
    assert health.happened(status(battery_percent="21"), 5) == []
    assert kinds(health.happened(status(battery_percent="40"), 6)) == [("battery_over", "info")]
    assert health.measured["battery_percent"] == "40"


def test_a_limit_that_the_profile_leaves_out_is_not_watched() -> None:
    health = ReaderHealth(Health())

    assert health.happened(status(battery_percent="1", temperature_c="99"), 0) == []
    assert [kind for second in range(50) for kind, _ in kinds(health.lost(second))] == []


def test_a_word_that_is_no_number_is_no_measurement() -> None:
    health = ReaderHealth(Health(battery_warn_pct=20))

    assert health.happened(status(battery_percent="full"), 0) == []


@pytest.mark.parametrize("kind", ["tamper", "clear_card_data", "firmware_failed"])
def test_what_a_reader_tells_of_itself_is_passed_on(kind: str) -> None:
    (told,) = ReaderHealth(Health()).happened(Noticed(kind, "status 000016"), 0)

    assert (told.kind, told.severity) == (kind, "error")
    assert "status 000016" in told.text


def test_tampering_seen_in_the_status_is_told_once() -> None:
    health = ReaderHealth(Health(tamper="critical_at_once"))

    assert kinds(health.happened(status(tamper="yes"), 0)) == [("tamper", "error")]
    assert health.happened(status(tamper="yes"), 1) == []


def test_errors_are_told_as_a_share_once_there_are_enough() -> None:
    health = ReaderHealth(Health(error_rate_warn=0.05, error_rate_crit=0.15))
    told = []
    for at in range(40):
        lost = Outcome.LOST if at % 10 == 9 else Outcome.DONE
        told += kinds(health.happened(Finished(AskStatus(), lost), at))

    assert told == [("errors", "warning")]
    assert health.measured["error_rate"] == "10%"


def test_many_declines_are_told() -> None:
    health = ReaderHealth(Health(decline_rate_warn=0.3))
    told = []
    for at in range(12):
        outcome = Outcome.DECLINED if at % 2 else Outcome.APPROVED
        told += kinds(health.happened(Finished(SALE, outcome), at))

    assert told == [("declines", "warning")]


def test_a_loose_cable_is_told_within_the_hour_only() -> None:
    health = ReaderHealth(Health(disconnects_per_hour_warn=3))

    assert [kinds(health.lost(at)) for at in (0, 3000, 3700)] == [[], [], []]
    assert kinds(health.lost(3800)) == [("unstable", "warning")]


def test_silence_and_endless_business_are_told() -> None:
    health = ReaderHealth(Health(silent_max_s=180, busy_9c_max_s=1800))
    health.happened(status(), 0)

    assert health.looked_at(100, is_busy=False, clock=None, wall=NOON) == []
    assert kinds(health.looked_at(181, is_busy=True, clock=None, wall=NOON)) == [
        ("silent", "warning")
    ]
    health.happened(status(), 190)
    assert kinds(health.looked_at(191, is_busy=True, clock=None, wall=NOON)) == [
        ("silent_over", "info")
    ]
    health.happened(status(), 1990)
    assert kinds(health.looked_at(1991, is_busy=True, clock=None, wall=NOON)) == [
        ("stuck_busy", "warning")
    ]


@pytest.mark.parametrize(
    ("shown", "told"),
    [
        ("0504120000", []),
        ("0504115700", [("clock_drift", "warning")]),
        ("0229120000", []),
        ("9999999999", []),
    ],
)
def test_a_clock_that_is_off_is_told(shown: str, told: list[tuple[str, str]]) -> None:
    health = ReaderHealth(Health(clock_drift_s_warn=120))

    assert kinds(health.looked_at(10, is_busy=False, clock=(shown, 10), wall=NOON)) == told


def test_the_turn_of_the_year_is_no_drift() -> None:
    health = ReaderHealth(Health(clock_drift_s_warn=120))
    midnight = datetime(2027, 1, 1, 0, 0, 5)  # noqa: DTZ001 (local time, as a reader shows it)

    assert health.looked_at(10, is_busy=False, clock=("1231235958", 10), wall=midnight) == []
