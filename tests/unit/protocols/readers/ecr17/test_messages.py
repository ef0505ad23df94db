"""Every request and response, position by position, and known messages of other implementations."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import MalformedMessage
from protocols.readers.ecr17 import codes, messages
from protocols.readers.ecr17.decode import describe
from protocols.readers.ecr17.frames import Application, FrameStream, LrcMode, encode_frame

VECTORS = [
    json.loads(line) for line in (Path(__file__).parent / "vectors.jsonl").read_text().splitlines()
]
Vector = dict[str, Any]  # one line of the file


@pytest.mark.parametrize("vector", VECTORS, ids=lambda one: one["expect"]["payload_ascii"][9])
def test_known_frames_are_cut_and_made_again(vector: Vector) -> None:
    mode = LrcMode(vector["lrc_mode"])
    recorded = bytes.fromhex(vector["hex"])

    frames = FrameStream(mode).feed(recorded)

    payload = vector["expect"]["payload_ascii"].encode()
    assert frames == [Application(payload)]
    assert encode_frame(payload, mode) == recorded
    assert len(payload) == vector["expect"]["length"]


def test_a_payment_is_asked_as_other_tills_do() -> None:
    mine = messages.request(
        "P", "00000000", register="00000007", tags=0, card_in=1, card_type=1, amount=1
    )
    extended = messages.request(
        "X",
        "00000001",
        register="00000002",
        tags=0,
        card_in=0,
        card_type=3,
        amount=12345,
        text="X" * 128,
    )

    assert mine.decode() == VECTORS[0]["expect"]["payload_ascii"]
    assert extended.decode() == VECTORS[1]["expect"]["payload_ascii"]


def test_the_last_result_and_tags_are_asked_as_other_tills_do() -> None:
    last = messages.request("G", "12345678", register="87654321", tags=0)
    tags = messages.request(
        "U", "12345678", tag="DF8D01", content="0COF0TRK1666354841608|0FNZ03\x1b"
    )

    assert last.decode() == VECTORS[2]["expect"]["payload_ascii"]
    assert tags.decode() == VECTORS[3]["expect"]["payload_ascii"]


def test_a_known_result_with_exchange_is_read_and_its_number_masked() -> None:
    message = messages.decode_response(VECTORS[4]["expect"]["payload_ascii"].encode())

    fields = VECTORS[4]["expect"]["fields"]
    assert message.result == fields["resultCode"]
    assert message.values["pan"] == "******1111"
    assert message.values["entry"] == fields["transactionType"]
    assert message.values["authorization"] == fields["authCode"]
    assert message.values["time"] == fields["hostDateTime"]
    assert message.values["acquirer"] == fields["acquirerId"]
    assert (message.values["stan"], message.values["online"]) == ("000042", "000099")
    assert message.values["exchange_currency"] == fields["currency"]["currencyCode"]
    assert message.values["exchange_amount"] == fields["currency"]["amount"]
    assert message.values["rate"] == fields["currency"]["rate"]
    assert message.values["decimals"] == fields["currency"]["precision"]


def test_known_totals_and_wallet_results_are_read() -> None:
    totals = messages.decode_response(VECTORS[5]["expect"]["payload_ascii"].encode())
    wallet = messages.decode_response(VECTORS[6]["expect"]["payload_ascii"].encode())

    assert totals.number("total") == 123456
    assert wallet.values["number"] == "001"
    assert wallet.values["more"] == "0"
    assert wallet.values["xml"] == VECTORS[6]["expect"]["fields"]["rawXml"]


@pytest.mark.parametrize(
    ("code", "length"),
    [
        ("s", 10),
        ("P", 167),
        ("X", 167),
        ("p", 167),
        ("i", 176),
        ("c", 176),
        ("S", 26),
        ("H", 39),
        ("C", 26),
        ("T", 26),
        ("G", 22),
        ("E", 11),
        ("R", 22),
    ],
)
def test_requests_have_the_length_of_the_sheet(code: str, length: int) -> None:
    request = messages.request(code, "12345678")

    assert len(request) == length
    assert messages.decode_request(request).code == code
    assert messages.decode_message(request).is_request


@pytest.mark.parametrize(
    ("code", "result", "length"),
    [
        ("E", "00", 92),
        ("E", "01", 92),
        ("V", "00", 117),
        ("c", "00", 74),
        ("c", "01", 74),
        ("v", "00", 117),
        ("e", "00", 94),
        ("e", "01", 94),
        ("i", "00", 73),
        ("i", "01", 73),
        ("T", "00", 34),
        ("C", "00", 44),
        ("C", "01", 34),
    ],
)
def test_results_have_the_length_of_the_sheet(code: str, result: str, length: int) -> None:
    response = messages.response(code, "12345678", result=result)

    assert len(response) == length
    assert messages.decode_response(response).result == result


#: Field, first and last position as the sheet counts, for a success unless told otherwise.
PLACES = [
    ("E", "00", {"pan": (13, 31), "entry": (32, 34), "authorization": (35, 40), "time": (41, 47)}),
    ("E", "01", {"reason": (13, 36), "card_type": (48, 48), "acquirer": (49, 59)}),
    ("E", "00", {"stan": (60, 65), "online": (66, 71), "action": (72, 74), "amount": (75, 82)}),
    ("V", "00", {"amount": (75, 82), "exchanged": (83, 83), "rate": (84, 91)}),
    ("V", "00", {"exchange_currency": (92, 94), "exchange_amount": (95, 106)}),
    ("V", "00", {"decimals": (107, 107)}),
    ("v", "00", {"amount": (75, 82), "decimals": (107, 107)}),
    ("e", "00", {"amount": (41, 48), "preauthorization": (49, 57), "action": (58, 60)}),
    ("e", "00", {"time": (61, 67), "acquirer": (72, 82), "stan": (83, 88), "online": (89, 94)}),
    ("e", "01", {"reason": (13, 36), "action": (37, 39), "card_type": (48, 48), "stan": (83, 88)}),
    ("i", "00", {"acquirer": (35, 45), "authorization": (46, 51), "stan": (52, 57)}),
    ("i", "00", {"online": (58, 63), "time": (64, 70), "action": (71, 73)}),
    ("C", "00", {"total": (13, 28), "host_total": (29, 44)}),
    ("C", "01", {"reason": (13, 31), "action": (32, 34)}),
]


@pytest.mark.parametrize(("code", "result", "places"), PLACES)
def test_each_field_stands_where_the_sheet_puts_it(
    code: str, result: str, places: dict[str, tuple[int, int]]
) -> None:
    values: dict[str, Any] = {  # of response
        name: "7" * (last - first + 1) for name, (first, last) in places.items()
    }

    response = messages.response(code, "12345678", result=result, **values).decode()

    stands = {name: response[first - 1 : last] for name, (first, last) in places.items()}
    assert stands == values


@pytest.mark.parametrize(
    ("code", "places"),
    [
        ("P", {"register": (11, 18), "tags": (19, 19), "card_in": (22, 22), "card_type": (23, 23)}),
        ("P", {"amount": (24, 31), "text": (32, 159)}),
        ("i", {"amount": (24, 31), "text": (32, 159), "preauthorization": (160, 168)}),
        ("S", {"stan": (19, 24), "tags": (25, 25)}),
        ("H", {"card_type": (23, 23)}),
        ("R", {"to_till": (11, 11), "ticket": (12, 12)}),
        ("U", {"tag": (19, 26), "map": (28, 31), "content": (37, 50)}),
        ("K", {"length": (23, 26), "xml": (27, 60)}),
    ],
)
def test_each_field_is_asked_where_the_sheet_puts_it(
    code: str, places: dict[str, tuple[int, int]]
) -> None:
    values = {name: "7" * (last - first + 1) for name, (first, last) in places.items()}

    request = messages.request(code, "12345678", **values)

    written = request.decode()
    stands = {name: written[first - 1 : last] for name, (first, last) in places.items()}
    assert stands == values
    assert dict(messages.decode_request(request).values).items() >= values.items()


def test_a_status_tells_clock_digit_and_release() -> None:
    payload = b"123456780s0000000000" + b"0201260915" + b"2" + b"REL00001" + b"DLL2    "

    message = messages.decode_response(payload)

    assert messages.clock(message) == (date(2026, 1, 2), "0915")
    assert message.number("status") == 2
    assert messages.releases(message) == ("REL00001", "DLL2")


@pytest.mark.parametrize(
    ("written", "today", "seen"),
    [
        ("0010005", date(2026, 1, 1), ("0101", "0005")),
        ("3652359", date(2026, 1, 1), ("1231", "2359")),
        ("3662359", date(2025, 1, 1), ("1231", "2359")),
        ("3662359", date(2026, 1, 1), None),
        ("0600900", date(2024, 3, 1), ("0229", "0900")),
        ("0600900", date(2025, 3, 1), ("0301", "0900")),
        ("0020001", date(2026, 1, 1), ("0102", "0001")),
        ("0000000", date(2026, 1, 1), None),
        ("9990000", date(2026, 1, 1), None),
        ("0012400", date(2026, 1, 1), None),
        ("0010005", None, None),
    ],
)
def test_the_year_of_a_host_time_is_that_of_the_terminals_clock(
    written: str, today: date | None, seen: tuple[str, str] | None
) -> None:
    message = messages.Message("E", "12345678", {"time": written})

    assert messages.host_time(message, today) == seen


def test_a_receipt_is_cut_into_lines() -> None:
    assert messages.printed_lines("UNO\x7d\x7fDUE \x7dTRE\x7d\x1b") == ("UNO", "", "DUE", "TRE", "")


def test_a_host_tag_is_cut_by_its_length() -> None:
    message = messages.decode_response(b"123456780U000000" + b"005" + b"HELLO" + b"0" * 10)

    assert message.values["content"] == "HELLO"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"123",
        b"123456780",
        b"123456780Z",
        b"123456780E",
        b"123456780E0",
        b"123456780Exx",
        b"\xff23456780E00",
    ],
)
def test_what_is_no_response_is_refused(payload: bytes) -> None:
    with pytest.raises(MalformedMessage):
        messages.decode_response(payload)


@pytest.mark.parametrize(
    "values", [{"amount": "123456789"}, {"amount": "-1"}, {"text": "é"}, {"nonsense": "1"}]
)
def test_what_does_not_fit_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(MalformedMessage):
        messages.request("P", "12345678", **values)


def test_a_clear_number_is_never_in_a_message() -> None:
    number = "4111111111111111"
    result = messages.response("E", "12345678", result="00", pan=number)
    receipt = messages.response("S", "12345678", receipt=f"PAN {number}\x7d\x1b")
    reason = messages.response("E", "12345678", result="01", reason=number)

    seen = [messages.decode_response(one) for one in (result, receipt, reason)]

    assert number not in repr(seen)
    assert seen[0].values["pan"] == "411111******1111"
    assert [
        describe(encode_frame(one, LrcMode.STD))["code"] for one in (result, receipt, reason)
    ] == ["E", "S", "E"]
    assert number not in str(
        [describe(encode_frame(one, LrcMode.STD)) for one in (result, receipt)]
    )


@pytest.mark.parametrize("mode", LrcMode)
def test_a_described_frame_tells_its_lrc_mode(mode: LrcMode) -> None:
    described = describe(encode_frame(b"123456780s", mode))

    assert described["kind"] == "request"
    assert mode in str(described["lrc_mode"]).split(", ")


def test_progress_and_signals_are_described() -> None:
    assert describe(b"\x01DIGITARE PIN        \x04")["step"] == "enter_pin"
    assert describe(bytes.fromhex("060379"))["kind"] == "ack"
    assert describe(bytes.fromhex("15036A"))["kind"] == "nak"
    assert describe(b"123456780T000000000000123456000000", framing="apdu")["name"] == "totals"


@pytest.mark.parametrize("recorded", [b"", b"\x06", b"\x02abc", b"\x02abc\x03\x00", b"\x00"])
def test_what_is_no_frame_is_not_described(recorded: bytes) -> None:
    with pytest.raises(MalformedMessage):
        describe(recorded)


_TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7D), max_size=20)


@given(st.sampled_from(sorted(codes.RESPONSES)), _TEXT)
def test_any_response_is_read_or_refused(code: str, rest: str) -> None:
    payload = f"123456780{code}{rest}".encode()
    try:
        message = messages.decode_response(payload)
    except MalformedMessage:
        return
    assert message.code == code
    assert message.terminal_id == "12345678"


@given(
    st.sampled_from(["P", "X", "p"]),
    st.integers(0, messages.LARGEST_AMOUNT),
    st.integers(0, 3),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7A), max_size=128),
)
def test_what_is_asked_is_what_is_read(code: str, amount: int, card_type: int, text: str) -> None:
    request = messages.request(code, "12345678", amount=amount, card_type=card_type, text=text)

    read = messages.decode_request(request)

    assert (read.number("amount"), read.number("card_type")) == (amount, card_type)
    assert len(request) == 167
