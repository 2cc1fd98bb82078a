"""Choices: endings laid out with their context, trained on as transformers does, and ranked."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import tiny
from unmask.contracts import Prediction
from unmask.data.windows import Reading
from unmask.errors import UserError
from unmask.exchange.huggingface import Pretrained, write
from unmask.predict.predictor import predictions
from unmask.tasks.choice import TASK, Choice, MultipleChoice
from unmask.text.columns import Columns
from unmask.text.rows import Row, read_rows
from unmask.text.tokenizer import Tokenizer

ROWS = [
    {"context": "the fox", "choices": ["jumped over", "a river .", "lazy"], "label": 1},
    {"context": "the bear looked", "choices": ["brown", "quick fence", "."], "label": 2},
]


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    return tiny.tokenizer()


@pytest.fixture(scope="module")
def model(words: Tokenizer) -> Pretrained:
    return tiny.pretrained(words, "multiple-choice", labels=("LABEL_0",))


def record(fields: dict[str, Any], labelled: bool = True) -> Choice:
    return TASK.record(Row("a.jsonl, line 7", fields, None), Columns(), labelled)


def choice(length: int = 32, **settings: Any) -> MultipleChoice:
    return MultipleChoice(reading=Reading(length=length, **settings))


def laid(task: MultipleChoice, fields: dict[str, Any], words: Tokenizer) -> list[str]:
    """Write the windows of a row as text."""
    (windows,) = task.windows([record(fields)], words)
    return [" ".join(words.tokens(window.ids.tolist())) for window in windows]


def test_loss_and_shares_equal_those_of_transformers(
    model: Pretrained, words: Tokenizer, tmp_path: Path
) -> None:
    write(model, tmp_path)
    theirs = transformers.AutoModelForMultipleChoice.from_pretrained(tmp_path).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    contexts = [row["context"] for row in ROWS for _ in row["choices"]]
    endings = [ending for row in ROWS for ending in row["choices"]]
    inputs = tokenizer(contexts, endings, padding=True, return_tensors="pt")
    labels = torch.tensor([row["label"] for row in ROWS])
    with torch.no_grad():
        shaped = {name: tensor.view(2, 3, -1) for name, tensor in inputs.items()}
        wanted = theirs(**shaped, labels=labels)
    records, task = [record(row) for row in ROWS], choice()
    batch = task.batch([window for one in task.windows(records, words) for window in one])
    assert batch.sizes == (3, 3)
    assert batch.counts == {"task": 2}
    with torch.no_grad():
        part = task.loss(model.network.encoder, model.network.head, batch)["task"]
    assert float(part.total) / 2 == pytest.approx(float(wanted.loss), abs=1e-5)
    assert int(part.correct) == int((wanted.logits.argmax(1) == labels).sum())
    shares = wanted.logits.softmax(1)
    for number, (one, found) in enumerate(
        predictions(task, model.network, words, records, top_k=3)
    ):
        assert [result["score"] for result in found.results] == pytest.approx(
            shares[number].sort(descending=True).values.tolist(), abs=1e-5
        )
        assert all(one.choices[r["index"]] == r["choice"] for r in found.results)
        assert found.answer == int(shares[number].argmax()) == found.results[0]["index"]
    with torch.no_grad():  # a mutation: segments of one kind
        model.network.encoder.embeddings.segment.weight[1, 0] += 0.1
        changed = task.loss(model.network.encoder, model.network.head, batch)["task"]
        model.network.encoder.embeddings.segment.weight[1, 0] -= 0.1
    assert abs(float(changed.total) - float(part.total)) > 1e-4


def test_records_may_differ_in_their_number_of_choices(model: Pretrained, words: Tokenizer) -> None:
    rows = [*ROWS, {"context": "a dog", "choices": ["brown", "over"], "label": 0}]
    records, task = [record(row) for row in rows], choice()
    windows = [window for one in task.windows(records, words) for window in one]
    batch = task.batch(windows)
    assert batch.sizes == (3, 3, 2)
    losses = []
    with torch.no_grad():
        for unit in task.units(windows):
            own = task.loss(model.network.encoder, model.network.head, task.batch(unit))
            losses.append(float(own["task"].total))
        part = task.loss(model.network.encoder, model.network.head, batch)["task"]
    assert len(losses) == 3
    assert float(part.total) == pytest.approx(sum(losses), abs=1e-5)


def test_the_context_is_cut_where_an_ending_leaves_it_no_room(words: Tokenizer) -> None:
    fields = {"context": "the quick brown fox", "choices": ["over the fence", "lazy"], "label": 0}
    assert laid(choice(length=9), fields, words) == [
        "[CLS] the quick brown [SEP] over the fence [SEP]",
        "[CLS] the quick brown fox [SEP] lazy [SEP]",
    ]
    (windows,) = choice(length=9).windows([record(fields)], words)
    assert [window.cut for window in windows] == [True, False]
    assert [window.laid.starts[1] for window in windows] == [5, 6]


def test_a_long_context_is_read_in_parts_with_all_endings(
    model: Pretrained, words: Tokenizer
) -> None:
    fields = {"context": "the quick brown fox", "choices": ["over the", "lazy"], "label": 1}
    task = choice(length=7, long="windows", stride=1)
    parts = ["the quick", "quick brown", "brown fox"]
    assert laid(task, fields, words) == [
        f"[CLS] {part} [SEP] {ending} [SEP]" for part in parts for ending in ("over the", "lazy")
    ]
    (windows,) = task.windows([record(fields)], words)
    assert [len(unit) for unit in task.units(windows)] == [2, 2, 2]
    assert task.batch(windows).sizes == (2, 2, 2)
    assert not any(window.cut for window in windows)
    scores = [torch.tensor([score]) for score in (0.0, 3.0, 1.0, 0.0, 8.0, 0.0)]
    found = task.combine(record(fields), windows, scores, 2)
    assert found.answer == 0
    assert found.confidence == pytest.approx(float(torch.tensor([3.0, 1.0]).softmax(0)[0]))


def test_a_question_begins_every_ending(words: Tokenizer) -> None:
    fields = {"context": "the fox", "question": "jumped", "options": ["over", "."], "answer": "."}
    assert laid(choice(), fields, words) == [
        "[CLS] the fox [SEP] jumped over [SEP]",
        "[CLS] the fox [SEP] jumped . [SEP]",
    ]
    assert record(fields).label == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"context": "a", "choices": ["x", "y"], "label": 1},
        {"question": "a", "endings": ["x", "y"], "label": "1"},
        {"sentence": "a", "choices": ["x", "y"], "label": "y"},
        {"startphrase": "a", "ending1": "y", "ending0": "x", "label": 1},
        {"text": "a", "choice1": "x", "choice2": "y", "label": "1"},
    ],
)
def test_columns_are_found_by_their_usual_names(fields: dict[str, Any]) -> None:
    found = record(fields)
    assert (found.context, found.choices, found.label) == ("a", ("x", "y"), 1)
    assert record(fields, labelled=False).label is None


def test_what_python_gives() -> None:
    assert TASK.direct(("a", ["x", "y"]), "item 1").choices == ("x", "y")
    assert TASK.direct({"question": "a", "endings": ["x", "y"]}, "item 1").context == "a"
    with pytest.raises(UserError, match="item 1: 'a' is not a context with a list of choices"):
        TASK.direct("a", "item 1")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"context": "a", "label": 0}, "no column choices or endings or options, nor choice0"),
        ({"context": "a", "choices": "x", "label": 0}, "the choices are 'x', not a list"),
        ({"context": "a", "choices": ["x", 1], "label": 0}, "not a list of texts"),
        ({"context": "a", "choices": ["x"], "label": 0}, "only the choice ['x']"),
        ({"context": "a", "choices": ["x", "y"], "label": 2}, "label 2 is no choice; give its"),
        ({"context": "a", "choices": ["x", "y"], "label": -1}, "label -1 is no choice"),
        ({"context": "a", "choices": ["x", "y"], "label": "z"}, "label 'z' is no choice"),
        ({"context": "a", "choices": ["x", "y"], "label": True}, "label True is no choice"),
        ({"context": "a", "choices": ["x", "y"]}, "no column label or answer"),
        ({"choices": ["x", "y"], "label": 0}, "no column of text"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        record(fields)
    assert str(caught.value).startswith("a.jsonl, line 7: ")
    assert said in str(caught.value)


def test_choices_have_no_class_weights() -> None:
    with pytest.raises(UserError, match="choices have none"):
        TASK.learn([], Reading(length=8), {"a": 1.0})


def test_accuracy_and_the_official_form() -> None:
    task = choice()
    pairs = [
        (record(row), Prediction(results=[], answer=answer, confidence=1.0))
        for row, answer in zip(ROWS, (1, 0), strict=True)
    ]
    metric = task.metric()
    for pair in pairs:
        metric.add(*pair)
    assert metric.result() == {"accuracy": 0.5}
    assert metric.confusion() is None
    assert [metric.right(*pair) for pair in pairs] == [True, False]
    assert "".join(task.written(pairs)) == "index\tprediction\n0\t1\n1\t0\n"
    assert task.shown(record(ROWS[0])) == "the fox | jumped over | a river . | lazy"


def test_codah_is_read(shared: Path) -> None:
    found = [
        TASK.record(row, Columns(), True) for row in read_rows(str(shared / "codah" / "dev.jsonl"))
    ]
    assert len(found) == 556
    assert {len(one.choices) for one in found} == {4}
    assert found[0].choices[found[0].label] == "tempted to snack when I feel this way."
