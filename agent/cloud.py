"""The device's side of the wire: keeps a line to the cloud, says how the device is, hands on what comes down.

There is one line at a time: MQTT, or HTTPS while MQTT cannot get through. What travels is the same on both.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import structlog

from agent import mqtt_link
from agent.outbox_pump import OutboxPump
from agent.timekeeping import rfc3339
from agent.version import VERSION
from protocols.cloud.commands import (
    Ack,
    AuthorizationAnswer,
    DesiredConfig,
    Grant,
    ServiceState,
    TimeAnswer,
    encode,
)
from protocols.cloud.events import (
    UNREADABLE,
    AuthorizationAsk,
    Claim,
    DeviceEvent,
    Presence,
    ReportedState,
    Telemetry,
    TimeAsk,
)
from protocols.cloud.topics import Channel

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.clock import Clock
    from agent.https_fallback import HttpsLine
    from agent.identity import Identity
    from agent.mqtt_link import MqttLink, Received
    from agent.spool import Spool
    from agent.timekeeping import DeviceTime

log = structlog.get_logger()

FIRST_RETRY_S: Final = 0.3
SHORTEST_RETRY_S: Final = 1.0
LONGEST_RETRY_S: Final = 60.0
#: A connection that held this long starts the pauses from the beginning when it ends.
_STABLE_S: Final = 30.0
_STATE_DEBOUNCE_S: Final = 0.2
_STATE_REPEAT_S: Final = 900.0
TELEMETRY_S: Final = 60.0
_TIME_SAMPLES: Final = 4
_TIME_SAMPLE_S: Final = 2.0
_TIME_AGAIN_S: Final = 1800.0
#: A claim that was not answered by then is sent once more, the same claim.
CLAIM_AGAIN_S: Final = 0.7
#: A question to an issuer that was lost on its way is asked again after this.
AUTHORIZE_AGAIN_S: Final = 3.0


class Way(StrEnum):
    """How the device may reach the cloud."""

    AUTO = "auto"
    """MQTT; HTTPS while MQTT does not get through."""
    MQTT = "mqtt"
    HTTPS = "https"


class Line(Protocol):
    """Where messages go while it is open."""

    def publish(self, channel: Channel, payload: bytes) -> bool:
        """Hand over a message; False when the line has ended."""
        ...


@dataclass(frozen=True, slots=True)
class Granted:
    """The server's answer to a claim."""

    grant: Grant
    claimed_at: float
    """`elapsed()` when the claim was first sent: the lease counts from here."""


@dataclass(frozen=True, slots=True)
class Self:
    """What the device says about itself, asked whenever it is published."""

    state: Callable[[], ReportedState]
    telemetry: Callable[[], Telemetry]


