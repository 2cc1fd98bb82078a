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

    Of a model that may say so there are then `best_exact` and `best_f1` as well, the figures with
    the threshold that is best on these data, `best_exact_thresh` or `best_f1_thresh`: to take it,
    set `null_threshold`. A record's label is a tuple of right answers; where it is empty, the empty
    text is right. The figures and further ones have the names that SQuAD's scripts give them.
    """

    main = "f1"
    names: tuple[str, ...] = ("f1", "exact_match")

    def __init__(self) -> None:
        self._sums = {group: np.zeros(3) for group in ("HasAns", "NoAns")}
        """Of each group of questions: exact matches, sum of F1, how many they are."""
        self._doubts: list[tuple[float, float, float]] = []
        """Of each question: how much higher no answer scores than the best one, and how many exact
        matches and how much F1 are gained by giving that."""

    def add(self, record: Record, prediction: Prediction) -> None:
        """Score one answer: by the best of those that are right."""
        golds = _golds(record)
        pairs = [(gold, prediction.answer) for gold in golds]
        exact = max(exact_match(*pair) for pair in pairs)
        group = "HasAns" if record.label else "NoAns"
        self._sums[group] += exact, max(f1(*pair) for pair in pairs), 1
        if prediction.unanswered is not None:
            doubt, best = prediction.unanswered
            exact_gain, gain = (
                max(score(gold, best) for gold in golds) - max(score(gold, "") for gold in golds)
                for score in (exact_match, f1)
            )
            self._doubts.append((doubt, exact_gain, gain))

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
            if len(self._doubts) == sum(figures[f"{group}_total"] for group in self._sums):
                figures |= self._best()
        return {name: float(figure) for name, figure in figures.items()}

    def _best(self) -> dict[str, float]:
        """Find the thresholds that make the most of the answers, as SQuAD's script does.

        From where no question gets an answer on, one after the other does, the surest first.
        """
        doubts = np.array(sorted(self._doubts))  # (questions, 3)
        share, empty = 100 / len(doubts), self._sums["NoAns"][2]
        figures = {}
        for column, name in ((1, "exact"), (2, "f1")):
            reached = np.concatenate([[0.0], doubts[:, column].cumsum()])
            place = int(reached.argmax())
            figures[f"best_{name}"] = share * (empty + reached[place])
            figures[f"best_{name}_thresh"] = doubts[max(0, place - 1), 0] - (place == 0)
        return figures

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
