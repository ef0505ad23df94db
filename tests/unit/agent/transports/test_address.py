"""Addresses of readers: what is understood, and what is said about the others."""

from __future__ import annotations

import errno
import subprocess
import sys
import termios

import pytest
import serial

from agent.errors import AddressUnreadable, TransportUnavailable, Unavailable
from agent.transports import schemes, transport_for
from agent.transports.serial_port import reason_of


def test_every_transport_module_is_found_by_its_scheme() -> None:
    known = {"ble": "ble", "memory": "memory", "serial": "serial_port", "tcp": "tcp", "usb": "usb"}
    assert known.items() <= schemes().items()
    assert all(scheme.isalpha() for scheme in schemes()), "a part of a transport counts as one"


def test_a_radio_address_is_understood_with_its_colons() -> None:
    of_profile = {"write": "2af1", "notify": "2af0"}
    transport = transport_for("ble://c0:ff:ee:12:34:56?settle_ms=0", of_profile)
    assert transport.address == "ble://C0:FF:EE:12:34:56"
    with pytest.raises(AddressUnreadable, match="radio address"):
        transport_for("ble://dynaflex", of_profile)
    with pytest.raises(AddressUnreadable, match="notify= is the UUID"):
        transport_for("ble://C0:FF:EE:12:34:56", {"write": "2af1"})


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        ("serial:///dev/ttyUSB0?baud=115200&stopbits=1&parity=E", "serial:///dev/ttyUSB0"),
        ("tcp://192.168.1.50:20007", "tcp://192.168.1.50:20007"),
        ("TCP://till.local:1?silence_s=3", "tcp://till.local:1"),
        ("tcp://[::1]:20007", "tcp://[::1]:20007"),
        ("memory://one", "memory://one"),
    ],
)
def test_an_address_is_shown_without_its_options(address: str, plain: str) -> None:
    assert transport_for(address).address == plain


def test_the_profile_gives_what_the_address_leaves_out() -> None:
    assert transport_for("tcp://10.0.0.5", {"port": 20007}).address == "tcp://10.0.0.5:20007"
    assert transport_for("tcp://10.0.0.5:7", {"port": 20007}).address == "tcp://10.0.0.5:7"


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("carrier-pigeon://roof", "known are .*serial://, tcp://, usb://"),
        ("/dev/ttyUSB0", "write one like"),
        ("usb://0801", "vendor and product number"),
        ("usb://0801:20", "vendor and product number"),
        ("usb://0801:2020?port=left", "the port, if there is one"),
        ("usb://0801:2020?transfer=magic", "one of INTERRUPT, BULK"),
        ("tcp://10.0.0.5", "host and port are needed"),
        ("tcp://10.0.0.5:99999", "from 1 to 65535"),
        ("tcp://10.0.0.5:1?silence_s=never", "silence_s=never"),
        ("tcp://10.0.0.5:1?silence_s=0", "silence_s=0"),
        ("serial://ttyUSB0", "the path of the port is needed"),
        ("serial:///dev/ttyUSB0?parity=X", "one of N, E, O"),
        ("serial:///dev/ttyUSB0?stopbits=3", "one of 1, 2"),
        ("serial:///dev/ttyUSB0?baud=fast", "baud=fast"),
        ("memory://", "a name is needed"),
    ],
)
def test_an_address_that_is_not_understood_is_refused_with_what_to_write(
    address: str, says: str
) -> None:
    with pytest.raises(AddressUnreadable, match=says):
        transport_for(address)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (FileNotFoundError(errno.ENOENT, ""), Unavailable.NOT_FOUND),
        (PermissionError(errno.EACCES, ""), Unavailable.NO_PERMISSION),
        (OSError(errno.EBUSY, ""), Unavailable.BUSY),
        (serial.SerialException(errno.EAGAIN, "lock"), Unavailable.BUSY),
        (serial.SerialException("Could not configure port"), Unavailable.NOT_A_PORT),
        (termios.error(errno.EIO, ""), Unavailable.NOT_FOUND),
        (ValueError("not a baud rate"), Unavailable.NOT_A_PORT),
        (OSError(errno.ENOMEM, ""), Unavailable.FAILED),
    ],
)
def test_why_a_port_did_not_open_is_told_apart(error: Exception, reason: Unavailable) -> None:
    assert reason_of(error) is reason


def test_every_reason_has_words_that_say_what_to_do() -> None:
    said = {reason: str(TransportUnavailable("tcp://a:1", reason)) for reason in Unavailable}

    assert len(set(said.values())) == len(Unavailable)


def test_a_network_reader_never_loads_the_serial_library() -> None:
    program = (
        "import sys; from agent.transports import transport_for; transport_for('tcp://a:1'); "
        "print('serial' in sys.modules)"
    )

    seen = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert seen.stdout == "False\n"
