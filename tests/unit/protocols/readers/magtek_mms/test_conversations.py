"""Till against reader: every story with every fault on every line ends once, and never against the issuer's word."""

from __future__ import annotations

import json
import random
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import CommandNotPossible
from protocols.money import Money
from protocols.readers import dukpt, emv, registry
from protocols.readers.magtek_mms import codes, tap
from protocols.readers.magtek_mms.peer import DIGITS, FAULTS, SCRIPTS, TEST_KEYS
from protocols.readers.magtek_mms.scripts import CARDS, MmsFault, script_named
from protocols.readers.protocol import (
    Abort,
    AskStatus,
    Connect,
    IssuerAnswer,
    Outcome,
    Purchase,
    RecallLast,
    Restart,
    Step,
)
from tests.unit.protocols.readers.magtek_mms.counter import (
    AMOUNT,
    FRAMINGS,
    NO,
    YES,
    Counter,
)

NUMBERS = tuple(card.number for card in CARDS.values())
STORIES = tuple(name for name in SCRIPTS if name != "manual")
LINE_FAULTS = (
    MmsFault.GARBAGE,
    MmsFault.CANCELLED_PACKET,
    MmsFault.DUPLICATE,
    MmsFault.GLUED,
    MmsFault.COUNTER_JUMP,
)


def check(counter: Counter, answer: IssuerAnswer | None) -> None:
    """What is true of every payment, whatever happened to it."""
    sales = [one for one in counter.finished if isinstance(one.command, Purchase)]
    approved = [one for one in sales if one.outcome is Outcome.APPROVED]
    assert len(sales) == 1
    assert not approved or (answer is not None and answer.approved and len(counter.taps) == 1)
    assert len(counter.taps) <= 1
    assert [number for number in NUMBERS if number in repr(counter.events)] == []


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("fault", [None, *MmsFault], ids=str)
def test_every_story_ends_once_with_every_fault(fault: MmsFault | None, framing: str) -> None:
    others = product(("approve", "chip"), (NO, None))
    for story, answer in (*product(STORIES, (YES,)), *others):
        counter = Counter(framing, answer=answer)
        counter.open()
        counter.terminal.queue_script(f"{story}+{fault}" if fault else story)

        counter.sell()

        check(counter, answer)


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize(
    ("story", "outcome"),
    [
        ("approve", Outcome.APPROVED),
        ("chip", Outcome.APPROVED),
        ("swipe", Outcome.APPROVED),
        ("pin+mastercard", Outcome.APPROVED),
        ("wrong_pin", Outcome.APPROVED),
        ("card_left_in", Outcome.APPROVED),
        ("slow", Outcome.APPROVED),
        ("offline_approve", Outcome.APPROVED),
        ("offline_decline", Outcome.DECLINED),
        ("card_declines", Outcome.DECLINED),
        ("read_error", Outcome.FAILED),
        ("cancel", Outcome.CANCELLED),
        ("no_card", Outcome.CANCELLED),
        ("approve+busy", Outcome.BUSY),
        ("approve+never_answers", Outcome.FAILED),
        ("approve+clock_not_set", Outcome.FAILED),
        ("approve+tamper", Outcome.FAILED),
        ("approve+battery_low", Outcome.APPROVED),
        ("approve+battery_empty", Outcome.FAILED),
        ("approve+clear_pan", Outcome.FAILED),
        ("approve+reboot", Outcome.FAILED),
        ("approve+drop_after_start", Outcome.FAILED),
        ("approve+drop_before_data", Outcome.FAILED),
        ("approve+drop_after_data", Outcome.FAILED),
        ("approve+drop_before_result", Outcome.APPROVED),
        ("chip+drop_before_result", Outcome.LOST),
        ("chip+refuses_answer", Outcome.DECLINED),
        ("chip+silent_after_answer", Outcome.LOST),
        ("approve+silent_after_answer", Outcome.APPROVED),
        ("approve+slow", Outcome.APPROVED),
        *((f"chip+{fault}", Outcome.APPROVED) for fault in LINE_FAULTS),
    ],
)
def test_each_story_ends_as_it_should(framing: str, story: str, outcome: Outcome) -> None:
    counter = Counter(framing)
    counter.open()
    counter.terminal.queue_script(story)

    finished = counter.sell()

    assert finished.outcome is outcome, finished.text