class Cloud:
    """Keeps the line. `run` does the work and is cancelled to stop; then the device says goodbye.

    `on_command` gets the bytes of a command, when they came in, and whether a broker had kept them.
    """

    def __init__(
        self,
        identity: Identity,
        spool: Spool,
        time: DeviceTime,
        clock: Clock,
        *,
        boot: int,
        about: Self,
        on_command: Callable[[Received], None],
        on_config: Callable[[DesiredConfig], None],
        way: Way = Way.AUTO,
        fallback_after_s: float = 20.0,
    ) -> None:
        self._identity = identity
        self._spool = spool
        self._time = time
        self._clock = clock
        self._boot = boot
        self._life = new_nonce()
        self._about = about
        self._on_command = on_command
        self._on_config = on_config
        self._way = way
        self._fallback_after_s = fallback_after_s
        self.pump = OutboxPump(spool, clock, self._publish)
        self._line: Line | None = None
        self._link: MqttLink | None = None
        self._fallback: HttpsLine | None = None
        self._connection = 0
        self._mqtt_is_up = asyncio.Event()
        self._mqtt_is_down = asyncio.Event()
        self._mqtt_is_down.set()
        self._state_is_stale = asyncio.Event()
        self._published_state: ReportedState | None = None
        self._service_boot: str | None = None
        self._claims: dict[tuple[str, str], asyncio.Future[Grant]] = {}
        self._authorizations: dict[str, asyncio.Future[AuthorizationAnswer]] = {}
        self._time_asked: dict[int, tuple[float, asyncio.Future[None]]] = {}
        self._acks: deque[Ack] = deque(maxlen=10_000)
        self._ack_news = asyncio.Event()
        self.trouble = ""
        """Why there is no MQTT connection; empty while there is one."""

    @property
    def is_open(self) -> bool:
        """Whether there is a line."""
        return self._line is not None

    @property
    def link(self) -> MqttLink | None:
        """The MQTT connection, while there is one."""
        return self._link

    async def run(self) -> None:
        """Work until cancelled; then say that the device goes offline."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.pump.run())
                group.create_task(self._keep_releasing())
                group.create_task(self._keep_stated())
                group.create_task(self._keep_measuring())
                if self._way is not Way.HTTPS:
                    group.create_task(self._keep_mqtt())
                    group.create_task(self._keep_time())
                if self._way is not Way.MQTT:
                    group.create_task(self._keep_fallback())
        finally:
            self.pump.close()

    def state_changed(self) -> None:
        """Something that the device says about itself is different now."""
        self._state_is_stale.set()

    def report_now(self) -> None:
        """Publish presence, state and telemetry at once."""
        self._publish_presence("online")
        self._publish_state()
        self._publish(Channel.TELEMETRY, encode(self._about.telemetry()))

    def publish_loose(self, channel: Channel, payload: bytes) -> bool:
        """Send what may be lost; False when there is no line now."""
        return self._publish(channel, payload)

    async def use(self, identity: Identity) -> None:
        """Go on with a renewed certificate: the connection is made anew."""
        self._identity = identity
        if self._fallback is not None:
            self._fallback.use(identity)
        if self._link is not None:
            await self._link.close()

    async def claim(self, command_id: str, nonce: str, *, give_up_at: float) -> Granted | None:
        """Ask whether this device may run a command now; `None` when no answer came until `give_up_at`.

        Sent once more when the answer is late: the same claim, so the server answers the same.
        """
        answer: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        self._claims[command_id, nonce] = answer
        payload = encode(Claim(command_id=command_id, nonce=nonce))
        claimed_at = self._clock.elapsed()
        try:
            self._publish(Channel.CLAIM, payload)
            for wait_s in (CLAIM_AGAIN_S, None):
                left_s = give_up_at - self._clock.elapsed()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left_s if wait_s is None else min(wait_s, left_s)):
                        return Granted(await asyncio.shield(answer), claimed_at)
                if wait_s is not None:
                    self._publish(Channel.CLAIM, payload)
            return None
        finally:
            del self._claims[command_id, nonce]

    async def authorize(
        self, ask: AuthorizationAsk, *, give_up_at: float
    ) -> AuthorizationAnswer | None:
        """Ask for the issuer's answer to a card; `None` when none came until `give_up_at`.

        Said again while it is not answered, on whatever line there is then: the server answers the same tap the same.
        """
        answer: asyncio.Future[AuthorizationAnswer] = asyncio.get_running_loop().create_future()
        self._authorizations[ask.tap_id] = answer
        payload = encode(self._spool.net.masked(ask))
        try:
            while (left_s := give_up_at - self._clock.elapsed()) > 0:
                self._publish(Channel.AUTHORIZE, payload)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(AUTHORIZE_AGAIN_S, left_s)):
                        return await asyncio.shield(answer)
            return None
        finally:
            del self._authorizations[ask.tap_id]

    # --- up ----------------------------------------------------------------------------------------------------

    def _publish(self, channel: Channel, payload: bytes) -> bool:
        return self._line is not None and self._line.publish(channel, payload)

    def _presence(self, state: str) -> bytes:
        return encode(
            Presence(
                state="online" if state == "online" else "offline",
                boot=self._boot,
                conn=self._connection,
                life=self._life,
                agent_version=VERSION,
                ts=rfc3339(self._time.now()),
            )
        )

    def _publish_presence(self, state: str) -> None:
        self._publish(Channel.PRESENCE, self._presence(state))

    def _publish_state(self) -> None:
        state = self._about.state()
        self._state_is_stale.clear()
        if self._publish(Channel.STATE, encode(state)):
            self._published_state = state

    async def _keep_stated(self) -> None:
        """Publish the state shortly after it changed, and now and then anyway."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STATE_REPEAT_S):
                    await self._state_is_stale.wait()
                    await asyncio.sleep(_STATE_DEBOUNCE_S)
                    self._state_is_stale.clear()
                    if _same(self._about.state(), self._published_state):
                        continue
            if self.is_open:
                self._publish_state()

    async def _keep_measuring(self) -> None:
        while True:
            await asyncio.sleep(TELEMETRY_S)
            if self.is_open:
                self._publish(Channel.TELEMETRY, encode(self._about.telemetry()))

    # --- lines -------------------------------------------------------------------------------------------------

    def _begin(self, line: Line) -> None:
        self._line = line
        self._service_boot = None
        self._publish_presence("online")
        self._publish_state()
        self.pump.open()

    def _end(self, line: Line) -> None:
        if self._line is line:
            self._line = None
            self.pump.close()

    async def _keep_mqtt(self) -> None:
        pauses = _Pauses()
        while True:
            self._connection += 1
            identity = self._identity
            try:
                link = await mqtt_link.connect(
                    identity,
                    self._clock,
                    will=self._presence("offline"),
                    receive=self._receive,
                    ignore_dates=self._time.is_wall_clock_wrong(),
                )
            except mqtt_link.LinkRefused as refused:
                if self.trouble != refused.message:
                    log.warning("cloud_unreachable", reason=refused.message)
                self.trouble = refused.message
                await asyncio.sleep(pauses.next_s())
                continue
            if identity is not self._identity:
                # Renewed meanwhile.
                await link.close()
                continue
            log.info("cloud_connected", boot=self._boot, connection=self._connection)
            self.trouble = ""
            since = self._clock.elapsed()
            self._link = link
            self._mqtt_is_up.set()
            self._mqtt_is_down.clear()
            self._begin(link)
            try:
                reason = await asyncio.shield(link.lost)
            except asyncio.CancelledError:
                # On purpose: the last will stays unsent, so say it.
                self._publish_presence("offline")
                raise
            finally:
                self._link = None
                self._mqtt_is_up.clear()
                self._mqtt_is_down.set()
                self._end(link)
                await link.close()
            self.trouble = f"the connection to the broker ended ({reason})"
            log.warning("cloud_lost", reason=reason)
            if self._clock.elapsed() - since >= _STABLE_S:
                pauses = _Pauses()
            await asyncio.sleep(pauses.next_s())

    async def _keep_fallback(self) -> None:
        while True:
            if self._way is Way.AUTO:
                await self._until_mqtt_was_down()
            from agent import https_fallback  # noqa: PLC0415 (only where MQTT is blocked)

            line = https_fallback.HttpsLine(
                self._identity,
                self._time,
                self._clock,
                receive=self._receive,
            )
            self._fallback = line
            running = asyncio.create_task(line.run())
            try:
                if self._way is Way.HTTPS:
                    self._connection += 1
                log.info("cloud_over_https")
                await line.works.wait()
                if not self._mqtt_is_up.is_set():
                    self._begin(line)
                await self._mqtt_is_up.wait()
                log.info("cloud_back_on_mqtt")
            finally:
                self._end(line)
                self._fallback = None
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    async def _until_mqtt_was_down(self) -> None:
        """Return when MQTT has not got through for as long as the fallback waits."""
        while True:
            await self._mqtt_is_down.wait()
            try:
                async with asyncio.timeout(self._fallback_after_s):
                    await self._mqtt_is_up.wait()
            except TimeoutError:
                return

    # --- down --------------------------------------------------------------------------------------------------

    def _receive(self, received: Received) -> None:
        """In the event loop, for every message from whatever line."""
        try:
            self._dispatch(received)
        except UNREADABLE as error:
            log.warning("downlink_unreadable", channel=str(received.channel), reason=str(error))

    def _dispatch(self, received: Received) -> None:
        match received.channel:
            case Channel.COMMAND:
                self._on_command(received)
            case Channel.GRANT:
                self._take_grant(_grants.decode(received.payload))
            case Channel.AUTHORIZATION:
                self._take_authorization(_authorizations.decode(received.payload))
            case Channel.ACK:
                self._acks.append(_acks.decode(received.payload))
                self._ack_news.set()
            case Channel.TIME_ANSWER:
                self._take_time(_times.decode(received.payload), received.at)
            case Channel.CONFIG:
                self._on_config(msgspec.json.decode(received.payload, type=DesiredConfig))
            case None:
                self._take_service(_services.decode(received.payload))
            case _:
                log.info("downlink_not_used", channel=str(received.channel))

    def _take_grant(self, grant: Grant) -> None:
        waiting = self._claims.get((grant.command_id, grant.nonce))
        if waiting is None:
            log.info("grant_unclaimed", command_id=grant.command_id)
        elif not waiting.done():
            waiting.set_result(grant)

    def _take_authorization(self, answer: AuthorizationAnswer) -> None:
        waiting = self._authorizations.get(answer.tap_id)
        if waiting is None:
            log.info("authorization_not_waited_for", tap_id=answer.tap_id)
        elif not waiting.done():
            waiting.set_result(answer)

    def _take_service(self, service: ServiceState) -> None:
        known, self._service_boot = self._service_boot, service.boot
        if not service.up:
            # Nobody would commit what is sent now; it waits here.
            self.pump.close()
            self._service_boot = ""
        elif known is not None and known != service.boot:
            self._publish_presence("online")
            self._publish_state()
            self.pump.open()

    async def _keep_releasing(self) -> None:
        """Acknowledgements, one after the other."""
        while True:
            await self._ack_news.wait()
            self._ack_news.clear()
            while self._acks:
                await self._take_ack(self._acks.popleft())

    async def _take_ack(self, ack: Ack) -> None:
        released = await self._spool.acknowledge(ack)
        if released.is_from_later:
            await self._start_over(ack)
            return
        if released.rejected:
            log.warning("messages_rejected", stream=ack.stream, count=released.rejected)
        self.pump.released(ack)
        if ack.resend:
            await self.pump.send_again(ack)

    async def _start_over(self, ack: Ack) -> None:
        """The server knows messages that this journal never wrote: somebody put back an older copy of the disk."""
        log.error("journal_is_an_older_copy", stream=ack.stream, epoch=ack.epoch, upto=ack.upto)
        await self._spool.start_over(
            ack.epoch + 1,
            DeviceEvent(
                kind="journal.older_copy",
                severity="error",
                text="The server has messages that this device does not remember sending: its disk was put back to "
                "an earlier state. Compare the day's totals with the readers.",
                facts={"stream": ack.stream, "epoch": str(ack.epoch), "upto": str(ack.upto)},
            ),
        )
        # Other answers to the old numbers say the same.
        self._acks.clear()
        self.state_changed()
        if self.is_open:
            self.pump.open()

    # --- time --------------------------------------------------------------------------------------------------

    async def _keep_time(self) -> None:
        while True:
            await self._mqtt_is_up.wait()
            for _ in range(_TIME_SAMPLES):
                await self._ask_time()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TIME_AGAIN_S):
                    await self._mqtt_is_down.wait()

    async def _ask_time(self) -> None:
        asked_at = self._clock.elapsed()
        mark = int(asked_at * 1000)
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._time_asked[mark] = asked_at, answered
        try:
            if self._publish(Channel.TIME_ASK, encode(TimeAsk(t0_mono_ms=mark))):
                async with asyncio.timeout(_TIME_SAMPLE_S):
                    await answered
        except TimeoutError:
            pass
        finally:
            self._time_asked.pop(mark, None)

    def _take_time(self, answer: TimeAnswer, answered_at: float) -> None:
        asked_at, answered = self._time_asked.pop(answer.t0_mono_ms, (0.0, None))
        if answered is None:
            return
        self._time.learn(answer.server_ms, asked_at=asked_at, answered_at=answered_at)
        if not answered.done():
            answered.set_result(None)


