"""What one sandbox is set to: whose account it plays, where it keeps its objects, which gates are open."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

#: The only API version that the sandbox speaks: the one the SDK pins.
API_VERSION = "2026-10-28.endive"


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSettings:
    """``database`` None keeps everything in memory. ``public_url`` is where browsers reach this sandbox."""

    database: Path | None = None
    public_url: str = "http://sandbox.localhost"
    account_id: str = "acct_1Sandbox00000001"
    business_name: str = "Sandbox Shop"
    country: str = "US"
    default_currency: str = "usd"
    #: Stripe opens ``payment_method_options[card][moto]`` per account; closed it is an unknown parameter.
    moto_enabled: bool = True
    #: Keys that are accepted; empty accepts any ``sk_test_``/``rk_test_``/``pk_test_`` key.
    keys: frozenset[str] = field(default_factory=frozenset)
    #: How long a bank debit stays ``processing`` before it settles or fails.
    debit_days: int = 4
    #: At readers registered from now on: so long after a command somebody presents a card (None: nobody comes unasked),
    #: and so long the bank takes to answer.
    auto_present_s: float | None = None
    authorization_s: float = 0