@pytest.mark.parametrize("framing", FRAMINGS)
def test_the_till_sees_the_steps_of_a_payment(framing: str) -> None:
    counter = Counter(framing, script="card_left_in")
    counter.sell()
    swiped = Counter(framing, script="pin")
    swiped.sell()

    steps = [event.step for event in counter.progress]

    assert steps == [Step.SENT, Step.WAITING_FOR_CARD, Step.CARD_SEEN, Step.AUTHORIZING]
    assert Step.ENTER_PIN in [event.step for event in swiped.progress]


@pytest.mark.parametrize("scheme", [dukpt.TDES_SCHEME, dukpt.AES_SCHEME])
@pytest.mark.parametrize("story", ["approve", "chip+amex", "swipe+mastercard"])
def test_the_acquirer_can_open_what_the_till_passed_on(story: str, scheme: str) -> None:
    counter = Counter(script=story, encryption=scheme)
    counter.sell()
    (sealed,) = counter.taps
    card = script_named(story).card

    opened = tap.open_clear(
        sealed.data, bdk=TEST_KEYS[scheme], ksn=sealed.ksn, scheme=sealed.scheme
    )

    track, amount = emv.find(opened, 0x57), emv.find(opened, 0x9F02)
    assert track is not None
    assert track.value == card.track2
    assert amount is not None
    assert amount.value.hex() == "000000001234"
    assert sealed.card.last4 == card.number[-4:]
    assert sealed.serial_number == "B5A1C3D"


def test_no_key_serial_number_comes_twice_not_even_after_a_power_cut() -> None:
    counter = Counter()
    for _ in range(5):
        counter.sell()
    memory = json.loads(json.dumps(counter.terminal.snapshot()))
    again = Counter(snapshot=memory)
    again.sell()

    ksns = [one.ksn for one in (*counter.taps, *again.taps)]

    assert len(set(ksns)) == 6
    assert ksns == sorted(ksns)


@pytest.mark.parametrize("piece", [1, 2, 7, 64])
@pytest.mark.parametrize("story", ["approve", "chip+garbage", "pin+cancelled_packet"])
def test_how_the_stream_is_cut_changes_nothing(story: str, piece: int) -> None:
    whole, cut = (Counter("serial", script=story, piece=size) for size in (None, piece))
    whole.sell()
    cut.sell()

    assert cut.events == whole.events
    assert cut.terminal.snapshot() == whole.terminal.snapshot()


@pytest.mark.parametrize("steps", range(0, 36, 5))
@pytest.mark.parametrize("story", ["approve", "chip"])
@pytest.mark.parametrize("framing", FRAMINGS)
def test_the_cable_pulled_at_any_moment_ends_the_payment_once(
    framing: str, story: str, steps: int
) -> None:
    counter = Counter(framing, script=story)
    counter.open()
    counter.host.start(Purchase(AMOUNT), counter.now)
    left = iter(range(steps))
    counter.run(lambda: next(left, None) is None or counter.has_sold)

    if counter.is_connected:
        counter.disconnect()

    check(counter, YES)
    counter.pass_time(200)
    assert counter.open().outcome is Outcome.DONE
    assert counter.do(AskStatus()).outcome is Outcome.DONE
    assert counter.sell(Money(1_00, "EUR")).outcome is Outcome.APPROVED


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("framing", FRAMINGS)
def test_on_a_line_that_is_bad_all_the_time_every_payment_ends_once(
    framing: str, seed: int
) -> None:
    chance = random.Random(seed)
    often = {**dict.fromkeys(LINE_FAULTS, 0.08), MmsFault.LOST_PACKET: 0.05, MmsFault.REBOOT: 0.1}
    counter = Counter(
        framing, faults=[f"{fault}:{rate}" for fault, rate in often.items()], roll=chance.random
    )
    stories = [chance.choice(STORIES) for _ in range(6)]

    for story in stories:
        counter.open()
        counter.terminal.queue_script(story)
        counter.sell()
        counter.pass_time(120)

    sales = [one for one in counter.finished if isinstance(one.command, Purchase)]
    assert len(sales) == len(stories)
    assert [number for number in NUMBERS if number in repr(counter.events)] == []


