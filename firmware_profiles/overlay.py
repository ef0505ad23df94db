"""A folder of profiles above the built-in ones, delivered by the control plane and signed with its key.

`overlay.sig` beside the files holds the signature (ECDSA with SHA-256 over P-256, base64) of the list of all of them
with their hashes. A folder that was changed, or whose signature is not the control plane's, is not used at all.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
from typing import TYPE_CHECKING, Final

from firmware_profiles.errors import OverlayUntrusted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SIGNATURE: Final = "overlay.sig"
#: What is signed begins with this, so that the signature means nothing anywhere else.
_PURPOSE: Final = b"omnitill reader profiles 1\n"
Files = dict["Path", bytes]


def read_folder(folder: Path) -> Files:
    """Every profile below a folder with its content, in the order of their paths."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*.toml"))}


def signed_text(folder: Path, files: Mapping[Path, bytes]) -> bytes:
    """What the control plane signs: a line with hash and path for each file."""
    lines = [
        f"{hashlib.sha256(content).hexdigest()}  {path.relative_to(folder).as_posix()}\n"
        for path, content in sorted(files.items())
    ]
    return _PURPOSE + "".join(lines).encode()


def read_signed(folder: Path, certificate_pem: bytes) -> Files:
    """The files of a folder that the holder of one of these certificates signed. Raises OverlayUntrusted.

    They are read once: what was checked is what is used.
    """
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 (12 MiB, and few have an overlay)
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.x509 import load_pem_x509_certificates  # noqa: PLC0415

    files = read_folder(folder)
    try:
        signature = base64.b64decode((folder / SIGNATURE).read_bytes().strip(), validate=True)
    except FileNotFoundError:
        raise OverlayUntrusted(str(folder), f"it has no {SIGNATURE}") from None
    except (OSError, binascii.Error) as error:
        raise OverlayUntrusted(str(folder), f"{SIGNATURE} cannot be read") from error
    try:
        authorities = load_pem_x509_certificates(certificate_pem)
        keys = [one.public_key() for one in authorities]
    except ValueError:
        raise OverlayUntrusted(
            str(folder), "the certificate to check it with is no certificate"
        ) from None
    text = signed_text(folder, files)
    for key in keys:
        if not isinstance(key, ec.EllipticCurvePublicKey):
            continue
        with contextlib.suppress(InvalidSignature):
            key.verify(signature, text, ec.ECDSA(SHA256()))
            return files
    raise OverlayUntrusted(str(folder), "its files are not those that the control plane signed")
