"""Profiles are read strictly, merge with what they inherit, and one bad file stops nobody else."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from firmware_profiles import Catalogue, ProfileUnknown, load_all, load_profile, use_overlay
from firmware_profiles.errors import ProfileError, ProfileUnreadable
from firmware_profiles.overlay import SIGNATURE, read_folder, signed_text

Chosen = Callable[[Path, bytes], list[ProfileError]]

GOOD = """
schema = 1
[profile]
id = "{id}"
revision = 1
vendor = "any"
model = "a reader"
kind = "payment_terminal"
family = "zvt"
[protocol]
name = "zvt"
framing = "tcp"
config_byte = 0xBE
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "good")
    return tmp_path


def write(folder: Path, name: str, more: str = "", *, base: str = GOOD) -> None:
    folder.joinpath(f"{name}.toml").write_text(base.format(id=name) + more)


def fault(folder: Path, more: str, *, base: str = GOOD) -> ProfileUnreadable:
    write(folder, "bad", more, base=base)
    with pytest.raises(ProfileUnreadable) as unreadable:
        load_profile("bad", folder)
    return unreadable.value


def test_a_profile_keeps_the_options_of_its_protocol_apart(folder: Path) -> None:
    profile = load_profile("good", folder)

    assert profile.protocol.name == "zvt"
    assert profile.protocol.options == {"config_byte": 0xBE}


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ("[health]\nhartbeat_s = 5\n", "health.hartbeat_s"),
        ("[halth]\nheartbeat_s = 5\n", "halth"),
        ("[[match.tcp]]\nport = 1\nouis = []\n", "match.tcp[0].ouis"),
        ("[protocol.tcp]\nport = 1\nspeed = 3\n", "protocol.tcp.speed"),
        ('[firmware]\nversion_source = "x"\nmetod = "y"\n', "firmware.metod"),
    ],
)
def test_a_key_that_nobody_knows_is_refused_by_name(folder: Path, more: str, key: str) -> None:
    refused = fault(folder, more)

    assert refused.facts == {"file": "bad.toml", "key": key}
    assert str(refused) == f"bad.toml: {key}: no such key; check its spelling"


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ('[health]\nheartbeat_s = "soon"\n', "health.heartbeat_s"),
        ("[[match.tcp]]\nport = 70000\n", "match.tcp[0].port"),
        ("[[match.usb]]\nvid = 0x10000\n", "match.usb[0].vid"),
        ("[match.confirm]\nprobe = 'zvt:05 01'\nanswer = '('\n", "match.confirm.answer"),
        ('[firmware]\nversion_source = "x"\ncompare = "semver"\n', "firmware.compare"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_place(
    folder: Path, more: str, key: str
) -> None:
    assert fault(folder, more).facts["key"] == key


def test_a_file_that_is_no_toml_is_refused_with_the_line(folder: Path) -> None:
    refused = fault(folder, "= 3")

    assert "bad.toml" in str(refused)
    assert "line" in str(refused)


def test_a_profile_is_named_like_its_file(folder: Path) -> None:
    write(folder, "other", base=GOOD.replace("{id}", "somebody-else"))

    with pytest.raises(ProfileUnreadable) as unreadable:
        load_profile("other", folder)

    assert unreadable.value.facts["key"] == "profile.id"


def test_a_profile_that_is_not_there_is_refused_with_those_that_are(folder: Path) -> None:
    with pytest.raises(ProfileUnknown, match="known are good"):
        load_profile("goood", folder)


def test_one_bad_file_stops_nobody_else(folder: Path) -> None:
    write(folder, "bad", "[nonsense]\n")

    profiles, faults = load_all(folder)

    assert list(profiles) == ["good"]
    assert [fault.facts["file"] for fault in faults] == ["bad.toml"]


def test_two_files_of_one_name_are_a_clash(folder: Path) -> None:
    vendor = folder / "vendor"
    vendor.mkdir()
    write(vendor, "good")

    with pytest.raises(ProfileUnreadable, match="two files of this name"):
        load_profile("good", folder)


def test_a_child_merges_tables_and_replaces_everything_else(folder: Path) -> None:
    child = """
    [profile]
    id = "{id}"
    model = "another"
    inherits = "good"
    [protocol]
    config_byte = 0x8E
    timeouts_ms = {{ t3 = 1 }}
    """
    write(folder, "child", base=child)

    profile = load_profile("child", folder)

    assert (profile.profile.vendor, profile.profile.model) == ("any", "another")
    assert profile.protocol.options == {"config_byte": 0x8E}
    assert profile.timeout_s("t3", 5) == 0.001
    assert profile.timeout_s("t4", 180) == 180


@pytest.mark.parametrize("parent", ["nobody", "child"])
def test_a_profile_cannot_inherit_from_nobody_or_from_itself(folder: Path, parent: str) -> None:
    write(folder, "child", base=GOOD.replace("[protocol]", f'inherits = "{parent}"\n[protocol]'))

    with pytest.raises(ProfileUnreadable) as unreadable:
        load_profile("child", folder)

    assert unreadable.value.facts["key"] == "profile.inherits"


def test_a_fact_is_verified_when_it_or_its_table_has_a_source(folder: Path) -> None:
    sources = '[profile.verified]\n"match.tcp[0]" = "a"\n"protocol.framing" = "b"\n'
    write(folder, "sourced", base=GOOD.replace("[protocol]", f"{sources}[protocol]"))

    profile = load_profile("sourced", folder)

    assert profile.is_verified("match.tcp[0].port")
    assert profile.is_verified("protocol.framing")
    assert not profile.is_verified("match.tcp[01].port")
    assert not profile.is_verified("protocol")


def test_a_capability_is_what_is_neither_false_nor_none_nor_empty(folder: Path) -> None:
    can = '[capabilities]\nabort = true\nrefund = false\nreceipt = "none"\nreads = []\nvoltage = "newer_firmware"\n'
    write(folder, "able", can)

    profile = load_profile("able", folder)

    assert [name for name in profile.capabilities if profile.can(name)] == ["abort", "voltage"]
    assert not profile.can("teleport")


def test_a_default_in_a_profile_is_never_shared(folder: Path) -> None:
    first, second = load_profile("good", folder), load_profile("good", folder)

    assert first == second
    assert first is not second


# --- what is inherited, and what stands above ---


BASE = GOOD.replace('model = "a reader"', 'model = "shared"') + (
    "[health]\nheartbeat_s = 7\n"
    "[[match.tcp]]\nport = 5\n[[match.tcp]]\nport = 6\n"
    '[profile.verified]\n"match.tcp[0].port" = "a"\n"protocol.framing" = "b"\n"health" = "c"\n'
)
HEIR = '[profile]\nid = "{id}"\ninherits = "shared-base"\n'


def test_what_several_models_share_is_no_model(folder: Path) -> None:
    write(folder, "shared-base", base=BASE)
    write(folder, "heir", base=HEIR)

    profiles, faults = load_all(folder)

    assert (list(profiles), faults) == (["good", "heir"], [])
    assert profiles["heir"].health.heartbeat_s == 7
    with pytest.raises(ProfileUnknown, match="known are good, heir"):
        load_profile("shared-base", folder)


def test_a_key_that_nobody_knows_is_named_with_the_file_that_it_was_inherited_from(
    folder: Path,
) -> None:
    write(folder, "shared-base", base=BASE + "[halth]\nx = 1\n")
    write(folder, "heir", base=HEIR)

    with pytest.raises(ProfileUnreadable) as unreadable:
        load_profile("heir", folder)

    assert unreadable.value.facts == {"file": "shared-base.toml", "key": "halth"}


def test_a_source_is_not_inherited_for_a_value_that_was_replaced(folder: Path) -> None:
    write(folder, "shared-base", base=BASE)
    write(
        folder,
        "heir",
        base=HEIR + '[[match.tcp]]\nport = 9\n[protocol]\nframing = "serial"\n',
    )
    write(folder, "same", base=HEIR + '[protocol]\nframing = "tcp"\n')

    heir, same = load_profile("heir", folder), load_profile("same", folder)

    assert heir.profile.verified == {"health": "c"}
    assert set(same.profile.verified) == {"match.tcp[0].port", "protocol.framing", "health"}


def test_a_clash_takes_away_that_profile_only(folder: Path) -> None:
    vendor = folder / "vendor"
    vendor.mkdir()
    write(vendor, "good")
    write(folder, "other")

    profiles, faults = load_all(folder)

    assert list(profiles) == ["other"]
    assert ["two files of this name" in str(fault) for fault in faults] == [True]


@pytest.fixture(scope="module")
def authority() -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Omnitill")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=1))
        .sign(key, SHA256())
    )
    return key, certificate.public_bytes(Encoding.PEM)


