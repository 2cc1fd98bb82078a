"""Corpus preparation stopped and started again, or started where a store is already."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from corpora import (
    assert_same_files,
    sentences_of,
    write_corpus,
)
from unmask.data import plan
from unmask.data import prepare as module
from unmask.data.plan import WORK
from unmask.data.prepare import prepare
from unmask.data.store import Store
from unmask.errors import UserError
from unmask.text.kinds.wordpiece import SPECIAL, WordPiece, describe

# Stopped and started again

START = """
import signal
import sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background of a shell
from unmask import cli
from unmask.data import plan
plan.SMALLEST = int(sys.argv[1])
sys.exit(cli.main(sys.argv[2:]))
"""


def start(text: Path, tokenizer: Path, out: Path) -> "subprocess.Popen[str]":
    """Start a preparation of many tasks in a process of its own."""
    arguments = ["prepare", text, "--tokenizer", tokenizer, "--out", out, "--workers", "2"]
    return subprocess.Popen(
        [sys.executable, "-c", START, "20000", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stop_when(
    process: "subprocess.Popen[str]", ready: Callable[[], bool], number: signal.Signals
) -> None:
    while not ready():
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    process.send_signal(number)
    process.communicate()


def completed(out: Path) -> set[str]:
    folder = out / WORK / "completions"
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_killed_at_any_moment_it_goes_on_and_ends_with_the_same_store(
    tokenizer: Path, tmp_path: Path
) -> None:
    text = write_corpus(tmp_path / "corpus.txt", 8_000)
    out = tmp_path / "store"
    for tasks in (0, 1, 8):
        process = start(text, tokenizer, out)
        stop_when(process, lambda: len(completed(out)) >= tasks, signal.SIGKILL)  # noqa: B023
        assert process.returncode == -signal.SIGKILL
    shards = [out / f"shard-{int(name):05d}" for name in completed(out)]
    assert len(shards) >= 8
    assert not (out / "manifest.json").exists()
    with pytest.raises(UserError, match="half-written"):
        Store.open(out)
    times = {shard: shard.stat().st_mtime_ns for shard in shards}
    process = start(text, tokenizer, out)
    errors = process.communicate()[1]
    assert process.returncode == 0, errors
    assert {shard: shard.stat().st_mtime_ns for shard in shards} == times
    whole = tmp_path / "whole"
    start(text, tokenizer, whole).communicate()
    assert_same_files(out, whole)


def test_an_interrupt_ends_all_processes(tokenizer: Path, tmp_path: Path) -> None:
    text = write_corpus(tmp_path / "corpus.txt", 16_000)
    out = tmp_path / "store"
    process = start(text, tokenizer, out)
    stop_when(process, lambda: len(completed(out)) >= 1, signal.SIGINT)
    assert process.returncode == 130
    with module._locked(out):  # no process of it holds the folder any more
        assert len(completed(out)) < len(plan.Plan.load(out).tasks)  # type: ignore[union-attr]


def test_two_processes_cannot_prepare_the_same_store(
    finished: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.0)
    with module._locked(tmp_path / "store"), pytest.raises(UserError, match="another process"):
        prepare([str(finished / "text.txt")], tokenizer=tokenizer, out=tmp_path / "store")


KILLED = """
import os, signal, sys
from concurrent.futures.process import BrokenProcessPool
from unmask.data.local import Local

def die(data, rank, world_size):
    os.kill(os.getpid(), signal.SIGKILL)

try:
    Local(pipeline=[die], tasks=3, workers=2, logging_dir=sys.argv[1]).run()
except BrokenProcessPool:
    sys.exit(7)
