"""Every family pre-trained for a few steps: what its run says, and that its model opens."""

import json
import shutil
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel

import runs
import tiny
import unmask
from unmask.data.store import Store
from unmask.errors import UserError
from unmask.exchange import huggingface
from unmask.text.template import XLM
from unmask.train.corpus import Corpus
from unmask.train.metrics import rows
from unmask.train.recipe import FAMILIES, load_recipe

KINDS = {
    "bert": "wordpiece",
    "roberta": "byte-bpe",
    "gpt2": "byte-bpe",
    "albert": "unigram",
    "xlnet": "unigram",
    "xlm": "moses-bpe",
    "flaubert": "moses-bpe",
}
FIGURES = {
    "bert": {"heldout_mlm_loss", "heldout_mlm_accuracy", "nsp_accuracy"},
    "albert": {"heldout_mlm_loss", "heldout_mlm_accuracy", "sop_accuracy"},
    "xlnet": {"heldout_plm_loss", "heldout_plm_accuracy"},
    "gpt2": {"heldout_clm_loss", "heldout_clm_accuracy"},
}
MASKED = {"heldout_mlm_loss", "heldout_mlm_accuracy"}
GERMAN = {"The": "Der", "quick": "schnelle", "lazy": "faule", "over": "über", "dog": "Hund"}

Stores = Callable[[str], Path]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    """Text of each kind of tokenizer; of moses-bpe English, German and translations."""
    folder = tmp_path_factory.mktemp("stores")
    english = tiny.SENTENCES
    german = [" ".join(GERMAN.get(word, word) for word in text.split()) for text in english]
    for name, texts in (("en", english), ("de", german)):
        (folder / f"{name}.txt").write_text(
            "\n\n".join("\n".join(texts[i : i + 4]) for i in range(0, len(texts), 4)), "utf-8"
        )
        (folder / f"lines.{name}").write_text("\n".join(texts), "utf-8")

    @cache
    def made(kind: str) -> Path:
        tokenizer, out = folder / f"{kind}-tokenizer", folder / kind
        several = kind == "moses-bpe"
        unmask.train_tokenizer(
            [str(folder / "en.txt"), str(folder / "de.txt")],
            out=tokenizer,
            kind=kind,
            vocab_size=300,
            **({"language": "en,de"} if several else {}),
        )
        plain = {"tokenizer": tokenizer, "workers": 1, "sentences": "lines"}
        if not several:
            unmask.prepare([str(folder / "en.txt")], out=out, **plain)
            return out
        for name in ("en", "de"):
            unmask.prepare([str(folder / f"{name}.txt")], out=out / name, language=name, **plain)
        lines = [str(folder / "lines.en"), str(folder / "lines.de")]
        unmask.prepare(lines, out=out / "both", language="en,de", tokenizer=tokenizer, workers=1)
        return out

    return made


def pretrain(family: str, stores: list[str], out: Path, *sets: str, steps: int = 2):
    inner = "model.inner=64"
    return unmask.pretrain(
        stores,
        out=out,
        recipe=f"{family}-tiny",
        steps=steps,
        heldout="0.2",
        set=[*runs.SETS, inner, *sets],
    )


def of(family: str, stores: Stores) -> list[str]:
    """Name the stores that a family is trained on."""
    folder = stores(KINDS[family])
    several = KINDS[family] == "moses-bpe"
    return [str(folder / name) for name in ("en", "de", "both")] if several else [str(folder)]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_pre_trained_by_its_recipe(family: str, stores: Stores, tmp_path: Path) -> None:
    result = pretrain(family, of(family, stores), tmp_path / "run")
    wanted = FIGURES.get(family, MASKED) | {"unigram_loss"}
    assert result.figures.keys() == wanted
    config = json.loads((Path(result.model) / "config.json").read_text())
    assert config["model_type"] == family
    theirs = AutoModel.from_pretrained(result.model).eval()
    ours = huggingface.read(result.model)
    assert ours.tokenizer is not None
    laid = ours.tokenizer.lay(ours.tokenizer.encode_batch(["The quick dog jumped."])[0])
    with torch.no_grad():
        inputs = {"input_ids": torch.from_numpy(laid.ids).long()[None]}
        if laid.segments is not None:
            inputs["token_type_ids"] = torch.from_numpy(laid.segments)[None]
        hidden = theirs(**inputs).last_hidden_state[0]
    found = torch.from_numpy(unmask.Model(ours).encode(["The quick dog jumped."])[0])
    torch.testing.assert_close(found, hidden, atol=1e-5, rtol=1e-4)
    assert pretrain(family, of(family, stores), tmp_path / "run") == result  # it is finished
    assert pretrain(family, of(family, stores), tmp_path / "run", steps=3).steps == 3


