"""The browser files are copied whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.web.assets import FILES, copy_vendor_files


def make_node_modules(folder: Path) -> Path:
    for path in (path for paths in FILES.values() for path in paths):
        source = folder / path
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(f"of {path}")
    return folder


def test_the_folder_holds_the_files_and_nothing_older(tmp_path: Path) -> None:
    node_modules = make_node_modules(tmp_path / "node_modules")
    vendor = tmp_path / "static" / "vendor"
    vendor.mkdir(parents=True)
    (vendor / "htmx-of-last-year.js").touch()

    copied = copy_vendor_files(node_modules, vendor)

    assert {path.name: path.read_text() for path in vendor.iterdir()} == {
        name: "\n".join(f"of {path}" for path in paths) for name, paths in FILES.items()
    }
    assert sorted(copied) == sorted(vendor.iterdir())


def test_a_missing_file_leaves_the_old_ones_in_place(tmp_path: Path) -> None:
    node_modules = make_node_modules(tmp_path / "node_modules")
    (node_modules / FILES["htmx.min.js"][1]).unlink()
    vendor = tmp_path / "vendor"
    vendor.mkdir()
    (vendor / "htmx.min.js").write_text("old")

    with pytest.raises(FileNotFoundError, match=r"hx-sse\.min\.js"):
        copy_vendor_files(node_modules, vendor)

    assert [(path.name, path.read_text()) for path in vendor.iterdir()] == [("htmx.min.js", "old")]


def test_an_extension_is_never_later_than_htmx_starts() -> None:
    loaded = {path.rsplit("/", 1)[1]: name for name, paths in FILES.items() for path in paths}

    assert loaded["hx-sse.min.js"] == loaded["htmx.min.js"]
