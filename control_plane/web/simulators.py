"""The demo's simulated readers, as far as pages know them: what each can be made to do, and doing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx2

_WAIT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Simulators:
    """Control ports of simulated readers, by the reader's name. Only the demo has some."""

    controls: Mapping[str, str]

    def state(self, name: str) -> dict[str, Any] | None:  # a simulator's own JSON
        """What a reader says of itself; None while its simulator is not there."""
        try:
            answer = httpx2.get(f"{self.controls[name]}/state", timeout=_WAIT_S)
            answer.raise_for_status()
        except httpx2.HTTPError:
            return None
        found: dict[str, Any] = answer.json()
        return found

    def play(self, name: str, action: str, facts: Mapping[str, str]) -> str:
        """Do something to a reader; what came of it, in the simulator's English."""
        try:
            answer = httpx2.post(
                f"{self.controls[name]}/actions/{action}", json=dict(facts), timeout=_WAIT_S
            )
        except httpx2.HTTPError as failure:
            return str(failure)
        told: dict[str, str] = answer.json()
        return told.get("said") or told.get("refused", "")
