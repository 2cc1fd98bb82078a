"""The text of a run: its stores, what of them is held out, and the batches made of the rest."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from unmask.contracts import Batch, Objective
from unmask.data.draws import address
from unmask.data.examples import Planner, split_documents
from unmask.data.masking import Vocabulary
from unmask.data.pairs import plan_ordered, plan_pairs
from unmask.data.singles import plan_singles
from unmask.data.store import Store
from unmask.data.stream import Source, Stream
from unmask.data.translations import plan_translations
from unmask.errors import UserError
from unmask.text.template import Template
from unmask.text.tokenizer import Tokenizer
from unmask.train import settings
from unmask.train.aims import objective_of
from unmask.train.batches import Sizes, StepData
from unmask.train.evaluate import Heldout
from unmask.train.parallel import World
from unmask.train.recipe import Recipe

FRACTION = "0.005"
"""Of the documents, held out where nothing else is said."""
PLANNERS: Mapping[str, Planner] = {
    "pairs": plan_pairs,
    "ordered": plan_ordered,
    "singles": plan_singles,
}


class Corpus:
    """Stores opened and split, and everything that a batch depends on."""

    def __init__(
        self,
        stores: Sequence[str],
        heldout: str | None,
        recipe: Recipe,
        template: Template,
        seed: int,
        objective: Callable[[Recipe, Vocabulary], Objective] = objective_of,
    ) -> None:
        """Open the stores, each `PATH` or `PATH=WEIGHT`, and hold documents out.

        template: how sequences are laid out. objective: makes what is to be learned. Raises
        UserError for a damaged store, a bad weight or fraction, several tokenizers, or one that the
        template or the recipe cannot be done with.
        """
        self.recipe, self.seed = recipe, seed
        named = [_weighed(store) for store in stores]
        found = [Store.open(path) for path, _ in named]
        self.tokenizer = Tokenizer.load(found[0].tokenizer).with_template(template)
        for (path, _), store in zip(named, found, strict=True):
            self._check_tokenizer(store, path)
        told = {bool(store.languages) for store in found}
        if len(told) > 1:
            raise UserError(
                "some stores were prepared with --language, and some without:"
                f" {', '.join(path for path, _ in named)}; prepare all of them with it"
            )
        opened = list(zip(found, _weights(named, found, recipe.data.exponent), strict=True))
        self.sources = [
            settings.Source(path=path, weight=weight, fingerprint=store.fingerprint)
            for (path, _), (store, weight) in zip(named, opened, strict=True)
        ]
        self.heldout_name = heldout or FRACTION
        self.heldout_fingerprint: str | None = None
        fraction = _fraction(self.heldout_name)
        if fraction is None:
            store = Store.open(self.heldout_name)
            self._check_tokenizer(store, self.heldout_name)
            self.heldout_fingerprint = store.fingerprint
            self._train = [
                self._source(store, np.arange(store.documents_total), weight)
                for store, weight in opened
            ]
            self._held = [self._source(store, np.arange(store.documents_total))]
        else:
            parts = [split_documents(store.documents_total, fraction, 0) for store, _ in opened]
            self._train = [
                self._source(store, train, weight)
                for (store, weight), (train, _) in zip(opened, parts, strict=True)
            ]
            self._held = [
                self._source(store, held)
                for (store, _), (_, held) in zip(opened, parts, strict=True)
            ]
        self.vocabulary = Vocabulary.of(self.tokenizer)
        self.objective = objective(recipe, self.vocabulary)

    def _source(self, store: Store, documents: np.ndarray, weight: float = 1.0) -> Source:
        """Say how documents of a store are read: translations as such, others as the recipe has it.

        Raises UserError for translations where the recipe asks about pairs, or masks nothing.
        """
        languages, form, known = store.languages, self.recipe.data.form, self.tokenizer.languages
        if len(languages) > 1 and (form != "singles" or self.recipe.objective != "masked"):
            raise UserError(
                f"{store.path} holds translations, which take data.form = 'singles' and objective ="
                f" 'masked', not {form!r} and {self.recipe.objective!r}"
            )
        return Source(
            store=store,
            documents=documents,
            planner=plan_translations if len(languages) > 1 else PLANNERS[form],
            weight=weight,
            languages=[known[name] for name in languages] if known else [],
        )

    @property
    def languages(self) -> list[str]:
        """Languages that the tokens of the first store are told; empty where they are not."""
        return self._train[0].store.languages if self._train[0].languages else []

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

    def steps(
        self, phase: int, state: Mapping[str, Any], ranks: World, full: bool = False
    ) -> Iterator[StepData]:
        """Give this rank's data of the steps of a phase, from a state of its stream on.

        full: complete each batch to its whole budget of tokens, for compiled code.
        """
        setting = self.recipe.data.phases[phase]
        sizes = Sizes.of(self.recipe.data, setting, ranks.size)
        stream = self._stream(self._train, sizes, setting.length, int(address(self.seed, phase)))
        batches = stream.run(state or None, ranks.rank, ranks.size)
        while True:
            micro = list(islice(batches, sizes.accumulate))
            made = [self.objective.corrupt(one.packed, one.rng) for one in micro]
            if full:
                made = [one.filled(sizes.tokens) for one in made]
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
        return Heldout(batches, self._with_special(unigrams, batches))

    def _with_special(self, unigrams: np.ndarray, batches: Sequence[Batch]) -> np.ndarray:
        """Count special tokens, which stores do not hold, as often as they are to be predicted."""
        labels = np.concatenate([batch.labels.numpy() for batch in batches])
        counts = np.bincount(labels[labels >= 0], minlength=len(unigrams))
        special = np.zeros(len(unigrams), dtype=bool)
        special[self.vocabulary.special] = True
        ordinary = max(1, counts[~special].sum())
        share = np.rint(counts * (unigrams.sum() / ordinary)).astype(np.int64)
        return np.where(special, share, unigrams)

    def _stream(self, sources: Sequence[Source], sizes: Sizes, length: int, seed: int) -> Stream:
        return Stream(
            sources=sources,
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


def _weights(
    named: Sequence[tuple[str, float | None]], stores: Sequence[Store], exponent: float | None
) -> list[float]:
    """Weigh stores: those without a weight by their tokens to a power, on average 1."""
    powers = np.array([float(store.tokens_total) for store in stores]) ** (exponent or 0.0)
    free = np.array([weight is None for _, weight in named])
    mean = powers[free].mean() if free.any() else 1.0
    return [
        float(power / mean) if weight is None else weight
        for (_, weight), power in zip(named, powers, strict=True)
    ]


def _weighed(name: str) -> tuple[str, float | None]:
    """Split `PATH=WEIGHT`; None where no weight is given."""
    path, mark, weight = name.rpartition("=")
    if not mark:
        return name, None
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
