"""`omnitill-agent enroll`: make this box a device of a control plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.commandline import USAGE, add_command, complain, write_json

if TYPE_CHECKING:
    import argparse

    from agent.commandline import Subparsers

EXAMPLE = """
omnitill-agent enroll --url https://pay.example.org --code K7PX-3MQF
omnitill-agent enroll --url https://pay.shop.lan --ca-file /etc/omnitill/ca.pem --code K7PX-3MQF
"""
NOTES = """
Get the code in the console under Readers, Add a device. It works once and for a short time.
The key is made here and never leaves this box. Exit code: 0 enrolled, 1 not, 2 the command line is incomplete.
"""


def register(subparsers: Subparsers) -> None:
    """Add the sub-command."""
    parser = add_command(
        subparsers,
        "enroll",
        run,
        summary="make this box a device of your control plane, with a one-time code",
        example=EXAMPLE,
        notes=NOTES,
    )
    parser.add_argument("--url", required=True, help="address of the control plane")
    parser.add_argument("--code", required=True, help="one-time code from the console")
    parser.add_argument("--config", metavar="FILE", help="settings; only state_dir is used here")
    parser.add_argument("--state-dir", metavar="DIR", help="where identity and journal are kept")
    parser.add_argument(
        "--ca-file",
        metavar="FILE",
        help="certificates to trust for the control plane, when it has its own authority",
    )
    parser.add_argument(
        "--force", action="store_true", help="enrol anew although this box is enrolled"
    )


def run(arguments: argparse.Namespace) -> int:
    from agent.logs import configure_logs

    configure_logs("console", "error")

    import asyncio
    from pathlib import Path
    from urllib.parse import urlsplit

    from agent.clock import SystemClock
    from agent.config import load
    from agent.enrollment import enroll
    from agent.errors import AgentError
    from agent.timekeeping import DeviceTime, rfc3339

    parts = urlsplit(arguments.url)
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        complain(f"{arguments.url!r} is no web address; write it like https://pay.example.org")
        return USAGE
    clock = SystemClock()
    try:
        ca_pem = Path(arguments.ca_file).read_text(encoding="ascii") if arguments.ca_file else ""
        config = load(Path(arguments.config) if arguments.config else None)
        state_dir = Path(arguments.state_dir or config.state_dir)
        identity = asyncio.run(
            enroll(
                arguments.url,
                arguments.code.strip(),
                state_dir,
                DeviceTime(clock),
                clock,
                ca_pem=ca_pem,
                force=arguments.force,
            )
        )
    except AgentError as error:
        complain(error.message)
        return 1
    except (OSError, UnicodeDecodeError) as error:
        complain(
            f"{error}; run this as the user that the agent runs as, or name another --state-dir"
        )
        return 1
    member = identity.membership
    write_json(
        {
            "device_id": member.device_id,
            "merchant": member.merchant_name,
            "location": member.location_name,
            "certificate_until": rfc3339(member.valid_until),
            "state_dir": str(state_dir),
        }
    )
    return 0
