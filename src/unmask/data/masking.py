"""Choosing tokens that a model is to predict, and hiding them.

Which and how is BERT's: Devlin et al. 2019, section 3.1; runs of words are ALBERT's (Lan et al.
2020, section 4.1) and XLNet's. T tokens laid end to end, N of them ordinary, B sequences, M chosen
tokens, V entries of the vocabulary.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from unmask.data.chains import reached
from unmask.errors import UserError
from unmask.text.template import Frame, Template
from unmask.text.tokenizer import Tokenizer

HIDDEN, REPLACED = 0.8, 0.1
"""Shares of the chosen tokens that become [MASK], and a random token; the others stay."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Masking:
    """Which tokens are hidden."""

    probability: float = 0.15
    """Share of the ordinary tokens of each sequence that is chosen."""
    whole_word: bool = False
    """Choose all pieces of a word or none."""
    longest: int = 1
    """Choose runs of up to so many neighbours, words or tokens; one of n is drawn as 1/n."""

    def __post_init__(self) -> None:
        """Refuse a share that is none, and runs of nothing."""
        if not 0 < self.probability <= 1:
            raise UserError(
                f"masking.probability is {self.probability}; it must be above 0 and at most 1"
            )
        if self.longest < 1:
            raise UserError(f"masking.longest is {self.longest}; a run has at least 1 neighbour")


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """What making batches has to know of a tokenizer."""

    ids: Mapping[str, int]
    """The ids of special tokens by their roles: `cls`, `sep`, `mask` and the like."""
    template: Template
    """How sequences are laid out."""
    special: np.ndarray
    """Ids of all special tokens, in any order."""
    continues: np.ndarray
    """(V,) bool, the pieces that continue a word; with `forward`, that are continued."""
    forward: bool = False
    """Whether pieces tell that the next one continues their word."""

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "Vocabulary":
        """Take it from a tokenizer."""
        return cls(
            ids=tokenizer.ids,
            template=tokenizer.template,
            special=tokenizer.special,
            continues=tokenizer.continues,
            forward=tokenizer.forward,
        )

    @cached_property
    def frames(self) -> tuple[Frame, Frame]:
        """What stands around one text, and around two."""
        return self.template.frame(1, self.ids), self.template.frame(2, self.ids)

    @property
    def mask(self) -> int:
        """Id of the mask. Raises UserError where there is none."""
        if "mask" not in self.ids:
            raise UserError("the vocabulary has no mask token; take one that has, to learn by them")
        return self.ids["mask"]

    @cached_property
    def is_ordinary(self) -> np.ndarray:
        """(V,) bool, the tokens that are not special."""
        flags = np.ones(self.continues.size, dtype=bool)
        flags[self.special] = False
        return flags

    @cached_property
    def ordinary(self) -> np.ndarray:
        """The ids of all tokens that are not special, ascending."""
        return np.flatnonzero(self.is_ordinary)


@dataclass(frozen=True, slots=True)
class Masked:
    """A batch with hidden tokens."""

    ids: np.ndarray
    """(T,) int64, what the model sees."""
    rows: np.ndarray
    """(M,) int64, the chosen tokens, ascending."""
    labels: np.ndarray
    """(M,) int64, what they were."""


def chosen_count(ordinary: np.ndarray, masking: Masking) -> np.ndarray:
    """How many tokens of a sequence are to be chosen: (B,) ordinary ones of each -> (B,) int64.

    At least one, where there is one. Whole words, and runs, come as near to it as they can.
    """
    wanted = np.maximum(1, np.rint(masking.probability * ordinary)).astype(np.int64)
    return np.asarray(np.minimum(wanted, ordinary))


def choose(
    ids: np.ndarray,
    cu_seqlens: np.ndarray,
    vocabulary: Vocabulary,
    masking: Masking,
    rng: np.random.Generator,
    allowed: np.ndarray | None = None,
) -> np.ndarray:
    """Choose tokens of each sequence, never special ones: -> (M,) rows, ascending.

    ids: (T,); cu_seqlens: (B + 1,), where sequences start; allowed: (T,) bool, tokens that may be
    chosen; None: all.
    """
    may = vocabulary.is_ordinary[ids]
    ordinary = np.flatnonzero(may if allowed is None else may & allowed)  # (N,)
    bounds = np.searchsorted(ordinary, cu_seqlens)  # (B + 1,), where sequences start among these
    wanted = chosen_count(np.diff(bounds), masking)  # (B,)
    if not masking.whole_word and masking.longest == 1:
        return np.sort(ordinary[_choose(bounds, wanted, rng)])
    units = np.arange(ordinary.size)  # (N,), which word, or run of words, each token is in
    if masking.whole_word:
        continues = vocabulary.continues[ids[ordinary]]
        if vocabulary.forward:
            continues = np.append(False, continues)[:-1]
        units = _words(ordinary, bounds, continues)
    if masking.longest > 1:
        units = _runs(units, ordinary, bounds, masking.longest, rng)
    return np.asarray(ordinary[_choose_units(units, bounds, wanted, rng)])


