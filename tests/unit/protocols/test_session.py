"""The table of the tap session: complete, one way, and guarded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import TransitionRefused
from protocols.money import Money
from protocols.session import (
    FINAL_STATES,
    NO_FACTS,
    OPEN_STATES,
    TRANSITIONS,
    Facts,
    SessionEvent,
    SessionState,
    advance,
    is_late_step,
)

S, E = SessionState, SessionEvent

ASKED = Money(12_34, "EUR")
CLAIMED = Facts(is_claimed=True)
EVIDENCE = Facts(has_evidence=True, is_claimed=True)
PAID = Facts(asked=ASKED, reported=ASKED, has_evidence=True, is_claimed=True)

#: Facts with which the guard of an event has nothing against it, whatever the state.
WILLING = {
    E.CLAIM: CLAIMED,
    E.APPROVE: PAID,
    E.DECLINE: EVIDENCE,
    E.CANCEL: EVIDENCE,
    E.FAIL: EVIDENCE,
}

#: Every move of a session, written out by hand; what is not here is refused.
MOVES = {
    S.CREATED: {E.CLAIM: S.CLAIMED, E.CANCEL: S.CANCELLED, E.EXPIRE: S.EXPIRED, E.FAIL: S.FAILED},
    S.CLAIMED: {
        E.SEND: S.SENT,
        E.WAIT_FOR_CARD: S.WAITING_FOR_CARD,
        E.SEE_CARD: S.CARD_SEEN,
        E.AUTHORIZE: S.AUTHORIZING,
        E.ASK_CANCEL: S.CANCELLING,
        E.LOSE_ANSWER: S.UNKNOWN,
        E.APPROVE: S.APPROVED,
        E.DECLINE: S.DECLINED,
        E.CANCEL: S.CANCELLED,
        E.FAIL: S.FAILED,
    },
    S.SENT: {
        E.WAIT_FOR_CARD: S.WAITING_FOR_CARD,
        E.SEE_CARD: S.CARD_SEEN,
        E.AUTHORIZE: S.AUTHORIZING,
        E.ASK_CANCEL: S.CANCELLING,
        E.LOSE_ANSWER: S.UNKNOWN,
        E.APPROVE: S.APPROVED,
        E.DECLINE: S.DECLINED,
        E.CANCEL: S.CANCELLED,
        E.FAIL: S.FAILED,
    },
    S.WAITING_FOR_CARD: {
        E.SEE_CARD: S.CARD_SEEN,
        E.AUTHORIZE: S.AUTHORIZING,
        E.ASK_CANCEL: S.CANCELLING,
        E.LOSE_ANSWER: S.UNKNOWN,
        E.APPROVE: S.APPROVED,
        E.DECLINE: S.DECLINED,
        E.CANCEL: S.CANCELLED,
        E.FAIL: S.FAILED,
    },
    S.CARD_SEEN: {
        E.AUTHORIZE: S.AUTHORIZING,
        E.ASK_CANCEL: S.CANCELLING,
        E.LOSE_ANSWER: S.UNKNOWN,
        E.APPROVE: S.APPROVED,
        E.DECLINE: S.DECLINED,
        E.CANCEL: S.CANCELLED,
        E.FAIL: S.FAILED,
    },
    S.AUTHORIZING: {
        E.ASK_CANCEL: S.CANCELLING,
        E.LOSE_ANSWER: S.UNKNOWN,
        E.APPROVE: S.APPROVED,
        E.DECLINE: S.DECLINED,
        E.CANCEL: S.CANCELLED,
        E.FAIL: S.FAILED,
    },
    S.CANCELLING: {
        E.LOSE_ANSWER: S.UNKNOWN,
        E.APPROVE: S.APPROVED,
        E.DECLINE: S.DECLINED,
        E.CANCEL: S.CANCELLED,
        E.FAIL: S.FAILED,
    },
    S.UNKNOWN: {
        E.APPROVE: S.APPROVED,
        E.DECLINE: S.DECLINED,
        E.CANCEL: S.CANCELLED,
        E.FAIL: S.FAILED,
    },
    S.APPROVED: {},
    S.DECLINED: {},
    S.CANCELLED: {},
    S.EXPIRED: {},
    S.FAILED: {},
}
ALL_PAIRS = [(state, event) for state in S for event in E]


def willing_facts(state: SessionState, event: SessionEvent) -> Facts:
    """Before the claim a cancel or a failure needs that there is none; later it needs evidence."""
    return NO_FACTS if state is S.CREATED and event is not E.CLAIM else WILLING.get(event, NO_FACTS)


@pytest.mark.parametrize(("state", "event"), ALL_PAIRS)
def test_every_pair_of_state_and_event_does_exactly_what_the_list_says(
    state: SessionState, event: SessionEvent
) -> None:
    target = MOVES[state].get(event)

    moved: SessionState | None
    try:
        moved = advance(state, event, willing_facts(state, event))
    except TransitionRefused:
        moved = None

    assert moved is target


def test_the_table_names_every_state_and_every_event() -> None:
    assert {state for state, _ in TRANSITIONS} | FINAL_STATES == set(S)
    assert {event for _, event in TRANSITIONS} == set(E)


def test_a_state_is_either_open_or_final() -> None:
    assert set(S) == OPEN_STATES | FINAL_STATES
    assert not OPEN_STATES & FINAL_STATES
    assert {state for state in S if state.is_final} == FINAL_STATES


@pytest.mark.parametrize("state", sorted(OPEN_STATES))
def test_every_open_state_can_reach_a_final_one(state: SessionState) -> None:
    reached, frontier = {state}, {state}
    while frontier:
        frontier = {
            transition.target
            for (origin, _), transition in TRANSITIONS.items()
            if origin in frontier
        } - reached
        reached |= frontier

    assert reached & FINAL_STATES


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
def test_a_final_state_accepts_nothing(state: SessionState) -> None:
    assert [event for origin, event in TRANSITIONS if origin is state] == []


def test_only_a_session_that_was_never_claimed_can_expire() -> None:
    assert [state for state, event in TRANSITIONS if event is E.EXPIRE] == [S.CREATED]


@pytest.mark.parametrize("event", [E.CANCEL, E.EXPIRE, E.FAIL])
def test_the_server_alone_ends_a_session_only_while_no_lease_was_granted(
    event: SessionEvent,
) -> None:
    assert advance(S.CREATED, event, NO_FACTS).is_final

    with pytest.raises(TransitionRefused, match="the device holds the lease"):
        advance(S.CREATED, event, CLAIMED)


def test_a_plain_sale_goes_through_its_steps() -> None:
    visited = [S.CREATED]

    for event in (E.CLAIM, E.SEND, E.WAIT_FOR_CARD, E.SEE_CARD, E.AUTHORIZE, E.APPROVE):
        visited.append(advance(visited[-1], event, PAID))

    assert visited[1:] == [
        S.CLAIMED,
        S.SENT,
        S.WAITING_FOR_CARD,
        S.CARD_SEEN,
        S.AUTHORIZING,
        S.APPROVED,
    ]


def test_a_claim_needs_a_granted_lease() -> None:
    with pytest.raises(TransitionRefused, match="no lease"):
        advance(S.CREATED, E.CLAIM, NO_FACTS)


@pytest.mark.parametrize("event", [E.APPROVE, E.DECLINE, E.CANCEL, E.FAIL])
@pytest.mark.parametrize("state", sorted(OPEN_STATES - {S.CREATED}))
def test_once_claimed_nothing_ends_a_session_without_the_devices_word(
    state: SessionState, event: SessionEvent
) -> None:
    with pytest.raises(TransitionRefused, match="only the device"):
        advance(state, event, Facts(asked=ASKED, reported=ASKED, is_claimed=True))


@pytest.mark.parametrize(
    ("reported", "reason"),
    [
        (Money(12_35, "EUR"), "not what was asked"),
        (Money(12_34, "USD"), "not what was asked"),
        (Money(0, "EUR"), "approval of nothing"),
        (Money(-1, "EUR"), "approval of nothing"),
        (None, "needs the asked and the reported amount"),
    ],
)
def test_an_approval_of_something_else_than_was_asked_is_refused(
    reported: Money | None, reason: str
) -> None:
    facts = Facts(asked=ASKED, reported=reported, has_evidence=True, is_claimed=True)

    with pytest.raises(TransitionRefused, match=reason):
        advance(S.AUTHORIZING, E.APPROVE, facts)


def test_a_part_of_the_amount_may_be_approved() -> None:
    facts = Facts(asked=ASKED, reported=Money(10_00, "EUR"), has_evidence=True, is_claimed=True)

    assert advance(S.AUTHORIZING, E.APPROVE, facts) is S.APPROVED


def test_money_may_have_moved_from_the_claim_until_the_device_says_that_it_did_not() -> None:
    assert {state for state in S if not state.may_have_moved_money} == {
        S.CREATED,
        S.DECLINED,
        S.CANCELLED,
        S.EXPIRED,
        S.FAILED,
    }


@pytest.mark.parametrize(
    ("state", "event", "late"),
    [
        (S.WAITING_FOR_CARD, E.SEND, True),
        (S.CARD_SEEN, E.SEE_CARD, True),
        (S.CANCELLING, E.SEE_CARD, True),
        (S.UNKNOWN, E.AUTHORIZE, True),
        (S.APPROVED, E.WAIT_FOR_CARD, True),
        (S.SENT, E.SEE_CARD, False),
        (S.CREATED, E.SEND, False),
        (S.APPROVED, E.DECLINE, False),
        (S.UNKNOWN, E.LOSE_ANSWER, False),
    ],
)
def test_a_step_is_late_when_a_later_one_was_seen(
    state: SessionState, event: SessionEvent, late: bool
) -> None:
    assert is_late_step(state, event) is late


ORDER = list(S)
FACTS = st.builds(
    Facts,
    asked=st.just(ASKED),
    reported=st.none() | st.builds(Money, st.integers(-5, 20_00), st.sampled_from(["EUR", "USD"])),
    has_evidence=st.booleans(),
    is_claimed=st.booleans(),
)


@given(st.lists(st.tuples(st.sampled_from(E), FACTS), max_size=30))
def test_whatever_happens_a_session_moves_forward_and_stays_where_it_ended(
    happenings: list[tuple[SessionEvent, Facts]],
) -> None:
    visited = [S.CREATED]
    for event, facts in happenings:
        try:
            visited.append(advance(visited[-1], event, facts))
        except TransitionRefused:
            continue

    assert [ORDER.index(state) for state in visited] == sorted(
        {ORDER.index(state) for state in visited}
    )
    assert not any(state.is_final for state in visited[:-1])
    assert S.APPROVED not in visited or visited[1] is S.CLAIMED
