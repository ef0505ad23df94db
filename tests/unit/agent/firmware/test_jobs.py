"""The states of a firmware job."""

from __future__ import annotations

import pytest

from agent.firmware.jobs import TRANSITIONS, JobState, advance


def test_the_table_names_every_state() -> None:
    assert set(TRANSITIONS) == set(JobState)


@pytest.mark.parametrize("state", [state for state in JobState if TRANSITIONS[state]])
def test_every_open_state_can_reach_a_final_one(state: JobState) -> None:
    reached, found = {state}, [state]
    while found:
        for after in TRANSITIONS[found.pop()] - reached:
            reached.add(after)
            found.append(after)

    assert any(one.is_final for one in reached)


@pytest.mark.parametrize("state", [state for state in JobState if not TRANSITIONS[state]])
def test_final_states_accept_nothing(state: JobState) -> None:
    with pytest.raises(ValueError, match="cannot go"):
        advance(state, JobState.WAITING)


@pytest.mark.parametrize("state", list(JobState))
def test_a_start_of_the_agent_never_leads_to_a_transfer(state: JobState) -> None:
    assert state.after_restart not in {JobState.TRANSFERRING, JobState.REBOOTING, JobState.CLAIMING}
    if state in {JobState.TRANSFERRING, JobState.REBOOTING}:
        assert state.after_restart is JobState.VERIFYING


def test_payments_are_refused_from_claiming_to_verifying() -> None:
    occupied = {state for state in JobState if state.occupies_reader}

    assert occupied == {
        JobState.CLAIMING,
        JobState.TRANSFERRING,
        JobState.REBOOTING,
        JobState.VERIFYING,
    }
