"""Copies the browser files that npm fetched to `static/vendor/`, where the pages find them.

Run as `python -m control_plane.web.assets` after `npm ci`. A wheel already carries the files.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

WEB = Path(__file__).parent
VENDOR = WEB / "static" / "vendor"
# What a page loads: where it lies in node_modules. htmx starts in a timer after its script has run; an extension in a
# file of its own that comes later than that timer is never asked, and the page stays without its live stream.
FILES = {
    "htmx.min.js": ["htmx.org/dist/htmx.min.js", "htmx.org/dist/ext/hx-sse.min.js"],
    "uplot.iife.min.js": ["uplot/dist/uPlot.iife.min.js"],
    "uplot.min.css": ["uplot/dist/uPlot.min.css"],
    "uplot.LICENSE": ["uplot/LICENSE"],
}


def copy_vendor_files(node_modules: Path, vendor: Path) -> list[Path]:
    """Make `vendor` hold exactly `FILES`; returns their paths.

    Raises `FileNotFoundError` before anything is changed if npm has not fetched one of them.
    """
    sources = {name: [node_modules / path for path in paths] for name, paths in FILES.items()}
    for source in (source for parts in sources.values() for source in parts):
        if not source.is_file():
            raise FileNotFoundError(source)
    if vendor.exists():
        shutil.rmtree(vendor)
    vendor.mkdir(parents=True)
    for name, parts in sources.items():
        (vendor / name).write_bytes(b"\n".join(part.read_bytes() for part in parts))
    return [vendor / name for name in FILES]


def main() -> int:
    """Copy, and say how to get a file that is not there; returns the exit status."""
    try:
        copied = copy_vendor_files(WEB / "node_modules", VENDOR)
    except FileNotFoundError as missing:
        sys.stderr.write(f"{missing} is not there. Run: npm ci --ignore-scripts --prefix {WEB}\n")
        return 1
    sys.stdout.write(f"{len(copied)} browser files are in {VENDOR}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
