"""Real lines of text: reviews, sentences, captions in two languages and novels."""

import gzip
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path


def real(shared: Path, count: int) -> list[str]:
    """Take so many lines of the shared data, some from each of its sources."""
    share = count // 4
    rare = count // 20  # for they are long
    found = [json.loads(line)["text"] for line in _lines(shared / "imdb/test.jsonl.gz", rare // 5)]
    for novel in sorted((shared / "novels" / "valid").glob("*.txt.gz"))[:2]:
        found += [line for line in _lines(novel, rare) if line]
    for language in ("de", "fr"):
        found += _lines(shared / "multi30k" / f"train.{language}.gz", share)
    others = _lines(shared / "sst2" / "train.tsv.gz", count - len(found))
    return found + [line.partition("\t")[0] for line in others]


def _lines(path: Path, count: int) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from (line.rstrip("\n") for line in islice(file, count))
