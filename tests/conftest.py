"""What all tests share: no network, examples that are the same each time, and the real data."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from corpora import DOCUMENTS, as_txt, small_tokenizer
from unmask.data.prepare import prepare
from unmask.text.python_documentation import Document, documents

os.environ["HF_HUB_OFFLINE"] = "1"

settings.register_profile("unmask", deadline=None, derandomize=True)
settings.load_profile("unmask")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the runs that no test names a folder for where pytest clears up."""
    os.environ["TMPDIR"] = str(tmp_path_factory.mktemp("temporary"))
    tempfile.tempdir = None  # looks at the variable anew


@pytest.fixture(scope="session")
def shared() -> Path:
    """Give the folder of real data, which lies beside the repository and never in it."""
    if not SHARED.is_dir():
        pytest.skip(f"the real data is not here: {SHARED} is missing")
    return SHARED


@pytest.fixture(scope="session")
def library() -> list[Document]:
    """Read the documentation of the running Python, which takes seconds."""
    return documents()


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the small tokenizer of `corpora`."""
    folder = tmp_path_factory.mktemp("tokenizer")
    small_tokenizer().save(folder)
    return folder


@pytest.fixture(scope="session")
def finished(tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the documents in text.txt, and the store that was made of them."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "text.txt").write_text(as_txt(DOCUMENTS))
    prepare([str(folder / "text.txt")], tokenizer=tokenizer, out=folder / "store")
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the properties named `conformance`: a line each, whichever process it comes from."""
    lines = sorted(
        str(text)
        for kind in ("passed", "failed")
        for report in terminalreporter.stats.get(kind, [])
        for name, text in report.user_properties
        if name == "conformance"
    )
    if lines:
        terminalreporter.section("conformance with transformers")
        for line in lines:
            terminalreporter.write_line(line)
