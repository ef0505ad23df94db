"""The till's machine, told word by word what the reader says."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from protocols.errors import CommandNotPossible
from protocols.money import Money
from protocols.readers import dukpt
from protocols.readers.emv import Tlv
from protocols.readers.magtek_mms import codes, tap
from protocols.readers.magtek_mms.links import Arrived, make_link
from protocols.readers.magtek_mms.machine import MmsHost, make_host
from protocols.readers.magtek_mms.message import (
    Message,
    Outgoing,
    decode_message,
    notification,
    response,
)
from protocols.readers.magtek_mms.peer import TEST_KEYS
from protocols.readers.protocol import (
    Abort,
    AskStatus,
    Connect,
    EndOfDay,
    Finished,
    IssuerAnswer,
    Noticed,
    OnlineWanted,
    Outcome,
    Purchase,
    QuirkSeen,
    ReaderCommand,
    ReaderEvent,
    ReadTotals,
    RecallLast,
    Refund,
    Restart,
    Resume,
    Reverse,
    ShowText,
    UpdateSoftware,
)
from tests.unit.protocols.readers.magtek_mms.counter import AMOUNT, NO, YES

KSN = bytes.fromhex("FFFF9876543210E00001")
SERIAL = bytes.fromhex("992690E116120710")


class Reader:
    """The reader's side by hand: what the till asked, and what is said to it."""

    def __init__(self, **settings: object) -> None:
        self.host: MmsHost = make_host("usb_hid", {"currency": "EUR", **settings})
        self._in, self._out = make_link("usb_hid"), make_link("usb_hid")
        self.asked: list[Message] = []
        self.events: list[ReaderEvent] = []
        self.now = 0.0
        self.host.connected(self.now)

    def start(self, command: ReaderCommand) -> Message:
        self.host.start(command, self.now)
        return self.hear()

    def hear(self) -> Message:
        while packet := self.host.outgoing():
            for event in self._in.feed(packet):
                assert isinstance(event, Arrived)
                self.asked.append(decode_message(event.message))
        return self.asked[-1]

    def say(self, message: Message) -> Sequence[ReaderEvent]:
        self._out.send(Outgoing(message.encode()))
        events: list[ReaderEvent] = []
        while packet := self._out.outgoing():
            events += self.host.feed(packet, self.now)
        self.events += events
        if self.asked:
            self.hear()
        return events

    def wait(self) -> Sequence[ReaderEvent]:
        deadline = self.host.deadline()
        assert deadline is not None
        self.now = deadline
        events = self.host.expired(self.now)
        self.events += events
        return events

    def unplug(self) -> Sequence[ReaderEvent]:
        events = self.host.disconnected(self.now)
        self.events += events
        return events

    # --- a payment ---

    def sale(self) -> Message:
        asked = self.start(Purchase(AMOUNT))
        self.say(response(asked, 0x01))
        return asked

    def card(self, technology: int = codes.CHIP) -> Sequence[ReaderEvent]:
        return self.say(notification(codes.PROGRESS, technology, codes.ONLINE_DATA, card_data()))

    def resume(self, answer: IssuerAnswer = YES) -> Message:
        return self.start(Resume(answer))

    def end(self, detail: int, technology: int = codes.CHIP) -> Sequence[ReaderEvent]:
        return self.say(notification(codes.COMPLETE, technology, detail))

    @property
    def finished(self) -> list[Finished]:
        return [event for event in self.events if isinstance(event, Finished)]


def card_data(*shown: Tlv) -> bytes:
    return bytes(6) + tap.build(
        (Tlv(0x57, bytes.fromhex("4111111111111111d3012201")),),
        bdk=TEST_KEYS[dukpt.TDES_SCHEME],
        ksn=KSN,
        scheme=dukpt.TDES_SCHEME,
        serial=SERIAL,
        shown=shown,
    )


def of(kind: type, events: Sequence[ReaderEvent]) -> list[ReaderEvent]:
    return [event for event in events if isinstance(event, kind)]


# --- what is asked ---------------------------------------------------------------------------------------------


def test_a_payment_is_asked_for_as_in_the_manual() -> None:
    asked = Reader(transaction_timeout_s=60, flow="quick_chip").start(Purchase(Money(100, "USD")))

    # The manual's own example, without two objects that are the merchant's.
    assert asked.payload is not None
    assert asked.payload.hex() == (
        "1001" "82013c" "a309810101820101830101" "84020003" "861e"
        "9c0100" "9f0206000000000100" "9f0306000000000000" "5f2a020840" "5f360102"
    )  # fmt: skip


