"""``omnitill card-present`` and ``omnitill acquirer-sandbox`` as a person types them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from control_plane.cli import main
from tests.support.acquirer import AcquirerServer
from tests.support.ports import free_port
from tests.support.waiting import eventually


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNITILL_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("OMNITILL_MODE", "test")
    monkeypatch.setenv("OMNITILL_BROKER__KIND", "none")
    monkeypatch.setenv("OMNITILL_SIGN_IN__MEMORY_KIB", "64")
    monkeypatch.setenv("OMNITILL_USER_PASSWORD", "correct horse battery")
    assert main(["user", "add", "ada@example.com", "--merchant", "Café", "--role", "owner"]) == 0


def test_connect_and_status_tell_how_it_is(
    shop: None,
    acquirer: AcquirerServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("OMNITILL_CARD_PRESENT_SECRET", acquirer.access.secret)
    connect = [
        "card-present", "connect", "--organization", acquirer.access.organization,
        "--key-id", acquirer.access.key_id, "--api-base", acquirer.url,
    ]  # fmt: skip

    before = main(["card-present", "status"])
    codes = (main([*connect, "--live"]), main(connect), main(["card-present", "status"]))

    said = capsys.readouterr()
    assert (before, codes) == (1, (1, 0, 0))
    assert acquirer.access.secret not in said.out + said.err
    assert f"Address:      {acquirer.url}" in said.out
    assert "Works:        yes" in said.out


def test_the_acquirer_serves_and_ends(tmp_path: Path) -> None:
    port = free_port()
    command = [
        sys.executable, "-m", "control_plane.cli", "acquirer-sandbox", "--port", str(port),
        "--database", str(tmp_path / "books.db"),
    ]  # fmt: skip
    with subprocess.Popen(command) as process:
        try:
            eventually(lambda: _answers(f"http://127.0.0.1:{port}/control/balances"), 20)
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) in {0, -signal.SIGTERM}


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url).status_code == 200
    except httpx2.HTTPError:
        return False
