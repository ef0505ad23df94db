"""What goes wrong on purpose: set in memory, taken by the dispatcher and by the webhooks, a counted number of times."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from itertools import count


class FaultKind(StrEnum):
    """The ways a call or a webhook goes wrong."""

    #: The request never arrives: nothing happens, the connection breaks.
    LOST_REQUEST = "lost_request"
    #: It happens and is remembered for the idempotency key, then the connection breaks.
    LOST_ANSWER = "lost_answer"
    #: It happens; the answer is held back for ``delay_s``, then the connection breaks.
    TIMEOUT_AFTER_SUCCESS = "timeout_after_success"
    #: 500 and nothing happened; a second try with the same key runs.
    SERVER_ERROR = "server_error"
    #: It happens, and 500 is the answer, also to every repetition with the same key.
    SERVER_ERROR_AFTER_SUCCESS = "server_error_after_success"
    #: 500 and nothing happened, and 500 is the answer to every repetition with the same key.
    SERVER_ERROR_REMEMBERED = "server_error_remembered"
    #: 409 ``lock_timeout``; nothing happened.
    CONFLICT = "conflict"
    #: 429 ``rate_limit``; nothing happened.
    RATE_LIMIT = "rate_limit"
    #: Runs after ``delay_s``; a second call with the same key meanwhile is a 409.
    SLOW = "slow"
    #: Webhooks: sent ``delay_s`` late by the sandbox's clock; twice; after the next one; never.
    WEBHOOK_LATE = "webhook_late"
    WEBHOOK_DOUBLED = "webhook_doubled"
    WEBHOOK_OUT_OF_ORDER = "webhook_out_of_order"
    WEBHOOK_LOST = "webhook_lost"


@dataclass(slots=True, kw_only=True)
class Fault:
    """``on`` is a shell pattern: ``POST /v1/payment_intents*`` for calls, an event type for webhooks."""

    kind: FaultKind
    on: str = "*"
    times: int = 1
    delay_s: float = 0.0
    id: int = 0

    @property
    def is_of_webhooks(self) -> bool:
        return self.kind.value.startswith("webhook_")


class Faults:
    """The faults that are set, oldest first."""

    def __init__(self) -> None:
        self._set: list[Fault] = []
        self._ids = count(1)
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        """Set it; it goes off ``times`` times."""
        with self._lock:
            fault.id = next(self._ids)
            self._set.append(fault)
        return fault

    def listed(self) -> list[Fault]:
        """What is still to go off."""
        with self._lock:
            return list(self._set)

    def clear(self, identifier: int | None = None) -> None:
        """Unset one, or all."""
        with self._lock:
            self._set = [
                one for one in self._set if identifier is not None and one.id != identifier
            ]

    def take(self, subject: str, *, webhook: bool = False) -> Fault | None:
        """The fault that hits this call (``METHOD /path``) or event type, counted down; None mostly."""
        if not self._set:
            return None
        with self._lock:
            for fault in self._set:
                if fault.is_of_webhooks is webhook and fnmatchcase(subject, fault.on):
                    fault.times -= 1
                    if fault.times <= 0:
                        self._set.remove(fault)
                    return fault
        return None