"""


def test_a_killed_worker_is_noticed(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], capture_output=True)
    assert done.returncode == 7


STOCK = """
import sys
from datatrove.executor import LocalPipelineExecutor
from unmask.data.pipeline import steps
out, tasks = sys.argv[1], int(sys.argv[2])
LocalPipelineExecutor(steps(out), tasks=tasks, workers=1, logging_dir=f"{out}/.preparing").run()
"""


def test_another_executor_of_datatrove_can_do_the_tasks(
    tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "SMALLEST", 2000)
    corpus = write_corpus(tmp_path / "corpus.txt", 300)
    prepare([str(corpus)], tokenizer=tokenizer, out=tmp_path / "ours")
    out = tmp_path / "theirs"
    with monkeypatch.context() as patch:
        patch.setattr(module.subprocess, "Popen", stopped)
        with pytest.raises(KeyboardInterrupt):
            prepare([str(corpus)], tokenizer=tokenizer, out=out)
        tasks = len(plan.Plan.load(out).tasks)  # type: ignore[union-attr]
        command = [sys.executable, "-c", STOCK, str(out), str(tasks)]
        patch.undo()
        subprocess.run(command, check=True, capture_output=True)
        patch.setattr(module.subprocess, "Popen", stopped)
        prepare([str(corpus)], tokenizer=tokenizer, out=out)
    assert_same_files(tmp_path / "ours", out)


def stopped(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


# A store that is there already


def test_a_finished_store_is_described_again(
    finished: Path, tokenizer: Path, tmp_path: Path
) -> None:
    text, out = str(finished / "text.txt"), finished / "store"
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    moved = shutil.copy(text, tmp_path)
    for source in (text, str(moved)):  # it is the text that counts, not where it lies
        again = prepare([source], tokenizer=tokenizer, out=out, workers=1)
        assert (again.documents, again.sentences, again.tokens) == (
            3,
            8,
            Store.open(out).tokens_total,
        )
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == times


def test_a_store_of_another_input_is_refused_by_name(
    finished: Path, tokenizer: Path, tmp_path: Path
) -> None:
    text, out = str(finished / "text.txt"), finished / "store"

    def refused(message: str, texts: list[str] | None = None, **options: object) -> None:
        with pytest.raises(UserError, match=message):
            prepare(texts or [text], **{"tokenizer": tokenizer, "out": out} | options)

    cased = tmp_path / "cased"
    WordPiece(describe([*SPECIAL, *"abc"], cased=True)).save(cased)
    refused("another tokenizer", tokenizer=cased)
    refused("--sentences punkt", sentences="lines")
    other = tmp_path / "other.txt"
    other.write_text("The bear.\n")
    refused(f"without {other}", [text, str(other)])
    refused("other text", [str(other)])
    changed = tmp_path / "copy" / "text.txt"
    shutil.copytree(finished, tmp_path / "copy")
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["made_of"]["sources"][0][0] = str(changed)
    (tmp_path / "copy" / "store" / "manifest.json").write_text(json.dumps(manifest))
    changed.write_text("The bear.\n")
    refused("text.txt has changed", [str(changed)], out=tmp_path / "copy" / "store")
    assert len(sentences_of(out)) == 3


def test_an_unfinished_store_of_other_text_is_refused(
    finished: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.subprocess, "Popen", stopped)
    with pytest.raises(KeyboardInterrupt):
        prepare([str(finished / "text.txt")], tokenizer=tokenizer, out=tmp_path / "store")
    other = tmp_path / "other.txt"
    other.write_text("The bear.\n")
    with pytest.raises(UserError, match="other text"):
        prepare([str(other)], tokenizer=tokenizer, out=tmp_path / "store")


def test_a_damaged_store_is_refused(finished: Path, tokenizer: Path, tmp_path: Path) -> None:
    out = tmp_path / "store"
    shutil.copytree(finished / "store", out)
    with (out / "shard-00000" / "tokens.npy").open("ab") as file:
        file.write(b"x")
    with pytest.raises(UserError, match=r"tokens\.npy.*damaged"):
        prepare([str(finished / "text.txt")], tokenizer=tokenizer, out=out)


def test_other_folders_and_files_are_left_alone(
    finished: Path, tokenizer: Path, tmp_path: Path
) -> None:
    text = str(finished / "text.txt")
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "mother.txt").write_text("Dear")
    with pytest.raises(UserError, match="other things than a token store"):
        prepare([text], tokenizer=tokenizer, out=tmp_path / "letters")
    with pytest.raises(UserError, match="a file is there"):
        prepare([text], tokenizer=tokenizer, out=tmp_path / "letters" / "mother.txt")
    with pytest.raises(UserError, match=r"mother\.txt.*Not a directory"):
        prepare([text], tokenizer=tokenizer, out=tmp_path / "letters" / "mother.txt" / "store")
    assert [path.name for path in (tmp_path / "letters").iterdir()] == ["mother.txt"]
