"""Till against simulated terminal: every story and fault, and the till never believes more than it was told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from protocols.errors import CommandNotPossible
from protocols.money import Money
from protocols.readers.ecr17.frames import FrameStream, LrcMode, encode_frame, encode_signal
from protocols.readers.ecr17.machine import Ecr17Config, Ecr17Host
from protocols.readers.ecr17.messages import response
from protocols.readers.ecr17.peer import CONTROLS, FAULTS, SCRIPTS, Ecr17Terminal, make_terminal
from protocols.readers.protocol import (
    Abort,
    AskStatus,
    Book,
    CancelPreauthorization,
    Connect,
    EndOfDay,
    Finished,
    LateResult,
    Outcome,
    Preauthorize,
    Purchase,
    QuirkSeen,
    ReaderCommand,
    ReaderEvent,
    ReadTotals,
    RecallLast,
    Refund,
    Restart,
    Reverse,
    Totals,
    UpdateSoftware,
)
from protocols.readers.staging import CARDS
from tests.support.reader_wire import Wire

AMOUNT = Money(12_34, "EUR")
PURCHASE = Purchase(AMOUNT)
FRAMINGS = ("tcp", "serial")


def _wire(
    framing: str = "tcp",
    *,
    config: Ecr17Config | None = None,
    piece: int | None = None,
    **settings: Any,  # of make_terminal
) -> Wire:
    wire = Wire(
        Ecr17Host(framing, config or Ecr17Config()),
        make_terminal(framing, settings),
        framing,
        piece=piece,
    )
    wire.connect()
    wire.do(Connect())
    return wire


def _books(wire: Wire) -> list[tuple[str, str, int]]:
    assert isinstance(wire.terminal, Ecr17Terminal)
    return [
        (one["kind"], one["state"], one["amount_minor"]) for one in wire.terminal.store.transactions
    ]


def _asked(wire: Wire, code: bytes) -> int:
    return sum(sent.count(b"0" + code + b"00000001") for sent in wire.sent_by_host)


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize(
    ("script", "outcome", "said"),
    [
        ("approve", Outcome.APPROVED, "approved"),
        ("slow", Outcome.APPROVED, "approved"),
        ("pin", Outcome.APPROVED, "approved"),
        ("wrong_pin", Outcome.APPROVED, "approved"),
        ("stripe", Outcome.APPROVED, "approved"),
        ("exchange", Outcome.APPROVED, "approved"),
        ("decline", Outcome.DECLINED, "not carried out: TRANSAZIONE NEGATA"),
        ("red_key", Outcome.DECLINED, "not carried out: OPERAZIONE ANNULLATA"),
        ("host_gone", Outcome.DECLINED, "not carried out: ASSENZA LINEA"),
        ("no_card", Outcome.CANCELLED, "no card was presented: CARTA ASSENTE"),
        (
            "unknown_tag",
            Outcome.FAILED,
            "the terminal does not know the tag it was given: TAG SCONOSCIUTO",
        ),
    ],
)
def test_each_story_ends_as_the_terminal_says(
    script: str, outcome: Outcome, said: str, framing: str
) -> None:
    wire = _wire(framing, script=script)

    finished = wire.do(PURCHASE)

    assert (finished.outcome, finished.text) == (outcome, said)
    state = "done" if outcome is Outcome.APPROVED else "failed"
    assert _books(wire) == [("purchase", state, 1234)]
    assert wire.finished.count(finished) == 1
    assert [number for number in CARDS.values() if number in repr(wire.events)] == []


def test_every_story_has_a_line_and_is_tested_here() -> None:
    assert {*SCRIPTS} == {
        *("approve", "slow", "pin", "wrong_pin", "stripe", "exchange", "decline", "red_key"),
        *("host_gone", "no_card", "unknown_tag", "no_money", "expired", "manual"),
    }


@pytest.mark.parametrize("piece", [None, 1, 7])
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_with_every_fault_the_till_concludes_what_the_books_say(
    fault: str, framing: str, piece: int | None
) -> None:
    wire = _wire(framing, piece=piece)
    assert isinstance(wire.terminal, Ecr17Terminal)
    wire.terminal.arm(fault)

    finished = wire.do(PURCHASE)
    if fault == "closes":
        wire.pass_time(1)
    if not wire.is_connected:
        wire.open()
    recalled = wire.do(RecallLast())
    totals = wire.do(ReadTotals()).totals

    taken = wire.terminal.store.open_total() == AMOUNT.minor
    believable = {Outcome.APPROVED, Outcome.LOST} if taken else {Outcome.LOST, Outcome.FAILED}
    assert finished.outcome in believable
    assert (recalled.outcome is Outcome.APPROVED) == taken
    assert totals == Totals((), Money(AMOUNT.minor * taken, "EUR"))
    assert len(_books(wire)) <= 1
    assert [number for number in CARDS.values() if number in repr(wire.events)] == []


@pytest.mark.parametrize(
    "fault", ["nak", "bad_lrc", "lost_ack", "result_repeated", "garbage", "glued", "split"]
)
def test_line_faults_do_not_lose_the_answer(fault: str) -> None:
    wire = _wire(config=Ecr17Config(receipts_to_till=False))
    assert isinstance(wire.terminal, Ecr17Terminal)
    wire.terminal.queue_script(f"approve+{fault}")

    finished = wire.do(PURCHASE)
    wire.pass_time(10)

    lost = fault == "lost_ack"
    assert finished.outcome is (Outcome.LOST if lost else Outcome.APPROVED)
    assert _books(wire) == [("purchase", "done", 1234)]
    assert len(wire.late) == lost


def test_a_result_that_comes_again_is_confirmed_again_and_counts_once() -> None:
    wire = _wire(config=Ecr17Config(receipts_to_till=False), faults=("result_repeated:2",))

    finished = wire.do(PURCHASE)
    wire.pass_time(10)

    ack = encode_signal(LrcMode.STD, is_ack=True)
    confirmed = b"".join(wire.sent_by_host).count(ack)
    assert finished.outcome is Outcome.APPROVED
    assert wire.quirks["result_repeated"] == 2
    assert confirmed == 4, "of the status and three times of the result"
    assert [event for event in wire.events if isinstance(event, LateResult)] == []


def test_a_result_repeated_on_a_new_connection_counts_once() -> None:
    wire = _wire()
    wire.do(PURCHASE)
    assert isinstance(wire.terminal, Ecr17Terminal)
    result = wire.terminal.store.last_result.encode()

    wire.disconnect()
    wire.open()
    wire.keep(wire.host.feed(encode_frame(result, LrcMode.STD), wire.now))

    assert wire.quirks["result_repeated"] == 1
    assert len(wire.late) == 0
    assert wire.host.outgoing() == encode_signal(LrcMode.STD, is_ack=True)


def test_a_result_that_nobody_waits_for_is_late() -> None:
    wire = _wire()
    late = response("E", "12345678", result="00", pan="41111*****1111", stan=9, time="0020916")

    wire.keep(wire.host.feed(encode_frame(late, LrcMode.STD), wire.now))

    (told,) = wire.late
    assert told.outcome is Outcome.APPROVED
    assert (told.payment.receipt_number, told.payment.reader_date) == (9, "0102")


def test_a_result_before_the_payment_was_confirmed_is_not_believed() -> None:
    host = Ecr17Host("serial", Ecr17Config(receipts_to_till=False))
    host.connected(0)
    host.start(PURCHASE, 0)
    host.outgoing()

    events = host.feed(
        encode_frame(response("E", "12345678", result="00", stan=1), LrcMode.STD), 0.1
    )

    assert [type(event) for event in events] == [LateResult]
    assert not host.is_idle()
    assert [event.outcome for event in host.disconnected(1) if isinstance(event, Finished)] == [
        Outcome.LOST
    ]


@pytest.mark.parametrize("fault", ["drop_after_start", "drop_before_result", "drop_after_result"])
def test_a_payment_whose_line_drops_is_found_again(fault: str) -> None:
    wire = _wire(config=Ecr17Config(extended=True), faults=(fault,))

    finished = wire.do(PURCHASE)
    wire.open()
    wire.pass_time(20)
    recalled = wire.do(RecallLast())

    heard = fault == "drop_after_result"
    assert finished.outcome is (Outcome.APPROVED if heard else Outcome.LOST)
    assert recalled.payment is not None
    assert (recalled.outcome, recalled.payment.amount) == (Outcome.APPROVED, AMOUNT)
    assert recalled.payment.reader_time == "0916"


@pytest.mark.parametrize("steps", range(40))
def test_the_cable_pulled_at_any_moment_never_costs_the_truth(steps: int) -> None:
    wire = _wire()
    wire.host.start(PURCHASE, wire.now)
    known = len(wire.finished)
    left = iter(range(steps))
    wire.run(lambda: next(left, None) is None or len(wire.finished) > known)

    wire.disconnect()
    wire.open()
    wire.pass_time(30)
    recalled = wire.do(RecallLast())

    (finished,) = [one for one in wire.finished if one.command is PURCHASE]
    taken = bool(_books(wire))
    assert (recalled.payment is not None) == taken
    assert finished.outcome in (
        {Outcome.APPROVED, Outcome.LOST} if taken else {Outcome.LOST, Outcome.FAILED}
    )
    assert _asked(wire, b"P") <= 1


def test_a_cable_pulled_before_the_payment_left_is_a_failure() -> None:
    wire = _wire()
    wire.host.start(PURCHASE, wire.now)

    wire.disconnect()

    assert wire.finished[-1].outcome is Outcome.FAILED
    assert _asked(wire, b"P") == 0


def test_a_cable_pulled_after_only_receipts_were_asked_is_a_failure() -> None:
    wire = _wire()
    wire.host.start(PURCHASE, wire.now)
    asked = wire.host.outgoing()

    wire.disconnect()

    assert asked == encode_frame(b"000000000E1", LrcMode.STD)
    assert wire.finished[-1].outcome is Outcome.FAILED


@pytest.mark.parametrize("framing", FRAMINGS)
def test_silence_is_never_answered_with_a_second_payment(framing: str) -> None:
    host = Ecr17Host(framing, Ecr17Config(receipts_to_till=False))
    host.connected(0)
    host.start(PURCHASE, 0)
    sent = host.outgoing()
    events: list[ReaderEvent] = []
    for now in (2.0, 4.0, 8.0, 100.0):
        events += host.expired(now)
        sent += host.outgoing()

    assert sent.count(b"\x02") == 1
    assert [event.outcome for event in events if isinstance(event, Finished)] == [Outcome.LOST]
    assert host.wants_reconnect() == (framing == "tcp")


def test_a_harmless_question_is_asked_three_times() -> None:
    host = Ecr17Host("serial", Ecr17Config())
    host.connected(0)
    host.start(AskStatus(), 0)
    events: list[ReaderEvent] = []
    sent, now = host.outgoing(), 0.0
    while not events:
        now = host.deadline() or 0.0
        events = list(host.expired(now))
        sent += host.outgoing()

    assert sent.count(b"\x02") == 3
    assert now == pytest.approx(6.4)
    assert events == [Finished(AskStatus(), Outcome.LOST, text="the terminal did not answer")]


def test_three_refusals_end_a_payment_that_did_not_begin() -> None:
    wire = _wire(faults=("nak:always",))
    finished = wire.do(PURCHASE)

    assert finished.outcome is Outcome.FAILED
    assert "lrc_mode" in finished.text
    assert wire.quirks["receipts_refused"] == 1
    assert _books(wire) == []


@pytest.mark.parametrize("mode", LrcMode)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_both_sides_agree_in_each_lrc_mode(mode: LrcMode, framing: str) -> None:
    wire = _wire(framing, config=Ecr17Config(lrc_mode=mode), lrc_mode=mode.value)

    assert wire.do(PURCHASE).outcome is Outcome.APPROVED


def test_a_wrong_lrc_mode_is_told_and_nothing_is_paid() -> None:
    wire = Wire(
        Ecr17Host("tcp", Ecr17Config(lrc_mode=LrcMode.STX)), make_terminal("tcp", {}), "tcp"
    )
    wire.connect()

    connected = wire.do(Connect())

    assert connected.outcome in {Outcome.FAILED, Outcome.LOST}
    assert _books(wire) == []


def test_a_terminal_with_another_id_refuses() -> None:
    wire = Wire(
        Ecr17Host("tcp", Ecr17Config(terminal_id="87654321")), make_terminal("tcp", {}), "tcp"
    )
    wire.connect()

    connected = wire.do(Connect())

    assert connected.outcome is Outcome.FAILED
    assert "terminal_id" in connected.text


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (0, Outcome.FAILED),
        (1, Outcome.FAILED),
        (2, Outcome.DONE),
        (3, Outcome.FAILED),
        (4, Outcome.FAILED),
        (5, Outcome.BUSY),
        (6, Outcome.DONE),
    ],
)
def test_every_status_digit_has_a_meaning(status: int, outcome: Outcome) -> None:
    wire = _wire(status=status)

    asked = [wire.do(AskStatus()) for _ in range(2)]

    assert [one.outcome for one in asked] == [outcome] * 2
    assert asked[0].code == status
    assert asked[0].details["reader_clock"] == "20260102 091600"
    assert asked[0].identity is not None
    assert asked[0].identity.software_version == "SIM00102;POS00301"
    assert len(wire.noticed) == (status == 6), "an update is told once"
    assert ("software_update" in asked[0].details) == (status == 6)


def test_before_any_transaction_the_terminal_says_so() -> None:
    recalled = _wire().do(RecallLast())

    assert (recalled.outcome, recalled.payment) == (Outcome.DONE, None)
    assert recalled.text.startswith("no transaction yet")


@pytest.mark.parametrize("command", [RecallLast(), ReadTotals()])
def test_a_question_that_was_answered_before_is_only_refused_for_now(
    command: ReaderCommand,
) -> None:
    wire = _wire()
    assert isinstance(wire.terminal, Ecr17Terminal)

    wire.terminal.arm("nak:3")
    never_answered = wire.do(command).outcome
    wire.do(command)
    wire.terminal.arm("nak:3")
    answered_before = wire.do(command).outcome

    assert (never_answered, answered_before) == (Outcome.UNSUPPORTED, Outcome.BUSY)


def test_a_receipt_comes_in_pieces_and_is_one() -> None:
    wire = _wire()

    wire.do(PURCHASE)

    (receipt,) = wire.printed
    assert receipt.complete
    assert receipt.lines[0] == "OMNITILL SIMULATORE"
    assert "PAN 411111******1111" in receipt.lines


def test_the_amount_in_another_currency_is_told() -> None:
    finished = _wire(script="exchange").do(PURCHASE)

    assert finished.payment is not None
    assert finished.payment.amount == AMOUNT
    assert finished.details == {"exchange_amount": "13.38 USD", "exchange_rate": "1.0850"}


def test_a_payment_is_taken_back_by_its_number() -> None:
    wire = _wire()
    paid = wire.do(PURCHASE).payment
    assert paid is not None

    wrong = wire.do(Reverse(4711))
    right = wire.do(Reverse(paid.receipt_number or 0))

    assert (wrong.outcome, right.outcome) == (Outcome.DECLINED, Outcome.APPROVED)
    assert wire.do(ReadTotals()).totals == Totals((), Money(0, "EUR"))


def test_a_reservation_is_booked_by_its_code() -> None:
    wire = _wire()
    reserved = wire.do(Preauthorize(AMOUNT)).payment
    assert reserved is not None
    assert reserved.amount == AMOUNT

    booked = wire.do(Book(reserved.receipt_number or 0, Money(5_00, "EUR")))
    unknown = wire.do(Book(999_999_999, Money(5_00, "EUR")))

    assert (booked.outcome, unknown.outcome) == (Outcome.APPROVED, Outcome.DECLINED)
    assert wire.do(ReadTotals()).totals == Totals((), Money(5_00, "EUR"))


@pytest.mark.parametrize(("fault", "agree"), [((), "yes"), (("totals_differ",), "no")])
def test_closing_compares_the_terminal_with_its_host(fault: tuple[str, ...], agree: str) -> None:
    wire = _wire(faults=fault)
    wire.do(PURCHASE)

    closed = wire.do(EndOfDay())

    assert closed.totals == Totals((), AMOUNT)
    assert closed.details["terminal_total"] == "12.34 EUR"
    assert closed.details["totals_agree"] == agree
    assert wire.do(ReadTotals()).totals == Totals((), Money(0, "EUR"))


def test_a_terminal_that_closes_between_payments_loses_nothing() -> None:
    wire = _wire(faults=("closes:always",))
    ends = []
    for _ in range(3):
        ends.append(wire.do(PURCHASE).outcome)
        wire.pass_time(5)
        wire.open()

    assert ends == [Outcome.APPROVED] * 3
    assert [one.outcome for one in wire.finished].count(Outcome.LOST) == 0


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (Abort(), "red key"),
        (Refund(AMOUNT), "last payment"),
        (CancelPreauthorization(1), "reservation"),
        (UpdateSoftware(), "its own host"),
        (Restart(), "no such command"),
        (Purchase(Money(1, "USD")), "works in EUR"),
        (Purchase(Money(100_000_000, "EUR")), "below a million"),
        (Book(1_000_000_000, AMOUNT), "cannot be told"),
    ],
)
def test_what_it_cannot_do_is_said_and_not_sent(command: ReaderCommand, says: str) -> None:
    wire = _wire()

    with pytest.raises(CommandNotPossible, match=says):
        wire.host.start(command, wire.now)

    assert wire.host.outgoing() == b""
    assert wire.host.is_idle()


def test_an_unknown_result_proves_nothing() -> None:
    wire = _wire(config=Ecr17Config(receipts_to_till=False))
    wire.host.start(PURCHASE, wire.now)
    wire.host.outgoing()
    wire.host.feed(encode_signal(LrcMode.STD, is_ack=True), wire.now)

    events = wire.host.feed(
        encode_frame(response("E", "12345678", result="42", stan=5), LrcMode.STD), wire.now
    )

    assert [event.outcome for event in events if isinstance(event, Finished)] == [Outcome.LOST]


def test_an_acknowledgement_with_a_wrong_check_byte_still_forbids_a_second_payment() -> None:
    host = Ecr17Host("serial", Ecr17Config(receipts_to_till=False))
    host.connected(0)
    host.start(PURCHASE, 0)
    host.outgoing()

    events = host.feed(b"\x06\x03\x00" + encode_signal(LrcMode.STD, is_ack=False), 0.1)

    assert QuirkSeen("signal_with_wrong_lrc") in events
    assert QuirkSeen("stray_refusal") in events
    assert host.outgoing() == b""


def test_the_line_goes_on_when_a_good_frame_was_damaged_too_often() -> None:
    host = Ecr17Host("serial", Ecr17Config(receipts_to_till=False))
    host.connected(0)
    host.start(AskStatus(), 0)
    host.outgoing()

    host.feed(b"\x02AB\x03\x00" * 10, 0.1)

    refusals = FrameStream(LrcMode.STD).feed(host.outgoing())
    assert len(refusals) == 3


@pytest.mark.parametrize("action", ["tap", "insert", "swipe"])
def test_a_card_comes_when_a_person_holds_it_there(action: str) -> None:
    wire = _wire(script="manual")
    wire.host.start(PURCHASE, wire.now)
    wire.pass_time(10)
    waiting = [one for one in wire.finished if one.command is PURCHASE]

    assert isinstance(wire.terminal, Ecr17Terminal)
    wire.terminal.control(action, wire.now)
    wire.run(wire.host.is_idle)

    paid = wire.finished[-1].payment
    assert waiting == []
    assert paid is not None
    entries = {"tap": "contactless", "insert": "chip", "swipe": "magstripe"}
    assert paid.card.entry_mode == entries[action]


def test_people_at_the_terminal_can_do_what_the_list_says() -> None:
    wire = _wire(script="manual")
    assert isinstance(wire.terminal, Ecr17Terminal)
    wire.terminal.control("decline_next", wire.now)
    declined = wire.do(PURCHASE)
    wire.host.start(PURCHASE, wire.now)
    wire.pass_time(5)
    wire.terminal.control("red_key", wire.now)
    wire.run(wire.host.is_idle)
    wire.terminal.control("status", wire.now, value=5)
    asked = wire.do(AskStatus())
    wire.terminal.control("hang", wire.now)
    hung = wire.do(AskStatus())
    wire.terminal.control("reboot", wire.now)
    wire.quiet()

    assert declined.outcome is Outcome.DECLINED
    assert wire.finished[2].text.endswith("OPERAZIONE ANNULLATA")
    assert (asked.outcome, hung.outcome) == (Outcome.BUSY, Outcome.LOST)
    assert wire.terminal.unreachable_until() is not None
    with pytest.raises(CommandNotPossible, match="tap") as refused:
        wire.terminal.control("dance", wire.now)
    assert refused.value.facts["known"] == ", ".join(CONTROLS)


def test_the_terminal_goes_on_after_a_power_cut() -> None:
    wire = _wire()
    wire.do(PURCHASE)
    saved = json.loads(json.dumps(wire.terminal.snapshot()))

    again = _wire(snapshot=saved)

    assert again.do(RecallLast()).outcome is Outcome.APPROVED
    assert again.do(ReadTotals()).totals == Totals((), AMOUNT)


@pytest.mark.parametrize(
    "settings",
    [
        {"lrc_mode": "nonsense"},
        {"terminal_id": "12"},
        {"nonsense": 1},
        {"timeouts_ms": {"t9": 1}},
        {"retries": {"money_command": 1}},
        {"quirks": [{"id": "x", "action": "dance", "applies": "*"}]},
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(CommandNotPossible):
        Ecr17Config.from_settings(settings)


def test_settings_of_a_profile_are_read() -> None:
    config = Ecr17Config.from_settings(
        {
            "lrc_mode": "stx",
            "terminal_id": "12345678",
            "extended": True,
            "currency": 978,
            "timeouts_ms": {"ack": 1500, "result": 120000},
            "retries": {"frame": 1, "money_command": 0},
            "quirks": [],
        }
    )

    assert config == Ecr17Config(
        "12345678", lrc_mode=LrcMode.STX, extended=True, ack_s=1.5, result_s=120.0, tries=2
    )
    with pytest.raises(CommandNotPossible):
        Ecr17Host("usb_hid", config)


@pytest.mark.parametrize("settings", [{"script": "dance"}, {"faults": ("dance",)}, {"nonsense": 1}])
def test_a_simulated_terminal_refuses_what_it_does_not_know(settings: dict[str, Any]) -> None:
    with pytest.raises(CommandNotPossible):
        make_terminal("tcp", settings)
