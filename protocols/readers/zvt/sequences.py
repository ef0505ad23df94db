"""What a simulated terminal does when a till asks: each command is a conversation, read from top to bottom.

A conversation is a generator. It yields ``Say`` (and gets the till's answer back, or None when none came), ``Reply``,
``Pause``, ``Drop`` or ``Restart``; the terminal machine in ``peer`` carries that out. What the conversations share is
the ``Desk``.
"""

# ruff: noqa: ARG001 - every conversation is called the same way
from __future__ import annotations

import hashlib
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from protocols.money import Money, currency_of_number
from protocols.readers.emv import Tlv, mask_pan, walk
from protocols.readers.zvt import bitmaps, codes, messages, tlv
from protocols.readers.zvt.bitmaps import BITMAPS, Fields
from protocols.readers.zvt.messages import Message
from protocols.readers.zvt.receipts import administration_receipt, payment_receipt
from protocols.readers.zvt.scripts import Faults, PaymentScript, Playbook, SampleCard, ZvtFault
from protocols.readers.zvt.store import (
    REFERRED,
    UNREGISTERED_CONFIG,
    Kind,
    State,
    TerminalStore,
    Transaction,
)
from protocols.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_PRINTS_PAYMENTS: Final = 0x02
_PRINTS_ADMIN: Final = 0x04
_SENDS_STATUS: Final = 0x08
_PRINT_MESSAGES: Final = 0x80

#: What moves money.
PAYMENTS: Final[Mapping[int, Kind]] = {
    messages.AUTHORIZATION: Kind.PURCHASE,
    messages.REFUND: Kind.REFUND,
    messages.REVERSAL: Kind.REVERSAL,
    messages.PREAUTHORIZATION: Kind.PREAUTHORIZATION,
    messages.BOOK_PARTIAL: Kind.BOOKING,
    messages.BOOK_TOTAL: Kind.BOOKING,
    messages.CANCEL_PREAUTHORIZATION: Kind.RELEASE,
}
#: What a locked terminal does all the same.
UNLOCKED: Final = frozenset(
    {
        messages.STATUS_ENQUIRY,
        messages.DISPLAY_TEXT,
        messages.SERVICE_MODE,
        messages.SOFTWARE_UPDATE,
    }
    | {messages.REGISTRATION, messages.LOG_OFF, messages.READ_CARD}
)
#: Terminal status to the commands that end it.
RECOVERIES: Final[Mapping[int, frozenset[int]]] = {
    0x51: frozenset({messages.INITIALIZATION}),
    0x62: frozenset({messages.SET_CLOCK, messages.DIAGNOSIS}),
    0xB1: frozenset({messages.END_OF_DAY}),
    0xF0: frozenset({messages.END_OF_DAY}),
    0xC2: frozenset({messages.DIAGNOSIS}),
    0xC4: frozenset({messages.SOFTWARE_UPDATE}),
}
#: What needs no registration.
FOR_STRANGERS: Final = UNLOCKED | {
    messages.RESET,
    messages.DIAGNOSIS,
    messages.SELECT_LANGUAGE,
    messages.SET_BAUD_RATE,
    messages.ACTIVATE_READER,
    messages.VENDOR_FUNCTION,
}

_RESULT_REPEATS: Final = 2
_ASK_AGAIN_S: Final = 2.0
_CARD_WAIT: Final = 0x0A
_REMOVE_CARD: Final = 0x0B
#: How long a card may take that somebody must hold there, or take out.
_HAND_WAIT_S: Final = 60.0
_SLOWNESS: Final = 5.0
_LONG_RECEIPT_LINES: Final = 200
#: A file of software that begins with this, a version and a line end makes the terminal tell that version.
VERSION_MARK: Final = b"omnitill-simulated-software "
#: Above this a receipt is sent in several blocks.
_BLOCK_BYTES: Final = 3_000


@dataclass(frozen=True, slots=True)
class Reply:
    """Send this and go on."""

    message: Message