class _Pauses:
    """Between attempts to connect: a short one, then 1 to 60 s, spread so that a chain's shops do not come together."""

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._jitter = jitter
        self._longest_s = 0.0

    def next_s(self) -> float:
        if self._longest_s == 0.0:
            self._longest_s = SHORTEST_RETRY_S
            return FIRST_RETRY_S * (0.5 + self._jitter())
        self._longest_s = min(self._longest_s * 2, LONGEST_RETRY_S)
        return SHORTEST_RETRY_S + (self._longest_s - SHORTEST_RETRY_S) * self._jitter()


def new_nonce() -> str:
    """For one claim; nobody else can guess it."""
    return secrets.token_hex(12)


def _same(now: ReportedState, before: ReportedState | None) -> bool:
    """Whether the two say the same, apart from when and how much waits."""
    if before is None:
        return False
    return (
        msgspec.structs.replace(
            now, ts=before.ts, outbox=before.outbox, clock_offset_ms=before.clock_offset_ms
        )
        == before
    )


_acks = msgspec.json.Decoder(Ack)
_grants = msgspec.json.Decoder(Grant)
_authorizations = msgspec.json.Decoder(AuthorizationAnswer)
_times = msgspec.json.Decoder(TimeAnswer)
_services = msgspec.json.Decoder(ServiceState)
