"""The thread that ends what nobody answers, in a running worker."""

from __future__ import annotations

import pytest

from control_plane.accounts.permissions import Role
from control_plane.app import running
from control_plane.jobs.session_deadlines import SessionDeadlines
from control_plane.parts import Parts, ProcessRole
from control_plane.payments import deadlines, queries
from control_plane.payments.sessions import StartSession, start_session
from control_plane.payments.views import SessionView
from protocols.money import Money
from protocols.session import SessionState
from tests.fakes.clock import FakeClock
from tests.fixtures.control_plane import Factory
from tests.integration.control_plane.payments.conftest import READER, caller_of, furnish
from tests.support.waiting import eventually


@pytest.fixture
def session(parts: Parts, make: Factory, clock: FakeClock) -> SessionView:
    """A payment that no device has taken yet."""
    merchant_id = make.merchant()
    location_id = make.location(merchant_id)
    with parts.database.connection() as db:
        furnish(db, clock, merchant_id, location_id)
    with parts.database.connection() as db:
        caller = caller_of(Role.OWNER, merchant_id=merchant_id)
        return start_session(db, caller, StartSession(reader_id=READER, amount=Money(1, "EUR")))


def state_of(parts: Parts, session: SessionView) -> SessionState:
    scope = caller_of(Role.OWNER, merchant_id=session.merchant_id).scope
    with parts.database.reading_connection() as db:
        return queries.session(db, scope, session.id).state


def test_a_worker_expires_what_no_device_takes(
    parts: Parts, session: SessionView, clock: FakeClock
) -> None:
    with running(parts, frozenset({ProcessRole.WORKER})):
        clock.advance(11)

        eventually(lambda: state_of(parts, session) is SessionState.EXPIRED)


def test_looking_before_the_time_writes_nothing(parts: Parts, session: SessionView) -> None:
    with parts.database.reading_connection() as db:
        assert not deadlines.is_anything_due(db, parts.clock.now())

    assert SessionDeadlines(parts).look() == 0
    assert state_of(parts, session) is SessionState.CREATED


def test_two_workers_that_look_at_once_end_it_once(
    parts: Parts, session: SessionView, clock: FakeClock
) -> None:
    clock.advance(11)
    one, other = SessionDeadlines(parts), SessionDeadlines(parts)

    assert (one.look(), other.look()) == (1, 0)
