"""Labels of texts and pairs: trained on as transformers does, ranked, averaged, scored, written."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from sklearn import metrics

import tiny
from unmask.contracts import Prediction, Record
from unmask.data.windows import Reading
from unmask.exchange.huggingface import Pretrained, write
from unmask.predict.predictor import predictions
from unmask.scores.confusion import Confusion, ManyLabels
from unmask.tasks.classify import TASK, Classification, LabelledText
from unmask.text.columns import Columns
from unmask.text.rows import Row
from unmask.text.tokenizer import Tokenizer

READING = Reading(length=32)
PAIRS = [("the quick fox", "a lazy dog ."), ("the bear", "the horse"), ("the river", "a fox")]
ONE = ["10", "2", "2"]
SEVERAL = [["2", "10"], [], ["10"]]


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    return tiny.tokenizer()


def records(labels: list[Any]) -> list[LabelledText]:
    rows = [
        {"sentence1": first, "sentence2": second, "label": label}
        for (first, second), label in zip(PAIRS, labels, strict=True)
    ]
    return [TASK.record(Row("a.jsonl, line 1", row, None), Columns(), True) for row in rows]


def learned(labels: list[Any]) -> tuple[Classification, Pretrained]:
    task = TASK.learn(records(labels), READING, None)
    return task, tiny.pretrained(tiny.tokenizer(), "text-classification", labels=task.labels)


def test_labels_of_numbers_are_in_their_order() -> None:
    assert learned(ONE)[0].labels == ("2", "10")
    assert learned([["b", "a"], ["c"], []])[0].labels == ("a", "b", "c")


@torch.no_grad()
@pytest.mark.parametrize("labels", [ONE, SEVERAL], ids=["one", "several"])
def test_loss_and_shares_equal_those_of_transformers(
    labels: list[Any], words: Tokenizer, tmp_path: Path
) -> None:
    task, made = learned(labels)
    write(replace(made, config=task.config()), tmp_path)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    inputs = tokenizer(*map(list, zip(*PAIRS, strict=True)), padding=True, return_tensors="pt")
    several = labels is SEVERAL
    right = torch.tensor(
        [[float(name in one) for name in task.labels] for one in labels]
        if several
        else [task.labels.index(one) for one in labels]
    )
    wanted = theirs(**inputs, labels=right)
    batch = task.batch([window for (window,) in task.windows(records(labels), words)])
    part = task.loss(made.network.encoder, made.network.head, batch)["task"]
    assert float(part.total) / batch.counts["task"] == pytest.approx(float(wanted.loss), abs=1e-5)
    shares = wanted.logits.sigmoid() if several else wanted.logits.softmax(-1)
    found = predictions(task, made.network, words, records(labels), top_k=2)
    for (_, one), share in zip(found, shares, strict=True):
        scores = {result["label"]: result["score"] for result in one.results}
        assert [scores[name] for name in task.labels] == pytest.approx(share.tolist(), abs=1e-5)


def test_scores_of_windows_are_averaged() -> None:
    task, _ = learned(ONE)
    record = records(ONE)[0]
    outputs = [torch.tensor(scores) for scores in ([3.0, 0.0], [0.0, 1.0], [0.0, 5.0])]
    window = task.windows([record], tiny.tokenizer())[0][0]
    found = task.combine(record, [window] * 3, outputs, 2)
    assert [one["label"] for one in found.results] == ["10", "2"]  # the means are 1 and 2
    assert found.results[0]["score"] == pytest.approx(1 / (1 + np.exp(-1)))


@pytest.mark.parametrize("labels", [("no", "yes"), ("a", "b", "c")])
def test_figures_of_one_label_are_those_of_the_field(labels: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    true, found = rng.integers(len(labels), size=(2, 50))
    scores = Confusion(labels)
    for right, given in zip(true, found, strict=True):
        prediction = Prediction(results=[], answer=labels[given], confidence=1.0)
        scores.add(Record(place="here", label=labels[right]), prediction)
    average = "binary" if len(labels) == 2 else "macro"  # of the second label, as GLUE has it
    assert scores.result() == {
        "accuracy": pytest.approx(metrics.accuracy_score(true, found)),
        "f1": pytest.approx(metrics.f1_score(true, found, average=average)),
        "matthews_correlation": pytest.approx(metrics.matthews_corrcoef(true, found)),
    }


def test_figures_of_several_labels_are_those_of_the_field() -> None:
    rng = np.random.default_rng(1)
    true, found = rng.integers(2, size=(2, 50, 3))
    labels, scores = ("a", "b", "c"), ManyLabels(("a", "b", "c"))
    names = [[tuple(np.array(labels)[row > 0]) for row in side] for side in (true, found)]
    for right, given in zip(*names, strict=True):
        prediction = Prediction(results=[], answer=given, confidence=1.0)
        scores.add(Record(place="here", label=right), prediction)
    assert scores.result() == {
        "accuracy": pytest.approx(metrics.accuracy_score(true, found)),
        "f1": pytest.approx(metrics.f1_score(true, found, average="micro")),
        "f1_macro": pytest.approx(metrics.f1_score(true, found, average="macro")),
    }


def test_predictions_are_written_as_glue_wants_them() -> None:
    for labels, lines in ((ONE, ["10", "2", "2"]), (SEVERAL, ["2,10", "", "10"])):
        task, _ = learned(labels)
        pairs = [
            (one, Prediction(results=[], answer=one.label, confidence=1.0))
            for one in records(labels)
        ]
        wanted = "".join(f"{number}\t{line}\n" for number, line in enumerate(lines))
        assert "".join(task.written(pairs)) == "index\tprediction\n" + wanted
