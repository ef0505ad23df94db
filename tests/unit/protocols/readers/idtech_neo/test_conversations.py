"""Host against reader: every story, every fault, every framing, and whatever else may come."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import CommandNotPossible
from protocols.money import Money
from protocols.readers import ksn
from protocols.readers.idtech_neo import frames, tap
from protocols.readers.idtech_neo.frames import Frame
from protocols.readers.idtech_neo.machine import make_host
from protocols.readers.idtech_neo.peer import TEST_KEYS, make_terminal
from protocols.readers.idtech_neo.scripts import DIGITS, FAULTS, SCRIPTS, story_named
from protocols.readers.protocol import (
    Abort,
    AskStatus,
    Connect,
    Disconnect,
    Finished,
    InstallSoftware,
    IssuerAnswer,
    Outcome,
    Purchase,
    ReadTotals,
    RecallLast,
    Restart,
    Resume,
    SetClock,
    ShowText,
)
from protocols.readers.staging import CARDS
from tests.unit.protocols.readers.idtech_neo.desk import APPROVAL, Desk

AMOUNT = Money(12_34, "EUR")
STORIES = tuple(name for name in SCRIPTS if name != "manual")
DECLINE = IssuerAnswer(approved=False, response_code="05", text="declined")
NUMBERS = tuple(CARDS.values())


def hexed(number: str) -> str:
    return bytes.fromhex(number + "f" * (len(number) % 2)).hex()


# --- a payment ---


@pytest.mark.parametrize("encryption", TEST_KEYS)
@pytest.mark.parametrize("framing", frames.FRAMINGS)
@pytest.mark.parametrize("story", ["tap", "swipe", "insert"])
def test_a_card_goes_sealed_to_its_issuer_and_the_payment_ends_by_the_answer(
    story: str, framing: str, encryption: str
) -> None:
    desk = Desk(framing, script=story, encryption=encryption, host={"contact": "activate"})

    finished = desk.sell(AMOUNT)

    assert finished.outcome is Outcome.APPROVED
    assert finished.payment is not None
    assert finished.payment.authorization_code == "831000"
    assert finished.payment.amount == AMOUNT
    (wanted,) = desk.wanted
    card = wanted.tap.card
    assert card.masked_pan == "4111********1111"
    assert card.entry_mode == {"tap": "contactless", "swipe": "magstripe", "insert": "chip"}[story]
    clear = tap.open_clear(
        wanted.tap.data, bdk=TEST_KEYS[encryption], ksn=wanted.tap.ksn, scheme=encryption
    )
    track = next(item for item in clear if item.tag == 0x57)
    assert track.value.hex().startswith("4111111111111111d3012")
    assert wanted.tap.serial_number == "V0000001"


@pytest.mark.parametrize("contact", ["none", "activate", "start"])
@pytest.mark.parametrize("story", STORIES)
def test_every_story_ends_as_its_card_and_its_issuer_say(story: str, contact: str) -> None:
    desk = Desk(script=story, host={"contact": contact})

    finished = desk.sell(AMOUNT)

    refuses = story == "chip_refuses" and contact != "none"
    expected = {
        "no_card": Outcome.CANCELLED,
        "collision": Outcome.FAILED,
        "moved_away": Outcome.FAILED,
        "blocked": Outcome.DECLINED,
        "expired": Outcome.DECLINED,
        "offline_decline": Outcome.DECLINED,
        "chip_refuses": Outcome.DECLINED if refuses else Outcome.APPROVED,
    }.get(story, Outcome.APPROVED)
    assert finished.outcome is expected
    asked = expected is Outcome.APPROVED or refuses
    assert len(desk.wanted) == asked
    assert [event.command for event in desk.finished].count(finished.command) == 1


@pytest.mark.parametrize("story", ["tap", "swipe", "insert"])
def test_what_the_issuer_declines_is_declined(story: str) -> None:
    desk = Desk(script=story, issuer=DECLINE, host={"contact": "activate"})

    finished = desk.sell(AMOUNT)

    assert (finished.outcome, finished.text, finished.code) == (Outcome.DECLINED, "declined", 5)


@pytest.mark.parametrize("story", ["tap", "insert"])
def test_without_an_answer_in_time_the_payment_is_declined_and_the_chip_is_told(story: str) -> None:
    desk = Desk(script=story, issuer=None, host={"contact": "activate"})

    finished = desk.sell(AMOUNT)

    assert finished.outcome is Outcome.DECLINED
    assert finished.text == "nobody could be reached"
    told = b"".join(desk.sent_by_host)
    assert (bytes.fromhex("8a025a33") in told) is (story == "insert")
    with pytest.raises(CommandNotPossible):
        desk.host.start(Resume(APPROVAL), desk.now)
    assert desk.do(AskStatus()).outcome is Outcome.DONE


def test_a_chip_hears_its_issuers_words() -> None:
    words = bytes.fromhex("910a112233445566778800127204deadbeef")
    desk = Desk(
        script="insert",
        issuer=replace(APPROVAL, issuer_data=words),
        host={"contact": "activate"},
    )

    desk.sell(AMOUNT)

    assert bytes.fromhex("8a023030") in b"".join(desk.sent_by_host)
    assert words in b"".join(desk.sent_by_host)
    assert desk.steps == [
        "waiting_for_card",
        "card_seen",
        "card_seen",
        "authorizing",
        "remove_card",
    ]


def test_each_card_has_the_next_number_of_its_key() -> None:
    desk = Desk()

    for _ in range(3):
        desk.sell(AMOUNT)

    assert [ksn.counter(wanted.tap.ksn) for wanted in desk.wanted] == [1, 2, 3]


def test_a_second_answer_is_refused() -> None:
    desk = Desk()
    desk.sell(AMOUNT)

    with pytest.raises(CommandNotPossible):
        desk.host.start(Resume(APPROVAL), desk.now)


def test_the_amount_and_its_currency_go_out_as_emv_objects() -> None:
    desk = Desk()
    desk.sell(Money(1234, "JPY"))

    sent = b"".join(desk.sent_by_host)
    assert bytes.fromhex("02400016 3c 9f0206000000001234 9c0100 5f2a020392 5f360100") in sent


@pytest.mark.parametrize("minor", [0, -1])
def test_an_amount_that_cannot_be_paid_is_refused_and_nothing_is_sent(minor: int) -> None:
    desk = Desk()
    desk.open()
    before = len(desk.sent_by_host)

    with pytest.raises(CommandNotPossible):
        desk.host.start(Purchase(Money(minor, "EUR")), desk.now)
    desk.quiet()

    assert len(desk.sent_by_host) == before


# --- stopping ---


def test_a_payment_can_be_stopped_while_no_card_is_there() -> None:
    desk = Desk(script="manual")
    desk.open()
    desk.host.start(Purchase(AMOUNT), desk.now)
    desk.pass_time(3.0)

    desk.host.start(Abort(), desk.now)
    desk.quiet()

    assert desk.finished[-1].outcome is Outcome.CANCELLED
    assert desk.wanted == []
    assert desk.do(AskStatus()).outcome is Outcome.DONE


def test_a_card_that_was_read_while_the_payment_was_stopped_is_not_used() -> None:
    desk = Desk(script="manual")
    desk.open()
    desk.host.start(Purchase(AMOUNT), desk.now)
    desk.pass_time(3.0)

    # Both at once: the card's data are on their way while the cancel is.
    desk.terminal.control("tap", desk.now)
    desk.host.start(Abort(), desk.now)
    desk.quiet()

    assert desk.terminal.taps == 1
    assert desk.finished[-1].outcome is Outcome.CANCELLED
    assert desk.wanted == []
    assert desk.host.is_idle()


def test_nothing_else_is_sent_until_the_reader_answered_the_cancel() -> None:
    desk = Desk(script="manual")
    desk.open()
    desk.host.start(Purchase(AMOUNT), desk.now)
    desk.pass_time(1.0)
    desk.host.start(Abort(), desk.now)
    failed = frames.encode(Frame(0x02, 0x0A, is_high_first=True))

    events = desk.host.feed(failed, desk.now)
    is_idle_before = desk.host.is_idle()
    after = desk.host.feed(frames.encode(Frame(0x05, 0x00, is_high_first=True)), desk.now)

    assert events == []
    assert not is_idle_before
    assert [event.outcome for event in after if isinstance(event, Finished)] == [Outcome.CANCELLED]


def test_a_reader_that_never_answers_a_cancel_does_not_hold_the_till() -> None:
    desk = Desk(script="manual")
    desk.open()
    desk.host.start(Purchase(AMOUNT), desk.now)
    desk.quiet()
    desk.terminal.control("hang", desk.now)
    began = desk.now

    desk.host.start(Abort(), desk.now)
    desk.run(lambda: len(desk.finished) > 1)

    assert desk.finished[-1].outcome is Outcome.CANCELLED
    assert desk.now - began <= 20


def test_stopping_comes_too_late_once_the_issuer_is_asked() -> None:
    desk = Desk(issuer=None)
    desk.open()
    desk.host.start(Purchase(AMOUNT), desk.now)
    desk.run(lambda: bool(desk.wanted))

    desk.host.start(Abort(), desk.now)
    desk.host.start(Resume(APPROVAL), desk.now)
    desk.run(lambda: len(desk.finished) > 1)

    assert desk.finished[-1].outcome is Outcome.APPROVED


def test_stopping_nothing_is_not_possible() -> None:
    desk = Desk()
    desk.open()

    with pytest.raises(CommandNotPossible):
        desk.host.start(Abort(), desk.now)


def test_another_command_while_a_card_is_awaited_is_refused_here_and_cancels_there() -> None:
    desk = Desk(script="manual")
    desk.open()
    desk.host.start(Purchase(AMOUNT), desk.now)
    desk.quiet()

    with pytest.raises(CommandNotPossible):
        desk.host.start(AskStatus(), desk.now)
    desk.terminal.feed(frames.encode(Frame(0x18, 0x01)), desk.now)
    desk.quiet()

    assert desk.finished[-1].outcome is Outcome.FAILED
    assert desk.terminal.is_idle()


@pytest.mark.parametrize("framing", frames.FRAMINGS)
def test_an_answer_that_came_damaged_does_not_hold_the_till_for_minutes(framing: str) -> None:
    desk = Desk(framing)
    desk.open()
    desk.terminal.arm("bad_crc")
    began = desk.now

    finished = desk.sell(AMOUNT)

    assert finished.outcome is Outcome.FAILED
    assert desk.now - began < 15
    assert desk.wanted == []
    assert desk.sell(AMOUNT).outcome is Outcome.APPROVED


@pytest.mark.parametrize("command", ["0240", "6012"])
def test_a_command_that_the_reader_did_not_understand_is_sent_once_more(command: str) -> None:
    desk = Desk(script="insert", host={"contact": "activate" if command == "6012" else "none"})
    desk.open()
    if command == "0240":
        desk.terminal.arm("crc_refused")
    else:
        desk.issuer = None
        desk.host.start(Purchase(AMOUNT), desk.now)
        desk.run(lambda: bool(desk.wanted))
        desk.terminal.arm("crc_refused")
        desk.host.start(Resume(APPROVAL), desk.now)
        desk.run(desk.host.is_idle)

    finished = desk.sell(AMOUNT) if command == "0240" else desk.finished[-1]

    assert finished.outcome is Outcome.APPROVED
    assert desk.quirks == {"frame_not_received"}
    sent = b"".join(desk.sent_by_host)
    assert sent.count(frames.HEADER + bytes.fromhex(command)) == 2


@pytest.mark.parametrize("contact", ["activate", "start"])
def test_an_answer_that_comes_twice_is_heard_once(contact: str) -> None:
    for at in range(6):
        desk = Desk(script="insert", host={"contact": contact})
        desk.open()
        rolls = iter(range(100))
        desk.terminal = make_terminal(
            "serial",
            {
                "script": "insert",
                "faults": ("duplicate_frame:0.5",),
                "roll": lambda rolls=rolls, at=at: 0.0 if next(rolls) == at else 1.0,
            },
        )
        desk.terminal.connected(desk.now)

        finished = desk.sell(AMOUNT)

        assert finished.outcome is Outcome.APPROVED


# --- readers that must not be used ---


def test_a_reader_that_does_not_encrypt_is_refused_until_it_does_again() -> None:
    desk = Desk()
    desk.open()
    desk.terminal.control("clear_mode", desk.now)

    finished = desk.sell(AMOUNT)

    assert finished.outcome is Outcome.FAILED
    assert desk.wanted == []
    assert desk.noticed == ["clear_card_data"]
    said = repr(desk.events)
    assert [number for number in NUMBERS if number in said or hexed(number) in said] == []
    with pytest.raises(CommandNotPossible):
        desk.host.start(Purchase(AMOUNT), desk.now)
    assert desk.do(AskStatus()).outcome is Outcome.FAILED
    assert desk.do(Connect()).outcome is Outcome.FAILED

    desk.terminal.control("sealed_mode", desk.now)
    assert desk.do(Connect()).outcome is Outcome.DONE
    assert desk.sell(AMOUNT).outcome is Outcome.APPROVED


def test_a_tampered_reader_is_out_of_service_and_told_of_once() -> None:
    desk = Desk()
    desk.open()
    desk.terminal.control("tamper", desk.now)

    status = desk.do(AskStatus())
    again = desk.do(AskStatus())

    assert (status.outcome, status.code) == (Outcome.FAILED, 0x1D)
    assert status.details["tamper"] == "yes"
    assert again.outcome is Outcome.FAILED
    assert desk.sell(AMOUNT).outcome is Outcome.FAILED
    assert desk.noticed == ["tamper"]


def test_a_boot_notification_is_told_of_at_any_time() -> None:
    desk = Desk()
    desk.open()

    desk.terminal.control("boot_notification", desk.now)
    desk.quiet()

    assert desk.noticed == ["restarted"]
    assert desk.sell(AMOUNT).outcome is Outcome.APPROVED


def test_a_reader_that_restarts_while_it_waits_ends_the_payment() -> None:
    desk = Desk(script="manual")
    desk.open()
    desk.host.start(Purchase(AMOUNT), desk.now)
    desk.quiet()

    desk.terminal.control("boot_notification", desk.now)
    desk.quiet()

    assert desk.finished[-1].outcome is Outcome.FAILED
    assert desk.finished[-1].text == "the reader restarted; nothing was charged"


def test_the_version_is_another_one_after_the_boot_loader() -> None:
    desk = Desk()
    before = desk.open().identity
    desk.terminal.control("boot_loader", desk.now)
    desk.quiet()

    after = desk.open().identity

    assert before is not None
    assert after is not None
    assert (before.software_version, after.software_version) == (
        "VP3300 FW v1.00.S",
        "VP3300 FW v1.01.S",
    )
    assert before.serial_number == after.serial_number == "V0000001"
    assert before.model == "VP3300"


# --- other commands ---


@pytest.mark.parametrize("command", [RecallLast(), ReadTotals()])
def test_a_reader_without_memory_says_so(command: RecallLast | ReadTotals) -> None:
    desk = Desk()
    desk.open()

    finished = desk.do(command)

    assert finished.outcome is Outcome.UNSUPPORTED
    assert finished.payment is None


@pytest.mark.parametrize(
    "command",
    [Restart(), ShowText(("hello",)), InstallSoftware(())],
    ids=lambda one: type(one).__name__,
)
def test_what_the_sheet_has_no_words_for_is_refused(
    command: Restart | ShowText | InstallSoftware,
) -> None:
    desk = Desk()
    desk.open()

    with pytest.raises(CommandNotPossible):
        desk.host.start(command, desk.now)
    assert desk.host.is_idle()


def test_the_clock_can_be_set() -> None:
    desk = Desk()
    desk.open()

    finished = desk.do(SetClock(datetime(2027, 3, 4, 5, 6)))  # noqa: DTZ001 - local wall time
    desk.sell(AMOUNT)

    assert finished.outcome is Outcome.DONE
    assert bytes.fromhex("9a03270304") in desk.wanted[0].tap.data


def test_disconnecting_ends_at_once() -> None:
    desk = Desk()
    desk.open()

    assert desk.do(Disconnect()).outcome is Outcome.DONE


@pytest.mark.parametrize(
    "setting",
    [
        {"contact": "psychic"},
        {"colour": "red"},
        {"retries": {"money_command": 1}},
        {"timeouts_ms": {"t9": 1}},
    ],
)
def test_settings_that_mean_nothing_are_refused(setting: dict[str, object]) -> None:
    with pytest.raises(CommandNotPossible):
        make_host("serial", setting)


@pytest.mark.parametrize(
    "setting",
    [{"script": "juggle"}, {"faults": ("hiccup",)}, {"colour": "red"}, {"encryption": "rot13"}],
)
def test_a_simulated_reader_refuses_what_means_nothing(setting: dict[str, object]) -> None:
    with pytest.raises(CommandNotPossible):
        make_terminal("serial", setting)


@pytest.mark.parametrize("digits", DIGITS)
def test_each_amount_tells_its_story(digits: int) -> None:
    story_named(DIGITS[digits][0])
    desk = Desk(by_last_digits={cents: story for cents, (story, _) in DIGITS.items()}, pace=0.1)

    finished = desk.sell(Money(1000 + digits, "EUR"))

    assert finished.outcome in {
        Outcome.APPROVED,
        Outcome.DECLINED,
        Outcome.CANCELLED,
        Outcome.FAILED,
        Outcome.BUSY,
    }


def test_a_reader_goes_on_after_a_power_cut_where_it_was() -> None:
    desk = Desk()
    desk.sell(AMOUNT)

    again = Desk(snapshot=desk.terminal.snapshot())
    again.sell(AMOUNT)

    assert ksn.counter(again.wanted[0].tap.ksn) == 2


# --- everything at once ---


@pytest.mark.parametrize("framing", frames.FRAMINGS)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("story", ["tap", "insert"])
def test_every_fault_ends_in_exactly_one_result_and_no_approval_without_an_issuer(
    story: str, fault: str, framing: str
) -> None:
    desk = Desk(framing, script=story, host={"contact": "activate"})
    desk.open()
    desk.terminal.arm(fault)

    finished = desk.sell(AMOUNT)

    assert [event.command for event in desk.finished].count(finished.command) == 1
    assert finished.outcome is not Outcome.LOST
    assert (finished.outcome is Outcome.APPROVED) <= (len(desk.wanted) == 1)
    said = repr(desk.events)
    assert [number for number in NUMBERS if number in said or hexed(number) in said] == []
    activations = sum(bytes.fromhex("0205") in sent[:16] for sent in desk.sent_by_host)
    assert activations == (2 if fault == "crc_refused" else 1)


@given(
    st.integers(0, 2**32),
    st.sampled_from(frames.FRAMINGS),
    st.sampled_from(["none", "activate", "start"]),
)
@settings(max_examples=40, deadline=None)
def test_on_a_line_that_is_bad_all_the_time_every_payment_has_exactly_one_end(
    seed: int, framing: str, contact: str
) -> None:
    chance = random.Random(seed)
    faults = [f"{fault}:0.06" for fault in FAULTS if fault not in {"tamper", "clear_mode"}]
    desk = Desk(
        framing,
        script=chance.choice(STORIES),
        faults=faults,
        roll=chance.random,
        issuer=chance.choice([APPROVAL, DECLINE, None]),
        host={"contact": contact},
    )
    for minor in range(100, 104):
        desk.open()
        while not desk.is_connected:
            desk.open()
        finished = desk.sell(Money(minor, "EUR"))
        assert [event.command for event in desk.finished].count(finished.command) == 1
        assert finished.outcome is not Outcome.LOST
        assert finished.outcome is not Outcome.APPROVED or desk.issuer is APPROVAL
        desk.terminal.software_version = "VP3300 FW v1.00.S"


@pytest.mark.parametrize("framing", ["serial", "tcp", "ble_gatt"])
@pytest.mark.parametrize("piece", [1, 2, 13])
@pytest.mark.parametrize("fault", ["garbage", "duplicate_frame", "crc_refused", "bad_crc"])
def test_how_the_stream_is_cut_changes_nothing(framing: str, piece: int, fault: str) -> None:
    whole, cut = Desk(framing), Desk(framing, piece=piece)

    for desk in (whole, cut):
        desk.open()
        desk.terminal.arm(fault)
        desk.sell(AMOUNT)

    # An answer given between two pieces comes before what is in the second.
    assert sorted(map(repr, cut.events)) == sorted(map(repr, whole.events))
    assert cut.terminal.snapshot() == whole.terminal.snapshot()


@pytest.mark.parametrize("exchanges", range(14))
@pytest.mark.parametrize("framing", ["usb_hid", "ble_gatt"])
def test_the_cable_pulled_at_any_moment_leaves_one_end_and_a_reader_that_goes_on(
    framing: str, exchanges: int
) -> None:
    desk = Desk(framing, script="insert", host={"contact": "activate"})
    desk.open()
    known = len(desk.finished)
    desk.host.start(Purchase(AMOUNT), desk.now)
    steps = iter(range(exchanges))
    desk.run(lambda: next(steps, None) is None or len(desk.finished) > known)

    desk.disconnect()
    ends = [event.outcome for event in desk.finished[known:]]
    desk.open()

    assert len(ends) == 1
    assert ends[0] in {Outcome.APPROVED, Outcome.FAILED}
    assert desk.sell(AMOUNT).outcome is Outcome.APPROVED


ANY_FRAME = st.builds(
    lambda command, sub, data: frames.encode(Frame(command, sub, data, is_high_first=True)),
    st.sampled_from([0x02, 0x05, 0x14, 0x18, 0x29, 0x60]),
    st.sampled_from([0x00, 0x01, 0x04, 0x08, 0x0A, 0x0B, 0x0E, 0x1D, 0x23, 0x30, 0x63, 0x77]),
    st.one_of(st.just(b""), st.binary(max_size=60)),
)


@given(
    st.sampled_from(frames.FRAMINGS),
    st.sampled_from(["none", "activate", "start"]),
    st.lists(st.one_of(ANY_FRAME, st.binary(max_size=70)), max_size=12),
    st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_whatever_comes_the_host_never_raises_and_ends_once(
    framing: str, contact: str, packets: list[bytes], stops: bool
) -> None:
    host = make_host(framing, {"contact": contact})
    host.connected(0.0)
    host.start(Purchase(AMOUNT), 0.0)
    events = list(host.expired(0.0))
    now = 0.0
    for packet in packets:
        pieces = frames.to_reports(packet) if framing == "usb_hid" else (packet,)
        for piece in pieces:
            events += host.feed(piece, now)
        if stops and not host.is_idle():
            host.start(Abort(), now)
            stops = False
    for _ in range(50):
        at = host.deadline()
        if at is None:
            break
        now = max(now, at)
        events += host.expired(now)

    assert len([event for event in events if isinstance(event, Finished)]) == 1
    assert host.is_idle()


@given(
    st.sampled_from(frames.FRAMINGS),
    st.lists(st.one_of(ANY_FRAME, st.binary(max_size=70)), max_size=10),
)
@settings(max_examples=60, deadline=None)
def test_whatever_comes_the_simulated_reader_never_raises(
    framing: str, packets: list[bytes]
) -> None:
    reader = make_terminal(framing, {})
    reader.connected(0.0)
    for packet in packets:
        for piece in frames.to_reports(packet) if framing == "usb_hid" else (packet,):
            reader.feed(piece, 0.0)
            while reader.outgoing():
                pass
    reader.snapshot()
