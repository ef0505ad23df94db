"""Three hundred sales while agent, broker and ingest are killed with -9 in turn and the network is cut.

Every sale must be in the ledger exactly once, and each terminal's own books must agree with the ledger, to the cent.
NATS and PostgreSQL by default; ``OMNITILL_TEST_FAULTS=all`` runs every combination, or name one: ``mosquitto+sqlite``.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from control_plane.app import build
from control_plane.config import Settings
from control_plane.db import migrate
from control_plane.demo import seed
from control_plane.demo.children import Children, Death, program
from control_plane.parts import Parts
from control_plane.payments.models import SESSIONS
from control_plane.transactions.models import TRANSACTIONS
from protocols.session import FINAL_STATES, SessionState
from tests.fixtures.postgres import PostgresServer
from tests.support.ports import LOOPBACK, free_port
from tests.support.programs import program as system_program
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import DeadlinePassed, eventually

SALES = 300
TERMINALS = 6
#: Ends of amounts: most are approved; some are declined, stopped, or lose their answer (see `omnitill-agent simulate`).
ENDINGS = itertools.cycle([0, 20, 5, 40, 97, 60, 8, 80, 98, 30, 51, 70, 99, 90, 50, 10, 21, 33, 44])
#: So long a cut lasts, and so many sales are made between two misfortunes, however slow the machine.
CUT_S, CALM_SALES = 2.0, 12
MISFORTUNES = ["agent", "broker", "ingest", "network"]
#: A sale that takes longer than this is stuck.
SALE_S = 60.0

COMBINATIONS = ["nats+postgres", "mosquitto+postgres", "nats+sqlite", "mosquitto+sqlite"]


def chosen() -> list[str]:
    asked = os.environ.get("OMNITILL_TEST_FAULTS", COMBINATIONS[0])
    return COMBINATIONS if asked == "all" else asked.split(",")


@dataclass
class Shop:
    """The programs of a shop, each its own process, and the cable between box and broker."""

    settings: Settings
    parts: Parts
    children: Children
    cable: TcpProxy
    api: httpx2.Client
    merchant_id: str
    controls: list[str]
    deaths: list[Death]

    def readers(self) -> list[str]:
        """Ids of the readers that can be sold on."""
        answer = self.api.get("/v1/readers").json()
        return [one["id"] for one in answer["items"] if one["state"] == "ready"]

    def kill(self, name: str) -> bool:
        """End it as a power cut would; False when it does not run at present."""
        pid = self.broker_pid() if name == "broker" else self.children.pid(name)
        if pid is None:
            return False
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def broker_pid(self) -> int | None:
        files = list(self.settings.broker_folder.glob("*.pid"))
        try:
            return int(files[0].read_text()) if files else None
        except (OSError, ValueError):
            return None

    def books(self) -> Counter[str]:
        """What stands by the terminals' own books: amounts by terminal, with their number."""
        sums: Counter[str] = Counter()
        for control in self.controls:
            told = httpx2.get(f"{control}/state", timeout=10).json()
            sums[f"{told['terminal_id']} count"] += told["count"]
            sums[f"{told['terminal_id']} sum"] += told["sum_minor"]
        return sums

    def ledger(self) -> list[Any]:
        with self.parts.database.reading_connection() as db:
            return list(db.execute(select(TRANSACTIONS)))

    def sessions(self) -> list[Any]:
        with self.parts.database.reading_connection() as db:
            return list(db.execute(select(SESSIONS)))


