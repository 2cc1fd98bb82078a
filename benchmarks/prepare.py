"""Corpus preparation beside the usual way: `datasets.map` with a tokenizer of transformers.

    python benchmarks/prepare.py

Text: 16 MB each of the novels (.txt, a blank line between documents) and of the unlabelled film
reviews (.jsonl), first decompressed, so that all read the same bytes. All use the vocabulary of
bert-base-uncased and two processes; the tuned peer has one, with a tokenizer of two threads.
`unmask prepare` reads, splits sentences, tokenises and writes the store; the peer only tokenises
lines and reviews, without special tokens and masks, and writes them to its cache. The peer's clock
runs during `map` alone, and once more with reading the files into its cache; ours is that of the
whole command. All must find the same pieces equally often, which a round that does not count shows.
They take turns. Written to benchmarks/results/prepare.json.
"""

import argparse
import gzip
import hashlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from transformers import AutoTokenizer

import filing
from filing import DATA
from turns import finish
from unmask.data.store import Store
from unmask.text.tokenizer import Tokenizer
from watching import take_turns, watch

Turn = dict[str, Any]
SOURCES = {
    "novels.txt": sorted((DATA / "novels" / "train").glob("*.txt.gz")),
    "reviews.jsonl": [DATA / "imdb" / "unlabelled.jsonl.gz"],
}


def unmask(folder: Path, texts: list[str], workers: int) -> Turn:
    """Prepare with the command."""
    out = folder / "store"
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "unmask.cli", "prepare", *texts, "--json"]
    options = {"--tokenizer": folder / "tokenizer", "--out": out, "--workers": workers}
    done = watch([*command, *(str(item) for pair in options.items() for item in pair)])
    result = json.loads(done.output.splitlines()[-1])
    store = Store.open(out)
    pieces = np.bincount(store.take(np.arange(store.tokens_total)))
    shutil.rmtree(out)
    return {
        "seconds": done.seconds,
        "tokens": result["tokens"],
        "pieces": printed(pieces),
        "memory": done.memory,
    }


def peer(folder: Path, texts: list[str], workers: int, parallel: bool) -> Turn:
    """Let a process of its own tokenise with datasets and transformers.

    parallel: whether the tokenizer has threads of its own.
    """
    shutil.rmtree(folder / "cache", ignore_errors=True)
    command = [sys.executable, __file__, "--peer", str(folder), "--threads", str(workers)]
    done = watch([*command, *texts], {"TOKENIZERS_PARALLELISM": str(parallel).lower()})
    return {**json.loads(done.output.splitlines()[-1]), "memory": done.memory}


def printed(pieces: np.ndarray) -> str:
    """Give the fingerprint of how often each piece was found."""
    counts = np.trim_zeros(pieces, "b").astype(np.int64)
    return hashlib.sha256(counts.tobytes()).hexdigest()[:16]


def tokenise_all(folder: Path, texts: list[str], workers: int) -> Turn:
    """Be the peer: read each file into a cache and map the tokenizer over it."""
    datasets.disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    cache = str(folder / "cache")
    loading = mapping = 0.0
    pieces = np.zeros(len(tokenizer), np.int64)

    def tokenise(batch: dict[str, Any]) -> dict[str, Any]:
        return dict(
            tokenizer(
                batch["text"],
                add_special_tokens=False,
                return_attention_mask=False,
                return_token_type_ids=False,
                verbose=False,
            )
        )

    for text in texts:
        kind = {".txt": "text", ".jsonl": "json"}[Path(text).suffix]
        started = time.perf_counter()
        rows = datasets.load_dataset(kind, data_files=text, split="train", cache_dir=cache)
        loaded = time.perf_counter()
        done = rows.map(
            tokenise,
            batched=True,
            num_proc=workers if workers > 1 else None,
            remove_columns=rows.column_names,
        )
        mapping += time.perf_counter() - loaded
        loading += loaded - started
        for batch in done.iter(1000):
            ids = np.fromiter(chain.from_iterable(batch["input_ids"]), np.int64)
            pieces += np.bincount(ids, minlength=len(pieces))
    shutil.rmtree(cache)
    return {
        "seconds": mapping,
        "seconds_with_loading": mapping + loading,
        "tokens": int(pieces.sum()),
        "pieces": printed(pieces),
    }


def compared(found: Mapping[str, Turn]) -> dict[str, str]:
    """See who found other pieces than the first one."""
    right = next(iter(found.values()), None)
    return {
        name: f"{turn['tokens']:,} tokens ({turn['pieces']}), not those of the first"
        for name, turn in found.items()
        if right is not None and turn["pieces"] != right["pieces"]
    }


def write_texts(folder: Path, megabytes: float) -> list[str]:
    """Write the tokenizer, and the beginnings of both texts; gives the texts."""
    shutil.copy(DATA / "vocabs" / "bert-base-uncased-vocab.txt", folder / "vocab.txt")
    Tokenizer.load(folder).save(folder / "tokenizer")
    for text, parts in SOURCES.items():
        size = 0
        with (folder / text).open("wb") as file:
            for line in lines(parts):
                size += len(line)
                if size > megabytes * 1e6:
                    break
                file.write(line)
    return [str(folder / text) for text in SOURCES]


def lines(parts: list[Path]) -> Iterator[bytes]:
    """Read the lines of files, with an empty one behind each file."""
    for part in parts:
        with gzip.open(part) as file:
            yield from file
        yield b"\n"


def summary(turns: list[Turn], size: int) -> dict[str, Any]:
    """Give the median of a contestant's turns, and their spread."""
    seconds = [turn["seconds"] for turn in turns]
    return {
        "median": statistics.median(seconds),
        "rounds": len(turns),
        "seconds": seconds,
        "megabytes_per_second": size / 1e6 / statistics.median(seconds),
        "memory": max(turn["memory"] for turn in turns),
    }


def measure(options: argparse.Namespace, folder: Path) -> dict[str, str]:
    """Let all take turns, file and show it; gives those that failed."""
    texts, workers = write_texts(folder, options.megabytes), options.threads
    size = sum(Path(text).stat().st_size for text in texts)
    content: dict[str, Any] = {"bytes": size}

    def file(found: Mapping[str, list[Turn]], failed: Mapping[str, str]) -> None:
        content["turns"] = found
        content["contestants"] = {name: summary(turns, size) for name, turns in found.items()}
        filing.write("prepare", content | {"failed": failed}, options.out)

    contestants = {
        "unmask prepare": partial(unmask, folder, texts, workers),
        "datasets.map": partial(peer, folder, texts, workers, False),
        "datasets.map, tuned": partial(peer, folder, texts, 1, True),
    }
    failed = take_turns(contestants, options.rounds, compared, file)
    for name, one in content["contestants"].items():
        print(
            f"{name:20} {one['median']:.1f} s ({min(one['seconds']):.1f} to"
            f" {max(one['seconds']):.1f})  {one['megabytes_per_second']:.2f} MB/s"
            f"  {one['memory'] / 2**20:,.0f} MiB"
        )
    return failed


def main() -> None:
    """Measure, show and file it; or be the peer."""
    parser: argparse.ArgumentParser = filing.options(__doc__)
    parser.add_argument("--megabytes", type=float, default=16.0, help="of each text, at most")
    parser.add_argument("--peer", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("texts", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer is not None:
        print(json.dumps(tokenise_all(options.peer, options.texts, options.threads)))
        return
    with tempfile.TemporaryDirectory() as folder:
        failed = measure(options, Path(folder))
    finish(failed)


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    main()
