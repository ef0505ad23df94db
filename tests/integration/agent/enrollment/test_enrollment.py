"""From a code to an identity, and from an old certificate to a fresh one; as a person runs it."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey

from agent import identity as identities
from agent.cli import main
from agent.clock import SystemClock
from agent.enrollment import AnswerNotUsable, EnrollmentFailed, enroll, renew
from agent.https_client import ControlPlaneUnreachable
from agent.identity import Identity, NotEnrolled
from agent.timekeeping import DeviceTime
from protocols.cloud.http import ENROLL
from tests.support.branch import Site
from tests.support.ports import free_port


@pytest.fixture
def url(site: Site) -> str:
    site.plane.codes["K7PX-3MQF"] = "good"
    return site.plane.serve(site.server_files)


def command_line(site: Site, url: str, state_dir: Path, *more: str) -> list[str]:
    return [
        "enroll", "--url", url, "--code", "K7PX-3MQF", "--state-dir", str(state_dir),
        "--ca-file", str(site.folder / "ca.crt"), *more,
    ]  # fmt: skip


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_code_makes_this_box_a_device(
    site: Site, url: str, state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(command_line(site, url, state_dir))

    told = json.loads(capsys.readouterr().out)
    member = identities.load(state_dir).membership
    assert code == 0
    assert (told["device_id"], told["merchant"], told["location"]) == (
        "dev-0001",
        "Café Test",
        "Old Town",
    )
    assert (member.device_id, member.cell, member.epoch, member.control_url) == (
        "dev-0001",
        "00",
        1,
        url,
    )
    assert member.control_ca == site.authority.pem


def test_the_key_is_for_its_owner_alone_and_never_leaves(
    site: Site, url: str, state_dir: Path
) -> None:
    main(command_line(site, url, state_dir))

    identity = identities.load(state_dir)
    (asked,) = site.plane.enrolments
    request = x509.load_pem_x509_csr(asked.csr_pem.encode())
    public = request.public_key()
    assert mode(identity.key_file) == 0o600
    assert mode(identity.folder) == 0o700
    assert mode(state_dir) == 0o700
    assert isinstance(public, EllipticCurvePublicKey)
    assert isinstance(public.curve, SECP256R1)
    assert request.is_signature_valid
    assert "PRIVATE" not in msgspec.json.encode(asked).decode()


def test_an_enrolled_box_is_not_enrolled_twice_by_mistake(
    site: Site, url: str, state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(command_line(site, url, state_dir))
    before = identities.load(state_dir)
    site.plane.codes["K7PX-3MQF"] = "good"

    code = main(command_line(site, url, state_dir))

    assert code == 1
    assert "enrolled as dev-0001" in capsys.readouterr().err
    assert identities.load(state_dir) == before
    assert len(site.plane.enrolments) == 1


def test_an_enrolment_that_is_forced_names_the_device_it_was(
    site: Site, url: str, state_dir: Path
) -> None:
    main(command_line(site, url, state_dir))
    site.plane.codes["K7PX-3MQF"] = "good"

    code = main(command_line(site, url, state_dir, "--force"))

    assert code == 0
    assert site.plane.enrolments[1].previous_device_id == "dev-0001"
    assert identities.load(state_dir).membership.device_id == "dev-0002"
    assert len(list(state_dir.glob("identity-*"))) == 1


@pytest.mark.parametrize("fate", ["unknown", "expired", "used_up"])
def test_a_code_that_does_not_work_is_said_with_what_to_do(
    site: Site, url: str, state_dir: Path, capsys: pytest.CaptureFixture[str], fate: str
) -> None:
    site.plane.codes["K7PX-3MQF"] = fate

    code = main(command_line(site, url, state_dir))

    assert code == 1
    assert f"it is {fate}. Ask for a new code in the console" in capsys.readouterr().err
    assert not (state_dir / "identity").exists()


def test_an_address_where_nothing_listens_is_said(
    site: Site, state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(command_line(site, f"https://localhost:{free_port()}", state_dir))

    assert code == 1
    assert "nothing listens there; check the address and the port" in capsys.readouterr().err


def test_an_authority_that_is_not_trusted_is_said_with_the_option_that_helps(
    url: str, state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["enroll", "--url", url, "--code", "K7PX-3MQF", "--state-dir", str(state_dir)])

    assert code == 1
    assert "--ca-file" in capsys.readouterr().err


def test_a_web_server_that_is_no_control_plane_is_said(
    site: Site, url: str, state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(command_line(site, f"{url}/elsewhere", state_dir))

    assert code == 1
    assert "There is nothing here." in capsys.readouterr().err


def test_something_that_is_no_address_is_a_wrong_command_line(
    site: Site, state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(command_line(site, "pay.example.org", state_dir))

    assert code == 2
    assert "https://pay.example.org" in capsys.readouterr().err


def test_a_folder_that_may_not_be_written_is_said(
    site: Site, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")

    code = main(command_line(site, url, tmp_path / "file" / "state"))

    assert code == 1
    assert "--state-dir" in capsys.readouterr().err


async def test_a_certificate_over_another_key_is_not_taken(
    site: Site, url: str, state_dir: Path
) -> None:
    site.plane.sign = swapping(site)

    with pytest.raises(AnswerNotUsable, match="another key"):
        await enroll(url, "K7PX-3MQF", state_dir, *_clocks(), ca_pem=site.authority.pem)

    assert not (state_dir / "identity").exists()


def swapping(site: Site) -> Callable[[str, str], str]:
    """Signs a key of its own instead of the one it was given."""

    def sign(_csr_pem: str, name: str) -> str:
        _, certificate = site.authority.issue(site.folder, name)
        return certificate.read_text()

    return sign


def _clocks() -> tuple[DeviceTime, SystemClock]:
    clock = SystemClock()
    return DeviceTime(clock), clock


# --- renewal ---------------------------------------------------------------------------------------------------


async def enrolled(site: Site, url: str, state_dir: Path) -> Identity:
    return await enroll(url, "K7PX-3MQF", state_dir, *_clocks(), ca_pem=site.authority.pem)


async def test_a_renewed_certificate_comes_with_a_new_key_and_the_same_name(
    site: Site, url: str, state_dir: Path
) -> None:
    before = await enrolled(site, url, state_dir)
    old_key = before.key_file.read_bytes()
    site.plane.certificate_days = 180

    fresh = await renew(before, state_dir, *_clocks())

    certificate = x509.load_pem_x509_certificate(fresh.certificate_file.read_bytes())
    assert identities.load(state_dir) == fresh
    assert fresh.membership.device_id == before.membership.device_id
    assert fresh.membership.valid_until > before.membership.valid_until
    assert fresh.membership.valid_until == certificate.not_valid_after_utc
    assert fresh.key_file.read_bytes() != old_key
    assert not before.folder.exists()


async def test_a_renewal_that_fails_leaves_everything_as_it_was(
    site: Site, url: str, state_dir: Path
) -> None:
    before = await enrolled(site, url, state_dir)
    site.plane.sign = swapping(site)

    with pytest.raises(AnswerNotUsable):
        await renew(before, state_dir, *_clocks())

    assert identities.load(state_dir) == before
    assert before.key_file.exists()


async def test_renewal_is_due_at_two_thirds_of_the_life(site: Site, state_dir: Path) -> None:
    identity = site.enrolled(state_dir, days=90)

    member = identity.membership
    assert (
        identity.renewal_due_at() - member.valid_from
        == (member.valid_until - member.valid_from) * 2 / 3
    )


# --- the stored identity ---------------------------------------------------------------------------------------


def test_without_an_identity_the_way_to_one_is_said(state_dir: Path) -> None:
    with pytest.raises(NotEnrolled, match="omnitill-agent enroll --url"):
        identities.load(state_dir)


def test_an_identity_that_cannot_be_read_is_no_identity(site: Site, state_dir: Path) -> None:
    identity = site.enrolled(state_dir)
    (identity.folder / "identity.json").write_text("{")

    with pytest.raises(NotEnrolled, match="cannot be read"):
        identities.load(state_dir)


def test_a_crash_while_storing_leaves_the_old_identity(site: Site, state_dir: Path) -> None:
    before = site.enrolled(state_dir)
    # Half of a new one, as a power cut leaves it.
    half = state_dir / "identity-20270101T000000-ffffff"
    half.mkdir()
    (half / "device.key").write_text("half")
    (state_dir / ".identity.new").symlink_to(half.name)

    assert identities.load(state_dir) == before
    fresh = site.enrolled(state_dir)
    assert identities.load(state_dir) == fresh
    assert [path.resolve() for path in state_dir.glob("identity-*")] == [fresh.folder]


def test_what_is_asked_of_the_server_is_one_request(site: Site, url: str, state_dir: Path) -> None:
    main(command_line(site, url, state_dir))

    assert site.plane.requests == [("POST", ENROLL)]


async def test_a_server_that_is_away_is_told_from_one_that_refuses(
    site: Site, url: str, state_dir: Path
) -> None:
    with pytest.raises(ControlPlaneUnreachable):
        await enroll(
            f"https://localhost:{free_port()}",
            "K7PX-3MQF",
            state_dir,
            *_clocks(),
            ca_pem=site.authority.pem,
        )
    site.plane.is_http_down = True
    with pytest.raises(EnrollmentFailed, match="being updated"):
        await enrolled(site, url, state_dir)
