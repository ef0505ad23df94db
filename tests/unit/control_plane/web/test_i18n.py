"""Languages: no text without its French, no placeholder lost, and the right one for each browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from control_plane.web import i18n
from control_plane.web.i18n import LANGUAGES, SOURCE, choose_language, find_holes, translations

OTHERS = [language for language in LANGUAGES if language != SOURCE]
BLAMING = re.compile(r"\b(invalid|error|please|illegal|oops|sorry)\b", re.IGNORECASE)
PLEASING = re.compile(r"\b(invalide|erreur|veuillez|désolé)\b", re.IGNORECASE)


@pytest.mark.parametrize("language", OTHERS)
def test_each_text_is_translated_with_its_placeholders_and_none_is_left_over(language: str) -> None:
    assert find_holes(language) == []


def test_a_text_that_nobody_translated_and_one_that_lost_its_name_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fr.po").write_text(
        'msgid "Reader %(name)s"\nmsgstr "Lecteur"\n\nmsgid "Nobody says this"\nmsgstr "Rien"\n'
    )
    monkeypatch.setattr(i18n, "LOCALES", tmp_path)

    holes = find_holes("fr")

    assert "fr: other placeholders in the text for 'Reader %(name)s'" in holes
    assert "fr: nobody says 'Nobody says this' any more" in holes
    assert "fr: no text for 'Sign in'" in holes


def test_no_text_blames() -> None:
    texts = [str(message.id) for message in i18n.extract_texts()]
    french = [str(message.string) for message in i18n.read_catalogue("fr")]

    assert len(texts) > 300
    assert [text for text in texts if BLAMING.search(text)] == []
    assert [text for text in french if PLEASING.search(text)] == []


def test_a_french_text_is_found_without_any_compiled_file() -> None:
    assert translations("fr").gettext("The box is here.") == "Le boîtier est là."
    assert translations("en").gettext("The box is here.") == "The box is here."
    assert list(i18n.LOCALES.rglob("*.mo")) == []


@pytest.mark.parametrize(
    ("wish", "header", "language"),
    [
        ("fr", "en", "fr"),
        ("de", "fr-CA,fr;q=0.9,en;q=0.8", "fr"),
        (None, "de-DE,de;q=0.9,fr;q=0.4,en;q=0.2", "fr"),
        (None, "fr;q=0,en;q=0.1", "en"),
        (None, "*;q=x,,", "en"),
        (None, None, "en"),
    ],
)
def test_the_language_is_what_was_chosen_else_what_the_browser_prefers(
    wish: str | None, header: str | None, language: str
) -> None:
    assert choose_language(wish, header) == language
