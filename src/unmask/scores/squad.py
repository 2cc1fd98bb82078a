"""SQuAD's own scores: exact match and F1 of answers, in percent (Rajpurkar et al. 2016, 2018)."""

import re
import string
from collections import Counter

import numpy as np

from unmask.contracts import Prediction, Record

_MARKS = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


class AnswerScores:
    """`exact_match` and `f1`; where questions had no answer, also of those with and without one.

    A record's label is a tuple of right answers; where it is empty, the empty text is right. The
    figures and further ones have the names that SQuAD's scripts give them.
    """

    main = "f1"
    names: tuple[str, ...] = ("f1", "exact_match")

    def __init__(self) -> None:
        self._sums = {group: np.zeros(3) for group in ("HasAns", "NoAns")}
        """Of each group of questions: exact matches, sum of F1, how many they are."""

    def add(self, record: Record, prediction: Prediction) -> None:
        """Score one answer: by the best of those that are right."""
        pairs = [(gold, prediction.answer) for gold in _golds(record)]
        exact = max(exact_match(*pair) for pair in pairs)
        group = "HasAns" if record.label else "NoAns"
        self._sums[group] += exact, max(f1(*pair) for pair in pairs), 1

    def right(self, record: Record, prediction: Prediction) -> bool:
        """Tell whether the answer matches one that is right."""
        return any(exact_match(gold, prediction.answer) for gold in _golds(record))

    def result(self) -> dict[str, float]:
        """Give the figures, 0 to 100."""
        exact, overlap, total = sum(self._sums.values(), np.zeros(3)).tolist()
        figures = {
            "exact_match": 100 * exact / max(1, total),
            "f1": 100 * overlap / max(1, total),
        }
        if self._sums["NoAns"].any():
            for group, (exact, overlap, total) in self._sums.items():
                figures[f"{group}_exact"] = 100 * exact / max(1, total)
                figures[f"{group}_f1"] = 100 * overlap / max(1, total)
                figures[f"{group}_total"] = total
        return {name: float(figure) for name, figure in figures.items()}

    def confusion(self) -> None:
        """Give nothing: there are no labels."""


def normalise(answer: str) -> str:
    """Leave the words of an answer: in lower case, without punctuation marks and articles."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_MARKS)).split())


def exact_match(gold: str, answer: str) -> bool:
    """Tell whether two answers are the same words."""
    return normalise(gold) == normalise(answer)


def f1(gold: str, answer: str) -> float:
    """F1 of the words that two answers share, 0 to 1; of none and none it is 1."""
    wanted, given = normalise(gold).split(), normalise(answer).split()
    if not wanted or not given:
        return float(wanted == given)
    shared = (Counter(wanted) & Counter(given)).total()
    return 2 * shared / (len(wanted) + len(given))


def _golds(record: Record) -> list[str]:
    """The right answers, of those that have a word; the empty text where there is none."""
    return [one for one in record.label if normalise(one)] or [""]
