"""What somebody does at a simulated terminal while the till waits."""

from __future__ import annotations

import pytest

from protocols.errors import CommandNotPossible
from protocols.money import Money
from protocols.readers.protocol import AskStatus, Connect, Outcome, Purchase
from protocols.readers.zvt.peer import CONTROLS, DIGITS, SCRIPTS
from protocols.readers.zvt.scripts import script_named
from tests.unit.protocols.readers.zvt.shop import Shop

AMOUNT = Money(12_34, "EUR")


def waiting_shop(framing: str = "tcp") -> Shop:
    shop = Shop(framing, script="manual")
    shop.open()
    shop.host.start(Purchase(AMOUNT), shop.now)
    shop.pass_time(30.0)
    assert shop.finished[-1].command == Connect()
    return shop


@pytest.mark.parametrize(
    ("action", "mode", "verification"),
    [
        ("tap", "contactless", "none"),
        ("insert", "chip", "pin_online"),
        ("swipe", "magstripe", "signature"),
    ],
)
@pytest.mark.parametrize("framing", ["serial", "tcp"])
def test_a_payment_waits_for_the_card_that_somebody_holds_there(
    framing: str, action: str, mode: str, verification: str
) -> None:
    shop = waiting_shop(framing)

    shop.terminal.control(action, shop.now)
    shop.pass_time(5.0)
    if action == "insert":
        assert not isinstance(shop.finished[-1].command, Purchase)
        shop.terminal.control("remove_card", shop.now)
        shop.pass_time(1.0)

    finished = shop.finished[-1]
    assert finished.outcome is Outcome.APPROVED
    assert finished.payment is not None
    assert finished.payment.card.entry_mode == mode
    assert finished.payment.card.verification == verification


def test_nobody_comes() -> None:
    shop = waiting_shop()

    shop.pass_time(60.0)

    assert shop.finished[-1].outcome is Outcome.CANCELLED


def test_the_red_key_ends_the_waiting() -> None:
    shop = waiting_shop()

    shop.terminal.control("red_key", shop.now)
    shop.pass_time(1.0)

    assert shop.finished[-1].outcome is Outcome.CANCELLED
    assert not shop.was_taken(AMOUNT)


def test_a_wrong_pin_and_a_bank_that_declines_strike_the_next_payment_only() -> None:
    shop = waiting_shop()
    shop.terminal.control("wrong_pin", shop.now)
    shop.terminal.control("decline_next", shop.now, code="33")

    shop.terminal.control("insert", shop.now, card="maestro")
    shop.terminal.control("remove_card", shop.now)
    shop.pass_time(20.0)
    declined = shop.finished[-1]
    shop.terminal.playbook.default = script_named("approve")
    following = shop.do(Purchase(AMOUNT))

    assert (declined.outcome, declined.code) == (Outcome.DECLINED, 0x33)
    assert 0x15 in {one.code for one in shop.progress}
    assert following.outcome is Outcome.APPROVED


def test_a_terminal_that_hangs_answers_again_after_its_power_was_cut() -> None:
    shop = Shop("tcp")
    shop.open()
    shop.terminal.control("hang", shop.now)
    lost = shop.do(AskStatus())

    shop.terminal.control("reboot", shop.now)
    shop.open()

    assert lost.outcome is Outcome.LOST
    assert shop.do(AskStatus()).outcome is Outcome.DONE


def test_a_terminal_may_ask_for_service() -> None:
    shop = Shop("tcp")
    shop.open()

    shop.terminal.control("lock", shop.now, status="DF")
    locked = shop.do(AskStatus())
    shop.terminal.control("unlock", shop.now)

    assert (locked.outcome, locked.code) == (Outcome.FAILED, 0xDF)
    assert shop.do(AskStatus()).outcome is Outcome.DONE


@pytest.mark.parametrize(
    ("action", "facts"),
    [
        ("dance", {}),
        ("tap", {}),
        ("remove_card", {}),
        ("fault", {"name": "earthquake"}),
        ("script", {"name": "romance"}),
        ("lock", {"status": "zz"}),
    ],
)
def test_what_cannot_be_done_is_refused(action: str, facts: dict[str, str]) -> None:
    shop = Shop("tcp")
    shop.open()

    with pytest.raises(CommandNotPossible):
        shop.terminal.control(action, shop.now, **facts)

    assert shop.do(AskStatus()).outcome is Outcome.DONE


def test_every_story_of_the_digits_and_every_script_can_be_told() -> None:
    assert {script_named(text).result for text, _ in DIGITS.values()} >= {0, 5, 0x6C}
    assert all(script_named(name) is not None for name in SCRIPTS)
    assert {"tap", "insert", "swipe", "red_key", "hang", "reboot"} <= CONTROLS.keys()
