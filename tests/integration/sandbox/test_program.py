"""``omnitill sandbox`` and ``python -m control_plane.sandbox``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import stripe

from control_plane.cli import main
from tests.support.ports import accepts_connections, free_port
from tests.support.stripe_sandbox import SECRET_KEY
from tests.support.waiting import eventually

PAY: dict[str, Any] = {
    "amount": 1000,
    "currency": "usd",
    "confirm": True,
    "payment_method": "pm_card_visa",
    "allowed_payment_method_types": ["card"],
}


@contextmanager
def running(database: Path, *options: str) -> Iterator[tuple[Any, subprocess.Popen[str]]]:
    """The program with the SDK in front of it (Any: plain dicts in, objects read freely)."""
    port = free_port()
    command = [sys.executable, "-m", "control_plane.sandbox", "--port", str(port)]
    program = subprocess.Popen(
        [*command, "--database", str(database), *options], stdout=subprocess.PIPE, text=True
    )
    try:
        eventually(lambda: accepts_connections(port), deadline_s=30)
        address = f"http://127.0.0.1:{port}"
        client = stripe.StripeClient(
            SECRET_KEY, base_addresses={"api": address}, max_network_retries=0
        )
        yield client.v1, program
    finally:
        program.terminate()
        program.communicate(timeout=10)


def test_what_was_answered_survives_being_killed(tmp_path: Path) -> None:
    database = tmp_path / "sandbox.db"
    with running(database) as (v1, program):
        paid = v1.payment_intents.create(PAY, {"idempotency_key": "one"})
        program.kill()
        program.wait(timeout=10)

    with running(database) as (v1, _):
        again = v1.payment_intents.create(PAY, {"idempotency_key": "one"})
        charges = v1.charges.list().data

    assert (again.id, again.status) == (paid.id, "succeeded")
    assert len(charges) == 1


def test_the_account_is_what_the_options_say(tmp_path: Path) -> None:
    options = ["--country", "fr", "--currency", "EUR", "--no-moto", "--business-name", "Chez Ann"]
    with running(tmp_path / "sandbox.db", *options) as (v1, _):
        account = v1.accounts.retrieve_current()
        with pytest.raises(stripe.InvalidRequestError) as refused:
            v1.payment_intents.create({**PAY, "payment_method_options": {"card": {"moto": True}}})

    assert (account.country, account.default_currency) == ("FR", "eur")
    assert account.settings.dashboard.display_name == "Chez Ann"
    assert refused.value.code == "parameter_unknown"


def test_it_serves_this_machine_only(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sandbox", "--host", "0.0.0.0"])

    assert "0.0.0.0 is not an address of this machine alone" in capsys.readouterr().err


def test_its_help_has_an_example_that_names_test_cards(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sandbox", "--help"])

    shown = capsys.readouterr().out
    assert "omnitill sandbox --port 12111 --database sandbox.db" in shown
    assert "4242 4242 4242 4242" in shown
