"""The agent as a whole: makes every part, starts them in order, and ends them so that nothing is forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from agent import health, profiles, support
from agent import identity as identities
from agent.cloud import Cloud, Self, Way, new_nonce
from agent.commands import AgentActions, Commands
from agent.discovery.finder import Discovery
from agent.errors import AgentError
from agent.firmware.updates import Updates
from agent.housework import Housework
from agent.journal import Condition, Journal, JournalDamaged, fact, set_fact
from agent.log_book import BOOK
from agent.log_tail import LogTail
from agent.logs import tell_of_cards
from agent.reader_settings import ReaderSettings
from agent.spool import Spool
from agent.supervisor import Supervisor
from agent.tap import Taps
from agent.timekeeping import DeviceTime, rfc3339
from agent.version import VERSION
from protocols.cloud.events import (
    DeviceEvent,
    ReportedState,
    Telemetry,
)
from protocols.cloud.http import BUNDLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.clock import Clock
    from agent.cloud import Granted
    from agent.config import AgentConfig
    from agent.doctor import Finding
    from agent.https_client import HttpsClient
    from agent.identity import Identity
    from agent.journal import Opening
    from agent.mqtt_link import Received
    from protocols.cloud.commands import AuthorizationAnswer, DesiredConfig
    from protocols.cloud.events import AuthorizationAsk

log = structlog.get_logger()

#: What this agent understands, told to the server.
ACCEPTS: Final = ["cmd.v1"]

EXIT_OK: Final = 0
#: As of sysexits.h: the service manager is to start it again.
EXIT_AGAIN: Final = 75

#: At the end, what was just written may still be sent.
_LAST_WORDS_S: Final = 2.0
_RENEW_AGAIN_S: Final = 3600.0
#: Longest a piece of a file may take on a slow line.
_FILE_S: Final = 120.0
#: Renewals of a fleet that was enrolled on one day are spread over this part of a certificate's life.
_RENEWAL_SPREAD: Final = 0.1


class Agent:
    """One run of the agent. Raises NotEnrolled, FolderInUse, JournalTooNew, JournalUnwritable when it cannot begin."""

    def __init__(self, config: AgentConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._started_at = clock.elapsed()
        self._identity = identities.load(config.state_path)
        self._profile_faults = profiles.choose(config)
        self._time = DeviceTime(clock)
        self._journal = Journal(
            config.state_path,
            now=self._time.now(),
            first_epoch=self._identity.membership.epoch,
        )
        self._spool = Spool(self._journal, self._time)
        tell_of_cards(self._spool.net.noticed)
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._renewing = asyncio.Lock()
        self._exit_code = EXIT_OK
        self.cloud = Cloud(
            self._identity,
            self._spool,
            self._time,
            clock,
            boot=self._journal.boot,
            about=Self(
                lambda: self._spool.net.masked(self._state()),
                lambda: self._spool.net.masked(self._telemetry()),
            ),
            on_command=self._on_command,
            on_config=self._on_config,
            way=Way(config.cloud),
            fallback_after_s=config.https_after_s,
        )
        self.housework = Housework(
            self._journal, self._spool, self._time, clock, on_damage=self._start_again
        )
        self.settings = ReaderSettings(
            config.state_path,
            self._identity.membership.device_id,
            key=self._device_key,
        )
        self.taps = Taps(
            self._journal,
            self._spool,
            self._time,
            clock,
            claim=self._claim,
            authorize=self._authorize,
        )
        self.readers = Supervisor(
            config.readers,
            self._journal,
            self._spool,
            self.taps,
            self._time,
            clock,
            changed=self.cloud.state_changed,
            settings=self.settings.of,
        )
        self.settings.profile_of = self.readers.profile_of
        self.settings.on_change = self.readers.settings_changed
        self.discovery = Discovery(config.discovery, config.readers, self.readers, clock)
        self._file_client: tuple[Identity, HttpsClient] | None = None
        BOOK.open(config.state_path / "log")
        self.tail = LogTail(self.cloud.publish_loose, clock)
        self.updates = Updates(
            self._journal,
            self._spool,
            self.taps,
            self._time,
            clock,
            folder=config.state_path / "firmware",
            fetch=self._fetch,
            authorities=self._authorities,
        )
        self.commands = Commands(
            self._journal,
            self._spool,
            self.cloud.pump,
            self.taps,
            self._time,
            clock,
            AgentActions(
                report=self.cloud.report_now,
                restart=self.stop,
                update=self.updates.take,
                transferring=self.updates.transferring,
                renew=self._renew,
                self_test=self._self_test,
                tail=self.tail.begin,
                send_bundle=self._send_bundle,
            ),
        )

    def _start_again(self) -> None:
        """The journal is damaged: only a new start can begin another."""
        log.error("journal_damaged_restart")
        self._exit_code = EXIT_AGAIN
        self.stop()

    def stop(self) -> None:
        """End in order: running payments may finish. Asked a second time: at once."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def run(self) -> int:
        """Work until told to stop; returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        self._journal.start()
        try:
            await self._begin()
            async with asyncio.TaskGroup() as group:
                # In this order they may use each other; they end in the opposite one.
                work = [
                    group.create_task(part)
                    for part in (
                        self.taps.run(),
                        self.updates.run(),
                        self.commands.run(),
                        self.cloud.run(),
                        self.readers.run(),
                        self.discovery.run(),
                        self.housework.run(),
                        self._keep_certificate(),
                    )
                ]
                await self._stop.wait()
                await self._end()
                for task in reversed(work):
                    task.cancel()
        finally:
            await self._journal.close()
        log.info("agent_stopped", exit_code=self._exit_code)
        return self._exit_code

    # --- beginning and end -------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        member = self._identity.membership
        log.info(
            "agent_started",
            version=VERSION,
            device_id=member.device_id,
            boot=self._journal.boot,
            epoch=self._journal.epoch,
        )
        await self._spool.load()
        await self._adopt_identity()
        if (event := _about_opening(self._journal.opening)) is not None:
            log.error("journal_begun_anew", kind=event.kind, text=event.text)
            await self._spool.record(event)
        for fault in self._profile_faults:
            log.error("profiles_refused", reason=fault.message)
            await self._spool.record(
                DeviceEvent(
                    kind="profiles.refused",
                    severity="error",
                    text=f"The additional reader profiles are not used: {fault.message}",
                    facts={name: str(value) for name, value in fault.facts.items()},
                )
            )
        await self.taps.recover()
        await self.updates.recover()
        await self.commands.recover()

    async def _adopt_identity(self) -> None:
        """A journal that was written as another device cannot be continued under its numbers."""
        device_id = self._identity.membership.device_id
        before = await self._journal.read(lambda db: fact(db, "device_id"))
        if before is not None and before != device_id:
            await self._spool.start_over(
                self._identity.membership.epoch,
                DeviceEvent(
                    kind="journal.other_device",
                    severity="warning",
                    text=f"This box was enrolled anew; before it was {before}. "
                    "What that device had not sent yet follows.",
                    facts={"previous_device_id": before},
                ),
            )
        await self._journal.write(lambda tx: set_fact(tx, "device_id", device_id))

    async def _end(self) -> None:
        """Let payments finish, then give the last messages a moment."""
        log.info("agent_stopping", payments=len(self.taps.running()))
        self.taps.close_for_new()
        if isinstance(self._journal.trouble, JournalDamaged):
            return
        await self._unless_hurried(
            lambda: not self.taps.running() and not self.updates.transferring(),
            self._config.finish_within_s,
        )
        await self._unless_hurried(
            lambda: not self.cloud.is_open or self._spool.pending == 0, _LAST_WORDS_S
        )

    async def _unless_hurried(self, is_done: Callable[[], bool], patience_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while not is_done() and not self._hurry.is_set():  # noqa: ASYNC110 (several parts, once)
                    await asyncio.sleep(0.05)

    # --- what the parts ask ------------------------------------------------------------------------------------

    def _on_command(self, received: Received) -> None:
        self.commands.received(received)

    def _device_key(self) -> bytes:
        return self._identity.key_file.read_bytes()

    def _on_config(self, desired: DesiredConfig) -> None:
        self.settings.take(desired)
        self.cloud.state_changed()

    async def _authorize(
        self, ask: AuthorizationAsk, give_up_at: float
    ) -> AuthorizationAnswer | None:
        return await self.cloud.authorize(ask, give_up_at=give_up_at)

    async def _claim(self, command_id: str, give_up_at: float) -> Granted | None:
        return await self.cloud.claim(command_id, new_nonce(), give_up_at=give_up_at)

    def _authorities(self) -> bytes:
        return self._identity.ca_file.read_bytes()

    async def _self_test(self) -> list[Finding]:
        return await support.self_test(
            self._config.state_path, self._clock, self.taps, self.readers.reported()
        )

    async def _send_bundle(self, command_id: str) -> int:
        """Bytes that were sent. Raises AgentError."""
        about = {"state": self._state(), "telemetry": self._telemetry()}
        packed = await support.bundle(about, await self._self_test())
        await self._request("PUT", f"{BUNDLE}/{command_id}", packed)
        return len(packed)

    async def _fetch(self, path: str) -> bytes:
        return await self._request("GET", path)

    async def _request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """One signed request. Raises ControlPlaneUnreachable, ControlPlaneRefused."""
        from agent.https_client import HttpsClient  # noqa: PLC0415 (only for files)

        identity, member = self._identity, self._identity.membership
        if self._file_client is None or self._file_client[0] is not identity:
            client = HttpsClient(
                member.control_url,
                self._time,
                self._clock,
                ca_pem=member.control_ca,
                identity=identity,
            )
            self._file_client = identity, client
        return await self._file_client[1].request(method, path, body, timeout_s=_FILE_S)

    def _state(self) -> ReportedState:
        member = self._identity.membership
        return ReportedState(
            ts=rfc3339(self._time.now()),
            boot=self._journal.boot,
            agent_version=VERSION,
            accepts=ACCEPTS,
            epoch=self._journal.epoch,
            config=self.settings.reported(),
            readers=self.readers.reported(),
            outbox=self.housework.level(),
            hostname=health.host_name(),
            platform=health.platform_name(),
            certificate_expires=rfc3339(member.valid_until),
            clock_offset_ms=self._time.offset_ms(),
        )

    def _telemetry(self) -> Telemetry:
        return health.measure(
            self._time,
            self._clock,
            boot=self._journal.boot,
            started_at=self._started_at,
            state_dir=self._config.state_path,
            pending=self._spool.pending,
            readers={},
        )

    # --- the certificate ---------------------------------------------------------------------------------------

    async def _keep_certificate(self) -> None:
        """Renew at two thirds of the certificate's life, and again and again until it works."""
        spread = random.uniform(0, _RENEWAL_SPREAD)  # noqa: S311 (spreads the load, no secret)
        while True:
            member = self._identity.membership
            due = (
                self._identity.renewal_due_at() + (member.valid_until - member.valid_from) * spread
            )
            wait = min(due - self._time.now(), timedelta(seconds=_RENEW_AGAIN_S))
            if wait > timedelta(0):
                await asyncio.sleep(wait.total_seconds())
                continue
            try:
                await self._renew()
            except AgentError as error:
                log.warning("certificate_not_renewed", reason=error.message)
                await asyncio.sleep(_RENEW_AGAIN_S * random.uniform(0.5, 1))  # noqa: S311

    async def _renew(self) -> None:
        """Raises AgentError."""
        # Imported here: it brings the cryptography library.
        from agent.enrollment import renew  # noqa: PLC0415

        async with self._renewing:
            try:
                fresh = await renew(
                    self._identity, self._config.state_path, self._time, self._clock
                )
            except OSError as error:
                raise AgentError(f"the new certificate cannot be stored: {error}") from error
            self._identity = fresh
            log.info("certificate_renewed", until=rfc3339(fresh.membership.valid_until))
            await self.cloud.use(fresh)
            self.cloud.state_changed()


def _about_opening(opening: Opening) -> DeviceEvent | None:
    match opening.condition:
        case Condition.DAMAGED:
            return DeviceEvent(
                kind="journal.damaged",
                severity="error",
                text=f"The device's journal was damaged and begun anew. The old one is kept as {opening.kept_as}; "
                f"{opening.saved} messages that were not sent yet could be saved from it. "
                "Compare the day's totals with the readers.",
                facts={"kept_as": opening.kept_as, "saved": str(opening.saved)},
            )
        case Condition.MISSING:
            return DeviceEvent(
                kind="journal.missing",
                severity="error",
                text="The device's journal was gone and was begun anew. What it had not sent is lost. "
                "Compare the day's totals with the readers.",
            )
        case Condition.INTACT | Condition.FIRST:
            return None
