"""Corpus preparation beside the usual way: `datasets.map` with a tokenizer of transformers.

    python benchmarks/prepare.py

Text: the novels (.txt, a blank line between documents) and the unlabelled film reviews (.jsonl),
first decompressed, so that both read the same bytes. Both use two processes and the vocabulary of
bert-base-uncased. `unmask prepare` reads, splits sentences, tokenises and writes the store; the
peer only tokenises lines and reviews, without special tokens and masks, and writes them to its
cache. The peer's clock runs during `map` alone, and once more with reading the files into its
cache; ours is that of the whole command. Both must find the same number of tokens. They take turns.
Written to benchmarks/results/prepare.json.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import datasets
from transformers import AutoTokenizer

import filing
from filing import DATA
from unmask.text.opening import blocks
from unmask.text.tokenizer import Tokenizer
from watching import watch

SOURCES = {
    "novels.txt": sorted((DATA / "novels" / "train").glob("*.txt.gz")),
    "reviews.jsonl": [DATA / "imdb" / "unlabelled.jsonl.gz"],
}


def unmask(folder: Path, texts: list[str], workers: int) -> dict[str, float]:
    """Prepare with the command."""
    out = folder / "store"
    command = [sys.executable, "-m", "unmask.cli", "prepare", *texts, "--json"]
    options = {"--tokenizer": folder / "tokenizer", "--out": out, "--workers": workers}
    done = watch([*command, *(str(item) for pair in options.items() for item in pair)])
    shutil.rmtree(out)
    result = json.loads(done.output.splitlines()[-1])
    return {"seconds": done.seconds, "tokens": result["tokens"], "memory": done.memory}


def peer(folder: Path, texts: list[str], workers: int) -> dict[str, float]:
    """Let a process of its own tokenise with datasets and transformers."""
    command = [sys.executable, __file__, "--peer", str(folder), "--threads", str(workers)]
    done = watch([*command, *texts], {"TOKENIZERS_PARALLELISM": "false"})
    return {**json.loads(done.output.splitlines()[-1]), "memory": done.memory}


def tokenise_all(folder: Path, texts: list[str], workers: int) -> dict[str, float]:
    """Be the peer: read each file into a cache and map the tokenizer over it."""
    datasets.disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    cache = str(folder / "cache")
    loading = mapping = 0.0
    tokens = 0

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
        done = rows.map(tokenise, batched=True, num_proc=workers, remove_columns=rows.column_names)
        mapping += time.perf_counter() - loaded
        loading += loaded - started
        tokens += sum(len(ids) for batch in done.iter(1000) for ids in batch["input_ids"])
    shutil.rmtree(cache)
    return {"seconds": mapping, "seconds_with_loading": mapping + loading, "tokens": tokens}


def measure(rounds: int, workers: int, megabytes: float | None) -> dict[str, Any]:
    """Let both take turns; megabytes: of each text, for a trial."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(DATA / "vocabs" / "bert-base-uncased-vocab.txt", folder / "vocab.txt")
        Tokenizer.load(folder).save(folder / "tokenizer")
        for text, parts in SOURCES.items():
            with (folder / text).open("wb") as file:
                for part in parts:
                    file.writelines(blocks(str(part)))
                    file.write(b"\n")
            if megabytes is not None:
                whole = (folder / text).read_bytes()[: int(megabytes * 1e6)]
                (folder / text).write_bytes(whole[: whole.rindex(b"\n") + 1])
        texts = [str(folder / text) for text in SOURCES]
        turns: dict[str, list[dict[str, float]]] = {"unmask prepare": [], "datasets.map": []}
        for _ in range(rounds):
            turns["unmask prepare"].append(unmask(folder, texts, workers))
            turns["datasets.map"].append(peer(folder, texts, workers))
        size = sum(Path(text).stat().st_size for text in texts)
    counts = {turn["tokens"] for every in turns.values() for turn in every}
    assert len(counts) == 1, f"they find {counts} tokens"
    return {"bytes": size, "tokens": counts.pop(), "turns": turns}


def summary(turns: list[dict[str, float]], size: int) -> dict[str, Any]:
    """Give the median of a contestant's turns, and their spread."""
    seconds = [turn["seconds"] for turn in turns]
    return {
        "median": statistics.median(seconds),
        "seconds": seconds,
        "megabytes_per_second": size / 1e6 / statistics.median(seconds),
        "memory": max(turn["memory"] for turn in turns),
    }


def main() -> None:
    """Measure, show and file it; or be the peer."""
    parser: argparse.ArgumentParser = filing.options(__doc__)
    parser.add_argument("--megabytes", type=float, help="of each text, for a trial")
    parser.add_argument("--peer", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("texts", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer is not None:
        print(json.dumps(tokenise_all(options.peer, options.texts, options.threads)))
        return
    content = measure(options.rounds, options.threads, options.megabytes)
    content["contestants"] = {
        name: summary(turns, content["bytes"]) for name, turns in content["turns"].items()
    }
    filing.write("prepare", content, options.out)
    for name, one in content["contestants"].items():
        print(
            f"{name:16} {one['median']:.1f} s ({min(one['seconds']):.1f} to"
            f" {max(one['seconds']):.1f})  {one['megabytes_per_second']:.2f} MB/s"
            f"  {one['memory'] / 2**20:,.0f} MiB"
        )


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    main()
