"""Greedy and beam search write what transformers' do, token for token; sampling draws by law."""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers.generation import logits_process

import writers
from unmask.errors import UserError
from unmask.model.choosing import constrained, drawn, narrowed
from unmask.model.generation import Generation
from unmask.model.search import search
from unmask.tokens import Layout, Tokens
from writers import PROMPTS, SPECS, START, STOP, expected, models, written

NAMES = pytest.mark.parametrize("name", SPECS)
SETTINGS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "no repeats": {"no_repeat_ngram_size": 2},
    "no token twice": {"no_repeat_ngram_size": 1},
    "penalty": {"repetition_penalty": 1.7},
    "long": {"min_new_tokens": 6, "no_repeat_ngram_size": 3},
    "beams": {"num_beams": 4, "num_return_sequences": 4},
    "short": {"num_beams": 4, "length_penalty": 0.0, "num_return_sequences": 2},
    "favour length": {"num_beams": 3, "length_penalty": 2.0, "num_return_sequences": 3},
    "early": {"num_beams": 4, "early_stopping": True, "num_return_sequences": 4},
    "never": {"num_beams": 4, "early_stopping": "never", "length_penalty": 1.5},
    "all at once": {
        "num_beams": 4,
        "num_return_sequences": 4,
        "repetition_penalty": 1.3,
        "no_repeat_ngram_size": 2,
        "min_new_tokens": 3,
    },
}


ENDS = (STOP, 17, 29)
OFTEN = {"gpt2": ((13, 24, 14, 33, 29), 6), "encoder-decoder": ((5, 8), 18)}
"""Tokens that often end a text, and the most tokens of one."""


@pytest.fixture(autouse=True)
def _quiet() -> None:
    transformers.logging.set_verbosity_error()


@NAMES
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_writes_what_transformers_does(name: str, settings: dict[str, Any]) -> None:
    # Ours with all prompts at once, theirs one by one.
    ours = written(name, Generation(**settings), stop=ENDS)
    theirs = expected(name, stop=ENDS, **settings)
    assert [[list(one.ids) for one in own] for own in ours] == [
        [ids for ids, _ in own] for own in theirs
    ]
    for own, other in zip(ours, theirs, strict=True):
        for one, (_, score) in zip(own, other, strict=True):
            assert score is None or one.score == pytest.approx(score, abs=1e-4)


@NAMES
def test_the_texts_are_worth_comparing(name: str) -> None:
    """They end early and late, differ from each other, and each setting changes some."""
    every = {
        case: [[one.ids for one in own] for own in written(name, Generation(**settings), stop=ENDS)]
        for case, settings in SETTINGS.items()
    }
    lengths = Counter(len(ids) for found in every.values() for own in found for ids in own)
    assert len(lengths) > 2
    plain, beams = every["greedy"], every["beams"]
    assert [own[0] for own in beams] != [own[0] for own in plain]
    for case in ("no repeats", "no token twice", "penalty"):
        assert every[case] != plain, case
    assert every["all at once"] != beams
    assert len({ids for own in plain for ids in own}) > 1


@NAMES
@pytest.mark.parametrize(
    "cases",
    [
        [{"num_beams": 5, "early_stopping": early} for early in (True, False, "never")],
        [{"min_new_tokens": least} for least in (1, 6)],
        [{"num_beams": 4, "min_new_tokens": least} for least in (1, 6)],
        [{"num_beams": 4, "length_penalty": power} for power in (-3.0, 3.0)],
    ],
    ids=["early stopping", "fewest", "fewest of beams", "length"],
)
def test_what_ends_a_text_ends_it_as_in_transformers(
    name: str, cases: list[dict[str, Any]]
) -> None:
    """Where texts often end, each of these settings changes some."""
    found = []
    stop, most = OFTEN[name]
    for settings in cases:
        given = {**settings, "num_return_sequences": settings.get("num_beams", 1)}
        ours = written(name, Generation(**given), most=most, stop=stop)
        theirs = expected(name, most=most, stop=stop, **given)
        found.append([[list(one.ids) for one in own] for own in ours])
        assert found[-1] == [[ids for ids, _ in own] for own in theirs]
    assert all(one != other for one, other in pairwise(found))
    ended = [ids[-1] in stop for own in found[0] for ids in own]
    assert sum(ended) >= len(ended) / 3


class Uncached:
    """Reads every text anew at each step."""

    def __init__(self, name: str, prompts: Sequence[Sequence[int]]) -> None:
        self.network = models(name)[0].network
        self.texts: list[list[int]] = [[] for _ in prompts]
        self.sources = [list(own) for own in PROMPTS] if name == "encoder-decoder" else []

    def read(self, new: Sequence[Sequence[int]]) -> Tensor:
        self.texts = [[*old, *own] for old, own in zip(self.texts, new, strict=True)]
        tokens = self._laid(self.texts)
        if self.sources:
            share = len(self.texts) // len(self.sources)
            sources = [own for own in self.sources for _ in range(share)]
            tokens = Tokens(tokens.ids, tokens.layout, source=self._laid(sources))
        assert self.network.head.following is not None
        scores: Tensor = self.network.head.following(self.network(tokens)[tokens.layout.last])
        return scores

    def reorder(self, rows: Sequence[int], sources: Sequence[int]) -> None:
        self.texts = [self.texts[row] for row in rows]
        self.sources = [self.sources[source] for source in sources] if self.sources else []

    def _laid(self, texts: Sequence[Sequence[int]]) -> Tokens:
        ids = torch.tensor([token for text in texts for token in text])
        return Tokens(ids, Layout.of([len(text) for text in texts]))