@settings(max_examples=40, deadline=None)
@given(
    framing=st.sampled_from(FRAMINGS),
    story=st.sampled_from(STORIES),
    faults=st.lists(st.sampled_from(sorted(MmsFault)), max_size=3),
    answer=st.sampled_from([YES, NO, None]),
    flow=st.sampled_from(["emv", "quick_chip"]),
    abort_after=st.integers(0, 30),
)
def test_whatever_happens_together_ends_once(
    framing: str,
    story: str,
    faults: list[str],
    answer: IssuerAnswer | None,
    flow: str,
    abort_after: int,
) -> None:
    counter = Counter(framing, answer=answer, faults=faults, settings={"flow": flow})
    counter.connect()
    counter.do(Connect())
    if not counter.is_connected:
        counter.connect()
    counter.terminal.queue_script(story)
    counter.host.start(Purchase(AMOUNT), counter.now)
    left = iter(range(abort_after))
    counter.run(lambda: next(left, None) is None or counter.has_sold)

    try:
        counter.host.start(Abort(), counter.now)
    except CommandNotPossible:
        assert counter.host.is_idle() or not counter.is_connected
    counter.run(lambda: counter.has_sold)

    check(counter, answer)


@settings(max_examples=50, deadline=None)
@given(
    framing=st.sampled_from(FRAMINGS),
    noise=st.lists(st.binary(max_size=80), max_size=10),
    is_busy=st.booleans(),
)
def test_any_bytes_never_raise_on_either_side(
    framing: str, noise: list[bytes], is_busy: bool
) -> None:
    counter = Counter(framing)
    counter.connect()
    if is_busy:
        counter.begin(Purchase(AMOUNT))

    for packet in noise:
        counter.host.feed(packet, counter.now)
        counter.terminal.feed(packet, counter.now)
    while packet := counter.terminal.outgoing():
        counter.host.feed(packet, counter.now)

    assert counter.host.is_idle() != is_busy or not is_busy


# --- people ----------------------------------------------------------------------------------------------------


def waiting(**terminal: Any) -> Counter:
    counter = Counter(script="manual", **terminal)
    counter.open()
    counter.begin(Purchase(AMOUNT))
    return counter


@pytest.mark.parametrize(
    ("action", "mode"), [("tap", "contactless"), ("insert", "chip"), ("swipe", "magstripe")]
)
def test_a_card_comes_when_the_control_brings_it(action: str, mode: str) -> None:
    counter = waiting()
    counter.pass_time(30)
    assert counter.taps == []

    said = counter.terminal.control(action, counter.now, card="mastercard")
    finished = counter.finish()

    assert "mastercard" in said
    assert finished.outcome is Outcome.APPROVED
    assert finished.payment is not None
    assert finished.payment.card.entry_mode == mode
    assert finished.payment.card.last4 == "4444"


def test_the_red_key_cancels_while_nothing_is_read() -> None:
    counter = waiting()

    counter.terminal.control("red_key", counter.now)

    assert counter.finish().outcome is Outcome.CANCELLED


def test_the_till_cancels_while_the_reader_waits() -> None:
    counter = waiting()

    counter.host.start(Abort(), counter.now)

    assert counter.finish().outcome is Outcome.CANCELLED
    assert counter.terminal.is_idle()


def test_no_card_in_time_ends_the_payment() -> None:
    counter = waiting()

    counter.pass_time(61)

    assert counter.finished[-1].outcome is Outcome.CANCELLED
    assert "no card" in counter.finished[-1].text