def test_only_what_the_model_reads_is_switched_on() -> None:
    asked = Reader(reads=["contactless"]).start(Purchase(AMOUNT, card_timeout_s=20))

    assert asked.payload is not None
    assert asked.payload.hex().startswith("1001820114a309810100820100830101")


def test_the_issuers_answer_is_given_as_in_the_manual() -> None:
    reader = Reader(transaction_timeout_s=120)
    reader.sale()
    reader.card()

    asked = reader.resume(IssuerAnswer(approved=True, response_code="00"))

    assert asked.payload is not None
    assert asked.payload.hex().upper() == (
        "10048101008201788417FF7414DFDF2508992690E116120710FA0670048A023030"
    )


def test_issuer_data_reach_the_card_as_they_came() -> None:
    reader = Reader()
    reader.sale()
    reader.card()

    data = bytes.fromhex("910A112233445566778830307103860100")
    asked = reader.resume(IssuerAnswer(approved=True, response_code="00", issuer_data=data))

    assert asked.payload is not None
    assert bytes.fromhex("70158A023030") + data in asked.payload


def test_who_it_is_is_asked_with_property_reads_that_change_nothing() -> None:
    reader = Reader()

    first = reader.start(Connect())
    reader.say(response(first, 0, 0, bytes.fromhex(
        "81072B06010401F609850102890EE20CE10AE108E106C104B62B4360")))  # fmt: skip
    second = reader.hear()
    reader.say(response(second, 0, 0, bytes.fromhex(
        "81072B06010401F6098501028914E112E210E20EE20CC20A") + b"1000-A1\x00\x00\x00"))  # fmt: skip

    assert first.payload is not None
    assert first.payload.hex() == "d10181072b06010401f609850102890ae208e106e104e102c100"
    assert second.payload is not None
    assert second.payload.hex() == "d10181072b06010401f609850102890ae108e206e204e202c200"
    (finished,) = reader.finished
    assert finished.outcome is Outcome.DONE
    assert finished.identity is not None
    assert finished.identity.serial_number == "B62B436"
    assert finished.identity.software_version == "1000-A1"


@pytest.mark.parametrize(
    "command",
    [Refund(AMOUNT), Reverse(1), ReadTotals(), EndOfDay(), UpdateSoftware(),
     ShowText(("something of our own",)), Purchase(Money(0, "EUR"))],
    ids=lambda command: type(command).__name__,
)  # fmt: skip
def test_what_the_reader_cannot_do_is_refused_and_nothing_is_sent(command: ReaderCommand) -> None:
    host = Reader().host

    with pytest.raises(CommandNotPossible):
        host.start(command, 0)

    assert host.outgoing() == b""
    assert host.is_idle()


def test_it_shows_the_texts_that_it_has() -> None:
    reader = Reader()

    asked = reader.start(ShowText(("Please", "wait"), 5))
    reader.say(response(asked, 0x01))

    assert asked.payload == bytes.fromhex("180381010582010e")
    assert reader.finished[0].outcome is Outcome.DONE


# --- how a payment ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("detail", "outcome"),
    [
        (codes.IN_PROGRESS, Outcome.BUSY),
        (codes.TAMPERED, Outcome.FAILED),
        (codes.CLOCK_NOT_SET, Outcome.FAILED),
        (codes.LOW_BATTERY, Outcome.FAILED),
        (codes.FEATURE_ABSENT, Outcome.UNSUPPORTED),
        (0x123456, Outcome.FAILED),
    ],
)
def test_a_start_that_is_refused_ends_the_payment(detail: int, outcome: Outcome) -> None:
    reader = Reader()
    asked = reader.start(Purchase(AMOUNT))

    reader.say(response(asked, 0x81, detail))

    (finished,) = reader.finished
    assert (finished.outcome, finished.code) == (outcome, detail)
    assert of(OnlineWanted, reader.events) == []


