"""Real lines of text: reviews, sentences, captions in two languages and novels."""

import gzip
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path


def real(shared: Path, count: int) -> list[str]:
    """Take so many lines of the shared data, some from each of its sources."""
    share = count // 5
    found = [json.loads(line)["text"] for line in _lines(shared / "imdb/test.jsonl.gz", share // 4)]
    found += [line.partition("\t")[0] for line in _lines(shared / "sst2/train.tsv.gz", share)]
    for language in ("de", "fr"):
        found += _lines(shared / "multi30k" / f"train.{language}.gz", share)
    for novel in sorted((shared / "novels" / "valid").glob("*.txt.gz")):
        found += [line for line in _lines(novel, count) if line]
    assert len(found) >= count
    return found[:count]


def _lines(path: Path, count: int) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from (line.rstrip("\n") for line in islice(file, count))
