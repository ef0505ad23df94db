"""Yesterday's business: a second box that reports a month of sales through ingest, as a real one would."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from control_plane.db.engine import Database
from control_plane.demo import seed
from control_plane.devices.authority import Authority
from control_plane.devices.enrollment import enrol
from control_plane.ingest.intake import Intake, Uplink
from protocols.cloud.commands import encode
from protocols.cloud.envelope import GENESIS, Envelope, body_hash, seal
from protocols.cloud.events import (
    OutboxLevel,
    PaymentResult,
    Presence,
    ReportedConfig,
    ReportedReader,
    ReportedState,
)
from protocols.cloud.http import EnrollRequest
from protocols.cloud.topics import Channel, Stream
from protocols.ids import new_id, uuid7

_DAYS: Final = 30
_READERS: Final = ("Salon", "Hall")
#: Weight, brand, last four digits, way of entry, verification.
_CARDS: Final = (
    (34, "Visa", "0119", "contactless", "none"),
    (24, "Mastercard", "0012", "contactless", "none"),
    (16, "CB", "7301", "chip", "pin"),
    (12, "Visa", "4242", "chip", "pin"),
    (8, "Mastercard", "5100", "wallet", "device"),
    (6, "American Express", "0005", "contactless", "none"),
)
#: Weight, result code, what the terminal said.
_DECLINES: Final = (
    (5, 0x33, "Insufficient funds"),
    (3, 0x05, "Do not honour"),
    (1, 0x36, "Card expired"),
    (1, 0x37, "Wrong PIN"),
)


@dataclass(frozen=True, slots=True)
class _Sale:
    at: datetime
    result: PaymentResult


def tell(database: Database, authority: Authority, shop: seed.Shop, now: datetime) -> int:
    """Enrol the second box and let it report its month; how many payments that were."""
    device_id = enrol_box(database, authority, shop)
    readers = {name: new_id("rd") for name in _READERS}
    sales = sorted(_month(readers, now), key=lambda sale: sale.at)
    messages = [Uplink(device_id, Channel.STATE, encode(_state(readers, now)))]
    messages += [
        Uplink(device_id, Channel.PRESENCE, encode(Presence(state=state, boot=1, conn=1)))
        for state in ("online", "offline")
    ]
    previous = GENESIS
    for seq, sale in enumerate(sales, start=1):
        payload = seal(_envelope(sale, seq, previous))
        previous = body_hash(payload)
        messages.append(Uplink(device_id, Channel.TRANSACTIONS, payload))
    Intake(database, _Still(now)).take_in(messages)
    return len(sales)


class _Still:
    """The clock of one moment: a batch is taken in at once."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now


