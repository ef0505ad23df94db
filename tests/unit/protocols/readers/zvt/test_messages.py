"""Every message of the sheet, byte for byte in both directions."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import MalformedMessage
from protocols.readers.emv import Tlv
from protocols.readers.zvt import bitmaps, messages, tlv
from protocols.readers.zvt.apdu import Apdu
from protocols.readers.zvt.bitmaps import BITMAPS, Fields
from protocols.readers.zvt.messages import MESSAGES, Message, decode_message, printed_text
from protocols.secret import Secret

PASSWORD = Secret("123456")
AT = datetime(2026, 1, 31, 23, 59, 58)  # noqa: DTZ001 - a terminal shows local wall time
FILE = (Tlv(0x2D, children=(Tlv(0x1D, b"\x23"), Tlv(0x1F00, bytes.fromhex("00333a47")))),)

TILL = [
    (
        messages.registration(PASSWORD, config_byte=0xBA, currency=978),
        "060006123456ba0978",
    ),
    (
        messages.registration(PASSWORD, config_byte=0xDE, currency=978, service_byte=2, objects=()),
        "06000a123456de097803020600",
    ),
    (
        messages.registration(
            PASSWORD, config_byte=0xBE, currency=None, objects=tlv.PRINT_BLOCKS_WANTED
        ),
        "06000c123456be060626040a0206d3",
    ),
    (
        messages.registration(PASSWORD, config_byte=0xBE, currency=756, objects=()),
        "060008123456be07560600",
    ),
    (messages.log_off(), "060200"),
    (messages.status_enquiry(), "050100"),
    (messages.status_enquiry(PASSWORD), "050103123456"),
    (messages.status_enquiry(PASSWORD, service_byte=4), "0501051234560304"),
    (messages.authorization(1234, 978), "06010a04000000001234490978"),
    (
        messages.authorization(1234, 978, timeout_s=30, payment_type=0x40),
        "06010e040000000012344909781940011e",
    ),
    (messages.authorization(1, 978, objects=()), "06010c040000000000014909780600"),
    (messages.reversal(PASSWORD, 231), "063006123456870231"),
    (
        messages.reversal(PASSWORD, 231, 1234, 978),
        "06301012345687023104000000001234490978",
    ),
    (messages.refund(PASSWORD, 1234, 978), "06310d12345604000000001234490978"),
    (messages.preauthorization(2500, 978), "06220a04000000002500490978"),
    (messages.book_partial(491, 1295, 978), "06230d87049104000000001295490978"),
    (messages.book_total(491, 1295, 978), "06240d87049104000000001295490978"),
    (messages.cancel_preauthorization(231, None, 978), "062506870231490978"),
    (messages.open_preauthorizations(), "06230387ffff"),
    (messages.end_of_day(PASSWORD), "065003123456"),
    (messages.read_totals(PASSWORD), "061003123456"),
    (messages.diagnosis(), "067000"),
    (messages.diagnosis(2), "06700506031b0102"),
    (messages.initialization(PASSWORD), "069303123456"),
    (messages.repeat_receipt(PASSWORD), "062003123456"),
    (messages.repeat_receipt(PASSWORD, service_byte=3), "0620051234560303"),
    (messages.reprint_receipts(PASSWORD, 12), "0612051234560012"),
    (messages.reprint_receipts(PASSWORD, 12, 15), "06120712345600120015"),
    (messages.reset(), "061800"),
    (messages.print_configuration(), "061a00"),
    (messages.set_terminal_id(PASSWORD, "52523535"), "061b081234562952523535"),
    (messages.set_terminal_id(PASSWORD, None), "061b03123456"),
    (messages.set_clock(PASSWORD, AT), "06910b123456aa2601310c235958"),
    (messages.abort(), "06b000"),
    (messages.read_card(15, card_type=0x10, dialog_control=2), "06c0050f1910fc02"),
    (
        messages.display_text(["Hallo", "Welt"], seconds=10, beeps=1),
        "06e013f00af1f0f548616c6c6ff2f0f457656c74f901",
    ),
    (messages.service_mode(), "080100"),
    (messages.service_mode(PASSWORD), "080103123456"),
    (messages.software_update(), "081000"),
    (
        messages.file_command(messages.WRITE_FILE, PASSWORD, FILE),
        "081411123456060c2d0a1d01231f000400333a47",
    ),
    (messages.file_command(messages.READ_FILE, PASSWORD, ()), "0811051234560600"),
    (messages.file_command(messages.DELETE_FILE, PASSWORD, ()), "0812051234560600"),
    (messages.file_command(messages.CHANGE_CONFIGURATION, PASSWORD, ()), "0813051234560600"),
    (messages.select_language(1), "08300101"),
    (messages.set_baud_rate(7), "08400107"),
    (messages.activate_reader(1), "085002fa01"),
    (messages.device_details(), "0fa1020001"),
    (messages.positive(), "800000"),
    (messages.positive(Fields.of({bitmaps.CONTAINER: FILE})), "80000e060c2d0a1d01231f000400333a47"),
    (messages.negative(0x9C), "849c00"),
    (messages.negative(0xCC), "84cc00"),
    (messages.partial_goods(500), "849d0704000000000500"),
]
TERMINAL = [
    (messages.intermediate_status(0x0A), "04ff010a"),
    (messages.intermediate_status(0x17, timeout_minutes=12), "04ff021712"),
    (
        messages.intermediate_status(0xFF, timeout_minutes=5, text="Bitte\nwarten"),
        "04ff15ff050611240f07054269747465070677617274656e",
    ),
    (messages.aborted(0x6C), "061e016c"),
    (messages.aborted(0x6F, currency=978), "061e036f0978"),
    (
        messages.aborted(0xB8, fields=Fields.of({bitmaps.RECEIPT: b"\xff\xff"})),
        "061e04b887ffff",
    ),
    (messages.completion(), "060f00"),
    (
        messages.completion(
            Fields.of(
                {
                    bitmaps.STATUS_BYTE: 0x10,
                    bitmaps.TERMINAL_ID: "52523535",
                    bitmaps.CURRENCY: 978,
                }
            )
        ),
        "060f0a19102952523535490978",
    ),
    (
        messages.status_completion(0, version="SIM 1.02.3"),
        "060f0ef0f1f0" + b"SIM 1.02.3".hex() + "00",
    ),
    (messages.status_completion(0xDC, version=None), "060f01dc"),
    (
        messages.status_completion(0x9C, version=None, objects=(Tlv(0x1F44, b"\x52\x52\x35\x35"),)),
        "060f0a9c06071f440452523535",
    ),
    (
        messages.status_information(
            Fields.of(
                {
                    bitmaps.RESULT: 0x6C,
                    bitmaps.TERMINAL_ID: "28004869",
                    bitmaps.ADDITIONAL_TEXT: "Abbruch",
                }
            )
        ),
        "040f12276c29280048693cf0f0f741626272756368",
    ),
    (messages.set_till_clock(AT), "040108aa2601310c235958"),
    (messages.print_line("RIEDG 50", attribute=0x40), "06d109405249454447203530"),
    (messages.print_line("", attribute=0x81), "06d10181"),
    (
        messages.print_line("BEZAHLT", attribute=0x40, receipt_kind=2),
        "06d10e4042455a41484c5406041f070102",
    ),
    (
        messages.print_block(2, ["A", "B"], last=True),
        "06d311060f1f07010225090701410701420901ff",
    ),
    (
        Message(
            messages.FILE_BLOCK_WANTED,
            fields=Fields.of(
                {
                    bitmaps.CONTAINER: (
                        Tlv(
                            0x2D,
                            children=(Tlv(0x1D, b"\x23"), Tlv(0x1E, bytes.fromhex("0000fde8"))),
                        ),
                    )
                }
            ),
        ),
        "040c0d060b2d091d01231e040000fde8",
    ),
]


@pytest.mark.parametrize(
    ("message", "encoded"), [*TILL, *TERMINAL], ids=[row[1] for row in [*TILL, *TERMINAL]]
)
def test_a_message_travels_as_the_sheet_says_and_comes_back(message: Message, encoded: str) -> None:
    decoded = decode_message(Apdu.decode(bytes.fromhex(encoded)))

    assert message.encode().hex() == encoded
    assert decoded.control == message.control
    assert decoded.head == message.head
    assert decoded.fields == message.fields
    assert decoded.encode().hex() == encoded


def test_the_password_is_never_shown() -> None:
    shown = [repr(message) + repr(message.apdu()) for message, _ in TILL]

    assert [text for text in shown if "123456" in text or "12\\x34" in text] == []
    assert any("•••" in text for text in shown)


@pytest.mark.parametrize("password", ["", "12345", "1234567", "12345x", "12 456", "      "])
def test_a_password_that_is_not_six_digits_is_refused_and_not_told(password: str) -> None:
    with pytest.raises(MalformedMessage) as refused:
        messages.end_of_day(Secret(password)).encode()

    assert not password.strip() or password not in str(refused.value)
    assert refused.value.__cause__ is None


# --- completions depend on what they answer ---


@pytest.mark.parametrize("answering", [None, messages.STATUS_ENQUIRY])
@pytest.mark.parametrize(
    ("content", "version", "status"),
    [
        ("dc", None, 0xDC),
        ("f0f1f0" + b"SIM 1.02.3".hex() + "00", "SIM 1.02.3", 0),
        ("f0f0f0" + "9c", "", 0x9C),
        ("f0f0f3" + b"A;B".hex() + "00" + "06071f440452523535", "A;B", 0),
        ("9c06071f440452523535", None, 0x9C),
    ],
)
def test_the_answer_to_a_status_enquiry_is_a_version_and_a_status(
    content: str, version: str | None, status: int, answering: int | None
) -> None:
    message = decode_message(Apdu(messages.COMPLETION, bytes.fromhex(content)), answering=answering)

    assert message.text("software_version") == version
    assert message.number("terminal_status") == status
    assert message.quirks == ()


def test_a_version_whose_length_lost_its_f_is_still_read_where_it_is_expected() -> None:
    content = bytes.fromhex("000004") + b"V1.0" + b"\x00"

    message = decode_message(Apdu(messages.COMPLETION, content), answering=messages.STATUS_ENQUIRY)

    assert message.text("software_version") == "V1.0"
    assert message.number("terminal_status") == 0


@pytest.mark.parametrize(
    ("tail", "voltage", "temperature"),
    [
        ("24.4", None, "24.4"),
        ("8.0", None, "8.0"),
        ("12.18.0", "12.1", "8.0"),
        ("12.124.4", "12.1", "24.4"),
    ],
)
@pytest.mark.parametrize("answering", [None, messages.VENDOR_FUNCTION])
def test_the_answer_to_a_vendor_function_is_columns_of_text(
    tail: str, voltage: str | None, temperature: str, answering: int | None
) -> None:
    content = b"17FD1E3CGER-APP-v2.0.9   52523535" + tail.encode()

    message = decode_message(Apdu(messages.COMPLETION, content), answering=answering)

    assert message.text("device_id") == "17FD1E3C"
    assert message.text("software_version") == "GER-APP-v2.0.9"
    assert message.text("terminal_id") == "52523535"
    assert message.text("voltage") == voltage
    assert message.text("temperature") == temperature
    assert message.apdu().content == content


def test_a_registration_is_completed_with_bitmaps_even_where_they_look_like_a_status() -> None:
    message = decode_message(
        Apdu(messages.COMPLETION, bytes.fromhex("1910")), answering=messages.REGISTRATION
    )

    assert message.fields.number(bitmaps.STATUS_BYTE) == 0x10
    assert message.number("terminal_status") is None


# --- heads that may be shorter ---


@pytest.mark.parametrize(
    ("encoded", "head"),
    [
        ("060004123456be", {"config_byte": 0xBE}),
        ("060006123456be0600", {"config_byte": 0xBE}),
        ("060006123456be0643", {"config_byte": 0xBE, "currency": 643}),
        ("04ff020a06", {"intermediate_status": 0x0A, "timeout_minutes": 6}),
        ("04ff030a0600", {"intermediate_status": 0x0A}),
        ("061e0167", {"result_code": 0x67}),
        ("061e03ff0600", {"result_code": 0xFF}),
        ("841e0100", {"result_code": 0x00}),
        ("841e036f0978", {"result_code": 0x6F, "currency": 978}),
        ("0813020600", {}),
    ],
)
def test_optional_parts_of_a_head_may_be_left_out(encoded: str, head: dict[str, int]) -> None:
    message = decode_message(Apdu.decode(bytes.fromhex(encoded)))

    assert {name: value for name, value in message.head.items() if name != "password"} == head
    assert message.encode().hex() == encoded


@pytest.mark.parametrize(
    "encoded", ["06000212 34", "061e00", "04ff00", "06c000", "065001aa", "083000"]
)
def test_a_head_that_is_cut_off_stays_opaque(encoded: str) -> None:
    raw = bytes.fromhex(encoded)

    message = decode_message(Apdu.decode(raw))

    assert message.quirks == ("truncated_head",)
    assert message.encode() == raw


def test_an_unknown_message_stays_opaque_and_hidden() -> None:
    raw = bytes.fromhex("0499084111111111111111")

    message = decode_message(Apdu.decode(raw))

    assert message.quirks == ("unknown_message",)
    assert "4111" not in repr(message)
    assert message.encode() == raw


# --- printing ---


def test_lines_of_a_block_are_joined_and_end_with_an_attribute() -> None:
    first = printed_text(messages.print_block(1, ["eins", "zwei"], last=False))
    last = printed_text(messages.print_block(1, ["drei"], last=True))

    assert (first.lines, first.is_last, first.receipt_kind) == (("eins", "zwei"), False, 1)
    assert (last.lines, last.is_last, last.receipt_kind) == (("drei",), True, 1)


@pytest.mark.parametrize(
    ("encoded", "lines", "last"),
    [
        ("06d10140", ("",), False),
        ("06d10200 20", (" ",), False),
        ("06d10181", (), True),
        ("06d10180", ("",), False),
        ("06d10281 41", ("A",), True),
        ("06d102ff03", ("", "", ""), False),
        ("06d101ff", ("",), False),
        ("06d10200 84", ("ä",), False),
    ],
)
def test_print_lines_with_their_attributes(
    encoded: str, lines: tuple[str, ...], last: bool
) -> None:
    printed = printed_text(decode_message(Apdu.decode(bytes.fromhex(encoded))))

    assert (printed.lines, printed.is_last) == (lines, last)


def test_a_container_behind_a_print_line_is_no_text() -> None:
    message = decode_message(Apdu(messages.PRINT_LINE, b"\x40Danke\x06\x04\x1f\x07\x01\x02"))

    assert message.text("text") == "Danke"
    assert message.number("receipt_kind") == 2
    assert message.quirks == ("container_after_print_line",)
    assert printed_text(message).receipt_kind == 2


def test_a_block_of_64_kilobytes_is_read() -> None:
    lines = [f"{number:04d} " + "." * 30 for number in range(1600)]
    message = messages.print_block(3, lines, last=True)

    encoded = message.encode()
    decoded = decode_message(Apdu.decode(encoded))

    assert encoded[2] == 0xFF
    assert len(encoded) > 59_000
    assert printed_text(decoded).lines == tuple(lines)


def test_a_block_may_choose_its_character_set() -> None:
    objects = (
        Tlv(tlv.CHARACTER_SET, b"\xfe"),
        Tlv(tlv.RECEIPT_KIND, b"\x02"),
        Tlv(tlv.PRINT_TEXTS, children=(Tlv(tlv.TEXT_LINE, "gültig €".encode()),)),
    )
    message = Message(messages.PRINT_BLOCK, fields=Fields.of({bitmaps.CONTAINER: objects}))

    assert printed_text(message).lines == ("gültig €",)


def test_card_numbers_in_printed_text_are_masked_and_counted() -> None:
    line = decode_message(Apdu(messages.PRINT_LINE, b"\x00Nr 4111 1111 1111 1111"))
    block = decode_message(messages.print_block(1, ["Nr 4111111111111111"], last=True).apdu())

    assert line.text("text") == "Nr 4111 11** **** 1111"
    assert printed_text(block).lines == ("Nr 411111******1111",)
    assert line.quirks == block.quirks == ("pan_in_clear",)


def test_a_display_text_in_an_intermediate_status_is_found() -> None:
    message = messages.intermediate_status(0xFF, text="Bitte\nwarten")

    assert messages.display_texts(message) == "Bitte warten"
    assert messages.display_texts(messages.intermediate_status(0x0A)) == ""


@pytest.mark.parametrize(
    ("encoded", "minutes"),
    [("04ff010a", None), ("04ff020a12", 12), ("04ff020a00", None), ("04ff020aff", None)],
)
def test_an_intermediate_status_may_carry_minutes_in_bcd(encoded: str, minutes: int | None) -> None:
    assert messages.minutes_of(decode_message(Apdu.decode(bytes.fromhex(encoded)))) == minutes


def test_more_lines_than_a_display_has_are_refused() -> None:
    with pytest.raises(MalformedMessage):
        messages.display_text(["x"] * 9, seconds=1)
    with pytest.raises(MalformedMessage):
        messages.display_text(["x" * 100], seconds=1)


# --- anything at all ---


def _clean_fields() -> st.SearchStrategy[Fields]:
    values: dict[int, st.SearchStrategy[bitmaps.Value]] = {
        bitmaps.AMOUNT: st.integers(0, 10**12 - 1),
        bitmaps.CURRENCY: st.integers(0, 9999),
        bitmaps.RESULT: st.integers(0, 255),
        bitmaps.TRACE: st.integers(0, 999_999),
        bitmaps.TERMINAL_ID: st.text("0123456789", min_size=8, max_size=8),
        bitmaps.CARD_NAME: st.text("abc ", min_size=1, max_size=20),
        bitmaps.RECEIPT: st.integers(0, 9999),
        bitmaps.PAN: st.just("679998******2345"),
    }
    return st.fixed_dictionaries({}, optional=values).map(Fields.of)


@given(
    st.sampled_from(
        sorted(control for control, kind in MESSAGES.items() if not kind.head and kind.has_fields)
    ),
    _clean_fields(),
)
def test_any_message_of_bitmaps_survives_the_wire(control: int, fields: Fields) -> None:
    message = Message(control, fields=fields)
    if control == messages.COMPLETION and len(message.apdu().content) == 1:
        return

    decoded = decode_message(message.apdu(), answering=messages.AUTHORIZATION)

    assert decoded == message


@given(
    st.integers(0, 0xFFFF) | st.sampled_from(sorted(MESSAGES)),
    st.binary(max_size=700),
    st.none() | st.sampled_from(sorted(MESSAGES)),
)
def test_random_content_becomes_a_message(
    control: int, noise: bytes, answering: int | None
) -> None:
    message = decode_message(Apdu(control, noise), answering=answering)

    printed_text(message)
    messages.display_texts(message)
    messages.minutes_of(message)
    for bitmap in BITMAPS:
        message.fields.value(bitmap)
    assert message.control == control
    assert messages.name_of(control) != ""
