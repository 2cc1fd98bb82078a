"""What both sides of the translation study share: files, vocabulary, sizes, settings, examples."""

import gzip
from functools import cache
from pathlib import Path

import unmask
from filing import DATA, WORK
from unmask.data.windows import Window
from unmask.predict.records import records
from unmask.tasks.translate import TASK, Translation
from unmask.text.columns import Columns
from unmask.text.tokenizer import Tokenizer
from unmask.train import recipe
from unmask.train.recipe import Shape
from unmask.train.tuning import WRITING, Tuning, load_tuning

FOLDER = WORK / "translation"
SOURCE = DATA / "multi30k"
LANGUAGES = ("en", "de")
PARTS = {"train": 29_000, "val": 1_014, "test_2016_flickr": 1_000}
"""Files of the data set with their pairs of sentences."""
SMOKE = {"train": 512, "val": 24, "test_2016_flickr": 24}
"""Of how many pairs they are where it is only to be seen that everything works."""
RECIPE = "transformer-mini"
VOCABULARY = 8_000
"""Entries of one vocabulary for both languages. It is of bytes, so that every blank comes back."""
EVALUATIONS = 6
"""In each run, evenly: the best model by BLEU on val, written greedily, is the one that is kept."""
BEAMS = 4
"""Of the translations of the test file."""
SETTINGS = (
    "dropout=0.2",
    "generation.num_beams=1",
    "generation.max_new_tokens=80",
    f"keeping.rows={PARTS['val']}",
    "keeping.checkpoint_seconds=120",
)
"""What differs from the recipe's own settings."""


def tuning() -> Tuning:
    """Give the settings of both sides, as `unmask finetune` resolves them."""
    shape, usual = recipe.transformer(RECIPE)
    return load_tuning(shape.positions, {}, None, SETTINGS, [WRITING, usual])


def shape() -> Shape:
    """Give the sizes of both models."""
    return recipe.transformer(RECIPE)[0]


def folder(smoke: bool) -> Path:
    """Name the folder of everything that a study makes."""
    return FOLDER / "smoke" if smoke else FOLDER


def files(part: str, smoke: bool) -> str:
    """Name the two files of a part, one of each language, as `unmask finetune` takes them."""
    named = [folder(smoke) / f"{part}.{language}.txt" for language in LANGUAGES]
    return ",".join(map(str, named))


def prepare(smoke: bool) -> None:
    """Unpack the files, and train the vocabulary; what is there already stays."""
    folder(smoke).mkdir(parents=True, exist_ok=True)
    for part, count in (SMOKE if smoke else PARTS).items():
        for language, path in zip(LANGUAGES, files(part, smoke).split(","), strict=True):
            with gzip.open(SOURCE / f"{part}.{language}.gz", "rt", encoding="utf-8") as lines:
                found = lines.readlines()
            assert len(found) == PARTS[part], f"{part}.{language}: {len(found)} lines"
            Path(path).write_text("".join(found[:count]), encoding="utf-8")
    if not (words(smoke) / "tokenizer.json").exists():
        unmask.train_tokenizer(
            files("train", smoke).split(","),
            out=words(smoke),
            kind="byte-bpe",
            vocab_size=VOCABULARY,
        )


def words(smoke: bool) -> Path:
    """Name the folder of the tokenizer."""
    return folder(smoke) / "tokenizer"


@cache
def task() -> Translation:
    """Make the task as fine-tuning does, for laying out examples and counting losses."""
    settings = tuning()
    return Translation(
        reading=settings.reading, writing=settings.generation, smoothing=settings.smoothing
    )


def examples(part: str, smoke: bool) -> list[Window]:
    """Read a part as windows: the ids of a source in `ids`, those of its translation in `target`.

    These are the very tokens that `unmask finetune` learns from.
    """
    found = list(records(TASK, files(part, smoke), Columns()))
    tokenizer = Tokenizer.load(words(smoke))
    return [window for (window,) in task().windows(found, tokenizer)]