@pytest.mark.parametrize(
    ("detail", "outcome"),
    [
        (0x010000, Outcome.CANCELLED),
        (0x030100, Outcome.CANCELLED),
        (0x030200, Outcome.CANCELLED),
        (0x030500, Outcome.FAILED),
        (0x020200, Outcome.FAILED),
        (0x020300, Outcome.DECLINED),
        (0x020803, Outcome.FAILED),
        (0x028000, Outcome.DECLINED),
        (0x040700, Outcome.DECLINED),
        (0x020700, Outcome.FAILED),
        (0x7F7F7F, Outcome.FAILED),
    ],
)
def test_an_end_without_card_data_is_the_readers_word(detail: int, outcome: Outcome) -> None:
    reader = Reader()
    reader.sale()

    reader.end(detail)

    assert [one.outcome for one in reader.finished] == [outcome]
    assert of(OnlineWanted, reader.events) == []


@pytest.mark.parametrize(
    ("answer", "detail", "outcome"),
    [
        (YES, 0x020600, Outcome.APPROVED),
        (YES, 0x020700, Outcome.APPROVED),
        (YES, 0x040000, Outcome.APPROVED),
        (YES, 0x028000, Outcome.DECLINED),
        (YES, 0x030200, Outcome.CANCELLED),
        (NO, 0x028000, Outcome.DECLINED),
        (NO, 0x020600, Outcome.DECLINED),
    ],
)
def test_issuer_and_card_decide_together(
    answer: IssuerAnswer, detail: int, outcome: Outcome
) -> None:
    reader = Reader()
    reader.sale()
    reader.card()
    reader.resume(answer)

    reader.end(detail)

    (finished,) = reader.finished
    assert finished.outcome is outcome
    assert finished.details["ksn"] == KSN.hex().upper()
    assert finished.payment is not None
    assert finished.payment.amount == AMOUNT


@pytest.mark.parametrize(("says", "outcome"), [(0x40, Outcome.APPROVED), (0x00, Outcome.DECLINED)])
def test_the_cryptogram_is_the_last_word_when_the_end_gets_lost(
    says: int, outcome: Outcome
) -> None:
    reader = Reader()
    reader.sale()
    reader.card()
    reader.resume()
    reader.say(
        notification(
            codes.PROGRESS, codes.CHIP, codes.BATCH_DATA, card_data(Tlv(0x9F27, bytes((says,))))
        )
    )

    reader.wait()

    assert [one.outcome for one in reader.finished] == [outcome]


def test_an_issuer_that_is_silent_is_told_to_the_card_as_nobody_reached() -> None:
    reader = Reader(timeouts_ms={"answer": 20_000})
    reader.sale()
    (wanted,) = of(OnlineWanted, reader.card())

    reader.wait()
    asked = reader.hear()
    reader.end(0x028000)

    assert isinstance(wanted, OnlineWanted)
    assert wanted.answer_within_s == 20
    assert reader.now == 20
    assert asked.number == codes.RESUME
    assert b"\x8a\x02Z3" in (asked.payload or b"")
    assert [one.outcome for one in reader.finished] == [Outcome.DECLINED]
    with pytest.raises(CommandNotPossible):
        reader.host.start(Resume(YES), reader.now)


@pytest.mark.parametrize(
    ("card_timeout_s", "flow", "within_s"),
    [(20, "emv", 17.0), (60, "emv", 30.0), (20, "quick_chip", 30.0)],
)
def test_the_issuer_gets_no_longer_than_the_reader_waits(
    card_timeout_s: int, flow: str, within_s: float
) -> None:
    reader = Reader(flow=flow)
    asked = reader.start(Purchase(AMOUNT, card_timeout_s))
    reader.say(response(asked, 0x01))

    (wanted,) = of(OnlineWanted, reader.card())

    assert isinstance(wanted, OnlineWanted)
    assert wanted.answer_within_s == within_s


def test_an_answer_is_taken_once() -> None:
    reader = Reader()
    reader.sale()
    with pytest.raises(CommandNotPossible):
        reader.host.start(Resume(YES), 0)
    reader.card()
    reader.resume()

    with pytest.raises(CommandNotPossible):
        reader.host.start(Resume(YES), 0)

    assert [message.number for message in reader.asked].count(codes.RESUME) == 1


def test_card_data_that_come_twice_ask_the_issuer_once() -> None:
    reader = Reader()
    reader.sale()

    first, second = reader.card(), reader.card()

    assert len(of(OnlineWanted, first)) == 1
    assert of(OnlineWanted, second) == []
    assert QuirkSeen("card_data_repeated") in second


