"""What an authorisation can be in, as one table. Every move is guarded by the state before it."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class AuthorizationState(StrEnum):
    """Where the money of one shown card stands."""

    ASKED = "asked"
    """The row is there; the processor is being asked, or whoever asked is gone."""
    REFUSED = "refused"
    """Nobody was asked, or the processor would not hear of it: nothing is reserved."""
    DECLINED = "declined"
    APPROVED = "approved"
    """Reserved; the reader has not said yet how the sale ended."""
    REVERSING = "reversing"
    """To be taken back, until the processor says that it is."""
    REVERSED = "reversed"
    CAPTURING = "capturing"
    """The reader approved; the money is to be taken, until the processor says that it is."""
    CAPTURED = "captured"
    CAPTURE_REFUSED = "capture_refused"
    """The goods are gone and the money was not taken: a person must look."""

    @property
    def is_final(self) -> bool:
        """True when nothing more is to be done by itself."""
        return not NEXT[self]


_S = AuthorizationState

NEXT: Final[dict[AuthorizationState, frozenset[AuthorizationState]]] = {
    _S.ASKED: frozenset({_S.REFUSED, _S.DECLINED, _S.APPROVED, _S.REVERSING}),
    _S.REFUSED: frozenset(),
    _S.DECLINED: frozenset(),
    _S.APPROVED: frozenset({_S.CAPTURING, _S.REVERSING}),
    _S.REVERSING: frozenset({_S.REVERSED}),
    _S.REVERSED: frozenset(),
    _S.CAPTURING: frozenset({_S.CAPTURED, _S.CAPTURE_REFUSED}),
    _S.CAPTURED: frozenset(),
    _S.CAPTURE_REFUSED: frozenset(),
}

#: Of these a session has one at a time.
HOLDING: Final = (_S.ASKED, _S.APPROVED, _S.CAPTURING, _S.CAPTURED)
#: What the clock looks at again.
TO_SETTLE: Final = (_S.ASKED, _S.APPROVED, _S.REVERSING, _S.CAPTURING)


class RefundState(StrEnum):
    """Where money given back stands."""

    ASKED = "asked"
    """To be given back, until the processor says that it is."""
    DONE = "done"
    REFUSED = "refused"
