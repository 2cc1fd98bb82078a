"""Words get their labels: laid out in windows, trained on, predicted and scored."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import seqeval.metrics
import torch
import transformers

import tiny
from unmask.contracts import Labelled, Prediction, Record
from unmask.data.windows import Reading, Window
from unmask.errors import UserError
from unmask.exchange.huggingface import Pretrained, write
from unmask.predict.predictor import predictions
from unmask.scores.entities import Entities
from unmask.tasks.tag import TASK, LabelledWords, Sentence, Tagging
from unmask.text.columns import Columns
from unmask.text.conll import read_conll
from unmask.text.iob import iob2
from unmask.text.rows import Row
from unmask.text.template import Laid
from unmask.text.tokenizer import Tokenizer

LABELS = ("O", "B-A", "I-A", "B-B", "I-B")
READING = Reading(length=32, stride=4)


@pytest.fixture(scope="module")
def pieces() -> Tokenizer:
    return tiny.tokenizer()


@pytest.fixture(scope="module")
def model(pieces: Tokenizer) -> Pretrained:
    return tiny.pretrained(pieces, "token-classification", labels=LABELS)


def record(text: str, labels: str | None = None) -> LabelledWords:
    """Make a record of words and labels between blanks."""
    fields: dict[str, Any] = {"words": text.split(" ")}
    if labels is not None:
        fields["labels"] = labels.split(" ")
    return TASK.record(Row("here", fields, None), Columns(), labels is not None)


def tagging(length: int = 32, stride: int = 4) -> Tagging:
    return Tagging(reading=Reading(length=length, stride=stride), labels=LABELS)


def laid(task: Tagging, one: LabelledWords, words: Tokenizer) -> list[Sentence]:
    (windows,) = task.windows([one], words)
    return [window for window in windows if isinstance(window, Sentence)]


def test_the_first_piece_of_a_word_has_its_label(pieces: Tokenizer) -> None:
    (window,) = laid(tagging(), record("the zoo Dog ...", "O B-A I-A O"), pieces)
    tokens = ["[CLS]", "the", "z", "##o", "##o", "dog", ".", ".", ".", "[SEP]"]
    assert pieces.tokens(window.ids.tolist()) == tokens
    assert window.rows.tolist() == [1, 2, 5, 6]
    assert window.target.tolist() == [0, 1, 2, 0]
    assert window.words.tolist() == [0, 1, 2, 3]
    assert window.own.all()
    assert window.laid.segments is None


def test_long_sentences_are_read_in_windows(pieces: Tokenizer) -> None:
    task = tagging(length=8, stride=2)
    labels = " ".join(["B-A", "I-A"] * 5)
    windows = laid(task, record("fox dog " * 4 + "zoo fox", labels), pieces)
    # Six of twelve pieces each, two of them shared; the last word but one has three pieces.
    assert [window.words.tolist() for window in windows] == [
        [0, 1, 2, 3, 4, 5],
        [4, 5, 6, 7, 8],
        [8, 9],
    ]
    assert [window.rows.tolist() for window in windows][1:] == [[1, 2, 3, 4, 5], [1, 4]]
    assert [window.own.tolist() for window in windows] == [
        [True] * 5 + [False],
        [False] + [True] * 4,
        [False, True],
    ]
    assert windows[2].target.tolist() == [1, 2]
    assert all(len(window.ids) <= 8 for window in windows)


def test_a_label_comes_from_the_window_with_most_context(pieces: Tokenizer) -> None:
    task = tagging(length=8, stride=2)
    one = record("fox dog " * 4 + "zoo fox")
    windows = laid(task, one, pieces)
    # The first window says B-A of all words, the second I-A, the third B-B.
    outputs = [
        torch.eye(5)[number + 1].repeat(len(window.rows), 1) * 9
        for number, window in enumerate(windows)
    ]
    found = task.combine(one, windows, outputs, 1)
    assert found.answer == ("B-A",) * 5 + ("I-A",) * 4 + ("B-B",)
    share = float(np.exp(9) / (np.exp(9) + 4))
    assert found.confidence == pytest.approx(share**10)
    assert [result["entity_group"] for result in found.results] == ["A"] * 5 + ["B"]
    assert found.results[-2] | {"score": 0} == {
        "entity_group": "A",
        "score": 0,
        "word": "fox dog fox dog zoo",
        "start": 16,
        "end": 35,
    }
    assert found.results[-2]["score"] == pytest.approx(share)


def test_a_word_without_pieces_belongs_to_nothing(pieces: Tokenizer) -> None:
    one = record("fox \u200b dog", "B-A I-A O")
    (window,) = laid(tagging(), one, pieces)
    assert (window.words.tolist(), window.target.tolist()) == ([0, 2], [1, 0])
    scores = torch.eye(5)[[3, 4]]
    assert tagging().combine(one, [window], [scores], 1).answer == ("B-B", "O", "B-B")


SENTENCES = [
    ("the quick fox jumped", "O B-A I-A O"),
    ("a lazy dog walked", "O B-B I-B O"),
    ("zoo", "B-A"),
    ("horse ... a", "B-B O O"),
    ("x y z w v", "O O B-A B-A I-B"),
]


def batch(model: Pretrained, count: int) -> Labelled:
    assert model.tokenizer is not None
    records = [record(*sentence) for sentence in SENTENCES[:count]]
    windows = tagging().windows(records, model.tokenizer)
    return tagging().batch([window for one in windows for window in one])


def their_loss(model: Pretrained, ours: Labelled) -> float:
    """Compute transformers' loss of two sentences of the same length."""
    config = transformers.BertConfig(**model.family.config(model.spec), num_labels=len(LABELS))
    theirs = transformers.BertForTokenClassification(config).eval()
    names = model.family.names(model.spec, model.head)
    theirs.load_state_dict(names.theirs(model.network.state_dict()))
    assert ours.labels is not None
    labels = torch.full_like(ours.tokens.ids, -100)
    labels[ours.rows] = ours.labels
    ids, labels = ours.tokens.ids.view(2, -1), labels.view(2, -1)
    return float(theirs(input_ids=ids, labels=labels).loss)


