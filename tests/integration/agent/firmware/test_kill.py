"""The agent as a process, killed while a reader takes new software: it looks what runs, and sends nothing twice."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.firmware import jobs
from agent.journal import JournalUnwritable, open_read_only
from protocols.cloud.commands import UpdateReader
from protocols.cloud.events import JobProgress
from protocols.cloud.topics import Stream
from tests.support.agent_program import PROGRAM, Simulation, simulation
from tests.support.branch import DEVICE, Site
from tests.support.firmware import NEW, OLD, PROFILE, authority, image, release_of
from tests.support.waiting import eventually

CONTENT = image(size=12_000_000)
RELEASE = release_of(CONTENT)
JOB = "job_0001"


class Box:
    """A till with a terminal that takes software; its release lies here already."""

    def __init__(self, site: Site, folder: Path, terminal: Simulation) -> None:
        self.site = site
        self.state_dir = folder / "state"
        self.config = folder / "agent.toml"
        self.log = folder / "agent.log"
        self.config.write_text(
            f'state_dir = "{self.state_dir}"\ncloud = "mqtt"\n[[readers]]\nname = "counter-1"\n'
            f'profile = "{PROFILE}"\naddress = "{terminal.address}"\n'
        )
        identity = site.enrolled(self.state_dir)
        with identity.ca_file.open("a") as file:
            file.write(authority().ca_pem)
        (self.state_dir / "firmware").mkdir()
        (self.state_dir / "firmware" / RELEASE.files[0].sha256).write_bytes(CONTENT)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(PROGRAM), "run", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)

    def job(self) -> jobs.Job | None:
        """What the journal says of the job."""
        with (
            contextlib.suppress(JournalUnwritable),
            contextlib.closing(open_read_only(self.state_dir)) as db,
        ):
            return next(iter(jobs.everything(db)), None)
        return None

    def told(self) -> list[str]:
        """States that the control plane heard of."""
        told = self.site.plane.taken(DEVICE).told(Stream.JOBS)
        heard = [one for one in told if isinstance(one, JobProgress)]
        return [one.state for one in heard if one.percent is None or one.state == "done"]

    def reader(self) -> tuple[str, str, str | None]:
        """Id, state and version of the reader, as the device told last."""
        states = self.site.plane.taken(DEVICE).states
        readers = states[-1].readers if states else []
        return (
            (readers[0].reader_id, readers[0].state, readers[0].software_version)
            if readers
            else ("", "", None)
        )


@pytest.fixture
def box(site: Site, tmp_path: Path) -> Iterator[Box]:
    books = tmp_path / "terminal.json"
    books.write_text(json.dumps({"software_version": OLD}))
    with simulation(
        "--tcp", "127.0.0.1:0", "--pace", "0.1", "--profile", PROFILE, "--state", str(books)
    ) as terminal:
        made = Box(site, tmp_path, terminal)
        try:
            yield made
        finally:
            if made.process is not None and made.process.poll() is None:
                made.kill()


@pytest.mark.parametrize("state", ["claiming", "transferring", "rebooting", "verifying"])
def test_a_killed_agent_finds_out_what_runs_and_sends_nothing_again(box: Box, state: str) -> None:
    box.start()
    eventually(lambda: box.reader()[1] == "ready", deadline_s=30)
    asked = UpdateReader(job_id=JOB, reader_id=box.reader()[0], release=RELEASE)
    box.site.plane.send(DEVICE, asked, "cmd_0001")
    order = list(jobs.JobState)

    def has_come() -> bool:
        job = box.job()
        return job is not None and order.index(job.state) >= order.index(jobs.JobState(state))

    eventually(has_come, deadline_s=60)
    box.kill()
    at_death = box.job()
    assert at_death is not None
    box.start()

    def has_ended() -> bool:
        job = box.job()
        return job is not None and job.state.is_final

    eventually(has_ended, deadline_s=60)
    job = box.job()
    assert job is not None
    eventually(lambda: box.told()[-1:] == [job.state.value], deadline_s=20)
    eventually(lambda: box.reader()[1] == "ready", deadline_s=20)

    began_before = at_death.attempts
    assert job.attempts == max(began_before, 1)
    assert box.told().count("transferring") <= 1
    assert job.state is (jobs.JobState.DONE if box.reader()[2] == NEW else jobs.JobState.FAILED)
