"""Till against terminal, every story with every fault on both links: the till concludes what the books say."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from itertools import product

import pytest

from protocols.money import Money
from protocols.readers.protocol import MONEY_COMMANDS, Outcome, Purchase, ReadTotals, RecallLast
from protocols.readers.zvt.scripts import CARDS, UPDATE_FAULTS, ZvtFault, script_named, script_names
from protocols.readers.zvt.serial_link import encode_frame
from tests.unit.protocols.readers.zvt.shop import Shop

AMOUNT = Money(12_34, "EUR")
EARLIER = Money(12_33, "EUR")
FRAMINGS = ("serial", "tcp")
NUMBERS = tuple(card.number for card in CARDS.values())

LINE_FAULTS = (
    ZvtFault.NAK,
    ZvtFault.BAD_CRC,
    ZvtFault.DUPLICATE_FRAME,
    ZvtFault.GARBAGE,
    ZvtFault.LOST_ACK,
)
DROPS = (
    ZvtFault.DROP_AFTER_START,
    ZvtFault.DROP_AFTER_RESULT,
    ZvtFault.DROP_BEFORE_COMPLETION,
    ZvtFault.TRUNCATED,
)


@pytest.mark.parametrize("stands", [False, True], ids=["reverses", "stands"])
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("fault", [None, *sorted(set(ZvtFault) - UPDATE_FAULTS)], ids=str)
@pytest.mark.parametrize("story", script_names())
def test_the_till_concludes_what_the_terminals_books_say(
    story: str, fault: ZvtFault | None, framing: str, stands: bool
) -> None:
    shop = Shop(framing)
    shop.open()
    shop.sell(EARLIER)
    script = script_named(story)
    shop.terminal.playbook.queue.append(
        replace(script, faults=(fault,) if fault else (), stands_without_answer=stands)
    )

    finished, taken = shop.sell(AMOUNT)
    shop.open()
    totals = shop.do(ReadTotals()).totals

    assert taken == shop.was_taken(AMOUNT)
    assert totals is not None
    assert totals.total == Money(EARLIER.minor + taken * AMOUNT.minor, "EUR")
    assert totals.total == Money(shop.terminal.store.turnover(), "EUR")
    assert [event.command for event in shop.finished].count(finished.command) == 1
    assert [number for number in NUMBERS if number in repr(shop.events)] == []
    assert "123456" not in repr(shop.events)


@pytest.mark.parametrize(("first", "second"), list(product(LINE_FAULTS, DROPS)))
@pytest.mark.parametrize("framing", FRAMINGS)
def test_two_faults_at_once_do_not_hide_the_truth(
    framing: str, first: ZvtFault, second: ZvtFault
) -> None:
    shop = Shop(framing)
    shop.open()
    shop.terminal.playbook.queue.append(replace(script_named("approve"), faults=(first, second)))

    _, taken = shop.sell(AMOUNT)

    assert taken == shop.was_taken(AMOUNT)


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("framing", FRAMINGS)
def test_on_a_line_that_is_bad_all_the_time_every_sale_ends_in_the_truth(
    framing: str, seed: int
) -> None:
    chance = random.Random(seed)
    often = {**dict.fromkeys(LINE_FAULTS, 0.06), **dict.fromkeys(DROPS, 0.02), ZvtFault.REBOOT: 0.1}
    shop = Shop(
        framing, faults=[f"{fault}:{rate}" for fault, rate in often.items()], roll=chance.random
    )
    shop.open()
    amounts = [Money(minor, "EUR") for minor in range(100, 108)]

    taken = [shop.sell(amount)[1] for amount in amounts]

    assert taken == [shop.was_taken(amount) for amount in amounts]
    assert shop.terminal.store.turnover() == sum(
        amount.minor for amount, was_taken in zip(amounts, taken, strict=True) if was_taken
    )


@pytest.mark.parametrize("exchanges", range(45))
@pytest.mark.parametrize("framing", FRAMINGS)
def test_the_cable_pulled_at_any_moment_never_costs_the_truth(framing: str, exchanges: int) -> None:
    shop = Shop(framing)
    shop.open()
    shop.sell(EARLIER)
    known = len(shop.finished)
    shop.host.start(Purchase(AMOUNT), shop.now)
    steps = iter(range(exchanges))
    shop.run(lambda: next(steps, None) is None or len(shop.finished) > known)

    shop.disconnect()
    shop.open()
    recalled = shop.do(RecallLast()).payment

    taken = recalled is not None and recalled.amount == AMOUNT and recalled.result_code == 0
    believable = {Outcome.APPROVED, Outcome.LOST} if taken else {Outcome.LOST, Outcome.FAILED}
    assert taken == shop.was_taken(AMOUNT)
    assert shop.finished[known].outcome in believable


@pytest.mark.parametrize("fault", [None, *sorted(set(ZvtFault) - UPDATE_FAULTS)], ids=str)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_money_command_goes_out_once_and_only_the_line_repeats_its_frame(
    framing: str, fault: ZvtFault | None
) -> None:
    shop = Shop(framing)
    shop.open()
    shop.terminal.playbook.queue.append(
        replace(script_named("approve"), faults=(fault,) if fault else ())
    )

    shop.sell(AMOUNT)

    asked = bytes.fromhex("06010a04000000001234490978")
    wanted = encode_frame(asked) if framing == "serial" else asked
    # The terminal refused the first frame, so the sheet's repeat is due.
    times = 2 if framing == "serial" and fault is ZvtFault.NAK else 1
    assert b"".join(shop.sent_by_host).count(wanted) == times


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("piece", [1, 2, 7])
@pytest.mark.parametrize(
    "fault",
    [None, ZvtFault.DUPLICATE_FRAME, ZvtFault.GARBAGE, ZvtFault.LONG_BLOCKS],
    ids=str,
)
def test_how_the_stream_is_cut_changes_nothing(
    framing: str, piece: int, fault: ZvtFault | None
) -> None:
    script = replace(script_named("pin"), faults=(fault,) if fault else ())
    whole = Shop(framing, script=script)
    cut = Shop(framing, script=script, piece=piece)
    whole.open()
    cut.open()

    whole.sell(AMOUNT)
    cut.sell(AMOUNT)

    assert cut.finished == whole.finished
    assert cut.printed == whole.printed
    assert json.dumps(cut.terminal.snapshot()) == json.dumps(whole.terminal.snapshot())


def test_the_matrix_meets_every_outcome_a_payment_can_have() -> None:
    met = set()
    for story, fault in product(script_names(), [None, *ZvtFault]):
        shop = Shop("tcp")
        shop.open()
        shop.terminal.playbook.queue.append(
            replace(script_named(story), faults=(fault,) if fault else ())
        )
        met.add(shop.sell(AMOUNT)[0].outcome)

    assert met == {
        Outcome.APPROVED,
        Outcome.DECLINED,
        Outcome.CANCELLED,
        Outcome.FAILED,
        Outcome.BUSY,
        Outcome.LOST,
    }
    assert Purchase in MONEY_COMMANDS