@torch.no_grad()
def test_the_loss_is_that_of_transformers(model: Pretrained) -> None:
    task, ours = tagging(), batch(model, 2)
    assert ours.counts == {"task": 8}
    assert ours.sizes == (4, 4)
    network = model.network

    def loss(read: Labelled) -> float:
        return float(task.loss(network.encoder, network.head, read)["task"].total) / 8

    theirs = their_loss(model, ours)
    assert loss(ours) == pytest.approx(theirs, abs=1e-5)
    # The labels of other words, or of other tokens, are seen.
    assert ours.labels is not None
    assert abs(loss(replace(ours, labels=ours.labels.flip(0))) - theirs) > 1e-3
    assert abs(loss(replace(ours, rows=ours.rows + 1)) - theirs) > 1e-3


@torch.no_grad()
def test_class_weights_weigh_words(model: Pretrained) -> None:
    ours, network = batch(model, 5), model.network
    task = replace(tagging(), weights=(0.5, 1.0, 2.0, 3.0, 4.0))
    assert model.tokenizer is not None
    records = [record(*sentence) for sentence in SENTENCES]
    windows = [window for one in task.windows(records, model.tokenizer) for window in one]
    weighed = task.batch(windows)
    assert ours.labels is not None
    scores = network.head.classify(network.encoder(ours.tokens), ours.rows)
    wanted = torch.nn.functional.cross_entropy(
        scores, ours.labels, torch.tensor(task.weights), reduction="mean"
    )
    part = task.loss(network.encoder, network.head, weighed)["task"]
    assert float(part.total) / weighed.counts["task"] == pytest.approx(float(wanted), abs=1e-5)


def test_a_sentence_gives_the_same_alone_and_beside_others(model: Pretrained) -> None:
    assert model.tokenizer is not None
    task = tagging(length=8, stride=2)
    records = [record(text) for text, _ in SENTENCES] + [record("fox dog " * 9 + "zoo")]
    together = list(predictions(task, model.network, model.tokenizer, records))
    assert [one for one, _ in together] == records
    for one, found in together:
        ((_, alone),) = predictions(task, model.network, model.tokenizer, [one])
        assert found.answer == alone.answer
        assert found.confidence == pytest.approx(alone.confidence, abs=1e-5)


