"""Which task of a preparation reads which text: a plan that depends on the input alone.

However many processes work on the tasks, and however often they are stopped, the same input gives
the same tasks, each its own shard, and so the same store.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from unmask.text.opening import Part
from unmask.text.reading import TextFile, form
from unmask.text.scanning import Scan, scan

WORK = ".preparing"
"""Folder inside an unfinished store: the plan, the tokenizer, what is completed, the logs."""

TASKS = 32
"""How many tasks a corpus of middling size is cut into."""

SMALLEST, LARGEST = 2 << 20, 64 << 20
"""Stored bytes of a task, at least and at most: its start costs little, its loss not much."""

EXPANSION = 3
"""Bytes of text that a compressed byte is taken for, as long as nobody has read them."""


class Source(NamedTuple):
    """A file of text as it was when the plan was made."""

    path: str
    """Path or URL."""
    size: int
    """Bytes as stored."""
    sha256: str
    """Checksum of the bytes as stored, in hexadecimal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """All that determines a store."""

    tokenizer: str
    """Fingerprint of the tokenizer."""
    sentences: Literal["punkt", "unicode", "lines"]
    """How text is split into sentences."""
    errors: str
    """What is done with undecodable bytes."""
    sources: list[Source]
    """The files, in the order of the store."""
    languages: list[str] = field(default_factory=list)
    """Of the text; of translations, that of each sentence of a document. Empty: not told."""

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Input":
        """Make one of what `asdict` and JSON have made of another."""
        return cls(**{**content, "sources": [Source(*source) for source in content["sources"]]})

    @property
    def text(self) -> str:
        """Hash of the text: of what the files hold and in which form, wherever they lie."""
        content = [(form(source.path), source.sha256) for source in self.sources]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def difference(self, earlier: "Input") -> str | None:
        """Say what an earlier input had otherwise, or nothing where it gives the same store."""
        if earlier.tokenizer != self.tokenizer:
            return "another tokenizer"
        if earlier.sentences != self.sentences:
            return f"--sentences {earlier.sentences}"
        if earlier.languages != self.languages:
            return f"--language {','.join(earlier.languages) or 'left out'}"
        if earlier.errors == "replace" and self.errors == "strict":
            return "--errors replace"  # strictly read, the text that is there already is the same
        if earlier.text != self.text:
            return f"other text ({self._difference_of_text(earlier)})"
        return None

    def _difference_of_text(self, earlier: "Input") -> str:
        before, now = ({s.path: s.sha256 for s in i.sources} for i in (earlier, self))
        for path in now:
            if path in before and now[path] != before[path]:
                return f"{path} has changed"
        for path in now.keys() - before.keys():
            return f"without {path}"
        for path in before.keys() - now.keys():
            return f"with {path} too"
        return "in another order"


class Reading(NamedTuple):
    """A file, or a part of one, that a task reads."""

    source: int
    """The place of the file among the sources."""
    part: Part
    """The part of it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The tasks that make a store of an input."""

    input: Input
    """What it is made of."""
    tasks: list[list[Reading]]
    """What each task reads, in order."""

    @staticmethod
    def shard(task: int) -> str:
        """Name the shard that a task writes."""
        return f"shard-{task:05d}"

    def expected(self, task: int) -> int:
        """Estimate the bytes of text of a task before it is read."""
        size = 0
        for index, part in self.tasks[task]:
            stored = self.input.sources[index].size
            size += stored * EXPANSION if part.stop is None else part.stop - part.start
        return size

    def save(self, store: Path) -> None:
        """Write the plan into the working folder of a store; it appears when it is whole."""
        partial = store / WORK / "plan.partial"
        partial.write_text(json.dumps(asdict(self)), "utf-8")
        partial.rename(store / WORK / "plan.json")

    @classmethod
    def load(cls, store: Path) -> "Plan | None":
        """Read the plan of an unfinished store; None when there is none."""
        path = store / WORK / "plan.json"
        if not path.is_file():
            return None
        content = json.loads(path.read_text("utf-8"))
        tasks = [[Reading(i, Part(*part)) for i, part in task] for task in content["tasks"]]
        return cls(Input.of(content["input"]), tasks)


def make_plan(
    files: Sequence[TextFile],
    *,
    tokenizer: str,
    sentences: Literal["punkt", "unicode", "lines"],
    errors: str,
    languages: Sequence[str] = (),
) -> Plan:
    """Read all files once, for their checksums and for the places where they can be cut.

    Raises UserError when a file cannot be read.
    """
    size = min(max(sum(file.size for file in files) // TASKS, SMALLEST), LARGEST)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        scans = list(pool.map(partial(scan, size=size), [file.path for file in files]))
    sources = [
        Source(file.path, found.size, found.sha256)
        for file, found in zip(files, scans, strict=True)
    ]
    made_of = Input(
        tokenizer=tokenizer,
        sentences=sentences,
        errors=errors,
        sources=sources,
        languages=list(languages),
    )
    return Plan(made_of, _tasks(scans, size))


def _tasks(scans: Sequence[Scan], size: int) -> list[list[Reading]]:
    """Gather the parts of all files, in order, into tasks of at least `size` stored bytes."""
    tasks: list[list[Reading]] = [[]]
    gathered = 0
    for index, found in enumerate(scans):
        for part in found.parts:
            if gathered >= size:
                tasks.append([])
                gathered = 0
            tasks[-1].append(Reading(index, part))
            gathered += found.size if part.stop is None else part.stop - part.start
    return tasks