@pytest.fixture
def above(tmp_path: Path) -> Path:
    folder = tmp_path / "above"
    (folder / "vendor").mkdir(parents=True)
    write(folder / "vendor", "good", "[health]\nheartbeat_s = 9\n")
    write(folder, "added", base=HEIR.replace("shared-base", "good"))
    return folder


def sign(folder: Path, key: ec.EllipticCurvePrivateKey) -> None:
    text = signed_text(folder, read_folder(folder))
    folder.joinpath(SIGNATURE).write_bytes(b64encode(key.sign(text, ec.ECDSA(SHA256()))))


@pytest.fixture
def below(tmp_path: Path) -> Path:
    folder = tmp_path / "below"
    folder.mkdir()
    write(folder, "good")
    return folder


def test_a_signed_overlay_stands_above_the_built_in_files(
    below: Path, above: Path, authority: tuple[ec.EllipticCurvePrivateKey, bytes]
) -> None:
    sign(above, authority[0])

    catalogue = Catalogue(below, overlay=above, certificate_pem=authority[1])

    assert catalogue.faults == []
    assert catalogue.load("good").health.heartbeat_s == 9
    assert catalogue.load("added").health.heartbeat_s == 9
    assert [name for name in catalogue.names if catalogue.is_overlaid(name)] == ["added", "good"]


