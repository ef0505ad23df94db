"""What the shop has set on readers: taken whole or not at all, kept over restarts, secrets seen by nobody."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.reader_settings import ReaderSettings
from firmware_profiles import ReaderProfile, load_profile
from protocols.cloud.commands import DesiredConfig
from protocols.cloud.configuration import document_hash, secret_purpose
from protocols.cloud.sealing import seal
from protocols.secret import Secret

KEY = ec.generate_private_key(ec.SECP256R1())
KEY_PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
PUBLIC_PEM = (
    KEY.public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
)
PROFILES = {"rd_zvt": "generic-zvt-tcp", "rd_ecr": "generic-ecr17-tcp"}


def profile_of(reader_id: str) -> ReaderProfile | None:
    return load_profile(PROFILES[reader_id]) if reader_id in PROFILES else None


class Told(list[frozenset[str]]):
    """Which readers were to be connected anew."""


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def settings(tmp_path: Path, told: Told) -> ReaderSettings:
    return opened(tmp_path, told)


def opened(folder: Path, told: Told) -> ReaderSettings:
    found = ReaderSettings(folder, "dev-1", key=lambda: KEY_PEM)
    found.profile_of = profile_of
    found.on_change = told.append
    return found


def desired(version: int = 1, **readers: dict[str, Any]) -> DesiredConfig:
    document = {"readers": readers}
    return DesiredConfig(version=version, hash=document_hash(document), document=document)


def password(text: str, reader_id: str = "rd_zvt") -> str:
    purpose = secret_purpose("dev-1", reader_id, "password")
    return seal(text.encode(), PUBLIC_PEM, purpose, os.urandom(48))


def test_without_a_configuration_nothing_is_set(settings: ReaderSettings) -> None:
    assert settings.of("rd_zvt").settings == {}
    assert settings.of("rd_zvt").password() is None
    assert settings.reported().status == "none"


def test_what_fits_is_in_force_and_reported(settings: ReaderSettings, told: Told) -> None:
    wanted = desired(
        3, rd_zvt={"settings": {"max_amount_minor": 5000}, "secrets": {"password": password("271828")}}
    )  # fmt: skip

    settings.take(wanted)

    found = settings.of("rd_zvt")
    assert found.password() == Secret("271828")
    assert found.most_minor(load_profile("generic-zvt-tcp")) == 5000
    reported = settings.reported()
    assert (reported.version, reported.hash, reported.status) == (3, wanted.hash, "applied")
    assert told == [frozenset({"rd_zvt"})]


def test_a_limit_of_the_model_counts_where_the_shop_has_set_none(settings: ReaderSettings) -> None:
    assert settings.of("rd_new").most_minor(load_profile("feig-cvend-plug")) == 5000
    assert settings.of("rd_new").most_minor(load_profile("generic-zvt-tcp")) is None


def test_the_same_again_disturbs_nobody(settings: ReaderSettings, told: Told) -> None:
    wanted = desired(rd_zvt={"settings": {"max_amount_minor": 5000}, "secrets": {}})

    settings.take(wanted)
    settings.take(wanted)

    assert told == [frozenset({"rd_zvt"})]


def test_only_readers_for_which_something_changes_are_told(
    settings: ReaderSettings, told: Told
) -> None:
    zvt = {"settings": {"max_amount_minor": 5000}}
    settings.take(desired(1, rd_zvt=zvt, rd_ecr={"settings": {"lrc_mode": "stx"}}))

    settings.take(desired(2, rd_zvt=zvt, rd_ecr={"settings": {"lrc_mode": "std"}}))
    settings.take(desired(3, rd_zvt=zvt))

    assert told == [frozenset({"rd_zvt", "rd_ecr"}), frozenset({"rd_ecr"}), frozenset({"rd_ecr"})]


def test_it_survives_a_restart_in_a_file_that_only_we_read(
    tmp_path: Path, settings: ReaderSettings, told: Told
) -> None:
    settings.take(desired(rd_zvt={"secrets": {"password": password("271828")}}))

    again = opened(tmp_path, told)

    assert again.of("rd_zvt").password() == Secret("271828")
    assert again.reported() == settings.reported()
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o600]


@pytest.mark.parametrize(
    ("reader_id", "wanted", "error"),
    [
        ("rd_ecr", {"settings": {"lrc_mode": "none"}}, "lrc_mode: takes one of std, stx, noext, stx_noext"),
        ("rd_ecr", {"settings": {"result_timeout_s": 1}}, "result_timeout_s: takes a whole number from 60 to 600"),
        ("rd_zvt", {"settings": {"colour": "red"}}, "colour: any ZVT terminal on the network has no such setting"),
        ("rd_zvt", {"secrets": {"password": "bm90aGluZw=="}}, "a secret cannot be opened"),
        ("rd_zvt", {"secrets": {"password": password("271828", "rd_other")}}, "a secret cannot be opened"),
        ("rd_zvt", {"secrets": {"password": password("27")}}, "password: takes exactly 6 digits"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_whole(
    settings: ReaderSettings, told: Told, reader_id: str, wanted: dict[str, Any], error: str
) -> None:
    before = {"settings": {"max_amount_minor": 5000}}
    settings.take(desired(1, rd_zvt=before))
    other = "rd_zvt" if reader_id == "rd_ecr" else "rd_ecr"

    settings.take(desired(2, **{reader_id: wanted, other: {}}))

    reported = settings.reported()
    assert (reported.version, reported.status) == (2, "rejected")
    assert list(reported.errors) == [reader_id]
    assert reported.errors[reader_id].startswith(error)
    assert settings.of("rd_zvt").settings == {"max_amount_minor": 5000}
    assert len(told) == 1


def test_a_document_that_was_altered_or_has_another_shape_is_refused(
    settings: ReaderSettings, told: Told
) -> None:
    good = desired(rd_zvt={"settings": {"max_amount_minor": 5000}})
    document = {"readers": {"rd_zvt": {"settings": {"max_amount_minor": 5}}}}
    shapeless = {"readers": {"rd_zvt": {"colour": "red"}}}

    settings.take(DesiredConfig(version=1, hash=good.hash, document=document))
    assert settings.reported().errors == {"document": "its hash is that of another document"}
    settings.take(DesiredConfig(version=2, hash=document_hash(shapeless), document=shapeless))
    assert settings.reported().status == "rejected"
    assert settings.of("rd_zvt").settings == {}
    assert told == []


def test_a_good_one_after_a_refused_one_counts(settings: ReaderSettings) -> None:
    settings.take(desired(1, rd_ecr={"settings": {"lrc_mode": "none"}}))

    settings.take(desired(2, rd_ecr={"settings": {"lrc_mode": "stx"}}))

    assert settings.reported().status == "applied"
    configured = settings.of("rd_ecr").configured(load_profile("generic-ecr17-tcp"))
    assert configured.protocol.options["lrc_mode"] == "stx"


def test_what_a_later_version_adds_to_the_document_is_left_alone(settings: ReaderSettings) -> None:
    document = {"readers": {}, "cellar": {"wine": 1}}

    settings.take(DesiredConfig(version=1, hash=document_hash(document), document=document))

    assert settings.reported().status == "applied"


def test_a_damaged_file_is_forgotten_so_that_it_comes_again(tmp_path: Path, told: Told) -> None:
    tmp_path.joinpath("reader-settings.json").write_text("{")

    assert opened(tmp_path, told).reported().status == "none"


def test_a_secret_is_in_no_text_of_it(settings: ReaderSettings) -> None:
    settings.take(desired(rd_zvt={"secrets": {"password": password("271828")}}))

    assert "271828" not in repr(settings.of("rd_zvt"))
    assert "password" in repr(settings.of("rd_zvt"))
