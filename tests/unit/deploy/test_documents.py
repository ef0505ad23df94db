"""What documents and service files tell people and machines to run exists, with the options that they use."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import agent.cli
import control_plane.cli

ROOT = Path(__file__).parents[3]
PROGRAMS = {"omnitill": control_plane.cli.main, "omnitill-agent": agent.cli.main}
ROLES = ["serve", "ingest", "worker"]

_CODE = re.compile(r"^```\w*\n(.*?)^```|`([^`\n]+)`", re.MULTILINE | re.DOTALL)
_BEFORE = re.compile(r"^((\w+=\S*|sudo|env|runuser -u \S+ --) +)+")
_COMMAND = re.compile(r"(?:\S*/bin/)?(omnitill(?:-agent)?)((?: +[^<>]+)?)")


def commands_of_shell(text: str) -> list[str]:
    """Each call of one of our programs in lines of shell, without what redirects it."""
    lines = re.sub(r"\\\n|\s+#.*", " ", text).splitlines()
    parts = [part.strip() for line in lines for part in re.split(r"[;|]|&&", line)]
    found = [_COMMAND.match(_BEFORE.sub("", part)) for part in parts]
    return [
        " ".join("".join(match.groups()).split()) for match in found if match and match.group(2)
    ]


def commands_of_markdown(text: str) -> list[str]:
    """Each call in blocks of code and in pieces of code within sentences."""
    return [
        command
        for block, inline in _CODE.findall(text)
        for command in commands_of_shell(block or inline)
    ]


def commands_of_units() -> list[str]:
    lines = [
        line.partition("=")[2]
        for unit in sorted((ROOT / "deploy/systemd").glob("*.service"))
        for line in unit.read_text().splitlines()
        if line.startswith("Exec")
    ]
    instances = [
        line.replace("%i", role).replace(" $ARGUMENTS", "")
        for line in lines
        for role in ROLES
        if "%i" in line
    ]
    plain = [line for line in lines if "%i" not in line]
    return [command for line in instances + plain for command in commands_of_shell(line)]


def services_of_compose() -> dict[str, dict[str, Any]]:
    parsed = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
    services: dict[str, dict[str, Any]] = parsed["services"]
    return services


def commands_of_compose() -> list[str]:
    return [
        " ".join(["omnitill", *service["command"]])
        for service in services_of_compose().values()
        if str(service.get("image", "")).startswith("omnitill")
    ]


MARKDOWN = sorted(
    {
        path
        for folder in (".", "deploy", "deploy/mosquitto")
        for path in (ROOT / folder).glob("*.md")
    }
)
COMMANDS = sorted(
    {
        *(command for path in MARKDOWN for command in commands_of_markdown(path.read_text())),
        *commands_of_units(),
        *commands_of_compose(),
    }
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_is_told_exists(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    program, *words = command.split()
    options = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    first_option = next((at for at, word in enumerate(words) if word.startswith("-")), len(words))

    with pytest.raises(SystemExit) as ended:
        PROGRAMS[program]([*words[:first_option], "--help"])

    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert [option for option in options if not re.search(rf"{option}\b", shown)] == []


def test_commands_are_found_in_sentences_blocks_and_units() -> None:
    text = (
        "First `omnitill db upgrade`. Then omnitill is up, in `deploy/omnitill something`.\n"
        "```text\n"
        "install omnitill-1.whl && X=1 omnitill serve --all   # or not\n"
        "runuser -u x -- /opt/o/bin/omnitill-agent enroll --url U \\\n  --code C > file\n"
        "```\n"
    )

    assert commands_of_markdown(text) == [
        "omnitill db upgrade",
        "omnitill serve --all",
        "omnitill-agent enroll --url U --code C",
    ]
    assert "omnitill serve" in commands_of_units()
    assert len(MARKDOWN) >= 6


@pytest.mark.parametrize("name", ["Dockerfile.agent", "Dockerfile.control-plane"])
def test_an_image_takes_only_files_that_the_context_has(name: str) -> None:
    lines = (ROOT / "deploy/docker" / name).read_text().splitlines()
    sources = [
        source
        for line in lines
        if line.startswith("COPY ") and "--from=" not in line
        for source in line.split()[1:-1]
    ]
    allowed = [
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]

    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert [path for path in allowed if not (ROOT / path).exists()] == []
