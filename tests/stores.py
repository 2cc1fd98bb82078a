"""Token stores made on the spot, on disk or in memory."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unmask.data.masking import Vocabulary
from unmask.data.store import Shards, Store
from unmask.data.writing import ShardWriter, finish
from unmask.text.template import BERT, Template

Documents = Sequence[Sequence[Sequence[int]]]

FIRST = 5
"""The ids before it are special, in the order [PAD] [UNK] [CLS] [SEP] [MASK]."""


def memory(shape: Sequence[Sequence[int]], first: int = 0) -> Store:
    """Make a store of documents of sentences of the given sizes; token i has the id first + i."""
    sizes = [size for sentences in shape for size in sentences]
    return Store(
        path=Path("memory"),
        manifest={"tokens": sum(sizes), "documents": len(shape), "sentences": len(sizes)},
        shards=Shards([first + np.arange(sum(sizes), dtype=np.uint32)]),
        sentence_starts=np.cumsum([0, *sizes]),
        document_starts=np.cumsum([0, *map(len, shape)]),
        unigrams=np.zeros(0, dtype=np.int64),
    )


def write(folder: Path, documents: Documents, vocab_size: int = 30_000, shards: int = 1) -> Store:
    """Write documents of sentences of ids, the same number of documents to each shard."""
    tokenizer = folder / "made-of"
    tokenizer.mkdir(parents=True)
    (tokenizer / "vocab.txt").write_text("[PAD]\n", "utf-8")
    infos = []
    for number, part in enumerate(np.array_split(np.arange(len(documents)), shards)):
        writer = ShardWriter(folder / "store", f"shard-{number:05d}", vocab_size)
        for index in part:
            writer.add(documents[index])
        infos.append(writer.close())
    return finish(
        folder / "store",
        infos,
        tokenizer=tokenizer,
        tokenizer_fingerprint="tiny",
        vocab_size=vocab_size,
    )


def shape(seed: int, documents: int, sentences: int, tokens: int) -> list[list[int]]:
    """Draw sizes: so many documents of 1 to `sentences` sentences of 1 to `tokens` tokens."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, sentences + 1, documents)
    return [rng.integers(1, tokens + 1, count).tolist() for count in counts]


def vocabulary(
    size: int = 30_000, continues: Sequence[int] = (), template: Template = BERT
) -> Vocabulary:
    """Make the vocabulary of these stores; `continues`: the ids of pieces that continue a word."""
    flags = np.zeros(size, dtype=bool)
    flags[list(continues)] = True
    ids = {"cls": 2, "sep": 3, "mask": 4}
    return Vocabulary(ids=ids, template=template, special=np.arange(FIRST), continues=flags)
