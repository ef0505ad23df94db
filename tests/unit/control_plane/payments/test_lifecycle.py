"""What a device's report does to a command, and that every word of the contract has its place."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest

from control_plane.payments.commands import is_claimed_kind
from control_plane.payments.lifecycle import (
    NEVER_RAN,
    REPORTED,
    CommandState,
    StepKind,
    after_report,
)
from protocols.cloud.commands import CLAIMED, CommandBody
from protocols.cloud.events import CommandResult, SessionStep
from protocols.session import FINAL_STATES

C = CommandState


def report(status: str) -> CommandResult:
    return CommandResult(command_id="cmd_1", status=status)  # type: ignore[arg-type]  # one of its words


def test_every_status_that_a_device_can_report_leads_to_a_state() -> None:
    statuses = get_args(get_type_hints(CommandResult)["status"])

    assert set(REPORTED) == set(statuses)
    assert all(state.is_final for state in REPORTED.values())


@pytest.mark.parametrize("state", [C.ISSUED, C.CLAIMED])
@pytest.mark.parametrize("status", sorted(REPORTED))
def test_an_open_command_ends_as_the_device_says(state: CommandState, status: str) -> None:
    assert after_report(state, report(status)) is REPORTED[status]


@pytest.mark.parametrize("state", sorted(set(CommandState) - {C.ISSUED, C.CLAIMED, C.EXPIRED}))
def test_a_command_ends_once(state: CommandState) -> None:
    assert {after_report(state, report(status)) for status in REPORTED} == {None}


def test_a_device_that_was_quicker_than_our_expiry_is_believed() -> None:
    assert after_report(C.EXPIRED, report("succeeded")) is C.SUCCEEDED
    assert after_report(C.EXPIRED, report("expired")) is None


def test_it_is_certain_that_nothing_ran_only_when_the_device_says_so() -> None:
    assert NEVER_RAN == {C.REJECTED, C.REFUSED, C.TOO_LATE, C.EXPIRED}


def test_every_step_of_the_contract_has_a_line_in_the_timeline() -> None:
    steps = get_args(get_type_hints(SessionStep)["step"])

    assert set(steps) <= set(StepKind)
    assert {state.value for state in FINAL_STATES} <= set(StepKind)


def test_the_kinds_that_must_be_claimed_are_those_of_the_contract() -> None:
    kinds = {kind: str(kind.__struct_config__.tag) for kind in get_args(CommandBody)}

    assert {kind for kind, tag in kinds.items() if is_claimed_kind(tag)} == set(CLAIMED)
