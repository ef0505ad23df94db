"""Live updates: one hub, two joined by PostgreSQL, and the end of a stream."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest

from control_plane.db.unit_of_work import Announcement
from control_plane.live import QUEUE_LIMIT, LiveHub, PostgresLiveHub
from tests.support.waiting import eventually


@pytest.fixture(params=["one process", "two processes"])
def hubs(request: pytest.FixtureRequest) -> Iterator[tuple[LiveHub, LiveHub]]:
    """Where a message is sent, and where it is watched."""
    pair: tuple[LiveHub, LiveHub]
    if request.param == "one process":
        hub = LiveHub()
        pair = (hub, hub)
    else:
        conninfo = request.getfixturevalue("postgres_url").replace("+psycopg", "")
        pair = (PostgresLiveHub(conninfo), PostgresLiveHub(conninfo))
    for one in dict.fromkeys(pair):
        one.start()
    yield pair
    for one in pair:
        one.close()


async def collect(watcher: LiveHub, topic: str, until: str) -> list[Announcement]:
    seen: list[Announcement] = []
    with watcher.subscribe(topic) as watch:
        async with asyncio.timeout(5):
            async for batch in watch:
                seen += batch
                if any(one.message.get("n") == until for one in batch):
                    break
    return seen


async def test_a_watcher_hears_its_topic_in_order_and_no_other(
    hubs: tuple[LiveHub, LiveHub],
) -> None:
    sender, receiver = hubs
    watching = asyncio.create_task(collect(receiver, "session:ts_1", "last"))
    await asyncio.sleep(0)

    sender.send("session:ts_1", {"n": "first"})
    sender.send("session:ts_2", {"n": "last"})
    sender.send("session:ts_1", {"n": "last", "name": "café"})

    seen = await watching
    assert [one.message for one in seen] == [{"n": "first"}, {"n": "last", "name": "café"}]
    assert {one.topic for one in seen} == {"session:ts_1"}


async def test_a_listener_hears_of_its_topic(hubs: tuple[LiveHub, LiveHub]) -> None:
    sender, receiver = hubs
    heard: list[int] = []
    stop = receiver.listen("jobs", lambda: heard.append(1))

    sender.send("jobs", key="jobs")
    await asyncio.to_thread(eventually, lambda: heard)
    stop()
    sender.send("jobs", key="jobs")
    sender.send("marker")

    assert heard == [1]


async def test_closing_a_hub_ends_its_streams(hubs: tuple[LiveHub, LiveHub]) -> None:
    _, receiver = hubs
    watching = asyncio.create_task(collect(receiver, "topic", "never"))
    await asyncio.sleep(0)

    await asyncio.to_thread(receiver.close)

    assert await watching == []
    with receiver.subscribe("topic") as late:
        assert await late.next(1) is None


async def test_of_messages_with_one_key_the_newest_is_kept() -> None:
    hub = LiveHub()
    with hub.subscribe("readers") as watch:
        for n in range(1_000):
            hub.send("readers", {"n": n}, key=f"rd_{n % 3}")

        batch = await watch.next(1)

    assert batch is not None
    assert [one.message["n"] for one in batch] == [997, 998, 999]
    assert not watch.missed


async def test_a_watcher_that_does_not_read_is_told_that_it_missed_something() -> None:
    hub = LiveHub()
    with hub.subscribe("topic") as watch:
        for n in range(QUEUE_LIMIT + 10):
            hub.send("topic", {"n": n})

        batch = await watch.next(1)

    assert batch is not None
    assert watch.missed
    assert batch[-1].message == {"n": QUEUE_LIMIT + 9}
    assert len(batch) <= QUEUE_LIMIT


async def test_waiting_gives_an_empty_batch_when_nothing_comes() -> None:
    hub = LiveHub()
    with hub.subscribe("topic") as watch:
        assert await watch.next(0.01) == []
        assert hub.watchers == 1
    assert hub.watchers == 0


async def test_a_message_that_is_too_large_for_postgres_still_says_that_there_is_one(
    postgres_url: str,
) -> None:
    conninfo = postgres_url.replace("+psycopg", "")
    sender, receiver = PostgresLiveHub(conninfo), PostgresLiveHub(conninfo)
    for hub in (sender, receiver):
        hub.start()
    try:
        with receiver.subscribe("topic") as watch:
            sender.send("topic", {"text": "x" * 20_000}, key="k")
            batch = await watch.next(5)
    finally:
        sender.close()
        receiver.close()

    assert batch == [Announcement("topic", {"reload": True}, "k")]


async def test_after_a_lost_connection_watchers_are_told_and_messages_come_again(
    postgres_url: str,
) -> None:
    conninfo = postgres_url.replace("+psycopg", "")
    sender, receiver = PostgresLiveHub(conninfo), PostgresLiveHub(conninfo)
    for hub in (sender, receiver):
        hub.start()
    try:
        with receiver.subscribe("topic") as watch:
            with psycopg.connect(conninfo, autocommit=True) as killer:
                killer.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            await asyncio.to_thread(eventually, lambda: watch.missed)
            watch.missed = False
            watch.take()
            sender.send("topic", {"n": 1})
            batch = await watch.next(5)
    finally:
        sender.close()
        receiver.close()

    assert batch == [Announcement("topic", {"n": 1}, None)]


async def test_a_thousand_streams_are_reached_quickly() -> None:
    hub = LiveHub()
    watches = [hub.subscribe("topic") for _ in range(1_000)]
    opened = [watch.__enter__() for watch in watches]
    loop = asyncio.get_running_loop()
    waiting = [asyncio.create_task(watch.next(5)) for watch in opened]
    await asyncio.sleep(0)
    began = loop.time()

    await asyncio.to_thread(hub.send, "topic", {"n": 1})
    batches = await asyncio.gather(*waiting)

    took = loop.time() - began
    for watch in watches:
        watch.__exit__(None, None, None)
    assert all(batch and batch[0].message == {"n": 1} for batch in batches)
    assert took < 1
