"""How text is written: the settings of generation, under the names that `transformers` has."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from unmask.errors import UserError

LEAST: Mapping[str, int] = {
    "max_new_tokens": 1,
    "min_new_tokens": 1,
    "num_beams": 1,
    "num_return_sequences": 1,
    "top_k": 1,
    "no_repeat_ngram_size": 1,
    "seed": 0,
}
"""The lowest value of settings that are whole numbers."""
BETWEEN: Mapping[str, tuple[float, float]] = {
    "length_penalty": (-10, 10),
    "temperature": (1e-4, 1e4),
    "repetition_penalty": (1e-4, 1e4),
}
"""What settings that are not whole numbers may be; beyond it, numbers overflow."""
OF_SAMPLING = ("temperature", "top_k", "top_p", "seed")
OF_BEAMS = ("length_penalty", "early_stopping")


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation:
    """Settings of generation; None: it is not said.

    Without beams and sampling the likeliest token follows, always. Raises UserError for a setting
    that is impossible, contradicts another, or would change nothing.
    """

    max_new_tokens: int | None = None
    """The most tokens to write; as many as the model has places for, 128 at most, when absent."""
    min_new_tokens: int | None = None
    """The fewest tokens to write: until then a text does not end."""
    stop: tuple[str, ...] | None = None
    """Pieces of the vocabulary that end a text; the one that ended texts in training when absent.
    """
    num_beams: int = 1
    """Texts that are kept at each step, the likeliest ones: beam search, where more than one."""
    length_penalty: float | None = None
    """A beam's score is divided by its length to this power, 1 when absent; 0 favours short texts.
    """
    early_stopping: Literal[True, False, "never"] | None = None
    """Stop as soon as there are as many finished beams as beams (true), when no better one seems
    likely (false, and when absent), or only when none is possible (never)."""
    num_return_sequences: int = 1
    """Texts to give for each prompt: the best beams, or so many samples."""
    do_sample: bool = False
    """Draw each token by its probability."""
    temperature: float | None = None
    """Scores are divided by it before sampling: below 1 likely tokens become likelier."""
    top_k: int | None = None
    """Draw from so many of the likeliest tokens."""
    top_p: float | None = None
    """Draw from the fewest likeliest tokens that have this probability together."""
    seed: int | None = None
    """Of sampling, 0 when absent. With the place of a text it determines what is written."""
    repetition_penalty: float | None = None
    """Scores of tokens that were there before are divided by it, negative ones multiplied
    (https://arxiv.org/abs/1909.05858)."""
    no_repeat_ngram_size: int | None = None
    """No run of so many tokens comes twice (https://arxiv.org/abs/1705.04304)."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        for name, least in LEAST.items():
            if (value := getattr(self, name)) is not None and value < least:
                raise UserError(f"{name} is {value}; it must be at least {least}")
        self._refuse_ranges()
        self._refuse_contradictions()

    def _refuse_ranges(self) -> None:
        for name, (low, high) in BETWEEN.items():
            if (value := getattr(self, name)) is not None and not low <= value <= high:
                raise UserError(f"{name} is {value}; it must be from {low:g} to {high:g}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise UserError(f"top_p is {self.top_p}; it is a probability, above 0 and at most 1")

    def _refuse_contradictions(self) -> None:
        least, most = self.min_new_tokens, self.max_new_tokens
        if least is not None and most is not None and least > most:
            raise UserError(f"min_new_tokens {least} is more than max_new_tokens {most}")
        if least is not None and self.stop == ():
            raise UserError("min_new_tokens changes nothing where nothing stops; leave one out")
        if self.do_sample and self.num_beams > 1:
            raise UserError(
                f"do_sample and num_beams {self.num_beams} contradict each other: beams are the"
                " likeliest texts, samples are drawn; leave one out"
            )
        for names, there, needed in (
            (OF_SAMPLING, self.do_sample, "do_sample"),
            (OF_BEAMS, self.num_beams > 1, "num_beams above 1"),
        ):
            given = [name for name in names if getattr(self, name) is not None]
            if given and not there:
                raise UserError(f"{given[0]} changes nothing without {needed}; give both or none")
        if self.num_return_sequences > max(self.num_beams, 1) and not self.do_sample:
            raise UserError(
                f"num_return_sequences {self.num_return_sequences} is more than the"
                f" {self.num_beams} that num_beams gives; raise that, or sample with do_sample"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Writing:
    """How the texts of a task are written; saved with its model.

    Of the settings of `Generation` those that make sense where every text has one right answer.
    """

    max_new_tokens: int = 128
    """The most tokens of a text, the one that ends it included."""
    min_new_tokens: int | None = None
    """The fewest tokens of a text."""
    num_beams: int = 4
    """Texts that are kept at each step, the likeliest ones; 1: the likeliest token follows."""
    length_penalty: float | None = None
    """A beam's score is divided by its length to this power, 1 when absent."""
    early_stopping: Literal[True, False, "never"] | None = None
    """When no more beams are looked for, as `Generation` has it."""
    repetition_penalty: float | None = None
    """Scores of tokens that were there before are divided by it, negative ones multiplied."""
    no_repeat_ngram_size: int | None = None
    """No run of so many tokens comes twice."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        self.settings()

    def settings(self) -> Generation:
        """Give the settings of generation, by which all beams are given."""
        return Generation(**asdict(self), num_return_sequences=self.num_beams)
