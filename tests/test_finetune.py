"""Fine-tuning end to end: what is learned, kept, resumed, frozen and refused."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

import labelled
import tiny
import unmask
from unmask import UserError
from unmask.train import checkpoint
from unmask.train.finetune import FinetuneResult
from unmask.train.metrics import rows

WELL = ("dropout=0.0", "micro_tokens=512")
"""How a tiny model learns best."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A model, and files to learn from and to be judged by."""
    folder = tmp_path_factory.mktemp("files")
    return {
        "model": labelled.model(folder / "model"),
        "train": labelled.tsv(folder / "train.tsv", labelled.sentences(60, seed=1)),
        "eval": labelled.tsv(folder / "eval.tsv", labelled.sentences(20, seed=2)),
    }


def run(files: dict[str, str], out: Path | None, *sets: str, **options: Any) -> FinetuneResult:
    settings = {"batch": 8, "rate": 0.01, "epochs": 3, "task": "text-classification"} | options
    return unmask.finetune(**(files | settings), out=out, set=[*labelled.SETS, *sets])


def losses(out: Path) -> list[float]:
    table = rows(out / "metrics.jsonl")
    assert [row["step"] for row in table] == list(range(1, len(table) + 1))
    return [row["loss"] for row in table]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def changed(files: dict[str, str], out: Path) -> set[str]:
    """Name the tensors of the encoder that a run has moved."""
    before, after = load_file(Path(files["model"]) / "model.safetensors"), weights(out)
    return {
        name for name, tensor in before.items() if not torch.equal(tensor, after["bert." + name])
    }