@dataclass
class Till:
    """A cashier at one reader, who never gives up and never charges twice."""

    shop: Shop
    reader_id: str
    amounts: Iterator[int]
    sold: list[str] = field(default_factory=list)

    def sell_many(self, count: int) -> None:
        for _ in range(count):
            self.sell()

    def sell(self) -> None:
        """One sale that reaches its reader; a session that ended before is no sale, and is tried anew."""
        amount = next(self.amounts)
        while True:
            session = self._start(amount)
            ended = self._follow(session["id"])
            if ended["decided_by"] not in {"server", "not_begun"}:
                self.sold.append(session["id"])
                return

    def _start(self, amount: int) -> Any:
        key = {"Idempotency-Key": f"{self.reader_id}-{amount}-{time.monotonic_ns()}"}
        wish = {"reader_id": self.reader_id, "amount_minor": amount, "currency": "EUR"}

        def started() -> Any:
            answer = self.shop.api.post("/v1/sessions", json=wish, headers=key)
            assert answer.is_success, answer.text
            return answer.json()

        return eventually(started, deadline_s=SALE_S, poll_s=0.2)

    def _follow(self, session_id: str) -> Any:
        """The stream says when it is over; one that ends early is opened again."""

        def ended() -> Any:
            with self.shop.api.stream("GET", f"/v1/sessions/{session_id}/events") as steps:
                for line in steps.iter_lines():
                    if line == "event: end":
                        break
            session = self.shop.api.get(f"/v1/sessions/{session_id}").json()
            assert session["is_final"], session
            return session

        return eventually(ended, deadline_s=SALE_S, poll_s=0.2)


@pytest.fixture(params=chosen())
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    broker, database = request.param.split("+")
    if broker == "mosquitto":
        system_program("mosquitto")
    with ExitStack() as things:
        if database == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            url = server.create_database()
            things.callback(server.drop_database, url)
        else:
            url = f"sqlite:///{tmp_path}/omnitill.sqlite3"
        yield open_shop(things, tmp_path, broker, url)


def open_shop(things: ExitStack, folder: Path, broker: str, database_url: str) -> Shop:
    broker_port, port = free_port(), free_port()
    cable = things.enter_context(TcpProxy(broker_port))
    environment = {
        "OMNITILL_DATA_DIR": str(folder / "data"),
        "OMNITILL_DATABASE_URL": database_url,
        "OMNITILL_PORT": str(port),
        "OMNITILL_BROKER__KIND": "embedded_nats" if broker == "nats" else "mosquitto",
        "OMNITILL_BROKER__PORT": str(broker_port),
        "OMNITILL_BROKER__PUBLIC_HOST": LOOPBACK,
        "OMNITILL_BROKER__PUBLIC_PORT": str(cable.port),
        "OMNITILL_RATE_LIMIT_PER_MINUTE": "60000",
        "OMNITILL_LOG__FORMAT": "json",
        "OMNITILL_AGENT_CONFIG": str(folder / "agent.toml"),
    }
    patch = things.enter_context(pytest.MonkeyPatch.context())
    for name, value in environment.items():
        patch.setenv(name, value)
    settings = Settings()
    parts = build(settings)
    things.callback(parts.close)
    migrate.upgrade(parts.database.engine)
    with parts.database.transaction() as db:
        furnished = seed.furnish(db, parts.passwords)
    with parts.database.transaction() as db:
        key = seed.api_key(db, furnished.merchant_id).reveal()
        code = seed.enrolment_code(db, furnished.merchant_id, furnished.location_id).reveal()
    deaths: list[Death] = []
    children = Children(folder / "logs", deaths.append, environment, restart_s=[0.3])
    controls = start_terminals(children, folder)
    omnitill, agent = program("omnitill"), program("omnitill-agent")
    children.start("serve", [omnitill, "serve"])
    children.start("ingest", [omnitill, "ingest", "--broker"])
    children.start("worker", [omnitill, "worker"])
    api = things.enter_context(
        httpx2.Client(
            base_url=f"http://{LOOPBACK}:{port}",
            headers={"Authorization": f"Bearer {key}"},
            timeout=20,
        )
    )
    shop = Shop(settings, parts, children, cable, api, furnished.merchant_id, controls, deaths)
    # An ingest that was killed may leave its broker behind for a moment.
    things.callback(shop.kill, "broker")
    things.callback(children.stop)
    eventually(lambda: answers(api), deadline_s=60, poll_s=0.2)
    children.run("enrolment", [agent, "enroll", "--url", str(api.base_url), "--code", code])
    children.start("agent", [agent, "run"])
    eventually(lambda: len(shop.readers()) == TERMINALS, deadline_s=60, poll_s=0.2)
    return shop


