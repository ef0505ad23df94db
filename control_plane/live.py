"""Live updates: who watches a topic hears of it within milliseconds, in this process or in another.

Topics are ``session:ts_…`` or ``merchant:mer_…:readers``. A message is a hint: a page that missed some, and is
told so, reads again. ``publish`` sends after the commit; ``LiveHub.send`` at once, for code that has no
transaction. Streams end when the hub is closed, which the server does before it drains its connections.
"""

from __future__ import annotations

import asyncio
import json
import queue
import secrets
import threading
from collections import OrderedDict, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import psycopg
import structlog

from control_plane.db.unit_of_work import Announcement, Transaction, context_of

log = structlog.get_logger()

#: Most messages kept for one watcher that does not read.
QUEUE_LIMIT: Final = 256
_CHANNEL: Final = "omnitill_live"
#: PostgreSQL refuses payloads of 8,000 bytes and more.
_PAYLOAD_LIMIT: Final = 7_500
_RECONNECT_S: Final = (0.1, 0.5, 1.0, 2.0, 5.0)


def publish(
    db: Transaction, topic: str, message: dict[str, Any] | None = None, *, key: str | None = None
) -> None:
    """Tell the watchers of a topic, if and after the transaction commits.

    Of several waiting messages with one ``key`` a watcher gets only the newest.
    """
    context_of(db).announce(Announcement(topic, message or {}, key))