@pytest.fixture(scope="module")
def learned(files: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> FinetuneResult:
    folder = tmp_path_factory.mktemp("learned")
    train = labelled.tsv(folder / "train.tsv", labelled.sentences(200, seed=1))
    return run(files | {"train": train}, folder / "run", *WELL, rate=0.01, epochs=6)


def test_a_task_is_learned_and_its_model_is_whole(learned: FinetuneResult) -> None:
    assert learned.metrics["accuracy"] > 0.9
    assert {path.name for path in learned.folder.iterdir()} >= {
        "config.toml",
        "metrics.jsonl",
        "evaluation.json",
        "result.json",
        "report.html",
        "model",
        "checkpoints",
        "tensorboard",
    }
    answers = learned.model.predict([text for text, _ in labelled.sentences(5, seed=3)])
    assert [answer["label"] for answer in answers] == [
        label for _, label in labelled.sentences(5, seed=3)
    ]


def test_transformers_opens_the_model_with_its_labels(learned: FinetuneResult) -> None:
    transformers.logging.disable_progress_bar()
    folder = learned.folder / "model"
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    assert theirs.config.id2label == dict(enumerate(sorted(labelled.ANIMALS)))
    assert theirs.config.problem_type == "single_label_classification"
    inputs = transformers.AutoTokenizer.from_pretrained(folder)(
        tiny.SENTENCES[0], return_tensors="pt"
    )
    with torch.no_grad():
        shares = theirs(**inputs).logits.softmax(-1)[0]
    [ours] = learned.model.predict([tiny.SENTENCES[0]], top_k=4)
    for result in ours:
        assert result["score"] == pytest.approx(
            float(shares[theirs.config.label2id[result["label"]]]), abs=1e-5
        )


def test_the_result_gives_the_figures_of_the_best_model(learned: FinetuneResult) -> None:
    table = [row for row in rows(learned.folder / "metrics.jsonl") if "eval_accuracy" in row]
    assert len(table) == 6
    assert learned.metrics["accuracy"] == max(row["eval_accuracy"] for row in table)
    details = json.loads((learned.folder / "evaluation.json").read_text())
    assert details["metrics"] == learned.metrics
    assert sum(map(sum, details["confusion"]["counts"])) == 20
    assert learned.to_json()["accuracy"] == learned.metrics["accuracy"]


def test_a_finished_run_gives_its_result_again(files, tmp_path):
    first = run(files, tmp_path / "run")
    stamp = (tmp_path / "run" / "metrics.jsonl").stat().st_mtime_ns
    assert run(files, tmp_path / "run").metrics == first.metrics
    assert (tmp_path / "run" / "metrics.jsonl").stat().st_mtime_ns == stamp


def test_the_folder_of_a_run_is_told_from_its_model(learned):
    with pytest.raises(UserError, match=r"is a run, its model is .*model; give that"):
        unmask.Model.from_pretrained(learned.folder)


def test_a_run_that_was_cut_off_anywhere_comes_to_the_same_end(files, tmp_path):
    whole = run(files, tmp_path / "whole", "keeping.keep=100")
    for step in (3, 8, 17):  # in the first epoch, just behind its end, in the last
        out = tmp_path / f"cut-{step}"
        run(files, out, "keeping.keep=100")
        for path in list(checkpoint.newest(out / "checkpoints")):
            if int(path.name.rpartition("-")[2]) > step:
                for file in path.iterdir():
                    file.unlink()
                path.rmdir()
        (out / "result.json").unlink()
        assert run(files, out, "keeping.keep=100").metrics == whole.metrics
        assert losses(out) == losses(tmp_path / "whole")
        assert all(torch.equal(t, weights(out)[n]) for n, t in weights(tmp_path / "whole").items())


def test_runs_of_one_seed_and_of_several_have_folders_of_their_own(files, tmp_path):
    run(files, tmp_path / "one", epochs=1)
    with pytest.raises(UserError, match="holds a run of one seed; choose another --out for 2"):
        run(files, tmp_path / "one", epochs=1, seeds=2)
    (tmp_path / "two" / "seed-0").mkdir(parents=True)
    with pytest.raises(UserError, match="holds a run of several seeds; choose another --out"):
        run(files, tmp_path / "two", epochs=1)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file; name a folder with --out"):
        run(files, tmp_path / "file", epochs=1)


def test_more_epochs_extend_a_run(files, tmp_path):
    run(files, tmp_path / "run", epochs=1)
    assert len(losses(tmp_path / "run")) == 8
    run(files, tmp_path / "run", epochs=2)
    assert len(losses(tmp_path / "run")) == 16
    with pytest.raises(
        UserError, match="holds a run of 2 epochs: it can be extended, not shortened"
    ):
        run(files, tmp_path / "run", epochs=1)


def test_changed_settings_and_changed_data_are_refused_by_name(files, tmp_path):
    run(files, tmp_path / "run", epochs=1)
    with pytest.raises(UserError, match=r"tuning\.optimizer\.rate is 0\.01 there and 0\.02 now"):
        run(files, tmp_path / "run", rate=0.02, epochs=1)
    other = labelled.tsv(tmp_path / "other.tsv", labelled.sentences(30, seed=9))
    with pytest.raises(UserError, match="settings: train has other content now"):
        run(files | {"train": other}, tmp_path / "run", epochs=1)


def test_a_run_of_another_kind_is_not_gone_on_with(files, tmp_path):
    (tmp_path / "config.toml").write_text('stores = []\nheldout = "0.1"\nseed = 0\n')
    with pytest.raises(
        UserError, match=r"run of another kind: .* has heldout, stores; give another"
    ):
        run(files, tmp_path)


def test_several_seeds_give_mean_and_deviation(files, tmp_path, capsys):
    result = run(files, tmp_path / "run", seeds=3, epochs=1)
    each = [run(files, tmp_path / f"{seed}", seed=seed, epochs=1).metrics for seed in range(3)]
    values = [metrics["accuracy"] for metrics in each]
    mean = sum(values) / 3
    assert result.metrics["accuracy"] == pytest.approx(mean)
    assert result.deviations is not None
    assert result.deviations["accuracy"] == pytest.approx(
        (sum((value - mean) ** 2 for value in values) / 2) ** 0.5
    )
    best = max(range(3), key=values.__getitem__)
    assert all(
        torch.equal(tensor, weights(tmp_path / f"{best}")[name])
        for name, tensor in weights(tmp_path / "run").items()
    )
    assert (tmp_path / "run" / "report.html").exists()
    told = capsys.readouterr().err
    assert [told.count(f"seed {n}, {n + 1} of 3\n") for n in range(3)] == [1, 1, 1]


def test_only_the_head_is_trained(files, tmp_path):
    run(files, tmp_path / "run", "layers.last=0")
    assert changed(files, tmp_path / "run") == {"pooler.dense.weight", "pooler.dense.bias"}


def test_only_the_last_layers_are_trained(files, tmp_path):
    run(files, tmp_path / "run", "layers.last=1")
    moved = changed(files, tmp_path / "run")
    assert any(name.startswith("encoder.layer.1.") for name in moved)
    assert not any(name.startswith(("encoder.layer.0.", "embeddings.")) for name in moved)


def test_embeddings_are_frozen_alone(files, tmp_path):
    run(files, tmp_path / "run", "layers.embeddings=false")
    moved = changed(files, tmp_path / "run")
    assert any(name.startswith("encoder.layer.0.") for name in moved)
    assert not any(name.startswith("embeddings.") for name in moved)


def test_layers_thaw_one_an_epoch(files, tmp_path):
    out = tmp_path / "run"
    run(files, out, "layers.gradual=true", "keeping.keep=100", epochs=4)

    def moved(epoch: int) -> set[str]:
        saved = [
            load_file(p / "weights.safetensors") for p in sorted((out / "checkpoints").iterdir())
        ]
        before, after = saved[8 * epoch], saved[8 * epoch + 7]
        names = {
            re.sub(r"^(head|encoder\.\w+(\.\d)?).*", r"\1", name)
            for name in before
            if not torch.equal(before[name], after[name])
        }
        return names

    assert moved(0) == {"head"}
    assert moved(1) == {"head", "encoder.blocks.1"}
    assert moved(2) == {"head", "encoder.blocks.1", "encoder.blocks.0"}
    assert moved(3) == {"head", "encoder.blocks.1", "encoder.blocks.0", "encoder.embeddings"}


def test_a_run_that_thaws_is_resumed_exactly(files, tmp_path):
    sets = ("layers.gradual=true", "layers.decay=0.5", "schedule.floor=0.03125")
    run(files, tmp_path / "whole", *sets)
    run(files, tmp_path / "parts", *sets, epochs=3)
    newest = next(checkpoint.newest(tmp_path / "parts" / "checkpoints"))
    (tmp_path / "parts" / "result.json").unlink()
    (newest / "state.json").unlink()  # no whole checkpoint is left: it starts again
    run(files, tmp_path / "parts", *sets)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


def test_training_ends_when_nothing_gets_better(files, tmp_path, capsys):
    result = run(files, tmp_path / "run", "keeping.patience=2", rate=1e-9, epochs=9)
    table = [row for row in rows(tmp_path / "run" / "metrics.jsonl") if "eval_accuracy" in row]
    scores = [row["eval_accuracy"] for row in table]
    assert len(scores) == scores.index(max(scores)) + 3 < 9
    ended = f"Ended at step {table[-1]['step']}: nothing better in 2 evaluations\n"
    assert capsys.readouterr().err.endswith(ended)
    again = run(files, tmp_path / "run", "keeping.patience=2", rate=1e-9, epochs=9)
    assert again.metrics == result.metrics


def test_balanced_weights_count_each_label_alike(files, tmp_path):
    texts = [row for row in labelled.sentences(90, seed=4) if row[1] in ("fox", "dog")]
    few = [row for row in texts if row[1] == "dog"][:4] + [row for row in texts if row[1] == "fox"]
    train = labelled.tsv(tmp_path / "train.tsv", few)
    foxes = len(few) - 4
    options = files | {"train": train, "eval": train}
    run(options, tmp_path / "even", epochs=1, rate=1e-9)
    run(options, tmp_path / "balanced", "balanced=true", epochs=1, rate=1e-9)
    weight = {"dog": len(few) / 8, "fox": len(few) / (2 * foxes)}
    given = [f"class_weights.{name}={value}" for name, value in weight.items()]
    run(options, tmp_path / "given", *given, epochs=1, rate=1e-9)
    assert losses(tmp_path / "balanced") == losses(tmp_path / "given")
    assert losses(tmp_path / "balanced") != losses(tmp_path / "even")
    with pytest.raises(UserError, match="class weights are given for dog; the labels are dog, fox"):
        run(options, tmp_path / "half", given[0])
    with pytest.raises(UserError, match="either balanced or class_weights"):
        run(options, tmp_path / "both", *given, "balanced=true")


def test_a_model_of_python_can_be_started_from(files, tmp_path):
    start = unmask.Model.from_pretrained(files["model"])
    given = run(files | {"model": start}, tmp_path / "given", epochs=1)
    named = run(files, tmp_path / "named", epochs=1)
    assert given.metrics == named.metrics
    assert losses(tmp_path / "given") == losses(tmp_path / "named")


def test_a_run_without_a_folder_makes_one(files):
    result = run(files, None, epochs=1)
    assert (result.folder / "model" / "config.json").exists()


def test_a_fine_tuned_model_learns_on_with_its_head(files, tmp_path, learned):
    more = run(files | {"model": str(learned.folder / "model")}, tmp_path / "run", *WELL, epochs=1)
    assert more.metrics["accuracy"] >= 0.9
    assert losses(tmp_path / "run")[0] < losses(learned.folder)[0] / 2  # not from the beginning


@pytest.mark.parametrize(
    ("options", "sets", "message"),
    [
        ({"task": "translate"}, (), "there is no task 'translate'; there are .*regression"),
        ({"epochs": 0}, (), "epochs is 0; it must be at least 1"),
        ({"seeds": 0}, (), "--seeds 0: there must be at least one"),
        ({}, ("reading.length=4",), r"reading\.length is 4; it must be at least 8"),
        ({"rate": 0.0}, (), r"optimizer\.rate is 0\.0; take one between 0 and 1"),
        ({}, ("reading.length=64",), r"reading\.length is 64, but the model reads 32 tokens"),
        ({}, ("layers.decay=0.0",), r"layers\.decay is 0\.0"),
        ({}, ("layers.gradual=true", "layers.last=1"), r"give it without layers\.last"),
        ({}, ("keeping.metric=bleu",), r"keeping\.metric is 'bleu'; .* has accuracy, f1"),
        ({}, ("micro_tokens=10",), "micro_tokens 10 must hold a sequence of 24 tokens"),
        ({}, ("layer.last=1",), "unknown setting 'layer'; did you mean layers"),
        ({"train": "nowhere.tsv"}, (), r"nowhere\.tsv"),
        ({"model": "./nowhere"}, (), "no such folder"),
    ],
)
def test_what_cannot_be_is_refused(files, tmp_path, options, sets, message):
    with pytest.raises(UserError, match=message):
        run(files, tmp_path / "run", *sets, **options)
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([], ("text", "label"), r"bad\.tsv: no rows"),
        (
            [("a", "fox")],
            ("text", "mark"),
            r"bad\.tsv, line 2: no column label or .*only 'text', 'mark'",
        ),
        (
            [("a", "fox")],
            ("words", "label"),
            r"bad\.tsv, line 2: no column of text .*'words', 'label'",
        ),
        ([("a", "fox"), ("b", "")], ("text", "label"), r"bad\.tsv, line 3: label is empty"),
        (
            [("a", "fox"), ("b",)],
            ("text", "label"),
            r"bad\.tsv, line 3: 1 columns, but the header has 2",
        ),
        ([("a", "fox"), ("b", "fox")], ("text", "label"), r"all rows have the same label 'fox'"),
    ],
)
def test_bad_training_data_is_refused_with_its_place(files, tmp_path, rows, header, message):
    bad = labelled.tsv(tmp_path / "bad.tsv", rows, header)
    with pytest.raises(UserError, match=message):
        run(files | {"train": bad}, tmp_path / "run")