def test_results_are_those_of_transformers(model: Pretrained, tmp_path: Path) -> None:
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    write(model, tmp_path)
    pipe = transformers.pipeline(
        "token-classification", model=str(tmp_path), aggregation_strategy="simple"
    )
    assert model.tokenizer is not None
    texts = ["The  quick Fox,jumped: over the river.", "dog", "a lazy (brown) dog walked", ""]
    records = [TASK.direct(text, "here") for text in texts]
    found = list(predictions(tagging(), model.network, model.tokenizer, records))
    for text, (_, prediction) in zip(texts[:3], found, strict=False):
        theirs = pipe(text)
        assert len(theirs) > 0
        for ours, other in zip(prediction.results, theirs, strict=True):
            assert ours["score"] == pytest.approx(float(other["score"]), abs=1e-5)
            assert ours["word"] == text[other["start"] : other["end"]]
            for key in ("entity_group", "start", "end"):
                assert ours[key] == other[key]
    assert found[3][1].results == []


def sequences(seed: int, rows: int = 30) -> list[list[str]]:
    rng = np.random.default_rng(seed)
    return [list(rng.choice(LABELS, rng.integers(1, 12))) for _ in range(rows)]


def scored(true: list[list[str]], found: list[list[str]], plain: bool = False) -> Entities:
    metric = Entities(sorted({name for row in true for name in row}), plain)
    for row, guess in zip(true, found, strict=True):
        prediction = Prediction(results=[], answer=tuple(guess), confidence=1.0)
        metric.add(Record(place="here", label=tuple(row)), prediction)
    return metric


def test_scores_are_those_of_seqeval_over_all_sentences() -> None:
    rng = np.random.default_rng(0)
    true = sequences(1)
    found = [[name if rng.random() < 0.7 else "I-A" for name in row] for row in true]
    figures = scored(true, found).result()
    brought = scored(true, [list(iob2(row)) for row in found]).result()
    assert brought["f1"] == figures["f1"]
    for name in ("precision", "recall", "f1", "accuracy"):
        wanted = getattr(seqeval.metrics, f"{name}_score")(true, found)
        assert 0.1 < wanted < 0.9
        assert figures[name] == pytest.approx(wanted, abs=1e-12), name


def test_words_are_counted_by_both_labels() -> None:
    metric = scored([["O", "B-A"], ["I-A"]], [["B-A", "B-A"], ["B-Z"]])
    names, counts = metric.confusion()
    assert names == ("B-A", "I-A", "O")
    assert counts.tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 0]]
    assert metric.result()["accuracy"] == pytest.approx(1 / 3)


def test_plain_labels_have_an_accuracy_only() -> None:
    metric = scored([["NN", "VB"]], [["NN", "NN"]], plain=True)
    assert (metric.result(), metric.main) == ({"accuracy": 0.5}, "accuracy")
    assert set(scored(*[sequences(1)] * 2).result()) == set(scored([], []).names)


def learned(labels: Sequence[str], weights: Any = None) -> Tagging:
    records = [record(" ".join("x" * len(row.split())), row) for row in labels]
    return TASK.learn(
        [replace(r, place=f"row {i}") for i, r in enumerate(records)], READING, weights
    )


def test_labels_are_learnt_in_iob2() -> None:
    task = learned(["S-LOC O", "B-PER E-PER"])
    assert task.labels == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert not task.plain
    assert task.metric().main == "f1"
    assert learned(["NN VB", "DT"]).labels == ("DT", "NN", "VB")
    assert learned(["NN VB", "DT"]).metric().main == "accuracy"
    again = TASK.restore(task.labels, task.config(), READING)
    assert again == task


def test_balanced_weights_give_every_label_the_same_share() -> None:
    task = learned(["B-LOC O O O"], "balanced")
    assert task.weights == (2 / 3, 2.0, 1.0)
    assert learned(["NN VB"], {"VB": 3, "NN": 1}).weights == (1.0, 3.0)
    with pytest.raises(UserError, match="class weights are given for NN; the labels are NN, VB"):
        learned(["NN VB"], {"NN": 1})


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["B-LOC O", "O B_PER"], "row 1: label 'B_PER' is neither O nor of the form B-LOC"),
        (["NN", "NN NN"], "row 0: all words have the same label NN"),
    ],
)
def test_labels_that_do_not_fit_together_are_refused(labels: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        learned(labels)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"words": ["a", "b"], "labels": ["O"]}, "here: 1 labels for 2 words"),
        ({"words": [], "labels": []}, "here: 0 labels for 0 words"),
        ({"tokens": ["a"], "ner_tags": [3]}, r"here: the labels are \[3\], not a list of names"),
        ({"words": ["a"], "tags": "O"}, "here: the labels are 'O', not a list of names"),
        ({"words": ["a", 3], "tags": ["O", "O"]}, "here: the words are .*, not a list of texts"),
        ({"words": ["a"]}, "here: no column labels or tags.*only 'words'; name the column"),
        ({"word": ["a"]}, "here: no column of text .*words or tokens.*only 'word'"),
        ({}, "here: no column"),
    ],
)
def test_a_row_that_lacks_something_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TASK.record(Row("here", fields, None), Columns(), True)


