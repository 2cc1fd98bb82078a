"""The English documentation that ships with the running Python, as documents of paragraphs.

It is read from the syntax trees of the standard library's source files: nothing is imported.
A module's docstrings make one document, a reference topic of `pydoc_data` another.
"""

import ast
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from unmask.errors import UserError

_FOREIGN = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
_DESCRIBED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

_ITEM = re.compile(r"\s*(?:[*+•-]|\d+[.)]|\.\. +[\w-]+::|:\w+(?: [\w*.]+)?:)\s+")
"""What opens a paragraph of its own: a bullet, a number, a field, a directive."""
_ROLE = re.compile(r":[\w:]+:(?=`)")
_QUOTES = re.compile(r"`+|\*{2,}|(?<!\w)\*(?=\w)|(?<=\w)\*(?!\w)")
_RULE = re.compile(r"[\W_]+")
"""A line without a word, as under a title."""
_WORD = re.compile(r"""[("'“‘\[]*[A-Za-z]+(?:[-'’/][A-Za-z]+)*[)"'”’\]]*[.,;:!?]*[)"'”’]*""")

_LEAST_WORDS = 4
_LEAST_SHARE = 0.7
"""Of plain words in a paragraph: less is code, a table or a grammar rule."""
_LEAST_CHARACTERS = 300_000


@dataclass(frozen=True, slots=True)
class Document:
    """What a module or a reference topic says."""

    package: str
    """The package or module at the top of the library that it belongs to."""
    parts: list[list[str]]
    """The paragraphs of each docstring, or of the topic; a paragraph is one line."""

    @property
    def paragraphs(self) -> list[str]:
        """All paragraphs, in order."""
        return [paragraph for part in self.parts for paragraph in part]


def documents(library: Path | None = None) -> list[Document]:
    """Read a standard library's documentation, the running Python's when none is named.

    A paragraph that comes again is left out. The same library gives the same documents in the same
    order. Raises UserError when there are too few source files to learn from.
    """
    root = library or Path(sysconfig.get_path("stdlib"))
    seen: set[str] = set()
    found = []
    for path in _sources(root):
        package = path.relative_to(root).parts[0].removesuffix(".py")
        for raws in _described(ast.parse(path.read_bytes()), path):
            parts = [_new(raw, seen) for raw in raws]
            document = Document(package, [part for part in parts if part])
            if len(document.paragraphs) > 1:  # in a single one nothing follows anything
                found.append(document)
    if sum(map(len, seen)) < _LEAST_CHARACTERS:
        raise UserError(
            f"{root}: the source files of Python's standard library are not here, and the "
            "demonstration reads its text from them; install them, or use your own text with "
            "unmask tokenizer, prepare and pretrain"
        )
    return found


def _new(raw: str, seen: set[str]) -> list[str]:
    """Give the paragraphs of a docstring that have not been seen, and take them down as seen."""
    new = [text for text in dict.fromkeys(paragraphs(raw)) if text not in seen]
    seen.update(new)
    return new


def paragraphs(raw: str) -> Iterator[str]:
    """Give the paragraphs of a docstring, each as one line, without markup, code and tables."""
    for block in re.split(r"\n\s*\n", raw):
        lines: list[str] = []
        for line in block.splitlines():
            if line.lstrip().startswith(">>>"):
                break  # what follows in this block is the example and what it prints
            item = _ITEM.match(line) or _RULE.fullmatch(line)
            if item:
                yield from _prose(lines)
                lines = []
            lines.append(line[item.end() :] if item else line)
        yield from _prose(lines)


def _prose(lines: list[str]) -> Iterator[str]:
    """Join lines to a paragraph, and give it when it reads as English."""
    joined = _QUOTES.sub("", _ROLE.sub("", " ".join(lines)))
    words = joined.split()
    plain = sum(1 for word in words if _WORD.fullmatch(word))
    if len(words) >= _LEAST_WORDS and plain >= _LEAST_SHARE * len(words):
        yield " ".join(words)


def _sources(root: Path) -> list[Path]:
    """Find the library's own source files, in an order that does not depend on the file system."""
    inside = (path for path in root.rglob("*.py") if path.is_file())
    own = (path for path in inside if not _FOREIGN & set(path.relative_to(root).parts))
    return sorted(own, key=lambda path: path.relative_to(root).as_posix())


def _described(tree: ast.Module, path: Path) -> Iterator[list[str]]:
    """Give the raw texts of each document in a source file."""
    if path.parts[-2:] == ("pydoc_data", "topics.py"):
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
                yield from ([text] for text in ast.literal_eval(node.value).values())
    else:
        described = (node for node in ast.walk(tree) if isinstance(node, _DESCRIBED))
        in_order = sorted(described, key=lambda node: getattr(node, "lineno", 0))
        yield [text for node in in_order if (text := ast.get_docstring(node))]
