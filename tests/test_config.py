"""Settings survive TOML, layers override one another, and every mistake is named."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask import config
from unmask.errors import UserError


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    length: int
    share: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Optimizer:
    rate: float
    betas: tuple[float, float] = (0.9, 0.999)
    correct: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    steps: int
    form: Literal["pairs", "singles"] = "pairs"
    note: str = ""
    folder: Path | None = None
    limit: int | None = None
    stages: list[Stage] = field(default_factory=list)
    sizes: tuple[int, ...] = ()
    optimizer: Optimizer
    spare: Optimizer = field(default_factory=lambda: Optimizer(rate=0.5))


BASE = ("base.toml", {"steps": 10, "optimizer": {"rate": 1}})

stages = st.builds(Stage, length=st.integers(-(2**62), 2**62), share=st.floats(allow_nan=False))
optimizers = st.builds(
    Optimizer,
    rate=st.floats(allow_nan=False),
    betas=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    correct=st.booleans(),
)
runs = st.builds(
    Run,
    steps=st.integers(-(2**62), 2**62),
    form=st.sampled_from(["pairs", "singles"]),
    note=st.text(st.characters(exclude_categories=["Cs"])),
    folder=st.none() | st.sampled_from([Path("a/b"), Path("/ä ö")]),
    limit=st.none() | st.integers(0, 9),
    stages=st.lists(stages, max_size=3),
    sizes=st.lists(st.integers(0, 9), max_size=3).map(tuple),
    optimizer=optimizers,
    spare=optimizers,
)


@given(runs)
def test_what_is_dumped_is_loaded_again(run: Run) -> None:
    assert config.load(Run, [("dumped", tomllib.loads(config.dump(run)))]) == run


def test_later_layers_and_then_sets_win_key_by_key() -> None:
    over = ("mine.toml", {"optimizer": {"correct": False}, "stages": [{"length": 3}], "limit": 2})
    sets = ["optimizer.rate=2e-3", "form=singles", "stages=[{length=4,share=1}]", "limit=none"]
    run = config.load(Run, [BASE, over], sets)
    assert run.optimizer == Optimizer(rate=2e-3, correct=False)
    assert run.stages == [Stage(length=4)]
    assert isinstance(run.stages[0].share, float)
    assert run.form == "singles"
    assert run.limit is None
    assert config.load(Run, [BASE, over]).limit == 2
    assert config.load(Run, [BASE], ["spare.rate=1"]).spare == Optimizer(rate=1.0)


@pytest.mark.parametrize(
    ("table", "parts"),
    [
        ({"stesp": 3}, ["mine.toml", "'stesp'", "did you mean steps"]),
        ({"optimizer": {"rat": 3}}, ["'optimizer.rat'", "did you mean optimizer.rate?"]),
        ({"correct": True}, ["'correct'", "optimizer.correct or spare.correct"]),
        ({"zzzz": 1}, ["'zzzz'", "known are steps, form"]),
        ({"steps": 2.5}, ["mine.toml: steps is 2.5, but should be a whole number"]),
        ({"steps": True}, ["steps is True"]),
        ({"optimizer": {"correct": 1}}, ["optimizer.correct is 1", "true or false"]),
        ({"form": "triples"}, ["form is 'triples'", "one of pairs, singles"]),
        ({"optimizer": 3}, ["optimizer is 3", "a table"]),
        ({"optimizer": {"betas": [0.9]}}, ["optimizer.betas", "a list of 2"]),
        ({"optimizer": {"betas": [0.9, "x"]}}, ["optimizer.betas[1] is 'x'", "a number"]),
        ({"stages": [{"share": 1}]}, ["mine.toml", "stages[0].length is missing"]),
        ({"stages": [{"length": 1, "shar": 1}]}, ["'stages[0].shar'", "share"]),
        ({"folder": 3}, ["folder is 3", "a path"]),
    ],
)
def test_a_mistake_is_named_with_its_file(table: dict[str, object], parts: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        config.load(Run, [BASE, ("mine.toml", table)])
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("pair", "part"),
    [
        ("steps", "write KEY=VALUE"),
        ("=3", "write KEY=VALUE"),
        ("steps=many", "--set steps=many: steps is 'many', but should be a whole number"),
        ("steps=1\nform='x'", "should be a whole number"),
        ("optimizer.rate=none", "optimizer.rate is None"),
    ],
)
def test_a_bad_pair_is_named(pair: str, part: str) -> None:
    with pytest.raises(UserError) as caught:
        config.load(Run, [BASE], [pair])
    assert part in str(caught.value)


def test_a_setting_left_open_is_named() -> None:
    with pytest.raises(UserError, match=r"a.toml: optimizer.rate is missing"):
        config.load(Run, [("a.toml", {"steps": 3})])
