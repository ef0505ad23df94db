"""Reader protocols are found by name alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from protocols.errors import CommandNotPossible
from protocols.readers import registry
from protocols.readers.zvt.machine import ZvtHost
from protocols.readers.zvt.peer import ZvtTerminal
from protocols.secret import Secret


def test_every_protocol_makes_both_sides_and_shows_a_message() -> None:
    host = registry.host_machine("zvt", "tcp", {"password": Secret("123456")})
    terminal = registry.terminal_machine("zvt", "tcp", {})
    described = registry.describe("zvt", bytes.fromhex("80 00 00"), framing="apdu")

    assert "zvt" in registry.names()
    assert isinstance(host, ZvtHost)
    assert isinstance(terminal, ZvtTerminal)
    assert described["kind"] == "ack"


@pytest.mark.parametrize("name", ["", "emv", "framing", "nonsense", "zvt.machine", "../os"])
def test_what_is_no_protocol_is_refused_by_name(name: str) -> None:
    with pytest.raises(CommandNotPossible) as refused:
        registry.describe(name, b"", framing="apdu")

    assert refused.value.facts["name"] == name


def test_naming_protocols_imports_none_of_them() -> None:
    seen = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from protocols.readers import registry; registry.names();"
            "print('protocols.readers.zvt' in sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    )

    assert seen.stdout.strip() == "False"