@pytest.mark.parametrize("says", [None, 0x020700])
def test_the_quick_chip_flow_waits_for_the_issuer_after_the_readers_end(says: int | None) -> None:
    reader = Reader(flow="quick_chip")
    reader.sale()
    reader.card()
    if says is not None:
        reader.end(says)
    assert reader.finished == []

    reader.host.start(Resume(YES), reader.now)
    reader.wait()

    assert [one.outcome for one in reader.finished] == [Outcome.APPROVED]
    assert codes.RESUME not in [message.number for message in reader.asked]


# --- broken lines ----------------------------------------------------------------------------------------------


def test_a_line_that_breaks_tells_what_is_certain() -> None:
    unsent, asked, waiting, online, declined = (Reader() for _ in range(5))
    unsent.host.start(Purchase(AMOUNT), 0)
    asked.start(Purchase(AMOUNT))
    waiting.sale()
    online.sale()
    online.card()
    declined.sale()
    declined.card()
    declined.resume(NO)

    readers = (unsent, asked, waiting, online, declined)
    for reader in readers:
        reader.unplug()

    assert [[one.outcome for one in reader.finished] for reader in readers] == [
        [Outcome.FAILED], [Outcome.FAILED], [Outcome.FAILED], [Outcome.FAILED], [Outcome.DECLINED],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("technology", "outcome"),
    [
        (codes.CHIP, Outcome.LOST),
        (codes.CONTACTLESS, Outcome.APPROVED),
        (codes.SWIPE, Outcome.APPROVED),
    ],
)
def test_after_an_approval_only_a_chip_card_can_still_change_its_mind(
    technology: int, outcome: Outcome
) -> None:
    reader = Reader()
    reader.sale()
    reader.card(technology)
    reader.resume()

    reader.unplug()

    assert [one.outcome for one in reader.finished] == [outcome]


def test_an_answer_that_never_left_was_not_heard() -> None:
    reader = Reader()
    reader.sale()
    reader.card()
    reader.host.start(Resume(YES), 0)

    reader.unplug()

    (finished,) = reader.finished
    assert finished.outcome is Outcome.FAILED
    assert "taken back" in finished.text


def test_silence_gives_up_and_cancels_what_may_run() -> None:
    reader = Reader()
    reader.start(Purchase(AMOUNT))

    reader.wait()
    last = reader.hear()

    assert [one.outcome for one in reader.finished] == [Outcome.FAILED]
    assert last.number == codes.CANCEL
    assert reader.host.wants_reconnect()
    assert [message.number for message in reader.asked].count(codes.START) == 1


def test_an_answer_of_another_request_changes_nothing() -> None:
    reader = Reader()
    asked = reader.start(Purchase(AMOUNT))
    other = Message(asked.kind, asked.reference + 7 & 0xFF, asked.number)

    events = reader.say(response(other, 0x81, codes.TAMPERED))

    assert QuirkSeen("stray_response", "1001") in events
    assert reader.finished == []


# --- cancelling ------------------------------------------------------------------------------------------------


def test_an_abort_cancels_and_the_readers_end_finishes() -> None:
    reader = Reader()
    reader.sale()

    cancel = reader.start(Abort())
    reader.say(response(cancel))
    assert reader.finished == []
    reader.end(0x030100, 0x00)

    assert cancel.number == codes.CANCEL
    assert [one.outcome for one in reader.finished] == [Outcome.CANCELLED]


def test_an_abort_before_the_reader_began_waits_for_that() -> None:
    reader = Reader()
    asked = reader.start(Purchase(AMOUNT))
    reader.host.start(Abort(), 0)
    assert reader.hear().number == codes.START

    reader.say(response(asked, 0x01))

    assert reader.hear().number == codes.CANCEL


@pytest.mark.parametrize("detail", [0, codes.NO_TRANSACTION])
def test_a_cancel_whose_end_gets_lost_is_cancelled(detail: int) -> None:
    reader = Reader()
    reader.sale()
    cancel = reader.start(Abort())
    reader.say(response(cancel, 0x81 if detail else 0x00, detail))

    reader.wait()

    assert [one.outcome for one in reader.finished] == [Outcome.CANCELLED]


