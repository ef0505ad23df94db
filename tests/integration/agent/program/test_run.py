"""The agent as a process: it starts, pays, is killed, comes back, and says the truth."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent import identity as identities
from protocols.cloud.commands import CommandBody, RestartAgent, StartPayment
from protocols.cloud.events import CommandResult, DeviceEvent, PaymentResult
from protocols.cloud.http import RENEW
from protocols.cloud.topics import Stream
from tests.fakes.control_plane import Taken
from tests.support.agent_program import PROGRAM, Simulation, run_agent, simulation
from tests.support.branch import DEVICE, Site
from tests.support.ports import free_port
from tests.support.waiting import eventually


class Box:
    """One till: its configuration, and the agent on it while it runs."""

    def __init__(self, site: Site, folder: Path, terminal: Simulation) -> None:
        self.site = site
        self.device_id = DEVICE
        self.terminal = terminal
        self.state_dir = folder / "state"
        self.config = folder / "agent.toml"
        self.log = folder / "agent.log"
        self.config.write_text(
            f'state_dir = "{self.state_dir}"\ncloud = "mqtt"\nfinish_within_s = 10\n'
            f'[[readers]]\nname = "counter-1"\nprofile = "generic-zvt-tcp"\naddress = "{terminal.address}"\n'
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._commands = 0

    @property
    def taken(self) -> Taken:
        return self.site.plane.taken(self.device_id)

    def start(self) -> None:
        """Start the agent and wait until its reader is ready."""
        reports = len(self.taken.states)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(PROGRAM), "run", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        eventually(lambda: self._is_ready(reports), deadline_s=20)

    def _is_ready(self, reports: int) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        fresh = self.taken.states[reports:]
        return bool(fresh) and [one.state for one in fresh[-1].readers] == ["ready"]

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def end(self, number: int) -> int:
        """Send a signal and wait; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)

    @property
    def reader_id(self) -> str:
        return self.taken.states[-1].readers[0].reader_id

    def send(self, body: CommandBody, command_id: str | None = None) -> str:
        self._commands += 1
        command_id = command_id or f"cmd_{self._commands:04}"
        self.site.plane.send(self.device_id, body, command_id)
        return command_id

    def pay(self, session_id: str, minor: int) -> str:
        return self.send(
            StartPayment(
                session_id=session_id, reader_id=self.reader_id, amount_minor=minor, currency="EUR"
            )
        )

    def insist(self, body: CommandBody, command_id: str) -> None:
        """Send a command again and again until it is answered, as the server does."""

        def is_answered() -> bool:
            self.send(body, command_id)
            return command_id in self.results()

        eventually(is_answered, deadline_s=30)

    def payments(self) -> list[PaymentResult]:
        told = self.taken.told(Stream.TRANSACTIONS)
        return [one for one in told if isinstance(one, PaymentResult)]

    def results(self) -> dict[str, CommandResult]:
        told = self.taken.told(Stream.RESULTS)
        return {one.command_id: one for one in told if isinstance(one, CommandResult)}

    def outcome_of(self, session_id: str) -> str:
        """Wait for the end of a session."""
        found = eventually(
            lambda: [one for one in self.payments() if one.session_id == session_id], deadline_s=20
        )
        assert len(found) == 1
        return str(found[0].outcome)


@contextmanager
def box_with(site: Site, folder: Path, *simulator: str) -> Iterator[Box]:
    with simulation("--tcp", "127.0.0.1:0", *simulator) as terminal:
        box = Box(site, folder, terminal)
        site.enrolled(box.state_dir)
        try:
            yield box
        finally:
            if box._process is not None and box.process.poll() is None:  # noqa: SLF001 (our own helper)
                box.end(signal.SIGKILL)


@pytest.fixture
def box(site: Site, tmp_path: Path) -> Iterator[Box]:
    with box_with(site, tmp_path, "--pace", "0.02", "--script", "approve") as made:
        yield made


def test_a_sale_goes_through_and_the_agent_ends_in_order(box: Box) -> None:
    box.start()
    box.pay("ts_0001", 1234)
    outcome = box.outcome_of("ts_0001")

    code = box.end(signal.SIGTERM)

    assert outcome == "approved"
    assert code == 0
    assert box.terminal.books()["sum_minor"] == 1234
    assert [one.state for one in box.taken.presence] == ["online", "offline"]
    assert box.taken.broken_links(Stream.EVENTS) == []


