"""Corpus preparation beside the usual way: `datasets.map` with a tokenizer of transformers.

Text: the novels (.txt, a blank line between documents) and the unlabelled film reviews (.jsonl),
first decompressed, so that all contestants read the same bytes. Both use two processes and the
vocabulary of bert-base-uncased. `unmask prepare` reads, splits sentences, tokenises and writes the
store; the peer only tokenises lines and reviews, without special tokens and masks, and writes them
to its cache. Its clock runs during `map` alone, or with reading the files into its cache too; ours
from the start of the function to its end. The contestants take turns:

    python benchmarks/prepare.py round      # each contestant once; a few times, on a quiet machine
    python benchmarks/prepare.py report     # the medians, as a table

Written to benchmarks/results/prepare.json.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer

from unmask.text.opening import blocks
from unmask.text.tokenizer import Tokenizer

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
RESULTS = ROOT / "benchmarks" / "results" / "prepare.json"
WORKERS = 2
SOURCES = {
    "novels.txt": sorted((SHARED / "novels" / "train").glob("*.txt.gz")),
    "reviews.jsonl": [SHARED / "imdb" / "unlabelled.jsonl.gz"],
}


def unmask(folder: Path, texts: list[Path]) -> dict[str, float]:
    """Prepare with the command, in a process of its own."""
    out = folder / "store"
    command = [sys.executable, "-m", "unmask.cli", "prepare", *map(str, texts)]
    options = ["--tokenizer", folder / "tokenizer", "--out", out, "--workers", WORKERS, "--json"]
    started = time.perf_counter()
    done = subprocess.run([*command, *map(str, options)], capture_output=True, check=True)
    command_seconds = time.perf_counter() - started
    shutil.rmtree(out)
    result = json.loads(done.stdout.splitlines()[-1])
    return {
        "seconds": result["seconds"],
        "command_seconds": command_seconds,
        "tokens": result["tokens"],
    }


def peer(folder: Path, texts: list[Path]) -> dict[str, float]:
    """Tokenise with datasets and transformers."""
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
        kind = {".txt": "text", ".jsonl": "json"}[text.suffix]
        started = time.perf_counter()
        rows = datasets.load_dataset(kind, data_files=str(text), split="train", cache_dir=cache)
        loaded = time.perf_counter()
        done = rows.map(tokenise, batched=True, num_proc=WORKERS, remove_columns=rows.column_names)
        mapping += time.perf_counter() - loaded
        loading += loaded - started
        tokens += sum(len(ids) for batch in done.iter(1000) for ids in batch["input_ids"])
    shutil.rmtree(cache)
    return {"seconds": mapping, "seconds_with_loading": mapping + loading, "tokens": tokens}


def turn() -> None:
    """Let each contestant work once, and keep what it took."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vocabulary = folder / "vocab.txt"
        shutil.copy(SHARED / "vocabs" / "bert-base-uncased-vocab.txt", vocabulary)
        Tokenizer.load(folder).save(folder / "tokenizer")
        for text, parts in SOURCES.items():
            with (folder / text).open("wb") as file:
                for part in parts:
                    file.writelines(blocks(str(part)))
                    file.write(b"\n")
        plain = [folder / text for text in SOURCES]
        compressed = [path for parts in SOURCES.values() for path in parts]
        contestants: dict[str, tuple[Callable[[Path, list[Path]], Any], list[Path]]] = {
            "unmask": (unmask, plain),
            "datasets.map": (peer, plain),
            "unmask, from .gz": (unmask, compressed),
        }
        content = (
            json.loads(RESULTS.read_text())
            if RESULTS.exists()
            else {"turns": {contestant: [] for contestant in contestants}}
        )
        content["bytes"] = sum(path.stat().st_size for path in plain)
        for contestant, (work, texts) in contestants.items():
            content["turns"][contestant].append(work(folder, texts))
    RESULTS.write_text(json.dumps(content, indent=1) + "\n")


def report() -> None:
    """Show the medians, and how many times as fast ours is."""
    content = json.loads(RESULTS.read_text())
    table = Table("contestant", "turns", "seconds", "MB/s", "ratio", "tokens")
    content["medians"] = {}

    def median(contestant: str, clock: str) -> float:
        return statistics.median(turn[clock] for turn in content["turns"][contestant])

    peer_seconds = median("datasets.map", "seconds")
    for name, contestant, clock in (
        ("unmask.prepare", "unmask", "seconds"),
        ("unmask prepare, the whole command", "unmask", "command_seconds"),
        ("unmask.prepare from .gz", "unmask, from .gz", "seconds"),
        ("datasets.map", "datasets.map", "seconds"),
        ("datasets.map and loading", "datasets.map", "seconds_with_loading"),
    ):
        seconds = median(contestant, clock)
        content["medians"][name] = {
            "seconds": round(seconds, 2),
            "megabytes_per_second": round(content["bytes"] / 1e6 / seconds, 2),
            "times_as_fast_as_map": round(peer_seconds / seconds, 2),
        }
        tokens = content["turns"][contestant][-1]["tokens"]
        table.add_row(
            name,
            str(len(content["turns"][contestant])),
            f"{seconds:.1f}",
            f"{content['bytes'] / 1e6 / seconds:.2f}",
            f"{peer_seconds / seconds:.2f}",
            f"{tokens:,}",
        )
    RESULTS.write_text(json.dumps(content, indent=1) + "\n")
    Console().print(table)


if __name__ == "__main__":
    {"round": turn, "report": report}[sys.argv[1]]()
