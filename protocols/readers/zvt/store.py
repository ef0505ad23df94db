"""What a simulated terminal remembers through a power cut: its identity, its transactions, its settings."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from protocols.readers.zvt import codes
from protocols.readers.zvt.bitmaps import SchemeSum, TurnoverSums

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Config byte of a terminal that nobody registered (06 02 returns to it).
UNREGISTERED_CONFIG: Final = 0x86
_LARGEST_RECEIPT: Final = 9999
_LARGEST_TRACE: Final = 999_999


class Kind(StrEnum):
    """What a transaction does."""

    PURCHASE = "purchase"
    REFUND = "refund"
    REVERSAL = "reversal"
    PREAUTHORIZATION = "preauthorization"
    BOOKING = "booking"
    RELEASE = "release"


class State(StrEnum):
    """What became of it."""

    PENDING = "pending"
    """Approved by the host, not yet confirmed by the till."""
    DONE = "done"
    FAILED = "failed"
    """Declined or stopped; no money moved."""
    REVERSED = "reversed"
    """Taken back, by command or because nobody confirmed it."""
    USED = "used"
    """A reservation that was booked or released."""


#: What a transaction that names a receipt may mean by it.
REFERRED: Final[Mapping[Kind, tuple[Kind, ...]]] = {
    Kind.PURCHASE: (),
    Kind.REFUND: (),
    Kind.PREAUTHORIZATION: (),
    Kind.REVERSAL: (Kind.PURCHASE, Kind.BOOKING, Kind.REFUND),
    Kind.BOOKING: (Kind.PREAUTHORIZATION,),
    Kind.RELEASE: (Kind.PREAUTHORIZATION,),
}


@dataclass(slots=True)
class Transaction:
    """One transaction as the terminal keeps it. Amounts in minor units; the card number is masked."""

    kind: Kind
    receipt: int
    trace: int
    turnover: int
    amount_minor: int
    currency: int
    result: int
    state: State
    day: int
    date: str
    """``MMDD``"""
    time: str
    """``HHMMSS``"""
    scheme: int
    card_type: int
    masked_pan: str
    expiry_yymm: str
    aid: str
    technology: int
    verification: int
    authorization_code: str
    original_receipt: int | None = None
    stands_without_answer: bool = False

    @property
    def turnover_minor(self) -> int:
        """What it adds to the turnover."""
        if self.state is not State.DONE:
            return 0
        if self.kind in {Kind.PURCHASE, Kind.BOOKING}:
            return self.amount_minor
        return -self.amount_minor if self.kind is Kind.REFUND else 0


@dataclass(slots=True)
class TerminalStore:
    """Everything that outlives a connection and a power cut."""

    terminal_id: str = "52500001"
    serial_number: str = "00018632"
    model: str = "Omnitill SIM"
    software_version: str = "SIM 1.02.3"
    next_software_version: str = "SIM 1.03.0"
    merchant_number: str = "100461763"
    password: str = field(default="123456", repr=False)
    currency: int = 978
    day: int = 1
    receipts_used: int = 0
    traces_used: int = 0
    transactions: list[Transaction] = field(default_factory=list)
    is_registered: bool = False
    config_byte: int = UNREGISTERED_CONFIG
    allows_tlv: bool = False
    wants_blocks: bool = False
    lock: int | None = None
    """Terminal status that stops all but a few commands, such as C2."""
    update_polls_left: int = 0
    restarts: int = 0
    displayed: tuple[str, ...] = ()
    installed: dict[str, str] = field(default_factory=dict)
    """File id in decimal to the SHA-256 of what was taken in under it last, in hexadecimal."""

    @classmethod
    def restore(cls, snapshot: Mapping[str, Any]) -> TerminalStore:
        """The inverse of ``snapshot``; what was pending is settled as a terminal does when it starts."""
        values = dict(snapshot)
        transactions = [
            Transaction(**{**one, "kind": Kind(one["kind"]), "state": State(one["state"])})
            for one in values.pop("transactions", ())
        ]
        values["displayed"] = tuple(values.get("displayed", ()))
        store = cls(transactions=transactions, **values)
        store.settle_pending()
        return store

    def snapshot(self) -> dict[str, Any]:
        """JSON-able. Taken after every step of a simulator, so without the copies that ``asdict`` makes."""
        kept: dict[str, Any] = {one.name: getattr(self, one.name) for one in fields(self)}
        names = [one.name for one in fields(Transaction)]
        kept["transactions"] = [
            {name: getattr(one, name) for name in names} for one in self.transactions
        ]
        return kept

    def add(self, transaction: Transaction) -> None:
        """Keep a transaction; its numbers were taken from ``next_numbers``."""
        self.transactions.append(transaction)
        self.receipts_used += 1
        self.traces_used += 1

    def next_numbers(self) -> tuple[int, int]:
        """Receipt and trace number of the next transaction."""
        return self.receipts_used % _LARGEST_RECEIPT + 1, self.traces_used % _LARGEST_TRACE + 1

    def last(self) -> Transaction | None:
        """The transaction that 06 20 repeats."""
        return self.transactions[-1] if self.transactions else None

    def find(self, receipt: int, *kinds: Kind) -> Transaction | None:
        """The latest finished transaction with this receipt number that is one of ``kinds``."""
        for transaction in reversed(self.transactions):
            if transaction.receipt == receipt and transaction.kind in kinds:
                return transaction if transaction.state is not State.FAILED else None
        return None

    def open_preauthorizations(self) -> list[Transaction]:
        """Reservations neither booked nor released."""
        return [
            one
            for one in self.transactions
            if one.kind is Kind.PREAUTHORIZATION and one.state is State.DONE
        ]

    def confirm(self, transaction: Transaction) -> None:
        """The till took note: what was pending is done."""
        transaction.state = State.DONE
        original = self._original_of(transaction)
        if original is not None:
            original.state = State.REVERSED if transaction.kind is Kind.REVERSAL else State.USED

    def reverse(self, transaction: Transaction) -> None:
        """Nobody took note: it never happened, or happens not to have been taken back."""
        transaction.state = State.REVERSED
        transaction.result = codes.ALREADY_REVERSED

    def settle_pending(self) -> None:
        """Reverse what nobody confirmed, except what stands all the same."""
        for transaction in self.transactions:
            if transaction.state is State.PENDING:
                if transaction.stands_without_answer:
                    self.confirm(transaction)
                else:
                    self.reverse(transaction)

    def close_day(self) -> None:
        """After the end of day the turnover begins anew."""
        self.day += 1

    def turnover(self) -> int:
        """Sum of the day, net of refunds."""
        return sum(one.turnover_minor for one in self._today())

    def sums(self) -> TurnoverSums:
        """Turnover of the day for BMP 60, which has no sign: a scheme with more refunds than payments says zero."""
        counts = [0] * len(codes.SCHEMES)
        totals = [0] * len(codes.SCHEMES)
        receipts = [one.receipt for one in self._today() if one.turnover_minor]
        for one in self._today():
            if one.turnover_minor:
                counts[one.scheme] += 1
                totals[one.scheme] += one.turnover_minor
        sums = (
            SchemeSum(min(count, 0xFF), max(total, 0))
            for count, total in zip(counts, totals, strict=True)
        )
        return TurnoverSums(min(receipts, default=0), max(receipts, default=0), tuple(sums))

    def _today(self) -> Iterator[Transaction]:
        return (one for one in self.transactions if one.day == self.day)

    def _original_of(self, transaction: Transaction) -> Transaction | None:
        if transaction.original_receipt is None:
            return None
        return self.find(transaction.original_receipt, *REFERRED[transaction.kind])
