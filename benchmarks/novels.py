"""The text that pre-training is measured on: the novels as a token store, made once.

The vocabulary is that of bert-base-uncased, which every peer knows.
"""

import shutil

import unmask
from filing import DATA, WORK
from unmask.data.store import MANIFEST, Store
from unmask.text.tokenizer import Tokenizer

STORE = WORK / "novels" / "store"
TOKENIZER = WORK / "novels" / "tokenizer"


def novels() -> Store:
    """Open the store; the first time, make it."""
    if (STORE / MANIFEST).exists():
        return Store.open(STORE)
    if not (TOKENIZER / "tokenizer.json").exists():
        TOKENIZER.mkdir(parents=True, exist_ok=True)
        shutil.copy(DATA / "vocabs" / "bert-base-uncased-vocab.txt", TOKENIZER / "vocab.txt")
        Tokenizer.load(TOKENIZER).save(TOKENIZER)
    unmask.prepare([str(DATA / "novels" / "train")], tokenizer=TOKENIZER, out=STORE)
    return Store.open(STORE)
