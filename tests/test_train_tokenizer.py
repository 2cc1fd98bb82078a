"""A new vocabulary: the same bytes in every process, no larger than asked, found in the text."""

import gzip
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Literal

import pytest

from unmask import train_tokenizer
from unmask.errors import UserError
from unmask.text import sample as module
from unmask.text.kinds.wordpiece import SPECIAL
from unmask.text.tokenizer import Tokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyzäöüßéèабвгдежз"


def corpus(folder: Path) -> Path:
    """Write text of 3000 made-up words, full of ties between pairs of letters."""
    draw = random.Random(0)
    words = ["".join(draw.choices(LETTERS, k=draw.randint(2, 9))) for _ in range(3000)]
    folder.mkdir()
    for number in range(3):
        lines = [" ".join(draw.choices(words, k=40)).capitalize() + "." for _ in range(200)]
        (folder / f"{number}.txt").write_text("\n\n".join(lines), "utf-8")
    return folder


def vocabulary(*texts: Path | str, out: Path, **options: int | bool | str) -> list[str]:
    train_tokenizer([str(text) for text in texts], out=out, **options)  # type: ignore[arg-type]
    return (out / "vocab.txt").read_text("utf-8").split("\n")[:-1]


def digests(script: str, arguments: list[str]) -> set[str]:
    """Run a script in fresh processes, each with other threads and another hash seed."""
    found = set()
    for threads, parallel, seed in (("1", "false", "1"), ("2", "true", "2"), ("4", "true", "3")):
        environment = {
            **os.environ,
            "RAYON_NUM_THREADS": threads,
            "TOKENIZERS_PARALLELISM": parallel,
            "PYTHONHASHSEED": seed,
        }
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found.add(done.stdout)
    return found


OURS = """
import hashlib, pathlib, sys
from unmask import train_tokenizer
train_tokenizer([sys.argv[1]], out=sys.argv[2], vocab_size=1500)
for path in sorted(pathlib.Path(sys.argv[2]).iterdir()):
    print(path.name, hashlib.sha256(path.read_bytes()).hexdigest())
"""

THE_LIBRARYS = """
import pathlib, sys
from tokenizers import BertWordPieceTokenizer
tokenizer = BertWordPieceTokenizer()
files = sorted(map(str, pathlib.Path(sys.argv[1]).iterdir()))
tokenizer.train(files, vocab_size=1500, show_progress=False)
print(sorted(tokenizer.get_vocab().items()))
"""


def test_the_same_text_gives_the_same_bytes_in_fresh_processes(tmp_path: Path) -> None:
    found = digests(OURS, [str(corpus(tmp_path / "text")), str(tmp_path / "out")])
    assert len(found) == 1
    assert found.pop().count("\n") == 3


def test_the_librarys_own_trainer_gives_others(tmp_path: Path) -> None:
    """If this fails, the library has become deterministic, and we can do with less."""
    assert len(digests(THE_LIBRARYS, [str(corpus(tmp_path / "text"))])) > 1


def test_special_tokens_then_characters_then_pieces(tmp_path: Path) -> None:
    pieces = vocabulary(corpus(tmp_path / "text"), out=tmp_path / "out", vocab_size=500)
    letters = sorted("." + LETTERS.replace("ä", "").translate(str.maketrans("öüéè", "ouee")))
    alphabet = sorted({*letters, "a"})
    assert len(pieces) == len(set(pieces)) == 500
    assert pieces[:5] == list(SPECIAL)
    ends = 5 + len(alphabet)
    assert pieces[5:ends] == alphabet
    assert pieces[ends : ends + len(alphabet)] == ["##" + letter for letter in alphabet]
    assert all(len(piece.removeprefix("##")) > 1 for piece in pieces[ends + len(alphabet) :])


