"""Every command of every protocol on every line it has, over the real stack of that line.

The table that people read, `docs/protocol-coverage.md`, says *tested* for what passes here, and nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.agent_program import simulation
from tests.support.protocol_coverage import BY_ITSELF, COMMANDS, has_model, why_not
from tests.support.reader_cases import Case, cases

#: `simulate` plays a line of this framing on.
_LINE: dict[str, Callable[[Path], tuple[str, ...]]] = {
    "serial": lambda folder: ("--pty", str(folder / "tty")),
    "tcp": lambda _: ("--tcp", "127.0.0.1:0"),
    "usb_hid": lambda _: ("--usb",),
    "ble_gatt": lambda _: ("--ble",),
}
_STOP = "stop a payment"
CASES = [one for one in cases() if has_model(one.protocol, one.framing)]


def driven(case: Case, folder: Path, titles: list[str], *more: str) -> dict[str, str]:
    """What a reader driver in a process of its own says of these commands."""
    with simulation(
        *_LINE[case.framing](folder), "--pace", "0.02", *more, protocol=case.protocol
    ) as reader:
        done = subprocess.run(
            [
                sys.executable, "-m", "tests.support.drive_program",
                reader.ready["profile"], reader.address, *titles,
            ],
            env={**os.environ, **reader.ready.get("environment", {})},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=150, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    said: dict[str, str] = json.loads(done.stdout)
    return said


@pytest.mark.timeout(180)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_works_in_memory_works_on_the_real_stack_and_nothing_else_does(
    case: Case, tmp_path: Path
) -> None:
    titles = [title for title in COMMANDS if title not in {*BY_ITSELF, _STOP}]

    said = driven(case, tmp_path, titles)

    assert {title for title in titles if not said[title]} == {
        title for title in titles if not why_not(case.protocol, case.framing, title)
    }


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "case", [one for one in CASES if not why_not(one.protocol, one.framing, _STOP)], ids=str
)
def test_a_payment_is_stopped_on_the_real_stack(case: Case, tmp_path: Path) -> None:
    said = driven(case, tmp_path, [_STOP], "--script", "manual")

    assert said == {_STOP: ""}
