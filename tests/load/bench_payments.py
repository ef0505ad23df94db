"""What a typed card costs through our API, against the official SDK asking the same sandbox itself.

``bare``: the SDK as it comes, creating and confirming one PaymentIntent: what nobody who uses Stripe can do without.
``adapter``: the same by our adapter alone, with what it reads out of the answer.
``floor``: the bare call between two rows committed to PostgreSQL (fsync on), which whoever never wants to charge twice
cannot do without either.
``charge``: the same card by ``POST /v1/payments``: sign-in, rights, limits, the attempt committed before the call, the
call, what came of it settled into payment, timeline and ledger, the search for a double, the audit chain.
``held``: bare and ours take the money in two calls, as a till does that looks at the checks of the card first.
``far``: as ``charge``, with a sandbox that takes as long for its answer as Stripe does at the least.

Pairs are asked in turns, so that both meet the same machine. Sandbox, product and whoever asks are three processes.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import psycopg
import stripe
import urllib3

from control_plane.accounts import service as accounts
from control_plane.accounts.caller import Caller, CallerKind
from control_plane.accounts.permissions import ROLES, Role
from control_plane.accounts.sign_in import scope_of
from control_plane.db import migrate
from control_plane.parts import Parts
from control_plane.processors.stripe.adapter import StripeProcessor
from control_plane.processors.stripe.client import Access
from control_plane.till import service as till
from control_plane.till.queries import settings_of
from control_plane.till.values import CheckPolicy
from control_plane.virtual_terminal.processor import Confirmation, NewIntent
from protocols.money import Money
from tests.fixtures.virtual_terminal import connect
from tests.load.bench_http import open_parts, served
from tests.load.cluster import postgres
from tests.support.ports import LOOPBACK, accepts_connections, free_port
from tests.support.stripe_sandbox import SECRET_KEY
from tests.support.waiting import eventually

WARM_UP: Final = 60
PAIRS: Final = 300
FAR_S: Final = 0.25
#: By which the till captures at once, and by which it looks first.
POLICIES: Final = {"charge": CheckPolicy.ACCEPT, "held": CheckPolicy.BLOCK}
_OWNER: Final = list(ROLES[Role.OWNER])


def main() -> int:
    """Measure; one JSON object on standard output."""
    with tempfile.TemporaryDirectory(prefix="omnitill-bench-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        with postgres(Path(folder) / "pg") as conninfo, sandbox() as base:
            parts = open_parts(conninfo, Path(folder) / "data", 0)
            migrate.upgrade(parts.database.engine)
            shops = {name: furnish(parts, base, policy) for name, policy in POLICIES.items()}
            parts.close()
            with served("ours", conninfo, Path(folder) / "data") as server:
                ask = Api(server.port)
                client = stripe.StripeClient(
                    SECRET_KEY, base_addresses={"api": base}, max_network_retries=0
                )
                bare = bare_charge(client)
                ours = ask.charge(shops["charge"])
                figures: dict[str, Any] = {
                    "adapter": measure(client, bare, by_adapter(base)),
                    "floor": measure(client, bare, with_two_commits(bare, conninfo)),
                    "charge": measure(client, bare, ours),
                    "held": measure(client, bare_held(client), ask.charge(shops["held"])),
                }
                slow_down(base)
                figures["far"] = measure(client, bare, ours, warm_up=5, pairs=40)
    figures["targets"] = {
        "adapter_ratio": [figures["adapter"]["ratio"], "<=", 1.1, 1.5],
        "charge_ratio": [figures["charge"]["ratio"], "<=", 1.5, None],
        "charge_ratio_to_floor": [
            round(figures["charge"]["ours_p50_ms"] / figures["floor"]["ours_p50_ms"], 2),
            "<=",
            1.5,
            None,
        ],
        "far_ratio": [figures["far"]["ratio"], "<=", 1.5, 1.5],
    }
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    return 0


#: Charges an amount with a token.
Charge = Callable[[int, str], None]


def measure(
    client: stripe.StripeClient,
    bare: Charge,
    ours: Charge,
    *,
    warm_up: int = WARM_UP,
    pairs: int = PAIRS,
) -> dict[str, float]:
    """Medians of both in milliseconds, and their ratio."""
    took: dict[str, list[float]] = {"bare": [], "ours": []}
    for number in range(warm_up + pairs):
        for name, charge in (("bare", bare), ("ours", ours)):
            token = client.v1.test_helpers.confirmation_tokens.create(
                {"payment_method": "pm_card_visa"}
            ).id
            began = time.perf_counter()
            charge(1000 + number, token)
            if number >= warm_up:
                took[name].append((time.perf_counter() - began) * 1000)
    p50 = {name: statistics.median(times) for name, times in took.items()}
    p95 = {name: statistics.quantiles(times, n=20)[-1] for name, times in took.items()}
    return {
        "bare_p50_ms": round(p50["bare"], 2),
        "ours_p50_ms": round(p50["ours"], 2),
        "bare_p95_ms": round(p95["bare"], 2),
        "ours_p95_ms": round(p95["ours"], 2),
        "added_ms": round(p50["ours"] - p50["bare"], 2),
        "ratio": round(p50["ours"] / p50["bare"], 2),
    }


def bare_charge(client: stripe.StripeClient) -> Charge:
    def charge(amount: int, token: str) -> None:
        made = client.v1.payment_intents.create(_params(amount, token, "automatic"))
        assert made.status == "succeeded"

    return charge


def by_adapter(base: str) -> Charge:
    adapter = StripeProcessor(Access(secret_key=SECRET_KEY, base=base))

    def charge(amount: int, token: str) -> None:
        new = NewIntent(amount=Money(amount, "USD"), methods=("card",), metadata={"attempt": token})
        made = adapter.create_payment(new, Confirmation(token=token, moto=True), key=token)
        assert made.status == "succeeded"

    return charge


def with_two_commits(bare: Charge, conninfo: str) -> Charge:
    db = psycopg.connect(conninfo, autocommit=True)
    db.execute("CREATE TABLE floor (token text PRIMARY KEY, is_done boolean NOT NULL)")

    def charge(amount: int, token: str) -> None:
        db.execute("INSERT INTO floor VALUES (%s, false)", (token,))
        bare(amount, token)
        db.execute("UPDATE floor SET is_done = true WHERE token = %s", (token,))

    return charge


def bare_held(client: stripe.StripeClient) -> Charge:
    def charge(amount: int, token: str) -> None:
        held = client.v1.payment_intents.create(_params(amount, token, "manual"))
        taken = client.v1.payment_intents.capture(
            held.id, {"expand": ["latest_charge.balance_transaction"]}
        )
        assert taken.status == "succeeded"

    return charge


def _params(amount: int, token: str, capture: str) -> Any:
    return {
        "amount": amount,
        "currency": "usd",
        "confirm": True,
        "confirmation_token": token,
        "allowed_payment_method_types": ["card"],
        "payment_method_options": {"card": {"moto": True}},
        "capture_method": capture,
        "expand": ["latest_charge.balance_transaction"],
    }


class Api:
    """Our API, over one kept-alive connection."""

    def __init__(self, port: int) -> None:
        self._pool = urllib3.HTTPConnectionPool(LOOPBACK, port, maxsize=1)

    def charge(self, key: str) -> Charge:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

        def charge(amount: int, token: str) -> None:
            wish = {
                "method": "keyed", "amount_minor": amount, "currency": "USD", "token": token, "moto": True,
            }  # fmt: skip
            answer = self._pool.request(
                "POST", "/v1/payments", body=json.dumps(wish), headers=headers
            )
            payment = answer.json()
            assert payment.get("state") == "paid", payment

        return charge


def slow_down(base: str) -> None:
    """From now on each charge takes as long there as at Stripe's."""
    fault = {"kind": "slow", "on": "POST /v1/payment_intents", "times": 10_000, "delay_s": FAR_S}
    answer = urllib3.request("POST", f"{base}/_sandbox/faults", json=fault)
    assert answer.status == 200, answer.data


