"""What is signed of a release of reader software: everything that decides what ends up in which reader.

The signature is made with a key of the installation whose certificate names the purpose (extended key usage *code
signing*) and was issued by the authority that devices know from their enrolment. Where a file lies is not signed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocols.cloud.configuration import canonical

if TYPE_CHECKING:
    from protocols.cloud.commands import FirmwareRelease

#: Stands before what is signed, so that no other signature of ours can be taken for one.
PURPOSE: Final = b"omnitill-firmware-release-v1\n"


def signed_bytes(release: FirmwareRelease) -> bytes:
    """The bytes that are signed and verified."""
    return PURPOSE + canonical(
        {
            "release_id": release.release_id,
            "profile": release.profile,
            "component": release.component,
            "version": release.version,
            "files": [
                {"number": file.number, "size": file.size, "sha256": file.sha256}
                for file in release.files
            ],
        }
    )
