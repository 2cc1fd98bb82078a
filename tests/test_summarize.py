"""Summarization, written and taken out: rows, the oracle, ROUGE, layout, runs, other people's."""

import json
import random
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from rouge_score.rouge_scorer import RougeScorer

import tiny
import unmask
from samples import KINDS, SAMPLES, task
from unmask import UserError
from unmask.contracts import Prediction
from unmask.data.windows import Reading
from unmask.exchange.huggingface import Pretrained
from unmask.families.xlnet import FAMILY as XLNET
from unmask.scores.rouge import NAMES, Rouge, oracle
from unmask.tasks.summarize import Document
from unmask.text.columns import Columns
from unmask.text.rows import Row
from unmask.text.template import XLNET as XLNET_TEMPLATE
from unmask.text.tokenizer import Tokenizer

WRITTEN, TAKEN = "summarization", "extractive-summarization"
SETS = ("precision=float32", "dropout=0.0")


def document(count: int, rng: random.Random) -> dict[str, Any]:
    """Make a row of some sentences, the second one the most important: one with a fox."""
    rest = [text for text in tiny.SENTENCES if "fox" not in text]
    fox = rng.choice([text for text in tiny.SENTENCES if "fox" in text])
    found = rng.sample(rest, k=count - 1)
    found.insert(1, fox)
    return {"document": found, "summary": [fox, fox.replace("over", "below")]}


def rows(path: Path, count: int, seed: int, sentences: int = 3) -> str:
    rng = random.Random(seed)
    made = (document(sentences, rng) for _ in range(count))
    path.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("files")
    huge = tiny.pretrained(tiny.tokenizer(), "masked-lm", positions=64)
    unmask.Model(huge).save_pretrained(folder / "model")
    return {
        "model": str(folder / "model"),
        "train": rows(folder / "train.jsonl", 60, seed=1),
        "eval": rows(folder / "eval.jsonl", 12, seed=2),
    }


def test_sentences_are_learned_to_be_taken_out(files: dict[str, str], tmp_path: Path) -> None:
    options: dict[str, Any] = {"rate": 0.01, "epochs": 4, "batch": 8, "out": tmp_path / "run"}
    result = unmask.finetune(TAKEN, **files, **options, set=[*SETS, "reading.sentences=1"])
    assert result.metrics["rouge1"] > 0.95
    assert set(result.metrics) == set(NAMES)
    assert str(result.signature).startswith("fmeasure|stemmer:porter|refs:best|lsum:punkt|rouge-")
    item = [tiny.SENTENCES[30], "The quick fox jumped over the fence .", tiny.SENTENCES[60]]
    (found,) = result.model.predict([item])
    assert (found["summary_text"], found["sentences"]) == (item[1], [1])
    assert 0.5 < found["scores"][0] <= 1
    predicted = tmp_path / "summaries.txt"
    again = unmask.evaluate(TAKEN, result.model, files["eval"], predictions=predicted)
    assert dict(again) == pytest.approx(result.metrics, abs=1e-3)
    assert all("fox" in line for line in predicted.read_text().splitlines())


def test_transformers_scores_the_same_sentences(files: dict[str, str], tmp_path: Path) -> None:
    transformers.logging.disable_progress_bar()
    result = unmask.finetune(TAKEN, **files, epochs=1, out=tmp_path, set=list(SETS))
    folder = tmp_path / "model"
    theirs = transformers.AutoModelForTokenClassification.from_pretrained(folder).eval()
    assert theirs.config.id2label == {0: "summary"}
    item = tiny.SENTENCES[:3]
    (window,) = result.model.purpose.windows(
        [KINDS[TAKEN].direct(item, "")], result.model.tokenizer
    )[0]
    ids = torch.from_numpy(window.ids).long()[None]
    segments = torch.from_numpy(window.laid.segments)[None]
    with torch.no_grad():
        scores = theirs(input_ids=ids, token_type_ids=segments).logits[0, window.rows, 0]
    (found,) = result.model.predict([item])
    assert found["scores"] == pytest.approx(scores.sigmoid().tolist(), abs=1e-5)


