"""Runs the shop: terminals and an agent as child programs, everything else in this process."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from control_plane.accounts.permissions import Role
from control_plane.app import build, create_app, running
from control_plane.config import BrokerSettings, LogSettings, Settings
from control_plane.db import migrate
from control_plane.db.scope import Scope
from control_plane.demo import history, ports, seed, trade
from control_plane.demo.acquirer import Acquirer
from control_plane.demo.card_acquirer import CardAcquirer
from control_plane.demo.children import Children, Death, program
from control_plane.demo.terminals import Terminal, cast_of, heard_from
from control_plane.devices import queries as devices
from control_plane.devices.link import BrokerDirectory
from control_plane.devices.queries import ReaderFilter
from control_plane.logs import configure_logs
from control_plane.parts import Parts, ProcessRole
from control_plane.server import Server, make_server
from control_plane.virtual_terminal import cloud_readers
from control_plane.web.simulators import Simulators
from control_plane.web.visits import DemoSignIns
from protocols.secret import Secret

_READY_S: Final = 30.0
_LOOK_S: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a person can choose."""

    host: str = "127.0.0.1"
    #: The next free one is taken when something listens there.
    port: int = 8000
    #: Kept, and found again by the next run; None: a temporary one that goes with the demo.
    data_dir: Path | None = None
    broker: Literal["nats", "mosquitto"] = "nats"
    database_url: str = ""
    language: str | None = None
    #: 1: the simulated terminals take their time as real ones do; 0: they answer at once.
    pace: float = 1.0
    with_history: bool = True
    #: Readers on USB and Bluetooth too, for which umockdev and dbus must be installed.
    is_full: bool = False


@dataclass(frozen=True, slots=True)
class ShownReader:
    """A reader as the control plane sees it. ``state`` is ``offline`` when its device is."""

    id: str
    name: str
    state: str


class NotReady(Exception):
    """The shop did not open. The text says what was missing."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A running shop."""

    url: str
    folder: Path
    parts: Parts
    shop: seed.Shop
    terminals: list[Terminal]
    children: Children
    acquirer: Acquirer
    card_acquirer: CardAcquirer

    def make_api_key(self) -> Secret[str]:
        """A key for the public API."""
        with self.parts.database.transaction() as db:
            return seed.api_key(db, self.shop.merchant_id)

    def cloud_reader(self) -> str:
        """The first of the readers that the processor drives."""
        with self.parts.database.reading_connection() as db:
            return cloud_readers.readers(db, Scope(self.shop.merchant_id))[0].id

    def readers(self) -> list[ShownReader]:
        """The readers of this shop, in the order of their terminals, as far as they were reported."""
        names = [terminal.name for terminal in self.terminals]
        with self.parts.database.reading_connection() as db:
            found = devices.readers(db, Scope(self.shop.merchant_id), ReaderFilter())
        shown = [
            ShownReader(row.id, row.name, row.state if row.device_is_online else "offline")
            for row in found
            if row.location_id == self.shop.location_id and row.name in names
        ]
        return sorted(shown, key=lambda reader: names.index(reader.name))

    def wait_until_ready(self, timeout_s: float = _READY_S) -> list[ShownReader]:
        """The readers, once each can take a payment. Raises NotReady."""
        deadline = time.monotonic() + timeout_s
        while True:
            readers = self.readers()
            if len(readers) == len(self.terminals) and all(one.state == "ready" for one in readers):
                return readers
            if time.monotonic() > deadline:
                states = (
                    ", ".join(f"{one.name} is {one.state}" for one in readers) or "none is known"
                )
                raise NotReady(f"The readers are not ready after {timeout_s:.0f} s: {states}.")
            time.sleep(_LOOK_S)


@contextmanager
def opened(
    options: Options,
    *,
    on_page: Callable[[str], None] = lambda _: None,
    on_death: Callable[[Death], None] = lambda _: None,
) -> Iterator[Stage]:
    """Open the shop, and close all of it at the end of the block.

    ``on_page`` hears the address as soon as pages are answered, while the readers are still being connected.
    """
    with ExitStack() as things:
        folder = _folder(options, things)
        children = Children(
            folder / "logs", on_death, {"OMNITILL_AGENT_CONFIG": str(folder / "agent.toml")}
        )
        things.callback(children.stop)
        terminals = cast_of(options.host, folder, options.pace, is_full=options.is_full)
        for terminal in terminals:
            children.start(terminal.name, terminal.command)
        acquirer = _start_acquirer(options, folder, children)
        card_acquirer = CardAcquirer.started(options.host, folder, children)
        parts = _parts(options, folder, things)
        with parts.database.transaction() as db:
            shop = seed.furnish(db, parts.passwords, language=options.language)
        parts.provide(DemoSignIns, seed.sign_ins())
        parts.provide(Simulators, Simulators({one.name: one.control for one in terminals}))
        _serve(parts, things)
        stage = Stage(
            parts.settings.base_url,
            folder,
            parts,
            shop,
            terminals,
            children,
            acquirer,
            card_acquirer,
        )
        on_page(stage.url)
        things.enter_context(running(parts, frozenset(ProcessRole)))
        _start_agent(stage)
        _open_for_trade(stage, options)
        if shop.is_new and options.with_history:
            history.tell(
                parts.database, parts.get(BrokerDirectory).authority(), shop, parts.clock.now()
            )
        yield stage


