"""Why a release or an update is not accepted."""

from __future__ import annotations

from control_plane.errors import Conflict, RequestRefused


class ReleaseKnown(Conflict):
    """The same file of the same version is here already."""

    code = "firmware_release_known"
    message = "There is a release {version} for {profile} already. Give the new one another version, or use it."


class ReleaseRefused(RequestRefused):
    """A release that no reader could take."""

    code = "firmware_release_refused"
    message = "The release was not taken: {reason}"


class PieceRefused(Conflict):
    """A piece of a file that does not come next, or belongs to no file that is being uploaded."""

    code = "firmware_piece_refused"
    message = "Send the part of the file that begins at byte {expected}."

    def __init__(self, expected: int) -> None:
        super().__init__(expected=expected)


class FileAltered(RequestRefused):
    """What came is not what was announced."""

    code = "firmware_file_altered"
    message = "The file has another SHA-256 than was announced. Upload it again."


class UpdateRefused(Conflict):
    """The update must not be ordered; the reasons are the planner's."""

    code = "firmware_update_refused"
    message = "The update was not ordered. {reason}"

    def __init__(self, reason: str, codes: list[str]) -> None:
        super().__init__(reason=reason, reasons=", ".join(codes))


class UpdateRunning(Conflict):
    """One update at a time."""

    code = "firmware_update_running"
    message = "{reader} is being updated already. Wait until that has ended."
