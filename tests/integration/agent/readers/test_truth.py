"""Whatever happens around a payment, the decision is what the terminal's own books say, and it is asked for once.

The host and terminal machines are the real ones, and so are reader, desk and simulator; only time and cable are not.
"""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agent.payment import Decision
from protocols.money import Money
from protocols.readers.zvt.scripts import ZvtFault, script_names
from tests.fakes.virtual_time import run_virtually
from tests.support.shop import AMOUNT, Played, Scenario, Shop, paid

FRAMINGS = ["tcp", "serial"]
STORIES = ["approve", "approve+stands", "decline", "cancel", "pin"]
#: More than any payment here has chunks on the wire.
LAST_MOMENT = 45


def play(scenario: Scenario) -> Played:
    async def day() -> Played:
        return await Shop(scenario).play()

    return run_virtually(day())


def check(scenario: Scenario) -> Played:
    played = play(scenario)
    decision = played.decision

    assert len(set(played.commands)) <= 1
    assert len(played.commands) <= (1 if scenario.framing == "tcp" else 3)
    assert len(played.recorded) <= 1
    if decision is None:
        assert played.commands == []
        assert played.charged == []
    else:
        assert len(played.charged) == paid(decision.outcome), decision
        assert decision.amount == AMOUNT
        assert decision.explanation or decision.decided_by == "answer"
    # Late words of this payment never become the next one's.
    assert isinstance(played.next_sale, Decision)
    assert played.next_sale.outcome == "approved"
    assert played.next_sale.amount == Money(1_00, "EUR")
    assert [one.amount_minor for one in played.next_charged] == [1_00]
    sign = 1 if scenario.kind == "sale" else -1
    assert played.totals_minor == AMOUNT.minor * (1 + sign * len(played.charged)) + 1_00
    return played


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("script", script_names())
def test_every_story_ends_as_the_terminal_tells_it(framing: str, script: str) -> None:
    played = check(Scenario(framing, script))

    assert played.decision is not None
    assert played.decision.decided_by == "answer"


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("script", STORIES)
@pytest.mark.parametrize("fault", list(ZvtFault))
def test_every_fault_in_every_story_is_found_out(framing: str, script: str, fault: str) -> None:
    check(Scenario(framing, script, fault=fault))


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("script", STORIES)
@pytest.mark.parametrize("loses", [False, True])
@pytest.mark.parametrize("away_s", [0.1, 90.0])
def test_a_cable_pulled_at_any_moment_hides_nothing(
    framing: str, script: str, loses: bool, away_s: float
) -> None:
    for moment in range(LAST_MOMENT):
        scenario = Scenario(framing, script, cut_at=moment, cut_loses=loses, away_s=away_s)
        if check(scenario).moments <= moment:
            break


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("kind", ["refund", "reversal"])
@pytest.mark.parametrize("loses", [False, True])
def test_money_on_its_way_back_is_found_out_too(
    framing: str, kind: Literal["refund", "reversal"], loses: bool
) -> None:
    for moment in range(LAST_MOMENT):
        scenario = Scenario(framing, "approve", kind, cut_at=moment, cut_loses=loses)
        if check(scenario).moments <= moment:
            break


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("script", STORIES)
def test_a_cancel_at_any_moment_wins_or_knows_that_it_lost(framing: str, script: str) -> None:
    decisions = []
    for moment in range(LAST_MOMENT):
        played = check(Scenario(framing, script, cancel_at=moment))
        if played.moments <= moment:
            break
        assert played.decision is not None
        assert played.decision.cancel_asked or "cancelling" not in played.steps
        decisions.append(played.decision)

    unhindered = check(Scenario(framing, script)).decision
    assert unhindered is not None
    assert decisions[0].outcome == "cancelled"
    assert decisions[-1].outcome == unhindered.outcome


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("script", STORIES)
def test_an_agent_that_dies_at_any_moment_is_followed_by_one_that_finds_out(
    framing: str, script: str
) -> None:
    for moment in range(LAST_MOMENT):
        if check(Scenario(framing, script, crash_at=moment)).moments <= moment:
            break


moments = st.none() | st.integers(0, LAST_MOMENT)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.builds(
        Scenario,
        framing=st.sampled_from(FRAMINGS),
        script=st.sampled_from(STORIES),
        fault=st.none() | st.sampled_from(ZvtFault).map(str),
        cut_at=moments,
        cut_loses=st.booleans(),
        away_s=st.sampled_from([0.01, 1.0, 7.0, 200.0]),
        cancel_at=moments,
        crash_at=moments,
    )
)
@example(Scenario("tcp", "approve", fault="duplicate_frame", cut_at=7, cancel_at=6))
def test_all_of_it_at_once_hides_nothing_either(scenario: Scenario) -> None:
    check(scenario)
