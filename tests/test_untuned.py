"""Filling masks and extracting features as tasks, which need no fine-tuning."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import tiny
from unmask.data.windows import Reading
from unmask.errors import UserError
from unmask.predict.model import Model
from unmask.predict.predictor import predictions
from unmask.tasks import embed, fill
from unmask.tasks.embed import Embedding, Stretch
from unmask.tasks.fill import Blanks, MaskFilling
from unmask.text.columns import Columns
from unmask.text.rows import Row
from unmask.text.tokenizer import Tokenizer

READING = Reading(length=32)


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    return tiny.tokenizer()


@pytest.fixture(scope="module")
def model(words: Tokenizer) -> Model:
    return Model(tiny.pretrained(words))


def cloze(text: str, label: Any) -> Any:
    row = Row("a.jsonl, line 3", {"text": text, "label": label}, None)
    return fill.TASK.record(row, Columns(), True)


def test_right_words_are_spelled_as_the_label_has_them(words: Tokenizer) -> None:
    task, record = MaskFilling(reading=READING), cloze("the [MASK] [MASK]", ["Quick", "fox"])
    (windows,) = task.windows([record], words)
    assert isinstance(windows[0], Blanks)
    quick, dog = (words.encode(word).ids[0] for word in ("quick", "dog"))
    assert windows[0].target == (quick, words.encode("fox").ids[0])
    shares = torch.zeros(2, words.vocab_size + 3)  # the model may have more entries
    shares[0, quick], shares[1, dog] = 0.5, 0.25
    shares[:, -1] = 0.9
    found = task.combine(record, windows, [shares], 2)
    assert found.answer == ("Quick", "dog")
    assert found.confidence == pytest.approx(0.125)
    assert [len(mask) for mask in found.results] == [2, 2]
    assert not task.metric().right(record, found)
    assert task.metric().right(cloze("the [MASK] [MASK]", ["Quick", "dog"]), found)
    assert list(task.written([(record, found)]))[1] == "0\tQuick dog\n"


@pytest.mark.parametrize("label", [["fox"], "fox", ["fox", 1], 3])
def test_every_mask_needs_its_word(label: Any) -> None:
    with pytest.raises(UserError, match=r"line 3: the label is .* behind each of the 2 masks"):
        cloze("the [MASK] [MASK]", label)


def test_masks_are_scored_in_groups(
    model: Model, words: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, head = MaskFilling(reading=READING), model.network.head
    sizes: list[int] = []
    assert head.masked is not None
    head.masked.register_forward_hook(lambda _, args, out: sizes.append(len(out)))
    monkeypatch.setattr(fill, "BATCH_MASKS", 3)
    texts = ["[MASK] fox", "[MASK] [MASK]", "[MASK] a [MASK] " * 2, "the [MASK]"]
    records = [fill.TASK.direct(text, "") for text in texts]
    found = list(predictions(task, model.network, words, records))
    assert len(found) == 4
    assert sizes == [4, 3, 1]


def test_vectors_of_windows_are_averaged(model: Model, words: Tokenizer) -> None:
    text = "the quick fox jumped over the lazy dog"
    parts = ["the quick fox jumped", "fox jumped over the", "over the lazy dog"]
    task = Embedding(reading=Reading(length=6, long="windows", stride=2), pooling="max")
    record = embed.TASK.direct((text, "a river"), "")
    (windows,) = task.windows([record], words)
    assert [window.text for window in windows if isinstance(window, Stretch)] == [0, 0, 0, 1]
    vector = model.embed(parts, pooling="max").mean(0)
    other = model.embed(["a river"], pooling="max")[0]
    cosine = float(vector @ other / np.linalg.norm(vector) / np.linalg.norm(other))
    ((_, found),) = predictions(task, model.network, words, [record])
    assert found.answer == pytest.approx(cosine, abs=1e-5)
    assert found.results == [{"score": found.answer}]
    single = embed.TASK.direct(text, "")
    ((_, alone),) = predictions(replace(task, normalize=True), model.network, words, [single])
    assert alone.results == pytest.approx((vector / np.linalg.norm(vector)).tolist(), abs=1e-5)


def test_any_model_that_predicts_tokens_fills_and_embeds(words: Tokenizer) -> None:
    model = Model(tiny.pretrained(words, "pretraining"))
    assert (model.task, model.labels) == ("fill-mask", ())
    assert len(model.predict(["the [MASK]"])[0]) == 5
    assert len(model.predict(["[MASK] [MASK]"], top_k=3)[0][1]) == 3
    encoder = Model(tiny.pretrained(words, "none"))
    assert encoder.task == "feature-extraction"
    assert encoder.predict(["a fox"]) == [pytest.approx(encoder.embed(["a fox"])[0].tolist())]


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", None])
def test_a_vector_holds_no_other_states_in_memory(pooling: embed.Pooling | None) -> None:
    task, states = Embedding(reading=READING, pooling=pooling), torch.randn(20, 8)
    record = embed.Measured(place="text 1", texts=("a",))
    (windows,) = task.windows([record], tiny.tokenizer())
    taken = states[:3] if pooling is None else states[0]
    answer = task.combine(record, windows, [taken], 1).answer
    assert (answer == taken.numpy()).all()
    assert not np.shares_memory(answer, states.numpy())
