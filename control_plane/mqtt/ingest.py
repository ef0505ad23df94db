"""The ingest role: one persistent, named session per topic cell, drained into the database.

One thread takes what has arrived, commits it, tells the devices, and only then acknowledges to the broker, in the order
of arrival. What it does not take waits in the socket, then at the broker, then in the devices' outboxes, each bounded.
A standby waits for the leadership of the cell.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final, Protocol

import structlog
from sqlalchemy.exc import SQLAlchemyError

from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.devices import presence
from control_plane.ingest import book
from control_plane.ingest.intake import ASK_AGAIN_S, GAP_S, Answer, Intake, IntakeAway, Uplink
from control_plane.mqtt.broker import Clients
from control_plane.mqtt.credentials import INGEST, ingest_filters
from control_plane.mqtt.wire import Message, Will, WireClient, WireError
from protocols.cloud.commands import Ack, ServiceState, encode
from protocols.cloud.topics import Address, Channel, parse, service_topic, topic
from protocols.errors import MalformedMessage
from protocols.ids import new_id

log = structlog.get_logger()

#: Largest batch; brokers are configured to have as many messages under way.
BATCH: Final = 2000
_WAIT_S: Final = 0.5
_SWEEP_S: Final = 2.0
#: After so long without a database the broker is left alone, so that it keeps what comes.
_BREAK_S: Final = 10.0
_MOST_TOPICS: Final = 200_000


class Leadership(Protocol):
    """Whether this process takes in the cell; asked again and again."""

    def is_mine(self) -> bool:
        """Try to lead, or confirm it."""

    def give_up(self) -> None:
        """Lead no longer."""


class IngestService:
    """Takes in one cell, for as long as it leads."""

    def __init__(
        self,
        cell: str,
        clients: Callable[[], Clients],
        database: Database,
        clock: Clock,
        leadership: Leadership,
        *,
        gap_s: float = GAP_S,
    ) -> None:
        self._cell = cell
        self._name = f"{INGEST}-{cell}"
        self._clients = clients
        self._database = database
        self._clock = clock
        self._leadership = leadership
        self._gap = timedelta(seconds=gap_s)
        self._intake = Intake(database, clock, gap_s=gap_s)
        self._addresses: dict[str, Address | None] = {}
        self._boot = new_id("boot")
        self._stopping = threading.Event()
        self._connected = threading.Event()
        self._swept = 0.0
        self._confirmed = 0.0
        self._thread = threading.Thread(target=self._run, name=f"ingest-{cell}", daemon=True)

    def start(self) -> None:
        """Begin to compete for the cell."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the batch at hand, say goodbye to the devices and the broker."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def is_connected(self) -> bool:
        """Whether messages are being taken in here."""
        return self._connected.is_set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._leadership.is_mine():
                    self._serve()
            except WireError as error:
                log.warning("ingest_disconnected", cell=self._cell, reason=str(error))
            except (SQLAlchemyError, IntakeAway) as error:
                log.warning("ingest_without_database", reason=str(error).splitlines()[0])
            except Exception:
                # Nothing may end this thread: devices would wait for ever.
                log.exception("ingest_failed", cell=self._cell)
            finally:
                self._connected.clear()
            self._stopping.wait(random.uniform(0.2, 1.0))  # noqa: S311 - only spreads reconnects
        self._leadership.give_up()

    def _serve(self) -> None:
        clients = self._clients()
        if not self._database_answers():
            return
        client = clients.connect(
            self._name,
            clean=False,
            will=Will(service_topic(self._cell), self._service_state(up=False)),
        )
        try:
            client.subscribe([(name, 1) for name in ingest_filters(self._cell)])
            self._announce(client, up=True)
            self._connected.set()
            log.info("ingest_connected", cell=self._cell, resumed=client.session_present)
            while not self._stopping.is_set() and self._still_leads():
                messages = client.receive(_WAIT_S, most=BATCH)
                if messages:
                    self._take(client, messages)
                self._sweep(client)
            self._announce(client, up=False)
            client.settle()
        except BaseException:
            # Without goodbye, so that the last will tells the devices.
            client.abandon()
            raise
        client.close()

    def _take(self, client: WireClient, messages: list[Message]) -> None:
        addresses = self._addresses
        batch = []
        for message in messages:
            address = addresses.get(message.topic) or self._address(message.topic)
            if address is not None:
                batch.append(Uplink(address.device_id, address.channel, message.payload))
        send_answers(client, self._commit(batch))
        client.acknowledge(messages)

    def _commit(self, batch: list[Uplink]) -> list[Answer]:
        """Raises WireError when the database stays away: nothing is acknowledged, so the broker has it all again for
        the next connection.
        """
        deadline = time.monotonic() + _BREAK_S
        while True:
            try:
                return self._intake.take_in(batch)
            except IntakeAway as error:
                log.warning("ingest_waits_for_database", messages=len(batch))
                if time.monotonic() > deadline or self._stopping.wait(0.3):
                    raise WireError("the database is away") from error

    def _address(self, name: str) -> Address | None:
        if len(self._addresses) > _MOST_TOPICS:
            self._addresses.clear()
        try:
            self._addresses[name] = address = parse(name)
        except MalformedMessage:
            log.warning("unknown_topic", topic=name[:120])
            self._addresses[name] = None
            return None
        return address

    def _sweep(self, client: WireClient) -> None:
        now = time.monotonic()
        if now - self._swept < _SWEEP_S:
            return
        self._swept = now
        moment = self._clock.now()
        with self._database.reading_connection() as db:
            anyone_gone = presence.anyone_to_show_offline(db, moment)
            gaps = book.streams_with_gaps(
                db, moment - self._gap, moment - timedelta(seconds=ASK_AGAIN_S)
            )
        if anyone_gone:
            with self._database.connection() as db:
                presence.show_offline(db)
        if gaps:
            with self._database.connection() as db:
                book.note_asked(db, [key for key, _ in gaps], moment)
            send_answers(
                client,
                [
                    Answer(
                        key.device_id,
                        self._cell,
                        Ack(
                            stream=key.stream,
                            epoch=key.epoch,
                            upto=cursor.upto,
                            resend=cursor.missing(),
                        ),
                    )
                    for key, cursor in gaps
                ],
            )

    def _still_leads(self) -> bool:
        now = time.monotonic()
        if now - self._confirmed < 1.0:
            return True
        self._confirmed = now
        return self._leadership.is_mine()

    def _database_answers(self) -> bool:
        with self._database.reading_connection() as db:
            db.exec_driver_sql("SELECT 1")
        return True

    def _announce(self, client: WireClient, *, up: bool) -> None:
        client.publish(service_topic(self._cell), self._service_state(up=up), qos=1, retain=True)

    def _service_state(self, *, up: bool) -> bytes:
        return encode(ServiceState(up=up, boot=self._boot, ts=self._clock.now().isoformat()))


def send_answers(client: WireClient, answers: list[Answer]) -> None:
    """Publish acknowledgements in one piece. At QoS 0, as devices subscribe: a lost one is made good by a re-send."""
    client.publish_many(
        (topic(answer.cell, answer.device_id, Channel.ACK), encode(answer.ack))
        for answer in answers
    )
