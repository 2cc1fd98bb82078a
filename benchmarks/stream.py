"""Times the stream on one core: examples planned, gathered, masked and packed, in tokens a second.

    python benchmarks/stream.py

Contestants, in turns: the stream of batches over a whole epoch of the novels, its planning
included; and transformers' masking collator on ready-made rows of the same tokens, which are given
to it as lists, as `datasets` gives them, and as tensors. Neither side tokenises. Seconds are those
that the process ran, so that other work on the machine counts little. The store is made once, in
the folder for temporary files. Written to benchmarks/results/stream.json.
"""

import gzip
import json
import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import BertTokenizerFast, DataCollatorForLanguageModeling

from unmask.data.examples import Planner
from unmask.data.masking import Masking, Vocabulary, mask
from unmask.data.pairs import plan_pairs
from unmask.data.singles import plan_singles
from unmask.data.store import MANIFEST, Store
from unmask.data.stream import Source, Stream
from unmask.data.writing import ShardWriter, finish
from unmask.text.tokenizer import Tokenizer

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
RESULTS = ROOT / "benchmarks" / "results"
CACHE = Path(tempfile.gettempdir()) / "unmask-benchmark-stream"
ROUNDS = 5
BATCH = 4096  # tokens
ROWS = 128  # tokens of a row of the collator
ROWS_TOTAL = 1 << 21  # tokens that the collator is given in a round


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What a contestant did."""

    name: str
    tokens_per_second: int
    """Median of the rounds."""
    slowest: int
    """Of the rounds."""
    real: float | None
    """Share of the token budget that is used."""


def novels() -> Store:
    """Open the novels as a token store; the first time, make it."""
    folder, tokenizer_folder = CACHE / "store", CACHE / "tokenizer"
    if not (folder / MANIFEST).exists():
        tokenizer_folder.mkdir(parents=True, exist_ok=True)
        text = (SHARED / "vocabs" / "bert-base-uncased-vocab.txt").read_text("utf-8")
        (tokenizer_folder / "vocab.txt").write_text(text, "utf-8")
        tokenizer = Tokenizer.load(tokenizer_folder)
        writer = ShardWriter(folder, "shard-00000", tokenizer.vocab_size)
        for path in sorted((SHARED / "novels" / "train").glob("*.gz")):
            for chapter in gzip.decompress(path.read_bytes()).decode("utf-8").split("\n\n"):
                sentences = re.split(r"(?<=[.!?])\s+|\n", chapter)  # near enough for timing
                writer.add(tokenizer.encode_batch(sentences))
        finish(
            folder,
            [writer.close()],
            tokenizer=tokenizer_folder,
            tokenizer_fingerprint=tokenizer.fingerprint,
            vocab_size=tokenizer.vocab_size,
        )
    return Store.open(folder).verify()


def ours(store: Store, planner: Planner, length: int, masking: Masking) -> tuple[int, float]:
    """Run through an epoch from nothing; gives the tokens and the share of the budget used."""
    vocabulary = Vocabulary.of(Tokenizer.load(store.tokenizer))
    stream = Stream(
        sources=[Source(store=store, documents=np.arange(store.documents_total), planner=planner)],
        vocabulary=vocabulary,
        seed=0,
        length=length,
        tokens=BATCH,
    )
    tokens = 0
    for step in stream.run():
        packed = step.packed
        masked = mask(packed.ids, packed.cu_seqlens, vocabulary, masking, step.rng)
        tokens += masked.ids.size
        if step.state["places"][0][0] > 0:  # the second epoch has begun
            return tokens, tokens / ((step.number + 1) * BATCH)
    raise AssertionError("a stream has no end")


def collator(store: Store, tensors: bool) -> Callable[[], tuple[int, None]]:
    """Lay out rows for the usual collator, and give what masks them batch by batch."""
    tokenizer = BertTokenizerFast(str(CACHE / "tokenizer" / "vocab.txt"))
    collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
    rows = store.take(np.arange(ROWS_TOTAL // ROWS * (ROWS - 2))).reshape(-1, ROWS - 2)
    ids = np.pad(rows, ((0, 0), (1, 1)))
    ids[:, 0], ids[:, -1] = tokenizer.cls_token_id, tokenizer.sep_token_id
    special = np.zeros_like(ids)
    special[:, [0, -1]] = 1
    columns = [torch.from_numpy(ids), torch.from_numpy(special)]
    examples = [
        {"input_ids": row, "special_tokens_mask": flags}
        if tensors
        else {"input_ids": row.tolist(), "special_tokens_mask": flags.tolist()}
        for row, flags in zip(*columns, strict=True)
    ]

    def run() -> tuple[int, None]:
        step = BATCH // ROWS
        for first in range(0, len(examples), step):
            collate(examples[first : first + step])
        return ids.size, None

    return run


def contestants(store: Store) -> Iterator[tuple[str, Callable[[], tuple[int, float | None]]]]:
    """Name each contestant, with what it does in a round."""
    plain = Masking()
    yield "pairs of 128", lambda: ours(store, plan_pairs, 128, plain)
    yield "pairs of 512", lambda: ours(store, plan_pairs, 512, plain)
    yield "singles of 128", lambda: ours(store, plan_singles, 128, plain)
    yield (
        "pairs of 128, whole words",
        lambda: ours(store, plan_pairs, 128, Masking(whole_word=True)),
    )
    yield "transformers' collator, lists", collator(store, tensors=False)
    yield "transformers' collator, tensors", collator(store, tensors=True)


def measure(store: Store) -> Iterator[Result]:
    """Let the contestants take turns."""
    running = list(contestants(store))
    speeds: dict[str, list[float]] = {name: [] for name, _ in running}
    real: dict[str, float | None] = {}
    for _ in range(ROUNDS):
        for name, run in running:
            started = time.process_time()
            tokens, real[name] = run()
            speeds[name].append(tokens / (time.process_time() - started))
    for name, values in speeds.items():
        share = real[name]
        yield Result(
            name=name,
            tokens_per_second=round(statistics.median(values)),
            slowest=round(min(values)),
            real=None if share is None else round(share, 4),
        )


def main() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    store = novels()
    results = list(measure(store))
    content = {
        "tokens": store.tokens_total,
        "batch_tokens": BATCH,
        "numpy": np.__version__,
        "transformers": transformers.__version__,
        "results": [asdict(result) for result in results],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "stream.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    for result in results:
        used = "" if result.real is None else f", {result.real:.1%} of the budget used"
        print(f"{result.name}: {result.tokens_per_second / 1e6:.1f} M tokens/s{used}")


if __name__ == "__main__":
    main()
