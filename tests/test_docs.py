"""What the documentation tells people to type exists: commands, options, settings and links."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unmask import cli
from unmask.errors import UserError
from unmask.train.recipe import load_recipe
from unmask.train.tuning import load_tuning

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(page: Path) -> Iterator[list[str]]:
    """Give what follows `unmask` in each command of a page, those with placeholders left out."""
    for language, block in BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines() if not language else []:
            if re.match(r"unmask [a-z]+ ", line) and "..." not in line:
                yield shlex.split(line, comments=True)[1:]


def told() -> list[tuple[str, list[str]]]:
    return [(page.name, words) for page in PAGES for words in commands(page)]


def check(words: list[str]) -> dict[str, Any]:
    """Give the options of a command; raises for one that the program does not understand."""
    given = cli.parser(words[0]).parse_intermixed_args(words[1:])
    if words[0] == "finetune":
        load_tuning(512, {}, None, given.set)
    elif words[0] == "pretrain":
        load_recipe(given.recipe, None, given.set)
    return vars(given)


def test_the_commands_are_found() -> None:
    found = [words for page, words in told() if page == "finetune.md"]
    assert {words[0] for words in found} == {"finetune", "evaluate", "predict"}
    assert len(told()) > 20


@pytest.mark.parametrize(("page", "words"), told())
def test_a_command_of_the_documentation_is_understood(page: str, words: list[str]) -> None:
    assert check(words)


@pytest.mark.parametrize("wrong", ["--rat 1", "--set layer.last=2", "--set layers.last=two"])
def test_a_command_that_is_none_is_seen(wrong: str) -> None:
    with pytest.raises(UserError):
        check(shlex.split(f"finetune regression --model m --train a --eval b {wrong}"))


def test_settings_in_the_text_exist() -> None:
    """`--set KEY=VALUE` between backquotes, in a paragraph or a table."""
    found = [
        pair
        for told in re.findall(
            r"`((?:--set [^`]+)+)`", (ROOT / "docs" / "finetune.md").read_text(encoding="utf-8")
        )
        for pair in shlex.split(told)
        if pair != "--set"
    ]
    assert len(found) > 10
    for pair in found:
        load_tuning(512, {}, None, [pair])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_compiles_and_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for language, block in BLOCK.findall(text):
        if language == "python":
            compile(block, str(page), "exec")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), f"{page.name} points to {target}"
