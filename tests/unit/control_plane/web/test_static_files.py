"""Files of the pages: kept for ever under the address of their build."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from control_plane.web.static_files import StaticFiles


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "js").mkdir()
    (tmp_path / "js" / "app.js").write_text("console.log(1)" * 50)
    (tmp_path / "icon.png").write_bytes(b"\x89PNG")
    (tmp_path / "notes.txt").write_text("not served")
    return tmp_path


def test_a_file_of_this_build_is_kept_for_ever_and_squeezed_for_who_can(folder: Path) -> None:
    files = StaticFiles(folder)

    plain = files.respond(files.build, "js/app.js", accepts_gzip=False)
    small = files.respond(files.build, "js/app.js", accepts_gzip=True)

    assert files.url("js/app.js") == f"/static/{files.build}/js/app.js"
    assert plain.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "content-encoding" not in plain.headers
    assert small.headers["content-encoding"] == "gzip"
    assert gzip.decompress(bytes(small.body)) == bytes(plain.body)


def test_a_page_of_another_build_gets_todays_file_and_does_not_keep_it(folder: Path) -> None:
    response = StaticFiles(folder).respond("older", "js/app.js", accepts_gzip=False)

    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-cache"


def test_the_build_changes_with_any_file(folder: Path) -> None:
    before = StaticFiles(folder).build

    (folder / "icon.png").write_bytes(b"\x89PNG2")

    assert StaticFiles(folder).build != before


@pytest.mark.parametrize("name", ["notes.txt", "../static_files.py", "js/nothing.js", ""])
def test_nothing_else_is_served(folder: Path, name: str) -> None:
    files = StaticFiles(folder)

    assert files.respond(files.build, name, accepts_gzip=False).status_code == 404
    with pytest.raises(KeyError):
        files.url(name)
