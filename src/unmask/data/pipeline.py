"""The steps from text to the shards of a token store, as a datatrove pipeline.

A task of the pipeline is a task of the plan and writes one shard. `unmask prepare` runs the
pipeline with processes of this machine; every other executor of datatrove can run it too, with as
many tasks as the plan has, and `unmask prepare` then makes the store of the shards.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from datatrove.pipeline.base import PipelineStep

from unmask.data.plan import WORK, Plan
from unmask.data.writing import ShardWriter
from unmask.text.reading import Piece, TextFile, read
from unmask.text.sentences import splitter
from unmask.text.tokenizer import Tokenizer

_BATCH = 1 << 17
"""Bytes of text that are tokenised together."""

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")

Tell = Callable[[dict[str, Any]], None]
"""Takes news of a task: `bytes` more of its text are done, or `task` is done with `total` bytes."""


class Paragraph(NamedTuple):
    """A piece of text, split."""

    piece: Piece
    sentences: list[str]
    """In order, none empty."""


class ReadText(PipelineStep):  # type: ignore[misc]
    """Reads the pieces of a task's files; counts empty files and control characters."""

    name = "Read text"
    type = "Reader"

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = folder

    def run(self, data: None = None, rank: int = 0, world_size: int = 1) -> Iterator[Piece]:
        """Give the pieces of one task. Raises UserError for text that cannot be read."""
        plan = _plan(self.folder)
        assert world_size == len(plan.tasks), "there are as many tasks as the plan has"
        for index, part in plan.tasks[rank]:
            source = plan.input.sources[index]
            empty = True
            for piece in read(TextFile(source.path, source.size), plan.input.errors, part):
                empty = False
                if not piece.text.isprintable():
                    self.stat_update("control_characters", value=len(_CONTROL.findall(piece.text)))
                yield piece
            self.stat_update("empty_files", value=int(empty))


class SplitSentences(PipelineStep):  # type: ignore[misc]
    """Splits the pieces into sentences."""

    name = "Split sentences"
    type = "Splitter"

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = folder

    def run(self, data: Iterable[Piece], rank: int = 0, world_size: int = 1) -> Iterator[Paragraph]:
        """Give each piece with its sentences."""
        split = splitter(_plan(self.folder).input.sentences)
        for piece in data:
            yield Paragraph(piece, split(piece.text))


class WriteShard(PipelineStep):  # type: ignore[misc]
    """Tokenises the sentences into the shard of the task; counts bytes and empty documents."""

    name = "Write shard"
    type = "Writer"

    def __init__(self, folder: str, tell: Tell | None) -> None:
        super().__init__()
        self.folder = folder
        self.tell = tell

    def run(self, data: Iterable[Paragraph], rank: int = 0, world_size: int = 1) -> None:
        """Write one shard, in bounded memory. Raises OSError when the disk is full."""
        tokenizers = _tokenizers(self.folder)
        writer = ShardWriter(Path(self.folder), Plan.shard(rank), tokenizers[0].vocab_size)
        documents = total = 0
        for batch in _batches(data, whole=len(tokenizers) > 1):
            ids = _tokenised(batch, tokenizers)
            start = 0
            for piece, sentences in batch:
                stop = start + len(sentences)
                writer.add(ids[start:stop], ends_document=piece.ends_document)
                start = stop
                documents += piece.ends_document
            size = sum(piece.size for piece, _ in batch)
            total += size
            if self.tell:
                self.tell({"bytes": size})
        info = writer.close()
        self.stat_update("bytes", value=total)
        self.stat_update("empty_documents", value=documents - info.documents)
        if self.tell:
            self.tell({"task": rank, "total": total})


def steps(folder: str, tell: Tell | None = None) -> list[PipelineStep]:
    """Give the pipeline that does the plan in the working folder of a store."""
    return [ReadText(folder), SplitSentences(folder), WriteShard(folder, tell)]


def warm(folder: str) -> Plan:
    """Load what the steps need, for processes that will be forked from this one."""
    splitter(_plan(folder).input.sentences)("Once is enough.")
    _tokenizers(folder)
    return _plan(folder)


@cache
def _plan(folder: str) -> Plan:
    plan = Plan.load(Path(folder))
    assert plan is not None, "the plan is written before its tasks start"
    return plan


@cache
def _tokenizers(folder: str) -> list[Tokenizer]:
    """Load the tokenizer, for each language of the text."""
    tokenizer = Tokenizer.load(Path(folder, WORK, "tokenizer"))
    languages = _plan(folder).input.languages
    return [tokenizer.with_language(language) for language in languages] or [tokenizer]


def _tokenised(batch: Sequence[Paragraph], tokenizers: Sequence[Tokenizer]) -> list[list[int]]:
    """Give the ids of all sentences; those of a document take turns with the languages."""
    texts: list[tuple[int, str]] = []
    turn = 0
    for piece, sentences in batch:
        for number, sentence in enumerate(sentences):
            which = turn % len(tokenizers)
            texts.append((which, tokenizers[which].joint * (number > 0) + sentence))
            turn += 1
        turn = 0 if piece.ends_document else turn
    if len(tokenizers) == 1:
        return tokenizers[0].encode_batch([text for _, text in texts])
    found = [
        iter(tokenizer.encode_batch([text for own, text in texts if own == which]))
        for which, tokenizer in enumerate(tokenizers)
    ]
    return [next(found[which]) for which, _ in texts]


def _batches(paragraphs: Iterable[Paragraph], whole: bool) -> Iterator[list[Paragraph]]:
    """Gather paragraphs; whole: of whole documents, which then are translations, and short."""
    batch: list[Paragraph] = []
    size = 0
    for paragraph in paragraphs:
        batch.append(paragraph)
        size += paragraph.piece.size
        if size >= _BATCH and (paragraph.piece.ends_document or not whole):
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
