"""How often an unsettled payment is read again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from control_plane.virtual_terminal.lifecycle import PaymentState
from control_plane.virtual_terminal.looks import next_look

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize("state", [PaymentState.OPEN, PaymentState.PAID, PaymentState.CANCELED])
def test_what_is_settled_is_left_alone(state: PaymentState) -> None:
    assert next_look(state, 0, NOW) is None


def test_an_unknown_one_is_looked_at_soon_and_then_less_often() -> None:
    pauses = [next_look(PaymentState.UNKNOWN, looks, NOW) for looks in range(12)]

    assert pauses[0] == NOW + timedelta(seconds=2)
    assert pauses == sorted(pauses)  # type: ignore[type-var]  # no None among them
    assert pauses[-1] == NOW + timedelta(minutes=15)


def test_a_deadline_is_not_slept_through() -> None:
    soon = NOW + timedelta(seconds=30)

    assert next_look(PaymentState.AUTHORIZED, 5, NOW, not_after=soon) == soon
    assert next_look(PaymentState.AUTHORIZED, 5, NOW, not_after=NOW) == NOW + timedelta(hours=6)
