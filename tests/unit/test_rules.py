"""Rules of this repository that no linter knows. Each is shown to find an offence and to leave good code alone."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import json
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import agent.version

ROOT = Path(__file__).parents[2]
PACKAGES = ["agent", "control_plane", "firmware_profiles", "protocols"]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

Offences = Iterator[ast.AST]


@dataclass(frozen=True, slots=True)
class Rule:
    """What one syntax tree may not contain, in which files, with examples of each side."""

    name: str
    find: Callable[[ast.Module], Offences]
    applies_to: Callable[[str], bool]
    offending: tuple[str, ...]
    fine: tuple[str, ...]


def _calls(tree: ast.Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _names_in(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def commits(tree: ast.Module) -> Offences:
    """`anything.commit()`: the edge that opened a transaction ends it, so that a refusal undoes everything."""
    for call in _calls(tree):
        if isinstance(call.func, ast.Attribute) and call.func.attr == "commit":
            yield call


def bare_selects(tree: ast.Module, tenant_tables: frozenset[str] | None = None) -> Offences:
    """`select(Table)` or `db.get(Table, …)` of rows that belong to a merchant, without asking which merchant."""
    tables = TENANT_TABLES if tenant_tables is None else tenant_tables
    for call in _calls(tree):
        match call.func:
            case (
                ast.Name(id="select")
                | ast.Attribute(value=ast.Name(id="sqlmodel" | "sqlalchemy" | "sa"), attr="select")
            ):
                asked = set().union(*map(_names_in, call.args))
            case ast.Attribute(attr="get" | "get_one") if call.args:
                asked = {call.args[0].id} if isinstance(call.args[0], ast.Name) else set()
            case _:
                continue
        if asked & tables:
            yield call


def tenant_tables_of(trees: Iterator[ast.Module]) -> frozenset[str]:
    """Names of the table classes that say whose rows they hold."""
    return frozenset(
        node.name
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(key.arg == "table" for key in node.keywords)
        and any(
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and field.target.id == "merchant_id"
            for field in node.body
        )
    )


def postponed_annotations(tree: ast.Module) -> Offences:
    """SQLModel relationships break under `from __future__ import annotations`."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            yield node


def missing_docstring(tree: ast.Module) -> Offences:
    """A module says what lives in it."""
    if ast.get_docstring(tree) is None:
        yield tree


def sleeps(tree: ast.Module) -> Offences:
    """A test that sleeps is slow or flaky; `eventually` polls. `asyncio.sleep(0)` only lets others run.

    In virtual time asyncio's sleeps take none.
    """
    is_virtual = any(
        isinstance(node, ast.ImportFrom) and node.module == "tests.fakes.virtual_time"
        for node in tree.body
    )
    for call in _calls(tree):
        match call:
            case ast.Call(func=ast.Attribute(attr="sleep"), args=[ast.Constant(value=0)]):
                continue
            case ast.Call(func=ast.Attribute(value=ast.Name(id="asyncio"), attr="sleep")):
                if not is_virtual:
                    yield call
            case ast.Call(func=ast.Attribute(attr="sleep") | ast.Name(id="sleep")):
                yield call


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def _python_files(*folders: str) -> list[Path]:
    return sorted(
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if "node_modules" not in path.parts
    )


TENANT_TABLES = tenant_tables_of(
    _parse(path) for path in _python_files("control_plane") if path.name == "models.py"
)

EDGES = {
    "api", "http", "integrations", "jobs", "mail", "mqtt", "processors", "receipts", "web", "webhooks"
}  # fmt: skip
WAITING = "tests/support/waiting.py"
VIRTUAL_TIME = "from tests.fakes.virtual_time import virtual_clock\n"
# These open transactions, so they end them.
COMMITTERS = ("control_plane/db/", "control_plane/jobs/", "control_plane/mqtt/")
RULES = [
    Rule(
        "only edges commit",
        commits,
        lambda path: path.startswith("control_plane/") and not path.startswith(COMMITTERS),
        offending=("def refund(db):\n    db.add(row)\n    db.commit()\n",),
        fine=("def refund(db):\n    db.add(row)\n    db.flush()\n",),
    ),
    Rule(
        "rows of merchants are read through queries",
        lambda tree: bare_selects(tree, TENANT_TABLES | {"Refund"}),
        lambda path: path.startswith("control_plane/") and not path.endswith("/queries.py"),
        offending=(
            "rows = db.exec(select(func.count(Refund.id)).where(Refund.amount > 1))\n",
            "rows = db.exec(sa.select(Refund))\n",
            "refund = db.get(Refund, refund_id)\n",
        ),
        fine=(
            "rows = db.exec(scope.select(Refund)), select(Currency), codes.get('Refund')\n",
            "refund = queries.refund(db, scope, refund_id)\n",
        ),
    ),
    Rule(
        "tables keep their annotations",
        postponed_annotations,
        lambda path: path.startswith("control_plane/") and path.endswith("models.py"),
        offending=("from __future__ import annotations\n",),
        fine=("from sqlmodel import SQLModel\n",),
    ),
    Rule(
        "modules say what they are for",
        missing_docstring,
        lambda path: True,
        offending=("import os\n",),
        fine=('"""Reads the environment."""\nimport os\n',),
    ),
    Rule(
        "tests wait by polling",
        sleeps,
        # Programs that measure send at a pace.
        lambda path: path.startswith("tests/") and not path.startswith(("tests/load/", WAITING)),
        offending=(
            "import time\ntime.sleep(0.2)\n",
            "async def test():\n    await asyncio.sleep(0.2)\n",
            f"{VIRTUAL_TIME}time.sleep(5)\n",
        ),
        fine=(
            "async def test():\n    await asyncio.sleep(0)\n",
            f"{VIRTUAL_TIME}async def test():\n    await asyncio.sleep(5)\n",
        ),
    ),
]
EVERY_RULE = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name.replace(" ", "_"))