@dataclass(frozen=True, slots=True)
class Say:
    """Send this and wait for the till's answer, which is None when none came in time."""

    message: Message
    then_drop: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds, or until somebody wants to stop. ``is_scaled``: by the pace of the terminal."""

    seconds: float
    is_scaled: bool = True


@dataclass(frozen=True, slots=True)
class Drop:
    """Drop the line and go on without it."""


@dataclass(frozen=True, slots=True)
class Restart:
    """Lose the line, the registration and whatever was not finished."""


Directive = Reply | Say | Pause | Drop | Restart
_T = TypeVar("_T")
#: A conversation: yields what to do, gets the till's answers, and returns what came of it.
TalkAbout = Generator[Directive, Message | None, _T]
Talk = Generator[Directive, Message | None, None]


@dataclass(slots=True)
class Hand:
    """What somebody at the terminal does with a card."""

    is_wanted: bool = False
    script: PaymentScript | None = None
    """What comes of the card that was held there."""
    is_inside: bool = False
    """A card is in the slot and wants to be taken out."""


@dataclass(slots=True)
class Desk:
    """What the conversations of one terminal share."""

    store: TerminalStore
    playbook: Playbook
    faults: Faults
    update_polls: int
    clock: datetime
    """What the terminal's clock said at ``clock_set_at``, in local wall time."""
    clock_set_at: float = 0.0
    now: float = 0.0
    script_faults: Faults = field(default_factory=lambda: Faults(()))
    may_stop: bool = False
    """True while the customer may still leave."""
    stop_wanted: bool = False
    hand: Hand = field(default_factory=Hand)
    block: tuple[int, int, bytes] | None = None
    """File id, offset and content of the block in the till's last answer."""

    def forget_block(self) -> None:
        """Before the till is asked for another."""
        self.block = None

    def strikes(self, fault: ZvtFault) -> bool:
        """Whether a fault happens now, by the story of the payment or by the rules of the terminal."""
        return self.script_faults.strikes(fault) or self.faults.strikes(fault)

    def local_time(self) -> datetime:
        """What the terminal's clock says."""
        return self.clock + timedelta(seconds=self.now - self.clock_set_at)

    def set_clock(self, at: datetime) -> None:
        """Set the terminal's clock."""
        self.clock, self.clock_set_at = at, self.now


# --- payments ------------------------------------------------------------------------------------------------


def payment(desk: Desk, message: Message, script: PaymentScript) -> Talk:
    refusal = _refusal_of(desk, message)
    if refusal is not None:
        yield Reply(messages.positive())
        yield Say(refusal)
        return
    yield Reply(messages.positive())
    if desk.strikes(ZvtFault.DROP_AFTER_START):
        yield Drop()
    if desk.strikes(ZvtFault.REBOOT):
        yield Restart()
        return
    slowness = _SLOWNESS if desk.strikes(ZvtFault.SLOW) else 1.0
    desk.may_stop = True
    if script.waits_for_hand:
        script = yield from _wait_for_hand(desk, message)
    result = yield from _card_steps(desk, message, script, slowness)
    desk.may_stop = False
    transaction = _record(desk, message, script, result)
    confirmed = yield from _report(desk, transaction, script.card)
    for status, seconds in script.afterwards:
        yield from _tell(desk, status)
        yield Pause(seconds * slowness)
    if desk.hand.is_inside:
        yield from _tell(desk, _REMOVE_CARD)
        yield Pause(_HAND_WAIT_S, is_scaled=False)
        desk.hand.is_inside = False
    if not confirmed:
        yield Say(messages.aborted(transaction.result))
        return
    if desk.strikes(ZvtFault.DROP_BEFORE_COMPLETION):
        yield Drop()
        return
    yield Say(messages.completion())


def _wait_for_hand(desk: Desk, message: Message) -> TalkAbout[PaymentScript]:
    """What comes of the card that somebody holds there; nobody in time is the same as the red key."""
    desk.hand = Hand(is_wanted=True)
    yield from _tell(desk, _CARD_WAIT)
    if not desk.stop_wanted and desk.hand.script is None:
        longest_s = message.fields.number(bitmaps.TIMEOUT) or _HAND_WAIT_S
        yield Pause(longest_s, is_scaled=False)
    desk.hand.is_wanted = False
    return desk.hand.script or PaymentScript(result=codes.ABORTED, steps=())


def _card_steps(
    desk: Desk, message: Message, script: PaymentScript, slowness: float
) -> TalkAbout[int]:
    """What the till sees while the customer pays; the result."""
    longest_s = message.fields.number(bitmaps.TIMEOUT)
    for status, seconds in script.steps:
        yield from _tell(desk, status)
        wait_s = seconds * slowness
        gives_up = status == _CARD_WAIT and longest_s is not None and wait_s > longest_s
        if not desk.stop_wanted:
            yield Pause(float(longest_s or 0) if gives_up else wait_s)
        if desk.stop_wanted or gives_up:
            return codes.ABORTED
    return script.result


