"""BPE on the words of Moses: ids as transformers has them, places in the text, languages."""

import json
from collections.abc import Callable
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import FlaubertTokenizer, XLMTokenizer

import lines
from unmask import train_tokenizer
from unmask.data.masking import Masking, Vocabulary, mask
from unmask.errors import UserError
from unmask.text.kinds.moses_bpe import SPECIAL, MosesBPE, describe
from unmask.text.moses import Moses, align
from unmask.text.template import XLM
from unmask.text.tokenizer import Tokenizer

Opened = Callable[[str, bool], tuple[Tokenizer, Any]]
PEERS: dict[str, Any] = {"en": XLMTokenizer, "fr": FlaubertTokenizer, "de,en": XLMTokenizer}


@pytest.fixture(scope="module")
def texts(shared: Path) -> list[str]:
    """Ten thousand real lines; transformers would join the words before and behind a line's end."""
    return [text.replace("\n", " ") for text in lines.real(shared, 10_000)]


@pytest.fixture(scope="module")
def opened(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """Train a vocabulary of a language on real text, and open it with transformers, too."""

    @cache
    def both(language: str, cased: bool) -> tuple[Tokenizer, Any]:
        folder = tmp_path_factory.mktemp("moses")
        (folder / "a.txt").write_text("\n".join(islice(texts, 0, None, 7)), "utf-8")
        out = folder / "made"
        train_tokenizer(
            str(folder / "a.txt"),
            out=out,
            kind="moses-bpe",
            vocab_size=3000,
            language=language,
            cased=cased,
        )
        return Tokenizer.load(out), PEERS[language].from_pretrained(out)

    return both


def test_ten_thousand_lines_as_transformers_has_them(opened: Opened, texts: list[str]) -> None:
    ours, theirs = opened("en", False)
    found = ours.encode_batch(texts)
    assert found == [theirs.convert_tokens_to_ids(theirs._tokenize(text)) for text in texts]
    assert [ours.encode(text).ids for text in texts[::100]] == found[::100]


@pytest.mark.parametrize(("language", "cased"), [("fr", True), ("fr", False), ("de,en", True)])
def test_each_form_as_transformers_has_it(
    opened: Opened, texts: list[str], language: str, cased: bool
) -> None:
    ours, theirs = opened(language, cased)
    options = {"lang": "de"} if language == "de,en" else {}
    some = [*texts[::20], "« Œuvre », dit-il : l'été ``1 000'' z. B. 2\xa0000 Nr. 5", "Cœ ur…"]
    expected = [theirs.convert_tokens_to_ids(theirs._tokenize(text, **options)) for text in some]
    assert ours.encode_batch(some) == expected
    other = MosesBPE({**ours._document, "normalizer": {"lower": cased}})  # a mutation
    assert other.encode_batch(some) != expected


def test_a_pair_is_laid_out_as_transformers_has_it(opened: Opened) -> None:
    ours, theirs = opened("en", False)
    a, b = ours.encode_batch(["A charming film.", "It is long"])
    laid = ours.lay(a, b)
    assert theirs("A charming film.", "It is long")["input_ids"] == laid.ids.tolist()
    assert ours.template == XLM


def test_words_are_cut_out_of_real_text(opened: Opened, texts: list[str]) -> None:
    ours, _ = opened("en", False)
    plain, wrong, count = Moses().plain, 0, 0
    for text in texts[::25]:
        encoded = ours.encode(text)
        for piece, (start, end) in zip(encoded.tokens, encoded.offsets, strict=True):
            count += 1
            letters = piece.removesuffix("</w>")
            wrong += letters.isalnum() and plain(text[start:end]) != letters
        assert encoded.offsets == sorted(encoded.offsets)
    assert wrong == 0
    assert count > 10_000


@pytest.mark.parametrize(
    ("text", "made", "cut"),
    [
        ("ab cd", "abcd", ["a", "b", "c", "d"]),
        ("Ça", "ca", ["Ç", "a"]),
        ("e\u0301a", "ea", ["e", "a"]),
        ("wait… no", "wait...no", [*"wait", "…", "…", "…", "n", "o"]),
        ("a``b''c", 'a"b"c', ["a", "``", "b", "''", "c"]),
        ("a\x01b", "ab", ["a", "b"]),
        ("", "", []),
        ("a", "xyz", ["a", "a", "a"]),
    ],
)
def test_what_was_made_of_a_text_is_found_in_it(text: str, made: str, cut: list[str]) -> None:
    assert [text[start:end] for start, end in align(text, made)] == cut


@given(st.text(max_size=40))
def test_places_are_in_the_text_and_never_run_backwards(text: str) -> None:
    words = Moses().words(text)
    spans = align(text, "".join(words))
    assert len(spans) == sum(map(len, words))
    assert all(0 <= start < end <= max(len(text), 1) for start, end in spans)
    assert spans == sorted(spans)


PIECES = [*SPECIAL, *"abn", "a</w>", "b</w>", "n</w>", "an", "ba</w>", "anan", "ban</w>"]
MERGES = [["a", "n"], ["b", "a"], ["b", "a</w>"], ["an", "an"], ["ba", "n</w>"]]


def test_published_files_may_lack_pieces_and_count_merges(tmp_path: Path) -> None:
    """The piece `ba` is on the way to `ban</w>`, and not in the vocabulary."""
    ids = {piece: i for i, piece in enumerate(PIECES)}
    (tmp_path / "vocab.json").write_text(json.dumps(ids))
    (tmp_path / "merges.txt").write_text("".join(f"{a} {b} 17\n" for a, b in MERGES))
    tokenizer = Tokenizer.load(tmp_path)
    pieces = ["ban</w>", "<unk>", "b</w>", "b", "anan", "a</w>"]
    assert tokenizer.encode("Ban bab banana").tokens == pieces
    theirs = XLMTokenizer.from_pretrained(tmp_path)
    text = "Ban BA banana anan x bab"
    expected = theirs.convert_tokens_to_ids(theirs._tokenize(text))
    assert tokenizer.encode(text).ids == expected
    assert ids["<unk>"] in expected
    settings = {"tokenizer_class": "FlaubertTokenizer"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    assert Tokenizer.load(tmp_path).encode("BA").ids == [3, 3]  # it is cased


def test_languages_are_those_of_the_vocabulary(tmp_path: Path) -> None:
    ids = {piece: i for i, piece in enumerate(PIECES)}
    (tmp_path / "vocab.json").write_text(json.dumps(ids))
    (tmp_path / "merges.txt").write_text("")
    config = {"model_type": "xlm", "lang2id": {"de": 0, "fr": 1, "zh": 2}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    tokenizer = Tokenizer.load(tmp_path)
    assert isinstance(tokenizer, MosesBPE)
    assert tokenizer.moses.language == "de"
    french = tokenizer.with_language("fr")
    assert french.moses.words("l'an") == ["l'", "an"]
    assert tokenizer.moses.words("l'an") == ["l", "'", "an"]
    assert french.fingerprint == tokenizer.fingerprint
    with pytest.raises(UserError, match="'en' is not among those of the vocabulary: de, fr"):
        tokenizer.with_language("en")
    with pytest.raises(UserError, match="language 'zh': its words are not found by Moses"):
        tokenizer.with_language("zh")


def test_whole_words_end_with_their_last_piece() -> None:
    document = describe({p: i for i, p in enumerate(PIECES)}, MERGES, Moses(), {})
    tokenizer = MosesBPE(document)
    (ids,) = tokenizer.encode_batch(["banana ba anan banana"] * 1)
    ends = np.array([piece.endswith("</w>") for piece in tokenizer.tokens(ids)])
    words = np.cumsum(np.append(0, ends[:-1]))
    assert len(words) > words[-1] + 1
    for seed in range(20):
        hidden = mask(
            np.array(ids),
            np.array([0, len(ids)]),
            Vocabulary.of(tokenizer),
            Masking(probability=0.3, whole_word=True),
            np.random.default_rng(seed),
        ).rows
        chosen = set(words[hidden].tolist())
        whole = [place for place, word in enumerate(words) if word in chosen]
        ordinary = [place for place in whole if ids[place] != tokenizer.unk]
        assert hidden.tolist() == ordinary
