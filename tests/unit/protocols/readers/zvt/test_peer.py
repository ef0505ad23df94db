"""The simulated terminal, spoken to in hexadecimal or by a till: section 11 of the sheet, point by point."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import CommandNotPossible
from protocols.money import Money
from protocols.readers.protocol import (
    Abort,
    AskStatus,
    Book,
    CancelPreauthorization,
    Connect,
    Diagnose,
    Disconnect,
    EndOfDay,
    Initialize,
    Outcome,
    Preauthorize,
    Purchase,
    ReadTotals,
    RecallLast,
    Refund,
    Restart,
    Reverse,
    SetClock,
    ShowText,
    UpdateSoftware,
)
from protocols.readers.zvt import bitmaps, messages
from protocols.readers.zvt.apdu import Apdu, ApduStream
from protocols.readers.zvt.messages import Message, decode_message
from protocols.readers.zvt.peer import ZvtTerminal, make_terminal
from protocols.readers.zvt.scripts import (
    MASTERCARD,
    FaultRule,
    Faults,
    PaymentScript,
    Playbook,
    ZvtFault,
    script_named,
    script_names,
)
from protocols.readers.zvt.serial_link import encode_frame
from protocols.readers.zvt.store import State, TerminalStore
from protocols.secret import Secret
from tests.unit.protocols.readers.zvt.shop import CONFIG, Shop

PASSWORD = Secret("123456")
OK = messages.positive()
AMOUNT = Money(12_34, "EUR")
PURCHASE = messages.authorization(1234, 978)
REGISTER = messages.registration(PASSWORD, config_byte=0x08, currency=978)


class Counter:
    """A terminal on an open TCP connection, spoken to in messages."""

    def __init__(self, terminal: ZvtTerminal | None = None) -> None:
        self.terminal = terminal or ZvtTerminal("tcp", pace=0)
        self.now = 0.0
        self.terminal.connected(self.now)
        self._stream = ApduStream()

    def hear(self) -> list[Message]:
        return [decode_message(apdu) for apdu in self._stream.feed(self.terminal.outgoing())]

    def say(self, message: Message | str) -> list[str]:
        raw = bytes.fromhex(message) if isinstance(message, str) else message.encode()
        self.terminal.feed(raw, self.now)
        return [f"{heard.control:04X}" for heard in self.hear()]

    def wait(self, seconds: float) -> list[str]:
        self.now += seconds
        self.terminal.expired(self.now)
        return [f"{heard.control:04X}" for heard in self.hear()]

    def register(self, message: Message = REGISTER) -> None:
        self.say(message)
        self.say(OK)

    def pay(self) -> list[str]:
        """Ask for a payment and answer everything until the result comes; what was heard."""
        heard = self.say(PURCHASE)
        for _ in range(20):
            if heard[-1] == "040F":
                return heard
            heard += self.say(OK) + self.wait(0)
        raise AssertionError(f"no result came: {heard}")


@pytest.fixture
def counter() -> Counter:
    counter = Counter()
    counter.register()
    return counter


# --- the master changes ---


def test_a_registration_makes_the_terminal_speak_and_ends_with_our_answer() -> None:
    counter = Counter()

    heard = counter.say(REGISTER)
    after = counter.say(OK)

    assert heard == ["8000", "060F"]
    assert after == []
    assert counter.terminal.is_idle()
    assert counter.terminal.store.is_registered


def test_the_terminal_waits_for_an_answer_after_each_word(counter: Counter) -> None:
    steps = [counter.say(PURCHASE)]
    steps.append(counter.wait(1))
    steps.append(counter.say(OK))
    steps.append(counter.wait(0))

    assert steps == [["8000", "04FF"], [], [], ["04FF"]]


def test_a_payment_from_command_to_completion(counter: Counter) -> None:
    heard = counter.pay()
    final = counter.say(OK)
    counter.say(OK)

    assert heard == ["8000", "04FF", "04FF", "04FF", "040F"]
    assert final == ["060F"]
    assert [one.state for one in counter.terminal.store.transactions] == [State.DONE]


def test_intermediate_status_is_sent_only_when_asked_for() -> None:
    counter = Counter()
    counter.register(messages.registration(PASSWORD, config_byte=0, currency=978))

    heard = counter.pay()

    assert heard == ["8000", "040F"]


def test_a_result_without_answer_is_sent_three_times_and_then_reversed(counter: Counter) -> None:
    counter.pay()

    repeats = [counter.wait(5), counter.wait(5), counter.wait(5)]
    counter.say(OK)

    assert repeats == [["040F"], ["040F"], ["061E"]]
    assert [one.state for one in counter.terminal.store.transactions] == [State.REVERSED]
    assert counter.terminal.store.turnover() == 0


def test_a_till_that_is_busy_with_delivering_is_asked_again_after_two_seconds(
    counter: Counter,
) -> None:
    counter.pay()

    at_once = counter.say(messages.negative(0x9C))
    counter.terminal.feed(b"", counter.now)
    # The pace of this terminal is zero: what is left is that it asks again.
    later = counter.wait(0)
    final = counter.say(OK)

    assert (at_once, later, final) == ([], ["040F"], ["060F"])
    assert counter.terminal.store.turnover() == 1234


def test_goods_that_were_not_delivered_reverse_the_payment(counter: Counter) -> None:
    counter.pay()

    heard = counter.say(messages.negative(0x66))

    assert heard == ["061E"]
    assert [one.state for one in counter.terminal.store.transactions] == [State.REVERSED]


def test_goods_delivered_in_part_are_paid_in_part(counter: Counter) -> None:
    counter.pay()

    heard = counter.say(messages.partial_goods(500))

    assert heard == ["060F"]
    assert counter.terminal.store.turnover() == 500


# --- refusals ---


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("069900", ["8483"]),
        ("0814051234560600", ["8483"]),
        ("0fff00", ["8483"]),
        ("065001aa", ["8483"]),
        ("0840017f", ["84FD"]),
        ("06b000", ["8483"]),
        ("06d100", ["8483"]),
    ],
)
def test_what_the_terminal_cannot_do_is_refused(
    counter: Counter, said: str, heard: list[str]
) -> None:
    assert counter.say(said) == heard
    assert counter.terminal.is_idle()


def test_a_stranger_must_register_first() -> None:
    counter = Counter()

    assert counter.say(PURCHASE) == ["846B"]
    assert counter.terminal.store.transactions == []


def test_a_wrong_password_ends_the_command(counter: Counter) -> None:
    heard = counter.say(messages.end_of_day(Secret("000000")))

    assert heard == ["8000", "061E"]
    assert counter.terminal.store.day == 1


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (messages.authorization(100, 756), 0x6F),
        (messages.authorization(0, 978), 0xC8),
        (messages.reversal(PASSWORD, 99), 0xB5),
        (messages.book_total(99, 100, 978), 0xB8),
    ],
)
def test_a_payment_that_makes_no_sense_ends_with_its_code(
    counter: Counter, message: Message, code: int
) -> None:
    counter.terminal.feed(message.encode(), 0.0)

    accepted, aborted = counter.hear()

    assert accepted.is_positive
    assert aborted.number("result_code") == code
    assert counter.terminal.store.transactions == []


def test_a_second_command_is_told_to_wait(counter: Counter) -> None:
    counter.say(PURCHASE)

    assert counter.say(messages.read_totals(PASSWORD)) == ["849C"]


@pytest.mark.parametrize(
    ("lock", "recovery"),
    [
        (0x51, Initialize()),
        (0x62, Diagnose()),
        (0xC2, Diagnose()),
        (0xF0, EndOfDay()),
        (0xB1, EndOfDay()),
        (0xC4, UpdateSoftware()),
    ],
)
@pytest.mark.parametrize("framing", ["tcp", "serial"])
def test_a_locked_terminal_aborts_everything_until_it_is_recovered(
    framing: str, lock: int, recovery: Initialize | Diagnose | EndOfDay | UpdateSoftware
) -> None:
    shop = Shop(framing, store=TerminalStore(lock=lock))
    shop.open()

    refused = shop.do(Purchase(AMOUNT))
    told = shop.do(AskStatus())
    recovered = shop.do(recovery)
    shop.terminal.store.update_polls_left = 0
    paid = shop.do(Purchase(AMOUNT))

    # The lowest terminal states share their numbers with answers of the host, so they are no result.
    assert (refused.outcome, refused.code) == (Outcome.FAILED, lock if lock > 0x63 else 0xFF)
    assert told.code == lock
    assert recovered.outcome is Outcome.DONE
    assert paid.outcome is Outcome.APPROVED


# --- what the card holder does ---


@pytest.mark.parametrize("story", script_names())
def test_every_story_ends_as_it_is_told(story: str) -> None:
    shop = Shop("tcp", script=story)
    shop.open()

    finished = shop.do(Purchase(AMOUNT))

    expected = {
        "decline": Outcome.DECLINED,
        "cancel": Outcome.CANCELLED,
        "no_card": Outcome.CANCELLED,
        "host_gone": Outcome.FAILED,
    }
    assert finished.outcome is expected.get(story, Outcome.APPROVED)


def test_a_card_that_does_not_come_in_time_ends_the_payment() -> None:
    shop = Shop("tcp", script="slow")
    shop.open()
    began = shop.now

    finished = shop.do(Purchase(AMOUNT, card_timeout_s=3))

    assert finished.outcome is Outcome.CANCELLED
    assert shop.now - began == pytest.approx(3.0)


@pytest.mark.parametrize("framing", ["tcp", "serial"])
def test_the_till_stops_a_payment_while_no_card_came(framing: str) -> None:
    shop = Shop(framing, script="slow")
    shop.open()
    shop.host.start(Purchase(AMOUNT), shop.now)
    shop.quiet()

    shop.host.start(Abort(), shop.now)
    shop.run(lambda: len(shop.finished) == 2)

    assert shop.finished[-1].outcome is Outcome.CANCELLED
    assert not shop.was_taken(AMOUNT)


def test_the_customer_presses_the_red_key() -> None:
    shop = Shop("tcp", script="slow")
    shop.open()
    shop.host.start(Purchase(AMOUNT), shop.now)
    shop.quiet()

    shop.terminal.press_stop(shop.now)
    shop.run(lambda: len(shop.finished) == 2)

    assert (shop.finished[-1].outcome, shop.finished[-1].code) == (Outcome.CANCELLED, 0x6C)


@pytest.mark.parametrize("framing", ["tcp", "serial"])
@pytest.mark.parametrize("seconds", [0.0, 0.5, 1.0, 1.4, 1.5, 2.1, 2.2, 2.3])
def test_stopping_races_with_the_approval_and_both_sides_agree(
    framing: str, seconds: float
) -> None:
    shop = Shop(framing)
    shop.open()
    shop.host.start(Purchase(AMOUNT), shop.now)
    shop.pass_time(seconds)
    if not shop.host.is_idle():
        shop.host.start(Abort(), shop.now)

    shop.run(lambda: len(shop.finished) == 2)

    approved = shop.finished[-1].outcome is Outcome.APPROVED
    assert approved == shop.was_taken(AMOUNT)
    assert approved or shop.finished[-1].outcome is Outcome.CANCELLED


# --- printing ---


def test_blocks_are_printed_for_a_till_that_understands_them() -> None:
    shop = Shop("tcp")
    shop.open()

    shop.do(Purchase(AMOUNT))

    assert [(receipt.kind, receipt.complete) for receipt in shop.printed] == [
        ("merchant", True),
        ("customer", True),
    ]
    assert shop.printed[0].lines[0] == "** HÄNDLERBELEG **"
    assert "Nr:     411111******1111" in shop.printed[0].lines
    assert b"".join(shop.sent_by_terminal).count(b"\x06\xd3\xff") == 2


def test_lines_are_printed_for_one_that_does_not() -> None:
    shop = Shop("tcp", config=replace(CONFIG, tlv=False))
    shop.open()

    shop.do(Purchase(AMOUNT))

    assert b"\x06\xd3" not in b"".join(shop.sent_by_terminal)
    assert [receipt.lines[0] for receipt in shop.printed] == [
        "** HÄNDLERBELEG **",
        "** KUNDENBELEG **",
    ]


@pytest.mark.parametrize("config_byte", [0x3A, 0xB8])
def test_nothing_is_printed_unless_the_till_took_over_printing(config_byte: int) -> None:
    shop = Shop("tcp", config=replace(CONFIG, config_byte=config_byte))
    shop.open()

    finished = shop.do(Purchase(AMOUNT))

    assert finished.outcome is Outcome.APPROVED
    assert shop.printed == []


def test_a_till_that_cannot_print_ends_with_the_payment_reversed() -> None:
    shop = Shop("tcp", config=replace(CONFIG, prints=False))
    shop.open()

    finished = shop.do(Purchase(AMOUNT))
    recalled = shop.do(RecallLast())

    assert finished.outcome is Outcome.LOST
    assert (recalled.outcome, recalled.code) == (Outcome.FAILED, 0xB4)
    assert not shop.was_taken(AMOUNT)


def test_tlv_is_only_sent_to_a_till_that_allowed_it() -> None:
    with_tlv, without = Shop("tcp"), Shop("tcp", config=replace(CONFIG, tlv=False))
    with_tlv.open()
    without.open()

    facts = [shop.do(Purchase(AMOUNT)).payment for shop in (with_tlv, without)]

    assert [payment and payment.card.entry_mode for payment in facts] == ["contactless", None]


# --- the books ---


def test_reversal_refund_and_reservations_change_the_books() -> None:
    shop = Shop("tcp")
    shop.open()
    paid = shop.do(Purchase(AMOUNT)).payment
    assert paid is not None
    assert paid.receipt_number == 1

    turnover = [shop.terminal.store.turnover()]
    outcomes = [shop.do(Reverse(1)).outcome]
    turnover.append(shop.terminal.store.turnover())
    outcomes.append(shop.do(Reverse(1)).outcome)
    outcomes.append(shop.do(Preauthorize(Money(5000, "EUR"))).outcome)
    turnover.append(shop.terminal.store.turnover())
    reserved = shop.terminal.store.receipts_used
    outcomes.append(shop.do(Book(reserved, Money(6000, "EUR"))).outcome)
    outcomes.append(shop.do(Book(reserved, Money(4000, "EUR"), partial=True)).outcome)
    turnover.append(shop.terminal.store.turnover())
    outcomes.append(shop.do(CancelPreauthorization(reserved)).outcome)
    outcomes.append(shop.do(Refund(Money(1000, "EUR"))).outcome)
    turnover.append(shop.terminal.store.turnover())

    assert outcomes == [
        Outcome.APPROVED,
        Outcome.FAILED,
        Outcome.APPROVED,
        Outcome.FAILED,
        Outcome.APPROVED,
        Outcome.FAILED,
        Outcome.APPROVED,
    ]
    assert turnover == [1234, 0, 0, 4000, 3000]
    totals = shop.do(ReadTotals()).totals
    assert totals is not None
    assert totals.total == Money(3000, "EUR")


def test_a_reservation_is_released() -> None:
    shop = Shop("tcp")
    shop.open()
    shop.do(Preauthorize(AMOUNT))

    released = shop.do(CancelPreauthorization(1, AMOUNT))

    assert released.outcome is Outcome.APPROVED
    assert shop.terminal.store.open_preauthorizations() == []


def test_open_reservations_are_listed(counter: Counter) -> None:
    none_open = [counter.say(messages.open_preauthorizations()), counter.say(OK)]
    counter.terminal.feed(messages.preauthorization(2500, 978).encode(), 0.0)
    for _ in range(20):
        counter.wait(0)
        counter.say(OK)

    counter.terminal.feed(messages.open_preauthorizations().encode(), 0.0)
    _, aborted = counter.hear()

    assert none_open == [["8000", "061E"], []]
    assert aborted.number("result_code") == 0xB8
    assert aborted.fields.number(bitmaps.RECEIPT) == 1


def test_the_end_of_day_tells_the_totals_and_begins_anew() -> None:
    shop = Shop("tcp", script="approve+mastercard")
    shop.open()
    shop.do(Purchase(AMOUNT))

    closed = shop.do(EndOfDay())
    after = shop.do(ReadTotals())

    assert closed.outcome is Outcome.DONE
    assert closed.totals is not None
    assert [(one.scheme, one.count, one.sum) for one in closed.totals.per_scheme] == [
        ("Mastercard", 1, AMOUNT)
    ]
    assert after.totals is not None
    assert after.totals.total == Money(0, "EUR")
    assert shop.printed[-1].kind == "administration"


def test_the_last_payment_is_told_again_without_printing() -> None:
    shop = Shop("tcp")
    shop.open()
    nothing = shop.do(RecallLast())
    first = shop.do(Purchase(AMOUNT))
    printed = len(shop.printed)

    again = shop.do(RecallLast())

    assert (nothing.outcome, nothing.code) == (Outcome.FAILED, 0x66)
    assert again.payment == first.payment
    assert len(shop.printed) == printed


# --- the device ---


def test_an_update_makes_the_terminal_busy_and_then_newer() -> None:
    shop = Shop("tcp")
    shop.open()
    before = shop.do(AskStatus())

    began = shop.do(UpdateSoftware())
    polls = [shop.do(AskStatus()) for _ in range(4)]

    assert before.identity is not None
    assert before.identity.software_version == "SIM 1.02.3"
    assert (began.outcome, began.code) == (Outcome.DONE, 0)
    assert [poll.outcome for poll in polls] == [Outcome.BUSY] * 3 + [Outcome.DONE]
    assert polls[-1].identity is not None
    assert polls[-1].identity.software_version == "SIM 1.03.0"


def test_a_restart_drops_the_line_and_the_registration() -> None:
    shop = Shop("tcp")
    shop.open()

    restarted = shop.do(Restart())
    shop.quiet()
    gone = shop.terminal.unreachable_until()
    shop.connect()
    refused = shop.do(Purchase(AMOUNT))

    assert restarted.outcome is Outcome.DONE
    assert gone is not None
    assert (refused.outcome, refused.code) == (Outcome.FAILED, 0x6B)
    assert shop.terminal.store.restarts == 1


def test_clock_display_and_log_off() -> None:
    shop = Shop("serial")
    shop.open()

    shop.do(SetClock(datetime(2027, 6, 5, 4, 3, 2)))  # noqa: DTZ001 - local wall time
    shop.do(ShowText(("Guten", "Tag"), 5))
    facts = shop.do(Purchase(AMOUNT)).payment
    shop.do(Disconnect())

    assert facts is not None
    assert facts.reader_date == "0605"
    assert facts.reader_time == "040304"
    assert shop.terminal.store.displayed == ("Guten", "Tag")
    assert not shop.terminal.store.is_registered
    assert shop.terminal.store.config_byte == 0x86


@pytest.mark.parametrize(
    "message", ["061a00", "061200", "080100", "08300101", "085002fa01", "0fa1020001"]
)
def test_small_commands_are_answered(counter: Counter, message: str) -> None:
    said = messages.reprint_receipts(PASSWORD, 1) if message == "061200" else message

    heard = counter.say(said)

    assert heard[0] == "8000"
    assert heard[1:] in ([], ["060F"])


def test_a_card_is_read_and_its_number_masked(counter: Counter) -> None:
    heard = counter.say(messages.read_card(10))
    counter.say(OK)
    counter.terminal.expired(counter.now)
    (card,) = counter.hear()

    assert heard == ["8000", "04FF"]
    assert card.fields.text(bitmaps.PAN) == "411111******1111"


# --- a power cut ---


@pytest.mark.parametrize("stands", [False, True])
def test_a_terminal_made_from_a_snapshot_settles_what_was_pending(
    counter: Counter, stands: bool
) -> None:
    counter.terminal.playbook.queue.append(PaymentScript(stands_without_answer=stands))
    counter.pay()
    written = json.dumps(counter.terminal.snapshot())

    revived = make_terminal("tcp", {"snapshot": json.loads(written)})

    assert [one.state for one in counter.terminal.store.transactions] == [State.PENDING]
    assert revived.store.turnover() == (1234 if stands else 0)
    assert revived.store.last() is not None
    assert "4111111111111111" not in written


def test_a_snapshot_survives_json_unchanged() -> None:
    shop = Shop("tcp")
    shop.open()
    shop.do(Purchase(AMOUNT))
    shop.do(ShowText(("x",)))

    written = json.loads(json.dumps(shop.terminal.snapshot()))

    assert TerminalStore.restore(written) == shop.terminal.store


# --- how stories and faults are written ---


def test_stories_are_written_with_codes_cards_and_faults() -> None:
    script = script_named("decline:51+mastercard+stands+nak+drop_after_result")

    assert script.result == 0x51
    assert script.card == MASTERCARD
    assert script.stands_without_answer
    assert script.faults == (ZvtFault.NAK, ZvtFault.DROP_AFTER_RESULT)


@pytest.mark.parametrize("text", ["", "nonsense", "approve+nonsense", "decline:xyz", "approve+"])
def test_a_story_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(CommandNotPossible):
        script_named(text)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("nak", FaultRule(ZvtFault.NAK)),
        ("nak:always", FaultRule(ZvtFault.NAK, None)),
        ("nak:3", FaultRule(ZvtFault.NAK, 3)),
        ("nak:0.25", FaultRule(ZvtFault.NAK, None, 0.25)),
    ],
)
def test_faults_strike_as_often_as_they_are_written(text: str, rule: FaultRule) -> None:
    assert FaultRule.parse(text) == rule


@pytest.mark.parametrize("text", ["", "nonsense", "nak:often", "nakx"])
def test_a_fault_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(CommandNotPossible):
        FaultRule.parse(text)


def test_faults_are_counted_and_diced() -> None:
    numbers = iter([0.9, 0.1, 0.5])
    faults = Faults(
        [FaultRule(ZvtFault.NAK, 2), FaultRule(ZvtFault.BUSY, None, 0.3)], lambda: next(numbers)
    )

    assert [faults.strikes(ZvtFault.NAK) for _ in range(3)] == [True, True, False]
    assert [faults.strikes(ZvtFault.BUSY) for _ in range(3)] == [False, True, False]


def test_a_playbook_looks_at_queue_amount_and_last_digits() -> None:
    decline, cancel, pin = map(script_named, ("decline", "cancel", "pin"))
    playbook = Playbook(by_amount={1234: decline}, by_last_digits={34: cancel, 99: cancel})
    playbook.queue.append(pin)

    chosen = [playbook.next_script(amount) for amount in (1234, 1234, 5034, 5000)]

    assert chosen == [pin, decline, cancel, playbook.default]


def test_a_terminal_is_made_from_settings() -> None:
    terminal = make_terminal(
        "serial",
        {
            "terminal_id": "12345678",
            "password": Secret("654321"),
            "currency": 756,
            "script": "decline:05",
            "by_amount": {"100": "approve"},
            "by_last_digits": {5: "cancel"},
            "faults": ["nak:always"],
            "pace": 0,
        },
    )

    assert terminal.store.terminal_id == "12345678"
    assert terminal.store.currency == 756
    assert terminal.playbook.next_script(100) == script_named("approve")
    assert terminal.playbook.next_script(200) == script_named("decline:05")
    assert "654321" not in repr(terminal.store)


@pytest.mark.parametrize(
    ("framing", "settings"), [("udp", {}), ("tcp", {"fualts": []}), ("tcp", {"faults": ["x"]})]
)
def test_settings_that_mean_nothing_are_refused(framing: str, settings: dict[str, object]) -> None:
    with pytest.raises(CommandNotPossible):
        make_terminal(framing, settings)


@given(st.binary(max_size=300), st.sampled_from(["tcp", "serial"]))
def test_random_bytes_never_hurt_a_terminal(noise: bytes, framing: str) -> None:
    terminal = ZvtTerminal(framing, pace=0)
    terminal.connected(0.0)
    register = REGISTER.encode()
    terminal.feed(encode_frame(register) if framing == "serial" else register, 0.0)

    terminal.feed(noise, 0.1)
    for at in range(1, 30):
        terminal.expired(float(at))
        terminal.outgoing()

    assert terminal.store.turnover() == 0
    assert json.dumps(terminal.snapshot())


@given(st.binary(max_size=120), st.sampled_from(sorted(messages.MESSAGES)))
def test_any_content_of_a_known_message_never_hurts_a_terminal(noise: bytes, control: int) -> None:
    counter = Counter()
    counter.register()

    counter.terminal.feed(Apdu(control, noise).encode(), 0.0)
    for at in range(40):
        counter.terminal.expired(float(at))
        counter.terminal.feed(OK.encode(), float(at))
        counter.terminal.outgoing()

    assert json.dumps(counter.terminal.snapshot())


def test_connecting_is_told_what_the_terminal_needs() -> None:
    shop = Shop("tcp", store=TerminalStore(lock=0x51))
    shop.connect()

    assert shop.do(Connect()).details["needs"] == "initialisation"
