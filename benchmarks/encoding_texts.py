"""Draws the texts that are encoded: film reviews, single sentences, one text of a given size.

Those that int8 is calibrated with are drawn from training files, which nothing is measured with.
"""

import gzip
import json
from pathlib import Path
from typing import Any

from encoding_data import FILES, LENGTH, start
from encoding_loop import tokeniser
from filing import DATA, kept, printed

REVIEWS, SENTENCES = 256, 1024
CALIBRATION = 300
"""Texts, half of them reviews and half of them sentences."""


def write_texts() -> None:
    """Write a file for each work, one of the pairs that judge, and one to calibrate with."""
    sources = [DATA / "imdb" / "test.jsonl.gz", DATA / "imdb" / "train.jsonl.gz"]
    sources += [DATA / "stsb" / "dev.tsv", DATA / "stsb" / "train.tsv"]
    kept(
        FILES / "texts",
        {
            "sources": {str(path): path.stat().st_size for path in sources},
            "sizes": [REVIEWS, SENTENCES, CALIBRATION],
            "weights": printed(start() / "tokenizer.json"),
            "made_by": printed(Path(__file__)),
        },
        _write,
    )


def _write(folder: Path) -> None:
    ids = tokeniser(LENGTH)
    half = CALIBRATION // 2
    firsts, seconds, scores = _pairs("dev")
    long, sentences = _reviews("test", REVIEWS), firsts[:SENTENCES]
    contents: dict[str, Any] = {
        "pairs": {"firsts": firsts, "seconds": seconds, "scores": scores},
        "calibration": {"texts": _reviews("train", half) + _pairs("train")[0][:half]},
    }
    for name, texts in {"reviews": long, "sentences": sentences}.items():
        contents[name] = {"texts": texts, "sizes": [len(one) for one in ids(texts)]}
    for size in (16, 128):
        text = _cut(long[0], size)
        contents[str(size)] = {"texts": [text], "sizes": [len(ids([text])[0])]}
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def _cut(text: str, size: int) -> str:
    """Give the beginning of a text, of at most so many pieces, in whole words."""
    words, ids = text.split(), tokeniser(10 * size)
    fitting = [n for n in range(1, size) if len(ids([" ".join(words[:n])])[0]) <= size]
    return " ".join(words[: fitting[-1]])


def _reviews(part: str, count: int) -> list[str]:
    with gzip.open(DATA / "imdb" / f"{part}.jsonl.gz", "rt", encoding="utf-8") as lines:
        found = [json.loads(line)["text"] for line in lines]
    return found[:: len(found) // count][:count]


def _pairs(part: str) -> tuple[list[str], list[str], list[float]]:
    with (DATA / "stsb" / f"{part}.tsv").open(encoding="utf-8") as lines:
        next(lines)
        rows = [line.rstrip("\n").split("\t") for line in lines]
    firsts, seconds, scores = zip(*rows, strict=True)
    return list(firsts), list(seconds), [float(score) for score in scores]
