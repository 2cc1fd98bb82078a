"""The report of a fine-tuning run, and that of several seeds: what stands in it, and how."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import labelled
import unmask
from unmask.train.task_report import write_report, write_summary
from unmask.train.tuning import TuningSettings, load_tuning

MISTAKE = {
    "place": "/data/dev.tsv, line 7",
    "text": "<script>alert(1)</script> & more",
    "label": "dog",
    "answer": "fox",
    "confidence": 0.987,
}


def made(*sets: str, **given: Any) -> TuningSettings:
    fields: dict[str, Any] = dict.fromkeys(
        ("model_fingerprint", "train_fingerprint", "eval_fingerprint"), "0"
    )
    fields |= {"model": "runs/bert", "train": "train.tsv", "eval": "/data/dev.tsv", "seed": 0}
    tuning = load_tuning(64, {}, None, sets)
    return TuningSettings(task="text-classification", tuning=tuning, **(fields | given))


def report(
    folder: Path,
    confusion: Any = None,
    mistakes: Any = (),
    accuracies: tuple[float, ...] = (0.6, 0.8, 0.75),
    best: int = 4,
    settings: TuningSettings | None = None,
    epoch: int = 2,
) -> str:
    """Write the report of a run that is evaluated after every second step; give its HTML."""
    table: list[dict[str, Any]] = [
        {"step": s, "loss": 1 / s, "rate": 1e-3 / s, "tokens": 100 * s, "seconds": 0.5 * s}
        for s in range(1, 2 * len(accuracies) + 1)
    ]
    for row, accuracy in zip(table[1::2], accuracies, strict=True):
        row |= {"eval_f1": accuracy - 0.1, "eval_accuracy": accuracy}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table))
    details = {"metrics": {}, "confusion": confusion, "mistakes": list(mistakes)}
    (folder / "evaluation.json").write_text(json.dumps(details))
    outcome = {
        "seed": 0,
        "metrics": {"f1": 0.7, "accuracy": 0.8},
        "best_step": best,
        "report": str(folder / "report.html"),
    }
    path = write_report(folder, outcome, settings or made(), "accuracy", epoch)
    assert path == folder / "report.html"
    return path.read_text(encoding="utf-8")


def lines(html: str, kind: str) -> list[list[str]]:
    """Read the rows of the tables of a class: the texts of their cells, tags left out."""
    tables = re.findall(rf'<table class="{kind}.*?</table>', html, flags=re.DOTALL)
    rows = re.findall(r"<tr.*?</tr>", "".join(tables), flags=re.DOTALL)
    return [
        [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)]
        for row in rows
    ]


def test_it_says_what_the_run_came_to_and_needs_no_network(tmp_path: Path) -> None:
    html = report(tmp_path)
    assert "<title>unmask: Fine-tuning for text-classification</title>" in html
    assert "From runs/bert, on train.tsv." in html
    assert [line for line in lines(html, "figures") if line[0] in ("accuracy", "best step")] == [
        ["accuracy", "0.8000"],
        ["best step", "4"],
    ]
    drawings = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    assert len(drawings) == 3  # loss; figures; rate and speed
    assert all(ElementTree.fromstring(drawing).tag.endswith("svg") for drawing in drawings)
    assert "train_fingerprint" in html.partition("<h2>Settings</h2>")[2]
    assert not re.search(r"(?:src|href)\s*=\s*[\"']https?:", html)


def test_each_evaluation_has_a_row_and_the_best_is_marked(tmp_path: Path) -> None:
    html = report(tmp_path)
    assert lines(html, "numbers") == [
        ["epoch", "step", "accuracy", "f1", ""],
        ["1", "2", "0.6000", "0.5000", ""],
        ["2", "4", "0.8000", "0.7000", "best: this model was kept"],
        ["3", "6", "0.7500", "0.6500", ""],
    ]
    assert html.count("<tr class=best>") == 1


def test_evaluations_within_an_epoch_are_parts_of_it(tmp_path: Path) -> None:
    html = report(tmp_path, epoch=5)
    assert [line[0] for line in lines(html, "numbers")] == ["epoch", "0.4", "0.8", "1.2"]


def test_one_evaluation_makes_no_curve(tmp_path: Path) -> None:
    assert report(tmp_path, accuracies=(0.6,), best=2).count("<svg") == 2


def test_a_matrix_is_coloured_by_rows_with_its_counts(tmp_path: Path) -> None:
    html = report(tmp_path, {"labels": ["cat", "dog"], "counts": [[30, 10], [0, 5]]})
    assert lines(html, "confusion") == [
        ["right \\ predicted", "cat", "dog", "found"],
        ["cat", "30", "10", "75%"],
        ["dog", "0", "5", "100%"],
    ]
    colours = re.findall(r"background: (#\w{6})(\w\w)", html)
    shares = [round(int(alpha, 16) / 255, 2) for _, alpha in colours]
    assert shares == [0.75, 0.25, 0.0, 1.0]
    right, wrong, also_wrong, also_right = (ink for ink, _ in colours)
    assert right == also_right != wrong == also_wrong
    assert "dense" not in re.findall(r'<table class="(.*?)"', html)[-1]


def test_many_labels_get_small_cells_and_the_commonest_confusions(tmp_path: Path) -> None:
    names = [f"label {i}" for i in range(40)]
    counts = [[50 if i == j else 0 for j in range(40)] for i in range(40)]
    counts[3][7], counts[8][1] = 4, 9
    html = report(tmp_path, {"labels": names, "counts": counts})
    assert len(lines(html, "confusion dense")) == 41
    most = html.partition("Most often")[2]
    assert most.index("label 8") < most.index("label 3")
    assert "<td>9</td><td>59</td>" in most


def test_of_very_many_labels_only_the_commonest_confusions_are_shown(tmp_path: Path) -> None:
    names = [f"label {i}" for i in range(100)]
    counts = [[1] * 100 for _ in names]
    html = report(tmp_path, {"labels": names, "counts": counts})
    assert not lines(html, "confusion")
    assert html.partition("Most often")[2].count("<tr>") == 1 + 20


def test_without_a_matrix_nothing_is_said_of_it(tmp_path: Path) -> None:
    assert "Which label was taken" not in report(tmp_path)


def test_mistakes_are_listed_and_what_users_wrote_stays_text(tmp_path: Path) -> None:
    wild = {"labels": ["<b>", "&"], "counts": [[1, 0], [0, 1]]}
    named = made(model="<i>mine</i>", eval="/data/dev.tsv")
    html = report(tmp_path, wild, [MISTAKE], settings=named)
    assert lines(html, "mistakes") == [
        ["text", "right", "predicted", "confidence", "place"],
        [
            "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more",
            *("dog", "fox", "0.987"),
            "dev.tsv, line 7",
        ],
    ]
    assert not re.search("<script|<b>|<i>", html)
    assert "<th>&lt;b&gt;</th>" in html


def test_of_a_sentence_only_the_words_that_were_wrong_are_named(tmp_path: Path) -> None:
    tagged = MISTAKE | {"text": "the old fox", "label": ["O", "X", "Y"], "answer": ["O", "Y", "X"]}
    [_, line] = lines(report(tmp_path, mistakes=[tagged]), "mistakes")
    assert line[1:3] == ["old X, fox Y", "old Y, fox X"]


def test_several_right_answers_are_given_once_and_an_empty_one_as_nothing(tmp_path: Path) -> None:
    asked = MISTAKE | {"label": ["ten", "10", "ten"], "answer": ""}
    [_, line] = lines(report(tmp_path, mistakes=[asked]), "mistakes")
    assert line[1:3] == ["ten / 10", "nothing"]


def test_numbers_have_errors_instead_of_confidence(tmp_path: Path) -> None:
    measured = {**MISTAKE, "label": 4.25, "answer": 1.0, "error": 3.25}
    del measured["confidence"]
    html = report(tmp_path, mistakes=[measured])
    assert "The largest errors" in html
    assert lines(html, "mistakes")[0][3] == "error"
    assert lines(html, "mistakes")[1][1:4] == ["4.25", "1", "3.250"]


def test_the_largest_errors_of_a_run_come_first(tmp_path: Path) -> None:
    rows = [(text, str(i / 4)) for i, (text, _) in enumerate(labelled.sentences(30))]
    data = labelled.tsv(tmp_path / "data.tsv", rows, ("sentence", "score"))
    unmask.finetune(
        "regression",
        labelled.model(tmp_path / "model"),
        train=data,
        eval=data,
        out=tmp_path / "run",
        epochs=1,
        set=labelled.SETS,
    )
    mistakes = json.loads((tmp_path / "run" / "evaluation.json").read_text())["mistakes"]
    errors = [mistake["error"] for mistake in mistakes]
    assert len(errors) == 20
    assert errors == sorted(errors, reverse=True)
    assert errors[0] == abs(mistakes[0]["label"] - mistakes[0]["answer"])


def test_several_seeds_stand_beside_each_other_with_links_that_move_along(tmp_path: Path) -> None:
    outcomes = [
        SimpleNamespace(
            seed=seed,
            metrics={"accuracy": accuracy, "f1": 0.5},
            best_step=3,
            report=f"/elsewhere/seed-{seed}/report.html",
        )
        for seed, accuracy in ((5, 0.7), (6, 0.9))
    ]
    figures = {"task": "text-classification", "accuracy": 0.8, "accuracy_std": 0.1414}
    figures |= {"f1": 0.5, "f1_std": 0.0, "steps": 6, "tokens": 10, "seconds": 1.5, "model": "m"}
    html = write_summary(tmp_path, figures, outcomes).read_text(encoding="utf-8")
    assert lines(html, "numbers") == [
        ["seed", "accuracy", "f1", "best step", "report"],
        ["5", "0.7000", "0.5000", "3", "seed-5"],
        ["6", "0.9000", "0.5000", "3", "seed-6"],
        ["mean", "0.8000", "0.5000", "", ""],
        ["standard deviation", "0.1414", "0.0000", "", ""],
    ]
    assert re.findall(r'href="(.*?)"', re.sub(r"<svg.*?</svg>", "", html, flags=re.DOTALL)) == [
        "seed-5/report.html",
        "seed-6/report.html",
    ]
    assert html.count("<svg") == 1