def _folder(options: Options, things: ExitStack) -> Path:
    if options.data_dir is not None:
        options.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = options.data_dir.absolute()
    else:
        folder = Path(tempfile.mkdtemp(prefix="omnitill-demo-"))
        things.callback(shutil.rmtree, folder, ignore_errors=True)
    (folder / "logs").mkdir(exist_ok=True)
    return folder


def _parts(options: Options, folder: Path, things: ExitStack) -> Parts:
    settings = Settings(
        mode="demo",
        data_dir=folder,
        database_url=options.database_url,
        host=options.host,
        port=ports.next_free(options.host, options.port),
        broker=BrokerSettings(
            kind="embedded_nats" if options.broker == "nats" else "mosquitto",
            host=options.host,
            port=ports.any_free(options.host),
        ),
        log=LogSettings(level="info", format="text"),
    )
    log = things.enter_context((folder / "logs" / "omnitill.log").open("a", buffering=1))
    # What is configured now goes on writing to what is standard error now.
    with contextlib.redirect_stderr(log):
        configure_logs(settings.log)
    parts = build(settings)
    things.callback(parts.close)
    migrate.upgrade(parts.database.engine)
    return parts


def _serve(parts: Parts, things: ExitStack) -> None:
    server = make_server(create_app(parts), parts)
    thread = threading.Thread(target=server.run, name="http", daemon=True)
    thread.start()
    things.callback(_stop_server, server, thread)
    while not server.started:
        if not thread.is_alive():
            raise NotReady(f"Nothing could be opened on {parts.settings.base_url}.")
        time.sleep(0.005)


def _stop_server(server: Server, thread: threading.Thread) -> None:
    server.should_exit = True
    thread.join(timeout=10)


def _start_agent(stage: Stage) -> None:
    environment = heard_from(stage.terminals, stage.folder / "logs")
    state = stage.folder / "agent"
    config = [f'state_dir = "{state}"', 'log_format = "console"']
    for terminal in stage.terminals:
        config += [
            "",
            "[[readers]]",
            f'name = "{terminal.name}"',
            f'profile = "{terminal.profile}"',
            f'address = "{terminal.address}"',
        ]
    (stage.folder / "agent.toml").write_text("\n".join(config) + "\n")
    agent = program("omnitill-agent")
    if not (state / "identity").exists():
        with stage.parts.database.transaction() as db:
            code = seed.enrolment_code(db, stage.shop.merchant_id, stage.shop.location_id)
        stage.children.run(
            "enrolment", [agent, "enroll", "--url", stage.url, "--code", code.reveal()]
        )
    stage.children.start("agent", [agent, "run"], environment=environment)


def _start_acquirer(options: Options, folder: Path, children: Children) -> Acquirer:
    port = ports.any_free(options.host)
    children.start("sandbox", Acquirer.command(options.host, port, folder))
    return Acquirer(f"http://{options.host}:{port}")


def _open_for_trade(stage: Stage, options: Options) -> None:
    """Connect the account with the card processor: each time, as its address is new each time."""
    parts, shop, acquirer = stage.parts, stage.shop, stage.acquirer
    with parts.database.transaction() as db:
        people = {role: seed.caller(db, shop.merchant_id, role) for role in seed.ROLES}
        customers = trade.furnish(db, people[Role.OWNER]) if shop.is_new else []
    acquirer.wait()
    acquirer.connect(parts, people[Role.OWNER])
    stage.card_acquirer.connect(parts, people[Role.OWNER])
    if shop.is_new:
        acquirer.add_readers(parts, people[Role.OWNER], shop.location_id)
        if options.with_history:
            acquirer.trade(parts, people[Role.CASHIER], people[Role.MANAGER], customers)
    acquirer.send_customers(options.pace)