def test_decline_next_and_wrong_pin_change_the_next_payment() -> None:
    counter = Counter(script="pin")
    counter.open()
    counter.terminal.control("wrong_pin", counter.now)
    counter.sell()
    pins = [event for event in counter.progress if event.step is Step.ENTER_PIN]
    counter.terminal.control("decline_next", counter.now)

    declined, approved = counter.sell(), counter.sell()

    assert len(pins) == 2
    assert (declined.outcome, approved.outcome) == (Outcome.DECLINED, Outcome.APPROVED)


def test_tamper_battery_and_lost_keys_are_noticed() -> None:
    counter = Counter()
    counter.open()
    counter.terminal.control("battery_low", counter.now, percent=9)
    counter.quiet()
    battery = counter.do(AskStatus()).details["battery_percent"]
    counter.terminal.control("clear_mode", counter.now)
    clear = counter.sell().outcome
    locked = counter.do(AskStatus())
    counter.terminal.control("encrypt", counter.now)
    counter.terminal.control("tamper", counter.now)
    counter.terminal.control("reboot", counter.now)
    counter.run(lambda: not counter.is_connected)
    counter.open()

    tampered = counter.sell().outcome

    assert battery == "9"
    assert clear is Outcome.FAILED
    assert locked.outcome is Outcome.FAILED
    assert "in the clear" in locked.text
    assert tampered is Outcome.FAILED
    assert counter.do(AskStatus()).details["tamper"] == "yes"
    assert list(counter.notices) == ["battery_low", "clear_card_data", "restarted", "tamper"]


def test_a_reader_that_hangs_is_silent_until_it_is_rebooted() -> None:
    counter = Counter()
    counter.open()
    counter.terminal.control("hang", counter.now)
    silent = counter.do(AskStatus()).outcome
    counter.terminal.control("reboot", counter.now)
    counter.pass_time(30)

    assert silent is Outcome.LOST
    assert counter.open().outcome is Outcome.DONE


def test_a_control_that_cannot_be_is_refused() -> None:
    terminal = Counter().terminal

    for action in ("dance", "tap", "red_key"):
        with pytest.raises(CommandNotPossible):
            terminal.control(action, 0.0)
    with pytest.raises(CommandNotPossible):
        waiting().terminal.control("tap", 0.0, card="library")


def test_a_restart_brings_it_back() -> None:
    counter = Counter()
    counter.open()

    restarted = counter.do(Restart())
    again = counter.open()

    assert restarted.outcome is Outcome.DONE
    assert again.outcome is Outcome.DONE
    assert list(counter.notices) == ["restarted"]


def test_the_reader_keeps_no_payments() -> None:
    counter = Counter()
    counter.sell()
    idle = counter.do(RecallLast())

    assert idle.outcome is Outcome.DONE
    assert idle.details["transaction"] == "none"
    assert idle.payment is None


def test_amounts_choose_stories_that_there_are() -> None:
    stories = [script_named(story) for story, _ in DIGITS.values()]
    assert len(stories) == len(DIGITS) > 15
    assert all(line for _, line in DIGITS.values())
    assert set(FAULTS) == set(MmsFault)
    assert registry.repertoire("magtek_mms").scripts == SCRIPTS
    chosen = Counter(by_last_digits={number: story for number, (story, _) in DIGITS.items()})

    assert chosen.sell(Money(1_12, "EUR")).outcome is Outcome.DECLINED
    assert chosen.sell(Money(1_00, "EUR")).outcome is Outcome.APPROVED


@pytest.mark.parametrize(
    "settings", [{"script": "dance"}, {"faults": ("luck",)}, {"colour": 1}, {"encryption": "rot13"},
                 {"snapshot": {"ksn": "zz"}}],
    ids=lambda settings: next(iter(settings)),
)  # fmt: skip
def test_a_terminal_that_cannot_be_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(CommandNotPossible):
        Counter(**settings)


def test_technologies_have_names() -> None:
    assert codes.progress_text(codes.CHIP, 0x010200) == "chip: card inserted"
    assert codes.progress_text(0x77, 0x123456) == "technology 77: detail 123456"