def test_a_running_payment_is_finished_before_the_agent_ends(box: Box) -> None:
    box.start()
    box.terminal.play("script", name="slow")
    box.pay("ts_0001", 1234)
    eventually(lambda: "sent" in str(box.taken.told(Stream.EVENTS)))

    code = box.end(signal.SIGTERM)

    assert code == 0
    assert box.outcome_of("ts_0001") == "approved"


@pytest.mark.parametrize("step", ["accepted", "sent", "waiting_for_card", "authorizing"])
def test_a_kill_9_at_any_step_charges_once_and_is_told_once(box: Box, step: str) -> None:
    box.start()
    box.terminal.play("script", name="slow")
    command_id = box.pay("ts_0001", 1234)
    eventually(lambda: f"step='{step}'" in str(box.taken.told(Stream.EVENTS)))

    box.end(signal.SIGKILL)
    box.start()
    # The server heard no result, so it asks again.
    box.send(
        StartPayment(
            session_id="ts_0001", reader_id=box.reader_id, amount_minor=1234, currency="EUR"
        ),
        command_id,
    )
    outcome = box.outcome_of("ts_0001")
    eventually(lambda: command_id in box.results(), deadline_s=20)

    purchases = [one for one in box.terminal.books()["transactions"] if one["kind"] == "purchase"]
    assert box.terminal.books()["sum_minor"] == (1234 if outcome == "approved" else 0)
    assert len(purchases) <= 1
    assert len(box.payments()) == 1
    assert box.results()[command_id].status == "succeeded"
    assert [one.boot for one in box.taken.presence if one.state == "online"][-1] == 2


def test_sales_survive_kills_of_agent_and_broker(box: Box) -> None:
    box.start()
    for number in range(1, 13):
        session_id, command_id = f"ts_{number:04}", f"cmd_sale{number:04}"
        body = StartPayment(
            session_id=session_id,
            reader_id=box.reader_id,
            amount_minor=100 + number,
            currency="EUR",
        )
        box.send(body, command_id)
        if number % 4 == 0:
            box.end(signal.SIGKILL)
            box.start()
        if number % 4 == 2:
            box.site.broker.kill()
            box.site.broker.start()
        box.insist(body, command_id)

    approved = [one.amount_minor for one in box.payments() if one.outcome == "approved"]
    assert len(box.results()) == 12
    assert len(approved) >= 10
    assert box.terminal.books()["sum_minor"] == sum(approved)
    assert len({one.session_id for one in box.payments()}) == len(box.payments())
    assert box.taken.contradictions == []


def test_an_agent_is_restarted_on_command(box: Box) -> None:
    box.start()

    command_id = box.send(RestartAgent())

    assert box.process.wait(20) == 0
    eventually(lambda: command_id in box.results())
    assert box.results()[command_id].status == "succeeded"


def test_two_agents_do_not_share_a_folder(box: Box) -> None:
    box.start()

    second = run_agent("run", "--config", str(box.config))

    assert second.code == 1
    assert f"(process {box.process.pid}); stop it first" in second.complaint
    assert box.process.poll() is None


def test_without_an_identity_the_agent_says_how_to_get_one(tmp_path: Path) -> None:
    ended = run_agent("run", "--state-dir", str(tmp_path))

    assert ended.code == 1
    assert "omnitill-agent enroll --url" in ended.complaint


def test_a_journal_that_broke_is_kept_aside_and_the_server_learns_of_it(box: Box) -> None:
    box.start()
    for number in (1, 2, 3):
        box.pay(f"ts_000{number}", 100)
        box.outcome_of(f"ts_000{number}")
    box.end(signal.SIGKILL)
    (box.state_dir / "journal.db").write_bytes(b"\xa5" * 20_000)
    # Without it SQLite repairs even this.
    (box.state_dir / "journal.db-wal").unlink()

    box.start()
    box.pay("ts_0009", 900)
    outcome = box.outcome_of("ts_0009")

    events = [one for one in box.taken.told(Stream.EVENTS) if isinstance(one, DeviceEvent)]
    assert outcome == "approved"
    assert "journal.damaged" in {event.kind for event in events}
    assert (box.taken.states[-1].epoch, box.taken.states[-1].boot) == (2, 2)
    assert len(list(box.state_dir.glob("journal-damaged-*.db"))) == 1


