"""`omnitill-agent decode` as a process."""

from __future__ import annotations

import pytest

from tests.support.agent_program import run_agent


def test_a_message_is_shown_field_by_field() -> None:
    ended = run_agent("decode", "zvt", "04 0F", "07 27 6C 29\n28 00 48 69")

    assert ended.code == 0
    assert ended.lines[0]["fields"] == {"result_code": 0x6C, "terminal_id": "28004869"}
    assert ended.lines[0]["meaning"] == {"result_code": "stopped by key or time-out"}


def test_a_serial_frame_is_taken_out_of_its_wrapping() -> None:
    ended = run_agent("decode", "zvt", "--serial", "1002067000 1003D9F9")

    assert ended.code == 0
    assert ended.lines[0]["decoded"]["name"] == "diagnosis"


def test_standard_input_is_read_line_by_line() -> None:
    ended = run_agent("decode", "zvt", "-", said="800000\n\n 84 83 00 \n04\n")

    assert ended.code == 1
    assert [line.get("cc") for line in ended.lines] == ["8000", "8483", None]
    assert "malformed" in ended.lines[2]


def test_card_numbers_and_passwords_are_hidden() -> None:
    ended = run_agent(
        "decode", "zvt", "-", said="040F0B 22F8 4111111111111111 27\n060006123456BA0978\n"
    )

    text = str(ended.lines) + ended.complaint
    assert "4111111111111111" not in text
    assert "123456" not in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("zvt", "xyz"), "is not hexadecimal"),
        (("zvt", "4111 1111 1111 1111 1"), "is not hexadecimal"),
        (("morse", "00"), "known are"),
        (("zvt",), "hex"),
    ],
)
def test_what_is_no_hex_or_no_protocol_is_refused(arguments: tuple[str, ...], says: str) -> None:
    ended = run_agent("decode", *arguments)

    assert (ended.code, ended.lines) == (2, [])
    assert says in ended.complaint
    assert "1111 1111" not in ended.complaint
