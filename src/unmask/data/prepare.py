"""From text to a token store: read, split into sentences, tokenised, by several processes.

The work is cut into tasks that depend on the input alone, and each writes a shard; so the store is
the same however many processes there are, and a run that was stopped goes on with the tasks that
are missing.

    STORE/.preparing/   of an unfinished store: the plan, the tokenizer, what is completed, the logs
"""

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from unmask import console
from unmask.data.plan import WORK, Input, Plan, make_plan
from unmask.data.progress import Progress
from unmask.data.store import MANIFEST, Store
from unmask.data.writing import ShardInfo, finish
from unmask.errors import UserError
from unmask.text.parallel import join
from unmask.text.reading import expand
from unmask.text.tokenizer import Tokenizer
from unmask.verbs import PrepareOptions, verb

_STORED = 0.7
"""Bytes of a store to a byte of text, about."""

_PATIENCE = 5.0
"""Seconds to wait for the processes of a run that was killed to be gone."""

_STRETCH = 1 << 20
"""Documents that are looked at together."""

_COUNTS = ("bytes", "empty_files", "empty_documents", "control_characters")


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """What was prepared."""

    documents: int
    """Documents in the store."""
    sentences: int
    """Sentences in the store."""
    tokens: int
    """Tokens in the store."""
    bytes: int
    """UTF-8 bytes of the text, white space around paragraphs aside."""
    seconds: float
    """What it took; of a finished store, what looking took."""
    empty_files: int
    """Files without text."""
    empty_documents: int
    """Documents without text, which are not in the store."""
    control_characters: int
    """NULs and other control characters, which tokenizers drop."""
    lone_sentences: int
    """Documents of a single sentence, which can only serve as the random half of a pair."""


@verb(PrepareOptions)
def prepare(options: PrepareOptions) -> Prepared:
    """Tokenise text into a token store.

    Stopped and started again, it does what is missing; a finished store is only described. Raises
    UserError when the text, the tokenizer or the folder cannot be used, and when the folder holds a
    store of other text, another tokenizer or other settings.
    """
    started = time.monotonic()
    if options.workers is not None and options.workers < 1:
        raise UserError(f"--workers {options.workers}: give at least 1.")
    _check_folder(options.out)
    tokenizer = Tokenizer.load(options.tokenizer)
    languages = _languages(options, tokenizer)
    several = len(languages) > 1
    with _named(options.out):
        files = expand([_side_by_side(options, languages)] if several else options.texts)
    plan = make_plan(
        files,
        tokenizer=tokenizer.fingerprint,
        sentences="lines" if several else options.sentences,
        errors=options.errors,
        languages=languages,
    )
    with _named(options.out, plan):
        store = _finished(options.out, plan.input)
        if store is None:
            with _locked(options.out) as lock:
                plan = _resumed(options.out, plan)
                tokenizer.save(options.out / WORK / "tokenizer")
                plan.save(options.out)
                _tokenise(options.out, plan, options.workers or os.cpu_count() or 1, lock)
                store = _merge(options.out, plan, tokenizer.vocab_size)
        _clean(store)
    prepared = _describe(store, time.monotonic() - started)
    _say(prepared, options.out)
    return prepared


def _languages(options: PrepareOptions, tokenizer: Tokenizer) -> list[str]:
    """List the languages of the text. Raises UserError for one that the tokenizer does not know."""
    if options.language is None:
        if len(tokenizer.languages) > 1:
            raise UserError(
                f"{options.tokenizer} tells languages apart; say which one the text is of:"
                f" --language {' or '.join(tokenizer.languages)}."
            )
        return list(tokenizer.languages)
    languages = options.language.split(",")
    for language in languages:
        tokenizer.with_language(language)
    return languages


def _side_by_side(options: PrepareOptions, languages: Sequence[str]) -> str:
    """Write translations as documents of one sentence each; returns the path."""
    if len(options.texts) != len(languages):
        raise UserError(
            f"--language {options.language}: translations are one file for each language, in the"
            f" same order; here are {len(options.texts)}."
        )
    joined = options.out / WORK / "translations.jsonl"
    with _locked(options.out):
        left_out = join(options.texts, joined, options.errors)
    if left_out:
        console.words().print(f"warning: lines with an empty side, left out: {left_out:,}")
    return str(joined)


def _check_folder(out: Path) -> None:
    """Refuse a place that is neither free nor a store, finished or not."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: a file is there. Choose another --out.")
    known = (out / MANIFEST).exists() or (out / WORK).exists()
    if out.is_dir() and not known and any(out.iterdir()):
        raise UserError(f"{out}: holds other things than a token store. Choose another --out.")


@contextmanager
def _named(out: Path, plan: Plan | None = None) -> Iterator[None]:
    """Raise what the file system refuses in this block as a UserError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            wanted = ""
            if plan is not None:
                text = sum(map(plan.expected, range(len(plan.tasks))))
                wanted = f"; the whole store takes about {text * _STORED / 1e6:,.0f} MB"
            raise UserError(
                f"{out}: the disk is full{wanted}. "
                "Make room and run the command again: it goes on where it was."
            ) from error
        raise UserError(
            f"{error.filename or out}: {error.strerror}. Mend that, or choose another --out."
        ) from error


def _finished(out: Path, wanted: Input) -> Store | None:
    """Open the store if it is finished. Raises UserError when it is of another input."""
    if not (out / MANIFEST).exists():
        return None
    store = Store.open(out)
    made = store.manifest.get("made_of")
    difference = wanted.difference(Input.of(made)) if made else "something else than text"
    if difference:
        _clean(store)  # of translations, that were put side by side
    _refuse(out, difference)
    return store


