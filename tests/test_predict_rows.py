"""The verb `predict` on tasks: rows of every format in, the same rows with results out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import samples
import tiny
from unmask import cli
from unmask.predict import output, predictor
from unmask.predict.model import Model
from unmask.text.rows import read_rows

PAIRS = [(one, two) for one, two in zip(tiny.SENTENCES[:9], tiny.SENTENCES[9:18], strict=True)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("models")
    return {name: samples.save(name, root / name) for name in samples.KINDS}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows in the format that the name tells."""
    if path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        lines = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
        path.write_text("\n".join(",".join(line) for line in lines) + "\n")
    return path


def labels(rows: list[dict[str, Any]]) -> list[Any]:
    return [[(one["label"], round(one["score"], 4)) for one in row["results"]] for row in rows]


@pytest.mark.parametrize("before", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("after", [".csv", ".jsonl", ".parquet"])
def test_the_same_rows_come_out_with_results(
    folders: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: str,
    after: str,
) -> None:
    monkeypatch.setattr(predictor, "ROWS", 4)
    monkeypatch.setattr(output, "GROUP", 4)
    rows = [{"n": n, "premise": a, "hypothesis": b} for n, (a, b) in enumerate(PAIRS)]
    file, wanted = write(tmp_path / f"in{before}", rows), tmp_path / f"out{after}"
    model = folders["text-classification"]
    line = ["predict", "--model", model, "--input", str(file), "--output", str(wanted)]
    assert cli.main([*line, "--top-k", "2"]) == 0
    found = output.read(wanted)
    assert [(int(row["n"]), row["premise"], row["hypothesis"]) for row in found] == [
        (n, *pair) for n, pair in enumerate(PAIRS)
    ]
    expected = Model.from_pretrained(model).predict(PAIRS, top_k=2)
    assert labels(found) == labels([{"results": results} for results in expected])
    assert len(list(tmp_path.iterdir())) == 2
    if after == ".parquet":
        assert parquet.read_table(wanted).num_rows == 9
        kept = parquet.read_schema(wanted).field("n").type
        assert kept == (pa.string() if before == ".csv" else pa.int64())


@pytest.mark.parametrize("form", [".csv", ".jsonl", ".parquet"])
def test_no_rows_come_to_no_rows(folders: dict[str, str], tmp_path: Path, form: str) -> None:
    file, wanted = tmp_path / "in.jsonl", tmp_path / f"out{form}"
    file.write_text("")
    line = ["predict", "--model", folders["regression"], "--input", str(file)]
    assert cli.main([*line, "--output", str(wanted)]) == 0
    assert output.read(wanted) == []


def test_columns_of_pairs_can_be_named(
    folders: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"left": a, "right": b, "text": "something else"} for a, b in PAIRS]
    file = write(tmp_path / "in.jsonl", rows)
    line = ["predict", "--model", folders["regression"], "--input", str(file), "--json"]
    assert cli.main([*line, "--text", "left,right"]) == 0
    found = json.loads(capsys.readouterr().out)["results"]
    expected = Model.from_pretrained(folders["regression"]).predict(PAIRS)
    assert labels(found) == labels([{"results": [one]} for one in expected])
    assert cli.main([*line, "--text", "left,rihgt"]) == 2
    said = capsys.readouterr().err
    assert "in.jsonl, line 1: no field 'rihgt', only 'left', 'right', 'text'" in said


