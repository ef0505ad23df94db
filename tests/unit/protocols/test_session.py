"""The tap session's table: complete, guarded, and never leading out of an ending."""

from __future__ import annotations

import itertools

import pytest

from protocols.errors import TransitionRefused
from protocols.money import Money
from protocols.session import (
    FINAL_STATES,
    OPEN_STATES,
    TRANSITIONS,
    Facts,
    SessionEvent,
    SessionState,
    advance,
    is_late_step,
)

E, S = SessionEvent, SessionState
ASKED = Money(12_34, "EUR")
EVIDENCE = Facts(asked=ASKED, reported=ASKED, has_evidence=True, is_claimed=True)
LIVE = (S.CLAIMED, S.SENT, S.WAITING_FOR_CARD, S.CARD_SEEN, S.AUTHORIZING)


def test_every_state_is_in_the_table_or_final() -> None:
    named = {state for state, _ in TRANSITIONS} | {t.target for t in TRANSITIONS.values()}

    assert named == set(SessionState)


def test_every_event_is_used() -> None:
    assert {event for _, event in TRANSITIONS} == set(SessionEvent)


@pytest.mark.parametrize("state", sorted(OPEN_STATES))
def test_an_open_state_can_reach_an_ending(state: SessionState) -> None:
    reached, frontier = {state}, [state]
    while frontier:
        current = frontier.pop()
        targets = {t.target for (source, _), t in TRANSITIONS.items() if source is current}
        frontier.extend(targets - reached)
        reached |= targets

    assert reached & FINAL_STATES


@pytest.mark.parametrize(
    ("state", "event"), list(itertools.product(sorted(FINAL_STATES), SessionEvent))
)
def test_an_ending_takes_nothing(state: SessionState, event: SessionEvent) -> None:
    with pytest.raises(TransitionRefused):
        advance(state, event, EVIDENCE)


def test_a_plain_sale_goes_through_its_steps() -> None:
    state = S.CREATED
    seen = []

    for event in (E.CLAIM, E.SEND, E.WAIT_FOR_CARD, E.SEE_CARD, E.AUTHORIZE, E.APPROVE):
        state = advance(state, event, EVIDENCE)
        seen.append(state)

    assert seen == [S.CLAIMED, S.SENT, S.WAITING_FOR_CARD, S.CARD_SEEN, S.AUTHORIZING, S.APPROVED]


@pytest.mark.parametrize("state", LIVE)
def test_a_cancel_after_the_claim_does_not_end_the_session(state: SessionState) -> None:
    assert advance(state, E.ASK_CANCEL) is S.CANCELLING


def test_an_approval_may_win_against_a_cancel() -> None:
    assert advance(S.CANCELLING, E.APPROVE, EVIDENCE) is S.APPROVED


@pytest.mark.parametrize("event", [E.APPROVE, E.DECLINE, E.FAIL, E.CANCEL])
def test_a_lost_answer_is_only_settled_by_evidence(event: SessionEvent) -> None:
    with pytest.raises(TransitionRefused, match="only the device"):
        advance(S.UNKNOWN, event, Facts(asked=ASKED, reported=ASKED))


@pytest.mark.parametrize("event", [E.CANCEL, E.EXPIRE, E.FAIL])
def test_nothing_but_the_device_ends_a_session_that_was_claimed(event: SessionEvent) -> None:
    with pytest.raises(TransitionRefused, match="holds the lease"):
        advance(S.CREATED, event, Facts(is_claimed=True))


def test_a_claim_needs_a_granted_lease() -> None:
    with pytest.raises(TransitionRefused, match="no lease"):
        advance(S.CREATED, E.CLAIM)


@pytest.mark.parametrize(
    "reported", [Money(12_35, "EUR"), Money(12_34, "USD"), Money(0, "EUR"), None]
)
def test_an_approval_of_another_amount_is_refused(reported: Money | None) -> None:
    with pytest.raises(TransitionRefused):
        advance(S.AUTHORIZING, E.APPROVE, Facts(asked=ASKED, reported=reported, has_evidence=True))


def test_a_smaller_approved_amount_is_taken() -> None:
    facts = Facts(asked=ASKED, reported=Money(10_00, "EUR"), has_evidence=True)

    assert advance(S.AUTHORIZING, E.APPROVE, facts) is S.APPROVED


def test_a_step_never_goes_back() -> None:
    with pytest.raises(TransitionRefused):
        advance(S.AUTHORIZING, E.WAIT_FOR_CARD)

    assert is_late_step(S.AUTHORIZING, E.WAIT_FOR_CARD)
    assert is_late_step(S.APPROVED, E.AUTHORIZE)
    assert not is_late_step(S.SENT, E.AUTHORIZE)
    assert not is_late_step(S.SENT, E.APPROVE)


@pytest.mark.parametrize("state", sorted(SessionState))
def test_money_may_have_moved_in_every_open_state_after_the_claim(state: SessionState) -> None:
    no_money = {S.CREATED, S.DECLINED, S.CANCELLED, S.EXPIRED, S.FAILED}

    assert state.may_have_moved_money is (state not in no_money)
    assert state.is_final is (state in FINAL_STATES)
