"""The scripts of `examples/`, run as a reader would run them, on small inputs."""

import json
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import tiny
from samples import SAMPLES
from unmask.predict.model import Model

EXAMPLES = Path(__file__).parents[1] / "examples"

Run = Callable[..., list[str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs an example in this process, which has loaded everything; gives the lines it prints."""

    def run(script: str, *arguments: str | Path) -> list[str]:
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    Model(tiny.pretrained(tiny.tokenizer())).save_pretrained(folder)
    return folder


def rows(path: Path, task: str) -> Path:
    """Write the rows that tests have for a task."""
    lines = "".join(json.dumps(row) + "\n" for row in SAMPLES[task].rows)
    path.write_text(lines, encoding="utf-8")
    return path


def test_the_examples_stay_short_and_each_has_its_test() -> None:
    tests = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 20, path.name
        assert f'"{path.name}"' in tests


def test_pretrain_own_text(tmp_path: Path) -> None:
    paragraphs = [" ".join(tiny.SENTENCES[i : i + 6]) for i in range(0, len(tiny.SENTENCES), 6)]
    (tmp_path / "text.txt").write_text("\n\n".join(paragraphs * 10), encoding="utf-8")
    # In a process of its own: those that `prepare` starts must not run the script once more.
    script = str(EXAMPLES / "pretrain_own_text.py")
    arguments = [str(tmp_path / "text.txt"), str(tmp_path / "out"), "1s"]
    command = [sys.executable, "-W", "error", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"held-out loss \d+\.\d\d, of frequencies \d+\.\d\d", done.stdout)
    assert (tmp_path / "out" / "run" / "report.html").exists()
    assert Model.from_pretrained(tmp_path / "out" / "run" / "model").fill("The brown [MASK].")


def test_fill_masks(model: Path, run: Run) -> None:
    lines = run("fill_masks.py", model, "The [MASK] fox jumped .", "A [MASK] river .")
    assert len(lines) == 2 * (1 + 3)
    assert lines[0] == "The [MASK] fox jumped ."
    assert "fox jumped" in lines[1]


def test_embed_texts(model: Path, run: Run) -> None:
    lines = run("embed_texts.py", model, "the fox", "the river", "the fox")
    assert lines[0] == "1.000  the fox"
    assert lines[1].endswith("the river")


def test_classify_texts(model: Path, run: Run, tmp_path: Path) -> None:
    data, out = rows(tmp_path / "data.jsonl", "text-classification"), tmp_path / "run"
    lines = run("classify_texts.py", model, data, data, out, "the fox", "a dog")
    assert re.fullmatch(rf"accuracy [01]\.\d+, report in {out}/report\.html", lines[0])
    for line, text in zip(lines[1:], ("the fox", "a dog"), strict=True):
        assert re.fullmatch(rf"(good|bad|so so) \([01]\.\d\d\)  {text}", line)


def test_compare_sentences(model: Path, run: Run, tmp_path: Path) -> None:
    data = tmp_path / "pairs.tsv"
    labels = ("neutral", "entailment", "contradiction")
    lines = [f"a dog\ta {animal}\t{labels[i % 3]}" for i, animal in enumerate(("fox", "dog") * 3)]
    data.write_text("\n".join(["sentence1\tsentence2\tlabel", *lines]), encoding="utf-8")
    printed = run("compare_sentences.py", model, data, data, tmp_path / "run", "a dog", "a fox")
    assert printed[0].startswith("accuracy ")
    assert {line.split()[1] for line in printed[1:]} == set(labels)


def test_measure_similarity(model: Path, run: Run, tmp_path: Path) -> None:
    data = rows(tmp_path / "data.jsonl", "regression")
    lines = run("measure_similarity.py", model, data, data, "a fox", "a dog")
    assert re.fullmatch(r"Pearson -?[01]\.\d{3}, Spearman -?[01]\.\d{3}", lines[0])
    assert re.fullmatch(r"-?\d+\.\d\d  a fox / a dog", lines[1])


def test_tag_words(model: Path, run: Run, tmp_path: Path) -> None:
    data = tmp_path / "words.txt"
    data.write_text("the DT B-NP\nfox NN I-NP\n\na DT B-NP\ndog NN I-NP\n" * 8)
    lines = run("tag_words.py", model, data, data, tmp_path / "run", "the brown bear")
    assert re.fullmatch(r"precision .*, recall .*, f1 .*, accuracy .*", lines[0])
    assert lines[1] == "the brown bear"
    assert all(re.fullmatch(r"  NP: (the|brown|bear)( brown)?( bear)?", line) for line in lines[2:])


def test_answer_questions(model: Path, run: Run, tmp_path: Path) -> None:
    data = rows(tmp_path / "data.jsonl", "question-answering")
    text = "the fox walked over the river"
    lines = run("answer_questions.py", model, data, data, "who ?", text)
    assert re.fullmatch(r"exact match \d+\.\d %, F1 \d+\.\d %", lines[0])
    found = re.fullmatch(r"'(.*)' \([01]\.\d\d\), characters (\d+) on", lines[1])
    assert found
    assert text.startswith(found[1], int(found[2]))


def test_choose_endings(model: Path, run: Run, tmp_path: Path) -> None:
    data = rows(tmp_path / "data.jsonl", "multiple-choice")
    lines = run("choose_endings.py", model, data, data, "the fox", "walked", "the fence")
    assert lines[0].startswith("accuracy ")
    assert {line.split("  ")[1] for line in lines[1:]} == {"walked", "the fence"}
    scores = [float(line.split()[0]) for line in lines[1:]]
    assert scores == sorted(scores, reverse=True)


def test_translate(run: Run, tmp_path: Path) -> None:
    files = [tmp_path / "a.en.txt", tmp_path / "a.de.txt"]
    for file, word in zip(files, ("fox", "Fuchs"), strict=True):
        file.write_text(f"the {word} walked\nno {word}\n" * 4, encoding="utf-8")
    both = ",".join(map(str, files))
    lines = run("translate.py", both, both, tmp_path / "out", "the fox", "no")
    assert re.fullmatch(r"BLEU \d+\.\d \(nrefs:1\|.*version:.*\)", lines[0])
    assert (lines[1], lines[3]) == ("the fox", "no")


@pytest.mark.parametrize("task", ["summarization", "extractive-summarization"])
def test_summarize(task: str, model: Path, run: Run, tmp_path: Path) -> None:
    data, text = rows(tmp_path / "data.jsonl", task), "The fox walked. A dog jumped."
    lines = run("summarize.py", task, model, data, data, tmp_path / "run", text)
    assert re.fullmatch(r"rouge1 [01]\.\d{3}, .*, rougeLsum [01]\.\d{3}", lines[0])
    assert lines[1] == text
    assert lines[2].startswith("  ")
