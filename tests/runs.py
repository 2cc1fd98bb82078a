"""A small corpus and the settings of runs that take a second or two."""

import random
from pathlib import Path

import tiny
from unmask.data.writing import ShardWriter, finish

SETS = [
    "model.width=16",
    "model.layers=2",
    "model.heads=2",
    "model.inner=32",
    "model.positions=64",
    "dropout=0.1",
    "data.batch_tokens=512",
    "data.micro_tokens=256",
    "data.phases=[{length=32, share=0.5}, {length=48, share=0.5}]",
    "watch.evaluations=2",
    "watch.heldout_tokens=1024",
    "watch.checkpoint_seconds=0",
    "watch.keep=3",
]
"""For a recipe: a tiny model with dropout, two micro-batches a step, a checkpoint every step."""


def make_store(folder: Path, seed: int = 0, documents: int = 40) -> Path:
    """Write a store of random documents of the tiny tokenizer's sentences."""
    rng = random.Random(seed)
    words = tiny.tokenizer()
    words.save(folder.with_name(folder.name + "-tokenizer"))
    writer = ShardWriter(folder, "shard-00000", words.vocab_size)
    for _ in range(documents):
        writer.add(words.encode_batch(rng.choices(tiny.SENTENCES, k=rng.randint(2, 12))))
    finish(
        folder,
        [writer.close()],
        tokenizer=folder.with_name(folder.name + "-tokenizer"),
        tokenizer_fingerprint=words.fingerprint,
        vocab_size=words.vocab_size,
    )
    return folder