def _tell(desk: Desk, status: int) -> Talk:
    if desk.store.config_byte & _SENDS_STATUS:
        yield Say(messages.intermediate_status(status))


def _report(desk: Desk, transaction: Transaction, card: SampleCard) -> TalkAbout[bool]:
    """Tell the result until the till took note; whether the payment stands."""
    approved = transaction.result == codes.APPROVED
    drop = desk.strikes(ZvtFault.DROP_AFTER_RESULT)
    answer: Message | None = None
    repeats = 0
    told = _status_of(desk, transaction, card)
    while True:
        answer = yield Say(told, then_drop=drop)
        drop = False
        if answer is None:
            repeats += 1
            if repeats > _RESULT_REPEATS:
                return _unanswered(desk, transaction)
        elif answer.error == codes.WAIT:
            yield Pause(_ASK_AGAIN_S)
        else:
            break
    if answer.error == codes.PARTIAL_ISSUE:
        transaction.amount_minor = answer.fields.number(bitmaps.AMOUNT) or transaction.amount_minor
    elif not answer.is_positive:
        if approved:
            desk.store.reverse(transaction)
        return False
    printed = yield from _print_payment(desk, transaction)
    if not approved:
        return False
    if not printed:
        return _unanswered(desk, transaction)
    desk.store.confirm(transaction)
    return True


def _insist(message: Message) -> TalkAbout[bool]:
    """Say it until the till takes note, three times at most; whether it did."""
    for _ in range(1 + _RESULT_REPEATS):
        answer = yield Say(message)
        if answer is not None:
            return answer.is_positive
    return False


def _unanswered(desk: Desk, transaction: Transaction) -> bool:
    if transaction.state is not State.PENDING:
        return False
    if transaction.stands_without_answer:
        desk.store.confirm(transaction)
        return True
    desk.store.reverse(transaction)
    return False


def _refusal_of(desk: Desk, message: Message) -> Message | None:
    """Why a payment cannot even ask for a card, as the message that says so."""
    fields, store = message.fields, desk.store
    currency = fields.number(bitmaps.CURRENCY)
    if currency is not None and currency != store.currency:
        return messages.aborted(codes.WRONG_CURRENCY, currency=store.currency)
    amount = fields.number(bitmaps.AMOUNT)
    receipt = fields.number(bitmaps.RECEIPT)
    match message.control:
        case messages.REVERSAL:
            original = store.find(receipt or 0, *REFERRED[Kind.REVERSAL])
            if original is None or original.day != store.day:
                return messages.aborted(codes.REVERSAL_NOT_POSSIBLE)
            if original.state is not State.DONE:
                return messages.aborted(codes.ALREADY_REVERSED)
        case messages.BOOK_PARTIAL | messages.BOOK_TOTAL | messages.CANCEL_PREAUTHORIZATION:
            reserved = store.find(receipt or 0, Kind.PREAUTHORIZATION)
            if reserved is None or reserved.state is not State.DONE:
                return _open_preauthorizations(desk)
            if amount is not None and amount > reserved.amount_minor:
                return messages.aborted(0xB7)
        case _ if not amount:
            return messages.aborted(0xC8)
    return None


def _open_preauthorizations(desk: Desk) -> Message:
    still_open = desk.store.open_preauthorizations()
    first = still_open[0].receipt if still_open else b"\xff\xff"
    receipts = tuple(Tlv(tlv.RECEIPT, bitmaps.bcd(one.receipt, 2)) for one in still_open)
    objects = (Tlv(tlv.OPEN_PREAUTHORIZATIONS, children=receipts),)
    fields = Fields.of(
        {
            bitmaps.RECEIPT: first,
            bitmaps.CONTAINER: objects if receipts and desk.store.allows_tlv else None,
        }
    )
    return messages.aborted(codes.PREAUTHORIZATION_WRONG, fields=fields)


