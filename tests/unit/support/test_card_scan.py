"""A scanner that finds nothing proves nothing: it must find each form of a number that is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.card_scan import CARD_NUMBERS, scan, scan_folders

NUMBER = "4242424242424242"


@pytest.mark.parametrize(
    ("kept", "form"),
    [
        (NUMBER.encode(), "digits"),
        (b"4242 4242 4242 4242", "digits"),
        (b"4242-4242-4242-4242", "digits"),
        (b"00" + NUMBER.encode() + b"99", "digits"),
        (NUMBER.encode("utf-16-le"), "UTF-16"),
        (NUMBER.encode("utf-16-be"), "UTF-16"),
        (bytes.fromhex(NUMBER), "packed"),
    ],
)
def test_a_card_number_is_found_in_each_form(kept: bytes, form: str) -> None:
    found = list(scan(b"\x00text " + kept + b" more\xff"))

    assert [(one.last4, one.form) for one in found] == [("4242", form)]


def test_numbers_of_fifteen_and_nineteen_digits_are_found_packed() -> None:
    assert {one.last4 for one in scan(bytes.fromhex("378282246310005F"))} == {"0005"}
    assert {one.last4 for one in scan(bytes.fromhex("6725904411001000019F"))} == {"0019"}


def test_a_masked_number_and_other_digits_are_none() -> None:
    assert not list(scan(b"4242 42** **** 4242 and 1763900000000000 and tx_4242"))


def test_each_known_number_is_found() -> None:
    missed = [one for one in CARD_NUMBERS if not list(scan(b"pan=" + one.encode()))]

    assert not missed


def test_files_of_a_folder_are_counted_and_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "log").write_text("nothing")
    planted = tmp_path / "a" / "book"
    planted.write_bytes(b"x" * 10_000 + NUMBER.encode())
    try:
        found, count, size = scan_folders([tmp_path])
    finally:
        planted.unlink()

    assert [one.path for one in found] == [planted]
    assert (count, size) == (2, 10_023)
