"""`omnitill-agent simulate` as a process: where it can be reached, what it remembers, how it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from protocols.readers.registry import names, repertoire
from protocols.readers.zvt.scripts import ZvtFault
from tests.support.agent_program import (
    Ended,
    examples_of,
    is_gone,
    run_agent,
    simulation,
    start_agent,
)
from tests.support.programs import program, programs_that_name
from tests.support.waiting import eventually

SALE = ("sale", "--currency", "EUR", "--profile")


def sell(address: str, amount: str, *more: str) -> Ended:
    profile = "generic-zvt-tcp" if address.startswith("tcp") else "generic-zvt-serial"
    return run_agent(*SALE, profile, "--address", address, "--amount", amount, *more)


@pytest.fixture(params=["tcp", "pty"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    return {"tcp": ("--tcp", "127.0.0.1:0"), "pty": ("--pty", str(tmp_path / "ttyPOS"))}[
        request.param
    ]


def test_sales_one_after_the_other_are_in_its_books(where: tuple[str, str]) -> None:
    with simulation(*where, "--pace", "0") as reader:
        ended = [sell(reader.address, amount) for amount in ("12.34", "0.51", "3.00")]
        books = reader.books()

    assert [one.code for one in ended] == [0, 1, 0]
    assert (books["count"], books["sum_minor"]) == (2, 15_34)
    assert [one["state"] for one in books["transactions"]] == ["done", "failed", "done"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_and_takes_the_path_away(
    number: signal.Signals, tmp_path: Path
) -> None:
    path = tmp_path / "ttyPOS"
    with simulation("--pty", str(path)) as reader:
        was_there = path.is_symlink()
        code = reader.stop(number)

    assert was_there
    assert code == 0
    assert is_gone(path)


def test_what_was_approved_survives_kill_9(where: tuple[str, str], tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    with simulation(*where, "--pace", "0", "--state", str(state)) as reader:
        sell(reader.address, "12.34")
        before = reader.books()
        reader.stop(signal.SIGKILL)
    with simulation(*where, "--pace", "0", "--state", str(state)) as reader:
        after = reader.books()
        sell(reader.address, "1.00")
        last = reader.books()["transactions"][-1]

    assert after["transactions"] == before["transactions"]
    assert (after["count"], after["sum_minor"]) == (1, 12_34)
    assert (last["receipt"], last["amount_minor"]) == (2, 1_00)


def test_a_file_that_is_no_memory_is_left_alone(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    state.write_text("a shopping list")

    ended = run_agent("simulate", "zvt", "--tcp", "127.0.0.1:0", "--state", str(state))

    assert ended.code == 2
    assert "no memory of a simulated reader" in ended.complaint
    assert state.read_text() == "a shopping list"


def test_a_path_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("a file")

    ended = run_agent("simulate", "zvt", "--pty", str(path))

    assert ended.code == 1
    assert "name another path" in ended.complaint
    assert path.read_text() == "a file"


def test_a_link_left_behind_by_a_killed_one_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "ttyPOS"
    path.symlink_to("/dev/pts/99999")

    with simulation("--pty", str(path), "--pace", "0") as reader:
        assert sell(reader.address, "1.00").code == 0


def test_a_port_that_is_taken_is_told() -> None:
    with simulation("--tcp", "127.0.0.1:0") as reader:
        taken = reader.address.removeprefix("tcp://")
        ended = run_agent("simulate", "zvt", "--tcp", taken)

    assert ended.code == 1
    assert taken in ended.complaint


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("zvt", "--tcp", "127.0.0.1:0", "--fault", "gremlin"), "gremlin"),
        (("zvt", "--tcp", "127.0.0.1:0", "--script", "romance"), "romance"),
        (("zvt", "--tcp", "127.0.0.1:0", "--decline", "zz"), "two hexadecimal digits"),
        (("morse", "--tcp", "127.0.0.1:0"), "morse"),
        (("zvt", "--tcp", "here"), "HOST:PORT"),
        (("zvt",), "--tcp"),
        (("zvt", "--tcp", "127.0.0.1:0", "--currency", "DOGE"), "three letters"),
    ],
)
def test_a_line_that_means_nothing_is_refused_with_what_to_write(
    arguments: tuple[str, ...], says: str
) -> None:
    ended = run_agent("simulate", *arguments)

    assert (ended.code, ended.lines) == (2, [])
    assert says in ended.complaint


def test_an_unknown_fault_is_answered_with_the_known_ones() -> None:
    ended = run_agent("simulate", "zvt", "--tcp", "127.0.0.1:0", "--fault", "gremlin")

    assert [name for name in ZvtFault if name not in ended.complaint] == []


def test_help_names_every_fault_and_story() -> None:
    process = run_agent_text("simulate", "zvt", "--help")

    assert [name for name in ZvtFault if name not in process] == []
    assert "…51 declined: not enough money" in process
    assert "red_key press the red key" in process
    assert "Example:" in process


def run_agent_text(*arguments: str) -> str:
    """Standard output that is no JSON."""
    process = start_agent(*arguments)
    out, _ = process.communicate(timeout=30)
    return " ".join(out.split())


def test_tricks_are_played_through_the_control_port(where: tuple[str, str]) -> None:
    with simulation(*where, "--pace", "0") as reader:
        reader.play("script", name="decline:14")
        declined = sell(reader.address, "1.00")
        reader.play("fault", name="busy")
        busy = sell(reader.address, "1.00")
        reader.play("unplug")
        unplugged = sell(reader.address, "1.00", "--patience", "0.5")
        reader.play("plug")
        paid = sell(reader.address, "1.00")
        books = reader.books()
        refusals = [
            reader.refuse("juggle"),
            reader.refuse("script", name="romance"),
            reader.refuse("fault", name="gremlin"),
        ]

    assert [declined.code, busy.code, unplugged.code, paid.code] == [1, 5, 5, 0]
    assert unplugged.lines[-1]["decided_by"] == "not_begun"
    assert books["sum_minor"] == 1_00
    assert "known are" in refusals[0]
    assert "romance" in refusals[1]
    assert "gremlin" in refusals[2]


def test_the_page_has_a_button_for_everything_and_does_it() -> None:
    with simulation("--tcp", "127.0.0.1:0", "--pace", "0", "--name", "Counter <1>") as reader:
        english, french = reader.page("en"), reader.page("fr-FR,fr;q=0.9")
        reader.press("unplug")
        gone = reader.books()
        reader.press("plug")
        reader.press("script", name="decline:05")
        declined = sell(reader.address, "1.00")
        reader.press("script", name="romance")
        refused = reader.page("en")

    assert all(f"action='/actions/{name}'" in english for name in gone["actions"])
    assert "Pull the cable" in english
    assert "Débrancher le câble" in french
    assert "<h1>Counter &lt;1&gt;</h1>" in english
    assert not gone["is_up"]
    assert declined.code == 1
    assert "romance" in refused


@pytest.mark.parametrize("protocol", [name for name in names() if name != "zvt"])
def test_every_protocol_tells_what_it_can_play(protocol: str) -> None:
    plays = repertoire(protocol)
    process = run_agent_text("simulate", protocol, "--help")

    for known in (plays.scripts, plays.faults, plays.controls):
        assert [name for name in known if f" {name} " not in process] == []


def test_a_reader_on_bluetooth_is_in_the_state_of_its_radio(tmp_path: Path) -> None:
    program("dbus-daemon")
    with simulation("--ble", protocol="magtek_mms") as reader:
        bus = reader.ready["environment"]["DBUS_SYSTEM_BUS_ADDRESS"].partition("=")[2]
        was_there = Path(bus).exists()
        reader.play("adapter_off")
        off = reader.books()["said"]
        code = reader.stop()

    assert reader.address == "ble://C2:00:5E:00:53:01"
    assert reader.ready["profile"] == "magtek-dynaflex-ii-go"
    assert (was_there, off, code) == (True, "switch the adapter off", 0)
    assert is_gone(Path(bus).parent)


def test_a_radio_does_not_outlive_its_simulator_that_is_killed() -> None:
    program("dbus-daemon")
    with simulation("--ble", protocol="magtek_mms") as reader:
        bus = reader.ready["environment"]["DBUS_SYSTEM_BUS_ADDRESS"].partition("=")[2]
        (daemon,) = programs_that_name(str(Path(bus).parent))
        code = reader.stop(signal.SIGKILL)

    assert code == -signal.SIGKILL
    eventually(lambda: programs_that_name(str(Path(bus).parent)) == [])
    assert "dbus-daemon" in daemon
    shutil.rmtree(Path(bus).parent)


@pytest.mark.parametrize(
    ("protocol", "line"), [("magtek_mms", "usb"), ("idtech_neo", "usb"), ("idtech_neo", "ble")]
)
def test_an_agent_finds_it_on_usb_and_bluetooth_in_the_environment_that_is_printed(
    protocol: str, line: str
) -> None:
    program("umockdev-wrapper" if line == "usb" else "dbus-daemon")
    with simulation(f"--{line}", "--pace", "0.05", protocol=protocol) as reader:
        ended = run_agent(
            *SALE, reader.ready["profile"], "--address", reader.address, "--amount", "12.34",
            "--authorize", "approve",
            environment=reader.ready["environment"],
        )  # fmt: skip
        reader.play("unplug")
        gone = run_agent(
            *SALE, reader.ready["profile"], "--address", reader.address, "--amount", "12.34",
            "--authorize", "approve", "--patience", "1",
            environment=reader.ready["environment"],
        )  # fmt: skip

    assert (ended.code, ended.lines[-1]["outcome"]) == (0, "approved"), ended
    assert ended.lines[-1]["masked_pan"].endswith("1111")
    assert gone.lines[-1]["decided_by"] == "not_begun"


@pytest.mark.parametrize("example", examples_of("simulate"))
def test_each_example_of_the_help_works(example: str, tmp_path: Path) -> None:
    program("umockdev-wrapper")
    program("dbus-daemon")
    _, _, protocol, *words = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:0", example).split()
    placed = [word.replace("/tmp", str(tmp_path)) for word in words]

    with simulation(*placed, protocol=protocol) as reader:
        plays = reader.books()["protocol"]

    assert plays == protocol


def test_a_line_that_no_reader_of_the_protocol_has_is_refused() -> None:
    ended = run_agent("simulate", "ecr17", "--ble")

    assert ended.code == 2
    assert "ecr17 is not simulated on Bluetooth" in ended.complaint


def test_the_memory_is_never_half_written(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    with simulation("--tcp", "127.0.0.1:0", "--pace", "0", "--state", str(state)) as reader:
        for _ in range(3):
            sell(reader.address, "1.00")
            assert len(json.loads(state.read_text())["transactions"]) >= 1

    assert os.listdir(tmp_path) == ["state.json"]  # noqa: PTH208 (names are what is asserted)
