"""The demonstration from text to filled masks, on a text of a few lines."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

import tiny
from unmask import cli, demo


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a small text in the place of Python's documentation."""
    documents = [[" ".join(tiny.SENTENCES[i : i + 4])] * 2 for i in range(0, 72, 4)]
    monkeypatch.setattr(demo, "documents", lambda: documents * 4)
    monkeypatch.setattr(demo, "VOCAB_SIZE", 200)


@pytest.mark.usefixtures("small")
def test_it_ends_with_a_model_and_a_report_and_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["demo", "--out", str(tmp_path / "demo"), "--budget", "1s", "--json"]
    assert cli.main(arguments) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"steps", "tokens", "seconds", "nsp_accuracy", "unigram_loss"} <= result.keys()
    assert result["heldout_mlm_loss"] > 0
    assert 0 <= result["heldout_mlm_accuracy"] <= 1
    assert "<svg" in Path(result["report"]).read_text(encoding="utf-8")
    assert list(result["results"]) == list(demo.PROBES)
    assert all(len(answers) == 5 for answers in result["results"].values())

    assert cli.main(arguments) == 0  # finished: it tells the same again
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == result


@pytest.mark.usefixtures("small")
def test_people_see_masks_and_figures(tmp_path: Path) -> None:
    shown = Console(file=io.StringIO(), width=200)
    shown.print(demo.demo(out=tmp_path / "demo", budget="1s"))
    text = shown.file.getvalue()
    assert all(probe in text for probe in demo.PROBES)
    assert "nats per masked token" in text
    assert "report.html" in text


def test_a_line_is_a_paragraph_and_a_blank_line_ends_a_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "documents", lambda: [["One.", "Two."], ["Three."]])
    path = demo.write_text(tmp_path / "new" / "text.txt")
    assert path.read_text(encoding="utf-8") == "One.\nTwo.\n\nThree.\n"
