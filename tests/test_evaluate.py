"""The verb `evaluate`: official figures of labelled files, and what is wrong with such files."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scipy import stats
from sklearn import metrics

import samples
import tiny
import unmask
from unmask import cli
from unmask.errors import UserError
from unmask.predict import predictor
from unmask.predict.predictor import predictions

LABELS = ("bad", "good", "so so")
TEXTS = [f"{text} {'.' * (n % 4)}"[3 * n % 20 :] for n, text in enumerate(tiny.SENTENCES[:30])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return samples.save("text-classification", tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def truth() -> list[str]:
    return [LABELS[n % 3] for n in range(30)]


@pytest.fixture
def file(tmp_path: Path, truth: list[str]) -> Path:
    path = tmp_path / "dev.tsv"
    pairs = zip(TEXTS, truth, strict=True)
    path.write_text("sentence\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in pairs))
    return path


def test_figures_are_those_of_the_field(folder: str, file: Path, truth: list[str]) -> None:
    result = unmask.evaluate("text-classification", folder, str(file), precision="float32")
    found = [one["label"] for one in unmask.Model.from_pretrained(folder).predict(TEXTS)]
    assert result["accuracy"] == pytest.approx(metrics.accuracy_score(truth, found))
    assert dict(result) == {
        "accuracy": pytest.approx(metrics.accuracy_score(truth, found)),
        "f1": pytest.approx(metrics.f1_score(truth, found, average="macro")),
        "matthews_correlation": pytest.approx(metrics.matthews_corrcoef(truth, found)),
    }
    assert 0 < result["accuracy"] < 1
    assert result.rows == 30
    assert result.seconds > 0


def test_the_command_prints_the_figures_and_writes_predictions(
    folder: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = tmp_path / "predictions.tsv"
    line = ["evaluate", "text-classification", "--model", folder, "--data", str(file)]
    assert cli.main([*line, "--predictions", str(wanted), "--precision", "float32"]) == 0
    said = capsys.readouterr()
    assert [text.split()[0] for text in said.out.splitlines()] == [
        "accuracy",
        "f1",
        "matthews_correlation",
    ]
    assert said.err == f"30 rows -> {wanted}\n"
    found = [one["label"] for one in unmask.Model.from_pretrained(folder).predict(TEXTS)]
    lines = ["index\tprediction", *(f"{n}\t{label}" for n, label in enumerate(found))]
    assert wanted.read_text().splitlines() == lines
    assert cli.main([*line, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) >= {"accuracy", "f1", "rows", "cut", "seconds", "task"}
    assert (told["task"], told["rows"], told["cut"]) == ("text-classification", 30, 0)


def test_a_model_of_python_is_evaluated_as_it_is(folder: str, file: Path) -> None:
    model = unmask.Model.from_pretrained(folder)
    result = unmask.evaluate("text-classification", model, file, precision="float32")
    again = unmask.evaluate("text-classification", folder, str(file), precision="float32")
    assert dict(result) == dict(again)


def test_products_in_bfloat16_come_to_about_the_same(folder: str, file: Path) -> None:
    exact, rough = (
        unmask.evaluate("text-classification", folder, str(file), precision=precision)
        for precision in ("float32", "bfloat16")
    )
    assert rough["accuracy"] == pytest.approx(exact["accuracy"], abs=0.2)


def test_long_texts_are_cut_or_read_in_windows(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "long.csv"
    file.write_text(f"text,label\n{samples.LONG},good\na fox,bad\n")
    result = unmask.evaluate("text-classification", folder, str(file))
    assert result.cut == 1
    assert "2 rows, 1 longer than 24 tokens and cut" in capsys.readouterr().err
    assert unmask.evaluate("text-classification", folder, str(file), long="windows").cut == 0


def test_columns_can_be_named(folder: str, file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.tsv"
    other.write_text(file.read_text().replace("sentence\tlabel", "words\tmood"))
    with pytest.raises(UserError, match=r"other.tsv, line 2: no column of text"):
        unmask.evaluate("text-classification", folder, str(other))
    named = unmask.evaluate("text-classification", folder, str(other), text="words", label="mood")
    assert dict(named) == dict(unmask.evaluate("text-classification", folder, str(file)))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.tsv", "sentence\na fox\n", "a.tsv, line 2: no column label or labels"),
        ("a.tsv", "sentence\tlabel\na\tgood\nb\t\n", "a.tsv, line 3: label is empty"),
        ("a.tsv", "words\tlabel\na\tgood\n", "a.tsv, line 2: no column of text (text or"),
        ("a.tsv", "text\tlabel\na\tgood\nb\tgrand\n", "a.tsv, line 3: label 'grand' is unknown;"),
        ("a.tsv", "text\tlabel\na\t-1\n", "a.tsv, line 2: label '-1' is unknown; there are bad,"),
        ("a.jsonl", '{"text": "a", "label": ["good"]}\n', "a.jsonl, line 1: the label is a list"),
        ("a.tsv", "text\tlabel\na\n", "a.tsv, line 2: 1 columns, but the header has 2"),
        ("a.jsonl", '{"text": "a"\n', "a.jsonl, line 1: not JSON"),
        ("a.jsonl", "", "a.jsonl: no rows; give a file that has some"),
        ("a.tsv", "", "a.tsv: no rows; give a file that has some"),
        ("a.tsv", "text\tlabel\n", "a.tsv: no rows; give a file that has some"),
        ("a.xls", "text\tlabel\n", "a.xls: nothing is known of this ending"),
    ],
)
def test_bad_data_is_told_with_file_and_line(
    folder: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: str,
    said: str,
) -> None:
    file, wanted = tmp_path / name, tmp_path / "predictions.tsv"
    file.write_text(content)
    line = ["evaluate", "text-classification", "--model", folder, "--data", str(file)]
    assert cli.main([*line, "--predictions", str(wanted)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("task", "name", "content", "said"),
    [
        ("regression", "a.csv", "text,score\na,x\n", "line 2: the label 'x' is not a number"),
        ("regression", "a.csv", "text\na\n", "line 2: no column score"),
        ("token-classification", "a.conll", "fox B-X\n\n", "label 'B-X' of 'fox' is unknown"),
        ("token-classification", "a.conll", "fox A B\ndog B\n", "a.conll, line 2: "),
        (
            "multiple-choice",
            "a.jsonl",
            '{"context": "a", "choices": ["b", "c"]}\n',
            "no column lab",
        ),
        ("question-answering", "a.json", '{"data": []}', "a.json: no "),
        ("fill-mask", "a.csv", "text,label\na [MASK],zoo\n", "line 2: label 'zoo' is 3 pieces"),
        ("fill-mask", "a.csv", "text,label\nno mask,zoo\n", "line 2: no [MASK] in 'no mask'"),
        ("fill-mask", "a.csv", "text\na [MASK]\n", "line 2: no column label or labels or answer"),
        ("feature-extraction", "a.csv", "text,score\na,1\n", "line 2: one text; vectors are"),
    ],
)
def test_every_task_says_what_is_wrong_with_its_data(
    tmp_path: Path, task: str, name: str, content: str, said: str
) -> None:
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(UserError) as caught:
        unmask.evaluate(task, samples.save(task, tmp_path / "model"), str(file))
    assert said in str(caught.value)
    assert name in str(caught.value)


def test_a_task_that_is_not_the_models_is_refused_by_name(
    folder: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["evaluate", "regression", "--model", folder, "--data", str(file)]
    assert cli.main(line) == 2
    assert "was made for text-classification, not for regression" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"there is no task 'classify'; there are extractive-summ"):
        unmask.evaluate("classify", folder, str(file))
    with pytest.raises(UserError, match="not for fill-mask"):
        unmask.evaluate("fill-mask", folder, str(file))
    with pytest.raises(UserError, match="no such folder"):
        unmask.evaluate("regression", "./absent", str(file))


def test_vectors_of_any_encoder_can_be_judged(folder: str, tmp_path: Path) -> None:
    file, scores = tmp_path / "pairs.tsv", [0.5, 4.0, 1.5, 3.0]
    pairs = list(zip(TEXTS[:4], TEXTS[4:8], scores, strict=True))
    lines = [f"{a}\t{b}\t{score}" for a, b, score in pairs]
    file.write_text("sentence1\tsentence2\tscore\n" + "\n".join(lines))
    result = unmask.evaluate("feature-extraction", folder, str(file), precision="float32")
    model = unmask.Model.from_pretrained(folder)
    a, b = (model.embed(texts, normalize=True) for texts in (TEXTS[:4], TEXTS[4:8]))
    cosines = (a * b).sum(1)
    assert dict(result) == {
        "pearson": pytest.approx(stats.pearsonr(scores, cosines)[0], abs=1e-5),
        "spearmanr": pytest.approx(stats.spearmanr(scores, cosines)[0], abs=1e-5),
    }


def test_memory_is_bounded_by_the_chunk(
    folder: str, monkeypatch: pytest.MonkeyPatch, truth: list[str]
) -> None:
    monkeypatch.setattr(predictor, "ROWS", 4)
    model = unmask.Model.from_pretrained(folder)
    read = 0

    def records() -> Iterator[Any]:
        nonlocal read
        for text in TEXTS:
            read += 1
            yield model.kind.direct(text, "")

    for number, _ in enumerate(
        predictions(model.purpose, model.network, model.tokenizer, records())
    ):
        assert read <= number + 4
    assert read == 30
