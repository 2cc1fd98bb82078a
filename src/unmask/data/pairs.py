"""Sentence pairs: does B follow A, or is it from elsewhere? Or do they stand in the right order?

Next sentence prediction (Devlin et al. 2019, section 3.1), new pairs each epoch. S sentences, n
pairs; texts A and B are columns 0 and 1.

A chunk of consecutive sentences runs to a target length and has at least two; a sentence boundary
cuts it into A and B. Then a coin: heads, the pair is real and the next chunk starts behind it;
tails, B comes from another document and the next chunk starts with the sentences not used.

Two things differ from the original script. Pairs are real in exactly half of the cases, because a
sentence left alone makes no pair. And nothing but their meaning tells the pairs apart: a random B
is the true B of another chunk with the same length, shortened where the true one is, while A is
what it would be with the true one.
"""

from dataclasses import dataclass

import numpy as np

from unmask.data.chains import reached
from unmask.data.draws import address, choice, uniform
from unmask.data.examples import Plan, Sentences, blocks
from unmask.data.store import Store
from unmask.errors import UserError
from unmask.text.template import Template

SHORTER = 0.1
"""Share of the chunks with a random shorter target, so that short sequences are no surprise."""

(
    _IS_SHORTER,
    _TARGET,
    _CUT,
    _COIN,
    _FRONT_A,
    _FRONT_B,
    _OTHER,
    _OTHER_DOCUMENT,
    _OTHER_SENTENCE,
    _SWAPPED,
) = range(10)  # what the random numbers of a chunk are for


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Pairs with their true B, and what choosing another takes."""

    starts: np.ndarray
    """(n, 2) int64, in tokens of the store."""
    sizes: np.ndarray
    """(n, 2) int32."""
    shortened: np.ndarray
    """(n,) bool, whether B lost tokens at one of its ends."""
    tails: np.ndarray
    """(n,) bool."""
    document: np.ndarray
    """(n,) int32, counted among those that are planned."""
    key: np.ndarray
    """(n,) uint64."""

    def kind(self, documents: int) -> np.ndarray:
        """(n,) int64, a number for each size of B, whole or shortened, `documents` apart."""
        size = self.sizes[:, 1].astype(np.int64)
        return np.asarray((size * 2 + self.shortened) * documents)


def plan_pairs(
    store: Store,
    documents: np.ndarray,
    *,
    seed: int,
    epoch: int,
    length: int,
    template: Template,
) -> Plan:
    """Plan sequences of two texts, by BERT `[CLS] A [SEP] B [SEP]`, of at most `length` tokens.

    The chunks of a document are a function of seed, epoch and document alone. Raises UserError when
    there are no two documents, or none has two sentences.
    """
    if len(documents) < 2:
        raise UserError(
            f"{store.path}: sentence pairs need at least two documents, here is {len(documents)}. "
            "Separate documents by blank lines, or train without pairs (data.form=singles)."
        )
    pairs, single = _planned(store, documents, address(seed, epoch), length, template, random=0.5)
    _draw_others(store, documents, pairs, single)
    plan = Plan(pairs.starts, pairs.sizes, pairs.tails.astype(np.int8), template.specials)
    return plan.shuffle(seed, epoch)


def plan_ordered(
    store: Store,
    documents: np.ndarray,
    *,
    seed: int,
    epoch: int,
    length: int,
    template: Template,
) -> Plan:
    """Plan pairs that are always neighbours, and in half of the cases the wrong way round.

    Sentence order prediction (Lan et al. 2020, section 3.1): label 1 where B came before A. All
    else is as in `plan_pairs`. Raises UserError when no document has two sentences.
    """
    pairs, _ = _planned(store, documents, address(seed, epoch), length, template, random=0.0)
    swapped = uniform(pairs.key, _SWAPPED) < 0.5
    starts, sizes = pairs.starts, pairs.sizes
    starts[swapped], sizes[swapped] = starts[swapped, ::-1], sizes[swapped, ::-1]
    plan = Plan(starts, sizes, swapped.astype(np.int8), template.specials)
    return plan.shuffle(seed, epoch)


def _planned(
    store: Store,
    documents: np.ndarray,
    key: np.uint64,
    length: int,
    template: Template,
    random: float,
) -> tuple[_Pairs, _Pairs]:
    """Plan all documents: their pairs, and the lone sentences as if they were a B without an A.

    random: the share of pairs whose B is to come from elsewhere.
    """
    parts, lone = [], []
    for sentences in blocks(store, documents, key):
        chunks, alone = _plan_block(sentences, length - template.special(2), random)
        parts.append(chunks)
        lone.append(alone)
    pairs = _join(parts)
    if not len(pairs.tails):
        raise UserError(
            f"{store.path}: no document has two sentences, and pairs need them. "
            "Join lines to documents, or train without pairs (data.form=singles)."
        )
    return pairs, _join(lone)


def _plan_block(sentences: Sentences, longest: int, random: float) -> tuple[_Pairs, _Pairs]:
    """Plan some documents."""
    count = len(sentences.starts)
    sentence, bounds, key = np.arange(count), sentences.bounds, sentences.key
    # For every sentence: the chunk that would start there. Which ones do start is seen afterwards.
    shorter = uniform(key, _IS_SHORTER) < SHORTER
    target = np.where(shorter, 2 + choice(key, _TARGET, longest - 1), longest)
    end = np.searchsorted(bounds, bounds[:-1] + target)  # the first boundary that is far enough
    end = np.minimum(np.maximum(end, sentence + 2), sentences.stop)
    cut = sentence + 1 + choice(key, _CUT, np.maximum(end - sentence - 1, 1))
    tails = uniform(key, _COIN) < random
    rows = reached(sentences.first, np.where(tails, cut, end), sentences.stop)
    alone = end[rows] - rows == 1
    pairs, lone = rows[~alone], rows[alone]
    at = np.stack([bounds[pairs], bounds[cut[pairs]], bounds[end[pairs]]], axis=1)  # (n, 3)
    sizes = np.diff(at, axis=1)  # (n, 2)
    starts = np.stack([sentences.starts[pairs], sentences.starts[cut[pairs]]], axis=1)
    kept = truncate(sizes, longest)
    heads = np.stack([uniform(key[pairs], draw) < 0.5 for draw in (_FRONT_A, _FRONT_B)], axis=1)
    dropped = sizes - kept
    document = sentences.document.astype(np.int32)
    chunks = _Pairs(
        starts + dropped * heads,
        kept.astype(np.int32),
        dropped[:, 1] > 0,
        tails[pairs],
        document[pairs],
        key[pairs],
    )
    start, size = sentences.starts[lone][:, None], np.diff(bounds)[lone][:, None]
    no = np.zeros(len(lone), dtype=bool)
    singles = _Pairs(
        np.repeat(start, 2, axis=1),
        np.repeat(size.astype(np.int32), 2, axis=1),
        no,
        no,
        document[lone],
        key[lone],
    )
    return chunks, singles


def truncate(sizes: np.ndarray, longest: int) -> np.ndarray:
    """Shorten the longer text, B when they are equal, until both fit: (n, 2) -> (n, 2)."""
    a, b = sizes.T
    a = np.maximum(np.minimum(a, longest - b), np.minimum(a, (longest + 1) // 2))
    return np.stack([a, np.minimum(b, longest - a)], axis=1)


def _draw_others(store: Store, documents: np.ndarray, pairs: _Pairs, lone: _Pairs) -> None:
    """Replace B where the coin fell tails, in place.

    Drawn from the texts B of both that have its length, are shortened or whole like it, and
    stand in another document. Where there is none, B is a run that starts at a sentence of one.
    """
    count = len(documents)
    pool = np.concatenate([part.starts[:, 1] for part in (pairs, lone)])
    # Sorted by kind, and within a kind by document: the own document is one range to skip.
    ranks = np.concatenate([part.kind(count) + part.document for part in (pairs, lone)])
    order = np.argsort(ranks, kind="stable")
    ranks, pool = ranks[order], pool[order]
    del order  # all of an epoch's pairs are held here, and little beside them should be
    tails = np.flatnonzero(pairs.tails)
    kind = pairs.kind(count)[tails]
    own = kind + pairs.document[tails]
    first, own_first, own_last, last = np.searchsorted(
        ranks, np.stack([kind, own, own + 1, kind + count])
    )
    own_count = own_last - own_first
    others = last - first - own_count
    place = first + choice(pairs.key[tails], _OTHER, others)
    place += np.where(place >= own_first, own_count, 0)
    found = others > 0
    pairs.starts[tails[found], 1] = pool[place[found]]
    rest = tails[~found]
    pairs.starts[rest, 1], pairs.sizes[rest, 1] = _draw_runs(store, documents, pairs, rest)


def _draw_runs(
    store: Store, documents: np.ndarray, pairs: _Pairs, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a run of sentences of another document for each row: starts and sizes, (rows,) each.

    It starts where enough tokens are left for the size of the true B; in a document too short for
    that it is the whole document.
    """
    key = pairs.key[rows]
    other = choice(key, _OTHER_DOCUMENT, len(documents) - 1)
    other += other >= pairs.document[rows]
    first, stop = (store.document_starts[documents[other] + i] for i in (0, 1))
    end = store.sentence_starts[stop]
    wanted = pairs.sizes[rows, 1]
    last = np.searchsorted(store.sentence_starts, end - wanted, side="right") - 1
    sentence = first + choice(key, _OTHER_SENTENCE, np.maximum(last - first + 1, 1))
    start = store.sentence_starts[sentence]
    return start, np.minimum(wanted, end - start)


def _join(parts: list[_Pairs]) -> _Pairs:
    names = ("starts", "sizes", "shortened", "tails", "document", "key")
    return _Pairs(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
