"""The sandbox acquirer on a loopback port, and cards sealed for it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import httpx2
import uvicorn

from control_plane.acquirer_sandbox.app import (
    PLAY_SECRET,
    AcquirerSandbox,
    AcquirerSettings,
    create_acquirer,
)
from control_plane.acquirer_sandbox.faults import Fault, FaultKind
from control_plane.acquirer_sandbox.opening import TEST_KEYS
from control_plane.card_present.processor import Access, AuthorizationRequest, SealedTap
from control_plane.processors.cybersource.adapter import CyberSource
from protocols.cloud.events import SealedCard
from protocols.ids import new_id
from protocols.money import Money
from protocols.readers.emv import Tlv
from protocols.readers.idtech_neo import tap as idtech
from protocols.readers.magtek_mms import tap as magtek
from tests.support.ports import LOOPBACK
from tests.support.waiting import eventually

#: One of ``card_scan``'s numbers: nothing that is written may hold it.
NUMBER = "5555555555554444"
_COUNTER = count(1)
_TAPS = {"magtek_mms": magtek, "idtech_neo": idtech}
#: Long enough for a loaded machine, short enough for a test.
QUICK = httpx2.Timeout(1.5, connect=1.0)


@dataclass(frozen=True, slots=True)
class AcquirerServer:
    """A sandbox acquirer that listens."""

    url: str
    sandbox: AcquirerSandbox

    @property
    def access(self) -> Access:
        return Access(
            organization="omnitill-demo",
            key_id="sandbox-key-1",
            secret=PLAY_SECRET,
            base=self.url,
        )

    def adapter(self) -> CyberSource:
        return CyberSource(self.access, self.url, timeout=QUICK)

    def fault(
        self, kind: FaultKind, on: str = "POST *", *, times: int = 1, delay_s: float = 0
    ) -> None:
        self.sandbox.faults.add(Fault(kind=kind, on=on, times=times, delay_s=delay_s))

    def money(self) -> tuple[int, int, int]:
        """Reserved, captured and refunded, in euro cents."""
        found = [one for one in self.sandbox.books.balances() if one.currency == "EUR"]
        return (found[0].reserved, found[0].captured, found[0].refunded) if found else (0, 0, 0)


@contextmanager
def acquirer_server(database: Path | None = None) -> Iterator[AcquirerServer]:
    """Serve an acquirer in a thread on a free port."""
    app = create_acquirer(AcquirerSettings(database=database, slow_s=3.0))
    with socket.socket() as listening:
        listening.bind((LOOPBACK, 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", access_log=False))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            eventually(lambda: server.started, deadline_s=20)
            url = f"http://{LOOPBACK}:{listening.getsockname()[1]}"
            yield AcquirerServer(url, app.state.acquirer)
        finally:
            server.should_exit = True
            thread.join(timeout=10)
            app.state.acquirer.close()


def sealed_card(
    *, scheme: str = "dukpt-tdes", number: str = NUMBER, layout: str = "magtek_mms"
) -> SealedCard:
    """A contactless chip card as a reader of that protocol gives it away, with the reader's next key."""
    used = next(_COUNTER)
    ksn = (
        bytes.fromhex("FFFF9876543210E00000")[:-2] + used.to_bytes(2, "big")
        if scheme == "dukpt-tdes"
        else bytes.fromhex("1234567890123456") + used.to_bytes(4, "big")
    )
    clear = (
        Tlv(0x57, bytes.fromhex(f"{number}D30122010000000000000F")),
        Tlv(0x9F26, bytes.fromhex("0011223344556677")),
        Tlv(0x9F36, b"\x00\x01"),
    )
    data = _TAPS[layout].build(clear, bdk=TEST_KEYS[scheme], ksn=ksn, scheme=scheme)
    return SealedCard(
        format=layout, scheme=scheme, ksn=ksn, data=data, serial_number="B0A1B2C",
        masked_pan="555555******4444", card_brand="Mastercard", entry_mode="contactless",
    )  # fmt: skip


def request_for(minor: int, *, card: SealedCard | None = None) -> AuthorizationRequest:
    """What the port is asked for a card."""
    card = card or sealed_card()
    return AuthorizationRequest(
        key=new_id("tap"),
        amount=Money(minor, "EUR"),
        tap=SealedTap(
            format=card.format, scheme=card.scheme, ksn=card.ksn, data=card.data,
            serial_number=card.serial_number, entry_mode=card.entry_mode,
        ),
        terminal_id="rd_1",
        reference=new_id("ts"),
    )  # fmt: skip
