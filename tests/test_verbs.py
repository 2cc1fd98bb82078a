"""Verbs from Python: options as arguments, texts where paths are meant."""

import inspect
from pathlib import Path

import pytest

from unmask import verbs


@verbs.verb(verbs.PretrainOptions)
def pretrain(options: verbs.PretrainOptions) -> verbs.PretrainOptions:
    """Give back what it was called with."""
    return options


def test_paths_may_be_texts_and_a_list_of_one_that_one() -> None:
    expected = verbs.PretrainOptions(["store"], out=Path("run"), config=Path("own.toml"))
    assert pretrain(["store"], out=Path("run"), config=Path("own.toml")) == expected
    assert pretrain("store", out="run", config="own.toml") == expected
    assert pretrain([Path("store")], out=Path("run"), config="own.toml") == expected


def test_other_values_stay_as_they_are() -> None:
    options = pretrain(["a", "b=2"], out="run", model=Path("m"), seed=3, probe=["A [MASK]."])
    assert (options.stores, options.model) == (["a", "b=2"], "m")
    assert (options.seed, options.probe, options.config) == (3, ["A [MASK]."], None)


def test_an_option_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match="speed"):
        pretrain(["store"], out=Path("run"), speed=1)


def test_help_shows_the_options() -> None:
    parameters = inspect.signature(pretrain).parameters
    assert list(parameters)[:3] == ["stores", "out", "recipe"]
    assert parameters["recipe"].default == "bert-mini"
