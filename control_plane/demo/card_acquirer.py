"""The demo's processor for readers that only read cards: the sandbox acquirer as a child program."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import httpx2

from control_plane.accounts.caller import Caller
from control_plane.acquirer_sandbox.app import PLAY_SECRET
from control_plane.card_present.accounts import CardAccounts
from control_plane.card_present.processor import Access
from control_plane.demo import ports
from control_plane.demo.children import Children, program
from control_plane.parts import Parts

_ORGANIZATION: Final = "omnitill-demo"
_KEY: Final = "sandbox-key-1"
_READY_S: Final = 20.0
_LOOK_S: Final = 0.05


class CardAcquirer:
    """Its address, and what it has booked."""

    def __init__(self, url: str) -> None:
        self.url = url

    @classmethod
    def started(cls, host: str, folder: Path, children: Children) -> CardAcquirer:
        """On the port it had in this folder before, so that sales that are not settled yet find it again."""
        kept = folder / "card-acquirer.port"
        port = int(kept.read_text()) if kept.exists() else 0
        if not port or not ports.is_free(host, port):
            port = ports.any_free(host)
            kept.write_text(str(port))
        children.start(
            "card-acquirer",
            [
                program("omnitill"), "acquirer-sandbox",
                "--host", host,
                "--port", str(port),
                "--database", str(folder / "card-acquirer.sqlite3"),
            ],
        )  # fmt: skip
        return cls(f"http://{host}:{port}")

    def connect(self, parts: Parts, owner: Caller) -> None:
        """Make it the merchant's. Raises TimeoutError when it does not answer."""
        deadline = time.monotonic() + _READY_S
        while not self._answers():
            if time.monotonic() > deadline:
                raise TimeoutError(f"The acquirer does not answer on {self.url}.")
            time.sleep(_LOOK_S)
        parts.get(CardAccounts).connect(
            owner.merchant_id,
            owner.actor,
            Access(organization=_ORGANIZATION, key_id=_KEY, secret=PLAY_SECRET, base=self.url),
        )

    def balances(self) -> dict[str, dict[str, Any]]:  # plain JSON
        """By currency; raises what httpx2 raises."""
        answer = httpx2.get(f"{self.url}/control/balances", timeout=10)
        answer.raise_for_status()
        return {one["currency"]: one for one in answer.json()}

    def _answers(self) -> bool:
        try:
            self.balances()
        except httpx2.TransportError:
            return False
        return True