def test_labels_of_mixed_kinds_are_refused(files, tmp_path):
    lines = [{"text": "a", "label": "fox"}, {"text": "b", "label": 3}]
    path = tmp_path / "mixed.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(
        UserError, match=r"line 2: the label is a number, but in .*line 1 it is a text"
    ):
        run(files | {"train": str(path)}, tmp_path / "run")


def test_a_label_unknown_to_training_is_refused_before_it_starts(files, tmp_path):
    odd = labelled.tsv(tmp_path / "odd.tsv", [*labelled.sentences(3), ("a wolf", "wolf")])
    with pytest.raises(
        UserError, match=r"odd\.tsv, line 5: label 'wolf' is unknown; there are bear"
    ):
        run(files | {"eval": odd}, tmp_path / "run")


def test_several_labels_at_once(files, tmp_path):
    lines = [
        {"text": text, "labels": [label] + (["quick"] if "quick" in text else [])}
        for text, label in labelled.sentences(120, seed=5)
    ]
    path = tmp_path / "many.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = {"train": str(path), "eval": str(path)}
    sets = (*WELL, "optimizer.algorithm='muon'")  # AdamW's end depends on rounding here
    result = run(files | data, tmp_path / "run", *sets, rate=0.02, epochs=16)
    assert result.metrics["f1"] > 0.9
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    found = result.model.predict([line["text"] for line in lines], top_k=5)
    given = [{answer["label"] for answer in row if answer["score"] > 0.5} for row in found]
    right = [labels == set(line["labels"]) for labels, line in zip(given, lines, strict=True)]
    assert sum(right) / len(right) == pytest.approx(result.metrics["accuracy"])
