"""Numbers and their meaning; a number nobody knows stays one."""

from __future__ import annotations

import pytest

from protocols.readers.protocol import Outcome, Step
from protocols.readers.zvt import codes


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (0x00, Outcome.APPROVED),
        (0x6C, Outcome.CANCELLED),
        *((code, Outcome.DECLINED) for code in (0x01, 0x05, 0x51, 0x63, 0x67, 0x68, 0x6E, 0x71)),
        *((code, Outcome.DECLINED) for code in (0x78, 0x79, 0x7A, 0xC5)),
        (0x9C, Outcome.BUSY),
        (0xA0, Outcome.BUSY),
        *(
            (code, Outcome.FAILED)
            for code in (0x7D, 0x9B, 0xA1, 0xA3, 0x64, 0x83, 0xF0, 0xFF, 0xEF)
        ),
    ],
)
def test_result_codes_mean_the_outcomes_of_the_sheet(code: int, outcome: Outcome) -> None:
    assert codes.outcome_of(code) is outcome


def test_every_code_of_the_sheet_has_a_text() -> None:
    results = (
        "00 64 65 66 67 68 6a 6b 6c 6e 6f 71 72 73 74 77 78 79 7a 7b 7c 7e 7d 83 85 89 9a 9b 9c a0 a1 "
        "a3 a5 b1 b2 b4 b5 b7 b8 bf c0 c2 c3 c5 c6 c8 cc cd d2 dc dd de e0 e2 e3 e4 f0 f1 f5 f6 fa fb "
        "fc fd fe ff"
    )
    intermediate = (
        "00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 10 12 13 14 15 17 18 1a 1c 1d 28 29 2c 68 69 "
        "c8 c9 ca cc d2 d3 e0 e1 f1 f2 ff"
    )
    status = "00 51 62 9c 9d b1 b2 bf c0 c1 c2 c4 cc dc df e0 e1 e2 e3 e4 f0 f6"

    assert {int(code, 16) for code in results.split()} <= codes.RESULTS.keys()
    assert {int(code, 16) for code in intermediate.split()} <= codes.INTERMEDIATE.keys()
    assert {int(code, 16) for code in status.split()} <= codes.TERMINAL_STATUS.keys()


def test_unknown_codes_stay_numbers() -> None:
    assert codes.result_text(0xEF) == "unknown result EF"
    assert codes.result_text(0x33) == "declined by the authorisation system with 51"
    assert codes.intermediate_text(0x99) == "unknown status 99"
    assert codes.terminal_status_text(0x77) == "unknown status 77"
    assert codes.card_type_text(0xEE) == "card type 238"


@pytest.mark.parametrize(
    ("code", "step"),
    [
        (0x0A, Step.WAITING_FOR_CARD),
        (0x07, Step.CARD_SEEN),
        (0x68, Step.CARD_SEEN),
        (0xCC, Step.ENTER_PIN),
        (0x15, Step.ENTER_PIN),
        (0x04, Step.AUTHORIZING),
        (0x17, Step.AUTHORIZING),
        (0x0B, Step.REMOVE_CARD),
        (0x4B, Step.REMOVE_CARD),
        (0x5D, Step.REMOVE_CARD),
        (0x05, Step.REVERSING),
        (0x0F, Step.BUSY),
        (0x99, Step.BUSY),
    ],
)
def test_an_intermediate_status_is_a_step(code: int, step: Step) -> None:
    assert codes.step_of(code) is step


def test_forty_more_means_remove_the_card_as_well() -> None:
    assert codes.intermediate_text(0x4C) == "card not readable; remove the card"
    assert codes.intermediate_text(0x5D) == "declined; remove the card"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (0x00, Outcome.DONE),
        (0xDC, Outcome.DONE),
        (0x9C, Outcome.BUSY),
        (0x51, Outcome.FAILED),
        (0xC2, Outcome.FAILED),
        (0x77, Outcome.FAILED),
    ],
)
def test_a_terminal_status_tells_whether_payments_are_taken(status: int, outcome: Outcome) -> None:
    assert codes.fitness_of(status) is outcome


def test_locks_are_named() -> None:
    assert codes.locks(bytes.fromhex("2820")) == ("diagnosis", "out of order", "card inside")
    assert codes.locks(b"") == ()
    assert codes.locks(b"\x01") == ("security module",)