def _record(desk: Desk, message: Message, script: PaymentScript, result: int) -> Transaction:
    """Keep the transaction, pending if the host approved it."""
    store, fields, card = desk.store, message.fields, script.card
    kind = PAYMENTS[message.control]
    receipt, trace = store.next_numbers()
    original = fields.number(bitmaps.RECEIPT)
    referred = store.find(original, *REFERRED[kind]) if original else None
    amount = fields.number(bitmaps.AMOUNT)
    at = desk.local_time()
    known = script.authorizes and result != codes.ABORTED
    transaction = Transaction(
        kind=kind,
        receipt=receipt,
        trace=trace,
        turnover=trace,
        amount_minor=amount if amount is not None else (referred.amount_minor if referred else 0),
        currency=store.currency,
        result=result,
        state=State.PENDING if result == codes.APPROVED else State.FAILED,
        day=store.day,
        date=f"{at:%m%d}",
        time=f"{at:%H%M%S}",
        scheme=referred.scheme if referred else card.scheme,
        card_type=referred.card_type if referred else card.card_type,
        masked_pan=mask_pan(card.number) if known else "",
        expiry_yymm=card.expiry_yymm,
        aid=card.aid,
        technology=script.technology,
        verification=script.verification,
        authorization_code=f"{(trace * 7919) % 1_000_000:06d}" if result == codes.APPROVED else "",
        original_receipt=original,
        stands_without_answer=script.stands_without_answer,
    )
    store.add(transaction)
    return transaction


def _status_of(desk: Desk, transaction: Transaction, card: SampleCard) -> Message:
    """04 0F for a transaction, damaged if a fault strikes."""
    store = desk.store
    fields = _status_fields(transaction, store)
    if desk.strikes(ZvtFault.CLEAR_PAN) and transaction.masked_pan:
        items = [
            (bitmap, card.packed if bitmap == bitmaps.PAN else content)
            for bitmap, content in fields.items
        ]
        items.append((bitmaps.ADDITIONAL_TEXT, f"Karte {card.number}".encode("ascii")))
        fields = replace(fields, items=tuple(items))
    if desk.strikes(ZvtFault.UNKNOWN_BITMAP):
        fields = replace(fields, remainder=Secret(b"\x7f\x04none"))
    if desk.strikes(ZvtFault.BARE_LENGTHS):
        return Message(messages.STATUS_INFORMATION, opaque=Secret(_without_f_nibbles(fields)))
    return messages.status_information(fields)


# --- printing ------------------------------------------------------------------------------------------------


def _print_payment(desk: Desk, transaction: Transaction) -> TalkAbout[bool]:
    """Both copies; whether the till took every piece."""
    if not desk.store.config_byte & _PRINTS_PAYMENTS:
        return True
    long = desk.strikes(ZvtFault.LONG_BLOCKS)
    for kind in (1, 2):
        lines = payment_receipt(transaction, desk.store, kind)
        if long:
            lines += [f"{line:03d} " + "." * 20 for line in range(_LONG_RECEIPT_LINES)]
        printed = yield from _print(desk, kind, lines)
        if not printed:
            return False
    return True


def _print_administration(desk: Desk, title: str, lines: Sequence[str]) -> TalkAbout[bool]:
    if not desk.store.config_byte & _PRINTS_ADMIN:
        return True
    return (yield from _print(desk, 3, administration_receipt(title, lines, desk.store)))


def _print(desk: Desk, kind: int, lines: Sequence[str]) -> TalkAbout[bool]:
    store = desk.store
    if not store.config_byte & _PRINT_MESSAGES:
        return True
    if store.allows_tlv and store.wants_blocks:
        pieces = [messages.print_block(kind, piece, last=last) for piece, last in _blocks(lines)]
    else:
        pieces = [messages.print_line(line) for line in lines]
        pieces.append(messages.print_line("", attribute=0x81))
    for piece in pieces:
        answer = yield Say(piece)
        if answer is None or not answer.is_positive:
            return False
    return True


# --- everything else a till may ask ------------------------------------------------------------------------


def refuse(desk: Desk, code: int, text: str | None = None) -> Talk:
    yield Reply(messages.positive())
    objects = (
        (Tlv(tlv.VENDOR_TEXT, text.encode("ascii")),) if text and desk.store.allows_tlv else None
    )
    yield Say(messages.aborted(code, fields=Fields.of({bitmaps.CONTAINER: objects})))