@NAMES
@pytest.mark.parametrize("case", ["greedy", "all at once", "sampled"])
@torch.no_grad()
def test_cached_equals_uncached(name: str, case: str) -> None:
    given = SETTINGS.get(case, {"do_sample": True, "num_return_sequences": 3, "seed": 5})
    settings = Generation(**given)
    prompts = PROMPTS if name == "gpt2" else [[START]] * len(PROMPTS)
    limits, places = [12] * len(prompts), range(len(prompts))
    anew = search(Uncached(name, prompts), prompts, settings, limits, (STOP,), places)
    kept = written(name, settings)
    assert [[one.ids for one in own] for own in kept] == [[one.ids for one in own] for own in anew]
    scores = [[one.score for one in own] for own in kept]
    for own, other in zip(scores, anew, strict=True):
        assert own == pytest.approx([one.score for one in other], abs=1e-4)


@NAMES
@pytest.mark.parametrize("case", ["greedy", "beams", "sampled"])
def test_what_stands_beside_a_text_changes_nothing(
    name: str, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = SETTINGS.get(case, {"do_sample": True, "num_return_sequences": 2, "top_p": 0.9})
    settings = Generation(**given)
    together = written(name, settings)
    for place, prompt in enumerate(PROMPTS):
        monkeypatch.setattr(writers, "PROMPTS", [prompt])
        (single,) = written(name, settings, places=[place])
        assert [one.ids for one in single] == [one.ids for one in together[place]]


def test_limits_hold_for_each_text() -> None:
    made, _ = models("gpt2")
    assert made.network.head.following is not None
    for settings in (Generation(), Generation(num_beams=2)):
        found = writers.generate(
            made.network.encoder,
            made.network.head.following,
            PROMPTS[:3],
            settings,
            limits=[1, 5, 3],
        )
        assert [len(own[0].ids) for own in found] == [1, 5, 3]


def test_too_many_beams_are_refused() -> None:
    with pytest.raises(UserError, match="num_beams is 21, too many for a vocabulary of 40"):
        written("gpt2", Generation(num_beams=21))


def rows() -> tuple[Tensor, Tensor]:
    """Give scores of what follows, and texts with blanks before the shorter ones."""
    generator = torch.Generator().manual_seed(0)
    texts = torch.randint(40, (5, 9), generator=generator) % 7
    texts[1, :4] = texts[4, :8] = 40
    return torch.randn(5, 40, generator=generator) * 3, texts


@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_repeated_runs_are_barred_as_transformers_does(size: int) -> None:
    scores, texts = rows()
    ours = constrained(scores, texts, 0, (), Generation(no_repeat_ngram_size=size))
    theirs = logits_process.NoRepeatNGramLogitsProcessor(size)
    for row, (own, text) in enumerate(zip(ours, texts, strict=True)):
        assert torch.equal(own[None], theirs(text[text < 40][None], scores[row : row + 1]))
    assert (ours.isinf().sum() > 0) == (size < 3)


@pytest.mark.parametrize("penalty", [0.5, 1.8])
def test_a_penalty_is_that_of_transformers(penalty: float) -> None:
    scores, texts = rows()
    ours = constrained(scores, texts, 0, (), Generation(repetition_penalty=penalty))
    theirs = logits_process.RepetitionPenaltyLogitsProcessor(penalty)
    for row, (own, text) in enumerate(zip(ours, texts, strict=True)):
        assert torch.equal(own[None], theirs(text[text < 40][None], scores[row : row + 1]))
    assert not torch.equal(ours, scores)


WARPERS: dict[str, Any] = {
    "temperature": logits_process.TemperatureLogitsWarper,
    "top_k": logits_process.TopKLogitsWarper,
    "top_p": logits_process.TopPLogitsWarper,
}


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.7},
        {"top_k": 5},
        {"top_k": 99},
        {"top_p": 0.8},
        {"top_p": 0.01},
        {"temperature": 2.0, "top_k": 9, "top_p": 0.7},
    ],
    ids=str,
)
def test_sampling_is_narrowed_as_transformers_does(settings: dict[str, Any]) -> None:
    scores, texts = rows()
    wanted = scores
    for name, value in settings.items():
        wanted = WARPERS[name](value)(texts, wanted)
    ours = narrowed(scores, Generation(do_sample=True, **settings))
    assert torch.equal(ours, wanted)


def test_tokens_are_drawn_by_their_probabilities() -> None:
    scores = torch.tensor([1.0, -math.inf, 0.0, 2.0, -math.inf])
    count = 20_000
    numbers = (torch.arange(count) + 0.5).double() / count
    found = torch.bincount(drawn(scores.expand(count, -1), numbers), minlength=5) / count
    assert torch.allclose(found, scores.softmax(-1), atol=1e-4)
    edges = drawn(scores.expand(2, -1), torch.tensor([0.0, 1 - 2**-53]).double())
    assert edges.tolist() == [0, 3], "what is impossible is never drawn"


def test_samples_follow_the_seed_and_the_place() -> None:
    def texts(**settings: Any) -> list[Any]:
        chosen = Generation(do_sample=True, num_return_sequences=3, **settings)
        return [[one.ids for one in own] for own in written("gpt2", chosen, stop=())]

    assert texts() == texts(seed=0) != texts(seed=1)
    assert len({ids for own in texts() for ids in own}) == 3 * len(PROMPTS)
    likeliest = [own[0].ids for own in written("gpt2", Generation(), stop=())]
    assert [own[0] for own in texts(top_k=1)] == likeliest
    assert [own[2] for own in texts(temperature=1e-4)] == likeliest