def test_card_data_that_cross_the_wish_wait_for_its_answer() -> None:
    late, in_time = Reader(), Reader()
    for reader, status, detail in ((late, 0x81, codes.CANNOT_CANCEL), (in_time, 0x00, 0)):
        reader.sale()
        cancel = reader.start(Abort())
        assert of(OnlineWanted, reader.card()) == []
        reader.say(response(cancel, status, detail))

    late.resume()
    late.end(0x020600)
    in_time.end(0x030100)

    assert len(of(OnlineWanted, late.events)) == 1
    assert of(OnlineWanted, in_time.events) == []
    assert [one.outcome for one in late.finished] == [Outcome.APPROVED]
    assert [one.outcome for one in in_time.finished] == [Outcome.CANCELLED]


def offline(reader: Reader) -> Sequence[ReaderEvent]:
    """The card approves without its issuer."""
    reader.say(
        notification(codes.PROGRESS, codes.CHIP, codes.BATCH_DATA, card_data(Tlv(0x9F27, b"\x40")))
    )
    return reader.end(0x020200)


@pytest.mark.parametrize(("answer", "outcome"), [(YES, Outcome.APPROVED), (NO, Outcome.DECLINED)])
def test_a_card_that_approves_offline_is_charged_by_the_processor(
    answer: IssuerAnswer, outcome: Outcome
) -> None:
    reader = Reader()
    reader.sale()
    events = offline(reader)
    assert reader.finished == []

    reader.host.start(Resume(answer), reader.now)
    reader.wait()

    assert len(of(OnlineWanted, events)) == 1
    assert [one.outcome for one in reader.finished] == [outcome]
    assert codes.RESUME not in [message.number for message in reader.asked]


def test_an_approval_that_wins_the_race_counts() -> None:
    reader = Reader()
    reader.sale()
    cancel = reader.start(Abort())

    offline(reader)
    reader.say(response(cancel, 0x81, codes.NO_TRANSACTION))
    reader.host.start(Resume(YES), reader.now)
    reader.wait()

    assert [one.outcome for one in reader.finished] == [Outcome.APPROVED]


def test_an_abort_after_the_issuers_answer_is_too_late() -> None:
    reader = Reader()
    reader.sale()
    reader.card()
    reader.resume()

    reader.host.start(Abort(), 0)

    assert reader.hear().number == codes.RESUME


# --- card data that must not be ---------------------------------------------------------------------------------


def clear() -> Message:
    objects = (Tlv(0x5A, bytes.fromhex("5555555555554444")),)
    return notification(
        codes.PROGRESS,
        codes.CHIP,
        codes.ONLINE_DATA,
        bytes(6) + tap.around(objects, serial=SERIAL, ksn=KSN, scheme=dukpt.TDES_SCHEME),
    )


def test_clear_card_data_are_dropped_and_no_further_payment_begins() -> None:
    reader = Reader()
    reader.sale()

    events = reader.say(clear())
    with pytest.raises(CommandNotPossible):
        reader.host.start(Purchase(AMOUNT), 0)

    assert [event.kind for event in events if isinstance(event, Noticed)] == ["clear_card_data"]
    assert [one.outcome for one in reader.finished] == [Outcome.FAILED]
    assert of(OnlineWanted, events) == []
    assert reader.hear().number == codes.CANCEL
    assert "4444" not in repr(events)


def test_a_reader_that_was_clear_takes_payments_again_after_a_restart() -> None:
    reader = Reader()
    reader.sale()
    reader.say(clear())

    reader.say(notification(codes.DEVICE, 0x00, 0x000000))

    assert reader.start(Purchase(AMOUNT)).number == codes.START


def test_card_data_that_make_no_sense_end_the_payment_without_an_alarm() -> None:
    reader = Reader()
    reader.sale()

    events = reader.say(notification(codes.PROGRESS, codes.CHIP, codes.ONLINE_DATA, b"\x00" * 90))

    assert of(Noticed, events) == []
    assert [one.outcome for one in reader.finished] == [Outcome.FAILED]


def test_card_data_of_an_earlier_payment_are_dropped_and_it_is_cancelled() -> None:
    reader = Reader()

    events = reader.card()

    assert [QuirkSeen("data_nobody_asked_for")] == list(events)
    assert reader.hear().number == codes.CANCEL


# --- what it tells of itself -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("detail", "kind", "percent"),
    [
        (0x02000C, "battery_low", "12"),
        (0x020100, "battery_low", "0"),
        (0x000000, "restarted", None),
        (0x030000, "restarted", None),
        (0x010000, "restart_soon", None),
    ],
)
def test_notices(detail: int, kind: str, percent: str | None) -> None:
    reader = Reader()

    (event,) = reader.say(notification(codes.DEVICE, 0x00, detail, b"\x05"))

    assert isinstance(event, Noticed)
    assert event.kind == kind
    assert event.facts.get("battery_percent") == percent


