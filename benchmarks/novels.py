"""The text that pre-training is measured on: the novels as a token store, made once.

The vocabulary is that of bert-base-uncased, which every peer knows.
"""

import shutil
from pathlib import Path

import unmask
from filing import DATA, WORK, kept, printed
from unmask.data.store import Store
from unmask.text.tokenizer import Tokenizer

FOLDER = WORK / "novels"
STORE = FOLDER / "store"
TOKENIZER = FOLDER / "tokenizer"
TEXTS = DATA / "novels" / "train"
VOCABULARY = DATA / "vocabs" / "bert-base-uncased-vocab.txt"


def novels() -> Store:
    """Open the store; the first time, make it."""
    sizes = {path.name: path.stat().st_size for path in sorted(TEXTS.iterdir())}
    made_of = {"texts": sizes, "vocabulary": printed(VOCABULARY), "unmask": unmask.__version__}
    kept(FOLDER, made_of, _make)
    return Store.open(STORE)


def _make(folder: Path) -> None:
    TOKENIZER.mkdir()
    shutil.copy(VOCABULARY, TOKENIZER / "vocab.txt")
    Tokenizer.load(TOKENIZER).save(TOKENIZER)
    unmask.prepare([str(TEXTS)], tokenizer=TOKENIZER, out=STORE)
