"""The command line: instant help, options as typed, exit statuses, what goes to which stream."""

import dataclasses
import importlib
import json
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.text import Text

from unmask import cli, verbs
from unmask.errors import UserError


@dataclass(frozen=True)
class Counted:
    documents: int
    seconds: float


class Shown:
    def to_json(self) -> dict[str, Any]:
        return {"results": [{"token": "ä"}]}

    def __rich__(self) -> Text:
        return Text("a table")


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A verb that does what the test says, in the place of `pretrain`."""
    double = SimpleNamespace(seen=None, result=Counted(1, 1.0), error=None)

    @verbs.verb(verbs.PretrainOptions)
    def pretrain(options: verbs.PretrainOptions) -> Any:
        double.seen = options
        if double.error is not None:
            raise double.error
        return double.result

    monkeypatch.setitem(sys.modules, "double", SimpleNamespace(pretrain=pretrain))
    stand_in = cli.Verb(options=verbs.PretrainOptions, function="double:pretrain", out="RUN")
    monkeypatch.setitem(cli.VERBS, "pretrain", stand_in)
    return double


@pytest.mark.parametrize("verb", ["", *cli.VERBS])
def test_help_loads_no_heavy_module(verb: str) -> None:
    script = (
        "import sys; from unmask import cli\n"
        "try: cli.main(sys.argv[1:])\n"
        "finally: print([m for m in ('torch', 'numpy', 'transformers', 'datatrove', 'pyarrow')"
        " if m in sys.modules], file=sys.stderr)"
    )
    arguments = [verb, "--help"] if verb else ["--help"]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"
    assert done.stdout.startswith(f"usage: unmask {verb}".rstrip())
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("verb", "usage"),
    [
        ("tokenizer", "TEXT... --out DIR"),
        ("prepare", "TEXT... --tokenizer DIR --out STORE [--workers N]"),
        ("pretrain", "STORE[=WEIGHT]... --out RUN [--recipe NAME]"),
        ("predict", "[TEXT...] --model DIR_OR_ID [--input FILE]"),
        ("fill", "TEXT --model DIR_OR_ID [--top-k N]"),
        ("inspect", "[TEXT_OR_STORE] [--tokenizer DIR] [--recipe NAME]"),
        ("demo", "--out DIR"),
    ],
)
def test_usage_and_an_explanation_of_every_option(verb: str, usage: str) -> None:
    text = cli.parser(verb).format_help()
    assert text.startswith(f"usage: unmask {verb} {usage}")
    for action in cli.parser(verb)._actions:
        assert action.help, action.dest


def test_options_arrive_as_they_are_typed(answer: SimpleNamespace) -> None:
    line = ["a", "--set", "x=null", "--probe", "[MASK]", "b=2", "--out", "run", "--set", "y=[1]"]
    assert cli.main(["pretrain", *line, "--seed", "3", "--heldout", "null"]) == 0
    assert answer.seen == verbs.PretrainOptions(
        ["a", "b=2"],
        out=Path("run"),
        set=["x=null", "y=[1]"],
        probe=["[MASK]"],
        seed=3,
        heldout="null",
    )
    assert cli.main(["pretrain", "c", "--out", "run"]) == 0
    assert answer.seen == verbs.PretrainOptions(["c"], out=Path("run"))


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        (["pretain"], ["unmask: no command 'pretain'", "did you mean pretrain?"]),
        (["pretrain"], ["unmask pretrain: ", "required", "see unmask pretrain --help"]),
        (["pretrain", "a", "--out", "b", "--sed", "3"], ["--sed"]),
        (["pretrain", "a", "--out", "b", "--seed", "x"], ["--seed: 'x' is not a whole number"]),
        (["tokenizer", "a", "--out", "b", "--kind", "bpe"], ["--kind", "'bpe'", "wordpiece"]),
    ],
)
def test_wrong_options_are_one_line_and_status_2(
    line: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(line) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    for part in parts:
        assert part in said.err


@pytest.mark.parametrize(
    ("error", "status", "line", "trace"),
    [
        (UserError("a.txt: not\nUTF-8"), 2, "unmask pretrain: a.txt: not UTF-8", False),
        (OSError(28, "No space left on device", "/x"), 2, "/x: No space left on device", False),
        (KeyboardInterrupt(), 130, "unmask pretrain: interrupted", False),
        (KeyError("x"), 1, "a failure of ours; please report", True),
        (BrokenPipeError(32, "of a worker"), 1, "a failure of ours; please report", True),
    ],
)
def test_an_error_has_its_status(
    answer: SimpleNamespace,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    line: str,
    trace: bool,
) -> None:
    answer.error = error
    assert cli.main(["pretrain", "a", "--out", "b"]) == status
    said = capsys.readouterr()
    assert line in said.err.splitlines()[-1]
    assert ("Traceback" in said.err) == trace


def test_a_run_that_saved_itself_keeps_its_status(answer: SimpleNamespace) -> None:
    answer.error = SystemExit(130)
    with pytest.raises(SystemExit) as caught:
        cli.main(["pretrain", "a", "--out", "b"])
    assert caught.value.code == 130


def test_results_for_people_and_for_programs(
    answer: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["pretrain", "a", "--out", "b"]
    answer.result = Counted(documents=12_345, seconds=0.1)
    assert cli.main([*line, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"documents": 12_345, "seconds": 0.1}
    assert cli.main(line) == 0
    assert capsys.readouterr().out.split() == ["documents", "12,345", "seconds", "0.1"]
    answer.result = Shown()
    assert cli.main([*line, "--json"]) == 0
    assert capsys.readouterr().out == '{"results": [{"token": "ä"}]}\n'
    assert cli.main(line) == 0
    assert capsys.readouterr().out == "a table\n"


def test_a_result_that_is_no_record_is_shown_by_its_attributes(
    answer: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer.result = SimpleNamespace(vocab_size=3, other=4)
    verb = dataclasses.replace(cli.VERBS["pretrain"], shown=("vocab_size",))
    monkeypatch.setitem(cli.VERBS, "pretrain", verb)
    assert cli.main(["pretrain", "a", "--out", "b", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"vocab_size": 3}


def test_a_warning_is_a_line(
    answer: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer.result = Counted(documents=1, seconds=1.0)
    module = sys.modules["double"]
    verb = module.pretrain

    def warned(**options: Any) -> Any:
        warnings.warn("texts were cut", stacklevel=1)
        return verb(**options)

    monkeypatch.setattr(module, "pretrain", warned)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert cli.main(["pretrain", "a", "--out", "b"]) == 0
    assert capsys.readouterr().err == "unmask pretrain: texts were cut\n"


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_is_there(verb: str) -> None:
    module, _, function = cli.VERBS[verb].function.partition(":")
    assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize("write", ["print(1)", "console.results().print(1)"])
def test_a_reader_that_goes_away_is_no_failure(write: str) -> None:
    script = (
        "import sys; from unmask import cli, console\n"
        f"cli._run = lambda arguments: {write}\n"
        "sys.stdin.read(); sys.exit(cli.main([]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("unmask 0")
