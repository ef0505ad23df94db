"""The life of a device as one table of states and events."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from control_plane.errors import Conflict


class DeviceState(StrEnum):
    """Where a device stands."""

    MANUFACTURED = "manufactured"
    """Known by its serial number only."""
    CLAIMED = "claimed"
    """Belongs to a location; has no certificate yet."""
    ENROLLED = "enrolled"
    """Has a certificate; was never heard of."""
    ACTIVE = "active"
    SUSPENDED = "suspended"
    """Keeps its certificate; nothing it says is taken in until it is resumed, and nothing of that is lost."""
    REPLACED = "replaced"
    """Another device took its place."""
    REVOKED = "revoked"
    """Its certificates are revoked: it cannot connect any more."""
    RETIRED = "retired"

    @property
    def may_speak(self) -> bool:
        """Whether what the device sends is taken in."""
        return self in _SPEAKING

    @property
    def may_connect(self) -> bool:
        """Whether the broker lets the device in."""
        return self in _CONNECTING


class DeviceStep(StrEnum):
    """What can happen to a device."""

    CLAIM = "claim"
    ENROL = "enrol"
    HEAR = "hear"
    SUSPEND = "suspend"
    RESUME = "resume"
    REPLACE = "replace"
    REVOKE = "revoke"
    RETIRE = "retire"


_S, _E = DeviceState, DeviceStep
_SPEAKING: Final = frozenset({_S.ENROLLED, _S.ACTIVE})
_CONNECTING: Final = frozenset({_S.ENROLLED, _S.ACTIVE, _S.SUSPENDED})

TRANSITIONS: Final[dict[tuple[DeviceState, DeviceStep], DeviceState]] = {
    (_S.MANUFACTURED, _E.CLAIM): _S.CLAIMED,
    (_S.MANUFACTURED, _E.RETIRE): _S.RETIRED,
    (_S.CLAIMED, _E.ENROL): _S.ENROLLED,
    (_S.CLAIMED, _E.RETIRE): _S.RETIRED,
    (_S.ENROLLED, _E.HEAR): _S.ACTIVE,
    **{
        (state, step): target
        for state in (_S.ENROLLED, _S.ACTIVE, _S.SUSPENDED)
        for step, target in (
            (_E.REPLACE, _S.REPLACED),
            (_E.REVOKE, _S.REVOKED),
            (_E.RETIRE, _S.RETIRED),
        )
    },
    (_S.ENROLLED, _E.SUSPEND): _S.SUSPENDED,
    (_S.ACTIVE, _E.SUSPEND): _S.SUSPENDED,
    (_S.SUSPENDED, _E.RESUME): _S.ACTIVE,
    (_S.REPLACED, _E.REVOKE): _S.REVOKED,
    (_S.REPLACED, _E.RETIRE): _S.RETIRED,
    (_S.REVOKED, _E.REPLACE): _S.REPLACED,
    (_S.REVOKED, _E.RETIRE): _S.RETIRED,
}
FINAL_STATES: Final = frozenset({_S.RETIRED})


class DeviceNotInState(Conflict):
    """A step that the device's present state does not allow."""

    code = "device_not_in_state"
    message = "Device {device_id} is {state}, so it cannot {step}. Look at the device and choose another action."


def advance(state: DeviceState, step: DeviceStep, *, device_id: str = "") -> DeviceState:
    """The state after a step. Raises DeviceNotInState when the table does not have it."""
    target = TRANSITIONS.get((state, step))
    if target is None:
        raise DeviceNotInState(device_id=device_id, state=state.value, step=step.value)
    return target