def enrol_box(database: Database, authority: Authority, shop: seed.Shop) -> str:
    """A box at the second location, with a key of its own; its device id."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "canal")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    csr_pem = request.public_bytes(serialization.Encoding.PEM).decode()
    with database.transaction() as db:
        code = seed.enrolment_code(db, shop.merchant_id, shop.other_location_id)
        return enrol(
            db,
            authority,
            EnrollRequest(
                code=code.reveal(), csr_pem=csr_pem, agent_version="0.1.0", hostname="canal-till"
            ),
        ).device_id


def _month(readers: dict[str, str], now: datetime) -> Iterator[_Sale]:
    """The same month in every demo, but for its dates: a café, busy at noon and on Saturdays."""
    chance = random.Random(20_261)  # noqa: S311 - nothing secret is drawn
    receipts = dict.fromkeys(readers, 0)
    for days_ago in range(_DAYS, 0, -1):
        day = (now - timedelta(days=days_ago)).replace(hour=0, minute=0, second=0, microsecond=0)
        for _ in range(chance.randint(4, 7) + (6 if day.weekday() == 5 else 0)):
            hour = chance.choices(
                range(7, 22), weights=[2, 4, 4, 3, 3, 8, 8, 4, 3, 3, 3, 4, 6, 6, 3]
            )[0]
            at = day + timedelta(hours=hour, seconds=chance.randrange(3600))
            name = chance.choice(_READERS)
            receipts[name] += 1
            sale = _payment(chance, readers[name], name, receipts[name])
            yield _Sale(at, sale)
            if sale.outcome == "approved" and chance.random() < 0.02:
                receipts[name] += 1
                back = _reversal(sale, receipts[name])
                yield _Sale(at + timedelta(minutes=chance.randint(1, 8)), back)


def _payment(chance: random.Random, reader_id: str, name: str, receipt: int) -> PaymentResult:
    _, brand, digits, entry_mode, verification = chance.choices(
        _CARDS, weights=[card[0] for card in _CARDS]
    )[0]
    minor = chance.choice((280, 450, 620, 890, 1290, 1650, 1980, 2460, 3820, 5640))
    minor += chance.choice((0, 0, 20, 50, 80))
    dice = chance.random()
    outcome, code, text = "approved", 0, ""
    if dice > 0.975:
        outcome, code, text = "cancelled", 0x6C, "Cancelled at the terminal"
    elif dice > 0.92:
        _, code, text = chance.choices(_DECLINES, weights=[one[0] for one in _DECLINES])[0]
        outcome = "declined"
    approved = outcome == "approved"
    return PaymentResult(
        session_id=new_id("ts"),
        reader_id=reader_id,
        kind="sale",
        outcome=outcome,  # type: ignore[arg-type]  # one of its words
        amount_minor=minor,
        currency="EUR",
        decided_by="answer",
        result_code=code,
        result_text=text,
        terminal_id="6000012" + str(_READERS.index(name) + 1),
        merchant_number="4711002",
        receipt_number=receipt,
        trace_number=receipt + 100,
        authorization_code=f"{chance.randrange(10**6):06}" if approved else None,
        masked_pan=f"************{digits}" if outcome != "cancelled" else None,
        card_brand=brand if outcome != "cancelled" else None,
        entry_mode=entry_mode if outcome != "cancelled" else None,
        verification=verification if approved else None,
        reference=f"table {chance.randint(1, 24)}" if name == "Hall" else "",
    )


def _reversal(sale: PaymentResult, receipt: int) -> PaymentResult:
    return PaymentResult(
        session_id=new_id("ts"),
        reader_id=sale.reader_id,
        kind="reversal",
        outcome="approved",
        amount_minor=sale.amount_minor,
        currency=sale.currency,
        decided_by="answer",
        result_code=0,
        terminal_id=sale.terminal_id,
        merchant_number=sale.merchant_number,
        receipt_number=receipt,
        trace_number=receipt + 100,
        masked_pan=sale.masked_pan,
        card_brand=sale.card_brand,
        reference=sale.reference,
    )


def _envelope(sale: _Sale, seq: int, previous: str) -> Envelope:
    return Envelope(
        id=str(uuid7()),
        ts=sale.at.isoformat(),
        boot=1,
        mono_ms=seq * 1000,
        clk_unc_ms=20,
        stream=Stream.TRANSACTIONS.value,
        epoch=1,
        seq=seq,
        prev=previous,
        data=sale.result,
    )


def _state(readers: dict[str, str], now: datetime) -> ReportedState:
    return ReportedState(
        ts=now.isoformat(),
        boot=1,
        agent_version="0.1.0",
        accepts=["cmd.v1", "cfg.v1"],
        epoch=1,
        config=ReportedConfig(),
        readers=[
            ReportedReader(
                reader_id=reader_id,
                name=name,
                profile="generic-zvt-tcp",
                address=f"tcp://192.168.1.{60 + number}:20007",
                state="disconnected",
                reason="the terminal does not answer",
                terminal_id=f"6000012{number}",
            )
            for number, (name, reader_id) in enumerate(readers.items(), start=1)
        ],
        outbox=OutboxLevel(pending=0, oldest_s=0),
        hostname="canal-till",
        platform="Debian 12",
    )
