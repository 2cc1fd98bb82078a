"""The verbs `fill` and `predict`, from the command line to the files that they write."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tiny
from unmask import cli
from unmask.predict import predictor
from unmask.predict.model import Model

TEXTS = [f"the {'lazy ' * (7 * n % 5)}[MASK] walked" for n in range(12)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("model")
    Model(tiny.pretrained(tiny.tokenizer(), positions=16)).save_pretrained(out)
    return str(out)


@pytest.fixture(scope="module")
def expected(folder: str) -> list[Any]:
    return Model.from_pretrained(folder).fill(TEXTS, top_k=2)


def write(path: Path, texts: list[str]) -> Path:
    lines = [json.dumps({"id": n, "text": text}) for n, text in enumerate(texts)]
    path.write_text("\n".join(lines))
    return path


def scores(rows: list[Any]) -> list[Any]:
    return [[(one["token"], round(one["score"], 4)) for one in row] for row in rows]


def test_fill_shows_a_table_and_gives_json(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fill", TEXTS[1], "--model", folder, "--top-k", "3"]) == 0
    said = capsys.readouterr()
    best = Model.from_pretrained(folder).fill(TEXTS[1], top_k=3)
    lines = said.out.splitlines()
    assert lines[0].split() == ["score", "token", "sequence"]
    assert [line.split()[0] for line in lines[1:]] == [f"{one['score']:.4f}" for one in best]
    assert all(one["sequence"] in line for one, line in zip(best, lines[1:], strict=True))
    assert "\x1b" not in said.out
    assert cli.main(["fill", TEXTS[1], "--model", folder, "--top-k", "3", "--json"]) == 0
    assert scores([json.loads(capsys.readouterr().out)["results"]]) == scores([best])


def test_fill_shows_every_mask(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fill", "[MASK] fox [MASK]", "--model", folder]) == 0
    out = capsys.readouterr().out
    assert "mask 1 of 2" in out
    assert "mask 2 of 2" in out
    assert cli.main(["fill", "[MASK] fox [MASK]", "--model", folder, "--json"]) == 0
    assert [len(mask) for mask in json.loads(capsys.readouterr().out)["results"]] == [5, 5]


def test_a_text_without_a_mask_is_the_users_to_mend(
    folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["fill", "no mask", "--model", folder]) == 2
    assert capsys.readouterr().err == (
        "unmask fill: no [MASK] in 'no mask'; put one where a word is to be found\n"
    )


@pytest.mark.parametrize("chunk", [1, 5, 1_000])
def test_rows_come_out_in_order_with_their_results(
    folder: str,
    expected: list[Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    chunk: int,
) -> None:
    monkeypatch.setattr(predictor, "ROWS", chunk)
    file = write(tmp_path / "in.jsonl", TEXTS)
    line = ["predict", "--model", folder, "--input", str(file), "--top-k", "2"]
    assert cli.main(line) == 0
    said = capsys.readouterr()
    rows = [json.loads(text) for text in said.out.splitlines()]
    assert [(row["id"], row["text"]) for row in rows] == list(enumerate(TEXTS))
    assert scores([row["results"] for row in rows]) == scores(expected)
    assert said.err == "12 rows\n"
    out = tmp_path / "out.jsonl"
    assert cli.main([*line, "--output", str(out), "--json"]) == 0
    assert [json.loads(text) for text in out.read_text().splitlines()] == rows
    result = json.loads(capsys.readouterr().out)
    assert result["results"] == rows
    assert (result["rows"], result["skipped"], result["output"]) == (12, 0, str(out))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_texts_can_be_given_directly(
    folder: str, expected: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["predict", *TEXTS, "--model", folder, "--top-k", "2", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["results"]
    assert [row["text"] for row in rows] == TEXTS
    assert scores([row["results"] for row in rows]) == scores(expected)


def test_a_bad_row_stops_and_leaves_no_file(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "in.jsonl", [*TEXTS, "no mask", *TEXTS])
    out = tmp_path / "out.jsonl"
    out.write_text("old\n")
    line = ["predict", "--model", folder, "--input", str(file), "--output", str(out)]
    assert cli.main(line) == 2
    said = capsys.readouterr().err
    assert "in.jsonl, line 13: no [MASK] in 'no mask'" in said
    assert "--on-error skip" in said
    assert out.read_text() == "old\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_bad_rows_are_skipped_and_counted(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text('{"text": "[MASK]"}\n{"txt": 1}\n' + "[]\n" * 20 + '{"text": "a [MASK]"}\n')
    line = ["predict", "--model", folder, "--input", str(file), "--on-error", "skip", "--json"]
    assert cli.main(line) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert [row["text"] for row in result["results"]] == ["[MASK]", "a [MASK]"]
    assert result["skipped"] == 21
    assert "line 2: no column of text (text or sentence), only 'txt'" in said.err
    assert said.err.count("skipped ") == 10
    assert "2 rows, 21 skipped" in said.err


def test_long_texts_are_counted(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["predict", "[MASK]", "the " * 30 + "[MASK]", "--model", folder]) == 0
    assert "2 rows, 1 longer than 16 tokens and cut" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ([], "give either texts or --input FILE"),
        (["a", "--input", "b.txt"], "give either texts or --input FILE"),
        (["[MASK]", "--top-k", "0"], "--top-k 0"),
        (["--input", "absent.txt"], "absent.txt: no such file"),
        (["[MASK]", "--output", "absent/out.jsonl"], "there is no folder absent"),
        (["[MASK]", "--output", "folder.jsonl"], "folder.jsonl: that is a folder; name a file"),
    ],
)
def test_what_cannot_be_done_is_said(
    folder: str,
    capsys: pytest.CaptureFixture[str],
    line: list[str],
    part: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.jsonl").mkdir()
    assert cli.main(["predict", "--model", folder, *line]) == 2
    said = capsys.readouterr().err
    assert part in said
    assert said.count("\n") == 1


def test_the_bar_stays_out_of_the_results(folder: str, tmp_path: Path) -> None:
    """Standard error is a terminal, standard output a pipe."""
    ours, theirs = os.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "unmask.cli", "predict", *TEXTS, "--model", folder],
        stdout=subprocess.PIPE,
        stderr=theirs,
        check=True,
        text=True,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(theirs)
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == TEXTS
    assert b"predicting" in os.read(ours, 10_000)
    os.close(ours)
