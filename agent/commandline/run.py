"""`omnitill-agent run`: work, in the foreground, until told to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.commandline import add_command, complain

if TYPE_CHECKING:
    import argparse

    from agent.commandline import Subparsers

EXAMPLE = """
omnitill-agent run --config /etc/omnitill/agent.toml
omnitill-agent run --log-format console
"""
NOTES = """
The configuration file lists the readers:
  [[readers]]
  name = "counter-1"
  profile = "generic-zvt-tcp"
  address = "tcp://192.168.1.50:20007"

SIGTERM ends it in order: a running payment may finish. A second one ends it at once; evidence decides later.
"""


def register(subparsers: Subparsers) -> None:
    """Add the sub-command."""
    parser = add_command(
        subparsers,
        "run",
        run,
        summary="drive the readers and keep the line to the cloud",
        example=EXAMPLE,
        notes=NOTES,
    )
    parser.add_argument(
        "--config", metavar="FILE", help="settings (default: /etc/omnitill/agent.toml)"
    )
    parser.add_argument("--state-dir", metavar="DIR", help="where identity and journal are kept")
    parser.add_argument("--log-format", choices=["json", "console"])


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0 when told to stop, 75 when it must be started again, 1 when it cannot begin."""
    from agent.logs import configure_logs

    # Before the others: how much of the log library is loaded is decided there.
    configure_logs(arguments.log_format or "json")

    import asyncio
    from pathlib import Path

    import msgspec

    from agent.app import Agent
    from agent.clock import SystemClock
    from agent.config import load
    from agent.errors import AgentError

    async def work() -> int:
        return await Agent(config, SystemClock()).run()

    try:
        config = load(Path(arguments.config) if arguments.config else None)
        given = {"state_dir": arguments.state_dir, "log_format": arguments.log_format}
        config = msgspec.structs.replace(
            config, **{name: value for name, value in given.items() if value is not None}
        )
        configure_logs(config.log_format, config.log_level)
        return asyncio.run(work())
    except AgentError as error:
        complain(error.message)
        return 1