@EVERY_RULE
def test_the_repository_keeps_the_rule(rule: Rule) -> None:
    offences = [
        f"{name}:{getattr(node, 'lineno', 1)}"
        for path in _python_files(*PACKAGES, "tests")
        if rule.applies_to(name := path.relative_to(ROOT).as_posix())
        for node in rule.find(_parse(path))
    ]

    assert offences == []


@EVERY_RULE
def test_the_rule_finds_an_offence(rule: Rule) -> None:
    assert [len(list(rule.find(ast.parse(each)))) for each in rule.offending] == [1] * len(
        rule.offending
    )


@EVERY_RULE
def test_the_rule_leaves_good_code_alone(rule: Rule) -> None:
    assert [node for each in rule.fine for node in rule.find(ast.parse(each))] == []


def test_a_table_with_a_merchant_is_a_tenant_table() -> None:
    source = (
        "class Refund(SQLModel, table=True):\n    merchant_id: str\n"
        "class Merchant(SQLModel, table=True):\n    id: str\n"
        "class NewRefund(SQLModel):\n    merchant_id: str\n"
    )

    assert tenant_tables_of(iter([ast.parse(source)])) == {"Refund"}


def test_every_feature_is_kept_free_of_frameworks() -> None:
    (contract,) = [
        contract
        for contract in PYPROJECT["tool"]["importlinter"]["contracts"]
        if contract["id"] == "features"
    ]
    folders = {path.parent.name for path in ROOT.glob("control_plane/*/models.py")}
    features = {f"control_plane.{folder}" for folder in folders - EDGES}

    assert features - set(contract["source_modules"]) == set()


@pytest.mark.parametrize("name", PACKAGES)
def test_a_top_level_name_is_ours_alone(name: str) -> None:
    spec = importlib.util.find_spec(name)
    # An editable installation lists no modules, so only another distribution can show up here.
    providers = set(importlib.metadata.packages_distributions().get(name, [])) - {"omnitill"}

    assert spec is not None
    assert spec.origin == str(ROOT / name / "__init__.py")
    assert providers == set()


def test_the_agent_tells_the_version_of_the_distribution() -> None:
    assert agent.version.VERSION == PYPROJECT["project"]["version"]


def test_test_folders_are_not_packages() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_locked_packages_have_hashes_and_no_address() -> None:
    for lock in (ROOT / "deploy/locks").glob("*.txt"):
        text = lock.read_text()
        requirements = re.findall(r"^\S+==\S+.*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)

        assert requirements, lock.name
        assert [one for one in requirements if "--hash=sha256:" not in one] == []
        assert "://" not in text


@pytest.mark.parametrize("extra", ["agent", "control-plane", "dev"])
def test_the_lock_holds_what_the_project_asks_for(extra: str) -> None:
    project = PYPROJECT["project"]
    asked = project["dependencies"] + project["optional-dependencies"][extra]
    names = {re.split(r"[\[<>=; ]", one)[0] for one in asked} - {"omnitill"}
    locked = re.findall(
        r"^([a-z0-9-]+)==", (ROOT / f"deploy/locks/{extra}.txt").read_text(), re.MULTILINE
    )

    assert names - set(locked) == set()


def test_the_agent_stays_small() -> None:
    locked = (ROOT / "deploy/locks/agent.txt").read_text()

    assert (
        re.findall(
            r"^(?:fastapi|pydantic|sqlalchemy|sqlmodel|starlette|stripe)==", locked, re.MULTILINE
        )
        == []
    )


def test_browser_packages_have_hashes_and_no_address() -> None:
    lock = json.loads((ROOT / "control_plane/web/package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}

    assert packages
    assert [name for name, package in packages.items() if "integrity" not in package] == []
    assert [name for name, package in packages.items() if "resolved" in package] == []


def test_no_file_names_a_package_index_or_the_machine_it_was_written_on() -> None:
    # In pieces, so that this file does not name them either.
    forbidden = "|".join(
        [
            "registry" + r"\.npm",
            "pythonhosted" + r"\.",
            r"pypi\." + "org",
            r"deb\." + "debian",
            "/work" + "/main",
        ]
    )
    found = subprocess.run(
        ["git", "grep", "--untracked", "-nIE", forbidden],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (found.returncode, found.stdout) == (1, "")
