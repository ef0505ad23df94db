"""New software: a file in thousands of packets, told as it goes, kept nowhere whole on the till's side."""

from __future__ import annotations

import tracemalloc
from hashlib import sha256
from itertools import groupby

import pytest

from protocols.errors import CommandNotPossible
from protocols.readers.magtek_mms.machine import make_host
from protocols.readers.protocol import InstallSoftware, Outcome, SoftwareFile
from tests.unit.protocols.readers.magtek_mms.counter import FRAMINGS, Counter

IMAGE = b"version 2000009373-B7-PCI\x00" + bytes(at % 251 for at in range(150_000))


def install(image: bytes = IMAGE, digest: bytes | None = None) -> InstallSoftware:
    return InstallSoftware(
        (
            SoftwareFile(
                1,
                len(image),
                digest or sha256(image).digest(),
                lambda offset, length: image[offset : offset + length],
            ),
        )
    )


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_file_is_handed_over_installed_and_seen_in_the_version(framing: str) -> None:
    counter = Counter(framing)
    counter.open()

    finished = counter.do(install())
    counter.run(lambda: not counter.is_connected)
    identity = counter.open().identity

    assert finished.outcome is Outcome.DONE
    assert finished.details == {"firmware": "firmware_installed"}
    assert list(counter.notices) == ["firmware_installed", "restarted"]
    assert identity is not None
    assert identity.software_version == "2000009373-B7-PCI"
    sent = [event.sent for event in counter.transfers]
    assert sent == sorted(set(sent))
    assert len(sent) > 5
    assert sent[-1] == len(IMAGE)
    assert {event.total for event in counter.transfers} == {len(IMAGE)}


@pytest.mark.parametrize(
    ("fault", "outcome", "notice"),
    [
        ("firmware_fails", Outcome.FAILED, "firmware_failed"),
        ("firmware_current", Outcome.DONE, "firmware_current"),
        ("firmware_silent", Outcome.LOST, None),
        ("drop_in_update", Outcome.FAILED, None),
    ],
)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_what_can_become_of_it(
    framing: str, fault: str, outcome: Outcome, notice: str | None
) -> None:
    counter = Counter(framing, faults=(fault,))
    counter.open()

    finished = counter.do(install())

    assert finished.outcome is outcome
    assert [one for one in counter.notices if one.startswith("firmware")] == (
        [notice] if notice else []
    )
    assert len([one for one in counter.finished if one.command == finished.command]) == 1


def test_a_file_that_does_not_match_its_hash_is_refused_by_the_reader() -> None:
    counter = Counter()
    counter.open()

    finished = counter.do(install(digest=bytes(32)))

    assert finished.outcome is Outcome.FAILED
    assert "image" in finished.text
    assert counter.open().outcome is Outcome.DONE


def test_a_reader_with_an_empty_battery_takes_no_file() -> None:
    counter = Counter()
    counter.open()
    counter.terminal.memory.battery_percent = 4

    finished = counter.do(install())

    assert finished.outcome is Outcome.FAILED
    assert "battery_low" in counter.notices


def test_on_usb_it_comes_back_through_its_boot_loader() -> None:
    counter = Counter("usb_hid", reboot_s=20.0)
    counter.open()
    before = counter.terminal.identity_now()
    counter.do(install())
    counter.run(lambda: not counter.is_connected)

    seen = []
    for _ in range(30):
        counter.now += 1.0
        counter.terminal.expired(counter.now)
        seen.append(
            (counter.terminal.unreachable_until() is None, counter.terminal.identity_now()["pid"])
        )

    assert before == {
        "vid": 0x0801,
        "pid": 0x2020,
        "product": "DynaFlex II Go",
        "serial_number": "B5A1C3D",
    }
    assert [state for state, _ in groupby(seen)] == [
        (False, 0x2020),
        (True, 0x2021),
        (False, 0x2020),
        (True, 0x2020),
    ]


def test_a_boot_loader_answers_nothing() -> None:
    counter = Counter("usb_hid")
    counter.open()
    counter.do(install())
    counter.run(lambda: not counter.is_connected)
    counter.now += 6.0
    counter.terminal.expired(counter.now)
    counter.terminal.connected(counter.now)

    counter.terminal.feed(counter.from_host[0], counter.now)

    assert counter.terminal.identity_now()["pid"] == 0x2021
    assert "serial_number" not in counter.terminal.identity_now()
    assert counter.terminal.outgoing() == b""


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_large_file_is_read_piece_by_piece_and_never_kept(framing: str) -> None:
    size = 3_900_000
    largest = 0

    def read(offset: int, length: int) -> bytes:
        nonlocal largest
        largest = max(largest, length)
        return b"\x5a" * length

    host = make_host(framing, {"currency": "EUR"})
    host.connected(0)
    host.start(InstallSoftware((SoftwareFile(1, size, bytes(32), read),)), 0)
    packets = looked_up = 0
    tracemalloc.start()
    for _ in range(20_000):
        if host.outgoing():
            packets += 1
            continue
        if not host.expired(0):
            break
        looked_up += 1
        if looked_up == 20:
            break
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert looked_up == 20
    assert packets >= 20 * 16
    assert largest <= 1024
    assert peak < 100_000


def test_one_file_at_a_time_and_none_that_makes_no_sense() -> None:
    host = Counter().host
    host.connected(0)
    file = install().files[0]
    bad = SoftwareFile(1, 0, file.sha256, file.read)
    unhashed = SoftwareFile(1, 10, b"", file.read)

    for files in ((file, file), (), (bad,), (unhashed,)):
        with pytest.raises(CommandNotPossible):
            host.start(InstallSoftware(files), 0)

    assert host.is_idle()
    assert host.outgoing() == b""


def test_a_line_that_breaks_while_sending_leaves_the_old_software() -> None:
    counter = Counter()
    counter.open()
    counter.host.start(install(), counter.now)
    for _ in range(50):
        counter.terminal.feed(counter.host.outgoing(), counter.now)

    counter.disconnect()
    version = counter.open().identity

    assert counter.finished[1].outcome is Outcome.FAILED
    assert "not installed" in counter.finished[1].text
    assert version is not None
    assert version.software_version == "1000009373-A1-PCI"
