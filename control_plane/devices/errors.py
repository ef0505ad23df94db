"""What can be refused about devices."""

from __future__ import annotations

from control_plane.errors import Conflict, Forbidden, NotSignedIn, RequestRefused
from protocols.cloud.http import HEADER_TIME


class CodeRefused(Forbidden):
    """An enrolment code that lets nobody in. ``why`` is ``unknown``, ``expired``, ``used_up`` or ``withdrawn``."""

    code = "enrollment_code_refused"
    message = "This code does not work: it is {why}. Ask for a new code in the console."

    def __init__(self, why: str) -> None:
        super().__init__(why=why)


class DeviceNotTrusted(NotSignedIn):
    """A request whose signature is not one of an enrolled device."""

    code = "device_not_trusted"
    message = "The request is not signed by an enrolled device. Enrol it again with a new code."


class ClockSkew(NotSignedIn):
    """A signed request from too far away in time. The answer carries our time."""

    code = "clock_skew"
    message = (
        "The clock of the device is {seconds} seconds off. Correct it by the header Omnitill-Time."
    )

    def __init__(self, *, seconds: int, server_ms: int) -> None:
        super().__init__(seconds=seconds)
        self._server_ms = server_ms

    @property
    def headers(self) -> dict[str, str]:
        """Our time, from which the device corrects its own."""
        return {HEADER_TIME: str(self._server_ms)}


class ReplacementNotPossible(Conflict):
    """A device cannot take the place of this one."""

    code = "replacement_not_possible"
    message = "Device {new_id} cannot take the place of {old_id}: {reason}. Choose another device."


class LocationUnknown(RequestRefused):
    """The place where something shall stand is none of the merchant's."""

    code = "location_unknown"
    message = "There is no location {location_id}. Choose one from the list."
