"""How much summaries share with those of people: ROUGE, by rouge-score."""

from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from itertools import chain, pairwise

from unmask.contracts import Prediction, Record
from unmask.registry import late
from unmask.text.sentences import splitter

NAMES = ("rouge1", "rouge2", "rougeL", "rougeLsum")


class Rouge:
    """`rouge1`, `rouge2`, `rougeL` and `rougeLsum` (Lin 2004): means of F, 0 to 1.

    English endings are left out of words (Porter's stemmer), as usual. Where there are several
    right summaries, the one that is most alike counts, for each figure by itself. `rougeLsum`
    compares sentence by sentence.
    """

    main = "rougeL"
    names: tuple[str, ...] = NAMES

    def __init__(self) -> None:
        self._scorer = late("rouge_score.rouge_scorer").RougeScorer(list(NAMES), use_stemmer=True)
        self._sums, self._records = dict.fromkeys(NAMES, 0.0), 0

    def add(self, record: Record, prediction: Prediction) -> None:
        """Compare a text with the right ones: the record's label is a list of them."""
        right, found = map(_by_line, record.label), _by_line(prediction.answer)
        for name, score in self._scorer.score_multi(list(right), found).items():
            self._sums[name] += score.fmeasure
        self._records += 1

    def right(self, record: Record, prediction: Prediction) -> bool:
        """Tell whether the text is a right one, to the letter."""
        return prediction.answer in record.label

    def result(self) -> dict[str, float]:
        """Give the figures."""
        return {name: total / max(1, self._records) for name, total in self._sums.items()}

    def signature(self) -> str:
        """Tell how ROUGE was counted."""
        return f"fmeasure|stemmer:porter|refs:best|lsum:punkt|rouge-score:{version('rouge-score')}"

    def confusion(self) -> None:
        """Give nothing: texts are not taken for one another."""


def oracle(sentences: Sequence[str], summaries: Iterable[str], most: int) -> tuple[int, ...]:
    """Choose sentences that make a summary as good as sentences can, one after the other.

    The next one is that which raises ROUGE-1 and ROUGE-2 together most; it ends where none does, or
    at `most` sentences (Nallapati et al. 2017, section 3). Gives their places, in their order.
    """
    cut = late("rouge_score.tokenizers").DefaultTokenizer(use_stemmer=True).tokenize
    words = [cut(sentence) for sentence in sentences]
    right = [_pieces(cut(summary)) for summary in summaries]
    chosen: tuple[int, ...] = ()
    best = 0.0
    while len(chosen) < most:
        rest = [place for place in range(len(words)) if place not in chosen]
        longer = [tuple(sorted((*chosen, place))) for place in rest]
        scores = [_score(chain.from_iterable(words[p] for p in own), right) for own in longer]
        if max(scores, default=0.0) <= best:
            break
        best = max(scores)
        chosen = longer[scores.index(best)]
    return chosen


Pieces = tuple[Counter[tuple[str, ...]], ...]
"""How often each word of a text occurs, and each pair of neighbours."""


def _pieces(words: Sequence[str]) -> Pieces:
    return Counter((word,) for word in words), Counter(pairwise(words))


def _score(words: Iterable[str], right: Sequence[Pieces]) -> float:
    """Give ROUGE-1 and ROUGE-2 together, each with that right text which is most alike."""
    found = _pieces(list(words))
    return sum(max(_f(own[n], found[n]) for own in right) for n in range(len(found)))


def _f(right: Counter[tuple[str, ...]], found: Counter[tuple[str, ...]]) -> float:
    """Give the harmonic mean of precision and recall, which is 2 both / (right + found)."""
    both, sizes = (right & found).total(), right.total() + found.total()
    return 2 * both / sizes if sizes else 0.0


def _by_line(text: str) -> str:
    """Write each sentence on a line of its own, as `rougeLsum` wants it."""
    return "\n".join(splitter("punkt")(text))
