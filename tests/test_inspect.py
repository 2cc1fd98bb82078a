"""What `inspect` shows is what training does and what the files hold."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny
from unmask import cli
from unmask.data.store import Store
from unmask.data.writing import ShardWriter, finish
from unmask.inspect.masking import choose
from unmask.inspect.parameters import view_recipe
from unmask.inspect.store import view_store
from unmask.inspect.text import LONGEST, view_text
from unmask.predict.model import Model
from unmask.text.tokenizer import Tokenizer
from unmask.train.recipe import FAMILIES

PAIR = "The quick fox jumped over the fence. It's a lazy dog! The bear looked."


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return tiny.tokenizer()


@pytest.fixture(scope="module")
def folder(words: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("words")
    words.save(out)
    return out


def make_store(
    words: Tokenizer, folder: Path, path: Path, documents: int, sentences: int = 12, **settings: Any
) -> Store:
    path.mkdir()
    writer = ShardWriter(path, "shard-00000", words.vocab_size)
    rng = np.random.default_rng(0)
    for _ in range(documents):
        writer.add(words.encode_batch(rng.choice(tiny.SENTENCES, sentences).tolist()))
    return finish(
        path,
        [writer.close()],
        tokenizer=folder,
        tokenizer_fingerprint=words.fingerprint,
        vocab_size=words.vocab_size,
        settings={"sentences": "lines", **settings},
    )


@pytest.fixture(scope="module")
def store(words: Tokenizer, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(words, folder, tmp_path_factory.mktemp("stores") / "store", 20)


def shown(capsys: pytest.CaptureFixture[str], *line: str) -> tuple[str, dict[str, Any]]:
    """Give what people see and what programs get."""
    assert cli.main(["inspect", *line]) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert cli.main(["inspect", *line, "--json"]) == 0
    return text, json.loads(capsys.readouterr().out)


def test_a_text_with_sentences_is_shown_as_a_pair(
    words: Tokenizer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, found = shown(capsys, PAIR, "--tokenizer", str(folder))
    tokens = found["tokens"]
    assert found["sentences"] == [
        "The quick fox jumped over the fence.",
        "It's a lazy dog!",
        "The bear looked.",
    ]
    assert [one["position"] for one in tokens] == list(range(len(tokens)))
    assert tokens[0]["token"] == "[CLS]"
    ends = [one["position"] for one in tokens if one["token"] == "[SEP]"]
    assert len(ends) == 2
    assert [one["segment"] for one in tokens] == [int(i > ends[0]) for i in range(len(tokens))]
    ordinary = [one for one in tokens if one["start"] is not None]
    assert [one["id"] for one in ordinary] == words.encode(PAIR).ids
    for one in ordinary:
        assert PAIR[one["start"] : one["end"]].lower() == one["token"].removeprefix("##")
    starts = [PAIR.index(sentence) for sentence in found["sentences"]]
    assert next(one["start"] for one in tokens if one["segment"]) in starts[1:]
    for one in found["masked"]:
        assert one["token"] == tokens[one["position"]]["token"]
    assert len(found["masked"]) == round(0.15 * len(ordinary))
    assert "3 sentences, cut into A and B" in text
    assert all(one["fate"] in text for one in found["masked"])


def test_every_cut_into_a_and_b_is_possible(words: Tokenizer) -> None:
    starts = set()
    for seed in range(20):
        tokens = view_text(PAIR, words, seed).tokens
        starts.add(next(one.start for one in tokens if one.segment))
    assert starts == {PAIR.index("It's"), PAIR.index("The bear")}


def test_one_sentence_is_shown_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, found = shown(capsys, "the [SEP] fox", "--tokenizer", str(folder))
    assert [one["token"] for one in found["tokens"]].count("[SEP]") == 1  # in a text it is text
    assert {one["segment"] for one in found["tokens"]} == {0}
    assert "one sentence. With two" in text


@pytest.mark.parametrize(
    "text", ["fox " * 600, "fox. " + "dog " * 600, "fox " * 600 + ". A dog.", "A fox. " * 300]
)
def test_a_long_text_is_cut_to_what_bert_reads(words: Tokenizer, text: str) -> None:
    view = view_text(text, words, seed=0)
    assert len(view.tokens) == LONGEST
    special = 3 if view.tokens[-1].segment else 2
    assert view.left_out == len(words.encode(text).ids) - LONGEST + special
    assert "tokens are left out" in str(view._words()[1])


def test_the_fates_are_those_of_masking(words: Tokenizer) -> None:
    ids = words.lay(words.encode(" ".join(tiny.SENTENCES[:40])).ids).ids.tolist()
    fates = [one for seed in range(50) for one in choose(ids, words, seed)]
    shares = {
        fate: np.mean([one.fate == fate for one in fates]) for fate in ("hidden", "random", "kept")
    }
    assert shares["hidden"] == pytest.approx(0.8, abs=0.02)
    assert shares["random"] == pytest.approx(0.1, abs=0.02)
    assert shares["kept"] == pytest.approx(0.1, abs=0.02)
    for one in fates:
        assert (one.seen == "[MASK]") == (one.fate == "hidden")
        assert (one.seen == one.token) == (one.fate == "kept")
    assert choose(ids, words, 1) == choose(ids, words, 1) != choose(ids, words, 2)


def test_a_store_is_described(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    text, found = shown(capsys, str(store.path))
    sizes = np.diff(store.sentence_starts)
    assert (found["documents"], found["sentences"]) == (20, 240)
    assert found["tokens"] == store.tokens_total == sizes.sum()
    assert found["settings"] == {"sentences": "lines"}
    assert found["dtype"] == "uint16"
    tokens = found["lengths"]["tokens a sentence"]
    assert (tokens["least"], tokens["most"]) == (sizes.min(), sizes.max())
    assert tokens["mean"] == pytest.approx(sizes.mean())
    assert found["lengths"]["sentences a document"]["median"] == 12
    top = found["frequent"][0]
    assert (top["token"], top["count"]) == ("the", int(store.unigrams.max()))
    assert sum(one["share"] for one in found["frequent"]) == pytest.approx(1.0, abs=0.05)
    assert "all 10 files are as they were written" in text
    kinds = [sample["kind"] for sample in found["samples"]]
    assert kinds == ["a pair where B follows A", "a pair where B is from elsewhere"]


def test_the_pairs_are_what_they_are_said_to_be(
    words: Tokenizer, store: Store, capsys: Any
) -> None:
    _, found = shown(capsys, str(store.path), "--seed", "5")
    book = " ".join(words.tokens(store.take(np.arange(store.tokens_total)).tolist()))
    for sample, follows in zip(found["samples"], (True, False), strict=True):
        pairs = list(zip(sample["tokens"], sample["segments"], strict=True))
        a, b = ([token for token, of in pairs if of == segment] for segment in (0, 1))
        assert a[0] == "[CLS]"
        assert a[-1] == b[-1] == "[SEP]"
        cut = r"(?: \S+){0,8} "  # what was cut off at the end of A or the front of B
        near = re.escape(" ".join(a[1:-1])) + cut + re.escape(" ".join(b[:-1]))
        assert bool(re.search(near, book)) == follows
        for one in sample["masked"]:
            assert sample["tokens"][one["position"]] == one["token"]


def test_a_store_of_one_document_shows_a_single_text(
    words: Tokenizer, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_store(words, folder, tmp_path / "one", 1).path
    text, found = shown(capsys, str(path))
    assert [set(sample["segments"]) for sample in found["samples"]] == [{0}]
    assert "pairs need a second document" in text


def test_translations_are_shown_as_such(words: Tokenizer, folder: Path, tmp_path: Path) -> None:
    store = make_store(words, folder, tmp_path / "store", 3, 2, languages=["en", "de"])
    (sample,) = view_store(store.path, seed=0).samples
    assert sample.kind == "a text and its translation"
    assert sample.tokens.count("[SEP]") == 2


def test_a_damaged_store_is_refused_by_name(
    words: Tokenizer, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_store(words, folder, tmp_path / "damaged", 3).path
    file = path / "shard-00000" / "tokens.npy"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    assert cli.main(["inspect", str(path)]) == 2
    assert "tokens.npy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "encoder", "total"),
    [("bert-base", 109_482_240, 110_106_428), ("bert-large-faithful", 335_141_888, 336_226_108)],
)
def test_parameters_are_those_of_the_paper(name: str, encoder: int, total: int) -> None:
    counted = view_recipe(name, 30_522).to_json()
    assert counted["parameters"]["encoder"] == encoder
    assert counted["parameters"]["total"] == total
    assert sum(one["parameters"] for one in counted["components"]) == total


def test_a_recipe_is_shown_by_component(capsys: pytest.CaptureFixture[str]) -> None:
    text, found = shown(capsys, "--recipe", "bert-base", "--vocab-size", "30000")
    parts = {one["name"]: one["parameters"] for one in found["components"]}
    assert parts["embeddings.piece"] == 23_040_000
    assert parts["embeddings.segment"] == 1_536
    assert parts["embeddings.position"] == 393_216
    assert found["parameters"]["layers"] == 12 * found["parameters"]["layer"]
    assert found["settings"]["model"]["width"] == 768
    lines = {" ".join(line.split()) for line in text.splitlines()}
    assert "token embeddings 30,000 x 768 23,040,000" in lines
    assert "12 layers, each 7,087,872 85,054,464" in lines
    assert "attention.query 768 x 768 + 768 590,592" in lines


def test_a_checkpoint_is_described(
    words: Tokenizer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Model(tiny.pretrained(words)).save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"hidden_dropout_prob": 0.25}))
    text, found = shown(capsys, "--model", str(tmp_path))
    assert found["family"] == "bert"
    assert found["head"] == "pretraining"
    assert found["spec"]["width"] == 16
    assert found["config"]["hidden_dropout_prob"] == 0.25
    assert found["parameters"]["total"] == sum(
        parameter.numel() for parameter in tiny.pretrained(words).network.parameters()
    )
    assert f"wordpiece, {words.vocab_size} entries" in text
    _, found = shown(capsys, "a fox", "--model", str(tmp_path))  # reads with the model's tokenizer
    assert [one["id"] for one in found["tokens"]][1:-1] == words.encode("a fox").ids


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ([], "give a text with --tokenizer DIR (or --model), a token store, --recipe NAME"),
        (["a text"], "add --tokenizer DIR or --model DIR_OR_ID"),
        (["long " * 500], "add --tokenizer DIR or --model DIR_OR_ID"),
        (["", "--tokenizer", "WORDS"], "'' has no tokens"),
        (["WORDS"], "a tokenizer; give a text and --tokenizer"),
        (["WORDS/vocab.txt"], "vocab.txt: a file"),
        (["a", "--recipe", "bert-base"], "--recipe is inspected alone"),
        (["--recipe", "bert-bse"], "bert-bse"),
        (["--model", "absent/model/folder"], "absent/model/folder: no such folder"),
    ],
)
def test_what_cannot_be_shown_says_what_can(
    folder: Path, capsys: pytest.CaptureFixture[str], line: list[str], part: str
) -> None:
    assert cli.main(["inspect", *(word.replace("WORDS", str(folder)) for word in line)]) == 2
    said = capsys.readouterr().err
    assert part in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_the_parts_of_a_recipe_add_up(family: str) -> None:
    counted = view_recipe(f"{family}-base", 1000).to_json()["parameters"]
    parts = view_recipe(f"{family}-base", 1000).parameters
    shown = parts.total("embeddings", "blocks.", "norm", "head.")
    assert shown == parts.total() == counted["total"]
    assert counted["encoder"] <= counted["total"]