class Subscription:
    """What one watcher has not read yet. Iterate over it: each turn gives all that waits, oldest first."""

    def __init__(self, hub: LiveHub, topics: tuple[str, ...]) -> None:
        self.topics = topics
        #: True once messages were dropped: read the whole state again, then clear it.
        self.missed = False
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._waiting: OrderedDict[object, Announcement] = OrderedDict()
        self._arrived = asyncio.Event()
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[list[Announcement]]:
        while not self._closed:
            await self._arrived.wait()
            if batch := self.take():
                yield batch
            elif self.missed:
                yield []

    async def next(self, timeout_s: float) -> list[Announcement] | None:
        """All that waits; an empty list when nothing came in time; None when the hub is closed."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._arrived.wait()
        except TimeoutError:
            return []
        return None if self._closed else self.take()

    def take(self) -> list[Announcement]:
        """All that waits, without waiting."""
        with self._lock:
            batch = list(self._waiting.values())
            self._waiting.clear()
            if not self._closed:
                self._arrived.clear()
        return batch

    def offer(self, announcement: Announcement) -> bool:
        """Put in a message, from any thread; True when the watcher must be woken."""
        with self._lock:
            was_idle = not self._waiting and not self.missed
            key = (announcement.topic, announcement.key) if announcement.key else object()
            self._waiting.pop(key, None)
            if len(self._waiting) >= QUEUE_LIMIT:
                self._waiting.clear()
                self.missed = True
            self._waiting[key] = announcement
            return was_idle or self.missed

    def miss(self) -> None:
        """Say that messages may have been lost."""
        with self._lock:
            self.missed = True

    def wake(self) -> None:
        """On the watcher's loop only."""
        self._arrived.set()

    def end(self) -> None:
        """On the watcher's loop only."""
        self._closed = True
        self._arrived.set()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop on which the watcher waits."""
        return self._loop

    def close(self) -> None:
        """Stop watching."""
        self._hub.forget(self)


class LiveHub:
    """The hub of one process. ``PostgresLiveHub`` joins several."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscriptions: defaultdict[str, set[Subscription]] = defaultdict(set)
        self._listeners: defaultdict[str, list[Callable[[], None]]] = defaultdict(list)
        self._closed = False

    def start(self) -> None:
        """Begin to hear other processes; nothing to do with only one."""

    def send(
        self, topic: str, message: dict[str, Any] | None = None, *, key: str | None = None
    ) -> None:
        """Tell the watchers of a topic now, from any thread."""
        self.send_many([Announcement(topic, message or {}, key)])

    def send_many(self, messages: list[Announcement]) -> None:
        """Tell the watchers now. Never blocks, never raises."""
        self._deliver(messages)

    @contextmanager
    def subscribe(self, *topics: str) -> Iterator[Subscription]:
        """Watch topics from a coroutine, until the block ends."""
        subscription = Subscription(self, topics)
        with self._lock:
            for topic in topics:
                self._subscriptions[topic].add(subscription)
            closed = self._closed
        if closed:
            subscription.end()
        try:
            yield subscription
        finally:
            self.forget(subscription)

    def listen(self, topic: str, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener``, which must be quick, in the sender's thread; returns how to stop that."""
        with self._lock:
            self._listeners[topic].append(listener)

        def stop() -> None:
            with self._lock:
                self._listeners[topic].remove(listener)

        return stop

    def forget(self, subscription: Subscription) -> None:
        """Take a watcher off."""
        with self._lock:
            for topic in subscription.topics:
                watchers = self._subscriptions.get(topic)
                if watchers is not None:
                    watchers.discard(subscription)
                    if not watchers:
                        del self._subscriptions[topic]

    @property
    def watchers(self) -> int:
        """How many streams are open."""
        with self._lock:
            return len({one for group in self._subscriptions.values() for one in group})

    def close(self) -> None:
        """End every stream; each watcher sees the end of its iteration. Can be called twice."""
        with self._lock:
            self._closed = True
            everyone = {one for group in self._subscriptions.values() for one in group}
        for subscription in everyone:
            _on_loop(subscription.loop, subscription.end)

    def _deliver(self, messages: list[Announcement]) -> None:
        wake: defaultdict[asyncio.AbstractEventLoop, list[Subscription]] = defaultdict(list)
        called: list[Callable[[], None]] = []
        with self._lock:
            for message in messages:
                for subscription in self._subscriptions.get(message.topic, ()):
                    if subscription.offer(message):
                        wake[subscription.loop].append(subscription)
                called += self._listeners.get(message.topic, ())
        # One hand-over for each loop, however many streams watch.
        for loop, sleepers in wake.items():
            _on_loop(loop, partial(_wake_all, sleepers))
        for listener in dict.fromkeys(called):
            listener()

    def _deliver_doubt(self) -> None:
        with self._lock:
            everyone = {one for group in self._subscriptions.values() for one in group}
            listeners = [one for group in self._listeners.values() for one in group]
        for subscription in everyone:
            subscription.miss()
            _on_loop(subscription.loop, subscription.wake)
        for listener in listeners:
            listener()


class PostgresLiveHub(LiveHub):
    """Joins the hubs of all processes by LISTEN/NOTIFY.

    Own watchers are told directly; others through a thread with a connection of its own, so that a commit
    never waits for the lock that PostgreSQL takes on its notification queue. After a lost connection every
    watcher is told that it may have missed something.
    """

    def __init__(self, conninfo: str) -> None:
        super().__init__()
        self._conninfo = conninfo
        self._origin = secrets.token_hex(6)
        self._outgoing: queue.SimpleQueue[list[Announcement] | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._speak, name="live-speak", daemon=True),
            threading.Thread(target=self._hear, name="live-hear", daemon=True),
        ]
        self._hearing = threading.Event()

    def start(self) -> None:
        """Begin; returns when this process hears the others, or after five seconds without a database."""
        for thread in self._threads:
            thread.start()
        if not self._hearing.wait(5):
            log.warning("live_updates_waiting", reason="the database does not answer")

    def send_many(self, messages: list[Announcement]) -> None:
        self._deliver(messages)
        self._outgoing.put(messages)

    def close(self) -> None:
        self._stopping.set()
        self._outgoing.put(None)
        super().close()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=3)

    def _speak(self) -> None:
        failures = 0
        pending: list[str] = []
        while not self._stopping.is_set():
            try:
                with psycopg.connect(self._conninfo, autocommit=True) as connection:
                    while True:
                        pending = pending or self._next_payloads()
                        if self._stopping.is_set():
                            return
                        while pending:
                            connection.execute("SELECT pg_notify(%s, %s)", (_CHANNEL, pending[0]))
                            pending.pop(0)
                        failures = 0
            except psycopg.Error as error:
                failures = self._pause(failures, error)

    def _next_payloads(self) -> list[str]:
        waiting = self._outgoing.get() or []
        while not self._outgoing.empty():
            waiting = waiting + (self._outgoing.get() or [])
        return list(_payloads(self._origin, waiting))

    def _hear(self) -> None:
        failures = 0
        lost = False
        while not self._stopping.is_set():
            try:
                with psycopg.connect(self._conninfo, autocommit=True) as connection:
                    connection.execute(f"LISTEN {_CHANNEL}")
                    self._hearing.set()
                    failures = 0
                    if lost:
                        self._deliver_doubt()
                    lost = True
                    self._receive(connection)
            except psycopg.Error as error:
                failures = self._pause(failures, error)

    def _receive(self, connection: psycopg.Connection[Any]) -> None:
        while not self._stopping.is_set():
            for notification in connection.notifies(timeout=0.5):
                origin, *messages = json.loads(notification.payload)
                if origin != self._origin:
                    self._deliver([Announcement(*message) for message in messages])

    def _pause(self, failures: int, error: psycopg.Error) -> int:
        log.warning("live_updates_interrupted", reason=str(error).strip())
        self._stopping.wait(_RECONNECT_S[min(failures, len(_RECONNECT_S) - 1)])
        return failures + 1


def _payloads(origin: str, messages: list[Announcement]) -> Iterator[str]:
    """Messages in as few notifications as fit; one that does not fit at all goes without its content."""
    head = json.dumps(origin)
    parts: list[str] = []
    size = len(head)
    newest = {(one.topic, one.key) if one.key else id(one): one for one in messages}
    for one in newest.values():
        part = json.dumps([one.topic, one.message, one.key])
        if len(part) + len(head) > _PAYLOAD_LIMIT - 3:
            part = json.dumps([one.topic, {"reload": True}, one.key])
        if parts and size + len(part) + 1 > _PAYLOAD_LIMIT - 2:
            yield f"[{head},{','.join(parts)}]"
            parts, size = [], len(head)
        parts.append(part)
        size += len(part) + 1
    if parts:
        yield f"[{head},{','.join(parts)}]"


def _wake_all(subscriptions: list[Subscription]) -> None:
    for subscription in subscriptions:
        subscription.wake()


def _on_loop(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    """Run on another thread's loop, unless it has ended meanwhile."""
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        log.debug("live_watcher_gone")
