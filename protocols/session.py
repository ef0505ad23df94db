"""The tap session: one attempt to take a payment on a reader, as one table of states, events and guards.

A session is decided only by evidence. Until then it is open; ``unknown`` is open too. Steps never move a session
backwards, and a final state takes nothing: a result that arrives later is kept beside the session, never in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from protocols.errors import TransitionRefused

if TYPE_CHECKING:
    from protocols.money import Money


class SessionState(StrEnum):
    """Where a session stands."""

    CREATED = "created"
    """Recorded; the command is not known to have reached the device."""
    CLAIMED = "claimed"
    """The device holds the lease: from here on only the device can say how it ended."""
    SENT = "sent"
    """The reader has the amount."""
    WAITING_FOR_CARD = "waiting_for_card"
    CARD_SEEN = "card_seen"
    AUTHORIZING = "authorizing"
    CANCELLING = "cancelling"
    """A cancel was asked too late to win by itself; the reader decides."""
    UNKNOWN = "unknown"
    """The answer was lost; the device is asking the reader for evidence."""
    APPROVED = "approved"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    """Never claimed in time; it can never run."""
    FAILED = "failed"
    """It is certain that no money moved, and it was neither declined nor cancelled."""

    @property
    def is_final(self) -> bool:
        """True when nothing can happen any more."""
        return self in FINAL_STATES

    @property
    def may_have_moved_money(self) -> bool:
        """True while it cannot be excluded that the card was charged."""
        return self not in _SURELY_NO_MONEY


class SessionEvent(StrEnum):
    """What can happen to a session."""

    CLAIM = "claim"
    SEND = "send"
    WAIT_FOR_CARD = "wait_for_card"
    SEE_CARD = "see_card"
    AUTHORIZE = "authorize"
    ASK_CANCEL = "ask_cancel"
    LOSE_ANSWER = "lose_answer"
    APPROVE = "approve"
    DECLINE = "decline"
    CANCEL = "cancel"
    EXPIRE = "expire"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a guard may look at. Leave out what is not known."""

    asked: Money | None = None
    reported: Money | None = None
    has_evidence: bool = False
    """The outcome comes from the device that held the lease (its answer, or what it found out afterwards)."""
    is_claimed: bool = False
    """A lease was granted for the session's command."""


NO_FACTS: Final = Facts()
Guard = Callable[[Facts], str | None]


def _amount_matches(facts: Facts) -> str | None:
    if facts.asked is None or facts.reported is None:
        return "an approval needs the asked and the reported amount"
    if facts.asked.currency != facts.reported.currency or facts.reported.minor > facts.asked.minor:
        return "the approved amount is not what was asked"
    return None if facts.reported.minor > 0 else "an approval of nothing"


def _has_evidence(facts: Facts) -> str | None:
    return None if facts.has_evidence else "only the device that held the lease can say that"


def _approval(facts: Facts) -> str | None:
    return _has_evidence(facts) or _amount_matches(facts)


def _is_claimed(facts: Facts) -> str | None:
    return None if facts.is_claimed else "no lease was granted"


def _never_claimed(facts: Facts) -> str | None:
    return "the device holds the lease" if facts.is_claimed else None


@dataclass(frozen=True, slots=True)
class Transition:
    """Where an event leads, and the guard that must have nothing to say against it."""

    target: SessionState
    guard: Guard | None = None


_S, _E = SessionState, SessionEvent

#: Order of the live steps: an event that would lead to an earlier one changes nothing.
_RANK: Final = {
    state: rank
    for rank, state in enumerate(
        (_S.CREATED, _S.CLAIMED, _S.SENT, _S.WAITING_FOR_CARD, _S.CARD_SEEN, _S.AUTHORIZING)
    )
}
_STEPS: Final = {
    _E.SEND: _S.SENT,
    _E.WAIT_FOR_CARD: _S.WAITING_FOR_CARD,
    _E.SEE_CARD: _S.CARD_SEEN,
    _E.AUTHORIZE: _S.AUTHORIZING,
}
_ENDINGS: Final = {
    _E.APPROVE: Transition(_S.APPROVED, _approval),
    _E.DECLINE: Transition(_S.DECLINED, _has_evidence),
    _E.CANCEL: Transition(_S.CANCELLED, _has_evidence),
    _E.FAIL: Transition(_S.FAILED, _has_evidence),
}
_LIVE: Final = (_S.CLAIMED, _S.SENT, _S.WAITING_FOR_CARD, _S.CARD_SEEN, _S.AUTHORIZING)


def _table() -> dict[tuple[SessionState, SessionEvent], Transition]:
    table = {
        (_S.CREATED, _E.CLAIM): Transition(_S.CLAIMED, _is_claimed),
        (_S.CREATED, _E.CANCEL): Transition(_S.CANCELLED, _never_claimed),
        (_S.CREATED, _E.EXPIRE): Transition(_S.EXPIRED, _never_claimed),
        (_S.CREATED, _E.FAIL): Transition(_S.FAILED, _never_claimed),
    }
    for state in _LIVE:
        for event, target in _STEPS.items():
            if _RANK[target] > _RANK[state]:
                table[state, event] = Transition(target)
        table[state, _E.ASK_CANCEL] = Transition(_S.CANCELLING)
    for state in (*_LIVE, _S.CANCELLING):
        table[state, _E.LOSE_ANSWER] = Transition(_S.UNKNOWN)
    for state in (*_LIVE, _S.CANCELLING, _S.UNKNOWN):
        for event, transition in _ENDINGS.items():
            table[state, event] = transition
    return table


TRANSITIONS: Final[dict[tuple[SessionState, SessionEvent], Transition]] = _table()
FINAL_STATES: Final = frozenset({_S.APPROVED, _S.DECLINED, _S.CANCELLED, _S.EXPIRED, _S.FAILED})
OPEN_STATES: Final = frozenset(SessionState) - FINAL_STATES
_SURELY_NO_MONEY: Final = frozenset({_S.CREATED, _S.DECLINED, _S.CANCELLED, _S.EXPIRED, _S.FAILED})


def advance(state: SessionState, event: SessionEvent, facts: Facts = NO_FACTS) -> SessionState:
    """The state after an event. Raises TransitionRefused when the table or its guard does not allow it."""
    transition = TRANSITIONS.get((state, event))
    if transition is None:
        raise TransitionRefused(f"{event.value} does not happen to a session that is {state.value}")
    objection = transition.guard(facts) if transition.guard else None
    if objection is not None:
        raise TransitionRefused(objection, state=state.value, session_event=event.value)
    return transition.target


def is_late_step(state: SessionState, event: SessionEvent) -> bool:
    """True for a live step that tells nothing new: it arrived after a later one, or after a cancel or the end."""
    return (
        event in _STEPS and (state, event) not in TRANSITIONS and state is not SessionState.CREATED
    )
