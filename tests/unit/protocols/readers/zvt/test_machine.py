"""The till's side against hand-written terminal bytes, on TCP where nothing hides the messages."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import CommandNotPossible
from protocols.money import Money
from protocols.readers.emv import Tlv
from protocols.readers.protocol import (
    MONEY_COMMANDS,
    Abort,
    AskStatus,
    Book,
    BrandTotal,
    CancelPreauthorization,
    CardFacts,
    Connect,
    Diagnose,
    Disconnect,
    EndOfDay,
    Finished,
    Identity,
    Initialize,
    LateResult,
    Outcome,
    PaymentFacts,
    Preauthorize,
    Printed,
    Progress,
    Purchase,
    QuirkSeen,
    ReadTotals,
    RecallLast,
    Refund,
    Restart,
    Reverse,
    SetClock,
    ShowText,
    Step,
    Totals,
    UpdateSoftware,
)
from protocols.readers.zvt import bitmaps, messages, tlv
from protocols.readers.zvt.bitmaps import Fields, SchemeSum, TurnoverSums
from protocols.readers.zvt.machine import ZvtConfig, ZvtHost, make_host
from protocols.readers.zvt.serial_link import encode_frame
from protocols.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protocols.readers.protocol import ReaderCommand, ReaderEvent

PASSWORD = Secret("123456")
EUR_1234 = Money(12_34, "EUR")
PURCHASE = Purchase(EUR_1234)
OK = "800000"
APPROVED = Fields.of(
    {
        bitmaps.RESULT: 0,
        bitmaps.AMOUNT: 1234,
        bitmaps.CURRENCY: 978,
        bitmaps.TRACE: 975,
        bitmaps.TIME: "225558",
        bitmaps.DATE: "0405",
        bitmaps.EXPIRY: "2405",
        bitmaps.PAN: "559884******8074",
        bitmaps.TERMINAL_ID: "52523535",
        bitmaps.MERCHANT_NUMBER: "804011926",
        bitmaps.AUTHORIZATION: "750071",
        bitmaps.RECEIPT: 231,
        bitmaps.TURNOVER: 12,
        bitmaps.CARD_TYPE: 6,
        bitmaps.CARD_NAME: "MasterCard",
    }
)
RESULT = messages.status_information(APPROVED).encode().hex()


class Desk:
    """A host on an open connection, spoken to in hexadecimal."""

    def __init__(self, config: ZvtConfig, framing: str = "tcp") -> None:
        self.host = ZvtHost(framing, config)
        self.now = 100.0
        self.host.connected(self.now)

    def start(self, command: ReaderCommand) -> str:
        self.host.start(command, self.now)
        return self.host.outgoing().hex()

    def hear(self, *said: str) -> tuple[Sequence[ReaderEvent], str]:
        events = [event for one in said for event in self.host.feed(bytes.fromhex(one), self.now)]
        return events, self.host.outgoing().hex()

    def finish(self, *said: str) -> Finished:
        events, _ = self.hear(*said)
        finished = [event for event in events if isinstance(event, Finished)]
        assert len(finished) == 1
        assert self.host.is_idle()
        return finished[0]

    def wait(self, seconds: float) -> Sequence[ReaderEvent]:
        self.now += seconds
        return self.host.expired(self.now)


def _hex(message: messages.Message) -> str:
    return message.encode().hex()


@pytest.fixture
def config() -> ZvtConfig:
    return ZvtConfig(PASSWORD, tlv=False, config_byte=0xBE)


@pytest.fixture
def desk(config: ZvtConfig) -> Desk:
    return Desk(config)


# --- what goes out ---


@pytest.mark.parametrize(
    ("command", "sent"),
    [
        (Connect(), "060006123456be0978"),
        (Disconnect(), "060200"),
        (AskStatus(), "050103123456"),
        (PURCHASE, "06010a04000000001234490978"),
        (Purchase(EUR_1234, 30), "06010c04000000001234490978011e"),
        (Purchase(EUR_1234, 900), "06010c0400000000123449097801ff"),
        (Purchase(Money(1234, "CHF")), "06010a04000000001234490756"),
        (Refund(EUR_1234), "06310d12345604000000001234490978"),
        (Reverse(231), "063006123456870231"),
        (Reverse(231, EUR_1234), "06301012345687023104000000001234490978"),
        (Preauthorize(EUR_1234), "06220a04000000001234490978"),
        (Book(231, EUR_1234), "06240d87023104000000001234490978"),
        (Book(231, EUR_1234, partial=True), "06230d87023104000000001234490978"),
        (CancelPreauthorization(231), "062503870231"),
        (RecallLast(), "0620051234560303"),
        (ReadTotals(), "061003123456"),
        (EndOfDay(), "065003123456"),
        (Diagnose(), "067000"),
        (Initialize(), "069303123456"),
        (Restart(), "061800"),
        (ShowText(("Hallo",), 5), "06e00af005f1f0f548616c6c6f"),
        (SetClock(datetime(2026, 1, 31, 23, 59, 58)), "06910b123456aa2601310c235958"),  # noqa: DTZ001
        (UpdateSoftware(), "081000"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_each_command_is_one_message(desk: Desk, command: ReaderCommand, sent: str) -> None:
    assert desk.start(command) == sent
    assert not desk.host.is_idle()
    assert desk.host.outgoing() == b""


def test_tlv_asks_for_print_blocks_and_device_data(config: ZvtConfig) -> None:
    desk = Desk(replace(config, tlv=True, service_byte=1))

    assert desk.start(Connect()) == "060010123456be09780301060626040a0206d3"
    desk.finish(OK, "060f00")
    assert desk.start(AskStatus()) == "0501051234560304"


@pytest.mark.parametrize(
    "command",
    [
        Purchase(Money(0, "EUR")),
        Refund(Money(-5, "EUR")),
        Reverse(10_000),
        ShowText(("x",) * 9),
        ShowText(("x" * 100,)),
        ShowText(("x",), 256),
    ],
)
def test_what_cannot_be_said_is_refused_and_nothing_is_sent(
    desk: Desk, command: ReaderCommand
) -> None:
    with pytest.raises(CommandNotPossible):
        desk.start(command)

    assert desk.host.outgoing() == b""
    assert desk.host.is_idle()


def test_a_second_command_is_refused_while_one_runs(desk: Desk) -> None:
    desk.start(PURCHASE)

    with pytest.raises(CommandNotPossible) as refused:
        desk.start(PURCHASE)

    assert refused.value.facts == {"running": "Purchase"}
    assert desk.host.outgoing() == b""


def test_nothing_starts_without_a_connection(config: ZvtConfig) -> None:
    host = ZvtHost("tcp", config)

    with pytest.raises(CommandNotPossible):
        host.start(PURCHASE, 0.0)

    assert not host.is_idle()


# --- a payment ---


def test_a_payment_from_card_to_receipt(desk: Desk) -> None:
    desk.start(PURCHASE)
    accepted, _ = desk.hear(OK)
    insert, answer = desk.hear("04ff010a")
    told, final = desk.hear(RESULT)
    printed, _ = desk.hear(
        _hex(messages.print_line("Danke", attribute=0x40)),
        _hex(messages.print_line("", attribute=0x81)),
    )
    finished = desk.finish("060f00")

    assert accepted == [Progress(Step.SENT, 0, "the terminal has taken the command")]
    assert insert == [Progress(Step.WAITING_FOR_CARD, 0x0A, "insert or present the card")]
    assert (answer, told, final) == (OK, [], OK)
    assert printed == [Printed(("Danke",), None, complete=True)]
    assert finished == Finished(
        PURCHASE,
        Outcome.APPROVED,
        code=0,
        text="approved",
        payment=PaymentFacts(
            result_code=0,
            amount=EUR_1234,
            receipt_number=231,
            trace_number=975,
            turnover_number=12,
            terminal_id="52523535",
            merchant_number="804011926",
            authorization_code="750071",
            reader_date="0405",
            reader_time="225558",
            card=CardFacts(
                masked_pan="559884******8074", last4="8074", brand="Mastercard", expiry_yymm="2405"
            ),
        ),
    )


@pytest.mark.parametrize(
    ("said", "outcome", "code"),
    [
        (["040f022705", "061e0105"], Outcome.DECLINED, 0x05),
        (["040f022705", "060f00"], Outcome.DECLINED, 0x05),
        (["040f02276c", "061e016c"], Outcome.CANCELLED, 0x6C),
        (["061e016c"], Outcome.CANCELLED, 0x6C),
        (["061e019b"], Outcome.FAILED, 0x9B),
        (["061e01a0"], Outcome.BUSY, 0xA0),
        (["040f022705", "061e01ff"], Outcome.DECLINED, 0x05),
        (["061e01ef"], Outcome.FAILED, 0xEF),
        (["060f022700"], Outcome.APPROVED, 0x00),
        (["060f00"], Outcome.LOST, None),
        (["061e0100"], Outcome.LOST, None),
        ([RESULT, "061e01cc"], Outcome.LOST, 0x00),
        (["040f03870231", "060f00"], Outcome.LOST, None),
    ],
)
def test_a_payment_ends_as_the_terminal_says_and_contradictions_are_lost(
    desk: Desk, said: list[str], outcome: Outcome, code: int | None
) -> None:
    desk.start(PURCHASE)

    finished = desk.finish(OK, *said)

    assert (finished.outcome, finished.code) == (outcome, code)


@pytest.mark.parametrize(
    ("answer", "outcome", "code"),
    [
        ("849c00", Outcome.BUSY, 0x9C),
        ("84a000", Outcome.BUSY, 0xA0),
        ("848300", Outcome.UNSUPPORTED, 0x83),
        ("846b00", Outcome.FAILED, 0x6B),
        ("841e036f0978", Outcome.FAILED, 0x6F),
    ],
)
def test_a_refused_command_was_never_begun(
    desk: Desk, answer: str, outcome: Outcome, code: int
) -> None:
    desk.start(PURCHASE)

    finished = desk.finish(answer)

    assert (finished.outcome, finished.code) == (outcome, code)
    assert finished.payment is None
    assert desk.host.deadline() is None


def test_84_00_counts_as_positive(desk: Desk) -> None:
    desk.start(PURCHASE)

    events, _ = desk.hear("840000")

    assert [type(event) for event in events] == [Progress]


def test_a_vendors_own_words_are_told(desk: Desk) -> None:
    desk.start(PURCHASE)

    finished = desk.finish(OK, "061e0cff06091f1706" + b"Papier".hex())

    assert finished.text == "system failure: Papier"


def test_card_facts_of_the_container(desk: Desk) -> None:
    objects = (
        Tlv(tlv.PAYMENT_TYPE, children=(Tlv(tlv.VERIFICATION, b"\2"), Tlv(tlv.TECHNOLOGY, b"\1"))),
        Tlv(tlv.CARD_TYPE, b"\5"),
        Tlv(
            tlv.APPLICATION,
            children=(
                Tlv(tlv.APPLICATION_ID, bytes.fromhex("a0000000043060")),
                Tlv(tlv.PREFERRED_NAME, b"GIRO"),
            ),
        ),
        Tlv(tlv.LONG_TRACE, bytes.fromhex("0012345678")),
    )
    fields = Fields.of(
        {
            bitmaps.RESULT: 0,
            bitmaps.TRACE: 0,
            bitmaps.CARD_TYPE: 0xFF,
            bitmaps.CONTAINER: objects,
        }
    )
    desk.start(PURCHASE)

    finished = desk.finish(OK, _hex(messages.status_information(fields)), "060f00")

    assert finished.payment is not None
    assert finished.payment.trace_number == 12345678
    assert finished.payment.card == CardFacts(
        brand="girocard",
        entry_mode="chip",
        verification="pin_online",
        aid="A0000000043060",
        application_label="GIRO",
    )


def test_a_currency_nobody_knows_leaves_the_amount_out(desk: Desk) -> None:
    fields = Fields.of({bitmaps.RESULT: 0, bitmaps.AMOUNT: 1234, bitmaps.CURRENCY: 999})
    desk.start(PURCHASE)

    finished = desk.finish(OK, _hex(messages.status_information(fields)), "060f00")

    assert finished.outcome is Outcome.APPROVED
    assert finished.payment is not None
    assert finished.payment.amount is None


# --- what the terminal asks meanwhile ---


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("04ff010a", OK),
        ("040108aa2601310c235958", OK),
        ("06d1024041", OK),
        ("06d80112", "84a100"),
        ("06d900", "84a100"),
        ("06da00", "84a100"),
        ("06db00", "84a100"),
        ("06dd00", "848300"),
        ("040c00", "848300"),
        ("040d00", "848300"),
        ("040e00", "848300"),
        ("06e400", "848300"),
        ("0499021234", "848300"),
        ("0fff00", "848300"),
    ],
)
def test_every_word_of_the_terminal_is_answered(desk: Desk, said: str, answer: str) -> None:
    desk.start(Diagnose())
    desk.hear(OK)

    _, answered = desk.hear(said)

    assert answered == answer
    assert not desk.host.is_idle()


def test_a_till_that_cannot_print_says_so(config: ZvtConfig) -> None:
    desk = Desk(replace(config, prints=False))
    desk.start(Diagnose())

    _, answered = desk.hear(OK, "06d1024041")

    assert answered == "84cc00"


def test_the_terminals_clock_is_told_with_the_result(desk: Desk) -> None:
    desk.start(Diagnose())

    finished = desk.finish(OK, "040108aa2601310c235958", "060f00")

    assert finished.details == {"reader_clock": "20260131 235958"}


def test_pieces_of_a_receipt_are_joined_and_the_copies_are_told_apart(desk: Desk) -> None:
    blocks = [
        messages.print_block(1, ["eins", "zwei"], last=False),
        messages.print_block(1, ["drei"], last=True),
        messages.print_block(2, ["vier"], last=False),
        messages.print_block(3, ["Diagnose"], last=False),
    ]
    desk.start(PURCHASE)

    events, _ = desk.hear(OK, *(_hex(block) for block in blocks), RESULT, "060f00")

    assert [event for event in events if isinstance(event, Printed)] == [
        Printed(("eins", "zwei", "drei"), "merchant", complete=True),
        Printed(("vier",), "customer", complete=True),
        Printed(("Diagnose",), "administration", complete=True),
    ]


def test_a_receipt_without_end_is_handed_over_in_pieces(desk: Desk) -> None:
    desk.start(PURCHASE)
    desk.hear(OK)

    events, _ = desk.hear(*["06d1024041"] * 1200)

    pieces = [event for event in events if isinstance(event, Printed)]
    assert [len(piece.lines) for piece in pieces] == [500, 500]
    assert not any(piece.complete for piece in pieces)


def test_a_clear_card_number_is_counted_and_told_to_nobody(desk: Desk) -> None:
    number = "4111111111111111"
    fields = Fields.of({bitmaps.RESULT: 0, bitmaps.PAN: bytes.fromhex(number)})
    desk.start(PURCHASE)

    events, _ = desk.hear(OK, _hex(messages.status_information(fields)), "060f00")

    assert QuirkSeen("pan_in_clear", "040F") in events
    assert "411111******1111" in repr(events)
    assert number not in repr(events)


# --- time ---


def test_no_answer_within_t3_is_lost_and_on_tcp_the_connection_ends(desk: Desk) -> None:
    desk.start(PURCHASE)
    deadline = desk.host.deadline()

    early = desk.wait(4.9)
    late = desk.wait(0.1)

    assert deadline == pytest.approx(105.0)
    assert early == []
    assert late == [Finished(PURCHASE, Outcome.LOST, text="the terminal did not answer")]
    assert desk.host.wants_reconnect()
    assert desk.host.outgoing() == b""


def test_a_card_timeout_replaces_t3(desk: Desk) -> None:
    desk.start(Purchase(EUR_1234, 30))

    assert desk.host.deadline() == pytest.approx(130.0)


@pytest.mark.parametrize("word", ["04ff010a", RESULT, "06d1024041"])
def test_t4_begins_anew_with_each_word(desk: Desk, word: str) -> None:
    desk.start(PURCHASE)
    desk.hear(OK)
    desk.now += 179
    desk.hear(word)

    still_waiting = desk.wait(179.9)
    lost = desk.wait(0.2)

    assert still_waiting == []
    assert [event.outcome for event in lost if isinstance(event, Finished)] == [Outcome.LOST]


def test_the_terminal_may_ask_for_more_time(desk: Desk) -> None:
    desk.start(EndOfDay())
    desk.hear(OK, "04ff021710")

    assert desk.host.deadline() == pytest.approx(100.0 + 600)
    desk.hear("04ff0117")
    assert desk.host.deadline() == pytest.approx(100.0 + 600)


def test_a_result_heard_before_the_silence_is_kept_as_evidence(desk: Desk) -> None:
    desk.start(PURCHASE)
    desk.hear(OK, RESULT)

    (lost,) = desk.wait(181)

    assert isinstance(lost, Finished)
    assert lost.outcome is Outcome.LOST
    assert lost.payment is not None
    assert lost.payment.receipt_number == 231


# --- the connection ends ---


def test_a_command_of_which_nothing_left_was_not_begun(desk: Desk) -> None:
    desk.host.start(PURCHASE, 100.0)

    (finished,) = desk.host.disconnected(100.0)

    assert isinstance(finished, Finished)
    assert finished.outcome is Outcome.FAILED
    assert not desk.host.is_idle()
    assert desk.host.outgoing() == b""


@pytest.mark.parametrize("waits", [True, False], ids=["behind an answer", "alone"])
def test_a_deaf_terminal_fails_a_command_that_never_left_and_loses_one_that_did(
    config: ZvtConfig, waits: bool
) -> None:
    desk = Desk(config, "serial")
    desk.hear(encode_frame(bytes.fromhex("04ff0117")).hex() if waits else "")
    desk.start(PURCHASE)

    events: list[ReaderEvent] = []
    for _ in range(3):
        events += desk.wait(5)
        desk.host.outgoing()

    outcomes = [event.outcome for event in events if isinstance(event, Finished)]
    assert outcomes == [Outcome.FAILED if waits else Outcome.LOST]
    assert desk.host.wants_reconnect()


@pytest.mark.parametrize(
    "said", [[], [OK], [OK, "04ff010a"], [OK, RESULT], [OK, RESULT, "06d1024041"]]
)
def test_a_payment_whose_line_breaks_is_lost_wherever_it_stands(
    desk: Desk, said: list[str]
) -> None:
    desk.start(PURCHASE)
    desk.hear(*said)

    events = desk.host.disconnected(100.0)

    assert [event.outcome for event in events if isinstance(event, Finished)] == [Outcome.LOST]
    assert desk.host.disconnected(100.0) == []


def test_a_restarting_terminal_is_allowed_to_hang_up(desk: Desk) -> None:
    desk.start(Restart())
    desk.hear(OK)

    (finished,) = desk.host.disconnected(100.0)

    assert isinstance(finished, Finished)
    assert finished.outcome is Outcome.DONE


def test_a_new_connection_ends_what_ran_on_the_old_one(desk: Desk) -> None:
    desk.start(PURCHASE)

    events = desk.host.connected(101.0)

    assert [event.outcome for event in events if isinstance(event, Finished)] == [Outcome.LOST]
    assert desk.host.is_idle()


# --- late words ---


def test_a_result_that_comes_late_is_told_once_and_answered(config: ZvtConfig) -> None:
    desk = Desk(config, "serial")
    desk.start(PURCHASE)
    desk.hear("06", encode_frame(bytes.fromhex(OK)).hex())
    desk.wait(181)
    frame = encode_frame(bytes.fromhex(RESULT)).hex()

    events, answer = desk.hear(frame)
    desk.now += 5
    desk.hear("06")
    again, answered_again = desk.hear(frame)

    assert not desk.host.wants_reconnect()
    assert [type(event) for event in events] == [LateResult]
    assert isinstance(events[0], LateResult)
    assert events[0].outcome is Outcome.APPROVED
    assert events[0].payment.receipt_number == 231
    assert again == []
    assert answer == answered_again == "06" + encode_frame(bytes.fromhex(OK)).hex()


def test_a_late_word_before_the_answer_belongs_to_the_command_before(desk: Desk) -> None:
    desk.start(PURCHASE)
    desk.hear(OK)
    desk.host.disconnected(100.0)
    desk.host.connected(101.0)
    desk.start(Connect())

    late, answers = desk.hear("04ff0117", RESULT, "060f00")
    finished = desk.finish(OK, "060f0a19102952523535490978")

    assert [type(event) for event in late] == [LateResult]
    assert answers == OK * 3
    assert finished.command == Connect()
    assert finished.identity == Identity(terminal_id="52523535")


def test_a_late_abort_tells_that_the_lost_payment_failed(desk: Desk) -> None:
    desk.start(PURCHASE)
    desk.hear(OK)
    desk.host.disconnected(100.0)
    desk.host.connected(101.0)

    events, _ = desk.hear("061e016c")
    more, _ = desk.hear("061e016c")

    assert events == [
        LateResult(PaymentFacts(result_code=0x6C, amount=EUR_1234), Outcome.CANCELLED)
    ]
    assert more == []


def test_a_busy_terminal_may_still_tell_the_lost_result(desk: Desk) -> None:
    desk.start(PURCHASE)
    desk.hear(OK)
    desk.host.disconnected(100.0)
    desk.host.connected(101.0)
    desk.start(Connect())
    desk.finish("849c00")

    events, _ = desk.hear("061e016c")

    assert [type(event) for event in events] == [LateResult]


def test_turnover_that_comes_late_is_no_payment(desk: Desk) -> None:
    sums = TurnoverSums(1, 2, (SchemeSum(0, 0),) * 7)
    fields = Fields.of({bitmaps.RESULT: 0, bitmaps.AMOUNT: 5, bitmaps.TOTALS: sums})

    events, answer = desk.hear(_hex(messages.status_information(fields)))

    assert (events, answer) == ([], OK)


# --- stopping ---


def test_a_payment_is_stopped_while_the_terminal_waits_for_a_card(desk: Desk) -> None:
    desk.start(PURCHASE)
    desk.hear(OK, "04ff010a")

    asked = desk.start(Abort())
    finished = desk.finish(OK, "040f02276c", "061e016c")

    assert asked == "06b000"
    assert (finished.command, finished.outcome) == (PURCHASE, Outcome.CANCELLED)


def test_stopping_before_the_terminal_accepted_waits_for_that(desk: Desk) -> None:
    desk.start(PURCHASE)

    too_early = desk.start(Abort())
    _, after = desk.hear(OK)

    assert (too_early, after) == ("", "06b000")


def test_an_approval_wins_the_race_against_stopping(desk: Desk) -> None:
    desk.start(PURCHASE)
    desk.hear(OK)
    desk.start(Abort())

    finished = desk.finish("848300", RESULT, "060f00")

    assert finished.outcome is Outcome.APPROVED


def test_stopping_after_the_result_says_nothing(desk: Desk) -> None:
    desk.start(PURCHASE)
    desk.hear(OK, RESULT)

    assert desk.start(Abort()) == ""


def test_stopping_twice_asks_again_only_after_an_answer(desk: Desk) -> None:
    desk.start(PURCHASE)
    desk.hear(OK)

    asked = [desk.start(Abort()), desk.start(Abort())]
    desk.hear("848300")
    asked.append(desk.start(Abort()))

    assert asked == ["06b000", "", "06b000"]


def test_nothing_to_stop_is_refused(desk: Desk) -> None:
    with pytest.raises(CommandNotPossible):
        desk.start(Abort())


# --- other commands ---


def test_registering_tells_who_the_terminal_is_and_what_it_needs(desk: Desk) -> None:
    desk.start(Connect())

    finished = desk.finish(OK, "060f0a19032952523535490978")

    assert finished.outcome is Outcome.DONE
    assert finished.identity == Identity(terminal_id="52523535")
    assert finished.details == {"status_byte": "03", "needs": "initialisation, diagnosis"}


@pytest.mark.parametrize("refusal", ["061e036f0756", "841e036f0756"])
def test_registering_with_a_currency_the_terminal_does_not_have(desk: Desk, refusal: str) -> None:
    desk.start(Connect())

    finished = desk.finish(*([OK] if refusal.startswith("06") else []), refusal)

    assert (finished.outcome, finished.code) == (Outcome.FAILED, 0x6F)
    assert finished.details["currency"] == "756"


def test_the_status_tells_version_and_fitness(desk: Desk) -> None:
    desk.start(AskStatus())

    finished = desk.finish(OK, "060f0ef0f1f0" + b"SIM 1.02.3".hex() + "00")

    assert (finished.outcome, finished.code, finished.text) == (Outcome.DONE, 0, "ready")
    assert finished.identity == Identity(software_version="SIM 1.02.3")


def test_the_status_with_device_data(desk: Desk) -> None:
    device = (
        Tlv(tlv.DEVICE_NAME, b"cVEND plug"),
        Tlv(tlv.SOFTWARE_VERSION, b"GER-APP-v2.0.9"),
        Tlv(tlv.SERIAL_NUMBER, bytes.fromhex("00018632")),
        Tlv(tlv.DEVICE_STATE, b"\0"),
    )
    clock = (
        Tlv(tlv.DATE, bytes.fromhex("20230405")),
        Tlv(tlv.TIME, bytes.fromhex("225655")),
    )
    objects = (
        Tlv(tlv.TERMINAL_ID, bytes.fromhex("52523535")),
        Tlv(tlv.DEVICE, children=device),
        Tlv(tlv.TERMINAL_TIME, children=clock),
        Tlv(tlv.LOCKS, b"\x20\0"),
    )
    desk.start(AskStatus())

    finished = desk.finish(
        OK, _hex(messages.status_completion(0x9C, version=None, objects=objects))
    )

    assert finished.outcome is Outcome.BUSY
    assert finished.identity == Identity("52523535", "00018632", "cVEND plug", "GER-APP-v2.0.9")
    assert finished.details == {
        "locks": "diagnosis",
        "device_state": "00",
        "reader_clock": "20230405 225655",
    }


def test_totals_are_told_by_scheme(desk: Desk) -> None:
    sums = TurnoverSums(
        3,
        9,
        (SchemeSum(1, 100), *(SchemeSum(0, 0),) * 3, SchemeSum(2, 300), *(SchemeSum(0, 0),) * 2),
    )
    fields = Fields.of(
        {bitmaps.RESULT: 0, bitmaps.AMOUNT: 400, bitmaps.CURRENCY: 978, bitmaps.TOTALS: sums}
    )
    said = _hex(messages.status_information(fields))
    desk.start(ReadTotals())

    read = desk.finish(OK, said, "060f00")
    desk.start(EndOfDay())
    closed = desk.finish(OK, said, "060f00")

    assert read.outcome is closed.outcome is Outcome.DONE
    assert (
        read.totals
        == closed.totals
        == Totals(
            (
                BrandTotal("girocard", 1, Money(100, "EUR")),
                BrandTotal("Visa", 2, Money(300, "EUR")),
            ),
            Money(400, "EUR"),
            3,
            9,
        )
    )


@pytest.mark.parametrize("command", [RecallLast(), ReadTotals()])
def test_no_news_is_no_evidence(desk: Desk, command: ReaderCommand) -> None:
    desk.start(command)

    finished = desk.finish(OK, "060f00")

    assert finished.outcome is Outcome.FAILED
    assert (finished.payment, finished.totals) == (None, None)


@pytest.mark.parametrize(
    ("result", "outcome"),
    [("2700", Outcome.APPROVED), ("27b4", Outcome.FAILED), ("2705", Outcome.DECLINED)],
)
def test_a_recalled_payment_tells_its_own_outcome(
    desk: Desk, result: str, outcome: Outcome
) -> None:
    desk.start(RecallLast())

    finished = desk.finish(OK, f"040f09{result}04000000001234", "060f00")

    assert finished.outcome is outcome
    assert finished.payment is not None
    assert finished.payment.amount == EUR_1234


def test_a_terminal_without_a_last_payment_says_so(desk: Desk) -> None:
    desk.start(RecallLast())

    finished = desk.finish(OK, "061e0166")

    assert (finished.outcome, finished.code, finished.payment) == (Outcome.FAILED, 0x66, None)


@pytest.mark.parametrize("command", [ShowText(("x",)), Disconnect()])
def test_commands_without_completion_end_with_their_answer(
    desk: Desk, command: ReaderCommand
) -> None:
    desk.start(command)

    assert desk.finish(OK).outcome is Outcome.DONE


# --- configuration ---


def test_settings_of_a_profile_are_read() -> None:
    config = ZvtConfig.from_settings(
        {
            "name": "zvt",
            "framing": "tcp",
            "config_byte": 0xDE,
            "currency": 978,
            "tlv": True,
            "charset": "cp437",
            "timeouts_ms": {"t1": 300, "t2": 4000, "t3": 6000, "t4": 90000},
            "retries": {"frame": 1, "money_command": 0},
            "password": PASSWORD,
        }
    )

    assert config == ZvtConfig(
        PASSWORD, "EUR", 0xDE, t1_s=0.3, t2_s=4.0, t3_s=6.0, t4_s=90.0, frame_repeats=1
    )
    assert "123456" not in repr(config)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"password": "123456"},
        {"password": PASSWORD, "tvl": True},
        {"password": PASSWORD, "timeouts_ms": {"t9": 1}},
        {"password": PASSWORD, "retries": {"money_command": 1}},
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(CommandNotPossible):
        make_host("tcp", settings)


def test_a_framing_that_zvt_does_not_have_is_refused(config: ZvtConfig) -> None:
    with pytest.raises(CommandNotPossible):
        ZvtHost("udp", config)


# --- anything at all ---


@given(st.binary(max_size=300), st.sampled_from(["tcp", "serial"]), st.booleans())
def test_random_bytes_never_hurt_and_never_approve(
    noise: bytes, framing: str, accepted: bool
) -> None:
    desk = Desk(ZvtConfig(PASSWORD), framing)
    desk.start(PURCHASE)
    events = list(desk.host.feed(bytes.fromhex(OK) if accepted else b"", 100.0))

    events += desk.host.feed(noise, 100.0)
    events += desk.host.expired(100.3)
    desk.host.outgoing()
    events += desk.host.disconnected(101.0)

    finished = [event for event in events if isinstance(event, Finished)]
    assert len(finished) == 1
    assert finished[0].outcome is not Outcome.APPROVED
    assert isinstance(finished[0].command, MONEY_COMMANDS)


@given(
    st.lists(
        st.sampled_from(
            [
                OK,
                "849c00",
                "04ff010a",
                RESULT,
                "040f022705",
                "060f00",
                "061e016c",
                "06d1024041",
                "0499",
                "ff",
            ]
        ),
        max_size=12,
    )
)
def test_whatever_the_order_of_words_there_is_one_end_and_approval_needs_its_proof(
    words: list[str],
) -> None:
    desk = Desk(ZvtConfig(PASSWORD))
    desk.start(PURCHASE)

    events, _ = desk.hear(*words)
    events = [*events, *desk.host.disconnected(101.0)]

    finished = [event for event in events if isinstance(event, Finished)]
    assert len(finished) == 1
    approved = finished[0].outcome is Outcome.APPROVED
    assert not approved or (OK in words and RESULT in words and "060f00" in words)
