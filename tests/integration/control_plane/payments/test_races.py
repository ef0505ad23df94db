"""Two who want different things at the same moment: exactly one of them wins, on both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from control_plane.errors import DomainError
from control_plane.payments.commands import claim_command
from control_plane.payments.deadlines import expire_due
from control_plane.payments.errors import ReaderBusy, SessionDecided
from control_plane.payments.sessions import cancel_session, start_reversal
from protocols.session import SessionState
from tests.integration.control_plane.payments.conftest import CASHIER, MANAGER, Shop

T = TypeVar("T")

ROUNDS = 5


def at_once(*actions: Callable[[], T]) -> list[T | DomainError]:
    """Run all at the same moment; what each returned, or why it was refused."""
    gate = threading.Barrier(len(actions))

    def run(action: Callable[[], T]) -> T | DomainError:
        gate.wait(10)
        try:
            return action()
        except DomainError as refused:
            return refused

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(run, actions))


@pytest.mark.parametrize("attempt", range(ROUNDS))
def test_two_starts_on_one_reader_begin_one_payment(shop: Shop, attempt: int) -> None:
    outcomes = at_once(*[shop.start] * 4)

    refused = [one for one in outcomes if isinstance(one, ReaderBusy)]
    assert len(refused) == 3
    (session,) = shop.sessions()
    assert {one.facts["session_id"] for one in refused} == {session.id}
    assert [one.session_id for one in shop.commands()] == [session.id]


@pytest.mark.parametrize("attempt", range(ROUNDS))
def test_a_claim_and_two_cancels_have_one_winner(shop: Shop, attempt: int) -> None:
    session = shop.start()

    def cancel() -> str:
        with shop.database.connection() as db:
            return cancel_session(db, CASHIER, session.id).state

    granted, *cancels = at_once(lambda: shop.claim(session).granted, cancel, cancel)

    state = shop.session(session.id).state
    assert state is (SessionState.CANCELLING if granted else SessionState.CANCELLED)
    # The cancel that comes second learns who won; it never undoes it.
    assert {one for one in cancels if not isinstance(one, DomainError)} == {state}
    assert all(isinstance(one, SessionDecided) for one in cancels if isinstance(one, DomainError))
    assert [one.kind for one in shop.commands()].count("payment.cancel") == (1 if granted else 0)


@pytest.mark.parametrize("attempt", range(ROUNDS))
def test_many_claims_get_one_lease(shop: Shop, attempt: int) -> None:
    session = shop.start()

    grants = at_once(
        *[
            lambda number=number: shop.claim(session, nonce=f"nonce-000{number}")
            for number in range(4)
        ]
    )

    assert sorted(one.granted for one in grants) == [False, False, False, True]  # type: ignore[union-attr]
    assert shop.kinds(session.id) == ["created", "claimed"]


@pytest.mark.parametrize("attempt", range(ROUNDS))
def test_a_result_and_a_cancel_leave_the_result(shop: Shop, attempt: int) -> None:
    session = shop.started()

    def cancel() -> str:
        with shop.database.connection() as db:
            return cancel_session(db, CASHIER, session.id).state

    _, cancelled = at_once(lambda: shop.result(session, "approved"), cancel)

    decided = shop.session(session.id)
    assert (decided.state, decided.late_result) == (SessionState.APPROVED, False)
    assert isinstance(cancelled, SessionDecided) or cancelled == "cancelling"


@pytest.mark.parametrize("attempt", range(ROUNDS))
def test_a_claim_and_the_expiry_have_one_winner(shop: Shop, attempt: int) -> None:
    session = shop.start()
    # The claim looks at the clock before, the expiry after the last moment.
    last_moment = shop.clock.now()
    shop.wait(10)

    def expire() -> bool:
        with shop.database.connection() as db:
            return expire_due(db) == 1

    def claim() -> bool:
        with shop.database.connection() as db:
            return claim_command(
                db, session.device_id, session.command_id, "nonce-0001", last_moment
            ).granted

    granted, expired = at_once(claim, expire)

    assert granted is not expired
    state = shop.session(session.id).state
    assert state is (SessionState.CLAIMED if granted else SessionState.EXPIRED)


@pytest.mark.parametrize("attempt", range(ROUNDS))
def test_two_reversals_of_one_sale_begin_one(shop: Shop, attempt: int) -> None:
    sale = shop.approved()

    def reverse() -> str:
        with shop.database.connection() as db:
            return start_reversal(db, MANAGER, sale.id).id

    outcomes = at_once(reverse, reverse)

    begun = [one for one in outcomes if isinstance(one, str)]
    assert len(begun) == 1
    assert {one.id for one in shop.sessions()} == {sale.id, begun[0]}
