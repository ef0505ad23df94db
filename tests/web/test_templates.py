"""Every template renders with its sample values, in each language."""

from __future__ import annotations

import pytest

from control_plane.web.i18n import LANGUAGES
from control_plane.web.static_files import StaticFiles
from control_plane.web.templating import FOLDER, Templates
from tests.web.gallery import GALLERY
from tests.web.samples import NOW


@pytest.fixture(scope="module")
def templates() -> Templates:
    return Templates(StaticFiles())


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", GALLERY)
def test_a_sample_renders(templates: Templates, name: str, language: str) -> None:
    sample = GALLERY[name]
    shell = sample.shell()

    text = templates.render(
        sample.template, language, shell=shell, zone=shell.zone, now=NOW, **sample.context
    )

    assert text.startswith("<!doctype html>")
    assert text.count("<h1") == 1
    assert " style=" not in text
    assert " onclick=" not in text


def test_every_page_has_a_sample() -> None:
    pages = {
        path.relative_to(FOLDER).as_posix()
        for path in FOLDER.rglob("*.html")
        if not path.name.startswith("_")
    }

    assert pages - {"base.html"} == {sample.template for sample in GALLERY.values()}