def _register(desk: Desk, message: Message) -> Talk:
    yield Reply(messages.positive())
    store = desk.store
    currency = message.number("currency")
    if currency is not None and currency != store.currency:
        yield Say(messages.aborted(codes.WRONG_CURRENCY, currency=store.currency))
        return
    store.is_registered = True
    store.config_byte = message.number("config_byte") or 0
    store.allows_tlv = bitmaps.CONTAINER in message.fields
    store.wants_blocks = any(
        item.tag == tlv.COMMAND and item.value == b"\x06\xd3"
        for item in walk(message.fields.objects)
    )
    needs = {0x51: 0x01, 0xC2: 0x02}.get(store.lock or 0, 0)
    yield Say(
        messages.completion(
            Fields.of(
                {
                    bitmaps.STATUS_BYTE: needs,
                    bitmaps.TERMINAL_ID: store.terminal_id,
                    bitmaps.CURRENCY: store.currency,
                }
            )
        )
    )


def _log_off(desk: Desk, message: Message) -> Talk:
    desk.store.is_registered = False
    desk.store.config_byte = UNREGISTERED_CONFIG
    desk.store.allows_tlv = desk.store.wants_blocks = False
    yield Reply(messages.positive())


def _status(desk: Desk, message: Message) -> Talk:
    yield Reply(messages.positive())
    store = desk.store
    status = store.lock or 0
    if store.update_polls_left:
        store.update_polls_left -= 1
        status = codes.WAIT
        if not store.update_polls_left:
            store.software_version = store.next_software_version
    service = message.fields.number(bitmaps.SERVICE_BYTE) or 0
    version = None if service & messages.WITHOUT_VERSION else store.software_version
    objects = None
    if service & messages.WITH_DEVICE and store.allows_tlv:
        objects = _device_objects(store, desk.local_time())
    yield Say(messages.status_completion(status, version=version, objects=objects))


def _repeat(desk: Desk, message: Message) -> Talk:
    yield Reply(messages.positive())
    last = desk.store.last()
    if last is None:
        yield Say(messages.aborted(0x66))
        return
    service = message.fields.number(bitmaps.SERVICE_BYTE) or 0
    if service & messages.WITH_STATUS:
        told = yield from _insist(messages.status_information(_status_fields(last, desk.store)))
        if not told:
            yield Say(messages.aborted(codes.NO_ANSWER))
            return
    if not service & messages.WITHOUT_PRINT:
        yield from _print_payment(desk, last)
    yield Say(messages.completion())


def _reprint(desk: Desk, message: Message) -> Talk:
    yield Reply(messages.positive())
    first = message.number("receipt_from") or 0
    final = message.number("receipt_to") or first
    for transaction in list(desk.store.transactions):
        if first <= transaction.receipt <= final:
            yield from _print_payment(desk, transaction)
    yield Say(messages.completion())


def _totals(desk: Desk, message: Message) -> Talk:
    yield Reply(messages.positive())
    told = yield from _insist(messages.status_information(_turnover_fields(desk)))
    yield Say(messages.completion() if told else messages.aborted(codes.NO_ANSWER))


def _end_of_day(desk: Desk, message: Message) -> Talk:
    yield Reply(messages.positive())
    yield from _tell(desk, 0x17)
    yield Pause(0.5)
    told = yield from _insist(messages.status_information(_turnover_fields(desk)))
    if not told:
        yield Say(messages.aborted(codes.NO_ANSWER))
        return
    total = desk.store.turnover()
    desk.store.close_day()
    if desk.store.lock in {0xB1, 0xF0}:
        desk.store.lock = None
    yield from _print_administration(
        desk, "KASSENSCHNITT", [f"Gesamt {Money(total, currency_of_number(desk.store.currency))}"]
    )
    yield Say(messages.completion())


def _diagnose(desk: Desk, message: Message) -> Talk:
    yield Reply(messages.positive())
    for status in (0xD2, 0xD3):
        yield from _tell(desk, status)
        yield Pause(0.3)
    if desk.store.lock in {0x62, 0xC2}:
        desk.store.lock = None
    yield Say(messages.set_till_clock(desk.local_time()))
    yield from _print_administration(desk, "DIAGNOSE", ["Verbindung ok"])
    yield Say(messages.completion())


def _initialize(desk: Desk, message: Message) -> Talk:
    yield Reply(messages.positive())
    yield Pause(0.3)
    if desk.store.lock == 0x51:
        desk.store.lock = None
    yield from _print_administration(desk, "INITIALISIERUNG", ["ok"])
    yield Say(messages.completion())


