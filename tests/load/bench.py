"""``make bench``: run every measurement and print one JSON object.

Each ``bench_<name>.py`` here is a program that prints one JSON object: its figures, with the reference measured beside
them in the same run, so that only ratios are compared between machines. Under ``targets`` it may say what it aims at:
``{"figure": [value, "<=" or ">=", target, regression gate]}``. A figure beyond its gate makes this exit 1.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LIMIT_S = 1200


def main() -> int:
    """Run the chosen measurements one after the other; nothing else should run on the machine meanwhile."""
    names = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    parser = argparse.ArgumentParser(
        prog="make bench",
        description="Measure speed and weight, as JSON on standard output.",
        epilog="Example: make bench ARGS='ingest agent' > figures.json",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(names)}")
    chosen = parser.parse_args().names or names
    if unknown := sorted(set(chosen) - set(names)):
        parser.error(f"no measurement is called {', '.join(unknown)}; there are {', '.join(names)}")
    figures = {name: _run(name) for name in chosen}
    missed, regressed = _judge(figures)
    result = {
        "machine": {"python": platform.python_version(), "processor": platform.machine()},
        "figures": figures,
        "missed_targets": missed,
        "regressions": regressed,
    }
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return 1 if regressed or any("failed" in each for each in figures.values()) else 0


def _run(name: str) -> dict[str, Any]:
    _tell(f"{name} …")
    started = time.monotonic()
    process = subprocess.run(
        [sys.executable, "-m", f"tests.load.bench_{name}"],
        cwd=HERE.parent.parent,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        timeout=LIMIT_S,
        text=True,
        check=False,
    )
    _tell(f"{name} took {time.monotonic() - started:.0f} s")
    if process.returncode != 0:
        return {"failed": f"exit {process.returncode}"}
    figures: dict[str, Any] = json.loads(process.stdout)
    return figures


def _judge(figures: dict[str, dict[str, Any]]) -> tuple[list[str], list[str]]:
    missed, regressed = [], []
    for name, group in figures.items():
        for figure, (value, relation, target, gate) in group.get("targets", {}).items():
            text = f"{name}.{figure} is {value}, target {relation} {target}"
            if not _holds(value, relation, target):
                missed.append(text)
            if gate is not None and not _holds(value, relation, gate):
                regressed.append(f"{text}, gate {gate}")
    return missed, regressed


def _holds(value: float, relation: str, limit: float) -> bool:
    return value <= limit if relation == "<=" else value >= limit


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
