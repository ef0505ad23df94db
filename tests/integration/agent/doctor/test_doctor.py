"""What the doctor finds, and that it disturbs nobody."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.cli import main
from agent.journal import Journal
from protocols.cloud.http import OUTBOX
from tests.fakes.authority import Authority
from tests.support.agent_program import run_agent, simulation
from tests.support.branch import DEVICE, Site
from tests.support.ports import free_port
from tests.support.programs import program


@pytest.fixture
def url(site: Site) -> str:
    return site.plane.serve(site.server_files)


class Doctor:
    """Asks the doctor about a box, as a person does."""

    def __init__(self, folder: Path, state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._config = folder / "agent.toml"
        self._state_dir = state_dir
        self._capsys = capsys
        self.readers: list[dict[str, str]] = []

    def ask(self) -> tuple[int, dict[str, dict[str, str]]]:
        """(exit code, findings by name)"""
        lines = [f'state_dir = "{self._state_dir}"']
        for reader in self.readers:
            lines += ["[[readers]]", *(f'{name} = "{value}"' for name, value in reader.items())]
        self._config.write_text("\n".join(lines))
        code = main(["doctor", "--json", "--config", str(self._config)])
        findings = map(json.loads, self._capsys.readouterr().out.splitlines())
        return code, {finding["name"]: finding for finding in findings}


@pytest.fixture
def doctor(tmp_path: Path, state_dir: Path, capsys: pytest.CaptureFixture[str]) -> Doctor:
    return Doctor(tmp_path, state_dir, capsys)


def begin_journal(state_dir: Path) -> None:
    journal = Journal(state_dir, now=datetime.now(UTC))
    journal.abandon()


def test_a_box_where_all_is_well(site: Site, url: str, state_dir: Path, doctor: Doctor) -> None:
    site.enrolled(state_dir, control_url=url)
    begin_journal(state_dir)

    with simulation("--tcp", "127.0.0.1:0", "--pace", "0") as terminal:
        doctor.readers = [
            {"name": "counter-1", "profile": "generic-zvt-tcp", "address": terminal.address}
        ]
        code, found = doctor.ask()

    assert code == 0
    assert {name: one["health"] for name, one in found.items()} == {
        "agent": "good",
        "folder": "good",
        "disk": "good",
        "journal": "good",
        "identity": "good",
        "key": "good",
        "certificate": "good",
        "control plane": "good",
        "clock": "good",
        "broker": "good",
        "reader counter-1": "good",
    }
    assert "is ready (" in found["reader counter-1"]["words"]


def test_it_speaks_to_people_without_json(
    site: Site, url: str, state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.enrolled(state_dir, control_url=url, broker=site.where(port=free_port()))

    code = main(["doctor", "--state-dir", str(state_dir)])

    out = capsys.readouterr().out
    assert code == 1
    assert "  ok  folder: " in out
    assert " BAD  broker: Nothing listens on 127.0.0.1:" in out
    assert "      → The broker may be down." in out


def test_it_changes_nothing_and_sends_nothing(
    site: Site, url: str, state_dir: Path, doctor: Doctor
) -> None:
    site.enrolled(state_dir, control_url=url)

    doctor.ask()

    assert sorted(path.name.split("-")[0] for path in state_dir.iterdir()) == [
        "identity",
        "identity",
    ]
    assert site.plane.requests == [("POST", OUTBOX)]
    assert site.plane.taken(DEVICE).presence == []


def test_a_box_that_is_not_enrolled_is_told_how(state_dir: Path, doctor: Doctor) -> None:
    state_dir.mkdir(mode=0o700)

    code, found = doctor.ask()

    assert code == 1
    assert found["identity"]["health"] == "bad"
    assert "omnitill-agent enroll --url" in found["identity"]["words"]
    assert "broker" not in found


def test_a_folder_that_is_not_there(doctor: Doctor) -> None:
    code, found = doctor.ask()

    assert code == 1
    assert "cannot be read" in found["folder"]["words"]


def test_a_key_that_others_may_read(site: Site, url: str, state_dir: Path, doctor: Doctor) -> None:
    identity = site.enrolled(state_dir, control_url=url)
    identity.key_file.chmod(0o644)

    code, found = doctor.ask()

    assert code == 1
    assert found["key"]["health"] == "bad"
    assert f"chmod 600 {identity.key_file}" in found["key"]["fix"]


def test_a_folder_that_others_may_look_into(
    site: Site, url: str, state_dir: Path, doctor: Doctor
) -> None:
    site.enrolled(state_dir, control_url=url)
    state_dir.chmod(0o755)

    code, found = doctor.ask()

    assert code == 0
    assert (found["folder"]["health"], found["folder"]["fix"]) == (
        "warning",
        f"chmod 700 {state_dir}",
    )


@pytest.mark.parametrize(
    ("age_days", "health", "words"),
    [(88, "warning", "should have been renewed"), (120, "bad", "It ended on ")],
    ids=["overdue", "ended"],
)
def test_a_certificate_near_or_past_its_end(
    site: Site, url: str, state_dir: Path, doctor: Doctor, age_days: float, health: str, words: str
) -> None:
    site.enrolled(state_dir, control_url=url, age_days=age_days)

    _, found = doctor.ask()

    assert found["certificate"]["health"] == health
    assert words in found["certificate"]["words"]


def test_a_certificate_of_another_authority(
    site: Site, url: str, state_dir: Path, doctor: Doctor
) -> None:
    site.enrolled(state_dir, control_url=url, is_ours=False)

    code, found = doctor.ask()

    assert code == 1
    assert "no authority that is trusted here" in found["certificate"]["words"]
    assert found["broker"]["health"] == "bad"
    assert "certificate" in found["broker"]["words"]


def test_a_certificate_that_does_not_fit_the_key(
    site: Site, url: str, state_dir: Path, doctor: Doctor
) -> None:
    identity = site.enrolled(state_dir, control_url=url)
    other, _ = site.authority.issue(site.folder, "other")
    identity.key_file.write_bytes(other.read_bytes())

    _, found = doctor.ask()

    assert "it belongs to another key" in found["certificate"]["words"]


def test_a_broker_that_somebody_stands_in_front_of(
    site: Site, url: str, state_dir: Path, doctor: Doctor
) -> None:
    identity = site.enrolled(state_dir, control_url=url)
    identity.ca_file.write_text(Authority().pem)

    _, found = doctor.ask()

    assert found["broker"]["health"] == "bad"
    assert "is not accepted" in found["broker"]["words"]


def test_a_control_plane_that_does_not_know_the_device(
    site: Site, url: str, state_dir: Path, doctor: Doctor
) -> None:
    site.enrolled(state_dir, control_url=url)
    site.plane.certificates.clear()

    code, found = doctor.ask()

    assert code == 1
    assert "refuses this device" in found["control plane"]["words"]


@pytest.mark.parametrize(
    ("off_s", "health"),
    [(10, "warning"), (-10, "warning"), (4000, "bad")],
    ids=["10", "-10", "4000"],
)
def test_a_clock_that_is_off(
    site: Site, url: str, state_dir: Path, doctor: Doctor, off_s: float, health: str
) -> None:
    site.plane.clock_offset_s = off_s
    site.enrolled(state_dir, control_url=url)

    _, found = doctor.ask()

    assert found["clock"]["health"] == health
    assert ("behind" if off_s > 0 else "ahead of") in found["clock"]["words"]
    assert "timedatectl" in found["clock"]["fix"]


def test_a_damaged_journal(site: Site, url: str, state_dir: Path, doctor: Doctor) -> None:
    site.enrolled(state_dir, control_url=url)
    begin_journal(state_dir)
    with (state_dir / "journal.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * 8192)

    code, found = doctor.ask()

    assert code == 1
    assert found["journal"]["health"] == "bad"
    assert "Restart the agent" in found["journal"]["fix"]


def test_messages_that_wait_for_long(site: Site, url: str, state_dir: Path, doctor: Doctor) -> None:
    site.enrolled(state_dir, control_url=url)
    begin_journal(state_dir)
    with sqlite3.connect(state_dir / "journal.db") as db:
        db.execute(
            "INSERT INTO outbox (stream, epoch, seq, id, payload, hash, created_at)"
            " VALUES ('tx', 1, 1, 'x', x'', '', unixepoch() - 90 * 86400)"
        )
        db.execute(
            "INSERT INTO session (id, reader_id, command_id, request, recorded_at)"
            " VALUES ('ts_1', 'rd_1', 'cmd_1', x'', 0)"
        )
    db.close()

    code, found = doctor.ask()

    assert code == 0
    assert "1 messages wait to be sent, the oldest for 90 days" in found["journal"]["words"]
    assert found["payments"]["health"] == "warning"


def test_a_reader_that_does_not_answer(
    site: Site, url: str, state_dir: Path, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.doctor.READER_S", 1.0)
    site.enrolled(state_dir, control_url=url)
    doctor.readers = [
        {
            "name": "counter-1",
            "profile": "generic-zvt-tcp",
            "address": f"tcp://127.0.0.1:{free_port()}",
        },
        {"name": "counter-2", "profile": "no-such-model", "address": "tcp://127.0.0.1:1"},
    ]

    code, found = doctor.ask()

    assert code == 1
    assert "nothing listens on this port" in found["reader counter-1"]["words"]
    assert "no-such-model" in found["reader counter-2"]["words"]


def test_beside_a_running_agent_its_readers_are_left_alone(
    site: Site, url: str, state_dir: Path, doctor: Doctor
) -> None:
    site.enrolled(state_dir, control_url=url)
    journal = Journal(state_dir, now=datetime.now(UTC))
    with simulation("--tcp", "127.0.0.1:0", "--pace", "0") as terminal:
        doctor.readers = [
            {"name": "counter-1", "profile": "generic-zvt-tcp", "address": terminal.address}
        ]
        code, found = doctor.ask()
    journal.abandon()

    assert code == 0
    assert found["agent"]["words"] == "It is running."
    assert found["reader counter-1"]["health"] == "skipped"
    assert "systemctl stop" in found["reader counter-1"]["fix"]


@pytest.mark.parametrize(
    ("protocol", "where", "profile"),
    [
        ("zvt", "pty", "generic-zvt-serial"),
        ("ecr17", "tcp", "generic-ecr17-tcp"),
        ("concert", "pty", "generic-concert-cdc"),
        ("magtek_mms", "pty", "magtek-dynaprox"),
        ("idtech_neo", "pty", "idtech-vp3300"),
    ],
)
def test_each_protocol_is_told_of_in_a_line_for_support(
    doctor: Doctor, tmp_path: Path, protocol: str, where: str, profile: str
) -> None:
    place = "127.0.0.1:0" if where == "tcp" else str(tmp_path / "ttyPOS")
    with simulation(
        f"--{where}", place, "--profile", profile, "--pace", "0", protocol=protocol
    ) as terminal:
        doctor.readers = [{"name": "till", "profile": profile, "address": terminal.address}]
        _, found = doctor.ask()

    assert found["reader till"]["health"] == "good"
    assert found["reader till"]["about"].startswith(f"{protocol} · ")


@pytest.mark.parametrize(
    ("protocol", "line"), [("magtek_mms", "usb"), ("idtech_neo", "usb"), ("idtech_neo", "ble")]
)
def test_readers_on_usb_and_bluetooth_are_examined_too(
    tmp_path: Path, protocol: str, line: str
) -> None:
    program("umockdev-wrapper" if line == "usb" else "dbus-daemon")
    config = tmp_path / "agent.toml"
    with simulation(f"--{line}", "--pace", "0.05", protocol=protocol) as reader:
        config.write_text(
            f'state_dir = "{tmp_path / "state"}"\n[[readers]]\nname = "till"\n'
            f'profile = "{reader.ready["profile"]}"\naddress = "{reader.address}"\n'
        )
        ended = run_agent(
            "doctor", "--json", "--config", str(config), environment=reader.ready["environment"]
        )

    (found,) = [one for one in ended.lines if one["name"] == "reader till"]
    assert found["health"] == "good", found
    assert "serial" in found["about"]


def test_another_protocol_on_the_line_is_a_matter_of_the_profile(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.doctor.READER_S", 4.0)
    with simulation("--tcp", "127.0.0.1:0", "--pace", "0") as terminal:
        doctor.readers = [
            {"name": "till", "profile": "generic-ecr17-tcp", "address": terminal.address}
        ]
        code, found = doctor.ask()

    assert code == 1
    assert found["reader till"]["health"] == "bad"
    assert found["reader till"]["fix"]


def test_a_terminal_at_another_speed_or_mute_is_told_to_check_it(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.doctor.READER_S", 3.0)
    with simulation(
        "--pty", str(tmp_path / "ttyPOS"), "--pace", "0", protocol="concert"
    ) as terminal:
        doctor.readers = [
            {"name": "till", "profile": "generic-zvt-serial", "address": terminal.address}
        ]
        code, found = doctor.ask()

    assert code == 1
    assert "the speed (?baud=" in found["reader till"]["fix"]