def test_languages_are_told_and_small_ones_brought_up(stores: Stores, tmp_path: Path) -> None:
    result = pretrain("xlm", of("xlm", stores), tmp_path / "run", "data.exponent=0.5")
    made = huggingface.read(result.model)
    assert made.spec.languages == 2
    settings = tomllib.loads((tmp_path / "run/config.toml").read_text())
    weights = [source["weight"] for source in settings["stores"]]
    tokens = [Store.open(path).tokens_total for path in of("xlm", stores)]
    powers = [count**0.5 for count in tokens]
    assert weights == pytest.approx([power * 3 / sum(powers) for power in powers])
    english, german = (
        unmask.Model.from_pretrained(result.model, language=name).embed(["The dog."])[0]
        for name in ("en", "de")
    )
    assert abs(english - german).max() > 1e-4
    with pytest.raises(UserError, match="'fr' is not among those of the vocabulary: en, de"):
        unmask.Model.from_pretrained(result.model, language="fr")
    huggingface.write(made.speaking("de"), tmp_path / "german")
    again = unmask.Model.from_pretrained(tmp_path / "german").embed(["The dog."])[0]
    assert abs(again - german).max() < 1e-6


def test_the_causal_objective_makes_a_causal_model(stores: Stores, tmp_path: Path) -> None:
    paths = of("xlm", stores)[:2]
    result = pretrain("xlm", paths, tmp_path / "run", "objective='causal'")
    assert "heldout_clm_loss" in result.figures
    assert huggingface.read(result.model).spec.causal
    with pytest.raises(UserError, match="each token sees only what comes before"):
        unmask.pretrain(
            paths,
            out=tmp_path / "on",
            recipe="xlm-tiny",
            steps=1,
            model=result.model,
            set=runs.SETS,
            heldout="0.2",
        )


def test_the_memory_of_the_previous_segment_is_an_option(stores: Stores, tmp_path: Path) -> None:
    sets = ["data.form='singles'", "data.memory=8"]
    result = pretrain("xlnet", of("xlnet", stores), tmp_path / "run", *sets)
    assert "heldout_plm_loss" in result.figures


@pytest.mark.parametrize(
    ("family", "sets"),
    [
        pytest.param("xlm", [], id="xlm-languages"),
        pytest.param("xlnet", ["data.form='singles'", "data.memory=8"], id="xlnet-memory"),
        pytest.param("albert", [], id="albert"),
        pytest.param("gpt2", [], id="gpt2"),
    ],
)
def test_a_run_that_was_killed_goes_on_with_the_same_losses(
    family: str, sets: list[str], stores: Stores, tmp_path: Path
) -> None:
    def losses(out: Path) -> list[float]:
        return [row["loss"] for row in rows(out / "metrics.jsonl")]

    whole, again = tmp_path / "whole", tmp_path / "again"
    pretrain(family, of(family, stores), whole, *sets, steps=4)
    shutil.copytree(whole, again)
    for later in (3, 4):
        shutil.rmtree(again / "checkpoints" / f"step-{later:09d}")
    (again / "result.json").unlink()
    pretrain(family, of(family, stores), again, *sets, steps=4)
    assert losses(again) == losses(whole)