def start_terminals(children: Children, folder: Path) -> list[str]:
    """Quick terminals on TCP, and what the agent must know of them; where each tells its books."""
    controls = []
    config = [f'state_dir = "{folder}/agent"']
    for number in range(1, TERMINALS + 1):
        tcp, control = f"{LOOPBACK}:{free_port()}", f"{LOOPBACK}:{free_port()}"
        children.start(
            f"terminal-{number}",
            [
                program("omnitill-agent"), "simulate", "zvt", "--tcp", tcp, "--control", control,
                "--state", str(folder / f"terminal-{number}.json"), "--pace", "0.02",
                "--terminal-id", f"5250010{number}",
            ],
        )  # fmt: skip
        controls.append(f"http://{control}")
        config += [
            "",
            "[[readers]]",
            f'name = "till-{number}"',
            'profile = "generic-zvt-tcp"',
            f'address = "tcp://{tcp}"',
        ]
    (folder / "agent.toml").write_text("\n".join(config) + "\n")
    return controls


def answers(api: httpx2.Client) -> bool:
    try:
        return api.get("/v1/readers").is_success
    except httpx2.TransportError:
        return False


@dataclass
class Misfortune:
    """Kills and cuts, one after the other, while the shop sells; the next one when sales are made again."""

    shop: Shop
    tills: list[Till]
    happened: Counter[str] = field(default_factory=Counter)
    _sold_before: int = 0

    def run(self) -> None:
        for what in itertools.cycle(MISFORTUNES):
            if not self._wait_for_sales():
                return
            if what == "network":
                self.shop.cable.cut()
                threading.Event().wait(CUT_S)
                self.shop.cable.mend()
                self.happened[what] += 1
            else:
                self.happened[what] += self.shop.kill(what)

    def _wait_for_sales(self) -> bool:
        """Until enough were made since; False when the shop is done, or no sale is made any more."""
        enough = min(self._sold_before + CALM_SALES, SALES)
        try:
            eventually(lambda: self._sold() >= enough, deadline_s=2 * SALE_S, poll_s=0.1)
        except DeadlinePassed:
            return False
        self._sold_before = self._sold()
        return self._sold_before < SALES

    def _sold(self) -> int:
        return sum(len(till.sold) for till in self.tills)


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_each_of_three_hundred_sales_is_in_the_ledger_once_whatever_is_killed(shop: Shop) -> None:
    amounts = (number * 100 + next(ENDINGS) for number in itertools.count(10))
    tills = [Till(shop, reader_id, amounts) for reader_id in shop.readers()]
    misfortune = Misfortune(shop, tills)

    with ThreadPoolExecutor(TERMINALS + 1) as pool:
        chaos = pool.submit(misfortune.run)
        for done in [pool.submit(till.sell_many, SALES // len(tills)) for till in tills]:
            done.result()
        chaos.result()

    sold = [session_id for till in tills for session_id in till.sold]
    ledger = shop.ledger()
    in_ledger = Counter(row.session_id for row in ledger)
    assert len(sold) == SALES
    assert [in_ledger[session_id] for session_id in sold] == [1] * SALES
    assert min(misfortune.happened[what] for what in MISFORTUNES) >= 2, misfortune.happened

    by_id = {session.id: session for session in shop.sessions()}
    assert {session.state for session in by_id.values()} <= FINAL_STATES
    assert not any(session.late_result for session in by_id.values())
    approved = [row for row in ledger if row.status == "approved"]
    assert {row.session_id for row in approved} == {
        session.id for session in by_id.values() if session.state is SessionState.APPROVED
    }
    sums: Counter[str] = Counter()
    for row in approved:
        sums[f"{row.terminal_id} count"] += 1
        sums[f"{row.terminal_id} sum"] += row.amount_minor
    assert sums == shop.books()
