"""The demonstration from text to filled masks and a task's answers, on a text of a few lines."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

import tiny
from unmask import cli
from unmask.demo import origins, transfer, verb
from unmask.demo.verb import DemoResult
from unmask.predict.model import Model
from unmask.text.python_documentation import Document


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoResult]:
    """The demonstration on a small text in the place of Python's documentation."""
    documents = [
        Document(package, [[" ".join(tiny.SENTENCES[i + k : i + k + 4])] for k in range(3)])
        for i, package in enumerate(["email", "http", "xml", "other"] * 12)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verb, "documents", lambda: documents)
        patch.setattr(verb, "VOCAB_SIZE", 200)
        patch.setattr(transfer, "EPOCHS", 2)
        patch.setattr(transfer, "SEEDS", 2)
        patch.setattr(origins, "TRAIN", 8)
        patch.setattr(origins, "TEST", 4)
        yield verb.demo(out=tmp_path_factory.mktemp("demo"), budget="1s")


@pytest.fixture
def folder(finished: DemoResult) -> Path:
    return Path(finished.pretrained.report).parents[1]


def test_started_again_it_gives_its_figures_again(
    finished: DemoResult, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["demo", "--out", str(folder), "--budget", "1s", "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result == finished.to_json()
    assert {"steps", "tokens", "seconds", "nsp_accuracy", "unigram_loss"} <= result.keys()
    assert result["heldout_mlm_loss"] > 0
    assert 0 <= result["heldout_mlm_accuracy"] <= 1
    assert "<svg" in Path(result["report"]).read_text(encoding="utf-8")
    assert list(result["results"]) == list(verb.PROBES)
    assert all(len(answers) == 5 for answers in result["results"].values())


def test_the_scores_are_means_over_the_seeds(finished: DemoResult, folder: Path) -> None:
    result = finished.to_json()
    assert result["task"] == "docstring-origin"
    for side, start in (("finetuned", "from-pretrained-*"), ("from_random", "from-random")):
        runs = (folder / "task").glob(f"{start}/seed-*/result.json")
        scores = [json.loads(path.read_text())["metrics"]["accuracy"] for path in runs]
        assert len(scores) == 2
        assert result[side] == pytest.approx(sum(scores) / 2)
        assert result[f"{side}_std"] == pytest.approx(abs(scores[0] - scores[1]) / 2**0.5)


def test_the_text_of_the_pre_training_has_nothing_of_the_test(folder: Path) -> None:
    text = set((folder / "text.txt").read_text(encoding="utf-8").splitlines())
    rows = (folder / "task" / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]
    assert rows
    assert not text & {row.partition("\t")[0] for row in rows}


def test_people_see_masks_figures_and_both_scores(finished: DemoResult) -> None:
    shown = Console(file=io.StringIO(), width=200)
    shown.print(finished)
    text = shown.file.getvalue()
    assert all(probe in text for probe in verb.PROBES)
    assert "nats per masked token" in text
    assert "report.html" in text
    figures = finished.to_json()
    for name, score in zip(transfer.SIDES, ("finetuned", "from_random"), strict=True):
        assert re.search(rf"{name} +{figures[score]:.1%} ± ", text)


def test_a_page_sets_both_sides_beside_each_other(finished: DemoResult) -> None:
    figures, path = finished.to_json(), Path(finished.transfer.report)
    page = path.read_text(encoding="utf-8")
    assert f"<td>from random weights</td><td>{figures['from_random']:.1%}</td>" in page
    assert page.count("<svg") == 1
    links = re.findall(r'href="([^"#]*report.html)"', page)
    assert len(links) == 2
    assert all((path.parent / link).exists() for link in links)


def test_the_other_start_has_the_same_shape_and_has_learned_nothing(
    finished: DemoResult, folder: Path
) -> None:
    trained = Model.from_pretrained(finished.pretrained.model).pretrained
    blank = Model.from_pretrained(folder / "task" / "random").pretrained
    assert blank.spec == trained.spec
    biases = [
        (name, bool(tensor.any()))
        for name, tensor in blank.network.state_dict().items()
        if name.endswith("bias")
    ]
    assert biases
    assert not any(learned for _, learned in biases)
    assert all(trained.network.state_dict()[name].any() for name, _ in biases)
