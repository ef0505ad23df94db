"""The agent as a process, with profiles that its installation signed above the built-in ones."""

from __future__ import annotations

import signal
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from firmware_profiles import BUILT_IN
from firmware_profiles.overlay import SIGNATURE, read_folder, signed_text
from protocols.cloud.events import DeviceEvent
from protocols.cloud.topics import Stream
from tests.support.agent_program import PROGRAM, simulation
from tests.support.branch import DEVICE, Site
from tests.support.waiting import eventually

OURS = """
schema = 1
[profile]
id = "our-reader"
revision = 1
vendor = "any"
model = "our reader"
kind = "payment_terminal"
family = "zvt"
inherits = "generic-zvt-tcp"
"""


@contextmanager
def running(site: Site, folder: Path, overlay: str) -> Iterator[None]:
    """An agent whose only reader is of the model in the overlay, signed by its installation."""
    state_dir, profiles = folder / "state", folder / "state" / "profiles"
    profiles.mkdir(parents=True)
    (profiles / "our-reader.toml").write_text(overlay)
    key = ec.generate_private_key(ec.SECP256R1())
    identity = site.enrolled(state_dir)
    with identity.ca_file.open("a") as file:
        file.write(site.authority.sign(key.public_key(), "profiles"))
    text = signed_text(profiles, read_folder(profiles))
    (profiles / SIGNATURE).write_bytes(b64encode(key.sign(text, ec.ECDSA(hashes.SHA256()))))
    with simulation("--tcp", "127.0.0.1:0", "--pace", "0.05") as terminal:
        config = folder / "agent.toml"
        config.write_text(
            f'state_dir = "{state_dir}"\ncloud = "mqtt"\n[[readers]]\nname = "counter-1"\n'
            f'profile = "our-reader"\naddress = "{terminal.address}"\n'
        )
        with (folder / "agent.log").open("ab") as log:
            process = subprocess.Popen(
                [str(PROGRAM), "run", "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            yield
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(20)


def refusals(site: Site) -> list[DeviceEvent]:
    told = site.plane.taken(DEVICE).told(Stream.EVENTS)
    return [one for one in told if isinstance(one, DeviceEvent) and one.kind == "profiles.refused"]


def test_a_reader_of_a_model_that_only_the_installation_knows_is_ready(
    site: Site, tmp_path: Path
) -> None:
    assert not list(BUILT_IN.rglob("our-reader.toml"))
    with running(site, tmp_path, OURS):

        def reader() -> tuple[str, str] | None:
            states = site.plane.taken(DEVICE).states
            readers = states[-1].readers if states else []
            return (readers[0].profile, readers[0].state) if readers else None

        eventually(lambda: reader() == ("our-reader", "ready"), deadline_s=30)

    assert refusals(site) == []


def test_a_bad_profile_is_told_by_file_and_key_and_not_used(site: Site, tmp_path: Path) -> None:
    with running(site, tmp_path, OURS + "[health]\nheartbeat = 1\n"):
        eventually(lambda: refusals(site), deadline_s=30)

    (event,) = refusals(site)
    assert event.facts == {"file": "our-reader.toml", "key": "health.heartbeat"}
    assert event.text.startswith("The additional reader profiles are not used: our-reader.toml")
    states = site.plane.taken(DEVICE).states
    assert not any(one.state == "ready" for state in states for one in state.readers)