def test_columns_can_be_named() -> None:
    row = Row("here", {"w": ["a", "b"], "pos": ["NN", "VB"], "text": "c", "labels": 3}, None)
    found = TASK.record(row, Columns(text=("w",), label="pos"), True)
    assert (found.words, found.label) == (["a", "b"], ("NN", "VB"))


def test_files_are_read_by_their_endings(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"tokens": ["EU", "calls"], "tags": ["S-ORG", "O"]}\n')
    (tmp_path / "a.tsv").write_text("EU\tS-ORG\ncalls\tO\n")
    for name in ("a.jsonl", "a.tsv"):
        (row,) = TASK.rows(str(tmp_path / name))
        found = TASK.record(row, Columns(), True)
        assert (found.words, found.label) == (["EU", "calls"], ("B-ORG", "O"))
        assert found.place.endswith(f"{name}, line 1")


def test_a_model_may_know_types_by_labels_of_another_scheme(pieces: Tokenizer) -> None:
    row = Row("a.jsonl, line 1", {"words": ["the", "fox"], "labels": ["O", "B-A"]}, None)
    record = TASK.record(row, Columns(), True)
    for labels in (("O", "I-A"), ("O", "S-A", "B-A", "I-A", "E-A")):
        task = replace(tagging(), labels=labels)
        ((window,),) = task.windows([record], pieces)
        scores = torch.zeros(2, len(labels))
        scores[0, 0] = scores[1, 1] = 9.0  # O, and I-A or S-A
        found = task.combine(record, [window], [scores], 1)
        assert found.answer == record.label == ("O", "B-A")


def test_an_uneven_line_and_an_unknown_label_are_named(pieces: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("the O\nfox\n\ndog B-A\nbear B-C\n")
    uneven, unknown = TASK.rows(str(path))
    with pytest.raises(UserError, match=r"a\.txt, line 2: uneven columns: here 1, but in line 1 2"):
        TASK.record(uneven, Columns(), True)
    with pytest.raises(
        UserError, match=r"a\.txt, line 4: label 'B-C' of 'bear' is unknown.*O, B-A"
    ):
        tagging().windows([TASK.record(unknown, Columns(), True)], pieces)


def test_texts_and_words_can_be_given_directly() -> None:
    text = TASK.direct("New York, isn't", "text 1")
    assert (text.place, text.words) == ("text 1", ["New", "York", ",", "isn", "'", "t"])
    assert [text.text[start:end] for start, end in text.spans] == text.words
    for value in (["New York", "is"], {"words": ["New York", "is"]}):
        given = TASK.direct(value, "text 1")
        assert (given.text, given.words) == ("New York is", ["New York", "is"])
    assert TASK.direct({"text": "a b"}, "text 1").words == ["a", "b"]
    with pytest.raises(UserError, match=r"text 1: 3 is neither a text nor a list of words"):
        TASK.direct(3, "text 1")


def test_predictions_are_written_as_columns(tmp_path: Path) -> None:
    answers = [("B-A", "O"), ("O",)]
    pairs = [
        (one, Prediction(results=[], answer=answer, confidence=1.0))
        for one, answer in zip([record("a b", "B-A I-A"), record("c")], answers, strict=True)
    ]
    (tmp_path / "out.txt").write_text("".join(tagging().written(pairs)))
    assert (tmp_path / "out.txt").read_text() == "a B-A B-A\nb I-A O\n\nc - O\n\n"
    rows = list(read_conll(str(tmp_path / "out.txt")))
    assert [tuple(row.fields["labels"]) for row in rows] == answers


def test_windows_are_trained_on_one_by_one() -> None:
    window = Window(laid=Laid(np.zeros(1), None, (0,), 0))
    assert tagging().units([window, window]) == [[window], [window]]