def _reset(desk: Desk, message: Message) -> Talk:
    yield Reply(messages.positive())
    yield Say(messages.completion())
    yield Restart()


def _configuration(desk: Desk, message: Message) -> Talk:
    yield Reply(messages.positive())
    yield from _print_administration(desk, "KONFIGURATION", [desk.store.software_version])
    yield Say(messages.completion())


def _set_terminal_id(desk: Desk, message: Message) -> Talk:
    yield Reply(messages.positive())
    desk.store.terminal_id = message.fields.text(bitmaps.TERMINAL_ID) or "00000000"
    yield Say(messages.completion())


def _set_clock(desk: Desk, message: Message) -> Talk:
    yield Reply(messages.positive())
    date, time = message.fields.text(bitmaps.YEAR_DATE), message.fields.text(bitmaps.TIME)
    try:
        at = datetime.strptime(f"{date}{time}", "%y%m%d%H%M%S")  # noqa: DTZ007 - local wall time
    except ValueError:
        yield Say(messages.aborted(codes.PROTOCOL_ERROR))
        return
    desk.set_clock(at)
    if desk.store.lock == 0x62:
        desk.store.lock = None
    yield Say(messages.completion())


def _read_card(desk: Desk, message: Message) -> Talk:
    yield Reply(messages.positive())
    desk.may_stop = True
    script = desk.playbook.default
    yield from _tell(desk, _CARD_WAIT)
    if not desk.stop_wanted:
        yield Pause(min(1.0, float(message.number("timeout_s") or 1)))
    desk.may_stop = False
    if desk.stop_wanted or not script.authorizes:
        yield Say(messages.aborted(codes.ABORTED))
        return
    clear = desk.strikes(ZvtFault.CLEAR_PAN)
    yield Say(
        messages.status_information(
            Fields.of(
                {
                    bitmaps.RESULT: 0,
                    bitmaps.PAN: script.card.packed if clear else mask_pan(script.card.number),
                    bitmaps.CARD_TYPE: script.card.card_type,
                    bitmaps.CARD_NAME: script.card.name + "\0",
                }
            )
        )
    )
    yield Say(messages.completion())


def _show(desk: Desk, message: Message) -> Talk:
    lines = (message.fields.text(bitmaps.FIRST_LINE + line) for line in range(8))
    desk.store.displayed = tuple(line for line in lines if line is not None)
    yield Reply(messages.positive())


def _nothing_to_do(desk: Desk, message: Message) -> Talk:
    yield Reply(messages.positive())
    if message.control in messages.COMPLETED_LATER:
        yield Say(messages.completion())


def _set_baud_rate(desk: Desk, message: Message) -> Talk:
    known = message.number("baud_rate") in messages.BAUD_RATES
    yield Reply(messages.positive() if known else messages.negative(0xFD))


def _update(desk: Desk, message: Message) -> Talk:
    yield Reply(messages.positive())
    yield from _tell(desk, 0x17)
    yield Pause(0.5)
    if desk.strikes(ZvtFault.UPDATE_DROPS):
        yield Restart()
        return
    if desk.strikes(ZvtFault.UPDATE_ABORTS) or desk.strikes(ZvtFault.UPDATE_FAILS):
        yield Say(messages.aborted(codes.NO_ANSWER))
        return
    if not desk.strikes(ZvtFault.UPDATE_CHANGES_NOTHING):
        desk.store.update_polls_left = desk.update_polls
    if desk.store.lock == 0xC4:
        desk.store.lock = None
    at = desk.local_time()
    fields = Fields.of(
        {bitmaps.RESULT: 0, bitmaps.TIME: f"{at:%H%M%S}", bitmaps.YEAR_DATE: f"{at:%y%m%d}"}
    )
    yield Say(messages.completion(fields))