def test_rows_of_every_task_are_predicted(
    folders: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, sample in samples.SAMPLES.items():
        file = write(tmp_path / f"{name}.jsonl", sample.rows)
        line = ["predict", "--model", folders[name], "--input", str(file), "--json"]
        assert cli.main(line) == 0
        found = json.loads(capsys.readouterr().out)["results"]
        assert [{**row, "results": 0} for row in found] == [
            {**r, "results": 0} for r in sample.rows
        ]
        one = found[0]["results"]
        assert all(set(result) == sample.keys for result in one), name


def test_texts_a_line_are_texts_for_a_tagger_too(
    folders: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "in.txt"
    file.write_text("the zoo fox\na dog walked\n")
    line = ["predict", "--model", folders["token-classification"], "--input", str(file)]
    assert cli.main(line) == 0
    rows = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == ["the zoo fox", "a dog walked"]
    columns = tmp_path / "in.conll"
    columns.write_text("the DT\nzoo NN\nfox NN\n\na DT\ndog NN\nwalked VB\n")
    assert cli.main([*line[:-1], str(columns)]) == 0
    again = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert [[one["word"] for one in row["results"]] for row in again] == [
        [one["word"] for one in row["results"]] for row in rows
    ]


def test_vectors_of_any_model(folders: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["the fox", "a dog walked"]
    line = ["predict", *texts, "--model", folders["regression"], "--json"]
    vectors = ["--task", "feature-extraction", "--pooling", "max", "--normalize"]
    assert cli.main([*line, *vectors]) == 0
    found = [row["results"] for row in json.loads(capsys.readouterr().out)["results"]]
    model = Model.from_pretrained(folders["regression"])
    assert np.abs(found - model.embed(texts, pooling="max", normalize=True)).max() < 1e-5
    assert np.abs(found - model.embed(texts, pooling="max")).max() > 1e-2
    assert cli.main([*line, "--normalize"]) == 2
    assert "was made for regression; add --task feature-extraction" in capsys.readouterr().err


def test_long_texts_are_cut_or_averaged(
    folders: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["predict", samples.LONG, "--model", folders["text-classification"], "--json"]
    told = []
    for long in ("truncate", "windows"):
        assert cli.main([*line, "--long", long]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert [one["cut"] for one in told] == [1, 0]
    assert labels(told[0]["results"]) != labels(told[1]["results"])


def test_products_in_bfloat16(folders: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    line = ["predict", *tiny.SENTENCES[:3], "--model", folders["regression"], "--json"]
    found = []
    for precision in ("float32", "bfloat16"):
        assert cli.main([*line, "--precision", precision]) == 0
        rows = json.loads(capsys.readouterr().out)["results"]
        found.append([row["results"][0]["score"] for row in rows])
    assert found[0] == pytest.approx(found[1], abs=0.1)
    assert found[0] != pytest.approx(found[1], abs=1e-6)


def test_a_record_that_cannot_be_laid_out_is_skipped_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = samples.save("fill-mask", tmp_path / "model")
    texts = ["a [MASK]", "[MASK]" + " the" * 40 + " [MASK]", "the [MASK]", "no mask", "[MASK] dog"]
    rows = [{"id": n, "text": text} for n, text in enumerate(texts)]
    file = write(tmp_path / "in.jsonl", rows)
    line = ["predict", "--model", model, "--input", str(file), "--json"]
    assert cli.main([*line, "--on-error", "skip"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert [row["id"] for row in found["results"]] == [0, 2, 4]
    assert [row["results"][0]["sequence"].split()[-1] for row in found["results"]][2] == "dog"
    assert found["skipped"] == 2
    assert "line 2: the masks of" in said.err
    assert "line 4: no [MASK] in 'no mask'" in said.err
    assert cli.main(line) == 2
    assert "--on-error skip" in capsys.readouterr().err


def test_what_does_not_fit_a_table_is_said(
    folders: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["predict", "--model", folders["text-classification"], "--output"]
    one, text = {"text": "a fox", "n": 1}, {"text": "a fox", "n": "two"}
    more = {"text": "a fox", "n": 1, "more": 3}
    for name, row, said in (
        (
            "out.csv",
            more,
            "out.csv: the first row has no 'more', but a later one has; write .jsonl",
        ),
        ("out.parquet", more, "out.parquet: the first row has no 'more', but a later one has"),
        ("out.parquet", text, "out.parquet: Could not convert 'two' with type str"),
        ("out.txt", one, "out.txt: rows are written to .jsonl, .csv, .parquet; choose one of"),
    ):
        file = write(tmp_path / "in.jsonl", [one, row])
        assert cli.main([*line, str(tmp_path / name), "--input", str(file)]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
        assert list(tmp_path.iterdir()) == [file]
    file = write(tmp_path / "in.jsonl", [one, text, more])
    assert cli.main([*line, str(tmp_path / "out.jsonl"), "--input", str(file)]) == 0
    found = [row.fields for row in read_rows(str(tmp_path / "out.jsonl"))]
    assert [row["n"] for row in found] == [1, "two", 1]


@pytest.mark.parametrize("items", ["a text", ("a", "pair"), {"text": "a"}])
def test_one_item_is_not_a_list(folders: dict[str, str], items: Any) -> None:
    with pytest.raises(ValueError, match=r"give a list, as in \["):
        Model.from_pretrained(folders["text-classification"]).predict(items)


def test_cut_texts_are_warned_of(folders: dict[str, str]) -> None:
    model = Model.from_pretrained(folders["text-classification"])
    with pytest.warns(UserWarning, match="1 of 2 texts are longer than the 24 tokens") as caught:
        model.predict([samples.LONG, "a fox"])
    assert caught[0].filename == __file__
    assert model.predict([]) == []
    with pytest.raises(ValueError, match="top_k is 0"):
        model.predict(["a"], top_k=0)
