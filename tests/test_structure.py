"""The shape of the code: who may import whom, how long things are, what is explained."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "unmask"

RANKS = (
    {"errors"},
    {"config", "console", "hardware", "lanes", "recipes", "registry", "tokens", "verbs"},
    {"text", "model"},
    {"data"},
    {"contracts"},
    {"rewriting", "scores"},
    {"families", "objectives", "tasks"},
    {"exchange"},
    {"predict"},
    {"train"},
    {"inspect"},
    {"demo"},
    {"cli"},
    {"__main__"},
)
"""A folder or module of `unmask` imports only from itself and from earlier sets."""

OPTIONAL: frozenset[str] = frozenset()
"""Packages that may be missing, and so are imported where they are used."""

INDIRECT = {"tensorboard"}
"""Distributions that a dependency imports for us."""

FORBIDDEN_NAMES = {"base", "common", "helper", "helpers", "misc", "shared", "util", "utils"}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def python_files() -> list[Path]:
    folders = ("src", "tests", "benchmarks", "examples", "docs")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def named(paths: list[Path]) -> list[object]:
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in paths]


def late(tree: ast.AST) -> Iterator[str]:
    """Name the modules that `registry.late` imports where they are used."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "late":
            (name,) = node.args
            assert isinstance(name, ast.Constant), "late imports are named in full"
            yield str(name.value)


def imported(tree: ast.AST) -> Iterator[str]:
    """Give the full name of every module or member that a tree imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are written in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def part(path: Path) -> str:
    """Name the folder or top module of `unmask` that a file belongs to."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def too_high(name: str, tree: ast.AST) -> list[str]:
    """List what the part `name` imports from a part that is not before it."""
    before = set().union(*RANKS[: next(i for i, parts in enumerate(RANKS) if name in parts)])
    allowed = before | {name, "__version__"}
    ours = (full.split(".") for full in imported(tree) if full.startswith("unmask."))
    return [".".join(full) for full in ours if full[1] not in allowed]


@pytest.mark.parametrize("path", named([p for p in modules() if p != SOURCE / "__init__.py"]))
def test_imports_go_down_the_ranks(path: Path) -> None:
    assert too_high(part(path), parsed(path)) == []


def test_an_import_up_the_ranks_is_seen() -> None:
    assert too_high("model", ast.parse("from unmask.train import loop")) == ["unmask.train.loop"]
    assert too_high("text", ast.parse("import unmask.model.spec")) == ["unmask.model.spec"]
    assert too_high("cli", ast.parse("from unmask import verbs")) == []


@pytest.mark.parametrize("path", named(modules()))
def test_imports_stand_at_the_top(path: Path) -> None:
    inside = {
        f"{function.name}: {name}"
        for function in functions(parsed(path))
        for name in imported(function)
        if name.partition(".")[0] not in OPTIONAL
    }
    assert inside == set()


def test_what_is_imported_is_what_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {normal(re.split(r"[<>=!~\[ ]", text)[0]) for text in project["dependencies"]}
    trees = [parsed(path) for path in modules()]
    names = (name for tree in trees for name in (*imported(tree), *late(tree)))
    used = {name.partition(".")[0] for name in names}
    owners = importlib.metadata.packages_distributions()
    foreign = used - sys.stdlib_module_names - {"unmask"}
    owned = {name: set(map(normal, owners[name])) for name in foreign}
    assert {name for name in foreign if not declared & owned[name]} == set()
    assert declared - INDIRECT - set().union(*owned.values()) == set()


def normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


@pytest.mark.parametrize("path", named(python_files()))
def test_files_and_functions_are_short(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= 400, f"{lines} lines"
    sizes = {f.name: (f.end_lineno or f.lineno) - f.lineno + 1 for f in functions(parsed(path))}
    assert {name: size for name, size in sizes.items() if size > 60} == {}


@pytest.mark.parametrize("path", named(python_files()))
def test_modules_open_with_a_sentence(path: Path) -> None:
    lines = (ast.get_docstring(parsed(path)) or "").splitlines()
    assert lines, "no docstring"
    assert lines[0].endswith((".", "?", "!")), f"no sentence: {lines[0]}"


@pytest.mark.parametrize("path", named(modules()))
def test_modules_are_named_after_what_they_hold(path: Path) -> None:
    assert not FORBIDDEN_NAMES & set(path.relative_to(SOURCE).with_suffix("").parts)


def test_importing_the_package_loads_nothing_heavy() -> None:
    script = "import sys, unmask; print({'torch', 'numpy', 'tokenizers'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
