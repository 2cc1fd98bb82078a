"""The text of a run: its stores, what of them is held out, and the batches made of the rest."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from unmask.data.draws import address
from unmask.data.examples import Planner, split_documents
from unmask.data.masking import Vocabulary
from unmask.data.pairs import plan_pairs
from unmask.data.singles import plan_singles
from unmask.data.store import Store
from unmask.data.stream import Source, Stream
from unmask.errors import UserError
from unmask.objectives.masked import MaskedObjective
from unmask.text.tokenizer import Tokenizer
from unmask.train import settings
from unmask.train.batches import Sizes, StepData
from unmask.train.evaluate import Heldout
from unmask.train.parallel import World
from unmask.train.recipe import Recipe

FRACTION = "0.005"
"""Of the documents, held out where nothing else is said."""
PLANNERS: Mapping[str, Planner] = {"pairs": plan_pairs, "singles": plan_singles}


class Corpus:
    """Stores opened and split, and everything that a batch depends on."""

    def __init__(
        self, stores: Sequence[str], heldout: str | None, recipe: Recipe, seed: int
    ) -> None:
        """Open the stores, each `PATH` or `PATH=WEIGHT`, and hold documents out.

        Raises UserError for a damaged store, a bad weight or fraction, or several tokenizers.
        """
        self.recipe, self.seed = recipe, seed
        named = [_weighed(store) for store in stores]
        opened = [(Store.open(path), weight) for path, weight in named]
        self.tokenizer = Tokenizer.load(opened[0][0].tokenizer)
        for (path, _), (store, _) in zip(named, opened, strict=True):
            self._check_tokenizer(store, path)
        self.sources = [
            settings.Source(path=path, weight=weight, fingerprint=store.fingerprint)
            for (path, weight), (store, _) in zip(named, opened, strict=True)
        ]
        self.heldout_name = heldout or FRACTION
        self.heldout_fingerprint: str | None = None
        fraction = _fraction(self.heldout_name)
        if fraction is None:
            store = Store.open(self.heldout_name)
            self._check_tokenizer(store, self.heldout_name)
            self.heldout_fingerprint = store.fingerprint
            self._train = [_whole(store, weight) for store, weight in opened]
            self._held = [_whole(store, 1.0)]
        else:
            parts = [split_documents(store.documents_total, fraction, 0) for store, _ in opened]
            self._train = [
                Source(store=store, documents=train, weight=weight)
                for (store, weight), (train, _) in zip(opened, parts, strict=True)
            ]
            self._held = [
                Source(store=store, documents=held)
                for (store, _), (_, held) in zip(opened, parts, strict=True)
            ]
        self.vocabulary = Vocabulary.of(self.tokenizer)
        self.objective = MaskedObjective(vocabulary=self.vocabulary, masking=recipe.masking)

    @property
    def tokens(self) -> int:
        """How many tokens there are to train on."""
        total = 0
        for source in self._train:
            store, ends = source.store, source.documents + 1
            first = store.sentence_starts[store.document_starts[source.documents]]
            total += int((store.sentence_starts[store.document_starts[ends]] - first).sum())
        return total

    def verify(self) -> None:
        """Compare all files of the stores with their checksums; UserError names a damaged one."""
        for source in [*self._train, *self._held]:
            source.store.verify()

    def steps(self, phase: int, state: Mapping[str, Any], ranks: World) -> Iterator[StepData]:
        """Give this rank's data of the steps of a phase, from a state of its stream on."""
        setting = self.recipe.data.phases[phase]
        sizes = Sizes.of(self.recipe.data, setting, ranks.size)
        stream = self._stream(self._train, sizes, setting.length, int(address(self.seed, phase)))
        batches = stream.run(state or None, ranks.rank, ranks.size)
        while True:
            micro = list(islice(batches, sizes.accumulate))
            made = [self.objective.corrupt(one.packed, one.rng) for one in micro]
            yield StepData(
                batches=made,
                counts={name: sum(one.counts[name] for one in made) for name in made[0].counts},
                tokens=sum(one.tokens for one in micro),
                state=micro[-1].state,
            )

    def heldout(self) -> Heldout:
        """Make the held-out batches: the same for every run with this text, seed or settings."""
        data = self.recipe.data
        length = data.phases[0].length
        sizes = Sizes(accumulate=1, tokens=max(data.micro_tokens, length), sequences=None)
        stream = self._stream(self._held, sizes, length, seed=0)
        batches, tokens = [], 0
        for step in stream.once():
            batches.append(self.objective.corrupt(step.packed, step.rng))
            tokens += step.packed.ids.size
            if tokens >= self.recipe.watch.heldout_tokens:
                break
        if not batches:
            raise UserError(f"--heldout {self.heldout_name}: too little text for one example")
        unigrams = np.sum([source.store.unigrams for source in self._train], axis=0)
        return Heldout(batches, unigrams)

    def _stream(self, sources: Sequence[Source], sizes: Sizes, length: int, seed: int) -> Stream:
        return Stream(
            sources=sources,
            planner=PLANNERS[self.recipe.data.form],
            vocabulary=self.vocabulary,
            seed=seed,
            length=length,
            tokens=sizes.tokens,
            sequences=sizes.sequences,
        )

    def _check_tokenizer(self, store: Store, name: str) -> None:
        if Tokenizer.load(store.tokenizer).fingerprint != self.tokenizer.fingerprint:
            raise UserError(
                f"{name}: made with another tokenizer than the run's first store;"
                " prepare all stores of a run with the same one"
            )


def _whole(store: Store, weight: float) -> Source:
    return Source(store=store, documents=np.arange(store.documents_total), weight=weight)


def _weighed(name: str) -> tuple[str, float]:
    """Split `PATH=WEIGHT`; the weight is 1 where none is given."""
    path, mark, weight = name.rpartition("=")
    if not mark:
        return name, 1.0
    try:
        value = float(weight)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UserError(f"{name}: the weight {weight!r} is no number above 0; write STORE=WEIGHT")
    return path, value


def _fraction(name: str) -> float | None:
    """Read a fraction; None where it is no number and so names a store."""
    try:
        fraction = float(name)
    except ValueError:
        return None
    if not 0 < fraction < 1:
        raise UserError(f"--heldout {name}: a fraction is between 0 and 1")
    return fraction
