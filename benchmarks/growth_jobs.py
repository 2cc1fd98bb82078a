"""The works whose growth is measured: contestants of `growth.py`, and a reader of whole stores."""

import json
import sys
import time
from collections import deque
from itertools import islice
from pathlib import Path

import numpy as np
import torch

import training_data
from job import Job
from training_ours import unmask
from unmask.contracts import Batch
from unmask.data.masking import Masking, Vocabulary, mask
from unmask.data.pairs import plan_pairs
from unmask.data.store import Store
from unmask.data.stream import Source, Stream
from unmask.exchange import huggingface
from unmask.lanes import lanes, side_by_side
from unmask.model.prepacked import prepacked
from unmask.text.tokenizer import Tokenizer
from unmask.train.recipe import load_recipe

BATCHES = 1_000
"""That are read of a store, of 4,096 tokens each."""


def sized(length: int, tokens: int) -> list[str]:
    """Give settings of steps of two micro-batches, each of `tokens` in sequences of `length`."""
    return [
        f"data.phases=[{{length={length}, share=1.0}}]",
        f"data.batch_tokens={2 * tokens}",
        f"data.micro_tokens={tokens}",
    ]


def train(recipe: str, model: str, length: int, tokens: int, count: int) -> Job:
    """Take steps with AdamW."""
    sets = ["optimizer.algorithm='adamw'", *sized(length, tokens)]
    return unmask(recipe, model, count, [], 1e-5, sets)


def read(recipe: str, model: str, length: int, tokens: int, count: int) -> Job:
    """Run the encoder on the same batches as `Model.embed` does: packed, a batch on each core."""
    wanted = load_recipe(recipe, sets=sized(length, tokens))
    network = prepacked(huggingface.read(model, "pretraining").network.eval(), torch.bfloat16)
    taken = training_data.steps(training_data.corpus(wanted), count)
    batches = [batch for step in taken for batch in step.batches if isinstance(batch, Batch)]
    at_once = lanes(len(batches), torch.device("cpu"))

    def encode(batch: Batch) -> torch.Tensor:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            return network.encoder(batch.tokens)

    def run() -> None:
        deque(side_by_side(at_once, encode, batches), maxlen=0)

    return Job(round=run, tokens=training_data.tokens(taken))


def stream(folder: Path) -> dict[str, float]:
    """Plan an epoch of a store and read its first batches."""
    begin = time.perf_counter()
    store = Store.open(folder)
    vocabulary = Vocabulary.of(Tokenizer.load(store.tokenizer))
    documents = np.arange(store.documents_total)
    source = Source(store=store, documents=documents, planner=plan_pairs)
    steps = Stream(sources=[source], vocabulary=vocabulary, seed=0, length=128, tokens=4096).run()
    next(steps)
    first = time.perf_counter() - begin
    for step in islice(steps, BATCHES):
        mask(step.packed.ids, step.packed.cu_seqlens, vocabulary, Masking(), step.rng)
    rest = time.perf_counter() - begin - first
    return {"first_batch": first, "batches": rest, "tokens": store.tokens_total}


if __name__ == "__main__":
    print(json.dumps(stream(Path(sys.argv[1]))))
