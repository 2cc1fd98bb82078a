"""How often the answer was right."""

from unmask.contracts import Prediction, Record


class Accuracy:
    """`accuracy`: the share of the records whose answer was right."""

    main = "accuracy"
    names: tuple[str, ...] = ("accuracy",)

    def __init__(self) -> None:
        self._right = self._records = 0

    def add(self, record: Record, prediction: Prediction) -> None:
        """Compare a record's label with the answer."""
        self._records += 1
        self._right += self.right(record, prediction)

    def right(self, record: Record, prediction: Prediction) -> bool:
        """Tell whether the answer is the label."""
        return bool(record.label == prediction.answer)

    def result(self) -> dict[str, float]:
        """Give the figure."""
        return {"accuracy": self._right / max(1, self._records)}

    def confusion(self) -> None:
        """Give nothing: the answers of one record are not those of another."""
