"""How the SDK is set up, and how long and how often we ask.

The policy, for each call:

- surely nothing happened (no connection, name not found, 429, 409 ``lock_timeout``): wait and repeat, then
  ``NotReached``;
- it may have happened (time-out, connection lost after sending, 5xx): repeat with the *same* idempotency key, for which
  Stripe answers again what it answered first; when that brings nothing within the deadline, ``AnswerUnknown``;
- 409 ``idempotency_key_in_use``: the first request with this key is still running; wait for it, then ``AnswerUnknown``;
- once a call may have happened, a later refusal to listen (429, no connection, 401) does not make it undone.

There is never a second key for one call. Of a read, either failure only means that nothing was read.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Final, TypeVar
from uuid import uuid4

import stripe

from control_plane.processors.stripe import failures
from control_plane.processors.stripe.failures import Fate
from control_plane.processors.stripe.transport import Transport

T = TypeVar("T")

#: What a call asks: the SDK's services, and the options with its idempotency key.
Call = Callable[[stripe.V1Services, stripe.RequestOptions], T]

LIVE_PREFIXES: Final = ("sk_live_", "rk_live_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Whose account, and where its API is: Stripe's own when ``base`` is empty."""

    secret_key: str = field(repr=False)
    base: str = ""

    @property
    def is_live(self) -> bool:
        """Whether real money moves."""
        return self.secret_key.startswith(LIVE_PREFIXES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """``deadline_s`` bounds a whole call with its repetitions; a repetition waits only for what is left of it."""

    connect_s: float = 3.0
    read_s: float = 15.0
    deadline_s: float = 22.0
    #: Further tries after one whose answer was lost, and after one that was turned away.
    repeats_unknown: int = 2
    repeats_turned_away: int = 3
    #: Before the first repetition; doubled for each further one, and spread by half.
    pause_s: float = 0.25


class Stripe:
    """Asks the API of one account. Used by any number of threads."""

    def __init__(self, access: Access, patience: Patience | None = None) -> None:
        _introduce_ourselves()
        self.is_live = access.is_live
        self._patience = patience or Patience()
        base = access.base or stripe.DEFAULT_API_BASE
        self._transport = Transport(
            base, connect_s=self._patience.connect_s, read_s=self._patience.read_s
        )
        self._v1 = stripe.StripeClient(
            access.secret_key,
            http_client=self._transport,
            max_network_retries=0,
            base_addresses=(
                {"api": base, "connect": base, "files": base, "meter_events": base}
                if access.base
                else None
            ),
        ).v1

    def read(self, call: Call[T]) -> T:
        """Ask for something that changes nothing."""
        return self._ask(call, {})

    def write(self, call: Call[T], *, key: str | None = None) -> T:
        """Ask for a change. Without ``key`` its repetitions share one made here, and a caller's own do not."""
        return self._ask(call, {"idempotency_key": key or str(uuid4())})

    def close(self) -> None:
        """Let go of connections."""
        self._transport.close()

    def _ask(self, call: Call[T], options: stripe.RequestOptions) -> T:
        patience = self._patience
        deadline = time.monotonic() + patience.deadline_s
        left = {
            Fate.UNKNOWN: patience.repeats_unknown,
            Fate.TURNED_AWAY: patience.repeats_turned_away,
        }
        may_have_happened = False
        pause_s = patience.pause_s
        while True:
            try:
                with self._transport.until(deadline):
                    return call(self._v1, options)
            except stripe.StripeError as error:
                fate = failures.fate_of(error, may_have_happened=may_have_happened)
                if fate is Fate.ANSWERED:
                    raise failures.answered(error) from error
                may_have_happened = may_have_happened or fate in {Fate.UNKNOWN, Fate.RUNNING}
                # Waiting for one that runs is bounded by the deadline alone.
                left[fate] = left.get(fate, 1_000) - 1
                wait_s = pause_s * random.uniform(0.5, 1.5)  # noqa: S311 - spreads load, hides nothing
                if (
                    left[fate] < 0
                    or (fate is Fate.UNKNOWN and not failures.may_repeat(error))
                    or time.monotonic() + wait_s >= deadline
                ):
                    raise failures.given_up(
                        error, fate, may_have_happened=may_have_happened
                    ) from error
            time.sleep(wait_s)
            pause_s = min(2 * pause_s, 2.0)


def _introduce_ourselves() -> None:
    # The SDK keeps both for the whole process.
    stripe.enable_telemetry = False
    stripe.set_app_info("Omnitill", version=version("omnitill"))
