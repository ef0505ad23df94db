"""New software for a terminal: handed over block by block, or fetched by itself, and everything that goes wrong."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from protocols.errors import CommandNotPossible
from protocols.readers.protocol import (
    AskStatus,
    InstallSoftware,
    Outcome,
    SoftwareFile,
    TransferProgress,
    UpdateSoftware,
)
from protocols.readers.zvt.machine import ZvtConfig, ZvtHost
from protocols.readers.zvt.peer import make_terminal
from protocols.readers.zvt.scripts import FAULTS, ZvtFault
from protocols.readers.zvt.sequences import VERSION_MARK
from tests.unit.protocols.readers.zvt.shop import CONFIG, PASSWORD, Shop

if TYPE_CHECKING:
    from protocols.readers.protocol import Finished

FRAMINGS = ("serial", "tcp")
SMALL_BLOCKS = replace(CONFIG, block_max=1000)
#: Digits that pass the check of card numbers, and every byte: a file arrives as it is, whatever is in it.
KERNEL = VERSION_MARK + b"SIM 2.00.0\n" + b"4111111111111111 " * 200 + bytes(range(256)) * 8
ROOTFS = bytes(255 - byte % 256 for byte in range(2500))


def software(
    number: int, content: bytes, reads: list[tuple[int, int]] | None = None
) -> SoftwareFile:
    def read(offset: int, length: int) -> bytes:
        if reads is not None:
            reads.append((offset, length))
        return content[offset : offset + length]

    return SoftwareFile(number, len(content), hashlib.sha256(content).digest(), read)


RELEASE = InstallSoftware((software(0x10, KERNEL), software(0x11, ROOTFS)))


def progress(shop: Shop) -> list[TransferProgress]:
    return [event for event in shop.events if isinstance(event, TransferProgress)]


def version_after(shop: Shop) -> str | None:
    shop.open()
    identity = shop.do(AskStatus()).identity
    return identity.software_version if identity else None


@pytest.mark.parametrize("framing", FRAMINGS)
def test_files_arrive_as_they_are_and_the_terminal_runs_the_new_version(framing: str) -> None:
    shop = Shop(framing, config=SMALL_BLOCKS)
    shop.open()

    finished = shop.do(RELEASE)

    assert finished.outcome is Outcome.DONE
    assert shop.terminal.store.installed == {
        "16": hashlib.sha256(KERNEL).hexdigest(),
        "17": hashlib.sha256(ROOTFS).hexdigest(),
    }
    assert version_after(shop) == "SIM 2.00.0"
    told = progress(shop)
    assert [one.sent for one in told] == sorted(one.sent for one in told)
    assert told[-1] == TransferProgress(len(KERNEL) + len(ROOTFS), len(KERNEL) + len(ROOTFS))


def test_a_file_is_read_piece_by_piece_and_never_beyond_its_end() -> None:
    reads: list[tuple[int, int]] = []
    shop = Shop("tcp", config=SMALL_BLOCKS)
    shop.open()

    shop.do(InstallSoftware((software(0x10, ROOTFS, reads),)))

    assert reads == [(0, 1000), (1000, 1000), (2000, 500)]


def test_a_slow_line_gets_blocks_that_it_can_carry_in_time() -> None:
    reads: list[tuple[int, int]] = []
    shop = Shop("serial")
    shop.open()

    finished = shop.do(InstallSoftware((software(0x10, ROOTFS, reads),)))

    assert finished.outcome is Outcome.DONE
    assert reads == [(0, 2048), (2048, 452)]


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_block_that_is_asked_for_again_is_given_again_and_counted_once(framing: str) -> None:
    shop = Shop(framing, config=SMALL_BLOCKS, faults=["update_repeats"])
    shop.open()

    finished = shop.do(RELEASE)

    assert finished.outcome is Outcome.DONE
    assert shop.terminal.store.installed["16"] == hashlib.sha256(KERNEL).hexdigest()
    assert len({one.sent for one in progress(shop)}) == len(progress(shop))


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_terminal_that_asks_for_the_same_block_for_ever_is_left(framing: str) -> None:
    shop = Shop(framing, config=SMALL_BLOCKS, faults=["update_same_block"])
    shop.open()

    finished = shop.do(RELEASE)

    assert finished.outcome is Outcome.LOST
    assert finished.text == "the terminal asks for the same piece of a file again and again"
    assert not shop.is_connected


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("update_wrong_block", Outcome.FAILED),
        ("update_aborts", Outcome.CANCELLED),
        ("update_drops", Outcome.LOST),
        ("update_fails", Outcome.FAILED),
        ("update_changes_nothing", Outcome.DONE),
    ],
)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_what_goes_wrong_leaves_the_old_version_and_one_end(
    framing: str, fault: str, outcome: Outcome
) -> None:
    shop = Shop(framing, config=SMALL_BLOCKS, faults=[fault])
    shop.open()

    finished = shop.do(RELEASE)

    if framing == "serial" and fault == "update_drops":
        # Nobody notices on a line, until the terminal stays silent for too long.
        outcome = Outcome.LOST
    assert finished.outcome is outcome
    assert shop.terminal.store.installed == {}
    assert version_after(shop) == "SIM 1.02.3"
    assert [one.command for one in shop.finished].count(RELEASE) == 1


def test_blocks_that_nobody_offered_are_refused_and_counted() -> None:
    shop = Shop("tcp", faults=["update_wrong_block"])
    shop.open()

    shop.do(RELEASE)

    assert "file_block_unknown" in shop.quirks
    assert progress(shop) == []


def test_a_file_that_cannot_be_read_any_more_ends_the_update() -> None:
    vanished = SoftwareFile(0x10, 5000, bytes(32), lambda _offset, _length: b"")
    shop = Shop("tcp")
    shop.open()

    finished = shop.do(InstallSoftware((vanished,)))

    assert finished.outcome is Outcome.FAILED
    assert "file_unreadable" in shop.quirks
    assert shop.terminal.store.installed == {}


@pytest.mark.parametrize(
    "files",
    [
        (),
        (software(0x10, b"a"), software(0x10, b"b")),
        (software(0x100, b"a"),),
        (SoftwareFile(0x10, 2**32, bytes(32), lambda _offset, _length: b""),),
    ],
    ids=["none", "same number", "number too high", "too large"],
)
def test_files_that_cannot_be_offered_are_refused_before_anything_is_sent(
    files: tuple[SoftwareFile, ...],
) -> None:
    host = ZvtHost("tcp", CONFIG)
    host.connected(0.0)

    with pytest.raises(CommandNotPossible):
        host.start(InstallSoftware(files), 0.0)

    assert host.outgoing() == b""
    assert host.is_idle()


def test_the_terminals_own_limit_makes_blocks_smaller() -> None:
    host = ZvtHost("tcp", CONFIG)
    host.connected(0.0)
    host.start(InstallSoftware((software(0x10, ROOTFS),)), 0.0)
    host.outgoing()
    host.feed(bytes.fromhex("800000"), 0.1)

    host.feed(bytes.fromhex("040c1106 0f 2d09 1d0110 1e0400000000 1a020240".replace(" ", "")), 0.2)

    assert host.outgoing()[-512:] == ROOTFS[:512]


# --- fetched by itself ---


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_terminal_that_fetches_its_software_is_busy_and_then_has_it(framing: str) -> None:
    shop = Shop(framing)
    shop.open()

    began = shop.do(UpdateSoftware())
    seen = [shop.do(AskStatus()) for _ in range(4)]

    assert began.outcome is Outcome.DONE
    assert [one.outcome for one in seen] == [Outcome.BUSY] * 3 + [Outcome.DONE]
    assert [_version(one) for one in seen] == ["SIM 1.02.3"] * 2 + ["SIM 1.03.0"] * 2
    assert "23" in {f"{one.code:02d}" for one in shop.progress}


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("update_aborts", Outcome.FAILED),
        ("update_fails", Outcome.FAILED),
        ("update_drops", Outcome.LOST),
        ("update_changes_nothing", Outcome.DONE),
    ],
)
def test_a_fetch_that_goes_wrong_leaves_the_old_version(fault: str, outcome: Outcome) -> None:
    shop = Shop("tcp", faults=[fault])
    shop.open()

    finished = shop.do(UpdateSoftware())

    assert finished.outcome is outcome
    assert version_after(shop) == "SIM 1.02.3"


def _version(finished: Finished) -> str | None:
    return finished.identity.software_version if finished.identity else None


# --- quirks ---


def test_a_profile_may_ask_for_temperature_and_voltage_with_the_status() -> None:
    config = replace(CONFIG, quirks=frozenset({"decode_by_request"}))
    shop = Shop("tcp", config=config)
    shop.open()

    finished = shop.do(AskStatus())

    assert finished.outcome is Outcome.DONE
    assert finished.details["temperature_c"] == "24.4"
    assert finished.details["voltage_mv"] == "12100"
    assert finished.identity is not None
    assert finished.identity.software_version == "SIM 1.02.3"


def test_a_terminal_without_such_details_tells_its_status_all_the_same() -> None:
    host = ZvtHost("tcp", replace(CONFIG, quirks=frozenset({"decode_by_request"})))
    host.connected(0.0)
    host.start(AskStatus(), 0.0)
    host.outgoing()
    host.feed(bytes.fromhex("800000"), 0.1)
    host.feed(bytes.fromhex("060f0100"), 0.2)
    assert host.outgoing().hex() == "8000000fa1020001"

    events = host.feed(bytes.fromhex("848300"), 0.3)

    assert [type(event).__name__ for event in events] == ["Finished"]
    assert events[0].outcome is Outcome.DONE  # type: ignore[union-attr]  # asserted above
    assert host.is_idle()


def test_quirks_of_a_profile_are_names_that_zvt_knows() -> None:
    config = ZvtConfig.from_settings(
        {
            "password": PASSWORD,
            "quirks": [
                {"id": "a", "action": "decode_by_request", "applies": "*"},
                {"id": "b", "action": "capability_off:voltage", "applies": "version_missing"},
            ],
        }
    )

    assert config.quirks == {"decode_by_request", "capability_off"}
    with pytest.raises(CommandNotPossible, match="make_coffee"):
        ZvtConfig.from_settings(
            {"password": PASSWORD, "quirks": [{"id": "c", "action": "make_coffee"}]}
        )


# --- the simulated terminal ---


def test_what_was_installed_outlives_a_power_cut() -> None:
    shop = Shop("tcp")
    shop.open()
    shop.do(RELEASE)

    again = make_terminal("tcp", {"snapshot": json.loads(json.dumps(shop.terminal.snapshot()))})

    assert again.store.software_version == "SIM 2.00.0"
    assert again.store.installed == shop.terminal.store.installed


def test_every_fault_is_described() -> None:
    assert set(FAULTS) == set(ZvtFault)
