"""`omnitill-agent decode` as a process."""

from __future__ import annotations

import pytest

from protocols.money import Money
from protocols.readers import registry
from protocols.readers.concert.frames import encode_frame
from protocols.readers.concert.messages import Answer, encode_answer
from tests.support.agent_program import examples_of, run_agent, run_help

LONG_ANSWER = encode_frame(
    encode_answer(Answer("01", 0, Money(1250, "EUR"), "1"), 978, report="CB 4111111111111111")
).hex()


def test_a_message_is_shown_field_by_field() -> None:
    ended = run_agent("decode", "zvt", "04 0F", "07 27 6C 29\n28 00 48 69")

    assert ended.code == 0
    assert ended.lines[0]["fields"] == {"result_code": 0x6C, "terminal_id": "28004869"}
    assert ended.lines[0]["meaning"] == {"result_code": "stopped by key or time-out"}


def test_a_serial_frame_is_taken_out_of_its_wrapping() -> None:
    ended = run_agent("decode", "zvt", "--serial", "1002067000 1003D9F9")

    assert ended.code == 0
    assert ended.lines[0]["decoded"]["name"] == "diagnosis"


def test_every_example_of_the_help_is_understood() -> None:
    examples = [line for line in examples_of("decode") if "<" not in line]

    ends = [run_agent(*line.split()[1:]) for line in examples]

    assert {line.split()[2] for line in examples} == set(registry.names())
    assert [one.code for one in ends] == [0] * len(examples)
    assert [one for one in ends if len(one.lines) != 1] == []


@pytest.mark.parametrize("protocol", registry.names())
def test_a_framing_that_there_is_not_is_named_with_those_there_are(protocol: str) -> None:
    ended = run_agent("decode", protocol, "--framing", "smoke", "00")

    assert (ended.code, ended.lines) == (2, [])
    assert ", ".join(registry.recorded_framings(protocol)) in ended.complaint


def test_the_help_names_every_framing() -> None:
    said = run_help("decode")

    for protocol in registry.names():
        (line,) = [one for one in said.splitlines() if one.strip().startswith(f"{protocol} ")]
        missing = [one for one in registry.recorded_framings(protocol) if one not in line]
        assert missing == []


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("ecr17", "010044494749544152452050494E20202020202020 04"), None),
        (("ecr17", "06 03 79"), "ack"),
        (("ecr17", "--framing", "apdu", b"123456780T000000000000123456000000".hex()), "response"),
        (("concert", "05"), "enq"),
        (("concert", LONG_ANSWER), "answer"),
    ],
)
def test_other_protocols_are_shown_too(arguments: tuple[str, ...], kind: str | None) -> None:
    ended = run_agent("decode", *arguments)

    assert (ended.code == 0) == (kind is not None)
    assert ended.lines[0].get("kind") == kind
    assert "4111111111111111" not in str(ended.lines)


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