def _refuse(out: Path, difference: str | None) -> None:
    if difference:
        raise UserError(f"{out}: made with {difference}. Choose another --out, or delete it.")


@contextmanager
def _locked(out: Path) -> Iterator[int]:
    """Keep the folder for this process and those that inherit the file descriptor.

    The processes of a run that was killed may live a moment longer than it.
    """
    (out / WORK).mkdir(parents=True, exist_ok=True)
    with (out / WORK / "lock").open("w") as lock:
        deadline = time.monotonic() + _PATIENCE
        while not _lock(lock.fileno()):
            if time.monotonic() > deadline:
                raise UserError(f"{out}: another process prepares it just now. Let it finish.")
            time.sleep(0.05)
        yield lock.fileno()


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _resumed(out: Path, plan: Plan) -> Plan:
    """Keep the tasks of a run that was stopped. Raises UserError when it was of another input."""
    earlier = Plan.load(out)
    if earlier is None:
        return plan
    _refuse(out, plan.input.difference(earlier.input))
    return replace(earlier, input=plan.input)


def _tokenise(out: Path, plan: Plan, workers: int, lock: int) -> None:
    """Do the tasks that are missing, in a program that this one watches."""
    done = {
        task: counts["bytes"] for task in range(len(plan.tasks)) if (counts := _counts(out, task))
    }
    if len(done) == len(plan.tasks):
        return
    command = [sys.executable, "-P", "-m", "unmask.data.local", str(out), str(workers)]
    with (out / WORK / "log").open("ab") as log, Progress(plan, done) as progress:
        program = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # an interrupt comes to this process alone, which ends them
            pass_fds=[lock],
            env=os.environ | {"TOKENIZERS_PARALLELISM": "false", "OPENBLAS_NUM_THREADS": "1"},
        )
        try:
            assert program.stdout
            for line in program.stdout:
                _heed(json.loads(line), progress)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            program.communicate()
    missing = [task for task in range(len(plan.tasks)) if not _counts(out, task)]
    if missing:
        raise RuntimeError(f"{out}: tasks {missing} were not done, see {log.name}")


def _heed(news: Mapping[str, Any], progress: Progress) -> None:
    """Take one line of news. Raises what the program could not go on with."""
    if "error" in news:
        raise UserError(news["error"])
    if "errno" in news:
        raise OSError(news["errno"], news["strerror"], news["filename"])
    if "failure" in news:
        raise RuntimeError(news["failure"])
    progress.add(news)


def _counts(out: Path, task: int) -> dict[str, int] | None:
    """Read what a completed task has counted."""
    if not (out / WORK / "completions" / f"{task:05d}").exists():
        return None
    counts = dict.fromkeys(_COUNTS, 0)
    for step in json.loads((out / WORK / "stats" / f"{task:05d}.json").read_text("utf-8")):
        for name, value in step["stats"].items():
            counts[name] += value["total"] if isinstance(value, dict) else value
    return counts


def _merge(out: Path, plan: Plan, vocab_size: int) -> Store:
    """Make the store of its shards."""
    tasks = range(len(plan.tasks))
    shards = [ShardInfo.read(out, plan.shard(task)) for task in tasks]
    counts = [_counts(out, task) for task in tasks]
    settings: dict[str, Any] = {
        "sentences": plan.input.sentences,
        "errors": plan.input.errors,
    }
    if plan.input.languages:
        settings["languages"] = plan.input.languages
    return finish(
        out,
        [shard for shard in shards if shard],
        tokenizer=out / WORK / "tokenizer",
        tokenizer_fingerprint=plan.input.tokenizer,
        vocab_size=vocab_size,
        settings=settings,
        text=plan.input.text,
        about={
            "made_of": asdict(plan.input),
            "counts": {name: sum(c[name] for c in counts if c) for name in _COUNTS},
        },
    )


def _clean(store: Store) -> None:
    """Remove from a finished store what only the work on it needed."""
    kept = {shard["name"] for shard in store.manifest["shards"]}
    for folder in store.path.iterdir():
        if folder.name == WORK or (folder.name.startswith("shard-") and folder.name not in kept):
            shutil.rmtree(folder)


def _describe(store: Store, seconds: float) -> Prepared:
    starts = store.document_starts
    lone = sum(
        np.count_nonzero(np.diff(starts[i : i + _STRETCH + 1]) == 1)
        for i in range(0, starts.size, _STRETCH)
    )
    return Prepared(
        documents=store.documents_total,
        sentences=store.sentences_total,
        tokens=store.tokens_total,
        seconds=round(seconds, 3),
        lone_sentences=int(lone),
        **store.manifest["counts"],
    )


def _say(prepared: Prepared, out: Path) -> None:
    """Tell people what there is, and what they may not have expected."""
    words = console.words()
    speed = prepared.bytes / 1e6 / prepared.seconds
    words.print(
        f"{out}: {prepared.documents:,} documents, {prepared.sentences:,} sentences, "
        f"{prepared.tokens:,} tokens from {prepared.bytes / 1e6:,.1f} MB of text "
        f"in {prepared.seconds:,.1f} s ({speed:,.1f} MB/s)"
    )
    for count, what in (
        (prepared.empty_files, "empty files"),
        (prepared.empty_documents, "empty documents, left out"),
        (prepared.control_characters, "control characters, left out"),
        (prepared.lone_sentences, "documents of a single sentence"),
    ):
        if count:
            words.print(f"warning: {what}: {count:,}")
    if prepared.documents == 1:
        words.print(
            "warning: a single document; next-sentence prediction needs two (a blank line ends one)"
        )