@pytest.mark.parametrize(
    ("family", "sets", "message"),
    [
        ("roberta", ["data.form='pairs'"], "roberta has no head pretraining, which"),
        ("roberta", ["objective='causal'"], "roberta has no setting for causal"),
        ("bert", ["objective='causal'"], "reads running text"),
        ("gpt2", ["objective='masked'"], "gpt2 has no head masked-lm, which"),
        ("bert", ["model.groups=1"], r"no setting for schedule"),
        ("roberta", ["model.embedding_width=8"], "no setting for embedding_width"),
        ("xlm", ["model.inner=40"], "no setting for inner"),
        ("bert", ["model.groups=5"], "model.groups 5 must be"),
        ("bert", ["model.family='elmo'"], "model.family 'elmo' does not exist"),
        ("xlnet", ["data.memory=8"], "data.memory is for"),
        ("xlm", ["data.form='pairs'"], "holds translations"),
        ("xlm", ["objective='causal'"], "holds translations"),
        ("xlm", ["data.exponent=1.5"], "data.exponent is 1.5"),
        ("albert", ["model.groups=none"], "albert has no setting for schedule"),
        ("bert", ["model.heads=0"], "model.heads is 0"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    family: str, sets: list[str], message: str, stores: Stores, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        pretrain(family, of(family, stores), tmp_path / "run", *sets)


def test_texts_need_a_language_where_the_vocabulary_tells_them_apart(
    stores: Stores, tmp_path: Path
) -> None:
    folder = stores("moses-bpe").parent
    options = {"tokenizer": folder / "moses-bpe-tokenizer", "out": tmp_path / "store"}
    text = [str(folder / "en.txt")]
    with pytest.raises(UserError, match="say which one the text is of: --language en or de"):
        unmask.prepare(text, **options)
    with pytest.raises(UserError, match="'fr' is not among those of the vocabulary"):
        unmask.prepare(text, language="fr", **options)
    with pytest.raises(UserError, match=r"one file for each language.*here are 1"):
        unmask.prepare(text, language="en,de", **options)
    options["tokenizer"] = stores("wordpiece").parent / "wordpiece-tokenizer"
    with pytest.raises(UserError, match="wordpiece reads all languages alike"):
        unmask.prepare(text, language="en", **options)


def test_stores_with_and_without_a_language_do_not_mix(stores: Stores, tmp_path: Path) -> None:
    plain, told = of("bert", stores)[0], of("xlm", stores)[0]
    # As a store looks that was prepared before its vocabulary told languages.
    copied = tmp_path / "copied"
    shutil.copytree(told, copied)
    manifest = json.loads((copied / "manifest.json").read_text())
    del manifest["settings"]["languages"]
    (copied / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="some stores were prepared with --language"):
        pretrain("xlm", [told, str(copied)], tmp_path / "run")
    with pytest.raises(UserError, match="made with another tokenizer"):
        pretrain("xlm", [told, plain], tmp_path / "run")


def test_shares_are_those_that_were_given(stores: Stores, tmp_path: Path) -> None:
    english, german, both = of("xlm", stores)
    pretrain("xlm", [english, german, f"{both}=0.5"], tmp_path / "run", steps=1)
    settings = tomllib.loads((tmp_path / "run/config.toml").read_text())
    weights = [source["weight"] for source in settings["stores"]]
    assert weights[2] == 0.5
    assert sum(weights[:2]) == pytest.approx(2)


def test_every_language_is_held_out(stores: Stores) -> None:
    corpus = Corpus(of("xlm", stores), "0.2", load_recipe("xlm-tiny"), XLM, 0)
    seen = {
        int(number)
        for batch in corpus.heldout().batches[:1]
        for number in batch.tokens.languages.unique()
    }
    assert seen == {0, 1}


def test_frequencies_count_special_tokens_as_often_as_they_are_predicted(stores: Stores) -> None:
    recipe = load_recipe("xlm-tiny", sets=["objective='causal'"])
    corpus = Corpus(of("xlm", stores)[:2], "0.2", recipe, XLM, 0)
    held, ids = corpus.heldout(), corpus.vocabulary.ids
    labels = np.concatenate([batch.labels.numpy() for batch in held.batches])
    share = (labels == ids["sep"]).mean()
    assert share > 0.02
    assert held.unigrams[ids["sep"]] / held.unigrams.sum() == pytest.approx(share, rel=0.05)


def test_a_model_in_another_language_is_another_model(stores: Stores, tmp_path: Path) -> None:
    result = pretrain("xlm", of("xlm", stores), tmp_path / "run")
    model = unmask.Model.from_pretrained(result.model, language="en")
    before = model.embed(["The dog."])[0]
    german = unmask.Model(model.pretrained.speaking("de"))
    assert abs(german.embed(["The dog."])[0] - before).max() > 1e-4
    assert abs(model.embed(["The dog."])[0] - before).max() < 1e-6
    shared = zip(model.network.parameters(), german.network.parameters(), strict=True)
    assert all(one is other for one, other in shared)


def test_a_language_that_is_not_told_is_missed_aloud(
    stores: Stores, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = pretrain("xlm", of("xlm", stores), tmp_path / "run")
    unmask.Model.from_pretrained(result.model)
    assert "tells languages apart" in capsys.readouterr().err
    unmask.Model.from_pretrained(result.model, language="de")
    assert "tells languages apart" not in capsys.readouterr().err
