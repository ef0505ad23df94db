"""What goes down to devices, and what is answered on the spot.

Two threads on one connection: one answers claims and asks for the time as they come, never behind a bulk batch; the
other publishes commands and configurations as soon as they are committed, and again until the device has answered.
Cards that want their issuer's answer wait in threads of their own.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Final

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError

from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.devices import configs
from control_plane.devices.presence import DOWNLINK_TOPIC
from control_plane.live import LiveHub
from control_plane.mqtt.authorizing import Authorize, Authorizing
from control_plane.mqtt.broker import Clients
from control_plane.mqtt.credentials import GATEWAY
from control_plane.mqtt.wire import Message, WireClient, WireError
from control_plane.payments import queries as payments
from control_plane.payments.commands import WAKE_TOPIC, claim_command, due_commands
from protocols.cloud.commands import AuthorizationAnswer, TimeAnswer, encode
from protocols.cloud.events import UNREADABLE, AuthorizationAsk, Claim, TimeAsk
from protocols.cloud.topics import Channel, parse, topic
from protocols.errors import MalformedMessage

log = structlog.get_logger()

_LOOK_S: Final = 0.5
_WAIT_S: Final = 0.5


class Gateway:
    """The downlink of one cell. Several processes may run one: rows are taken by one of them at a time."""

    def __init__(
        self,
        cell: str,
        clients: Callable[[], Clients],
        database: Database,
        hub: LiveHub,
        clock: Clock,
        authorize: Authorize,
    ) -> None:
        self._cell = cell
        self._name = f"{GATEWAY}-{cell}"
        self._clients = clients
        self._database = database
        self._clock = clock
        self._client: WireClient | None = None
        self._authorizing = Authorizing(authorize, self._tell_authorization)
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._connected = threading.Event()
        self._forget = [hub.listen(one, self._wake.set) for one in (WAKE_TOPIC, DOWNLINK_TOPIC)]
        self._threads = [
            threading.Thread(target=self._hear, name=f"gateway-hear-{cell}", daemon=True),
            threading.Thread(target=self._speak, name=f"gateway-speak-{cell}", daemon=True),
        ]

    def start(self) -> None:
        """Begin; connects by itself, again and again."""
        self._authorizing.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End both threads and the connection."""
        self._stopping.set()
        self._wake.set()
        for forget in self._forget:
            forget()
        self._authorizing.stop()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=5)

    def is_connected(self) -> bool:
        """Whether devices can be reached."""
        return self._connected.is_set()

    # --- up: answered at once --------------------------------------------------------------------------------------

    def _hear(self) -> None:
        while not self._stopping.is_set():
            try:
                self._converse()
            except WireError as error:
                log.warning("gateway_disconnected", cell=self._cell, reason=str(error))
            except SQLAlchemyError as error:
                log.warning("gateway_without_database", reason=str(error).splitlines()[0])
            except Exception:
                # Nothing may end this thread: commands would never reach a device again.
                log.exception("gateway_failed", cell=self._cell)
            finally:
                self._connected.clear()
                if self._client is not None:
                    self._client.close()
                    self._client = None
            self._stopping.wait(random.uniform(0.1, 0.6))  # noqa: S311 - only spreads reconnects

    def _converse(self) -> None:
        client = self._clients().connect(self._name)
        self._client = client
        client.subscribe(
            [
                (topic(self._cell, "+", Channel.CLAIM), 0),
                (topic(self._cell, "+", Channel.TIME_ASK), 0),
                (topic(self._cell, "+", Channel.AUTHORIZE), 0),
            ]
        )
        self._connected.set()
        self._wake.set()
        while not self._stopping.is_set():
            for message in client.receive(_WAIT_S):
                self._answer(client, message)

    def _answer(self, client: WireClient, message: Message) -> None:
        try:
            address = parse(message.topic)
            if address.channel is Channel.TIME_ASK:
                ask = msgspec.json.decode(message.payload, type=TimeAsk)
                now_ms = int(self._clock.now().timestamp() * 1000)
                answer = TimeAnswer(t0_mono_ms=ask.t0_mono_ms, server_ms=now_ms)
                client.publish(
                    topic(self._cell, address.device_id, Channel.TIME_ANSWER), encode(answer)
                )
            elif address.channel is Channel.CLAIM:
                claim = msgspec.json.decode(message.payload, type=Claim)
                self._grant(client, address.device_id, claim)
            elif address.channel is Channel.AUTHORIZE:
                asked = msgspec.json.decode(message.payload, type=AuthorizationAsk)
                self._authorizing.take(address.device_id, asked)
        except (*UNREADABLE, MalformedMessage) as error:
            log.warning("ask_not_understood", topic=message.topic[:120], reason=str(error))

    def _grant(self, client: WireClient, device_id: str, claim: Claim) -> None:
        with self._database.connection() as db:
            grant = claim_command(db, device_id, claim.command_id, claim.nonce, self._clock.now())
        client.publish(topic(self._cell, device_id, Channel.GRANT), encode(grant))

    def _tell_authorization(self, device_id: str, answer: AuthorizationAnswer) -> None:
        client = self._client
        if client is None:
            # The device asks again, and gets the same answer.
            return
        try:
            client.publish(topic(self._cell, device_id, Channel.AUTHORIZATION), encode(answer))
        except WireError as error:
            log.warning("authorization_not_told", device_id=device_id, reason=str(error))

    # --- down --------------------------------------------------------------------------------------------------------

    def _speak(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(_LOOK_S)
            self._wake.clear()
            client = self._client
            if client is None or not self._connected.is_set():
                continue
            try:
                self._send_commands(client)
                self._send_configs(client)
            except WireError as error:
                log.warning("downlink_not_sent", reason=str(error))
            except SQLAlchemyError as error:
                log.warning("gateway_without_database", reason=str(error).splitlines()[0])
                self._stopping.wait(0.2)
            except Exception:
                log.exception("gateway_failed", cell=self._cell)
                self._stopping.wait(1.0)

    def _send_commands(self, client: WireClient) -> None:
        with self._database.reading_connection() as db:
            if not payments.has_due_commands(db, self._clock.now()):
                return
        with self._database.connection() as db:
            # Published before the commit, which only notes that it was: if that fails, the device gets the command
            # twice and runs it once. The cashier does not wait for a second flush to the disk.
            client.publish_many(
                (topic(one.cell, one.device_id, Channel.COMMAND), encode(one.command))
                for one in due_commands(db, self._clock.now(), cell=self._cell)
            )

    def _send_configs(self, client: WireClient) -> None:
        with self._database.reading_connection() as db:
            due = configs.due(db, self._cell)
        if not due:
            return
        for one in due:
            client.publish(
                topic(self._cell, one.device_id, Channel.CONFIG),
                encode(one.config),
                qos=1,
                retain=True,
            )
        with self._database.connection() as db:
            configs.note_sent(db, due)
        if len(due) == configs.MOST:
            # There may be more; commands are looked for in between.
            self._wake.set()
