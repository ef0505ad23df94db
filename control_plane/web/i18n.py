"""Languages of the pages: catalogues from `.po` files, compiled in memory, and the check that none has a hole.

The English text in the source is the key. `python -m control_plane.web.i18n update` adds new texts to every
`locale/*.po`; `check` names what is missing, unused or has other placeholders, and exits 1 if there is any.
"""

from __future__ import annotations

import ast
import re
import sys
from functools import lru_cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

if TYPE_CHECKING:
    from collections.abc import Iterator

WEB = Path(__file__).parent
CONTROL_PLANE = WEB.parent
LOCALES = WEB / "locale"
#: What the pages speak, and what each language calls itself. The first is the source.
LANGUAGES = {"en": "English", "fr": "Français"}
SOURCE = "en"

_KEYWORDS = {"_": None, "N_": None, "gettext": None, "ngettext": (1, 2)}
_METHODS = [("**/templates/**.*", "jinja2"), ("**.py", "python")]
_OPTIONS = {"**/templates/**.*": {"trimmed": "true", "newstyle_gettext": "true"}}
#: A class attribute with this name holds a text for people, such as that of a DomainError.
_TEXT_ATTRIBUTE = "message"
_PLACEHOLDER = re.compile(r"%\((\w+)\)[a-z]|\{(\w+)\}")


def N_(text: str) -> str:  # noqa: N802 - the name that gettext tools know
    """Mark a text for the catalogues; it is translated where it is shown."""
    return text


@lru_cache
def translations(language: str) -> NullTranslations:
    """The catalogue of a language; texts pass through unchanged in the source language."""
    if language == SOURCE:
        return NullTranslations()
    compiled = BytesIO()
    write_mo(compiled, read_catalogue(language))
    compiled.seek(0)
    return GNUTranslations(compiled)


def choose_language(wish: str | None, accept_language: str | None) -> str:
    """What a person chose, else the first language of the browser that we speak, else the source language."""
    if wish in LANGUAGES:
        return wish
    ranked = sorted(_weighted(accept_language or ""), key=lambda entry: -entry[0])
    return next((tag for weight, tag in ranked if weight > 0 and tag in LANGUAGES), SOURCE)


def read_catalogue(language: str) -> Catalog:
    """The `.po` file of a language; empty when there is none yet."""
    path = LOCALES / f"{language}.po"
    if not path.exists():
        return Catalog(locale=language)
    with path.open("rb") as file:
        return read_po(file, locale=language)


def extract_texts() -> Catalog:
    """Every text in the source: `_()` in code and templates, and the sentences of error classes."""
    catalogue = Catalog(project="Omnitill", charset="utf-8")
    for _, _, text, comments, context in extract_from_dir(
        str(WEB), _METHODS, _OPTIONS, keywords=_KEYWORDS
    ):
        catalogue.add(text, auto_comments=comments, context=context)
    for path in sorted(CONTROL_PLANE.rglob("*.py")):
        if "node_modules" not in path.parts:
            for sentence in _class_texts(ast.parse(path.read_text())):
                catalogue.add(sentence)
    return catalogue


def find_holes(language: str) -> list[str]:
    """One line for each text of `language` that is missing, unused or has other placeholders than the source."""
    wanted, have = extract_texts(), read_catalogue(language)
    holes = []
    for message in wanted:
        if not message.id:
            continue
        found = have.get(message.id, message.context)
        if found is None or found.fuzzy or not all(_as_tuple(found.string)):
            holes.append(f"{language}: no text for {message.id!r}")
            continue
        wanted_ones = _placeholders(_as_tuple(message.id)[-1])
        if any(_placeholders(ours) != wanted_ones for ours in _as_tuple(found.string)):
            holes.append(f"{language}: other placeholders in the text for {message.id!r}")
    holes += [
        f"{language}: nobody says {message.id!r} any more"
        for message in have
        if message.id and wanted.get(message.id, message.context) is None
    ]
    return holes


def update(language: str) -> None:
    """Bring the `.po` file of a language in line with the source; new texts are empty, unused ones go."""
    have, wanted = read_catalogue(language), extract_texts()
    have.update(wanted, no_fuzzy_matching=True)
    have.obsolete.clear()
    LOCALES.mkdir(exist_ok=True)
    with (LOCALES / f"{language}.po").open("wb") as file:
        write_po(file, have, no_location=True, omit_header=True, sort_output=True, width=110)


def main(arguments: list[str]) -> int:
    """`check` or `update`; returns the exit status."""
    others = [language for language in LANGUAGES if language != SOURCE]
    if arguments == ["update"]:
        for language in others:
            update(language)
        return 0
    if arguments == ["check"]:
        holes = [hole for language in others for hole in find_holes(language)]
        sys.stdout.writelines(f"{hole}\n" for hole in holes)
        return 1 if holes else 0
    sys.stderr.write("Say `check` or `update`.\n")
    return 2


def _weighted(accept_language: str) -> Iterator[tuple[float, str]]:
    for part in accept_language.split(","):
        tag, _, quality = part.strip().partition(";q=")
        try:
            yield (float(quality) if quality else 1.0), tag.partition("-")[0].lower()
        except ValueError:
            continue


def _class_texts(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if not isinstance(node, ast.ClassDef):
            continue
        for statement in node.body:
            if isinstance(statement, ast.Assign):
                targets: list[ast.expr] = statement.targets
            elif isinstance(statement, ast.AnnAssign):
                targets = [statement.target]
            else:
                continue
            names = {target.id for target in targets if isinstance(target, ast.Name)}
            value = statement.value
            if (
                _TEXT_ATTRIBUTE in names
                and isinstance(value, ast.Constant)
                and isinstance(value.value, str)
            ):
                yield value.value


def _as_tuple(text: str | tuple[str, ...] | list[str] | None) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text or ("",))


def _placeholders(text: str) -> set[str]:
    return {first or second for first, second in _PLACEHOLDER.findall(text)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
