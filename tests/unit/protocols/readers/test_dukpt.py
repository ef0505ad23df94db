"""DUKPT against the numbers that the standards publish."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import CommandNotPossible, MalformedMessage
from protocols.readers import dukpt, ksn

# ANSI X9.24-1 annex A and X9.24-3 supplement: base keys, numbers and keys as published.
TDES_BDK = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
TDES_KSN = bytes.fromhex("FFFF9876543210E00001")
AES_BDK = bytes.fromhex("FEDCBA9876543210F1F1F1F1F1F1F1F1")
AES_KSN = bytes.fromhex("123456789012345600000001")


def tdes_ksn(count: int) -> bytes:
    return (int.from_bytes(TDES_KSN, "big") - 1 + count).to_bytes(10, "big")


def aes_ksn(count: int) -> bytes:
    return AES_KSN[:8] + count.to_bytes(4, "big")


def test_the_initial_keys_are_the_published_ones() -> None:
    assert dukpt.initial_key_tdes(TDES_BDK, TDES_KSN).hex() == "6ac292faa1315b4d858ab3a3d7d5933a"
    assert dukpt.initial_key_aes(AES_BDK, AES_KSN).hex() == "1273671ea26ac29afa4d1084127652a1"


@pytest.mark.parametrize(
    ("count", "key"),
    [
        (1, "042666B49184CFA368DE9628D0397BC9"),
        (2, "C46551CEF9FD24B0AA9AD834130D3BC7"),
        (3, "0DF3D9422ACA56E547676D07AD6BADFA"),
        (4, "279C0F6AEED0BE652B2C733E1383AE91"),
        (5, "5F8DC6D2C845C125508DDC048093B83F"),
        (0xFF800, "F9CDFEBF4F5B1D9EB3EC12454527E176"),
    ],
)
def test_a_tdes_key_of_a_use_is_the_published_one(count: int, key: str) -> None:
    assert dukpt.derive_tdes(TDES_BDK, tdes_ksn(count)).hex().upper() == key


@pytest.mark.parametrize(
    ("count", "key"),
    [
        (1, "448D3F076D8304036A55A3D7E0055A78"),
        (2, "F1BE73B36135C5C26CF937D50ABBE5AF"),
        (3, "EEEEF522C67239E4A2A65FEBF4C511F4"),
        (4, "BCF2610997C3AC3C5F13AE965A1B773B"),
    ],
)
def test_a_tdes_key_for_data_is_the_published_one(count: int, key: str) -> None:
    assert dukpt.data_key_tdes(TDES_BDK, tdes_ksn(count)).hex().upper() == key


def test_tdes_data_are_sealed_as_published() -> None:
    sealed = dukpt.encrypt("dukpt-tdes", TDES_BDK, TDES_KSN, b"4012345678909D987")

    assert sealed.hex().upper() == "FC0D53B7EA1FDA9EE68AAF2E70D9B9506229BE2AA993F04F"


@pytest.mark.parametrize(
    ("count", "key"),
    [
        (1, "4F21B565BAD9835E112B6465635EAE44"),
        (2, "2F34D68DE10F68D38091A73B9E7C437C"),
        (3, "031504E530365CF81264238540518318"),
        (8, "718EE6CF0B27E53D5F7AF99C4D8146A2"),
        (0x1FFFE, "E21E8C8D347F8561A2BE752DAA85A111"),
        (0x20000, "F7AE9025468A25D37B7249CFFED224C8"),
        (0xFFFF0000, "F6BA59389BD14A9855BE9727E7C52E3C"),
    ],
)
def test_an_aes_key_of_a_use_is_the_published_one(count: int, key: str) -> None:
    assert dukpt.derive_aes(AES_BDK, aes_ksn(count)).hex().upper() == key


@pytest.mark.parametrize(
    ("count", "key"),
    [
        (1, "A35C412EFD41FDB98B69797C02DCD08F"),
        (2, "D639514AA33AC43AD9229E433D6D4E5B"),
        (3, "EF17F6AB45B4820C93A3DCB21BC491AD"),
        (8, "650F34204ABD4E57764D61AC3D266FB1"),
    ],
)
def test_an_aes_key_for_data_is_the_published_one(count: int, key: str) -> None:
    assert dukpt.data_key_aes(AES_BDK, aes_ksn(count)).hex().upper() == key


@given(
    st.sampled_from([("dukpt-tdes", TDES_BDK, TDES_KSN), ("dukpt-aes", AES_BDK, AES_KSN)]),
    st.binary(max_size=100),
)
@settings(max_examples=50)
def test_what_was_sealed_opens_to_the_same_with_zeros_behind(
    scheme: tuple[str, bytes, bytes], clear: bytes
) -> None:
    sealed = dukpt.encrypt(*scheme, clear)
    opened = dukpt.decrypt(*scheme, sealed)

    assert len(sealed) % dukpt.BLOCK_BYTES[scheme[0]] == 0
    assert opened[: len(clear)] == clear
    assert not opened[len(clear) :].strip(b"\0")


@pytest.mark.parametrize(
    ("scheme", "bdk", "number", "sealed"),
    [
        ("dukpt-des", TDES_BDK, TDES_KSN, b""),
        ("dukpt-aes", TDES_BDK, TDES_KSN, b""),
        ("dukpt-tdes", AES_BDK, AES_KSN, b""),
        ("dukpt-tdes", TDES_BDK[:8], TDES_KSN, b""),
        ("dukpt-tdes", TDES_BDK, TDES_KSN, bytes(9)),
        ("dukpt-aes", AES_BDK, AES_KSN, bytes(8)),
    ],
)
def test_what_does_not_fit_together_is_refused(
    scheme: str, bdk: bytes, number: bytes, sealed: bytes
) -> None:
    with pytest.raises(MalformedMessage):
        dukpt.decrypt(scheme, bdk, number, sealed)


def test_a_number_tells_its_key_and_its_use() -> None:
    assert ksn.counter(tdes_ksn(0x12345)) == 0x12345
    assert ksn.key_name(tdes_ksn(0x12345)).hex() == "ffff9876543210e00000"
    assert ksn.counter(aes_ksn(0x12345)) == 0x12345
    assert ksn.key_name(aes_ksn(0x12345)).hex() == "123456789012345600000000"
    with pytest.raises(MalformedMessage):
        ksn.counter(b"\0" * 11)


def test_counters_with_too_many_ones_are_left_out() -> None:
    assert ksn.next_ksn(tdes_ksn(0)) == tdes_ksn(1)
    assert ksn.next_ksn(tdes_ksn(0x7FE)) == tdes_ksn(0x800)
    assert ksn.next_ksn(tdes_ksn(0xFF7FE)) == tdes_ksn(0xFF800)
    assert ksn.next_ksn(aes_ksn(0x1FFFE)) == aes_ksn(0x20000)


def test_a_key_that_is_used_up_has_no_next_use() -> None:
    for last in (tdes_ksn(0x1FF800), aes_ksn(0xFFFF0000)):
        assert ksn.remaining(last) == 0
        with pytest.raises(CommandNotPossible):
            ksn.next_ksn(last)


def test_the_standards_tell_how_often_a_key_can_be_used() -> None:
    assert ksn.remaining(tdes_ksn(0)) == 1_048_575
    # X9.24-3 counts 2 448 023 843 valid numbers, 0 among them.
    assert ksn.remaining(aes_ksn(0)) == 2_448_023_842


@given(st.integers(0, 0x1FF7FF).filter(lambda count: count.bit_count() <= 10))
def test_each_use_leaves_one_less(count: int) -> None:
    after = ksn.next_ksn(tdes_ksn(count))

    assert ksn.counter(after) > count
    assert ksn.remaining(after) == ksn.remaining(tdes_ksn(count)) - 1
