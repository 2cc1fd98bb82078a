"""A token store from inside: how much it holds, of what, and what training makes of it.

n lengths, D documents, S sentences.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from unmask import console
from unmask.data.examples import Plan, gather
from unmask.data.masking import Vocabulary
from unmask.data.packing import Packed
from unmask.data.pairs import plan_pairs
from unmask.data.singles import plan_singles
from unmask.data.store import Store
from unmask.data.translations import plan_translations
from unmask.inspect.masking import RULE, Chosen, choose, plain_table, tabulate
from unmask.text.tokenizer import Tokenizer

FREQUENT = 20
"""Tokens that are listed, the most frequent ones."""

LENGTHS = 1_000_000
"""Lengths that are looked at, evenly over a store that has more."""

DOCUMENTS = 1_000
"""Documents that the samples come from, evenly over a store that has more."""

LONGEST = 64
"""Tokens of a sample: training takes longer ones, which are harder to read."""

LARGE = 1_000_000_000
"""Bytes whose reading is announced, because it takes a while."""

QUANTILES = {"5 %": 0.05, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "95 %": 0.95}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A sequence that training could see."""

    kind: str
    """What it is."""
    tokens: Sequence[str]
    """Its pieces."""
    segments: Sequence[int]
    """0 for text A, 1 for text B."""
    masked: Sequence[Chosen]
    """The tokens that masking chose."""

    def lines(self, masked: bool) -> Table:
        """Show the sequence, a segment a line: as it is, or as the model sees it."""
        table = Table.grid(padding=(0, 2))
        tokens = list(self.tokens)
        for one in self.masked if masked else ():
            tokens[one.position] = one.seen
        for segment in sorted(set(self.segments)):
            part = [token for token, of in zip(tokens, self.segments, strict=True) if of == segment]
            table.add_row(f"  segment {segment}", Text(" ".join(part)))
        return table


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreView:
    """A store with all that is shown of it."""

    store: str
    """Its folder."""
    counts: dict[str, Any]
    """Documents, sentences, tokens, entries of the vocabulary, bytes on disk, and the like."""
    lengths: dict[str, dict[str, float]]
    """Quantiles of tokens a sentence and a document, and of sentences a document."""
    frequent: Sequence[dict[str, Any]]
    """The most frequent tokens, with their counts and shares."""
    samples: Sequence[Sample]
    """A pair of each kind; a single text where the store has but one document."""

    def to_json(self) -> dict[str, Any]:
        """Give what `--json` prints."""
        content = asdict(self)
        return {"store": content.pop("store"), **content.pop("counts"), **content}

    def __rich__(self) -> Group:
        """Show figures, then samples."""
        counts = Table.grid(padding=(0, 3))
        for name, value in self.counts.items():
            counts.add_row(name, _said(value))
        parts: list[RenderableType] = [Text(self.store, style="bold"), counts, Text()]
        parts += [self._lengths(), Text(), self._frequent()]
        for sample in self.samples:
            parts += [Text(), Text(sample.kind, style="bold"), sample.lines(masked=False)]
        first = self.samples[0]
        parts += [Text(), Text("the first one, masked", style="bold"), first.lines(masked=True)]
        parts += [Text(), tabulate(first.masked), Text(), Text(RULE, style="dim")]
        return Group(*parts)

    def _lengths(self) -> Table:
        names = list(next(iter(self.lengths.values())))
        table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 3, 0, 0))
        table.add_column("lengths")
        for name in names:
            table.add_column(name, justify="right")
        for what, found in self.lengths.items():
            table.add_row(what, *(f"{found[name]:,.0f}" for name in names))
        return table

    def _frequent(self) -> Table:
        table = plain_table("count", "share", "frequent token")
        for one in self.frequent:
            table.add_row(f"{one['count']:,}", f"{one['share']:.1%}", one["token"])
        return table


