"""What jobs there are: the functions in modules of ``control_plane.jobs`` that carry ``@job``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from sqlalchemy.orm import Session

import control_plane.jobs
from control_plane.discovery import modules_in
from control_plane.outbox import DEFAULT_ATTEMPTS
from control_plane.parts import Parts


@dataclass(frozen=True, slots=True)
class JobRun:
    """One run of a job. Delivery is at least once: be idempotent by ``job_id`` or by the payload."""

    parts: Parts
    job_id: str
    kind: str
    payload: dict[str, Any]
    merchant_id: str | None
    #: 1 for the first try.
    attempt: int
    created_at: datetime

    def transaction(self) -> AbstractContextManager[Session]:
        """A transaction of the job's own; talk to the outside between transactions, not inside one."""
        return self.parts.database.transaction()


Handler: TypeAlias = Callable[[JobRun], None]


@dataclass(frozen=True, slots=True)
class JobKind:
    """A function that runs jobs of one name, and when it runs by itself."""

    name: str
    handler: Handler
    every: timedelta | None
    max_attempts: int


_KINDS: dict[str, JobKind] = {}


def job(
    name: str, *, every: timedelta | None = None, max_attempts: int = DEFAULT_ATTEMPTS
) -> Callable[[Handler], Handler]:
    """Make a function the handler of jobs called ``name``; with ``every``, the scheduler owes one each time."""

    def register(handler: Handler) -> Handler:
        if name in _KINDS and _KINDS[name].handler.__qualname__ != handler.__qualname__:
            raise ValueError(f"two jobs are called {name}")
        _KINDS[name] = JobKind(name, handler, every, max_attempts)
        return handler

    return register


def all_jobs() -> dict[str, JobKind]:
    """Every job there is, by name."""
    for _ in modules_in(control_plane.jobs):
        pass
    return dict(_KINDS)
