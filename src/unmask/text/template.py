"""Templates: the special tokens that a family of models wants around one text or two.

n tokens of a sequence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any, Literal

import numpy as np

from unmask.errors import UserError

ROLES = ("pad", "unk", "cls", "sep", "mask")
"""What special tokens are for, whatever a vocabulary calls them."""


@dataclass(frozen=True, slots=True)
class Template:
    """How a sequence is laid out, as `cls A sep B:1 sep:1`.

    Each word is a text, A or B, or a special token by its role; the number behind a colon is its
    segment, 0 where there is none.
    """

    one: str
    """Of one text."""
    two: str
    """Of two texts."""
    summary: Literal["first", "last"] = "first"
    """The token whose state stands for the whole sequence."""

    def parts(self, texts: int) -> list[tuple[str, int]]:
        """Name the parts of a sequence of one text or two, each with its segment."""
        words = (word.partition(":") for word in (self.one, self.two)[texts - 1].split())
        return [(name, int(segment or 0)) for name, _, segment in words]

    def special(self, texts: int) -> int:
        """Count the special tokens of a sequence of one text or two."""
        return len(self.parts(texts)) - texts

    @property
    def specials(self) -> tuple[int, int]:
        """Count the special tokens of a sequence of one text, and of two."""
        return self.special(1), self.special(2)

    def frame(self, texts: int, ids: Mapping[str, int]) -> "Frame":
        """Make the frame for one text or two with a vocabulary's ids of the roles.

        Raises UserError for a role that the vocabulary has no token for.
        """
        gaps: list[list[int]] = [[]]
        for name, _ in self.parts(texts):
            if name in ("A", "B"):
                gaps.append([])
            elif name in ids:
                gaps[-1].append(ids[name])
            else:
                raise UserError(
                    f"the vocabulary has no {name} token, and sequences are {self.one!r} here;"
                    " take the tokenizer that belongs to the model"
                )
        parts = tuple((name in ("A", "B"), segment) for name, segment in self.parts(texts))
        return Frame(tuple(map(tuple, gaps)), parts, self.summary)

    def processor(self, tokens: Mapping[str, str], ids: Mapping[str, int]) -> dict[str, Any]:
        """Write it as a `tokenizer.json` does; tokens: how the vocabulary writes each role."""

        def written(texts: int) -> list[dict[str, Any]]:
            """Write the sequence of so many texts."""
            return [
                {"Sequence": {"id": name, "type_id": segment}}
                if name in ("A", "B")
                else {"SpecialToken": {"id": tokens[name], "type_id": segment}}
                for name, segment in self.parts(texts)
            ]

        used = dict.fromkeys(name for name, _ in self.parts(2) if name in ids)
        return {
            "type": "TemplateProcessing",
            "single": written(1),
            "pair": written(2),
            "special_tokens": {
                tokens[name]: {"id": tokens[name], "ids": [ids[name]], "tokens": [tokens[name]]}
                for name in used
            },
        }


@dataclass(frozen=True, slots=True)
class Laid:
    """A sequence that the model reads."""

    ids: np.ndarray
    """(n,) int32, special tokens included."""
    segments: np.ndarray | None
    """(n,) int64; None where all are 0."""
    starts: tuple[int, ...]
    """Where each text begins among the tokens."""
    summary: int
    """The token whose state stands for the sequence."""


@dataclass(frozen=True)
class Frame:
    """What stands around the texts of a sequence: a template with the ids of a vocabulary."""

    gaps: tuple[tuple[int, ...], ...]
    """Ids of the special tokens before the first text, and behind each text."""
    parts: tuple[tuple[bool, int], ...]
    """Of each special token and text, in order: whether it is a text, and its segment."""
    summary: Literal["first", "last"]
    """The token whose state stands for the whole sequence."""

    @cached_property
    def special(self) -> int:
        """Special tokens of a sequence."""
        return sum(map(len, self.gaps))

    @cached_property
    def runs(self) -> list[tuple[int, int, list[int]]]:
        """The segments in order: each one's number, its special tokens, and which texts are in it.

        Empty where all is of segment 0.
        """
        numbered, text = [], 0
        for is_text, segment in self.parts:
            numbered.append((segment, text if is_text else None))
            text += is_text
        if not any(segment for segment, _ in numbered):
            return []
        found = []
        for segment, group in groupby(numbered, key=lambda part: part[0]):
            texts = [text for _, text in group]
            found.append((segment, texts.count(None), [t for t in texts if t is not None]))
        return found

    def lay(self, *texts: Sequence[int]) -> Laid:
        """Lay out the ids of the texts. Raises UserError where no token comes of it."""
        ids, starts = list(self.gaps[0]), []
        for text, gap in zip(texts, self.gaps[1:], strict=True):
            starts.append(len(ids))
            ids += text
            ids += gap
        if not ids:
            raise UserError("a text without a token, which this model cannot read; leave it out")
        sizes = [special + sum(len(texts[t]) for t in own) for _, special, own in self.runs]
        segments = np.repeat([segment for segment, _, _ in self.runs], sizes) if sizes else None
        summary = 0 if self.summary == "first" else len(ids) - 1
        return Laid(np.array(ids, dtype=np.int32), segments, tuple(starts), summary)


BERT = Template("cls A sep", "cls A sep B:1 sep:1")
"""Devlin et al. 2019; ALBERT has it, too."""
ROBERTA = Template("cls A sep", "cls A sep sep B sep")
"""Liu et al. 2019; so have CamemBERT and XLM-R."""
XLM = Template("cls A sep", "cls A sep B sep")
"""Lample and Conneau 2019; so have FlauBERT and, with BERT's vocabulary, DistilBERT."""
XLNET = Template("A sep cls:2", "A sep B:1 sep:1 cls:2", summary="last")
"""Yang et al. 2019."""
GPT2 = Template("A", "A B", summary="last")
"""Radford et al. 2019: no special tokens at all."""
