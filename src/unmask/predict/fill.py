"""The verb `fill`: what stands behind the [MASK] of a text."""

from dataclasses import dataclass
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from unmask.predict.model import Answers, Filling, Model
from unmask.verbs import FillOptions, verb

BAR = 20
"""Characters of the bar of a score of 1."""


@dataclass(frozen=True, slots=True)
class Filled:
    """The fillings of a text."""

    results: Answers
    """Best first: a list, or a list for each mask where there are several."""

    def to_json(self) -> dict[str, Any]:
        """Give what `--json` prints."""
        return {"results": self.results}

    def __rich__(self) -> Group:
        """Show a table for each mask."""
        masks = [group for group in self.results if isinstance(group, list)]
        if not masks:
            return Group(_table([one for one in self.results if isinstance(one, dict)]))
        parts: list[Text | Table] = []
        for number, group in enumerate(masks, 1):
            parts += [Text(f"mask {number} of {len(masks)}", style="bold"), _table(group)]
        return Group(*parts)


@verb(FillOptions)
def fill(options: FillOptions) -> Filled:
    """Fill the [MASK] of a text. Raises UserError for a text without one."""
    model = Model.from_pretrained(options.model, options.language)
    return Filled(model.fill(options.text, options.top_k))


def _table(fillings: list[Filling]) -> Table:
    """Lay out fillings: score, token and the text that it makes."""
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("score", justify="right")
    table.add_column("")
    table.add_column("token", style="bold")
    table.add_column("sequence", overflow="fold")
    for one in fillings:
        bar = "━" * max(1, round(BAR * one["score"]))
        table.add_row(f"{one['score']:.4f}", Text(bar), one["token_str"], one["sequence"])
    return table