def test_a_box_that_is_enrolled_anew_tells_as_the_new_device_what_it_had_not_told(box: Box) -> None:
    box.start()
    box.site.plane.acknowledges = False
    box.pay("ts_0001", 1234)
    box.outcome_of("ts_0001")
    box.end(signal.SIGKILL)
    box.site.plane.acknowledges = True

    box.device_id = "dev-0002"
    box.site.enrolled(box.state_dir, device_id="dev-0002")
    box.start()

    assert box.outcome_of("ts_0001") == "approved"
    kinds = [one.kind for one in box.taken.told(Stream.EVENTS) if isinstance(one, DeviceEvent)]
    assert "journal.other_device" in kinds
    assert box.taken.envelopes(Stream.TRANSACTIONS)[0].epoch == 2


def test_a_certificate_near_its_end_is_renewed_and_used_by_itself(box: Box) -> None:
    url = box.site.plane.serve(box.site.server_files)
    before = box.site.enrolled(box.state_dir, control_url=url, age_days=80)

    box.start()
    eventually(lambda: ("POST", RENEW) in box.site.plane.requests, deadline_s=20)
    eventually(
        lambda: [one.conn for one in box.taken.presence if one.state == "online"][-1] == 2,
        deadline_s=20,
    )
    box.pay("ts_0001", 1234)

    after = identities.load(box.state_dir)
    assert box.outcome_of("ts_0001") == "approved"
    assert after.membership.valid_until > before.membership.valid_until
    assert box.site.plane.requests.count(("POST", RENEW)) == 1


def test_a_shop_that_blocks_mqtt_sells_over_https(box: Box) -> None:
    url = box.site.plane.serve(box.site.server_files)
    box.site.enrolled(box.state_dir, control_url=url, broker=box.site.where(port=free_port()))
    box.config.write_text(
        box.config.read_text().replace('cloud = "mqtt"', 'cloud = "auto"\nhttps_after_s = 0.1')
    )

    box.start()
    box.pay("ts_0001", 1234)

    assert box.outcome_of("ts_0001") == "approved"
    assert box.terminal.books()["sum_minor"] == 1234
    assert box.end(signal.SIGTERM) == 0


# --- the spool command -----------------------------------------------------------------------------------------


def spool(box: Box, *words: str) -> list[dict[str, object]]:
    ended = run_agent("spool", *words, "--config", str(box.config))
    assert (ended.code, ended.complaint) == (0, "")
    return ended.lines


def test_the_spool_is_shown_while_the_agent_works(box: Box) -> None:
    box.start()
    box.pay("ts_0001", 1234)
    box.outcome_of("ts_0001")

    def is_all_acknowledged() -> bool:
        (stats,) = spool(box, "stats")
        streams = json.loads(json.dumps(stats["streams"]))
        return all(stream["pending"] == 0 for stream in streams.values())

    eventually(is_all_acknowledged, deadline_s=15)
    (payment,) = spool(box, "list", "--stream", "tx")
    (whole,) = spool(box, "export", "--stream", "tx")
    (stats,) = spool(box, "stats")

    assert (payment["session_id"], payment["outcome"], payment["amount_minor"]) == (
        "ts_0001",
        "approved",
        1234,
    )
    assert payment["state"] == "acknowledged"
    message = json.loads(json.dumps(whole["message"]))
    assert message["data"]["masked_pan"] == "411111******1111"
    assert stats["device_id"] == DEVICE
    assert stats["undecided_sessions"] == 0


def test_the_spool_says_when_there_is_none(tmp_path: Path) -> None:
    ended = run_agent("spool", "list", "--state-dir", str(tmp_path))

    assert ended.code == 1
    assert "--state-dir" in ended.complaint


@pytest.mark.parametrize("name", ["run", "enroll", "doctor", "spool"])
def test_help_shows_an_example(name: str) -> None:
    ended = subprocess.run(
        [str(PROGRAM), name, "--help"], capture_output=True, text=True, check=True
    )

    assert f"Example:\n  omnitill-agent {name}" in ended.stdout