def mask(
    ids: np.ndarray,
    cu_seqlens: np.ndarray,
    vocabulary: Vocabulary,
    masking: Masking,
    rng: np.random.Generator,
) -> Masked:
    """Choose tokens of each sequence and hide most of them.

    ids: (T,); cu_seqlens: (B + 1,), where sequences start. Most of the chosen tokens become [MASK],
    some a random token, any of the vocabulary but the special ones, and some stay as they are.
    """
    rows = choose(ids, cu_seqlens, vocabulary, masking, rng)
    labels = ids[rows]
    fate = rng.random(rows.size)
    replaced = (fate >= HIDDEN) & (fate < HIDDEN + REPLACED)
    seen = ids.copy()
    seen[rows[fate < HIDDEN]] = vocabulary.mask
    anything = rng.integers(vocabulary.ordinary.size, size=np.count_nonzero(replaced))
    seen[rows[replaced]] = vocabulary.ordinary[anything]
    return Masked(seen, rows, labels)


def _choose(bounds: np.ndarray, wanted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Choose exactly `wanted[b]` of the items from `bounds[b]` up to `bounds[b + 1]`.

    The items of each sequence are brought into a random order; the first ones are chosen.
    """
    sizes = np.diff(bounds)
    order = np.argsort(np.repeat(np.arange(sizes.size), sizes) + rng.random(bounds[-1]))
    place = np.arange(bounds[-1]) - np.repeat(bounds[:-1], sizes)
    return np.asarray(order[place < np.repeat(wanted, sizes)])


def _words(ordinary: np.ndarray, bounds: np.ndarray, continues: np.ndarray) -> np.ndarray:
    """Number the words: (N,) ordinary tokens -> (N,) the word of each.

    A piece that continues a word belongs to it only when it stands right behind it.
    """
    begins = ~continues
    begins[bounds[:-1][bounds[:-1] < begins.size]] = True
    begins[1:] |= np.diff(ordinary) > 1
    return np.cumsum(begins) - 1


def _runs(
    units: np.ndarray,
    ordinary: np.ndarray,
    bounds: np.ndarray,
    longest: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Cut units into runs of random length: (N,) the unit of each token -> (N,) its run.

    Each run is as long as if it were drawn by itself, so any choice among them has the lengths of
    the law. A special token ends a run.
    """
    starts = np.flatnonzero(np.diff(units, prepend=-1))  # (units,)
    share = np.cumsum(1 / np.arange(1, longest + 1))
    size = 1 + np.searchsorted(share[:-1], rng.random(starts.size) * share[-1], side="right")
    apart = np.diff(ordinary, prepend=-2)[starts] > 1
    apart |= np.isin(starts, bounds[:-1])
    first = np.flatnonzero(apart)  # of the units that nothing separates
    stop = np.append(first, starts.size)[np.searchsorted(first, np.arange(starts.size), "right")]
    runs = np.zeros(units.size, dtype=np.int64)
    runs[starts[reached(first, np.arange(starts.size) + size, stop)]] = 1
    return np.cumsum(runs) - 1


def _choose_units(
    units: np.ndarray, bounds: np.ndarray, wanted: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Choose whole units of each sequence, in random order, to make about `wanted` tokens."""
    starts = np.flatnonzero(np.diff(units, prepend=-1))  # (units,)
    sizes = np.diff(starts, append=units.size)
    sequence = np.searchsorted(bounds, starts, side="right") - 1
    order = np.argsort(sequence + rng.random(starts.size))
    before = np.cumsum(sizes[order]) - sizes[order]  # tokens of the units that come earlier
    before -= bounds[sequence[order]]
    nearer = before + (sizes[order] - 1) // 2 < wanted[sequence[order]]
    taken = np.zeros(starts.size, dtype=bool)
    taken[order[nearer | (before == 0)]] = True
    return np.flatnonzero(taken[units])
