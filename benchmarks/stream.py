"""Times the stream on one core: examples planned, gathered, masked and packed, in tokens a second.

    python benchmarks/stream.py

Contestants, in turns: the stream of batches over a whole epoch of the novels, its planning
included, as tensors that the training loop gets; and transformers' masking collator on ready-made
rows of the same tokens, which are given to it as lists, as `datasets` gives them, and as tensors.
Neither side tokenises. Before anything is timed, the shares of tokens that are masked are compared.
The store is made once, in .bench. Written to benchmarks/results/stream.json.
"""

from collections.abc import Iterator, Mapping
from itertools import islice

import numpy as np
import torch
from transformers import BertTokenizerFast, DataCollatorForLanguageModeling

import filing
from job import Answers, Job
from novels import TOKENIZER, novels
from turns import Contestant, Turns, finish, take_turns
from unmask.contracts import Batch
from unmask.data.masking import Masking, Vocabulary
from unmask.data.stream import Source, Step, Stream
from unmask.objectives.masked import MaskedObjective
from unmask.text.tokenizer import Tokenizer
from unmask.train.corpus import PLANNERS

BATCH = 4096  # tokens
ROWS = 128  # tokens of a row of the collator
ROWS_TOTAL = 1 << 21  # tokens that the collator is given in a round
MASKED, CLOSE = 0.15, 0.01
"""The share of ordinary tokens that is masked, and by how much it may differ."""
SAMPLE = 64
"""Batches that it is counted in."""

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
    aim = MaskedObjective(
        vocabulary=vocabulary,
        masking=Masking(whole_word=whole_word),
        pair="nsp" if form == "pairs" else None,
    )
    documents = np.arange(store.documents_total)

    def batches() -> Iterator[tuple[Step, Batch]]:
        source = Source(store=store, documents=documents, planner=PLANNERS[form])
        stream = Stream(
            sources=[source], vocabulary=vocabulary, seed=0, length=length, tokens=BATCH
        )
        for step in stream.run():
            yield step, aim.corrupt(step.packed, step.rng)

    def run() -> tuple[int, int]:
        """Give the tokens and the batches."""
        tokens = 0
        for step, batch in batches():
            tokens += len(batch.tokens.ids)
            if step.state["places"][0][0] > 0:  # the second epoch has begun
                return tokens, step.number + 1
        raise AssertionError("a stream has no end")

    def answers() -> Answers:
        masked = ordinary = 0
        for step, batch in islice(batches(), SAMPLE):
            masked += len(batch.labels)
            ordinary += int((~np.isin(step.packed.ids, vocabulary.special)).sum())
        return {"masked": np.array(masked / ordinary)}

    tokens, steps = run()
    used = {"budget_used": tokens / (steps * BATCH)}
    return Job(round=run, tokens=tokens, answers=answers, facts=used)


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

    def batches() -> Iterator[Mapping[str, torch.Tensor]]:
        step = BATCH // ROWS
        for first in range(0, len(examples), step):
            yield collate(examples[first : first + step])

    def run() -> None:
        for _ in batches():
            pass

    def answers() -> Answers:
        labels = [batch["labels"] for batch in islice(batches(), SAMPLE)]
        masked = sum(int((one != -100).sum()) for one in labels)
        ordinary = sum(one.numel() // ROWS * (ROWS - 2) for one in labels)
        return {"masked": np.array(masked / ordinary)}

    return Job(round=run, tokens=ids.size, answers=answers)


def compared(found: Mapping[str, Answers]) -> dict[str, str]:
    """See who masks another share of the tokens."""
    shares = {name: float(answers["masked"]) for name, answers in found.items()}
    return {
        name: f"masks {share:.2%} of the tokens"
        for name, share in shares.items()
        if abs(share - MASKED) > CLOSE
    }


def main() -> None:
    """Let the contestants take turns, on one thread each."""
    options = filing.options(__doc__).parse_args()
    content = {"tokens": novels().tokens_total, "batch_tokens": BATCH}

    def file(turns: Turns) -> None:
        filing.write("stream", content | turns.told(), options.out)

    turns = take_turns(CONTESTANTS, options.rounds, 1, compared, file)
    file(turns)
    for name, one in turns.told()["contestants"].items():
        used = f", {one['budget_used']:.1%} of the budget used" if "budget_used" in one else ""
        print(f"{name}: {one['tokens_per_second'] / 1e6:.1f} M tokens/s{used}")
    finish(turns.failed)


if __name__ == "__main__":
    main()
