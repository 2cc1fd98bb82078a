"""Translation: rows and files, the loss, sacrebleu's figures, and runs from nothing to texts."""

import gzip
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
import torch
import transformers
from safetensors.torch import load_file
from torch.nn import functional as F

import labelled
import tiny
import unmask
from samples import records, task
from unmask import UserError, cli
from unmask.contracts import Prediction, Record
from unmask.data.windows import Reading
from unmask.exchange import huggingface
from unmask.families.gpt2 import FAMILY as GPT2
from unmask.model.generation import Writing
from unmask.predict.predict import predict
from unmask.predict.records import records as read
from unmask.rewriting import Pair
from unmask.scores.bleu import Bleu
from unmask.tasks.translate import TASK
from unmask.text.columns import Columns
from unmask.text.rows import Row
from unmask.train import checkpoint
from unmask.train.finetune import FinetuneResult
from unmask.train.metrics import rows

SETS = ("precision=float32", "dropout=0.0", "generation.max_new_tokens=8")
FEW = ("keeping.checkpoint_seconds=0", "keeping.keep=100", "generation.num_beams=2")


def translated(sentence: str) -> str:
    """Say the most important words of a sentence of `tiny` from its end to its beginning."""
    _, colour, animal, verb, _, _, thing, _ = sentence.split()
    return f"{thing} {verb} {animal} {colour}"


def pairs(count: int, seed: int) -> list[tuple[str, str]]:
    drawn = random.Random(seed).choices(tiny.SENTENCES, k=count)
    return [(sentence, translated(sentence)) for sentence in drawn]


def lines(path: Path, texts: Sequence[str]) -> str:
    content = "".join(f"{text}\n" for text in texts).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return str(path)


