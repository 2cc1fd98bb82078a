"""Published vocabularies of the relatives: ids as transformers has them on real lines."""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from transformers import AddedToken, GPT2Tokenizer, RobertaTokenizer

import lines
from unmask.text.template import GPT2, ROBERTA
from unmask.text.tokenizer import Tokenizer

Opened = Callable[[str], tuple[Tokenizer, Any]]

PEERS: dict[str, tuple[Any, dict[str, str]]] = {
    "roberta-base": (
        RobertaTokenizer,
        {"roberta-base-vocab.json": "vocab.json", "roberta-base-merges.txt": "merges.txt"},
    ),
    "gpt2": (GPT2Tokenizer, {"gpt2-vocab.json": "vocab.json", "gpt2-merges.txt": "merges.txt"}),
}
"""Each vocabulary's tokenizer in transformers, and its files with the names that it expects."""


@pytest.fixture(scope="module")
def opened(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """Open a published vocabulary twice: with our tokenizer and with transformers'.

    The mask swallows the blank before it, as the original releases have it and as a published
    tokenizer.json says; transformers does not know that from the older files alone.
    """

    @cache
    def both(name: str) -> tuple[Tokenizer, Any]:
        peer, files = PEERS[name]
        folder = tmp_path_factory.mktemp(name)
        for published, expected in files.items():
            shutil.copy(shared / "vocabs" / published, folder / expected)
        swallowing = {"mask_token": AddedToken("<mask>", lstrip=True)} if "roberta" in name else {}
        return Tokenizer.load(folder), peer.from_pretrained(folder, **swallowing)

    return both


@pytest.fixture(scope="module")
def texts(shared: Path) -> list[str]:
    """Ten thousand real lines."""
    return lines.real(shared, 10_000)


@pytest.mark.parametrize("name", PEERS)
def test_ten_thousand_lines_as_transformers_has_them(
    opened: Opened, texts: list[str], name: str
) -> None:
    ours, theirs = opened(name)
    found = ours.encode_batch(texts)
    assert found == theirs(texts, add_special_tokens=False)["input_ids"]
    assert [ours.encode(text).ids for text in texts[::100]] == found[::100]
    changed = [text.replace(" the ", "  the ") for text in texts[:1000]]  # a mutation
    assert ours.encode_batch(changed) != found[:1000] or name.startswith(("albert", "xlnet"))


@pytest.mark.parametrize("name", PEERS)
def test_layouts_as_transformers_has_them(opened: Opened, name: str) -> None:
    ours, theirs = opened(name)
    a, b = ours.encode_batch(["A charming film.", "It is long"])
    one, two = theirs("A charming film."), theirs("A charming film.", "It is long")
    for laid, expected in ((ours.lay(a), one), (ours.lay(a, b), two)):
        assert laid.ids.tolist() == expected["input_ids"]
        segments = [0] * len(laid.ids) if laid.segments is None else laid.segments.tolist()
        assert segments == expected.get("token_type_ids", segments)


@pytest.mark.parametrize("name", PEERS)
def test_offsets_cut_the_words_of_a_text(opened: Opened, texts: list[str], name: str) -> None:
    """Pieces of one word cover it, without the blanks around it."""
    ours, _ = opened(name)
    for text in texts[::50]:
        covered = set()
        for start, end in ours.encode(text).offsets:
            assert text[start:end] == text[start:end].strip()
            covered |= set(range(start, end))
        written = {place for place, character in enumerate(text) if not character.isspace()}
        assert written - covered <= {p for p in written if not text[p].isprintable()}


def test_masks_swallow_the_blank_before_them(opened: Opened) -> None:
    ours, theirs = opened("roberta-base")
    text = "The [MASK] brown fox [MASK]. [MASK]"
    encoded = ours.encode(text, masks=True)
    expected = theirs(text.replace("[MASK]", "<mask>"), add_special_tokens=False)["input_ids"]
    assert encoded.ids == expected
    assert [text[slice(*span)] for span in encoded.offsets].count("[MASK]") == 3


def test_the_files_tell_whose_layout_it_is(opened: Opened) -> None:
    assert opened("roberta-base")[0].template == ROBERTA
    assert opened("gpt2")[0].template == GPT2
    assert opened("gpt2")[0].mask is None
