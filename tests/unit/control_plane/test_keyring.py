"""Sealing, hashing and signing with derived keys."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from control_plane.db.keyring import KEY_FILE, Keyring, SecretKeyUnusable, load_keyring

OLD, NEW = b"old secret " * 4, b"new secret " * 4


def test_a_sealed_value_opens_again_and_never_looks_the_same() -> None:
    keyring = Keyring([NEW])

    first, second = keyring.seal(b"4242", "note"), keyring.seal(b"4242", "note")

    assert first != second
    assert keyring.open(first, "note") == keyring.open(second, "note") == b"4242"


def test_a_value_sealed_for_one_purpose_does_not_open_for_another() -> None:
    keyring = Keyring([NEW])

    with pytest.raises(SecretKeyUnusable, match="altered"):
        keyring.open(keyring.seal(b"x", "note"), "other note")


def test_an_altered_value_does_not_open() -> None:
    keyring = Keyring([NEW])
    sealed = keyring.seal(b"x" * 30, "note")
    altered = sealed[:20] + ("A" if sealed[20] != "A" else "B") + sealed[21:]

    with pytest.raises(SecretKeyUnusable):
        keyring.open(altered, "note")


def test_after_a_change_of_the_secret_old_values_open_and_old_hashes_are_found() -> None:
    before, after = Keyring([OLD]), Keyring([NEW, OLD])

    assert after.open(before.seal(b"x", "note"), "note") == b"x"
    assert before.hash("token", "bearer") in after.hashes("token", "bearer")
    assert after.hash("token", "bearer") != before.hash("token", "bearer")
    assert after.is_signed(b"m", before.sign(b"m", "cursor"), "cursor")


def test_without_the_retired_secret_old_values_stay_shut() -> None:
    sealed = Keyring([OLD]).seal(b"x", "note")

    with pytest.raises(SecretKeyUnusable, match="not among ours"):
        Keyring([NEW]).open(sealed, "note")


@pytest.mark.parametrize(
    ("message", "purpose"),
    [(b"other", "cursor"), (b"m", "csrf")],
    ids=["of another message", "for another purpose"],
)
def test_a_signature_counts_for_its_message_and_purpose_only(message: bytes, purpose: str) -> None:
    keyring = Keyring([NEW])
    signature = keyring.sign(b"m", "cursor")

    assert keyring.is_signed(b"m", signature, "cursor")
    assert not keyring.is_signed(message, signature, purpose)


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(SecretKeyUnusable, match="32 bytes"):
        Keyring([b"short"])


def test_a_secret_that_is_not_base64_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SecretKeyUnusable, match="base64"):
        load_keyring("not base64!", [], tmp_path)


def test_the_key_file_is_made_once_and_only_we_can_read_it(tmp_path: Path) -> None:
    sealed = load_keyring("", [], tmp_path).seal(b"x", "note")

    assert load_keyring("", [], tmp_path).open(sealed, "note") == b"x"
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == [KEY_FILE]


def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)
    hashes: list[str] = []

    def start() -> None:
        barrier.wait()
        hashes.append(load_keyring("", [], tmp_path).hash("x", "bearer"))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(hashes) == 8
    assert len(set(hashes)) == 1
