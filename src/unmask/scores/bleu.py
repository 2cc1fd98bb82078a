"""How close translations come to those of people: BLEU and chrF, by sacrebleu."""

from typing import Any

from unmask.contracts import Prediction, Record
from unmask.registry import late


class Bleu:
    """`bleu` (Papineni et al. 2002) and `chrf` (Popović 2015) of a whole corpus, 0 to 100.

    They are counted text by text, by sacrebleu's own methods for that (Post 2018), and no text is
    kept.
    """

    main = "bleu"
    names: tuple[str, ...] = ("bleu", "chrf")

    def __init__(self) -> None:
        metrics = late("sacrebleu.metrics")
        self._metrics: dict[str, Any] = {"bleu": metrics.BLEU(), "chrf": metrics.CHRF()}
        self._sums: dict[str, list[int]] = {}

    def add(self, record: Record, prediction: Prediction) -> None:
        """Count what a text and the right one have in common."""
        for name, metric in self._metrics.items():
            (counts,) = metric._extract_corpus_statistics([prediction.answer], [[record.label]])
            sums = self._sums.get(name, [0] * len(counts))
            self._sums[name] = [a + b for a, b in zip(sums, counts, strict=True)]

    def right(self, record: Record, prediction: Prediction) -> bool:
        """Tell whether the text is the right one, to the letter."""
        return bool(record.label == prediction.answer)

    def result(self) -> dict[str, float]:
        """Give the figures."""
        return {
            name: float(metric._aggregate_and_compute([self._sums[name]]).score)
            for name, metric in self._metrics.items()
            if name in self._sums
        } or dict.fromkeys(self.names, 0.0)

    def signature(self) -> str:
        """Give sacrebleu's signature of BLEU."""
        metric = late("sacrebleu.metrics").BLEU()
        metric.corpus_score(["a"], [["a"]])  # a signature has the number of right texts in it
        return str(metric.get_signature())

    def confusion(self) -> None:
        """Give nothing: texts are not taken for one another."""
