"""Brings the files of a release here, piece by piece over signed HTTPS; only what was signed may stay.

A file that is half here goes on where it stopped, after any number of starts. Imported only when there is a release.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import os
import shutil
from typing import TYPE_CHECKING, Final

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from agent.errors import AgentError
from agent.https_client import ControlPlaneRefused, ControlPlaneUnreachable
from agent.journal import RESERVE_BYTES, sync_folder
from agent.threads import in_thread
from protocols.cloud.releases import signed_bytes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection
    from pathlib import Path

    from protocols.cloud.commands import FirmwareRelease, ReleaseFile

log = structlog.get_logger()

PIECE_BYTES: Final = 512 * 1024
#: Left free beside the files: payments come first.
MARGIN_BYTES: Final = 4 * RESERVE_BYTES
#: No release of any reader is larger, whatever its profile says.
LARGEST_BYTES: Final = 512 * 1024 * 1024
_LONGEST_PAUSE_S: Final = 60.0
#: Answers that trying again does not change.
_FINAL_ANSWERS: Final = frozenset({400, 403, 404, 409, 410, 413, 416, 422})


class ReleaseRefused(AgentError):
    """The release cannot be used, now or later; ``code`` says why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.reason = code


def check_signature(release: FirmwareRelease, ca_pem: bytes) -> None:
    """Whether the installation that this device belongs to made this release. Raises ReleaseRefused."""
    try:
        authorities = x509.load_pem_x509_certificates(ca_pem)
        signer = x509.load_pem_x509_certificate(release.certificate.encode())
        signature = base64.b64decode(release.signature, validate=True)
        key = signer.public_key()
        usages = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (ValueError, binascii.Error, x509.ExtensionNotFound) as error:
        raise _not_signed(f"its signature cannot be read ({error})") from error
    if ExtendedKeyUsageOID.CODE_SIGNING not in usages or not isinstance(
        key, ec.EllipticCurvePublicKey
    ):
        raise _not_signed("its key is not for releases")
    if not any(_is_issuer(authority, signer) for authority in authorities):
        raise _not_signed("its key is of another installation")
    try:
        key.verify(signature, signed_bytes(release), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise _not_signed("it was changed after it was signed") from None


def _is_issuer(authority: x509.Certificate, signer: x509.Certificate) -> bool:
    try:
        signer.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _not_signed(why: str) -> ReleaseRefused:
    return ReleaseRefused("bad_signature", f"The release is not accepted: {why}.")


class Downloads:
    """Files of releases in a folder of their own. `fetch(path)` is one signed GET; see `HttpsClient.request`."""

    def __init__(self, folder: Path, fetch: Callable[[str], Awaitable[bytes]]) -> None:
        self._folder = folder
        self._fetch = fetch

    def path_of(self, file: ReleaseFile) -> Path:
        """Where a file is once it is here. Named by its content, so two jobs share it."""
        return self._folder / file.sha256

    async def bring(
        self, release: FirmwareRelease, progress: Callable[[int, int], None], largest: int
    ) -> None:
        """All files, checked. Goes on for ever while the control plane cannot be reached.

        `progress(here, total)` in bytes. Raises ReleaseRefused.
        """
        total = sum(file.size for file in release.files)
        if total > min(largest, LARGEST_BYTES):
            raise ReleaseRefused(
                "too_large",
                f"The release has {total} bytes; this reader takes {min(largest, LARGEST_BYTES)} at most.",
            )
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            before = 0
            for file in release.files:
                if not await self.is_here(file):
                    await self._bring_one(file, before, total, progress)
                before += file.size
                progress(before, total)
        except OSError as error:
            raise ReleaseRefused(
                "disk_failed",
                f"The release cannot be stored: {error.strerror or error}. Look at the device's disk, then try again.",
            ) from error

    async def is_here(self, file: ReleaseFile) -> bool:
        """Whether the whole file is here and is what was signed. Reads all of it."""
        path = self.path_of(file)
        return await in_thread(lambda: _hash_of(path) == file.sha256, "firmware-hash")

    def remove(self, release: FirmwareRelease, needed: Collection[str]) -> None:
        """Nobody needs the files any more, except those whose SHA-256 is among `needed`."""
        for file in release.files:
            if file.sha256 in needed:
                continue
            for path in (self.path_of(file), self._part_of(file)):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)

    def _part_of(self, file: ReleaseFile) -> Path:
        return self._folder / f"{file.sha256}.part"

    async def _bring_one(
        self, file: ReleaseFile, before: int, total: int, progress: Callable[[int, int], None]
    ) -> None:
        """Raises ReleaseRefused, OSError."""
        part = self._part_of(file)
        here = part.stat().st_size if part.exists() else 0
        if here > file.size:
            part.unlink()
            here = 0
        room = shutil.disk_usage(self._folder).free
        if room < file.size - here + MARGIN_BYTES:
            raise ReleaseRefused(
                "disk_full",
                f"The release needs {file.size - here} bytes and the disk has {room} left. "
                "Make room on it, then try again.",
            )
        with part.open("ab") as out:
            while here < file.size:
                length = min(PIECE_BYTES, file.size - here)
                piece = await self._piece(f"{file.path}?offset={here}&length={length}")
                if len(piece) != length:
                    raise _altered(file)
                out.write(piece)
                out.flush()
                here += length
                progress(before + here, total)
            os.fsync(out.fileno())
        if await in_thread(lambda: _hash_of(part), "firmware-hash") != file.sha256:
            part.unlink()
            raise _altered(file)
        part.replace(self.path_of(file))
        sync_folder(self._folder)

    async def _piece(self, path: str) -> bytes:
        pause_s = 0.5
        while True:
            try:
                return await self._fetch(path)
            except ControlPlaneUnreachable as error:
                log.info("firmware_download_waits", reason=error.message)
            except ControlPlaneRefused as refused:
                if refused.status in _FINAL_ANSWERS:
                    raise ReleaseRefused(
                        "not_offered",
                        f"The control plane does not give the file: {refused.message}",
                    ) from refused
                log.info("firmware_download_waits", reason=refused.message)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)


def _altered(file: ReleaseFile) -> ReleaseRefused:
    return ReleaseRefused(
        "bad_hash",
        f"File {file.number} is not the one that was signed; nothing was installed. Upload the release again.",
    )


def _hash_of(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(1024 * 1024):
                digest.update(piece)
    except FileNotFoundError:
        return ""
    return digest.hexdigest()