def _install(desk: Desk, message: Message) -> Talk:
    """08 14: fetch every file block by block; the terminal restarts with what it took in."""
    offered = messages.files_offered(message)
    if not offered:
        yield Reply(messages.negative(codes.NOT_POSSIBLE))
        return
    yield Reply(messages.positive())
    hashes: dict[str, str] = {}
    version = desk.store.next_software_version
    if desk.strikes(ZvtFault.UPDATE_WRONG_BLOCK):
        yield Say(messages.file_block_wanted(0xEE, 0))
        yield Say(messages.file_block_wanted(next(iter(offered), 0xEE), 0xFFFF_FF00))
        yield Say(messages.aborted(codes.PROTOCOL_ERROR))
        return
    middle = sum(offered.values()) // 2
    taken = 0
    for number, size in offered.items():
        digest, offset = hashlib.sha256(), 0
        while offset < size:
            if taken >= middle:
                if desk.strikes(ZvtFault.UPDATE_ABORTS):
                    yield Say(messages.aborted(codes.ABORTED))
                    return
                if desk.strikes(ZvtFault.UPDATE_DROPS):
                    yield Restart()
                    return
            if desk.strikes(ZvtFault.UPDATE_REPEATS):
                for _ in range(2):
                    yield from _fetch(desk, number, offset)
            block = yield from _fetch(desk, number, offset)
            if desk.strikes(ZvtFault.UPDATE_SAME_BLOCK):
                while block:
                    block = yield from _fetch(desk, number, offset)
            if not block:
                yield Say(messages.aborted(codes.PROTOCOL_ERROR))
                return
            if offset == 0 and block.startswith(VERSION_MARK):
                version = block[len(VERSION_MARK) :].partition(b"\n")[0].decode("ascii", "replace")
            digest.update(block)
            offset += len(block)
            taken += len(block)
        hashes[str(number)] = digest.hexdigest()
    yield from _tell(desk, 0x17)
    yield Pause(0.5)
    if desk.strikes(ZvtFault.UPDATE_FAILS):
        yield Say(messages.aborted(codes.SYSTEM_ERROR))
        return
    if not desk.strikes(ZvtFault.UPDATE_CHANGES_NOTHING):
        desk.store.installed |= hashes
        desk.store.software_version = version
    yield Say(messages.completion())
    yield Restart()


def _fetch(desk: Desk, number: int, offset: int) -> TalkAbout[bytes]:
    """A piece of a file from the till, asked for twice at most when no answer comes; empty when there is none."""
    for _ in range(2):
        desk.forget_block()
        answer = yield Say(messages.file_block_wanted(number, offset))
        if answer is not None:
            block = desk.block
            fits = answer.is_positive and block is not None and block[:2] == (number, offset)
            return block[2] if block is not None and fits else b""
    return b""


def _device(desk: Desk, message: Message) -> Talk:
    if message.number("function") != 1:
        yield Reply(messages.negative(codes.NOT_POSSIBLE))
        return
    yield Reply(messages.positive())
    store = desk.store
    yield Say(
        Message(
            messages.COMPLETION,
            {
                "device_id": store.serial_number,
                "software_version": store.software_version,
                "terminal_id": store.terminal_id,
                "voltage": "12.1",
                "temperature": "24.4",
            },
        )
    )


def _turnover_fields(desk: Desk) -> Fields:
    at = desk.local_time()
    return Fields.of(
        {
            bitmaps.RESULT: 0,
            bitmaps.AMOUNT: max(desk.store.turnover(), 0),
            bitmaps.CURRENCY: desk.store.currency,
            bitmaps.TRACE: desk.store.traces_used,
            bitmaps.TIME: f"{at:%H%M%S}",
            bitmaps.DATE: f"{at:%m%d}",
            bitmaps.TOTALS: desk.store.sums(),
        }
    )


# --- contents --------------------------------------------------------------------------------------------------


