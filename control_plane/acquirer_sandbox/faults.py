"""What goes wrong on purpose: kept in memory, a counted number of times."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase


class FaultKind(StrEnum):
    """The ways a call goes wrong."""

    #: Never arrives: nothing happens, the connection breaks.
    LOST_REQUEST = "lost_request"
    #: It happens, then the connection breaks.
    LOST_ANSWER = "lost_answer"
    #: It happens; the answer is held back for ``delay_s``, then the connection breaks.
    TIMEOUT_AFTER_SUCCESS = "timeout_after_success"
    #: 500, nothing happened.
    SERVER_ERROR = "server_error"
    #: It happens, and 502 is the answer.
    SERVER_ERROR_AFTER_SUCCESS = "server_error_after_success"
    #: 429, nothing happened.
    RATE_LIMIT = "rate_limit"
    #: Runs after ``delay_s``.
    SLOW = "slow"

    @property
    def happens(self) -> bool:
        """Whether the call is carried out."""
        return self not in {self.LOST_REQUEST, self.SERVER_ERROR, self.RATE_LIMIT}

    @property
    def breaks(self) -> bool:
        """Whether the connection is cut instead of an answer."""
        return self in {self.LOST_REQUEST, self.LOST_ANSWER, self.TIMEOUT_AFTER_SUCCESS}


@dataclass(slots=True, kw_only=True)
class Fault:
    """``on`` is a shell pattern of ``METHOD /path``."""

    kind: FaultKind
    on: str = "POST *"
    times: int = 1
    delay_s: float = 0.0


class Faults:
    """The faults that are set, oldest first."""

    def __init__(self) -> None:
        self._set: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """It goes off ``times`` times."""
        with self._lock:
            self._set.append(fault)

    def listed(self) -> list[Fault]:
        """What is still to go off."""
        with self._lock:
            return list(self._set)

    def clear(self) -> None:
        """Unset all."""
        with self._lock:
            self._set.clear()

    def take(self, subject: str) -> Fault | None:
        """The fault that hits this call, counted down; None mostly."""
        with self._lock:
            for fault in self._set:
                if fnmatchcase(subject, fault.on):
                    fault.times -= 1
                    if fault.times <= 0:
                        self._set.remove(fault)
                    return fault
        return None