def parallel(folder: Path, name: str, count: int, seed: int) -> str:
    """Write two files side by side, one of them compressed; gives both names as one."""
    sources, targets = zip(*pairs(count, seed), strict=True)
    english, german = folder / f"{name}.en", folder / f"{name}.de.gz"
    return f"{lines(english, sources)},{lines(german, targets)}"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A tokenizer, and files to learn from and to be judged by."""
    folder = tmp_path_factory.mktemp("files")
    tiny.tokenizer().save(folder / "words")
    return {
        "tokenizer": folder / "words",
        "recipe": "transformer-tiny",
        "train": parallel(folder, "train", 80, seed=1),
        "eval": parallel(folder, "eval", 12, seed=2),
    }


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    return labelled.model(tmp_path_factory.mktemp("bert"), "masked-lm")


def run(files: dict[str, Any], out: Path | None, *sets: str, **options: Any) -> FinetuneResult:
    settings = {"batch": 16, "epochs": 1} | files | options
    return unmask.finetune("translation", **settings, out=out, set=[*SETS, *sets])


@pytest.fixture(scope="module")
def learned(files: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> FinetuneResult:
    out = tmp_path_factory.mktemp("learned") / "run"
    return run(files, out, "keeping.evaluations=0.05", epochs=40)


def test_a_translator_is_learned_from_random_weights(learned: FinetuneResult) -> None:
    assert learned.metrics["bleu"] > 80
    assert set(learned.metrics) == {"bleu", "chrf"}
    sentence = tiny.SENTENCES[40]
    (found,) = learned.model.predict([sentence])
    assert found == {"translation_text": translated(sentence)}
    assert learned.model.generate([sentence], num_beams=4) == [
        {"generated_text": translated(sentence)}
    ]
    assert learned.model.task == "translation"


def test_the_figures_carry_the_signature_of_sacrebleu(
    learned: FinetuneResult, files: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "test.de"
    found = unmask.evaluate("translation", learned.model, files["eval"], predictions=out)
    right = [target for _, target in pairs(12, seed=2)]
    metric = sacrebleu.metrics.BLEU()
    written = out.read_text().splitlines()
    assert found["bleu"] == pytest.approx(metric.corpus_score(written, [right]).score)
    assert found.signature == learned.signature == str(metric.get_signature())
    assert found.to_json()["signature"].startswith("nrefs:1|case:mixed|")
    assert learned.to_json()["signature"] == found.signature


def test_settings_of_writing_can_be_changed_where_texts_are_written(
    learned: FinetuneResult, files: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(learned.folder / "model")
    command = ["predict", "--model", folder, tiny.SENTENCES[7], "--json", "--set"]
    assert cli.main([*command, "max_new_tokens=2"]) == 0
    (found,) = json.loads(capsys.readouterr().out.splitlines()[-1])["results"]
    (short,) = found["results"]
    assert short["translation_text"] == " ".join(translated(tiny.SENTENCES[7]).split()[:2])
    assert cli.main([*command, "num_beam=2"]) == 2
    assert "did you mean num_beams?" in capsys.readouterr().err
    with pytest.raises(UserError, match="max_new_tokens is 512; the decoder has places for 511,"):
        unmask.evaluate("translation", folder, files["eval"], set=["max_new_tokens=512"])


def test_plain_text_is_translated_line_by_line(learned: FinetuneResult, tmp_path: Path) -> None:
    source = lines(tmp_path / "a.en.gz", tiny.SENTENCES[:3])
    predict(model=str(learned.folder / "model"), input=source, output=tmp_path / "a.jsonl")
    found = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [row["text"] for row in found] == tiny.SENTENCES[:3]
    assert all(len(row["results"]) == 1 for row in found)
    both = f"{lines(tmp_path / 'b.en.txt', ['A dog.'])},{lines(tmp_path / 'b.de.txt', ['Ein H.'])}"
    predict(model=str(learned.folder / "model"), input=both, output=tmp_path / "b.jsonl")
    (row,) = map(json.loads, (tmp_path / "b.jsonl").read_text().splitlines())
    assert (row["source"], row["target"]) == ("A dog.", "Ein H.")


def test_beams_are_the_results_the_best_first(learned: FinetuneResult) -> None:
    (found,) = learned.model.predict([tiny.SENTENCES[3]], top_k=3)
    texts = [one["translation_text"] for one in found]
    assert len(set(texts)) == 3
    assert texts[0] == translated(tiny.SENTENCES[3])
    with pytest.raises(UserError, match="top_k is 5, but num_beams 4 texts are written of each"):
        learned.model.predict([tiny.SENTENCES[3]], top_k=5)


def test_a_run_that_was_cut_off_comes_to_the_same_end(files, tmp_path):
    whole = run(files, tmp_path / "whole", *FEW, "dropout=0.1", epochs=2)
    out = tmp_path / "cut"
    run(files, out, *FEW, "dropout=0.1", epochs=2)
    for path in list(checkpoint.newest(out / "checkpoints")):
        if int(path.name.rpartition("-")[2]) > 6:
            for file in path.iterdir():
                file.unlink()
            path.rmdir()
    (out / "result.json").unlink()
    again = run(files, out, *FEW, "dropout=0.1", epochs=2)
    assert again.metrics == whole.metrics
    ours, theirs = (rows(folder / "metrics.jsonl") for folder in (out, tmp_path / "whole"))
    assert [row["loss"] for row in ours] == [row["loss"] for row in theirs]
    assert len(ours) == 10
    one, other = (load_file(r.folder / "model" / "model.safetensors") for r in (again, whole))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_another_tokenizer_is_another_run(files, tmp_path):
    out = tmp_path / "run"
    run(files, out)
    words = tmp_path / "words"
    tiny.tokenizer().save(words)
    document = json.loads((words / "tokenizer.json").read_text())
    document["model"]["vocab"] |= {"zebra": len(document["model"]["vocab"])}
    (words / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match="model has other content now"):
        run(files | {"tokenizer": words}, out)


def test_models_are_compared_by_some_rows_and_the_best_one_is_judged_by_all(files, tmp_path):
    result = run(files, tmp_path / "run", "keeping.rows=5", "generation.num_beams=1", epochs=2)
    again = unmask.evaluate("translation", result.model, files["eval"], precision="float32")
    assert result.metrics == pytest.approx(dict(again))
    details = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert details["metrics"] == result.metrics


def test_two_berts_are_made_of_one_and_transformers_writes_the_same(files, bert, tmp_path, capsys):
    transformers.logging.disable_progress_bar()
    given = {name: files[name] for name in ("train", "eval")} | {"model": bert}
    result = run(given, tmp_path / "run", "generation.num_beams=3", rate=0.01, epochs=2)
    said = capsys.readouterr().err
    assert "new: 2 x decoder.bert.encoder.layer.*.crossattention.self.query.weight" in said
    folder = result.folder / "model"
    theirs = transformers.EncoderDecoderModel.from_pretrained(folder).eval()
    words = transformers.AutoTokenizer.from_pretrained(folder)
    assert theirs.generation_config.num_beams == 3
    for text in tiny.SENTENCES[:4]:
        ids = theirs.generate(**words(text, return_tensors="pt"))  # all settings are the folder's
        (wanted,) = words.batch_decode(ids, skip_special_tokens=True)
        assert result.model.predict([text]) == [{"translation_text": wanted}]
    again = unmask.Model.from_pretrained(folder).purpose
    assert again.writing == Writing(max_new_tokens=8, num_beams=3)


@pytest.mark.parametrize("kind", ["bleu", "chrf"])
def test_figures_are_those_of_sacrebleu(kind: str) -> None:
    rng = random.Random(0)
    metric = Bleu()
    sides: tuple[list[str], list[str]] = ([], [])
    for _ in range(20):
        words = rng.choices(["the", "dog,", "fox", "-", "T-Shirt", "Straße", "3.5", "runs!"], k=9)
        found = [word for word in words if rng.random() < 0.8]
        for side, own in zip(sides, (found, words), strict=True):
            side.append(" ".join(own))
        metric.add(*scored(*(side[-1] for side in sides)))
    theirs = {"bleu": sacrebleu.metrics.BLEU(), "chrf": sacrebleu.metrics.CHRF()}[kind]
    wanted = theirs.corpus_score(sides[0], [sides[1]]).score
    assert 10 < wanted < 95
    assert metric.result()[kind] == pytest.approx(wanted, abs=1e-9)
    metric.add(*scored("", sides[1][0]))
    assert metric.result()[kind] < wanted
    assert Bleu().result() == {"bleu": 0.0, "chrf": 0.0}


def scored(found: str, right: str) -> tuple[Record, Prediction]:
    record = TASK.record(Row("", {"source": "x", "target": right}, None), Columns(), True)
    return record, Prediction(results=[], answer=found, confidence=1.0)


def laid(*, reading: int = 24, most: int = 12) -> tuple[Any, list[Pair]]:
    made: Any = replace(
        task("translation", Reading(length=reading)), writing=Writing(max_new_tokens=most)
    )
    return made, [own for (own,) in made.windows(records("translation"), tiny.tokenizer())]


def test_the_decoder_sees_what_is_right_up_to_each_place() -> None:
    words = tiny.tokenizer()
    made, windows = laid()
    batch = made.batch(windows)
    layout = batch.tokens.layout
    starts = [0, *torch.tensor(layout.lengths).cumsum(0).tolist()]
    for start, end, window in zip(starts, starts[1:], windows, strict=False):
        seen, wanted = batch.tokens.ids[start:end], batch.labels[start:end]
        assert seen[0] == words.cls
        assert wanted[-1] == words.sep
        assert torch.equal(seen[1:], wanted[:-1])
        assert window.size == len(window.ids) + len(wanted)
    assert batch.tokens.source.layout.lengths == tuple(len(own.ids) for own in windows)
    assert batch.counts == {"task": len(batch.labels)}


@torch.no_grad()
def test_the_loss_spreads_a_share_of_each_label() -> None:
    made, windows = laid()
    network = tiny.pretrained(tiny.tokenizer(), "seq2seq-lm").network
    batch = made.batch(windows)
    scores = network.head.following(network.encoder(batch.tokens))
    for smoothing in (0.0, 0.1, 0.4):
        wanted = F.cross_entropy(scores, batch.labels, reduction="sum", label_smoothing=smoothing)
        part = replace(made, smoothing=smoothing).loss(network.encoder, network.head, batch)
        assert float(part["task"].total) == pytest.approx(float(wanted), rel=1e-5)
    assert float(wanted) != pytest.approx(float(F.cross_entropy(scores, batch.labels)), rel=1e-2)


def test_what_is_too_long_on_either_side_loses_its_end_and_is_counted(
    files: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    _, windows = laid(reading=8, most=4)
    assert max(len(own.ids) for own in windows) == 8
    assert max(len(own.target) for own in windows) == 4
    assert all(own.target[-1] == tiny.tokenizer().sep for own in windows)
    assert {(own.cut, own.shortened) for own in windows} > {(False, True)}
    run(files, None, "generation.max_new_tokens=3", "generation.num_beams=1", length=8)
    said = " ".join(capsys.readouterr().err.split())
    assert "80 training texts are longer than 8 tokens, and were cut" in said
    assert "80 training texts to be written are longer than 3 tokens, and were cut" in said


def test_rows_are_read_as_the_hub_has_them() -> None:
    nested = {"translation": {"en": "A dog.", "de": "Ein Hund."}, "id": 3}
    record = TASK.record(Row("a", nested, None), Columns(text=("en",), label="de"), True)
    assert (record.text, record.target) == ("A dog.", "Ein Hund.")
    flat = {"src": "A dog.", "translation": "Ein Hund."}
    assert TASK.record(Row("a", flat, None), Columns(), True).target == "Ein Hund."
    with pytest.raises(UserError, match=r"a: no column of text .* only 'id', 'en', 'de'; name it"):
        TASK.record(Row("a", nested, None), Columns(), True)


def test_two_files_are_read_side_by_side(tmp_path: Path) -> None:
    both = f"{lines(tmp_path / 'a.en', ['A dog.'])},{lines(tmp_path / 'a.de.gz', ['Ein Hund.'])}"
    (record,) = read(TASK, both, Columns())
    assert (record.text, record.target) == ("A dog.", "Ein Hund.")
    assert record.place.endswith("a.de.gz, line 1")
    with pytest.raises(UserError, match="3 files; give one of each of two languages"):
        list(read(TASK, f"{both},{tmp_path / 'a.en'}", Columns()))


@pytest.mark.parametrize(
    ("sources", "targets", "wrong"),
    [
        (["a", "b", "c"], ["d"], r"a\.en has 3, .*a\.de has 1 lines"),
        (["a", ""], ["d", "e"], r"a\.de, line 2: the text to translate is empty; leave the row"),
        (["a", "b"], ["d", " "], r"a\.de, line 2: target is empty; give every row its label"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    sources: list[str], targets: list[str], wrong: str, files: dict[str, Any], tmp_path: Path
) -> None:
    both = f"{lines(tmp_path / 'a.en', sources)},{lines(tmp_path / 'a.de', targets)}"
    for part in ("train", "eval"):
        with pytest.raises(UserError, match=wrong):
            run(files | {part: both}, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(
        UserError, match=r"line 1: no translation beside it; .*languages, a\.en,a\.de"
    ):
        run(files | {"train": both.partition(",")[0]}, tmp_path / "run")
    tables = [lines(tmp_path / f"{name}.tsv", ["a"]) for name in "ab"]
    with pytest.raises(UserError, match=r"a\.tsv: several files side by side are plain text"):
        run(files | {"train": ",".join(tables)}, tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "sets", "wrong"),
    [
        ({}, ("smoothing=1.0",), r"smoothing is 1.0; it must be at least 0 and below 1"),
        ({}, ("smoothing=-0.1",), r"smoothing is -0.1; it must be at least 0 and below 1"),
        ({}, ("generation.num_beams=0",), "num_beams is 0"),
        ({}, ("generation.length_penalty=0.5", "generation.num_beams=1"), "length_penalty"),
        ({}, ("generation.max_new_tokens=600",), "max_new_tokens is 600; the decoder has places"),
        ({}, ("reading.long=windows",), "translation reads no windows: what is written of parts"),
        ({}, ("balanced=true",), "class weights are for tasks with labels; texts have none"),
        ({}, ("keeping.metric=rouge1",), "keeping.metric is 'rouge1'; translation has bleu, chrf"),
        ({}, ("keeping.evaluations=0",), "keeping.evaluations is 0.0; it must be above 0"),
        ({"tokenizer": None}, (), "--recipe and --tokenizer make a new model together"),
        ({"recipe": None}, (), "give either --model, or --recipe and --tokenizer of a new one"),
        ({"model": "bert"}, (), "give either --model, or --recipe and --tokenizer of a new one"),
        ({"recipe": "bert-tiny"}, (), "--recipe bert-tiny: there is none to fine-tune; there are"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    changes: dict[str, Any], sets: tuple[str, ...], wrong: str, files: dict[str, Any]
) -> None:
    with pytest.raises(UserError, match=wrong):
        run(files | changes, None, *sets)


def test_windows_are_refused_in_an_evaluation(files: dict[str, Any], learned: FinetuneResult):
    with pytest.raises(UserError, match="translation reads no windows"):
        unmask.evaluate("translation", learned.model, data=files["eval"], long="windows")


def test_a_model_that_cannot_write_of_a_source_is_refused(files, bert, tmp_path):
    made = tiny.pretrained(tiny.tokenizer())
    spec = replace(made.spec, segments=0, causal=True, embedding_norm=False)
    spec = replace(spec, norm_first=True, final_norm=True)
    network = GPT2.network(spec, "causal-lm")
    huggingface.write(
        replace(made, family=GPT2, spec=spec, network=network, head="causal-lm"), tmp_path
    )
    given = {"train": files["train"], "eval": files["eval"]}
    with pytest.raises(UserError, match="is a gpt2; translation needs a model that writes of what"):
        run(given | {"model": tmp_path}, None)
    with pytest.raises(UserError, match="was made for fill-mask, not for translation"):
        unmask.evaluate("translation", bert, files["eval"])
    with pytest.raises(
        UserError, match="--set num_beams=2: unknown setting 'num_beams'; known are length"
    ):
        predict(["the [MASK] fox"], model=bert, set=["num_beams=2"])


@pytest.mark.parametrize("setting", ["smoothing=0.1", "generation.num_beams=2"])
def test_settings_of_writing_are_refused_where_nothing_is_written(
    setting: str, bert: str, tmp_path: Path
) -> None:
    table = labelled.tsv(tmp_path / "a.tsv", labelled.sentences(8))
    with pytest.raises(UserError, match="smoothing and generation change nothing"):
        unmask.finetune("text-classification", bert, train=table, eval=table, set=[setting])
