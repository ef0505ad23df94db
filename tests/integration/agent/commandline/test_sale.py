"""`omnitill-agent sale` as a process, against simulated readers on TCP and on a tty."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.agent_program import Ended, Simulation, run_agent, simulation, start_agent
from tests.support.ports import free_port
from tests.support.waiting import eventually


@pytest.fixture(params=["tcp", "pty"])
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Any:  # a generator fixture
    where = {"tcp": ("--tcp", "127.0.0.1:0"), "pty": ("--pty", str(tmp_path / "ttyPOS"))}
    with simulation(*where[request.param], "--pace", "0.02") as running:
        yield running


def line_for(reader: Simulation, amount: str, *more: str) -> tuple[str, ...]:
    profile = "generic-zvt-tcp" if reader.address.startswith("tcp") else "generic-zvt-serial"
    return (
        "sale", "--profile", profile, "--address", reader.address,
        "--amount", amount, "--currency", "EUR", *more,
    )  # fmt: skip


def sell(reader: Simulation, amount: str, *more: str) -> Ended:
    return run_agent(*line_for(reader, amount, *more))


def test_an_approved_sale_tells_each_step_and_the_receipt(reader: Simulation) -> None:
    ended = sell(reader, "12.34")

    assert ended.code == 0
    assert [line.get("step") for line in ended.lines[:-1]] == [
        "connecting", "ready", "begun", "sent", "waiting_for_card", "authorizing", "authorizing",
    ]  # fmt: skip
    last = ended.lines[-1]
    assert last["outcome"] == "approved"
    assert last["decided_by"] == "answer"
    assert (last["amount"], last["amount_minor"], last["currency"]) == ("12.34", 12_34, "EUR")
    assert last["masked_pan"] == "411111******1111"
    assert last["receipt_number"] == 1
    assert any("12,34 EUR" in line for line in last["receipt_lines"])


@pytest.mark.parametrize(
    ("amount", "code", "outcome", "by", "charged"),
    [
        ("1.00", 0, "approved", "answer", 1_00),
        ("1.05", 1, "declined", "answer", 0),
        ("1.08", 4, "cancelled", "answer", 0),
        ("1.94", 5, "failed", "not_begun", 0),
        ("1.97", 0, "approved", "recall", 1_97),
        ("1.99", 0, "approved", "recall", 1_99),
    ],
)
def test_the_exit_code_tells_the_truth(
    reader: Simulation, amount: str, code: int, outcome: str, by: str, charged: int
) -> None:
    ended = sell(reader, amount)

    assert (ended.code, ended.lines[-1]["outcome"]) == (code, outcome)
    assert ended.lines[-1]["decided_by"] == by
    assert reader.books()["sum_minor"] == charged
    assert len(reader.books()["transactions"]) <= 1


def test_a_line_that_drops_with_the_answer_ends_as_the_reader_has_it(reader: Simulation) -> None:
    # On TCP the reader takes the payment back; on a serial line it may repeat its answer in time.
    ended = sell(reader, "1.98")

    assert ended.lines[-1]["decided_by"] == "recall"
    assert (ended.code, reader.books()["sum_minor"]) in {(5, 0), (0, 1_98)}


@pytest.mark.parametrize(
    ("where", "faults"),
    [
        ("pty", ("nak:2", "bad_crc:2", "lost_ack:2")),
        ("pty", ("duplicate_frame:5", "garbage:5")),
        ("pty", ("long_blocks", "clear_pan:always", "bare_lengths")),
        ("tcp", ("duplicate_frame:3", "garbage:3")),
        ("tcp", ("long_blocks", "clear_pan:always", "unknown_bitmap")),
    ],
)
def test_a_bad_line_and_a_sloppy_reader_change_nothing(
    where: str, faults: tuple[str, ...], tmp_path: Path
) -> None:
    at = ("--tcp", "127.0.0.1:0") if where == "tcp" else ("--pty", str(tmp_path / "ttyPOS"))
    with simulation(*at, "--pace", "0", "--fault", *faults) as reader:
        ended = sell(reader, "1.00", "--patience", "30")
        books = reader.books()

    assert (ended.code, ended.lines[-1]["outcome"]) == (0, "approved")
    assert books["sum_minor"] == 1_00
    assert "4111111111111111" not in json.dumps(ended.lines) + ended.complaint


def test_ctrl_c_stops_the_reader_and_waits_for_what_it_says(reader: Simulation) -> None:
    reader.play("script", name="no_card")
    process = start_agent(*line_for(reader, "5.00"))
    _until_step(process, "waiting_for_card")

    process.send_signal(signal.SIGINT)
    last = _last_line(process)

    assert process.returncode == 4
    assert (last["outcome"], last["cancel_asked"]) == ("cancelled", True)
    assert reader.books()["sum_minor"] == 0


def test_ctrl_c_while_evidence_is_looked_for_gives_up_and_says_so() -> None:
    with simulation("--tcp", "127.0.0.1:0", "--pace", "0.02") as reader:
        reader.play("script", name="slow+drop_after_start")
        process = start_agent(*line_for(reader, "5.00"))
        _until_step(process, "sent")
        reader.play("unplug")
        _until_step(process, "unknown")

        process.send_signal(signal.SIGINT)
        last = _last_line(process)

    assert process.returncode == 3
    assert last["outcome"] == "unknown"
    assert last["explanation"]


def test_a_reader_that_is_not_there_costs_nothing(tmp_path: Path) -> None:
    ended = run_agent(
        "sale", "--profile", "generic-zvt-tcp", "--address", f"tcp://127.0.0.1:{free_port()}",
        "--amount", "1.00", "--currency", "EUR", "--patience", "0.3",
    )  # fmt: skip

    assert ended.code == 5
    assert ended.lines[-1]["decided_by"] == "not_begun"
    assert "nothing listens on this port" in ended.lines[-1]["explanation"]


def test_a_reader_that_refuses_the_password_is_asked_for_no_money(reader: Simulation) -> None:
    ended = sell(reader, "1.00", "--password", "999999")

    assert ended.code == 5
    assert "does not register" in ended.lines[-1]["explanation"]
    assert reader.books()["transactions"] == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"--amount": "twelve"}, "write the amount like 12.34"),
        ({"--amount": "0"}, "above zero"),
        ({"--amount": "-1"}, "above zero"),
        ({"--amount": "1.234"}, "2 minor digits"),
        ({"--currency": "DOGE"}, "three letters"),
        ({"--profile": "generic-zvt"}, "known are"),
        ({"--address": "somewhere"}, "write one like"),
        ({"--address": "serial:///dev/null"}, "does not suit generic-zvt-tcp"),
    ],
)
def test_a_line_that_means_nothing_is_refused_and_nothing_is_sent(
    change: dict[str, str], says: str
) -> None:
    options = {
        "--profile": "generic-zvt-tcp",
        "--address": "tcp://127.0.0.1:1",
        "--amount": "1.00",
        "--currency": "EUR",
    } | change

    ended = run_agent("sale", *(f"{name}={value}" for name, value in options.items()))

    assert (ended.code, ended.lines) == (2, [])
    assert says in ended.complaint


def _until_step(process: subprocess.Popen[str], step: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line).get("step") == step:
            return
    raise AssertionError(f"no step {step}")


def _last_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    eventually(lambda: process.poll() is not None, 20)
    out, _ = process.communicate(timeout=5)
    last: dict[str, Any] = json.loads(out.splitlines()[-1])
    return last
