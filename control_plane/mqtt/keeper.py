"""Keeps a broker running, in line with the database, and proven safe."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.devices import queries
from control_plane.devices.authority import Authority
from control_plane.devices.queries import Access
from control_plane.devices.service import ACCESS_TOPIC
from control_plane.live import LiveHub
from control_plane.mqtt.broker import Broker, BrokerDown
from control_plane.mqtt.selftest import Findings, SelfTest
from control_plane.mqtt.wire import WireError

log = structlog.get_logger()

#: How often the database is looked at when nobody says that something changed.
_LOOK_S: Final = 2.0
_TICK_S: Final = 0.25
#: A reload of rights takes effect a moment after it was asked for.
_SETTLE_S: Final = 5.0


class BrokerUnsafe(BrokerDown):
    """The broker does not keep devices apart. The text names the holes."""


class BrokerKeeper:
    """A broker as a service. ``is_ready`` turns true when the self-test has passed, and false when it went down."""

    def __init__(
        self,
        broker: Broker,
        database: Database,
        hub: LiveHub,
        authority: Authority,
        foreign: Authority,
        clock: Clock,
        *,
        cells: list[str],
    ) -> None:
        self.broker = broker
        self._database = database
        self._hub = hub
        self._authority = authority
        self._foreign = foreign
        self._clock = clock
        self._cells = cells
        self._ready = False
        #: Requests that enrol a device and the keeper itself both write the broker's files.
        self._turn = threading.RLock()
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._forget = hub.listen(ACCESS_TOPIC, self._wake.set)
        self._thread = threading.Thread(target=self._keep, name="broker-keeper", daemon=True)

    def is_ready(self) -> bool:
        """Whether devices may be let in, and are kept apart."""
        return self._ready and self.broker.is_running()

    def start(self) -> None:
        """Run the broker and test it. Raises BrokerDown, BrokerUnsafe."""
        with self._turn:
            self._bring_up(self._access())
        self._thread.start()

    def stop(self) -> None:
        """End the broker in good order."""
        self._stopping.set()
        self._wake.set()
        self._forget()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self._ready = False
        self.broker.stop()

    def look_now(self) -> None:
        """Apply what the database says before returning, for an answer after which a device connects at once."""
        with self._turn:
            self.broker.apply(self._access())

    def _bring_up(self, access: Access) -> None:
        self._ready = False
        tests = [
            SelfTest(
                self._authority,
                self.broker.address,
                self.broker.profile,
                self._clock,
                cell=cell,
                foreign=self._foreign,
            )
            for cell in self._cells
        ]
        guests = tuple(name for test in tests for name in test.names)
        self.broker.start(replace(access, allowed=access.allowed + guests))
        try:
            for test in tests:
                self._judge(test.run())
        except WireError as error:
            self.broker.stop()
            raise BrokerDown(f"The broker could not be tested: {error}") from error
        except BrokerUnsafe:
            self.broker.stop()
            raise
        self.broker.apply(access)
        self._ready = True

    def _judge(self, findings: Findings) -> None:
        if not findings.is_safe:
            log.error("broker_unsafe", holes=findings.holes)
            raise BrokerUnsafe(
                "The broker does not keep devices apart: " + "; ".join(findings.holes)
            )
        log.info(
            "broker_self_test_passed",
            broker=self.broker.profile.name,
            seconds=findings.seconds,
            surprises=findings.surprises,
        )

    def _keep(self) -> None:
        looked = time.monotonic()
        pause = 1.0
        while not self._stopping.is_set():
            is_asked = self._wake.wait(_TICK_S)
            self._wake.clear()
            if self._stopping.is_set():
                return
            try:
                if not self.broker.is_running():
                    log.warning("broker_died")
                    with self._turn:
                        self._bring_up(self._access())
                    pause = 1.0
                elif is_asked or time.monotonic() - looked > _LOOK_S:
                    looked = time.monotonic()
                    self.look_now()
            except SQLAlchemyError as error:
                log.warning("broker_access_not_read", reason=str(error).splitlines()[0])
            except BrokerDown as error:
                log.warning("broker_not_back", reason=str(error))
                self._stopping.wait(pause)
                pause = min(30.0, pause * 2)
            except Exception:
                # Nothing may end this thread: a revoked device would stay connected.
                log.exception("broker_keeper_failed")
                self._stopping.wait(pause)

    def _access(self) -> Access:
        with self._database.reading_connection() as db:
            return queries.access(db, self._clock.now())