def view_store(path: Path, seed: int) -> StoreView:
    """Describe a store, after comparing all its checksums. Raises UserError for a damaged one."""
    store = Store.open(path)
    manifest = store.manifest
    files = manifest["files"].values()
    size = sum(file["size"] for file in files)
    if size > LARGE:
        console.words().print(f"reading {size / 1e9:,.1f} GB to compare checksums")
    tokenizer = Tokenizer.load(store.verify().tokenizer)
    counts = {name: manifest[name] for name in ("documents", "sentences", "tokens", "vocab_size")}
    counts |= {
        "dtype": manifest["dtype"],
        "bytes": size,
        "shards": len(manifest["shards"]),
        "checksums": f"all {len(files)} files are as they were written",
        "fingerprint": store.fingerprint,
        "tokenizer": manifest["tokenizer"],
        "settings": dict(manifest["settings"]),
    }
    return StoreView(
        store=str(path),
        counts=counts,
        lengths=_lengths(store),
        frequent=_frequent(store, tokenizer),
        samples=_samples(store, tokenizer, seed),
    )


def _lengths(store: Store) -> dict[str, dict[str, float]]:
    sentence, document = store.sentence_starts, store.document_starts
    some_sentences = _spread(store.sentences_total, LENGTHS)
    some_documents = _spread(store.documents_total, LENGTHS)
    first, behind = document[some_documents], document[some_documents + 1]
    return {
        "tokens a sentence": _summary(sentence[some_sentences + 1] - sentence[some_sentences]),
        "sentences a document": _summary(behind - first),
        "tokens a document": _summary(sentence[behind] - sentence[first]),
    }


def _summary(lengths: np.ndarray) -> dict[str, float]:
    """Describe lengths (n,) by their extremes, quantiles and mean."""
    quantiles = np.quantile(lengths, list(QUANTILES.values()), method="nearest").tolist()
    return {
        "least": int(lengths.min()),
        **dict(zip(QUANTILES, quantiles, strict=True)),
        "most": int(lengths.max()),
        "mean": float(lengths.mean()),
    }


def _frequent(store: Store, tokenizer: Tokenizer) -> list[dict[str, Any]]:
    counts = store.unigrams[:]
    most = np.argsort(-counts, kind="stable")[:FREQUENT]
    most = most[counts[most] > 0]
    return [
        {"token": token, "id": number, "count": count, "share": count / store.tokens_total}
        for token, number, count in zip(
            tokenizer.tokens(most.tolist()), most.tolist(), counts[most].tolist(), strict=True
        )
    ]


def _samples(store: Store, tokenizer: Tokenizer, seed: int) -> list[Sample]:
    """Draw a pair of each kind; of translations one, and a single text from a lone document."""
    documents = _spread(store.documents_total, DOCUMENTS)
    vocabulary, layout = Vocabulary.of(tokenizer), tokenizer.template
    planner, kind = plan_pairs, ""
    if len(store.languages) > 1:
        planner, kind = plan_translations, "a text and its translation"
    elif store.documents_total == 1:
        planner, kind = plan_singles, "a single text; pairs need a second document"
    plan = planner(store, documents, seed=seed, epoch=0, length=LONGEST, template=layout)
    if plan.labels is None:
        packed = gather(store, plan, np.array([0]), vocabulary)
        return [_sample(packed, tokenizer, kind, seed)]
    samples = []
    for label, kind in enumerate(("a pair where B follows A", "a pair where B is from elsewhere")):
        row = _any(plan, label, seed)
        if row is not None:
            packed = gather(store, plan, np.array([row]), vocabulary)
            samples.append(_sample(packed, tokenizer, kind, seed))
    return samples


def _any(plan: Plan, label: int, seed: int) -> int | None:
    """Pick an example of a kind; None where the plan has none."""
    assert plan.labels is not None, "the plan is one of pairs"
    rows = np.flatnonzero(plan.labels == label)
    return int(np.random.default_rng(seed).choice(rows)) if rows.size else None


def _sample(packed: Packed, tokenizer: Tokenizer, kind: str, seed: int) -> Sample:
    ids = packed.ids.tolist()
    segments = [0] * len(ids) if packed.segments is None else packed.segments.tolist()
    return Sample(
        kind=kind,
        tokens=tokenizer.tokens(ids),
        segments=segments,
        masked=choose(ids, tokenizer, seed),
    )


def _said(value: Any) -> str:
    """Write a figure, a word, or settings."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {inner}" for name, inner in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)


def _spread(count: int, most: int) -> np.ndarray:
    """Take at most so many of 0, ..., count - 1, evenly: (n,) int64, ascending."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))