def test_a_restart_that_the_reader_repeats_is_told_once() -> None:
    reader = Reader()

    events = [reader.say(notification(codes.DEVICE, 0x00, 0)) for _ in range(3)]

    assert [len(one) for one in events] == [1, 0, 0]


def answer_status(reader: Reader) -> Finished:
    asked = reader.start(AskStatus())
    reader.say(response(asked, 0x80, codes.FEATURE_ABSENT))
    reader.say(response(reader.hear(), 0x81, codes.NO_TRANSACTION))
    return reader.finished[-1]


def test_status_tells_battery_and_tamper() -> None:
    reader = Reader()
    reader.say(notification(codes.DEVICE, 0x00, 0x02000C))
    healthy = reader.start(AskStatus())
    reader.say(response(healthy, 0, 0, bytes.fromhex("8905E203C20141")))
    reader.say(response(reader.hear(), 0x81, codes.NO_TRANSACTION))
    asked = reader.start(Purchase(AMOUNT))
    reader.say(response(asked, 0x80, codes.TAMPERED))

    tampered = answer_status(reader)

    before = reader.finished[0]
    assert before.outcome is Outcome.DONE
    assert before.details["battery_percent"] == "12"
    assert before.details["external_power"] == "no"
    assert before.details["tamper"] == "no"
    assert tampered.outcome is Outcome.FAILED
    assert tampered.details["tamper"] == "yes"
    assert [event.kind for event in reader.events if isinstance(event, Noticed)] == [
        "battery_low",
        "tamper",
    ]


@pytest.mark.parametrize(
    ("status", "detail", "outcome"),
    [
        (0x81, codes.NO_TRANSACTION, Outcome.DONE),
        (0x81, codes.IN_PROGRESS, Outcome.BUSY),
        (0x80, codes.FEATURE_ABSENT, Outcome.UNSUPPORTED),
        (0x00, 0, Outcome.DONE),
    ],
)
def test_recalling_says_that_the_processor_knows(
    status: int, detail: int, outcome: Outcome
) -> None:
    reader = Reader()

    asked = reader.start(RecallLast())
    reader.say(response(asked, status, detail))

    (finished,) = reader.finished
    assert asked.number == codes.TRANSACTION_STATUS
    assert finished.outcome is outcome
    assert finished.payment is None


def test_a_restart_expects_the_line_to_drop() -> None:
    answered, silent, stuck, unheard = (Reader() for _ in range(4))
    answered.say(response(answered.start(Restart())))
    answered.unplug()
    silent.start(Restart())
    silent.unplug()
    stuck.say(response(stuck.start(Restart())))
    stuck.wait()
    unheard.start(Restart())
    unheard.wait()

    outcomes = [one.finished[0].outcome for one in (answered, silent, stuck, unheard)]

    assert outcomes == [Outcome.DONE, Outcome.DONE, Outcome.DONE, Outcome.LOST]
    assert stuck.host.wants_reconnect()


# --- settings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"colour": "red"},
        {"flow": "fast"},
        {"reads": ["barcode"]},
        {"transaction_timeout_s": 0},
        {"retries": {"money_command": 1}},
        {"timeouts_ms": {"patience": 1}},
        {"quirks": [{"id": "x", "action": "stand_on_its_head", "applies": "*"}]},
        {"usb_hid": {"report_len": 64, "report_id": 3}},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_a_setting_that_means_nothing_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(CommandNotPossible):
        make_host("usb_hid", settings)


def test_a_profiles_table_is_understood() -> None:
    host = make_host(
        "ble_gatt",
        {
            "currency": 978,
            "timeouts_ms": {"response": 2000, "transaction_extra": 3000, "reconnect": 9},
            "usb_hid": {"report_len": 64, "report_id": 0},
            "ble_gatt": {"pdu_max": 180, "settle_ms": 5000, "write_with_response": True},
            "quirks": [{"id": "zeros", "action": "cut_by_length", "applies": "*"}],
        },
    )
    host.connected(0)

    host.start(Purchase(AMOUNT), 0)

    assert host.deadline() == 2
