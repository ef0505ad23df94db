"""``omnitill asyncapi``: the description of what devices say and hear over MQTT."""

from __future__ import annotations

import argparse
import json
from importlib.metadata import version

from protocols.cloud.asyncapi import document

_EXAMPLE = """\
Example:
  omnitill asyncapi > asyncapi.json
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "asyncapi",
        help="print the AsyncAPI document of the MQTT contract",
        description="Print the AsyncAPI 3 document of what devices say and hear over MQTT.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Print it."""
    del chosen
    print(json.dumps(document(version("omnitill")), indent=2, ensure_ascii=False))
    return 0
