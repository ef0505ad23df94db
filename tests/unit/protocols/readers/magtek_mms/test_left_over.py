"""What a payment that broke off leaves running on the reader."""

from __future__ import annotations

import pytest

from protocols.readers.protocol import AskStatus, Outcome
from tests.support.reader_cases import PURCHASE, Case
from tests.support.reader_wire import Wire

CANCEL = bytes.fromhex("84021008")
FRAMINGS = ("serial", "usb_hid", "ble_gatt")


def cancels(wire: Wire) -> int:
    return sum(CANCEL in sent for sent in wire.sent_by_host)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_it_is_cancelled_on_the_next_line_at_once(framing: str) -> None:
    wire = Case("magtek_mms", framing).opened(script="manual")
    wire.host.start(PURCHASE, wire.now)
    wire.pass_time(1.0)
    wire.disconnect()
    lost_at = wire.now
    wire.open()

    told = [wire.do(AskStatus()) for _ in range(2)]

    assert [one.outcome for one in told] == [Outcome.DONE] * 2
    assert [one.details["transaction"] for one in told] == ["cancelled", "none"]
    assert cancels(wire) == 1
    assert wire.now - lost_at < 5


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_reader_that_is_free_is_told_no_cancel(framing: str) -> None:
    wire = Case("magtek_mms", framing).opened()

    told = wire.do(AskStatus())

    assert told.details["transaction"] == "none"
    assert cancels(wire) == 0
