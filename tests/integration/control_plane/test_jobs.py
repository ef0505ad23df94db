"""Owed jobs on both databases: each runs, in order where order counts, and none twice at a time."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from control_plane import outbox
from control_plane.errors import Unavailable
from control_plane.jobs import job_queue
from control_plane.jobs.catalog import JobKind, JobRun, all_jobs
from control_plane.jobs.scheduler import AdvisoryLock, Leadership, LockFile, Scheduler
from control_plane.jobs.worker import Worker
from control_plane.outbox import JOBS, JobState, owe
from control_plane.parts import Parts
from tests.fakes.clock import FakeClock
from tests.support.waiting import eventually

Handler = Callable[[JobRun], None]


def kinds_of(**handlers: Handler) -> dict[str, JobKind]:
    return {name: JobKind(name, handler, None, 12) for name, handler in handlers.items()}


def owe_now(parts: Parts, kind: str = "work", **arguments: object) -> str | None:
    with parts.database.transaction() as db:
        return owe(db, kind, {"n": arguments.pop("n", 0)}, **arguments)  # type: ignore[arg-type]  # passed through


def states(parts: Parts) -> dict[str, int]:
    with parts.database.reading() as db:
        return outbox.counts(db)


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_four_workers_run_each_of_two_thousand_jobs_once(parts: Parts) -> None:
    ran: list[str] = []
    workers = [
        Worker(parts, kinds_of(work=lambda run: ran.append(run.job_id)), threads=1)
        for _ in range(4)
    ]
    with parts.database.transaction() as db:
        owed = [owe(db, "work", {"n": n}) for n in range(2_000)]

    for worker in workers:
        worker.start()
    try:
        eventually(lambda: not states(parts), deadline_s=150)
    finally:
        for worker in workers:
            worker.stop()

    assert Counter(ran) == Counter(owed)


def test_jobs_with_one_ordering_key_run_one_after_the_other_in_order(parts: Parts) -> None:
    running = Counter[str]()
    overlaps: list[str] = []
    seen: dict[str, list[int]] = {"a": [], "b": []}
    lock = threading.Lock()

    def handler(run: JobRun) -> None:
        key = run.payload["key"]
        with lock:
            running[key] += 1
            if running[key] > 1:
                overlaps.append(key)
            seen[key].append(run.payload["n"])
        with run.transaction() as db:
            outbox.counts(db)
        with lock:
            running[key] -= 1

    worker = Worker(parts, kinds_of(work=handler), threads=4)
    with parts.database.transaction() as db:
        for n in range(20):
            for key in seen:
                owe(db, "work", {"key": key, "n": n}, ordering_key=key)

    worker.start()
    try:
        eventually(lambda: not states(parts), deadline_s=60)
    finally:
        worker.stop()

    assert overlaps == []
    assert seen == {"a": list(range(20)), "b": list(range(20))}


def test_a_job_that_fails_waits_and_holds_up_only_its_own_key(
    parts: Parts, clock: FakeClock
) -> None:
    ran: list[int] = []

    def handler(run: JobRun) -> None:
        if run.payload["n"] == 1 and run.attempt == 1:
            raise Unavailable(what="The reader")
        ran.append(run.payload["n"])

    worker = Worker(parts, kinds_of(work=handler), threads=0)
    owe_now(parts, n=1, ordering_key="a")
    owe_now(parts, n=2, ordering_key="a")
    owe_now(parts, n=3, ordering_key="b")

    at_first = [worker.run_one() for _ in range(3)]
    ran_at_first = list(ran)
    clock.advance(3)
    later = [worker.run_one() for _ in range(3)]

    assert at_first == [True, True, False]
    assert ran_at_first == [3]
    assert later == [True, True, False]
    assert ran == [3, 1, 2]


def test_after_its_last_try_a_job_is_parked_and_lets_the_next_pass(
    parts: Parts, clock: FakeClock
) -> None:
    ran: list[int] = []

    def handler(run: JobRun) -> None:
        if run.payload["n"] == 1:
            raise Unavailable(what="The shop")
        ran.append(run.payload["n"])

    worker = Worker(parts, kinds_of(work=handler), threads=0)
    parked = owe_now(parts, n=1, ordering_key="a", max_attempts=2)
    owe_now(parts, n=2, ordering_key="a")

    while worker.run_one() or states(parts).get("ready"):
        clock.advance(10)

    with parts.database.reading() as db:
        row = db.execute(select(JOBS)).one()
    assert (row.id, row.state, row.attempts) == (parked, JobState.PARKED, 2)
    assert row.last_error == "unavailable: The shop does not answer. Try again in a moment."
    assert ran == [2]


def test_a_job_of_a_worker_that_died_is_run_by_another(parts: Parts, clock: FakeClock) -> None:
    ran: list[int] = []
    worker = Worker(parts, kinds_of(work=lambda run: ran.append(run.attempt)), threads=0)
    owe_now(parts)
    with parts.database.connection() as db:
        died_with = job_queue.claim(db, "dead worker", ["work"])

    before_the_lease_ends = worker.run_one()
    clock.advance(job_queue.LEASE + timedelta(seconds=1))
    after_it = worker.run_one()

    assert died_with is not None
    assert (before_the_lease_ends, after_it) == (False, True)
    assert ran == [2]
    assert states(parts) == {}


def test_a_job_that_ends_every_worker_is_parked(parts: Parts, clock: FakeClock) -> None:
    owe_now(parts, max_attempts=2)
    for _ in range(2):
        with parts.database.connection() as db:
            assert job_queue.claim(db, "doomed", ["work"]) is not None
        clock.advance(job_queue.LEASE + timedelta(seconds=1))

    with parts.database.connection() as db:
        third = job_queue.claim(db, "wary", ["work"])

    with parts.database.reading() as db:
        row = db.execute(select(JOBS)).one()
    assert third is None
    assert row.state is JobState.PARKED
    assert row.last_error == "The worker ended while it ran this, each time."


def test_a_worker_that_lost_its_lease_does_not_finish_the_job_of_another(
    parts: Parts, clock: FakeClock
) -> None:
    owe_now(parts)
    with parts.database.connection() as db:
        first = job_queue.claim(db, "slow", ["work"])
    clock.advance(job_queue.LEASE + timedelta(seconds=1))
    with parts.database.connection() as db:
        second = job_queue.claim(db, "quick", ["work"])

    assert first is not None
    assert second is not None
    with parts.database.connection() as db:
        assert not job_queue.finish(db, first, "slow")
        assert job_queue.give_back(db, first, "slow", "too late") is None
        assert job_queue.finish(db, second, "quick")


def test_a_heartbeat_keeps_a_long_job(parts: Parts, clock: FakeClock) -> None:
    owe_now(parts)
    with parts.database.connection() as db:
        job_queue.claim(db, "busy", ["work"])
    clock.advance(job_queue.LEASE - timedelta(seconds=1))
    with parts.database.connection() as db:
        assert job_queue.beat(db, "busy") == 1
    clock.advance(timedelta(seconds=30))

    with parts.database.connection() as db:
        assert job_queue.claim(db, "other", ["work"]) is None


def test_a_job_runs_neither_before_its_time_nor_where_nobody_knows_its_kind(
    parts: Parts, clock: FakeClock
) -> None:
    ran: list[str] = []
    worker = Worker(parts, kinds_of(work=lambda run: ran.append(run.kind)), threads=0)
    owe_now(parts, after=timedelta(minutes=5))
    owe_now(parts, "unknown")

    too_early = worker.run_one()
    clock.advance(timedelta(minutes=5))
    in_time = worker.run_one()

    assert (too_early, in_time, worker.run_one()) == (False, True, False)
    assert ran == ["work"]


def test_a_worker_is_woken_by_the_commit_not_by_its_next_look(parts: Parts) -> None:
    ran = threading.Event()
    worker = Worker(parts, kinds_of(work=lambda run: ran.set()), threads=1, poll_s=30)
    worker.start()
    try:
        owe_now(parts)

        assert ran.wait(3)
    finally:
        worker.stop()


def test_stopping_lets_a_started_job_finish(parts: Parts) -> None:
    started, go_on = threading.Event(), threading.Event()

    def handler(run: JobRun) -> None:
        started.set()
        go_on.wait(5)

    worker = Worker(parts, kinds_of(work=handler), threads=1)
    worker.start()
    owe_now(parts)
    assert started.wait(5)
    threading.Timer(0.2, go_on.set).start()

    worker.stop()

    assert states(parts) == {}


@pytest.fixture(params=["sqlite", "postgres"])
def leaderships(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Leadership, Leadership]]:
    """Two candidates."""
    if request.param == "sqlite":
        pair: tuple[Leadership, Leadership] = (
            LockFile(tmp_path / "lock"),
            LockFile(tmp_path / "lock"),
        )
    else:
        conninfo = request.getfixturevalue("postgres_url").replace("+psycopg", "")
        pair = AdvisoryLock(conninfo), AdvisoryLock(conninfo)
    yield pair
    for one in pair:
        one.give_up()


def test_one_leads_and_another_takes_over(leaderships: tuple[Leadership, Leadership]) -> None:
    first, second = leaderships

    assert (first.is_mine(), second.is_mine(), first.is_mine()) == (True, False, True)

    first.give_up()

    assert eventually(second.is_mine)
    assert not first.is_mine()


class Appointed:
    """Always leads."""

    def is_mine(self) -> bool:
        return True

    def give_up(self) -> None:
        pass


def test_two_leaders_owe_a_slot_once(parts: Parts, clock: FakeClock) -> None:
    every = timedelta(hours=1)
    kind = JobKind("timed.work", lambda run: None, every, 3)
    schedulers = [Scheduler(parts, {kind.name: kind}, Appointed()) for _ in range(2)]
    for scheduler in schedulers:
        scheduler.start()
    try:
        eventually(lambda: all(scheduler.leads for scheduler in schedulers))
        now = [scheduler.enqueue(kind, every) for scheduler in schedulers]
        clock.advance(every)
        later = [scheduler.enqueue(kind, every) for scheduler in schedulers]
    finally:
        for scheduler in schedulers:
            scheduler.stop()

    assert (now, later) == ([True, False], [True, False])
    assert states(parts) == {"ready": 2}


def test_a_finished_slot_is_remembered_so_that_it_is_not_owed_again(parts: Parts) -> None:
    worker = Worker(parts, kinds_of(work=lambda run: None), threads=0)
    owe_now(parts, dedupe_key="work@8:00")

    assert worker.run_one()
    assert owe_now(parts, dedupe_key="work@8:00") is None
    assert states(parts) == {"done": 1}


def test_every_job_of_the_program_tidies_up_without_a_row(parts: Parts) -> None:
    kinds = all_jobs()
    worker = Worker(parts, {"housekeeping.forget": kinds["housekeeping.forget"]}, threads=0)
    owe_now(parts, "housekeeping.forget")

    assert worker.run_one()
    assert states(parts) == {}
