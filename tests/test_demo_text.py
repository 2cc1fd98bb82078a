"""The demonstration's text: English prose from the running Python's own documentation."""

import subprocess
import sys
from pathlib import Path

import pytest

from unmask.errors import UserError
from unmask.text import python_documentation
from unmask.text.python_documentation import Document, documents, paragraphs


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A standard library of three files, and one beside it that is not its own."""
    monkeypatch.setattr(python_documentation, "_LEAST_CHARACTERS", 1)
    files = {
        "pydoc_data/topics.py": (
            'topics = {"if": """The if statement chooses.\n\nIt has an else.""", "of": "x = 1"}\n'
        ),
        "json/tool.py": (
            'raise RuntimeError("imported")\n'
            'def dump():\n    """Write an object to a file.\n\n    Said in both of them.\n    """\n'
            'class Tool:\n    "Reads JSON and prints it."\n    def run(self):\n'
            '        "Said in both of them."\n'
        ),
        "abc.py": '"This paragraph is alone here."\n',
        "site-packages/numpy.py": '"""This is not the standard library.\n\nIt is not."""\n',
        "test/test_abc.py": '"""This tests the standard library.\n\nIt is no text to read."""\n',
    }
    for name, source in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return tmp_path


def test_modules_and_topics_are_documents_and_nothing_is_run(small: Path) -> None:
    assert documents(small) == [
        Document(
            "json",
            [
                ["Write an object to a file.", "Said in both of them."],
                ["Reads JSON and prints it."],
            ],
        ),
        Document("pydoc_data", [["The if statement chooses.", "It has an else."]]),
    ]


def test_prose_stays_and_code_tables_and_markup_go() -> None:
    raw = """The *with* statement
    ********************

    It wraps the ``execution`` of a :class:`block <b>` with
    methods   defined by a **context manager**.

       with_stmt ::= "with" ( "(" with_stmt_contents ","? ")" ) ":" suite

    | Code | Number of units    |
    +------+--------------------+

    For example, this opens a file:
    >>> with open("a file that is here") as file:
    ...     and what it prints does not stay here either

    * Items are paragraphs, even where
      they go over two lines.
    * So is the next one here.
    1. And one with a number.
    :param name: what the thing is called
    """
    assert list(paragraphs(raw)) == [
        "It wraps the execution of a block <b> with methods defined by a context manager.",
        "For example, this opens a file:",
        "Items are paragraphs, even where they go over two lines.",
        "So is the next one here.",
        "And one with a number.",
        "what the thing is called",
    ]


def test_there_is_enough_of_it_and_no_paragraph_comes_twice(library: list[Document]) -> None:
    texts = [text for document in library for text in document.paragraphs]
    assert len(library) > 300
    assert sum(len(text) for text in texts) > 1_000_000
    assert len(set(texts)) == len(texts)


def test_a_paragraph_is_a_line_of_english(library: list[Document]) -> None:
    texts = [text for document in library for text in document.paragraphs]
    assert all(text == " ".join(text.split()) and text for text in texts)
    assert not [text for text in texts if ">>>" in text and text.startswith(">>>")]
    words = " ".join(texts).lower().split()
    assert words.count("the") > 0.04 * len(words)


def test_other_processes_read_the_same(small: Path) -> None:
    script = (
        "import sys, pathlib; from unmask.text import python_documentation as documentation;"
        "documentation._LEAST_CHARACTERS = 1;"
        "print(documentation.documents(pathlib.Path(sys.argv[1])))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", script, str(small)],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert printed == {f"{documents(small)}\n"}


def test_a_python_without_sources_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{tmp_path}: the source files"):
        documents(tmp_path)
