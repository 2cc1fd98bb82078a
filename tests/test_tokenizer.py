"""WordPiece: ids and offsets as transformers has them, and what a user's files may lack."""

import gzip
import json
import pickle
import shutil
from collections.abc import Callable
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, BertTokenizerFast

from unmask.errors import UserError
from unmask.text.kinds import wordpiece as module
from unmask.text.kinds.wordpiece import SPECIAL, WordPiece, describe
from unmask.text.reading import TextFile, read
from unmask.text.tokenizer import Tokenizer
from unmask.text.words import words

VOCABULARIES = ("bert-base-uncased", "bert-base-cased", "bert-base-multilingual-cased")

SMALL = [
    *SPECIAL,
    "the",
    "fox",
    "##es",
    "##x",
    "e",
    "##e",
    "É",
    "[",
    "]",
    "mask",
    "sep",
    "##p",
    "!",
]


def small(**changes: Any) -> Tokenizer:
    return WordPiece({**describe(SMALL, cased=False), **changes})


@pytest.fixture(scope="session")
def published(
    shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Tokenizer, Any]]:
    """Open a published vocabulary twice: with our tokenizer and with transformers'."""

    @cache
    def both(name: str) -> tuple[Tokenizer, Any]:
        folder = tmp_path_factory.mktemp(name)
        shutil.copy(shared / "vocabs" / f"{name}-vocab.txt", folder / "vocab.txt")
        theirs = BertTokenizerFast.from_pretrained(folder, do_lower_case="uncased" in name)
        return Tokenizer.load(folder), theirs

    return both


def assert_equal(ours: Tokenizer, theirs: Any, text: str) -> None:
    expected = theirs(
        text, add_special_tokens=False, return_offsets_mapping=True, split_special_tokens=True
    )
    found = ours.encode(text)
    assert found.ids == expected["input_ids"]
    assert found.offsets == expected["offset_mapping"]
    assert found.tokens == theirs.convert_ids_to_tokens(found.ids)
    assert ours.encode_batch([text, text]) == [found.ids, found.ids]


@pytest.mark.parametrize("name", VOCABULARIES)
def test_real_text_as_transformers_has_it(published: Any, shared: Path, name: str) -> None:
    ours, theirs = published(name)
    novel = sorted((shared / "novels" / "valid").glob("*.txt.gz"))[0]
    pieces = list(read(TextFile(str(novel), novel.stat().st_size)))[:300]
    captions = []
    for language in ("de", "fr"):
        with gzip.open(
            shared / "multi30k" / f"train.{language}.gz", "rt", encoding="utf-8"
        ) as lines:
            captions += list(islice(lines, 100))
    for text in [piece.text for piece in pieces] + captions:
        assert_equal(ours, theirs, text)


TEXTS = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.characters(max_codepoint=0x24F),
        st.sampled_from(
            "aeioué 犬猫。“”…'\u0301\u0338\u200d\u0130ßΣ\x00\x1c\x85\u2028\xa0\u3000Ⅷ가हिं"
        ),
    ),
    max_size=60,
)


@pytest.mark.parametrize("name", VOCABULARIES)
@given(text=TEXTS)
def test_random_unicode_as_transformers_has_it(published: Any, name: str, text: str) -> None:
    assert_equal(*published(name), text)


@pytest.mark.parametrize(
    "change", [{"lowercase": False}, {"handle_chinese_chars": False}, {"strip_accents": False}]
)
def test_another_cleaning_is_noticed(published: Any, change: dict[str, bool]) -> None:
    ours, theirs = published("bert-base-uncased")
    document = pickle.loads(pickle.dumps(ours))._document
    other = WordPiece({**document, "normalizer": {**document["normalizer"], **change}})
    with pytest.raises(AssertionError):
        assert_equal(other, theirs, "Élan vital 犬猫")
    text = "Élan vital 犬猫, “犬”!"
    assert other.encode_batch([text]) == [other.encode(text).ids]
    assert other.fingerprint != ours.fingerprint


def test_words_of_more_than_100_characters_differ_from_the_original(published: Any) -> None:
    """The original (google-research/bert) still cuts words of 200 characters; the library, 100."""
    ours, theirs = published("bert-base-uncased")
    for length in (100, 101, 200, 201):
        assert_equal(ours, theirs, "a" * length)
    assert ours.unk not in ours.encode("a" * 100).ids
    assert ours.encode("a" * 101).tokens == ["[UNK]"]
    assert ours.encode("a" * 101 + "-" + "a" * 101).tokens == ["[UNK]", "-", "[UNK]"]


def test_published_vocabularies_are_known_for_what_they_are(published: Any) -> None:
    uncased, cased = published("bert-base-uncased")[0], published("bert-base-cased")[0]
    ids = [uncased.pad, uncased.unk, uncased.cls, uncased.sep, uncased.mask]
    assert ids == [0, 100, 101, 102, 103]
    assert uncased.special.tolist() == ids
    assert uncased.vocab_size == 30_522
    assert uncased.continues.dtype == bool
    assert uncased.continues.sum() == 5828
    assert cased.vocab_size == 28_996
    assert uncased.encode("Paris").tokens == ["paris"]
    assert cased.encode("Paris").tokens == ["Paris"]


