"""Who this device is: its key and certificate, and where it belongs. Kept so that no crash leaves half of it.

`identity` in the state folder is a link to a folder that is never changed; a new key and its certificate come in a new
folder, and moving the link is what makes them valid.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from agent.errors import AgentError
from agent.journal import replace_file, sync_folder
from protocols.cloud.http import Broker

if TYPE_CHECKING:
    from pathlib import Path

_LINK: Final = "identity"
_FACTS: Final = "identity.json"
KEY_FILE: Final = "device.key"
CERTIFICATE_FILE: Final = "device.crt"
CA_FILE: Final = "ca.crt"


class NotEnrolled(AgentError):
    """There is no identity in the state folder."""

    code = "not_enrolled"


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """What the control plane said at enrolment, and about the present certificate."""

    device_id: str
    cell: str
    epoch: int
    control_url: str
    broker: Broker
    location_name: str
    merchant_name: str
    valid_from: datetime
    valid_until: datetime
    control_ca: str = ""
    """PEM of the certificates to trust for the control plane itself; empty: those that the system trusts."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A membership and the files that prove it."""

    membership: Membership
    folder: Path

    @property
    def key_file(self) -> Path:
        return self.folder / KEY_FILE

    @property
    def certificate_file(self) -> Path:
        return self.folder / CERTIFICATE_FILE

    @property
    def ca_file(self) -> Path:
        return self.folder / CA_FILE

    def renewal_due_at(self) -> datetime:
        """Two thirds of the certificate's life."""
        member = self.membership
        return member.valid_from + (member.valid_until - member.valid_from) * 2 / 3


def load(state_dir: Path) -> Identity:
    """The present identity. Raises NotEnrolled when there is none, or none that can be read."""
    link = state_dir / _LINK
    try:
        folder = link.resolve(strict=True)
        membership = msgspec.json.decode((folder / _FACTS).read_bytes(), type=Membership)
    except FileNotFoundError:
        raise NotEnrolled(
            f"this device is not enrolled (nothing in {link}); get a code from the console and run "
            "omnitill-agent enroll --url https://… --code …",
            state_dir=str(state_dir),
        ) from None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotEnrolled(
            f"the identity in {link} cannot be read ({error}); check the rights of the folder, or enrol again with "
            "omnitill-agent enroll --force",
            state_dir=str(state_dir),
        ) from error
    return Identity(membership, folder)


def save(
    state_dir: Path, membership: Membership, *, key_pem: bytes, certificate_pem: str, ca_pem: str
) -> Identity:
    """Make this the present identity, all of it or nothing; what was before is removed. Raises OSError."""
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = state_dir / f"{_LINK}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    folder.mkdir(mode=0o700)
    replace_file(folder / KEY_FILE, key_pem)
    replace_file(folder / CERTIFICATE_FILE, certificate_pem.encode())
    replace_file(folder / CA_FILE, ca_pem.encode())
    replace_file(folder / _FACTS, msgspec.json.encode(membership))
    fresh = state_dir / f".{_LINK}.new"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(folder.name)
    fresh.replace(state_dir / _LINK)
    sync_folder(state_dir)
    for other in state_dir.glob(f"{_LINK}-*"):
        if other != folder:
            with contextlib.suppress(OSError):
                shutil.rmtree(other)
    return Identity(membership, folder)
