"""Releases for simulated terminals: their files, and the manifest that the installation signs."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import msgspec

from control_plane.clock import SystemClock
from control_plane.db.keyring import Keyring
from control_plane.devices.authority import Authority
from protocols.cloud.commands import FirmwareRelease, ReleaseFile
from protocols.cloud.releases import signed_bytes
from protocols.readers.zvt.sequences import VERSION_MARK

OLD = "GER-APP-v2.0.9"
NEW = "GER-APP-v2.0.12"
PROFILE = "feig-cvend-plug"


@cache
def authority() -> Authority:
    """Of the installation that the device under test was enrolled with."""
    return Authority.open(Path(mkdtemp()), Keyring([b"tests only" * 4]), SystemClock())


def image(version: str = NEW, size: int = 200_000) -> bytes:
    """A file that makes a simulated terminal tell this version."""
    head = VERSION_MARK + version.encode() + b"\n"
    return head + bytes(at * 31 % 256 for at in range(size - len(head)))


def release_of(
    content: bytes, *, version: str = NEW, profile: str = PROFILE, signer: Authority | None = None
) -> FirmwareRelease:
    """A signed release of one file, as file 16."""
    unsigned = FirmwareRelease(
        release_id="frl_0001",
        profile=profile,
        component="app",
        version=version,
        files=[
            ReleaseFile(
                number=16,
                size=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                path="/v1/device/firmware/frl_0001/16",
            )
        ],
        signature="",
        certificate="",
    )
    signed = (signer or authority()).sign_once(signed_bytes(unsigned))
    return msgspec.structs.replace(
        unsigned, signature=signed.signature, certificate=signed.certificate_pem
    )