def furnish(parts: Parts, base: str, policy: CheckPolicy) -> str:
    """A merchant on the sandbox whose till treats checks of cards so; an API key of it."""
    with parts.database.transaction() as db:
        merchant_id = accounts.create_merchant(db, f"Bench {policy}")
        accounts.create_location(db, merchant_id, "Here")
        scope = scope_of(merchant_id, Role.OWNER, None)
        owner = Caller(
            kind=CallerKind.USER, id="system", name="Bench", role=Role.OWNER.value, scope=scope
        )
        wanted = replace(
            settings_of(db, merchant_id),
            currencies=("USD",), address_check=policy, postal_code_check=policy, cvc_check=policy,
        )  # fmt: skip
        till.update_settings(db, owner, wanted)
        _, key = accounts.create_api_key(db, owner, name="bench", permissions=_OWNER)
    connect(parts, merchant_id, base)
    return key.reveal()


@contextmanager
def sandbox() -> Iterator[str]:
    """The sandbox in a process of its own; its address."""
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "control_plane.cli", "sandbox", "--port", str(port)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.DEVNULL,
    ) as process:
        try:
            eventually(lambda: accepts_connections(port), 30)
            yield f"http://{LOOPBACK}:{port}"
        finally:
            process.terminate()


if __name__ == "__main__":
    sys.exit(main())
