"""A task made of Python's documentation: which package does a paragraph of it come from?

Whole docstrings are held out for the test, and no paragraph of theirs is left in the text for
pre-training: what is measured is what a model makes of paragraphs that it has never seen.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from unmask.text.python_documentation import Document

NAME = "docstring-origin"
"""Of the task, as results have it."""
PACKAGES = (
    "asyncio",
    "email",
    "http",
    "importlib",
    "logging",
    "multiprocessing",
    "unittest",
    "xml",
)
"""The labels: packages that every Python of these years has, with much to say."""
TRAIN, TEST = 100, 60
"""Paragraphs of each package to learn from, and to be tested with: about so many."""


@dataclass(frozen=True, slots=True)
class Origins:
    """Paragraphs, each with the package that it comes from."""

    train: list[tuple[str, str]]
    test: list[tuple[str, str]]

    def text(self, documents: Sequence[Document]) -> Iterator[str]:
        """Give the lines of a text for pre-training: all that is not for the test.

        A line is a paragraph, and a blank line ends a document.
        """
        held = {paragraph for paragraph, _ in self.test}
        for document in documents:
            left = [paragraph for paragraph in document.paragraphs if paragraph not in held]
            if len(left) > 1:  # in a single one nothing follows anything
                yield from (*left, "")

    def write(self, folder: Path) -> tuple[str, str]:
        """Write `train.tsv` and `test.tsv`; gives their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for name, rows in (("train", self.train), ("test", self.test)):
            lines = ["text\tlabel", *("\t".join(row) for row in rows)]
            path = folder / f"{name}.tsv"
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
            paths.append(str(path))
        return paths[0], paths[1]


def draw(documents: Sequence[Document], seed: int = 0) -> Origins:
    """Draw docstrings for the test, and of the others paragraphs for training.

    Of a package that has little to say, at most a third of the docstrings are for the test.
    """
    rng = random.Random(seed)
    origins = Origins([], [])
    for package in PACKAGES:
        docstrings = [part for one in documents if one.package == package for part in one.parts]
        rng.shuffle(docstrings)
        held: list[str] = []
        for _ in range(len(docstrings) // 3):
            if len(held) < TEST:
                held += docstrings.pop()
        rest = [paragraph for docstring in docstrings for paragraph in docstring]
        rng.shuffle(rest)
        origins.test.extend((paragraph, package) for paragraph in held)
        origins.train.extend((paragraph, package) for paragraph in rest[:TRAIN])
    return origins