@pytest.mark.parametrize("cased", [False, True])
def test_what_is_saved_opens_with_transformers(tmp_path: Path, cased: bool) -> None:
    ours = WordPiece(describe(SMALL, cased=cased))
    ours.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert theirs.is_fast
    assert theirs.model_max_length == 512
    assert len(theirs) == ours.vocab_size == len(SMALL)
    assert [theirs.pad_token_id, theirs.mask_token_id] == [ours.pad, ours.mask]
    for text in ("The foxes É [x]!", "THE é"):
        assert_equal(ours, theirs, text)
    pair = theirs("the fox", "the [MASK]")
    a, b = ours.encode("the fox").ids, ours.encode("the [MASK]", masks=True).ids
    laid = ours.lay(a, b)
    assert laid.segments is not None
    found = laid.ids.tolist(), laid.segments.tolist()
    assert (pair["input_ids"], pair["token_type_ids"]) == found
    assert theirs("fox")["input_ids"] == ours.lay(ours.encode("fox").ids).ids.tolist()
    assert (tmp_path / "vocab.txt").read_text("utf-8").split("\n")[:-1] == SMALL


def test_saving_and_loading_changes_nothing(tmp_path: Path) -> None:
    first = small()
    first.save(tmp_path / "a")
    second = Tokenizer.load(tmp_path / "a")
    second.save(tmp_path / "b")
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
    (tmp_path / "b" / "tokenizer.json").unlink()
    third = Tokenizer.load(tmp_path / "b")  # "É" is a capital letter, but the configuration decides
    assert first.fingerprint == second.fingerprint == third.fingerprint
    (tmp_path / "b" / "tokenizer_config.json").unlink()
    assert Tokenizer.load(tmp_path / "b").fingerprint != first.fingerprint
    assert pickle.loads(pickle.dumps(first)).fingerprint == first.fingerprint


def test_the_fingerprint_follows_what_determines_ids() -> None:
    assert small().fingerprint == small(decoder=None, truncation={"max_length": 9}).fingerprint
    assert WordPiece(describe(SMALL[::-1], cased=False)).fingerprint != small().fingerprint
    assert WordPiece(describe(SMALL, cased=True)).fingerprint != small().fingerprint


def test_special_tokens_in_a_text_are_text_but_for_asked_masks() -> None:
    tokenizer = small()
    text = "the [MASK] [SEP]!"
    pieces = ["the", "[", "mask", "]", "[", "sep", "]", "!"]
    assert tokenizer.encode(text).tokens == pieces
    assert tokenizer.tokens(tokenizer.encode_batch([text])[0]) == pieces
    masked = tokenizer.encode(text, masks=True)
    assert masked.tokens == ["the", "[MASK]", *pieces[4:]]
    assert masked.ids[1] == tokenizer.mask
    assert masked.offsets[1] == (4, 10)
    assert small(added_tokens=[]).encode(text, masks=True) == masked


def test_decoding_joins_pieces() -> None:
    tokenizer = small()
    assert tokenizer.decode(tokenizer.encode("The foxes!").ids) == "the foxes!"
    assert tokenizer.decode([tokenizer.cls, 5, tokenizer.mask]) == "[CLS] the [MASK]"


def test_continuations_are_marked() -> None:
    expected = [piece.startswith("##") for piece in SMALL]
    np.testing.assert_array_equal(small().continues, expected)


def test_forgetting_words_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["the fox the foxes", "", "fox!the", "x" * 150, "\tthe\nfox\x00es "] * 3
    expected = [small().encode(text).ids for text in texts]
    monkeypatch.setattr(module, "REMEMBERED", 2)
    tokenizer = small()
    assert tokenizer.encode_batch(texts) == expected
    assert len(tokenizer._words) <= 2


def test_added_tokens_of_other_models_are_kept() -> None:
    document = describe(SMALL, cased=False)
    added = {**document["added_tokens"][0], "id": len(SMALL), "content": "the fox!"}
    tokenizer = WordPiece({**document, "added_tokens": [*document["added_tokens"], added]})
    assert tokenizer.vocab_size == len(SMALL) + 1
    assert tokenizer.encode_batch(["e the fox!"]) == [[SMALL.index("e"), len(SMALL)]]
    assert tokenizer.fingerprint != small().fingerprint


@pytest.mark.parametrize("token", SPECIAL)
def test_a_missing_special_token_is_named(tmp_path: Path, token: str) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(p for p in SMALL if p != token), "utf-8")
    with pytest.raises(UserError, match=rf"vocab\.txt: the vocabulary lacks \{token}"):
        Tokenizer.load(tmp_path)


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"neither tokenizer\.json nor vocab\.txt"):
        Tokenizer.load(tmp_path / "missing")


def damaged() -> str:
    document = describe(SMALL, cased=False)
    del document["model"]["vocab"]
    return json.dumps(document)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", b'{"model": ', r"tokenizer\.json, line 1: not JSON"),
        ("tokenizer.json", b"[]", r"not a JSON object"),
        ("tokenizer.json", b"{}", r"the model is None; there are"),
        ("tokenizer.json", b'{"model": {"type": "WordLevel"}}', r"the model is WordLevel; there"),
        ("tokenizer.json", damaged().encode(), r"tokenizer\.json: damaged"),
        ("vocab.txt", b"[PAD]\n\xff", r"vocab\.txt, byte 6: not UTF-8"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("part", ["normalizer", "pre_tokenizer"])
def test_other_cleaning_is_refused(tmp_path: Path, part: str) -> None:
    document = {**describe(SMALL, cased=False), part: {"type": "Sequence"}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match="is Sequence, not Bert"):
        Tokenizer.load(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        UserError, match=r"file: cannot be written \(File exists\)\. Choose another"
    ):
        small().save(tmp_path / "file")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("  New York, isn't", ["New", "York", ",", "isn", "'", "t"]),
        ("東京 is—naïve", ["東", "京", "is", "—", "naïve"]),
        ("a\u200b\x00b Ae\u0301", ["a\u200b\x00b", "Ae\u0301"]),
        ("", []),
    ],
)
def test_words_are_found_in_the_text_as_it_is(text: str, found: list[str]) -> None:
    assert [text[start:end] for start, end in words(text)] == found