def test_frequent_words_become_pieces_and_rare_ones_do_not(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("the Brown fox " * 50 + "quokka zebra 12", "utf-8")
    pieces = vocabulary(path, out=tmp_path / "out", vocab_size=200)
    assert {"the", "brown", "fox"} < set(pieces)
    assert not {"quokka", "Brown", "z", "q"} & set(pieces)
    assert len(pieces) < 200, "the text has no more"
    assert "Brown" in vocabulary(path, out=tmp_path / "cased", vocab_size=200, cased=True)
    tokenizer = Tokenizer.load(tmp_path / "out")
    assert tokenizer.encode("The fox, quokka").tokens == ["the", "fox", "[UNK]", "[UNK]"]


def test_it_says_what_it_has_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vocabulary(corpus(tmp_path / "text"), out=tmp_path / "out", vocab_size=300)
    (tmp_path / "a.txt").write_text("ab ab ab", "utf-8")
    vocabulary(tmp_path / "a.txt", out=tmp_path / "small", vocab_size=300)
    output = capsys.readouterr()
    assert output.out == ""
    full, less = output.err.splitlines()
    assert full.startswith(f"{tmp_path}/out: 300 entries from 0.")
    assert full.endswith("MB, 3 files")
    assert "10 entries (more are not in the text)" in less


def test_all_forms_of_text_give_the_same(tmp_path: Path) -> None:
    text = "some words, some more words\n\nand other words"
    (tmp_path / "a.txt").write_text(text, "utf-8")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "c.jsonl").write_text(
        '{"text": "some words, some more words"}\n{"text": "and other words"}'
    )
    results = [
        vocabulary(tmp_path / name, out=tmp_path / "out", vocab_size=100)
        for name in ("a.txt", "b.txt.gz", "c.jsonl")
    ]
    assert results[0] == results[1] == results[2]


def test_a_large_corpus_is_sampled_from_the_beginnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("first first\n" * 100 + "second second\n" * 100)
    (tmp_path / "b.txt").write_text("third third\n" * 100 + "fourth fourth\n" * 100)
    monkeypatch.setattr(module, "SAMPLE", 2000)
    pieces = vocabulary(tmp_path, out=tmp_path / "out", vocab_size=200)
    assert {"first", "third"} < set(pieces)
    assert not {"second", "fourth"} & set(pieces)


def test_endless_words_are_left_out(tmp_path: Path) -> None:
    draw = random.Random(0)
    endless = "".join(draw.choices("abcd", k=300_000))  # the trainer would need minutes
    chinese = "犬猫" * 200  # is no word
    (tmp_path / "a.txt").write_text(f"{endless} xyz xyz {chinese}", "utf-8")
    pieces = vocabulary(tmp_path, out=tmp_path / "out", vocab_size=5000)
    assert "xyz" in pieces
    assert "犬" in pieces
    assert "a" not in pieces


@pytest.mark.parametrize(
    ("counts", "size", "expected"),
    [
        ({"a": 5, "b": 5, "c": 5}, 120, "abc"),
        (
            {chr(0x4E00 + i): 2 + i // 2 for i in range(40)},
            120,
            "".join(map(chr, range(0x4E0A, 0x4E28))),
        ),
        ({"e": 99_000, "t": 990, "x": 9, "z": 1}, 120, "etx"),
        ({"犬": 1}, 120, "犬"),
    ],
    ids=["ties", "at most a quarter", "seen once", "nothing else"],
)
def test_which_characters_are_listed(counts: dict[str, int], size: int, expected: str) -> None:
    assert "".join(module.alphabet(Counter(counts), size)) == expected


def test_rare_characters_are_listed_while_they_are_few() -> None:
    common = {chr(0x61 + i): 1_000_000 for i in range(26)}
    rare = {chr(0x4E00 + i): 2 for i in range(2000)}
    assert len(module.alphabet(Counter(common | rare), 30_000)) == 1000
    assert len(module.alphabet(Counter(common | rare), 600)) == 26


@pytest.mark.parametrize("content", ["", "\n\n", "\x00\x01\u200b"])
def test_no_text_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.txt").write_text(content, "utf-8")
    with pytest.raises(UserError, match=r"a\.txt: no text in there"):
        vocabulary(tmp_path / "a.txt", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_tiny_vocabulary_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--vocab-size 99: give at least 100 entries"):
        vocabulary("nothing", out=tmp_path, vocab_size=99)


def test_a_language_is_named_where_it_matters(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--language fr: wordpiece reads all languages alike"):
        vocabulary("nothing", out=tmp_path, language="fr")


@pytest.mark.parametrize("errors", ["strict", "replace"])
def test_undecodable_text(tmp_path: Path, errors: Literal["strict", "replace"]) -> None:
    (tmp_path / "a.txt").write_bytes(b"caf\xe9 cafe cafe")
    if errors == "replace":
        assert "cafe" in vocabulary(tmp_path, out=tmp_path / "out", errors=errors)
    else:
        with pytest.raises(UserError, match=r"a\.txt, byte 3: not UTF-8 \(0xE9\)"):
            vocabulary(tmp_path, out=tmp_path / "out", errors=errors)
