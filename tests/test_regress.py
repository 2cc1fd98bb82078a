"""Numbers of texts and pairs: read, trained on as transformers does, predicted and scored."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from scipy import stats

import tiny
from unmask.contracts import Prediction
from unmask.data.windows import Reading
from unmask.errors import UserError
from unmask.exchange.huggingface import Pretrained, write
from unmask.predict.predictor import predictions
from unmask.scores.correlation import Correlation
from unmask.tasks.regress import LABEL, TASK, Measured, Regression
from unmask.text.columns import Columns
from unmask.text.rows import Row, read_rows
from unmask.text.tokenizer import Tokenizer

PAIRS = [
    {"sentence1": "the quick fox", "sentence2": "a lazy dog .", "score": "0.5"},
    {"sentence1": "the bear", "sentence2": "the horse jumped over the fence", "score": "4"},
    {"sentence1": "the river walked", "sentence2": "a fox", "score": "-2.25"},
]


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    return tiny.tokenizer()


@pytest.fixture(scope="module")
def model(words: Tokenizer) -> Pretrained:
    return tiny.pretrained(words, "text-classification", labels=(LABEL,))


def record(fields: dict[str, Any], labelled: bool = True) -> Measured:
    return TASK.record(Row("a.tsv, line 2", fields, None), Columns(), labelled)


def regression(length: int = 32, **settings: Any) -> Regression:
    return Regression(reading=Reading(length=length, **settings))


def test_loss_and_numbers_equal_those_of_transformers(
    model: Pretrained, words: Tokenizer, tmp_path: Path
) -> None:
    write(model, tmp_path)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path, problem_type="regression", num_labels=1
    ).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    inputs = tokenizer(
        [pair["sentence1"] for pair in PAIRS],
        [pair["sentence2"] for pair in PAIRS],
        padding=True,
        return_tensors="pt",
    )
    records, task = [record(pair) for pair in PAIRS], regression()
    with torch.no_grad():
        wanted = theirs(**inputs, labels=torch.tensor([one.label for one in records]))
    batch = task.batch([window for (window,) in task.windows(records, words)])
    with torch.no_grad():
        part = task.loss(model.network.encoder, model.network.head, batch)["task"]
    assert batch.counts == {"task": 3}
    assert float(part.total) / 3 == pytest.approx(float(wanted.loss), abs=1e-5)
    found = [one.answer for _, one in predictions(task, model.network, words, records)]
    assert found == pytest.approx(wanted.logits[:, 0].tolist(), abs=1e-5)
    moved = task.batch([window for (window,) in task.windows(records[::-1], words)])
    assert moved.labels is not None  # the same texts with one another's numbers: a mutation
    mixed = replace(batch, labels=moved.labels)
    with torch.no_grad():
        other = task.loss(model.network.encoder, model.network.head, mixed)["task"]
    assert abs(float(other.total) - float(part.total)) > 1e-2


def test_results_are_those_of_the_pipeline(
    model: Pretrained, words: Tokenizer, tmp_path: Path
) -> None:
    task = regression()
    write(replace(model, config=task.config()), tmp_path)
    pipeline = transformers.pipeline("text-classification", str(tmp_path))
    ((_, ours),) = predictions(task, model.network, words, [TASK.direct("the lazy fox", "text 1")])
    (theirs,) = pipeline("the lazy fox")
    assert ours.results == [{"label": "LABEL_0", "score": pytest.approx(theirs["score"], abs=1e-5)}]
    assert theirs["label"] == "LABEL_0"


def test_windows_are_averaged(model: Pretrained, words: Tokenizer) -> None:
    text = "the quick fox jumped over the lazy dog"
    parts = ["the quick fox jumped", "fox jumped over the", "over the lazy dog"]
    task = regression(length=6, long="windows", stride=2)
    (_, whole), *some = predictions(
        task, model.network, words, [TASK.direct(one, "here") for one in [text, *parts]]
    )
    assert whole.answer == pytest.approx(sum(one.answer for _, one in some) / 3, abs=1e-5)
    assert not whole.cut
    ((_, cut),) = predictions(regression(length=6), model.network, words, [TASK.direct(text, "")])
    assert cut.cut
    assert cut.answer == pytest.approx(some[0][1].answer, abs=1e-5)


def test_columns_are_found_by_their_usual_names() -> None:
    assert record({"sentence": "a", "label": 3}).label == 3.0
    both = {"text": "a", "text_pair": "b", "label": "neutral", "relatedness": "3.5"}
    assert (record(both).texts, record(both).label) == (("a", "b"), 3.5)
    named = Columns(text=("label",), label="text")
    assert TASK.record(Row("", {"text": "1", "label": "b"}, None), named, True).label == 1.0
    assert record({"text": "a"}, labelled=False).label is None
    assert TASK.direct(("a", "b"), "here").texts == ("a", "b")
    assert TASK.direct({"premise": "a", "hypothesis": "b"}, "here").texts == ("a", "b")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"text": "a", "score": "good"}, "label 'good' is not a number; labels with names"),
        ({"text": "a", "score": "nan"}, "label is 'nan'; give a finite number"),
        ({"text": "a", "score": float("inf")}, "label is inf; give a finite number"),
        ({"text": "a", "score": True}, "label is True; give a finite number"),
        ({"text": "a", "score": [1.0]}, "label [1.0] is not a number"),
        ({"text": "a", "score": ""}, "score is empty; give every row its label"),
        ({"text": "a", "value": 1}, "no column score or similarity or relatedness"),
        ({"score": 1}, "no column of text"),
    ],
)
def test_what_is_no_number_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        record(fields)
    assert str(caught.value).startswith("a.tsv, line 2: ")
    assert said in str(caught.value)


def test_numbers_have_no_class_weights() -> None:
    with pytest.raises(UserError, match="numbers have none"):
        TASK.learn([], Reading(length=8), "balanced")


def test_figures_are_those_of_scipy() -> None:
    true, found = [1.0, 2.0, 4.5, 3.0], [0.5, 2.5, 3.0, 3.5]
    metric, task = Correlation(), regression()
    pairs = []
    for label, answer in zip(true, found, strict=True):
        one = Measured(place="", label=label, texts=("a",))
        guess = Prediction(results=[], answer=answer, confidence=answer)
        metric.add(one, guess)
        pairs.append((one, guess))
    assert metric.result() == {
        "pearson": pytest.approx(stats.pearsonr(true, found)[0]),
        "spearmanr": pytest.approx(stats.spearmanr(true, found)[0]),
        "mse": pytest.approx((0.25 + 0.25 + 2.25 + 0.25) / 4),
    }
    assert metric.result()["spearmanr"] != pytest.approx(metric.result()["pearson"], abs=1e-3)
    assert metric.confusion() is None
    assert not metric.right(*pairs[0])
    assert "".join(task.written(pairs)) == "index\tprediction\n0\t0.5\n1\t2.5\n2\t3\n3\t3.5\n"
    assert task.shown(record(PAIRS[0])) == "the quick fox | a lazy dog ."


def test_numbers_that_do_not_vary_have_no_correlation() -> None:
    metric = Correlation()
    assert metric.result() == {"pearson": 0.0, "spearmanr": 0.0, "mse": 0.0}
    for label in (1.0, 2.0):
        one = Measured(place="", label=label, texts=("a",))
        metric.add(one, Prediction(results=[], answer=1.0, confidence=1.0))
    assert metric.result() == {"pearson": 0.0, "spearmanr": 0.0, "mse": 0.5}


def test_sts_b_is_read(shared: Path) -> None:
    found = [
        TASK.record(row, Columns(), True) for row in read_rows(str(shared / "stsb" / "dev.tsv"))
    ]
    assert len(found) == 1500
    assert found[0].label == 5.0
    assert found[0].texts[1] == "A man wearing a hard hat is dancing."
