"""How long a command takes: to the device and back, and from the click to the reader.

``raw``: one MQTT message to an echo in another process and its answer, over the same broker, rights and TLS, with the
leanest client we have; what no program can beat. ``fsync``: what the disk takes to keep a page, in the same run.
``command``: a command to a real agent until its claim is back; the agent has made the command durable before.
``click``: from before the HTTP request until the first byte of the payment leaves for the terminal; in it are the
request with its commit, the command, claim and grant, and their commits.

Three processes, so that none waits for the interpreter of another: the shop, whoever measures, and the echo.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import ssl
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import httpx2

from control_plane.demo import history
from control_plane.demo.stage import Options, Stage, opened
from control_plane.devices.link import BrokerDirectory
from control_plane.mqtt.credentials import PROBE
from control_plane.mqtt.wire import Message, WireClient
from control_plane.wiring.mqtt import MqttEdge
from protocols.cloud.commands import Command, StartPayment, encode
from protocols.cloud.topics import Channel, topic
from protocols.ids import new_id
from tests.support.tcp_proxy import TcpProxy

CELL = "00"
ROUNDS, CLICKS, WARM_UP = 400, 100, 20
#: The class and instruction of an authorisation, as the till sends it.
AUTHORISE = b"\x06\x01"


def main() -> int:
    """Measure on every broker that is here; one JSON object on standard output."""
    match sys.argv[1:]:
        case ["--measure", file]:
            return measure(json.loads(Path(file).read_text()))
        case ["--echo", file]:
            return echo(json.loads(Path(file).read_text()))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", default="", help="postgresql://… (default: SQLite)")
    database = parser.parse_args().database
    brokers: list[Literal["nats", "mosquitto"]] = ["nats"]
    if shutil.which("mosquitto") or Path("/usr/sbin/mosquitto").exists():
        brokers.append("mosquitto")
    figures = {broker: run_shop(broker, database) for broker in brokers}
    targets = {}
    for broker, found in figures.items():
        targets[f"{broker}.command_p50_vs_raw"] = [found["command_p50_vs_raw"], "<=", 5, 15]
        targets[f"{broker}.command_p99_ms"] = [found["command_ms"]["p99"], "<=", 3, 30]
    sys.stdout.write(json.dumps({**figures, "targets": targets}, indent=2) + "\n")
    return 0


# --- the shop --------------------------------------------------------------------------------------------------


def run_shop(broker: Literal["nats", "mosquitto"], database: str) -> dict[str, Any]:
    """Open a shop, let another process measure it, and rewire its network terminal for that."""
    options = Options(port=18_000, broker=broker, database_url=database, pace=0, with_history=False)
    with opened(options) as stage:
        stage.wait_until_ready()
        directory = stage.parts.get(BrokerDirectory)
        echo_id = history.enrol_box(stage.parts.database, directory.authority(), stage.shop)
        directory.look_now()
        file = stage.folder / "measure.json"
        file.write_text(json.dumps(facts_of(stage, echo_id)))
        with subprocess.Popen(
            [sys.executable, "-m", "tests.load.bench_latency", "--measure", str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            talk_in, talk_out = process.stdin, process.stdout
            if talk_in is None or talk_out is None:
                raise TypeError("both are pipes")
            rewire(stage, int(talk_out.readline()))
            talk_in.write("go\n")
            talk_in.flush()
            found: dict[str, Any] = json.loads(talk_out.readline())
    return found


def facts_of(stage: Stage, echo_id: str) -> dict[str, Any]:
    """What the measuring process must know. The shop ends with the measurement, and so do its secrets."""
    authority = stage.parts.get(BrokerDirectory).authority()
    address = stage.parts.get(MqttEdge).clients().address
    probe = f"{PROBE}-{CELL}"
    enrolment = json.loads((stage.folder / "logs" / "enrolment.log").read_text())
    return {
        "url": stage.url,
        "key": stage.make_api_key().reveal(),
        "reader_id": stage.readers()[1].id,
        "terminal": stage.terminals[1].address.removeprefix("tcp://"),
        "device_id": enrolment["device_id"],
        "broker": [address.host, address.port, address.server_name],
        "ca": authority.ca_pem,
        "folder": str(stage.folder),
        "probe": [probe, *pair_of(authority.make_client(probe))],
        "echo": [echo_id, *pair_of(authority.make_client(echo_id))],
    }


def pair_of(pair: Any) -> tuple[str, str]:
    return pair.certificate_pem, pair.key_pem


def rewire(stage: Stage, port: int) -> None:
    """Put the measuring process between the agent and the network terminal."""
    config = stage.folder / "agent.toml"
    address = stage.terminals[1].address
    config.write_text(config.read_text().replace(address, f"tcp://127.0.0.1:{port}"))
    pid = stage.children.pid("agent")
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: stage.children.pid("agent") not in (None, pid))
    wait_until(lambda: any(one.state != "ready" for one in stage.readers()), 5, or_go_on=True)
    stage.wait_until_ready()


# --- whoever measures ------------------------------------------------------------------------------------------


def measure(facts: dict[str, Any]) -> int:
    host, _, port = facts["terminal"].rpartition(":")
    passed: list[float] = []

    def note(towards_terminal: bool, data: bytes) -> None:
        if towards_terminal and data.startswith(AUTHORISE):
            passed.append(time.perf_counter())

    with TcpProxy(int(port), target_host=host, on_bytes=note) as cable:
        say(cable.port)
        sys.stdin.readline()
        with connected(facts, "probe") as line:
            raw = spread(raw_round_trips(facts, line))
            command = spread(command_round_trips(facts, line))
        click, answered = clicks(facts, passed)
    say(
        json.dumps(
            {
                "raw_ms": raw,
                "fsync_ms": spread(fsyncs(Path(facts["folder"]))),
                "command_ms": command,
                "click_to_reader_ms": spread(click),
                "click_to_answer_ms": spread(answered),
                "command_p50_vs_raw": round(command["p50"] / raw["p50"], 2),
                "click_p50_vs_raw": round(statistics.median(click) * 1000 / raw["p50"], 1),
            }
        )
    )
    return 0


def say(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def spread(seconds: list[float]) -> dict[str, float]:
    """In milliseconds."""
    ordered = sorted(one * 1000 for one in seconds)
    return {
        "p50": round(statistics.median(ordered), 3),
        "p99": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 3),
        "count": len(ordered),
    }


def fsyncs(folder: Path) -> list[float]:
    """Seconds that the disk takes to keep a page: what durability costs once, here and now."""
    took = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(WARM_UP + ROUNDS):
            file.write(b"x" * 4096)
            began = time.perf_counter()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    return took[WARM_UP:]


class Line:
    """A connection on which one can wait for a topic without losing what comes on another."""

    def __init__(self, client: WireClient) -> None:
        self.client = client
        self._unread: list[Message] = []

    def wait_for(self, name: str, timeout_s: float = 10.0) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for at, message in enumerate(self._unread):
                if message.topic == name:
                    del self._unread[at]
                    return
            self._unread += self.client.receive(1.0)
        raise TimeoutError(f"nothing came on {name}")


@contextmanager
def connected(facts: dict[str, Any], who: str) -> Iterator[Line]:
    """A connection to the broker with one of the certificates."""
    name, certificate_pem, key_pem = facts[who]
    file = Path(facts["folder"]) / f"{who}.pem"
    file.write_text(certificate_pem + key_pem)
    context = ssl.create_default_context(cadata=facts["ca"])
    context.load_cert_chain(file)
    host, port, server_name = facts["broker"]
    client = WireClient(host, port, client_id=name, tls=context, server_name=server_name)
    try:
        yield Line(client)
    finally:
        client.close()


def timed(
    line: Line, answers: str, ask: Callable[[], object], after: Callable[[], object] = lambda: None
) -> list[float]:
    """Seconds from each question until a message on the topic of the answers."""
    took = []
    for _ in range(WARM_UP + ROUNDS):
        began = time.perf_counter()
        ask()
        line.wait_for(answers)
        took.append(time.perf_counter() - began)
        after()
    return took[WARM_UP:]


def raw_round_trips(facts: dict[str, Any], line: Line) -> list[float]:
    file = Path(facts["folder"]) / "measure.json"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.load.bench_latency", "--echo", str(file)],
        stdout=subprocess.PIPE,
    ) as process:
        if process.stdout is not None:
            process.stdout.readline()
        claims = topic(CELL, facts["echo"][0], Channel.CLAIM)
        line.client.subscribe([(claims, 0)])
        command = topic(CELL, facts["echo"][0], Channel.COMMAND)
        payload = b"x" * 300
        try:
            return timed(line, claims, lambda: line.client.publish(command, payload))
        finally:
            process.kill()


def echo(facts: dict[str, Any]) -> int:
    """Stands in for a device: answers every command with as many bytes as a claim has."""
    device_id = facts["echo"][0]
    answer_to, answer = topic(CELL, device_id, Channel.CLAIM), b"y" * 100
    with connected(facts, "echo") as line:
        line.client.subscribe([(topic(CELL, device_id, Channel.COMMAND), 0)])
        say("ready")
        while True:
            for _ in line.client.receive(5):
                line.client.publish(answer_to, answer)


def command_round_trips(facts: dict[str, Any], line: Line) -> list[float]:
    """Commands that the server does not know: the agent claims them, is refused, and says so."""
    device_id = facts["device_id"]
    claims = topic(CELL, device_id, Channel.CLAIM)
    results = topic(CELL, device_id, Channel.RESULT)
    line.client.subscribe([(claims, 0), (results, 0)])

    def ask() -> None:
        command = Command(
            id=new_id("cmd"),
            ttl_ms=5_000,
            issued_at="",
            expires_at="",
            body=StartPayment(
                session_id=new_id("ts"),
                reader_id=facts["reader_id"],
                amount_minor=1234,
                currency="EUR",
            ),
        )
        line.client.publish(topic(CELL, device_id, Channel.COMMAND), encode(command))

    return timed(line, claims, ask, after=lambda: line.wait_for(results))


def clicks(facts: dict[str, Any], passed: list[float]) -> tuple[list[float], list[float]]:
    to_reader, to_answer = [], []
    headers = {"Authorization": f"Bearer {facts['key']}"}
    with httpx2.Client(base_url=facts["url"], headers=headers) as api:
        for number in range(WARM_UP + CLICKS):
            passed.clear()
            wish = {
                "reader_id": facts["reader_id"],
                "amount_minor": 10_000 + number * 100,
                "currency": "EUR",
            }
            began = time.perf_counter()
            session = api.post("/v1/sessions", json=wish).raise_for_status().json()
            to_answer.append(time.perf_counter() - began)
            wait_until(lambda: bool(passed))
            to_reader.append(passed[0] - began)
            with api.stream("GET", f"/v1/sessions/{session['id']}/events") as steps:
                for _ in steps.iter_lines():
                    pass
    return to_reader[WARM_UP:], to_answer[WARM_UP:]


def wait_until(
    is_so: Callable[[], bool], timeout_s: float = 20.0, *, or_go_on: bool = False
) -> None:
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not is_so():
        if time.monotonic() > deadline:
            if or_go_on:
                return
            raise TimeoutError("what was waited for did not come")
        pause.wait(0.0005)


if __name__ == "__main__":
    sys.exit(main())
