"""The same messages over HTTPS, for shops that block the MQTT port. Imported only where it is needed.

Up: what is published is collected and posted in batches. Down: a long poll for commands and desired state.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from agent.https_client import (
    ControlPlaneRefused,
    ControlPlaneUnreachable,
    HttpsClient,
)
from agent.mqtt_link import Received
from protocols.cloud.commands import Ack, DesiredConfig
from protocols.cloud.http import (
    AUTHORIZATION,
    CLAIM,
    DESIRED,
    MAX_MESSAGES,
    OUTBOX,
    AuthorizationReply,
    ClaimAnswer,
    OutboxAnswer,
    OutboxUpload,
    UpMessage,
    encode,
)
from protocols.cloud.topics import Channel

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.clock import Clock
    from agent.identity import Identity
    from agent.timekeeping import DeviceTime

log = structlog.get_logger()

POLL_S: Final = 25
REPEAT_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0
#: How long an issuer may think.
_AUTHORIZATION_S: Final = 40.0
#: Messages waiting to be posted; the outbox sends again what is dropped here.
_MOST_QUEUED: Final = 4 * MAX_MESSAGES


class _Desired(msgspec.Struct, kw_only=True):
    """`protocols.cloud.http.Desired` with its commands unread: one that is not understood must not hide the others."""

    commands: list[msgspec.Raw] = []
    config: DesiredConfig | None = None
    resend: list[Ack] = []
    server_ms: int


class HttpsLine:
    """Looks like an MQTT connection to those who publish and receive."""

    def __init__(
        self,
        identity: Identity,
        time: DeviceTime,
        clock: Clock,
        *,
        receive: Callable[[Received], None],
    ) -> None:
        self._clock = clock
        self._time = time
        self._receive = receive
        # Each waits for its own answers, so each has its own connection.
        self._clients = tuple(
            HttpsClient(
                identity.membership.control_url,
                time,
                clock,
                ca_pem=identity.membership.control_ca,
                identity=identity,
            )
            for _ in range(4)
        )
        self._up, self._down, self._claims, self._issuers = self._clients
        self._authorizing: set[bytes] = set()
        self._queue: deque[UpMessage] = deque(maxlen=_MOST_QUEUED)
        self._news = asyncio.Event()
        self._asking: set[asyncio.Task[None]] = set()
        self.works = asyncio.Event()
        """Set while the last request was answered."""

    def use(self, identity: Identity) -> None:
        """Go on with a renewed certificate."""
        for client in self._clients:
            client.use(identity)

    def publish(self, channel: Channel, payload: bytes) -> bool:
        """Take a message to be posted soon; always possible."""
        if channel in {Channel.CLAIM, Channel.AUTHORIZE}:
            ask = self._claim if channel is Channel.CLAIM else self._authorize
            task = asyncio.create_task(ask(payload))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
        elif channel is not Channel.TIME_ASK:
            # The time comes with every answer.
            self._queue.append(UpMessage(channel=channel.value, payload=payload.decode()))
            self._news.set()
        return True

    async def run(self) -> None:
        """Post and poll until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_posting())
                group.create_task(self._keep_polling())
        finally:
            for client in self._clients:
                client.close()

    async def _keep_posting(self) -> None:
        pause_s = 0.0
        while True:
            await self._news.wait()
            self._news.clear()
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_MESSAGES))]
                if await self._post(batch):
                    pause_s = 0.0
                    continue
                self._queue.extendleft(reversed(batch))
                pause_s = await _pause(pause_s)

    async def _post(self, batch: list[UpMessage]) -> bool:
        asked_at = self._clock.elapsed()
        try:
            answer = msgspec.json.decode(
                await self._up.request("POST", OUTBOX, encode(OutboxUpload(messages=batch))),
                type=OutboxAnswer,
            )
        except (ControlPlaneUnreachable, ControlPlaneRefused, msgspec.DecodeError) as error:
            self._note(error)
            return False
        self.works.set()
        self._time.learn(answer.server_ms, asked_at=asked_at, answered_at=self._clock.elapsed())
        for ack in answer.acks:
            self._tell(Channel.ACK, encode(ack))
        return True

    async def _keep_polling(self) -> None:
        pause_s = 0.0
        wait_s = 0
        seen_hash = ""
        before: list[msgspec.Raw] = []
        while True:
            path = f"{DESIRED}?wait={wait_s}&config_hash={seen_hash}"
            try:
                answer = msgspec.json.decode(
                    await self._down.request("GET", path, timeout_s=wait_s + 15), type=_Desired
                )
            except (ControlPlaneUnreachable, ControlPlaneRefused, msgspec.DecodeError) as error:
                self._note(error)
                pause_s = await _pause(pause_s)
                continue
            # The first answer comes at once: it shows that this way works.
            wait_s, pause_s = POLL_S, 0.0
            self.works.set()
            for command in answer.commands:
                self._tell(Channel.COMMAND, bytes(command))
            if answer.config is not None:
                self._tell(Channel.CONFIG, encode(answer.config))
            for ack in answer.resend:
                self._tell(Channel.ACK, encode(ack))
            config_hash = answer.config.hash if answer.config else seen_hash
            says_nothing_new = answer.commands == before and config_hash == seen_hash
            if answer.resend or (answer.commands and says_nothing_new):
                # The server does not wait while it has something to say, even when it has said it before.
                await asyncio.sleep(REPEAT_S)
            before, seen_hash = answer.commands, config_hash

    async def _claim(self, payload: bytes) -> None:
        try:
            answer = msgspec.json.decode(
                await self._claims.request("POST", CLAIM, payload), type=ClaimAnswer
            )
        except (ControlPlaneUnreachable, ControlPlaneRefused, msgspec.DecodeError) as error:
            # Whoever claimed waits no longer than the command may.
            self._note(error)
            return
        self._tell(Channel.GRANT, encode(answer.grant))

    async def _authorize(self, payload: bytes) -> None:
        if payload in self._authorizing:
            # The issuer thinks; the same question is on its way.
            return
        self._authorizing.add(payload)
        try:
            reply = msgspec.json.decode(
                await self._issuers.request(
                    "POST", AUTHORIZATION, payload, timeout_s=_AUTHORIZATION_S
                ),
                type=AuthorizationReply,
            )
        except (ControlPlaneUnreachable, ControlPlaneRefused, msgspec.DecodeError) as error:
            # Asked again, as long as the card waits.
            self._note(error)
            return
        finally:
            self._authorizing.discard(payload)
        self._tell(Channel.AUTHORIZATION, encode(reply.answer))

    def _tell(self, channel: Channel, payload: bytes) -> None:
        self._receive(Received(channel, payload, self._clock.elapsed(), is_retained=False))

    def _note(self, error: Exception) -> None:
        if self.works.is_set():
            log.warning("https_failed", reason=str(error))
        self.works.clear()


async def _pause(before_s: float) -> float:
    """Wait longer than the time before; returns how long was meant."""
    pause_s = min(max(1.0, before_s * 2), _LONGEST_PAUSE_S)
    await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 (spreads the load, no secret)
    return pause_s
