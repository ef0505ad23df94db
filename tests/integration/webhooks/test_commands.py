"""``omnitill stripe`` and ``omnitill webhooks``, as an operator runs them on the server."""

from __future__ import annotations

import pytest

from control_plane.cli import main
from control_plane.parts import Parts
from tests.fixtures.control_plane import SECRET
from tests.support.webhook_sender import WebhookSender


@pytest.fixture
def server(sqlite_parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of the server in the environment of the command."""
    settings = sqlite_parts.settings
    for name, value in {
        "MODE": "test",
        "DATA_DIR": str(settings.data_dir),
        "DATABASE_URL": settings.database_url,
        "SECRET_KEY": SECRET,
        "BROKER__KIND": "none",
    }.items():
        monkeypatch.setenv(f"OMNITILL_{name}", value)


@pytest.mark.usefixtures("server")
def test_history_is_imported_with_a_bar_and_events_are_listed_and_replayed(
    sender: WebhookSender, capsys: pytest.CaptureFixture[str]
) -> None:
    sender.pay(1000)
    (event,) = sender.events("payment_intent.succeeded")
    sender.send(event)
    imported = main(["stripe", "import", "--since", "2026-01-01"])
    bar = capsys.readouterr()
    status = main(["stripe", "status"])
    told = capsys.readouterr().out
    listed = main(["webhooks", "list"])
    events = capsys.readouterr().out
    replayed = main(["webhooks", "replay", "--event", event["id"]])
    worked = capsys.readouterr().out

    assert (imported, status, listed, replayed) == (0, 0, 0, 0)
    assert "Imported 1 payments, 0 refunds, 0 disputes." in bar.out
    assert "█" in bar.err
    assert "acct_1Sandbox00000001" in told
    assert event["id"] in events
    assert "waiting" in events
    assert worked == "Worked on 1 of 1 events.\n"


@pytest.mark.usefixtures("server")
def test_a_day_that_is_none_is_named(
    sender: WebhookSender, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["stripe", "import", "--since", "yesterday"])

    assert ended.value.code == 2
    assert "write it like 2026-01-01" in capsys.readouterr().err
    assert sender.shop.sandbox.objects("charge") == []
