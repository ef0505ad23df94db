"""Card data: what passes on unopened, what may be known, and what must not go on."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import MalformedMessage
from protocols.readers import emv
from protocols.readers.emv import Tlv
from protocols.readers.idtech_neo import frames, sealed, tap
from protocols.readers.idtech_neo.decode import describe
from protocols.readers.idtech_neo.frames import Frame
from protocols.readers.idtech_neo.sealed import Attribution, CardData, Form, Item, Refused, Source

NUMBER = "4761739001010119"
TRACK = bytes.fromhex(f"{NUMBER}d30122011234567890")
TRACK_2 = f";{NUMBER}=30122011234567890?".encode()
TRACK_1 = f"%B{NUMBER}^CARDHOLDER/TEST^30122011234567890?".encode()
KEYS = {
    "dukpt-tdes": (
        bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"),
        bytes.fromhex("FFFF9876543210E00001"),
    ),
    "dukpt-aes": (
        bytes.fromhex("FEDCBA9876543210F1F1F1F1F1F1F1F1"),
        bytes.fromhex("123456789012345600000001"),
    ),
}
CHIP = (
    Tlv(0x57, TRACK),
    Tlv(0x5A, bytes.fromhex(NUMBER)),
    Tlv(0x5F20, b"CARDHOLDER/TEST"),
    Tlv(0x9F06, bytes.fromhex("A0000000031010")),
    Tlv(0x9F27, b"\x80"),
    Tlv(0x9F39, b"\x07"),
    Tlv(0xFFEE01, children=(Tlv(0xDF30, b"\x00"),)),
)
SWIPE = (Tlv(tap.TRACK_1, TRACK_1), Tlv(tap.TRACK_2, TRACK_2), Tlv(0x9F39, b"\x90"))
# A record that a test script of the maker's shows, with its own published test card, as far as it concerns us.
PUBLIC_RECORD = bytes.fromhex(
    "e1dfee120affffff0200223d20000fdfee2602e100dfee4c0103dfef4c06000000000000dfef4d00"
    "4f07a0000000041010500a4d617374657243617264"
    "57a1125413cccccccc1513d2012ccccccccccccccc57c118855a31e91d0641d4c0c681a30fd97a86fc1af00891bc8352"
    "5aa1085413cccccccc15135ac110cca41680b767ba798e9aa28a3d825fa4"
    "5f24032012319f2701809f1e0839543139303432389f390107"
)


def built(scheme: str, clear: tuple[Tlv, ...], source: Source, *, is_sealed: bool = True) -> bytes:
    bdk, ksn = KEYS[scheme]
    head = bytes((Attribution(source, scheme, is_sealed).byte(),))
    return head + tap.build(clear, bdk=bdk, ksn=ksn, scheme=scheme, serial=b"V0000001")


def opened(data: bytes, scheme: str) -> tuple[Tlv, ...]:
    bdk, ksn = KEYS[scheme]
    return tap.open_clear(data, bdk=bdk, ksn=ksn, scheme=scheme)


@pytest.mark.parametrize("scheme", KEYS)
def test_what_a_reader_seals_passes_on_and_opens_at_the_acquirer(scheme: str) -> None:
    read = sealed.read(built(scheme, CHIP, Source.CONTACTLESS), "V0000001")

    assert isinstance(read, CardData)
    assert (read.tap.scheme, read.tap.ksn, read.tap.format) == (
        scheme,
        KEYS[scheme][1],
        "idtech_neo",
    )
    assert read.tap.serial_number == "V0000001"
    assert read.tap.card.masked_pan == "4761********0119"
    assert (read.tap.card.brand, read.tap.card.entry_mode) == ("Visa", "contactless")
    assert read.cryptogram == 0x80
    clear = opened(read.tap.data, scheme)
    assert [emv.find(clear, tag) for tag in (0x57, 0x5A, 0x5F20)] == list(CHIP[:3])
    assert emv.find(clear, 0x9F27) == Tlv(0x9F27, b"\x80")


@pytest.mark.parametrize("scheme", KEYS)
def test_a_swipe_passes_on_without_the_holders_name(scheme: str) -> None:
    read = sealed.read(built(scheme, SWIPE, Source.SWIPE))

    assert isinstance(read, CardData)
    assert read.tap.card.masked_pan == "4761********0119"
    assert (read.tap.card.brand, read.tap.card.entry_mode) == ("Visa", "magstripe")
    assert b"CARDHOLDER" not in read.tap.data
    clear = opened(read.tap.data, scheme)
    assert [emv.find(clear, tag) for tag in (tap.TRACK_1, tap.TRACK_2)] == list(SWIPE[:2])
    assert emv.find(clear, 0x57) == Tlv(0x57, bytes.fromhex(f"{NUMBER}d30122011234567890"))


def test_a_record_that_the_maker_published_is_understood() -> None:
    read = sealed.read(PUBLIC_RECORD)

    assert isinstance(read, CardData)
    assert read.source is Source.CONTACTLESS
    assert read.tap.ksn.hex() == "ffffff0200223d20000f"
    assert read.tap.serial_number == "9T190428"
    assert read.tap.card.masked_pan == "5413********1513"
    assert read.tap.data == PUBLIC_RECORD[1:]


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("scheme", KEYS)
@pytest.mark.parametrize("is_sealed", [True, False])
def test_the_first_byte_tells_source_cipher_and_sealing(
    source: Source, scheme: str, is_sealed: bool
) -> None:
    attribution = Attribution(source, scheme, is_sealed)

    assert Attribution.read(attribution.byte()) == attribution


@pytest.mark.parametrize(
    ("byte", "is_sealed"), [(0x41, True), (0x81, False), (0x88, True), (0x48, False), (0x91, True)]
)
def test_only_the_bit_of_its_own_kind_tells_whether_a_card_is_sealed(
    byte: int, is_sealed: bool
) -> None:
    attribution = Attribution.read(byte)

    assert attribution is not None
    assert attribution.is_sealed is is_sealed


@pytest.mark.parametrize(
    "data",
    [
        built("dukpt-tdes", CHIP, Source.CONTACTLESS, is_sealed=False),
        b"\xc1" + emv.encode_tlv(CHIP),
        b"\xc1" + emv.encode_tlv((Tlv(0xDFEE12, KEYS["dukpt-tdes"][1]), CHIP[0])),
        # The masked form is not masked.
        b"\xc1" + sealed.encode((Item(0x5A, bytes.fromhex(NUMBER), Form.MASKED),)),
        b"\xc1" + sealed.encode((Item(0x5A, bytes.fromhex("4761739001c10119"), Form.MASKED),)),
        b"\xc1" + TRACK_2,
    ],
    ids=[
        "bit says so",
        "clear objects",
        "clear track",
        "mask that masks nothing",
        "mask of one digit",
        "malformed",
    ],
)
def test_a_number_that_can_be_read_is_refused_as_clear(data: bytes) -> None:
    read = sealed.read(data)

    assert isinstance(read, Refused)
    assert read.is_clear
    assert NUMBER not in repr(read)


def test_a_swipe_with_a_track_that_was_not_sealed_is_refused_as_clear() -> None:
    stripe = sealed.Stripe("dukpt-tdes", (0, len(TRACK_2), 0), (b"", TRACK_2, b""), (b"", b"", b""))
    data = b"\xc8" + sealed.encode(
        (Item(sealed.KSN, bytes(10)), Item(sealed.STRIPE, stripe.encode()))
    )

    read = sealed.read(data)

    assert isinstance(read, Refused)
    assert read.is_clear


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xc1", b"\xc1\x57", b"\xc1\xdf\xee\x12\x02ab"])
def test_what_makes_no_sense_is_refused(data: bytes) -> None:
    read = sealed.read(data)

    assert isinstance(read, Refused)
    assert not read.is_clear


def test_another_key_does_not_open_it() -> None:
    data = built("dukpt-tdes", CHIP, Source.CONTACTLESS)[1:]

    with pytest.raises(MalformedMessage):
        tap.open_clear(data, bdk=bytes(16), ksn=KEYS["dukpt-tdes"][1], scheme="dukpt-tdes")
    with pytest.raises(MalformedMessage):
        opened(b"\xdf\xee\x12\x01\x00", "dukpt-tdes")


def test_lengths_with_a_flag_are_read_short_and_long() -> None:
    assert sealed.parse(bytes.fromhex("5aa84761cccccccc0119")) == (
        Item(0x5A, bytes.fromhex("4761cccccccc0119"), Form.MASKED),
    )
    assert sealed.parse(bytes.fromhex("5ac1024711")) == (Item(0x5A, b"\x47\x11", Form.SEALED),)


@given(st.binary(max_size=120))
@settings(max_examples=200)
def test_no_bytes_make_reading_raise_and_no_number_gets_through(data: bytes) -> None:
    read = sealed.read(data)

    assert isinstance(read, CardData | Refused)
    sealed.error_of(data)


@given(st.binary(max_size=60), st.integers(0, 200), st.binary(min_size=1, max_size=3))
@settings(max_examples=150)
def test_a_good_record_that_was_damaged_is_read_or_refused(
    more: bytes, at: int, instead: bytes
) -> None:
    data = bytearray(built("dukpt-tdes", SWIPE, Source.SWIPE) + more)
    data[at : at + len(instead)] = instead

    assert isinstance(sealed.read(bytes(data)), CardData | Refused)


@pytest.mark.parametrize(
    "data",
    [b"\x01" + emv.encode_tlv(CHIP), b"\xc8" + TRACK_2, built("dukpt-aes", SWIPE, Source.SWIPE)],
)
def test_an_answer_is_described_without_its_card(data: bytes) -> None:
    encoded = frames.encode(Frame(0x02, 0x23, data, is_high_first=True))

    described = repr(describe(encoded, framing="serial"))

    assert NUMBER not in described
    assert TRACK.hex() not in described
    assert b"CARDHOLDER".hex() not in described
