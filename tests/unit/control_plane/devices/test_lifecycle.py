"""The life of a device as a table."""

from __future__ import annotations

import pytest

from control_plane.devices.lifecycle import (
    FINAL_STATES,
    TRANSITIONS,
    DeviceNotInState,
    DeviceState,
    DeviceStep,
    advance,
)


def test_the_table_names_every_state_and_every_step() -> None:
    states = {state for state, _ in TRANSITIONS} | set(TRANSITIONS.values())

    assert states == set(DeviceState)
    assert {step for _, step in TRANSITIONS} == set(DeviceStep)


@pytest.mark.parametrize("state", sorted(set(DeviceState) - FINAL_STATES))
def test_every_open_state_can_reach_the_end(state: DeviceState) -> None:
    reached, waiting = {state}, [state]
    while waiting:
        present = waiting.pop()
        following = {target for (origin, _), target in TRANSITIONS.items() if origin is present}
        waiting += following - reached
        reached |= following

    assert reached & FINAL_STATES


@pytest.mark.parametrize("step", list(DeviceStep))
@pytest.mark.parametrize("state", sorted(FINAL_STATES))
def test_a_final_state_takes_nothing(state: DeviceState, step: DeviceStep) -> None:
    with pytest.raises(DeviceNotInState) as refused:
        advance(state, step, device_id="dev-1234")

    assert refused.value.facts == {
        "device_id": "dev-1234",
        "state": state.value,
        "step": step.value,
    }


@pytest.mark.parametrize(
    ("state", "speaks", "connects"),
    [
        (DeviceState.MANUFACTURED, False, False),
        (DeviceState.CLAIMED, False, False),
        (DeviceState.ENROLLED, True, True),
        (DeviceState.ACTIVE, True, True),
        (DeviceState.SUSPENDED, False, True),
        (DeviceState.REPLACED, False, False),
        (DeviceState.REVOKED, False, False),
        (DeviceState.RETIRED, False, False),
    ],
)
def test_only_devices_in_service_are_heard(
    state: DeviceState, speaks: bool, connects: bool
) -> None:
    assert (state.may_speak, state.may_connect) == (speaks, connects)


def test_a_revoked_device_can_only_be_replaced_or_retired() -> None:
    possible = {step for state, step in TRANSITIONS if state is DeviceState.REVOKED}

    assert possible == {DeviceStep.REPLACE, DeviceStep.RETIRE}
