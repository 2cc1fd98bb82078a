"""The scripts of `examples/`, run as a reader would run them, on small inputs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import tiny
from unmask.predict.model import Model

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(script: str, *arguments: str | Path) -> str:
    """Run an example and give what it prints."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def model(tmp_path: Path) -> Path:
    Model(tiny.pretrained(tiny.tokenizer())).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_the_examples_stay_short() -> None:
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 20, path.name


def test_pretrain_own_text(tmp_path: Path) -> None:
    paragraphs = [" ".join(tiny.SENTENCES[i : i + 6]) for i in range(0, len(tiny.SENTENCES), 6)]
    (tmp_path / "text.txt").write_text("\n\n".join(paragraphs * 10), encoding="utf-8")
    printed = run("pretrain_own_text.py", tmp_path / "text.txt", tmp_path / "out", "1s")
    assert re.search(r"held-out loss \d+\.\d\d, word frequencies \d+\.\d\d", printed)
    assert (tmp_path / "out" / "run" / "report.html").exists()
    assert "brown" in run("fill_masks.py", tmp_path / "out" / "run" / "model", "The brown [MASK].")


def test_fill_masks(model: Path) -> None:
    printed = run("fill_masks.py", model, "The [MASK] fox jumped .", "A [MASK] river .")
    lines = printed.splitlines()
    assert len(lines) == 2 * (1 + 3)
    assert lines[0] == "The [MASK] fox jumped ."
    assert "fox jumped" in lines[1]


def test_embed_texts(model: Path) -> None:
    printed = run("embed_texts.py", model, "the fox", "the river", "the fox")
    assert printed.splitlines()[0] == "1.000  the fox"
    assert printed.splitlines()[1].endswith("the river")
