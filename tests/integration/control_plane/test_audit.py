"""The activity log on both databases: written in order, and every alteration is found."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from control_plane.audit.actor import SYSTEM, Actor, ActorKind
from control_plane.audit.service import EVENTS, HEADS, hash_of, record
from control_plane.audit.tags import AuditTag
from control_plane.audit.verification import Tampering, Verdict, merchants_with_events, verify
from control_plane.parts import Parts
from tests.fixtures.control_plane import Factory

ADA = Actor(ActorKind.USER, "usr_ada", "Ada", "192.0.2.7", "Firefox")
Tamper = Callable[[Session, str], object]


@pytest.fixture
def merchant(make: Factory) -> str:
    return make.merchant()


@pytest.fixture
def chain(parts: Parts, merchant: str) -> str:
    """A merchant with ten events: its creation, and nine changes."""
    for number in range(9):
        with parts.database.transaction() as db:
            write(db, merchant, number)
    return merchant


def write(db: Session, merchant_id: str, number: int) -> None:
    record(
        db,
        merchant_id,
        ADA,
        AuditTag.USER_ROLE_CHANGE,
        object_id=f"usr_{number}",
        object_name="Noé",
        before={"role": "cashier", "share": 0.1, "note": "a\x00b"},
        after={"role": "manager", "places": ["loc_1", None], "n": number},
    )


def verdict_on(parts: Parts, merchant_id: str) -> Verdict:
    with parts.database.reading() as db:
        return verify(db, merchant_id)


def test_an_untouched_log_is_intact(parts: Parts, chain: str) -> None:
    verdict = verdict_on(parts, chain)

    assert verdict.is_intact
    assert verdict.events == 10


def test_an_event_tells_who_did_what_from_where(parts: Parts, chain: str) -> None:
    with parts.database.reading() as db:
        event = db.execute(select(EVENTS).where(EVENTS.c.seq == 2)).one()

    assert (event.tag, event.actor_name, event.object_name) == ("user:role:change", "Ada", "Noé")
    assert (event.ip, event.user_agent) == ("192.0.2.7", "Firefox")
    assert event.before == {"role": "cashier", "share": "0.1", "note": "ab"}
    assert event.after == {"role": "manager", "places": ["loc_1", None], "n": 0}
    assert event.at == parts.clock.now()


def change_name(db: Session, merchant_id: str) -> None:
    db.execute(update(EVENTS).where(EVENTS.c.seq == 4).values(actor_name="Eve"))


def change_details(db: Session, merchant_id: str) -> None:
    db.execute(update(EVENTS).where(EVENTS.c.seq == 4).values(after={"role": "owner"}))


def change_with_its_hash(db: Session, merchant_id: str) -> None:
    event = dict(db.execute(select(EVENTS).where(EVENTS.c.seq == 4)).mappings().one())
    event["actor_name"] = "Eve"
    digest = hash_of(event, event["previous_hash"])
    db.execute(update(EVENTS).where(EVENTS.c.seq == 4).values(actor_name="Eve", hash=digest))


def delete_one(db: Session, merchant_id: str) -> None:
    db.execute(delete(EVENTS).where(EVENTS.c.seq == 4))


def delete_the_first(db: Session, merchant_id: str) -> None:
    db.execute(delete(EVENTS).where(EVENTS.c.seq == 1))


def cut_the_end(db: Session, merchant_id: str) -> None:
    db.execute(delete(EVENTS).where(EVENTS.c.seq > 7))


def cut_the_end_and_the_count(db: Session, merchant_id: str) -> None:
    cut_the_end(db, merchant_id)
    last = db.execute(select(EVENTS.c.hash).where(EVENTS.c.seq == 7)).scalar_one()
    db.execute(update(HEADS).values(count=7, last_hash=last))


def delete_everything(db: Session, merchant_id: str) -> None:
    db.execute(delete(EVENTS))


def delete_the_head(db: Session, merchant_id: str) -> None:
    db.execute(delete(HEADS))


def swap_two(db: Session, merchant_id: str) -> None:
    for old, new in ((4, 99), (5, 4), (99, 5)):
        db.execute(update(EVENTS).where(EVENTS.c.seq == old).values(seq=new))


def add_one(db: Session, merchant_id: str) -> None:
    event = dict(db.execute(select(EVENTS).where(EVENTS.c.seq == 10)).mappings().one())
    event |= {"position": 999, "id": "aud_forged", "seq": 11, "previous_hash": event["hash"]}
    event["hash"] = hash_of(event, event["previous_hash"])
    db.execute(EVENTS.insert().values(event))


@pytest.mark.parametrize(
    ("tamper", "found", "at"),
    [
        (change_name, Tampering.CHANGED, 4),
        (change_details, Tampering.CHANGED, 4),
        (change_with_its_hash, Tampering.MOVED, 5),
        (delete_one, Tampering.MISSING, 4),
        (delete_the_first, Tampering.MISSING, 1),
        (cut_the_end, Tampering.TRUNCATED, 8),
        (cut_the_end_and_the_count, Tampering.HEAD_FORGED, 7),
        (delete_everything, Tampering.TRUNCATED, 1),
        (delete_the_head, Tampering.ADDED, 1),
        (swap_two, Tampering.CHANGED, 4),
        (add_one, Tampering.ADDED, 11),
    ],
    ids=lambda one: one.__name__ if callable(one) else "",
)
def test_an_alteration_is_found_where_it_was_made(
    parts: Parts, chain: str, tamper: Tamper, found: Tampering, at: int
) -> None:
    with parts.database.transaction() as db:
        tamper(db, chain)

    verdict = verdict_on(parts, chain)

    assert not verdict.is_intact
    assert (found, at) in {(one.kind, one.seq) for one in verdict.findings}


def test_the_log_of_one_merchant_says_nothing_about_another(
    parts: Parts, make: Factory, chain: str
) -> None:
    other = make.merchant("Other")
    with parts.database.transaction() as db:
        db.execute(delete(EVENTS).where(EVENTS.c.merchant_id == chain, EVENTS.c.seq == 4))

    assert verdict_on(parts, other).is_intact
    assert not verdict_on(parts, chain).is_intact
    with parts.database.reading() as db:
        assert merchants_with_events(db) == sorted([chain, other])


def test_many_writers_at_once_make_one_chain(parts: Parts, merchant: str) -> None:
    def work() -> None:
        for number in range(10):
            with parts.database.transaction() as db:
                write(db, merchant, number)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    verdict = verdict_on(parts, merchant)
    assert (verdict.is_intact, verdict.events) == (True, 41)


def test_what_is_rolled_back_leaves_no_trace(parts: Parts, merchant: str) -> None:
    def write_and_fail() -> None:
        with parts.database.transaction() as db:
            write(db, merchant, 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()

    verdict = verdict_on(parts, merchant)
    assert (verdict.is_intact, verdict.events) == (True, 1)


def test_a_hot_path_writes_the_same_chain(parts: Parts, merchant: str) -> None:
    with parts.database.connection() as db:
        record(db, merchant, SYSTEM, AuditTag.MERCHANT_CREATE, object_id=merchant)

    assert verdict_on(parts, merchant).events == 2