def _status_fields(transaction: Transaction, store: TerminalStore) -> Fields:
    """04 0F of a transaction; one that was stopped before a card was seen says little."""
    if not transaction.masked_pan:
        return Fields.of(
            {bitmaps.RESULT: transaction.result, bitmaps.TERMINAL_ID: store.terminal_id}
        )
    objects = (
        Tlv(
            tlv.PAYMENT_TYPE,
            children=(
                Tlv(tlv.VERIFICATION, bytes((transaction.verification,))),
                Tlv(tlv.TECHNOLOGY, bytes((transaction.technology,))),
            ),
        ),
        Tlv(tlv.APPLICATION, children=(Tlv(tlv.APPLICATION_ID, bytes.fromhex(transaction.aid)),)),
    )
    return Fields.of(
        {
            bitmaps.RESULT: transaction.result,
            bitmaps.AMOUNT: transaction.amount_minor,
            bitmaps.CURRENCY: transaction.currency,
            bitmaps.TRACE: transaction.trace,
            bitmaps.TIME: transaction.time,
            bitmaps.DATE: transaction.date,
            bitmaps.EXPIRY: transaction.expiry_yymm,
            bitmaps.CARD_SEQUENCE: 1,
            bitmaps.STATUS_BYTE: 0x70 if transaction.verification == 2 else 0x60,
            bitmaps.PAN: transaction.masked_pan,
            bitmaps.TERMINAL_ID: store.terminal_id,
            bitmaps.MERCHANT_NUMBER: store.merchant_number,
            bitmaps.AUTHORIZATION: transaction.authorization_code or None,
            bitmaps.RECEIPT: transaction.receipt,
            bitmaps.TURNOVER: transaction.turnover,
            bitmaps.CARD_TYPE: transaction.card_type,
            bitmaps.CARD_NAME: codes.card_type_text(transaction.card_type) + "\0",
            bitmaps.CONTAINER: objects if store.allows_tlv else None,
        }
    )


def _device_objects(store: TerminalStore, at: datetime) -> tuple[Tlv, ...]:
    device = (
        Tlv(tlv.DEVICE_NAME, store.model.encode("ascii", "replace")),
        Tlv(tlv.SOFTWARE_VERSION, store.software_version.encode("ascii", "replace")),
        Tlv(tlv.SERIAL_NUMBER, bytes.fromhex(store.serial_number)),
        Tlv(tlv.DEVICE_STATE, b"\0"),
    )
    clock = (
        Tlv(tlv.DATE, bytes.fromhex(f"{at:%Y%m%d}")),
        Tlv(tlv.TIME, bytes.fromhex(f"{at:%H%M%S}")),
    )
    return (
        Tlv(tlv.TERMINAL_ID, bytes.fromhex(store.terminal_id)),
        Tlv(tlv.DEVICE, children=device),
        Tlv(tlv.TERMINAL_TIME, children=clock),
    )


def _without_f_nibbles(fields: Fields) -> bytes:
    """The fields as senders write them that leave the F out of LLVAR and LLLVAR lengths."""
    encoded = bytearray()
    for bitmap, content in fields.items:
        block = Fields(((bitmap, content),)).encode()
        digits = -BITMAPS[bitmap].length
        if digits in {2, 3}:
            block = (
                block[:1]
                + bytes(byte & 0x0F for byte in block[1 : 1 + digits])
                + block[1 + digits :]
            )
        encoded += block
    return bytes(encoded)


def _blocks(lines: Sequence[str]) -> list[tuple[list[str], bool]]:
    """Lines in pieces that fit into a print block, each with whether it is the last."""
    pieces: list[list[str]] = [[]]
    size = 0
    for line in lines:
        if size + len(line) > _BLOCK_BYTES:
            pieces.append([])
            size = 0
        pieces[-1].append(line)
        size += len(line) + 2
    return [(piece, at == len(pieces) - 1) for at, piece in enumerate(pieces)]


#: What the terminal can do besides payments.
COMMANDS: Final[Mapping[int, Callable[[Desk, Message], Talk]]] = {
    messages.REGISTRATION: _register,
    messages.LOG_OFF: _log_off,
    messages.STATUS_ENQUIRY: _status,
    messages.REPEAT_RECEIPT: _repeat,
    messages.REPRINT: _reprint,
    messages.READ_TOTALS: _totals,
    messages.END_OF_DAY: _end_of_day,
    messages.DIAGNOSIS: _diagnose,
    messages.INITIALIZATION: _initialize,
    messages.RESET: _reset,
    messages.PRINT_CONFIGURATION: _configuration,
    messages.SET_TERMINAL_ID: _set_terminal_id,
    messages.SET_CLOCK: _set_clock,
    messages.READ_CARD: _read_card,
    messages.DISPLAY_TEXT: _show,
    messages.SERVICE_MODE: _nothing_to_do,
    messages.SELECT_LANGUAGE: _nothing_to_do,
    messages.ACTIVATE_READER: _nothing_to_do,
    messages.SET_BAUD_RATE: _set_baud_rate,
    messages.SOFTWARE_UPDATE: _update,
    messages.WRITE_FILE: _install,
    messages.VENDOR_FUNCTION: _device,
}
