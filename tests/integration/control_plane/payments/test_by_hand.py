"""A payment that no reader can tell of any more is settled by a person, once, and counts once."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from control_plane.accounts.permissions import Role
from control_plane.audit.models import AuditEvent
from control_plane.errors import Forbidden
from control_plane.payments.by_hand import settle_by_hand
from control_plane.payments.errors import NoteMissing, NotUnknown, SessionDecided
from control_plane.payments.views import SessionView
from control_plane.transactions.models import TRANSACTIONS
from protocols.session import SessionState
from tests.integration.control_plane.payments.conftest import Shop, caller_of

S = SessionState
NOTE = "Receipt 0017 shows it."


def settle(
    shop: Shop, session: SessionView, *, charged: bool, note: str = NOTE, role: Role = Role.MANAGER
) -> SessionView:
    with shop.database.transaction() as db:
        return settle_by_hand(db, caller_of(role), session.id, charged=charged, note=note)


def booked(shop: Shop) -> list[tuple[str, int, str]]:
    with shop.database.reading_connection() as db:
        rows = db.execute(
            select(
                TRANSACTIONS.c.external_id, TRANSACTIONS.c.amount_minor, TRANSACTIONS.c.decided_by
            )
        )
        return [(one[0], one[1], one[2]) for one in rows]


def lost(shop: Shop) -> SessionView:
    session = shop.started()
    shop.step(session, "unknown")
    return session


def test_a_charged_payment_comes_into_the_ledger_once(shop: Shop) -> None:
    session = lost(shop)

    settled = settle(shop, session, charged=True)
    with pytest.raises(SessionDecided):
        settle(shop, session, charged=True)

    assert (settled.state, settled.decided_by) == (S.APPROVED, "person")
    assert NOTE in settled.explanation
    assert booked(shop) == [(session.id, 12_34, "person")]
    with shop.database.reading() as db:
        (entry,) = db.execute(
            select(AuditEvent).where(AuditEvent.tag == "payment:session:settle")  # type: ignore[arg-type]  # a column
        ).scalars()
    assert entry.after == {"charged": True, "note": NOTE}


def test_one_that_was_not_charged_leaves_the_ledger_free_and_the_reader_too(shop: Shop) -> None:
    session = lost(shop)

    settled = settle(shop, session, charged=False)

    assert settled.state is S.FAILED
    assert booked(shop) == []
    assert shop.started().id != session.id


@pytest.mark.parametrize("role", [Role.CASHIER, Role.IT, Role.ACCOUNTANT])
def test_who_may_not_approve_refunds_may_not_settle(shop: Shop, role: Role) -> None:
    session = lost(shop)

    with pytest.raises(Forbidden):
        settle(shop, session, charged=True, role=role)

    assert shop.session(session.id).state is S.UNKNOWN
    assert booked(shop) == []


def test_a_reason_is_wanted(shop: Shop) -> None:
    session = lost(shop)

    with pytest.raises(NoteMissing):
        settle(shop, session, charged=True, note="  ok ")

    assert shop.session(session.id).state is S.UNKNOWN


def test_a_payment_that_runs_is_not_settled_by_a_person(shop: Shop) -> None:
    session = shop.started()

    with pytest.raises(NotUnknown):
        settle(shop, session, charged=False)

    assert shop.session(session.id).state is not S.FAILED