def test_summaries_are_written_by_two_berts(files: dict[str, str], tmp_path: Path) -> None:
    result = unmask.finetune(
        WRITTEN,
        **files,
        rate=0.02,
        batch=8,
        epochs=3,
        out=tmp_path,
        set=[*SETS, "generation.max_new_tokens=9", "generation.num_beams=2", "keeping.rows=6"],
    )
    assert set(result.metrics) == set(NAMES)
    assert result.metrics["rouge1"] > 0.2  # it has learned what summaries look like
    assert result.model.network.head.following is not None
    (found,) = result.model.predict([SAMPLES[WRITTEN].item])
    assert set(found) == {"summary_text"}
    assert 0 < len(found["summary_text"].split()) <= 9


def test_new_weights_of_a_writer_are_not_frozen(files: dict[str, str]) -> None:
    for setting in ("layers.last=1", "layers.gradual=true"):
        with pytest.raises(UserError, match="new weights in every block; train all of them"):
            unmask.finetune(WRITTEN, **files, set=[*SETS, "generation.max_new_tokens=9", setting])


def test_each_sentence_has_special_tokens_of_its_own_and_segments_alternate() -> None:
    words, sentences = tiny.tokenizer(), tiny.SENTENCES[:3]
    made = replace(task(TAKEN), reading=Reading(length=64, sentences=1))
    record = Document(place="", text="", sentences=tuple(sentences), label=[sentences[2]])
    ((window,),) = made.windows([record], words)
    alone = [words.lay(words.encode(text).ids).ids for text in sentences]
    assert np.array_equal(window.ids, np.concatenate(alone))
    assert window.ids[window.rows].tolist() == [words.cls] * 3
    assert window.target.tolist() == [0, 0, 1]
    sizes = [len(ids) for ids in alone]
    assert window.laid.segments.tolist() == [0] * sizes[0] + [1] * sizes[1] + [0] * sizes[2]


def test_sentences_of_an_xlnet_are_read_at_their_ends() -> None:
    words: Tokenizer = tiny.tokenizer().with_template(XLNET_TEMPLATE)
    assert XLNET.template == XLNET_TEMPLATE
    record = Document(place="", text="", sentences=tuple(tiny.SENTENCES[:2]))
    ((window,),) = replace(task(TAKEN), reading=Reading(length=64)).windows([record], words)
    assert window.ids[window.rows].tolist() == [words.cls] * 2
    assert window.rows[-1] == len(window.ids) - 1
    assert window.laid.segments[window.rows].tolist() == [2, 2]


def test_sentences_that_do_not_fit_are_read_in_windows_or_left_out() -> None:
    words, sentences = tiny.tokenizer(), tuple(tiny.SENTENCES[:5])
    record = Document(place="", text="", sentences=sentences, label=[sentences[4]])
    size = len(words.encode(sentences[0]).ids) + 2
    for long, parts in (("windows", [2, 2, 1]), ("truncate", [2])):
        reading = Reading(length=2 * size, long=long, sentences=1)  # type: ignore[arg-type]
        (found,) = replace(task(TAKEN), reading=reading).windows([record], words)
        assert [len(own.rows) for own in found] == parts
        assert all(own.cut is (long == "truncate") for own in found)
        if long == "windows":
            assert np.concatenate([own.target for own in found]).tolist() == [0, 0, 0, 0, 1]
    reading = Reading(length=8, sentences=1)
    (found,) = replace(task(TAKEN), reading=reading).windows([record], words)
    assert all(len(own.ids) == 8 for own in found)
    assert found[0].cut


