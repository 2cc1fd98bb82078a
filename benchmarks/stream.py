"""Times the stream on one core: examples planned, gathered, masked and packed, in tokens a second.

    python benchmarks/stream.py

Contestants, in turns: the stream of batches over a whole epoch of the novels, its planning
included; and transformers' masking collator on ready-made rows of the same tokens, which are given
to it as lists, as `datasets` gives them, and as tensors. Neither side tokenises. The store is made
once, in .bench. Written to benchmarks/results/stream.json.
"""

import numpy as np
import torch
from transformers import BertTokenizerFast, DataCollatorForLanguageModeling

import filing
from novels import TOKENIZER, novels
from turns import Contestant, Job, take_turns
from unmask.data.masking import Masking, Vocabulary, mask
from unmask.data.stream import Source, Stream
from unmask.text.tokenizer import Tokenizer
from unmask.train.corpus import PLANNERS

BATCH = 4096  # tokens
ROWS = 128  # tokens of a row of the collator
ROWS_TOTAL = 1 << 21  # tokens that the collator is given in a round

CONTESTANTS = [
    Contestant(name=name, job=f"stream:{job}", options=options)
    for name, job, options in (
        ("pairs of 128", "ours", {"form": "pairs", "length": 128}),
        ("pairs of 512", "ours", {"form": "pairs", "length": 512}),
        ("singles of 128", "ours", {"form": "singles", "length": 128}),
        (
            "pairs of 128, whole words",
            "ours",
            {"form": "pairs", "length": 128, "whole_word": True},
        ),
        ("transformers' collator, lists", "collator", {"tensors": False}),
        ("transformers' collator, tensors", "collator", {"tensors": True}),
    )
]


def ours(form: str, length: int, whole_word: bool = False) -> Job:
    """Run through an epoch from nothing."""
    store = novels()
    vocabulary = Vocabulary.of(Tokenizer.load(store.tokenizer))
    masking = Masking(whole_word=whole_word)
    documents = np.arange(store.documents_total)

    def run() -> tuple[int, int]:
        """Give the tokens and the batches."""
        source = Source(store=store, documents=documents, planner=PLANNERS[form])
        stream = Stream(
            sources=[source], vocabulary=vocabulary, seed=0, length=length, tokens=BATCH
        )
        tokens = 0
        for step in stream.run():
            packed = step.packed
            masked = mask(packed.ids, packed.cu_seqlens, vocabulary, masking, step.rng)
            tokens += masked.ids.size
            if step.state["places"][0][0] > 0:  # the second epoch has begun
                return tokens, step.number + 1
        raise AssertionError("a stream has no end")

    tokens, batches = run()
    return Job(round=run, tokens=tokens, facts={"budget_used": tokens / (batches * BATCH)})


def collator(tensors: bool) -> Job:
    """Lay out rows for the usual collator, and mask them batch by batch."""
    store = novels()
    tokenizer = BertTokenizerFast(str(TOKENIZER / "vocab.txt"))
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

    def run() -> None:
        step = BATCH // ROWS
        for first in range(0, len(examples), step):
            collate(examples[first : first + step])

    return Job(round=run, tokens=ids.size)


def main() -> None:
    """Let the contestants take turns, on one thread each."""
    options = filing.options(__doc__).parse_args()
    store = novels()
    found = take_turns(CONTESTANTS, options.rounds, threads=1)
    told = {name: figures.told() for name, figures in found.items()}
    content = {"tokens": store.tokens_total, "batch_tokens": BATCH, "contestants": told}
    filing.write("stream", content, options.out)
    for name, one in told.items():
        used = f", {one['budget_used']:.1%} of the budget used" if "budget_used" in one else ""
        print(f"{name}: {one['tokens_per_second'] / 1e6:.1f} M tokens/s{used}")


if __name__ == "__main__":
    main()