def change(folder: Path) -> None:
    write(folder, "added", "[health]\nheartbeat_s = 1\n")


def add(folder: Path) -> None:
    write(folder, "planted")


def rename(folder: Path) -> None:
    (folder / "added.toml").rename(folder / "renamed.toml")


def unsign(folder: Path) -> None:
    (folder / SIGNATURE).unlink()


def scribble(folder: Path) -> None:
    (folder / SIGNATURE).write_bytes(b"not base64!")


@pytest.mark.parametrize("tamper", [change, add, rename, unsign, scribble])
def test_an_overlay_that_was_touched_is_not_used_at_all(
    below: Path,
    above: Path,
    authority: tuple[ec.EllipticCurvePrivateKey, bytes],
    tamper: Callable[[Path], None],
) -> None:
    sign(above, authority[0])
    tamper(above)

    catalogue = Catalogue(below, overlay=above, certificate_pem=authority[1])

    assert [fault.code for fault in catalogue.faults] == ["overlay_untrusted"]
    assert catalogue.names == ["good"]
    assert catalogue.load("good").health.heartbeat_s == 60


def test_an_overlay_of_somebody_else_is_not_used(
    below: Path, above: Path, authority: tuple[ec.EllipticCurvePrivateKey, bytes]
) -> None:
    sign(above, ec.generate_private_key(ec.SECP256R1()))

    catalogue = Catalogue(below, overlay=above, certificate_pem=authority[1])

    assert catalogue.names == ["good"]
    assert catalogue.load_all()[1] == catalogue.faults
    assert len(catalogue.faults) == 1


def test_only_who_asks_for_it_gets_an_unsigned_overlay(below: Path, above: Path) -> None:
    assert Catalogue(below, overlay=above).names == ["added", "good"]


@pytest.fixture
def chosen(tmp_path: Path) -> Iterator[Chosen]:
    """`use_overlay`, undone after the test."""
    yield use_overlay
    use_overlay(tmp_path / "nothing", b"")


def test_what_a_signed_folder_adds_is_known_to_the_whole_process(
    chosen: Chosen, above: Path, authority: tuple[ec.EllipticCurvePrivateKey, bytes], tmp_path: Path
) -> None:
    write(above, "added")
    sign(above, authority[0])

    assert chosen(above, authority[1]) == []
    assert load_profile("added").id == "added"
    assert {"added", "feig-cvend-plug"} <= set(load_all()[0])
    assert chosen(tmp_path / "nothing", authority[1]) == []
    assert "added" not in load_all()[0]


def test_a_folder_with_one_bad_file_is_refused_as_a_whole_by_file_and_key(
    chosen: Chosen, above: Path, authority: tuple[ec.EllipticCurvePrivateKey, bytes]
) -> None:
    write(above, "bad", "[health]\nheartbeat = 1\n")
    sign(above, authority[0])

    (fault,) = chosen(above, authority[1])

    assert fault.facts == {"file": "bad.toml", "key": "health.heartbeat"}
    assert set(load_all()[0]) == set(Catalogue().names)


def test_a_folder_that_somebody_touched_changes_nothing(
    chosen: Chosen, above: Path, authority: tuple[ec.EllipticCurvePrivateKey, bytes]
) -> None:
    sign(above, authority[0])
    assert chosen(above, authority[1] * 2) == []
    write(above, "planted")

    assert [fault.code for fault in chosen(above, authority[1])] == ["overlay_untrusted"]
    assert set(load_all()[0]) == set(Catalogue().names)
