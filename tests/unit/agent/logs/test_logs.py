"""What never stands in the log."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import structlog

from agent.logs import configure_logs, redact, tell_of_cards, without_cards
from protocols.secret import HIDDEN, Secret

PAN = "4111111111111111"


@pytest.mark.parametrize(
    "value",
    [
        f"card {PAN} was seen",
        {"deep": [{"track": f";{PAN}=3012"}]},
        int(PAN),
        [PAN],
        Exception(f"while reading {PAN}"),
        Secret(PAN),
    ],
    ids=["text", "nested", "number", "list", "exception", "secret"],
)
def test_a_card_number_is_masked_wherever_it_stands(value: object) -> None:
    assert PAN not in json.dumps(without_cards(value), default=str)


@pytest.mark.parametrize(
    "name", ["password", "reader_password", "api_token", "client_secret", "private_key"]
)
def test_a_field_with_a_telling_name_is_hidden(name: str) -> None:
    assert redact(None, "info", {"event": "e", name: "x", "deep": {name: "x"}}) == {
        "event": "e",
        name: HIDDEN,
        "deep": {name: HIDDEN},
    }


def test_other_values_stay_as_they_are() -> None:
    event = {"event": "done", "code": 5, "ok": True, "rate": 0.5, "none": None, "ids": ["ts_1"]}

    assert redact(None, "info", dict(event)) == event


def test_a_traceback_is_masked_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json")
    try:
        int(f"bad frame with {PAN}")
    except ValueError:
        structlog.get_logger().exception("frame_fault")
    structlog.reset_defaults()

    written = json.loads(capsys.readouterr().err)
    assert PAN not in written["exception"]
    assert "bad frame with" in written["exception"]


def test_the_log_library_is_loaded_without_what_the_agent_does_not_need() -> None:
    script = "import agent.logs, sys; print([m for m in ('rich', 'pygments') if m in sys.modules])"

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"


def test_nothing_heavy_is_loaded_before_it_is_needed() -> None:
    script = (
        "import agent.logs, agent.app, sys;"
        "heavy = ('cryptography', 'agent.https_fallback', 'agent.simulator', 'rich', 'pydantic');"
        "print([name for name in heavy if name in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"


def test_a_log_line_that_held_a_card_number_is_told_of_by_its_field() -> None:
    heard: list[str] = []
    tell_of_cards(heard.append)

    redact(None, "info", {"event": "quiet", "said": f"card {PAN}", "password": PAN})
    tell_of_cards(lambda _field: None)

    assert heard == ["log.said"]
