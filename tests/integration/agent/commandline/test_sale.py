"""`omnitill-agent sale` as a process, against simulated readers on TCP and on a tty."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import signal
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agent.commandline.sale import _Issuer
from protocols.readers.protocol import NOBODY_REACHED, TapData
from tests.support.agent_program import (
    Ended,
    Simulation,
    examples_of,
    run_agent,
    simulation,
    start_agent,
)
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


@pytest.mark.parametrize(
    ("simulated", "sold"),
    [
        (example, following)
        for example, following in pairwise(examples_of("sale"))
        if " simulate " in example
    ],
    ids=lambda line: line.split()[2] if " simulate " in line else "",
)
def test_the_help_has_a_line_that_works_for_each_protocol(
    simulated: str, sold: str, tmp_path: Path
) -> None:
    _, _, protocol, *options = shlex.split(simulated)
    where = {
        "127.0.0.1:10000": f"127.0.0.1:{free_port()}",
        "/tmp/ttyPOS": str(tmp_path / "ttyPOS"),
        "/tmp/ttyCARD": str(tmp_path / "ttyCARD"),
    }

    def placed(words: list[str]) -> list[str]:
        return [
            next((word.replace(old, new) for old, new in where.items() if old in word), word)
            for word in words
        ]

    with simulation(*placed(options), "--pace", "0.02", protocol=protocol) as reader:
        ended = run_agent(*placed(shlex.split(sold)[1:]))
        said = repr(ended.lines)

    assert (ended.code, ended.lines[-1]["outcome"]) == (0, "approved"), said
    assert ended.lines[-1]["amount_minor"] == 12_34
    assert reader.address in said
    assert "4111111111111111" not in said


def test_the_help_shows_a_reader_of_each_kind() -> None:
    simulated = {line.split()[2] for line in examples_of("sale") if " simulate " in line}

    assert simulated == {"ecr17", "concert", "magtek_mms", "idtech_neo"}


@contextlib.contextmanager
def _card_reader(tmp_path: Path, *more: str) -> Iterator[Simulation]:
    with simulation(
        "--profile", "idtech-vp3300", "--pty", str(tmp_path / "ttyCARD"), "--pace", "0.02", *more,
        protocol="idtech_neo",
    ) as reader:  # fmt: skip
        yield reader


def _sell_card(reader: Simulation, *more: str) -> Ended:
    return run_agent(
        "sale", "--profile", "idtech-vp3300", "--address", reader.address,
        "--amount", "12.34", "--currency", "EUR", *more,
    )  # fmt: skip


def test_an_issuer_that_is_played_may_decline(tmp_path: Path) -> None:
    with _card_reader(tmp_path) as reader:
        ended = _sell_card(reader, "--authorize", "decline")

    assert (ended.code, ended.lines[-1]["outcome"]) == (1, "declined")


def test_a_card_reader_without_an_issuer_is_not_begun(tmp_path: Path) -> None:
    ended = run_agent(
        "sale", "--profile", "idtech-vp3300", "--address", f"serial://{tmp_path / 'none'}",
        "--amount", "1.00", "--currency", "EUR",
    )  # fmt: skip

    assert (ended.code, ended.lines) == (2, [])
    assert "--authorize approve" in ended.complaint


def test_a_terminal_that_decides_by_itself_gets_no_issuer() -> None:
    ended = run_agent(
        "sale", "--profile", "generic-zvt-tcp", "--address", "tcp://127.0.0.1:1",
        "--amount", "1.00", "--currency", "EUR", "--authorize", "approve",
    )  # fmt: skip

    assert (ended.code, ended.lines) == (2, [])
    assert "leave --authorize out" in ended.complaint


def test_no_issuer_is_played_for_a_reader_with_keys_of_its_own() -> None:
    issuer = _Issuer(approves=True)
    example = TapData("idtech_neo", "dukpt-tdes", bytes.fromhex("ffff9876543210e00001"), b"")
    real = TapData("idtech_neo", "dukpt-tdes", bytes.fromhex("62994900750002e00001"), b"")

    answers = [asyncio.run(issuer.authorize(tap, 30)) for tap in (example, real)]

    assert [answer.approved for answer in answers] == [True, False]
    assert answers[1] is NOBODY_REACHED


@pytest.mark.parametrize(
    ("protocol", "profile", "amount", "code", "outcome", "by"),
    [
        ("ecr17", "generic-ecr17-tcp", "1.05", 1, "declined", "answer"),
        ("ecr17", "generic-ecr17-tcp", "1.95", 5, "failed", "totals"),
        ("ecr17", "generic-ecr17-tcp", "1.97", 0, "approved", "recall"),
        ("ecr17", "generic-ecr17-tcp", "1.99", 0, "approved", "recall"),
        ("concert", "generic-concert-cdc", "1.05", 1, "declined", "answer"),
        ("concert", "generic-concert-cdc", "1.09", 3, "unknown", None),
        ("concert", "generic-concert-cdc", "1.99", 3, "unknown", None),
    ],
)
def test_each_protocol_ends_with_as_much_truth_as_it_has(
    protocol: str,
    profile: str,
    amount: str,
    code: int,
    outcome: str,
    by: str | None,
    tmp_path: Path,
) -> None:
    where = ("--tcp", "127.0.0.1:0") if protocol == "ecr17" else ("--pty", str(tmp_path / "tty"))
    with simulation(*where, "--pace", "0.02", protocol=protocol) as reader:
        ended = run_agent(
            "sale", "--profile", profile, "--address", reader.address,
            "--amount", amount, "--currency", "EUR", "--patience", "20", timeout_s=60,
        )  # fmt: skip
        books = reader.books()

    last = ended.lines[-1]
    assert (ended.code, last["outcome"], last.get("decided_by")) == (code, outcome, by)
    assert len(books["transactions"]) <= 1
    assert outcome == "unknown" or (books["sum_minor"] > 0) == (outcome == "approved")


@pytest.mark.parametrize(
    "faults",
    [
        ("closes:always",),
        ("nak:2", "bad_lrc:2", "garbage:2", "split"),
        ("result_repeated", "glued", "clear_pan:always"),
    ],
    ids=" ".join,
)
def test_an_italian_terminal_may_close_its_line_and_be_sloppy(faults: tuple[str, ...]) -> None:
    where = ("--tcp", "127.0.0.1:0", "--pace", "0.02", "--fault", *faults)
    with simulation(*where, protocol="ecr17") as reader:
        ends = [
            run_agent(
                "sale",
                "--profile",
                "generic-ecr17-tcp",
                "--address",
                reader.address,
                "--amount",
                amount,
                "--currency",
                "EUR",
            )
            for amount in ("1.00", "2.00")
        ]
        books = reader.books()

    assert [(one.code, one.lines[-1]["outcome"]) for one in ends] == [(0, "approved")] * 2
    assert (len(books["transactions"]), books["sum_minor"]) == (2, 3_00)
    assert "4111111111111111" not in repr(ends)


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
