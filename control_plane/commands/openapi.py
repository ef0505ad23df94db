"""``omnitill openapi``: the description of the REST API."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from control_plane.app import build, create_app
from control_plane.config import BrokerSettings, Settings

_EXAMPLE = """\
Example:
  omnitill openapi > openapi.json
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "openapi",
        help="print the OpenAPI document of the REST API",
        description="Print the OpenAPI document of the REST API. Needs no database.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Print it."""
    del chosen
    with tempfile.TemporaryDirectory() as folder:
        parts = build(
            Settings(data_dir=Path(folder), database_url="", broker=BrokerSettings(kind="none"))
        )
        document = create_app(parts).openapi()
        parts.close()
    print(json.dumps(document, indent=2, ensure_ascii=False))
    return 0