def test_the_oracle_adds_sentences_as_long_as_the_summary_gains() -> None:
    sentences = ["the fox ran", "a river is long", "the dog slept", "nothing at all"]
    assert oracle(sentences, ["the dog slept"], 3) == (2,)
    assert oracle(sentences, ["the dog slept while the fox ran"], 3) == (0, 2)
    assert oracle(sentences, ["the dog slept while the fox ran"], 1) in {(0,), (2,)}
    assert oracle(sentences, ["zebra"], 3) == ()
    scorer = RougeScorer(["rouge1", "rouge2"], use_stemmer=True)

    def gain(places: tuple[int, ...]) -> float:
        text = " ".join(sentences[place] for place in places)
        found = scorer.score("the long river and the dog", text)
        return sum(score.fmeasure for score in found.values())

    every = [own for count in (1, 2) for own in combinations(range(4), count)]
    assert gain(oracle(sentences, ["the long river and the dog"], 2)) == max(map(gain, every))


def test_rouge_is_that_of_rouge_score_and_the_best_summary_counts() -> None:
    rng, metric = random.Random(3), Rouge()
    theirs = RougeScorer(list(NAMES), use_stemmer=True)
    sums = dict.fromkeys(NAMES, 0.0)
    for _ in range(10):
        found, *right = (" ".join(rng.sample(tiny.SENTENCES, k=2)) for _ in range(3))
        record = Document(place="", text="x", label=right)
        metric.add(record, Prediction(results=[], answer=found, confidence=1.0))
        lined = [text.replace(". ", ".\n") for text in (found, *right)]
        scores = [theirs.score(one, lined[0]) for one in lined[1:]]
        for name in NAMES:
            sums[name] += max(score[name].fmeasure for score in scores)
    wanted = {name: total / 10 for name, total in sums.items()}
    assert metric.result() == pytest.approx(wanted)
    assert wanted["rougeLsum"] > wanted["rougeL"]  # or the sentences were not told apart
    assert Rouge().result() == dict.fromkeys(NAMES, 0.0)


def test_texts_may_be_lists_of_sentences_and_summaries_several() -> None:
    kind = KINDS[WRITTEN]
    row = {"id": 3, "article": ["One.", "Two."], "highlights": ["A", "B"], "tags": ["x"]}
    record = kind.record(Row("a", row, None), Columns(), True)
    assert (record.text, record.divided()) == ("One. Two.", ("One.", "Two."))
    assert (record.label, record.target) == (["A", "B"], "A")
    whole = kind.direct("It rains. Dr. Smith sleeps.", "")
    assert whole.divided() == ("It rains.", "Dr. Smith sleeps.")


@pytest.mark.parametrize("name", [WRITTEN, TAKEN])
@pytest.mark.parametrize(
    ("summary", "wrong"),
    [
        ("", "a, line 2: summary is empty; give every row its label"),
        (" ", "a, line 2: the text that should be written is empty; leave the row out"),
        ([], "is what should be written, but no text"),
        (["x", ""], "a, line 2: the text that should be written is empty; leave the row out"),
        (7, "a, line 2: 7 is what should be written, but no text"),
    ],
)
def test_a_summary_that_is_none_is_refused(name: str, summary: Any, wrong: str) -> None:
    with pytest.raises(UserError, match=wrong):
        KINDS[name].record(
            Row("a, line 2", {"document": "x", "summary": summary}, None), Columns(), True
        )


@pytest.mark.parametrize(
    ("sets", "wrong"),
    [
        (["smoothing=0.1"], "smoothing and generation change nothing: extractive-summarization"),
        (["balanced=true"], "class weights are for tasks with labels; texts have none"),
        (["reading.sentences=0"], "reading.sentences is 0; it must be at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    sets: list[str], wrong: str, files: dict[str, str]
) -> None:
    with pytest.raises(UserError, match=wrong):
        unmask.finetune(TAKEN, **files, set=sets)


def test_a_text_without_sentences_is_read_all_the_same() -> None:
    made: Pretrained = tiny.pretrained(tiny.tokenizer(), "token-classification", labels=("s",))
    model = unmask.Model(replace(made, config=task(TAKEN).config()))
    (found,) = model.predict([""])
    assert found["summary_text"] == ""
