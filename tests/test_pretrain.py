"""Whole runs of a tiny model: what they leave, how they go on, what they refuse."""

import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoModelForPreTraining, AutoTokenizer

import runs
import tiny
import unmask
from unmask.errors import UserError
from unmask.exchange import huggingface
from unmask.train import settings
from unmask.train.loop import PATIENCE, Trainer
from unmask.train.metrics import rows
from unmask.train.recipe import load_recipe, names


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return runs.make_store(tmp_path_factory.mktemp("data") / "store")


def pretrain(store, out, steps=6, sets=(), **options):
    sets = [*runs.SETS, *sets]
    return unmask.pretrain([str(store)], out=out, steps=steps, heldout="0.2", set=sets, **options)


def losses(out):
    return {row["step"]: row["loss"] for row in rows(out / "metrics.jsonl")}


@pytest.fixture(scope="module")
def finished(store, tmp_path_factory):
    """A run of six steps that nothing disturbed."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    return out, pretrain(store, out, probe=["The quick [MASK] jumped."])


def test_a_run_leaves_all_that_is_promised(finished):
    out, result = finished
    assert result.steps == 6
    assert result.tokens > 6 * 0.9 * 512
    assert 0 < result.figures["heldout_mlm_loss"] < 10
    assert 0 <= result.figures["nsp_accuracy"] <= 1
    table = rows(out / "metrics.jsonl")
    assert [row["step"] for row in table] == [1, 2, 3, 4, 5, 6]
    assert all(row["loss"] == row["mlm_loss"] + row["nsp_loss"] for row in table)
    assert [row["step"] for row in table if "heldout_mlm_loss" in row] == [3, 6]
    assert len(table[5]["probes"]["The quick [MASK] jumped."]) == 5
    assert list((out / "tensorboard").glob("events*"))
    assert [path.name[-1] for path in sorted((out / "checkpoints").iterdir())] == ["4", "5", "6"]
    config = tomllib.loads((out / "config.toml").read_text())
    assert config["recipe"]["optimizer"]["rate"] == load_recipe("bert-mini").optimizer.rate
    assert config["recipe"]["model"]["width"] == 16
    report = (out / "report.html").read_text()
    assert report.count("<svg") == 3
    assert "The quick [MASK] jumped." in report
    assert not re.search(r"(?:src|href)\s*=\s*[\"']https?:", report)  # nothing to fetch


def test_its_model_opens_with_transformers_and_gives_the_same_scores(finished):
    _, result = finished
    ours = unmask.Model.from_pretrained(result.model)
    tokenizer = AutoTokenizer.from_pretrained(result.model)
    text = "The quick [MASK] jumped over the river."
    inputs = tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        lm = AutoModelForMaskedLM.from_pretrained(result.model).eval()(**inputs).logits
        both = AutoModelForPreTraining.from_pretrained(result.model).eval()(**inputs)
    torch.testing.assert_close(both.prediction_logits, lm)
    at = inputs.input_ids[0].tolist().index(tokenizer.mask_token_id)
    best = lm[0, at].softmax(-1).topk(5)
    fillings = ours.fill(text)
    assert [f["token"] for f in fillings] == best.indices.tolist()
    assert [f["score"] for f in fillings] == pytest.approx(best.values.tolist(), abs=1e-5)


def test_a_finished_run_gives_its_result_again_and_trains_no_step(finished, store):
    out, result = finished
    before = (out / "metrics.jsonl").read_bytes()
    again = pretrain(store, out, probe=["The quick [MASK] jumped."])
    assert again == result
    assert (out / "metrics.jsonl").read_bytes() == before


def test_the_same_seed_gives_the_same_run_and_another_seed_another(finished, store, tmp_path):
    pretrain(store, tmp_path / "same")
    pretrain(store, tmp_path / "other", seed=1)
    whole = losses(finished[0])
    assert losses(tmp_path / "same") == whole
    assert all(losses(tmp_path / "other")[step] != whole[step] for step in whole)


def test_from_any_checkpoint_a_run_goes_on_with_the_same_losses(finished, store, tmp_path):
    whole = losses(finished[0])
    for step in (4, 5):
        out = tmp_path / str(step)
        shutil.copytree(finished[0], out)
        for later in range(step + 1, 7):
            shutil.rmtree(out / "checkpoints" / f"step-{later:09d}")
        (out / "result.json").unlink()
        pretrain(store, out, probe=["The quick [MASK] jumped."])
        assert losses(out) == whole
        assert len((out / "metrics.jsonl").read_text().splitlines()) == 6  # no step stands twice


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(finished, store, tmp_path, capfd):
    out = tmp_path / "run"
    shutil.copytree(finished[0], out)
    (out / "result.json").unlink()
    weights = out / "checkpoints" / "step-000000006" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    pretrain(store, out, probe=["The quick [MASK] jumped."])
    said = capfd.readouterr().err
    assert "step-000000006 is damaged (weights.safetensors" in said
    assert "Going on from step 5" in said
    assert losses(out) == losses(finished[0])


def test_a_run_can_be_extended_but_not_shortened(store, tmp_path):
    out = tmp_path / "run"
    pretrain(store, out, steps=4)
    first = losses(out)
    longer = pretrain(store, out, steps=8)
    assert longer.steps == 8
    assert sorted(losses(out)) == list(range(1, 9))
    assert {step: losses(out)[step] for step in first} == first
    with pytest.raises(UserError, match="8 steps: it can be extended, not shortened"):
        pretrain(store, out, steps=7)


def test_other_settings_are_refused_by_name(finished, store):
    out, _ = finished
    with pytest.raises(UserError, match=r"recipe\.optimizer\.rate is 0\.00\d+ there and 0\.5 now"):
        pretrain(store, out, sets=["optimizer.rate=0.5"], probe=["The quick [MASK] jumped."])
    with pytest.raises(UserError, match="seed is 0 there and 3 now"):
        pretrain(store, out, seed=3, probe=["The quick [MASK] jumped."])


def test_other_text_is_refused(finished, tmp_path):
    out, _ = finished
    other = runs.make_store(tmp_path / "store", seed=9)
    with pytest.raises(UserError, match=r"settings: stores\.0 has other content now"):
        pretrain(other, out, probe=["The quick [MASK] jumped."])


def test_a_budget_fixes_the_steps_once(store, tmp_path):
    out = tmp_path / "run"
    sets = [*runs.SETS, "watch.checkpoint_seconds=60"]
    options = {"out": out, "heldout": "0.2", "set": sets}
    result = unmask.pretrain([str(store)], budget="3s", **options)
    kept = settings.read(settings.Settings, out)
    assert kept is not None
    assert kept.recipe.steps == result.steps > 1
    again = unmask.pretrain([str(store)], budget="3s", **options)
    assert again == result
    longer = unmask.pretrain([str(store)], budget="6s", **options)
    spare = 6 - 2 * kept.evaluation_seconds
    assert longer.steps == int(spare / kept.step_seconds) > result.steps


def test_a_run_goes_on_from_a_checkpoint_of_the_field(store, tmp_path):
    model = tiny.pretrained(tiny.tokenizer(), positions=64)
    huggingface.write(model, tmp_path / "model")
    sets = ["dropout=0.0", "optimizer.rate=1e-30"]
    result = pretrain(store, tmp_path / "run", 1, sets, model=str(tmp_path / "model"))
    after = huggingface.read(result.model).network.state_dict()
    before = model.network.state_dict()
    assert all(torch.allclose(after[name], before[name], atol=1e-6) for name in before)


def test_a_checkpoint_with_another_tokenizer_is_refused(store, tmp_path):
    (tmp_path / "text.txt").write_text("Some other words, and some more of them.\n" * 9)
    words = unmask.train_tokenizer([str(tmp_path / "text.txt")], out=tmp_path / "tokenizer")
    huggingface.write(tiny.pretrained(words, positions=64), tmp_path / "model")
    with pytest.raises(UserError, match="its tokenizer is not the one"):
        pretrain(store, tmp_path / "run", 1, model=str(tmp_path / "model"))


def test_stores_are_mixed_by_weight_and_text_can_be_held_out_whole(store, tmp_path):
    other = runs.make_store(tmp_path / "other", seed=5)
    result = unmask.pretrain(
        [f"{store}=3", f"{other}=1"],
        out=tmp_path / "run",
        steps=2,
        heldout=str(other),
        set=runs.SETS,
    )
    config = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert [source["weight"] for source in config["stores"]] == [3.0, 1.0]
    assert result.steps == 2


def test_single_texts_train_without_nsp(store, tmp_path):
    result = pretrain(store, tmp_path / "run", 2, ["data.form='singles'"])
    assert "nsp_accuracy" not in result.figures
    assert result.to_json()["nsp_accuracy"] is None
    assert AutoModelForMaskedLM.from_pretrained(result.model) is not None


def test_counted_sequences_make_the_papers_batches(store, tmp_path):
    sets = ["data.batch_sequences=12", "data.batch_tokens=none"]
    result = pretrain(store, tmp_path / "run", 2, sets)
    assert result.tokens <= 2 * 12 * 48


def test_losses_that_are_not_finite_are_skipped_and_end_the_run_when_they_repeat(
    store, tmp_path, monkeypatch
):
    real, poisoned = Trainer.update, {3}

    def update(self, *rest):
        if self.plan.folder.name != "calm" and len(calls) in poisoned:
            for parameter in self.updates.parameters:
                parameter.grad.mul_(float("nan"))
        return real(self, *rest)

    calls: list[int] = []
    step = Trainer.step

    def counted(self, data, number, *rest, **named):
        calls[:] = range(number if rest or named.get("rate") else 0)
        return step(self, data, number, *rest, **named)

    monkeypatch.setattr(Trainer, "update", update)
    monkeypatch.setattr(Trainer, "step", counted)
    result = pretrain(store, tmp_path / "once", 5)
    assert result.skipped == 1
    assert [row["step"] for row in rows(tmp_path / "once" / "metrics.jsonl")] == [1, 2, 3, 4, 5]
    poisoned |= set(range(3, 100))
    with pytest.raises(UserError, match=f"not finite in {PATIENCE} steps in a row, up to step 12"):
        pretrain(store, tmp_path / "always", 40)


def test_impossible_settings_are_errors(store, tmp_path):
    for options, message in (
        ({"steps": 0}, "at least one step"),
        ({"steps": 5, "budget": "5s"}, "not both"),
        ({"steps": None, "budget": "soon"}, "write a time such as"),
        ({"recipe": "bert-huge"}, "recipe 'bert-huge' does not exist"),
        ({"sets": ["optimizer.rat=1"]}, "rat"),
        ({"sets": ["data.batch_tokens=300"]}, "must be a multiple"),
        ({"sets": ["data.phases=[{length=65, share=1.0}]"]}, "length 65"),
        ({"sets": ["data.phases=[{length=32, share=0.7}]"]}, "add up to 1"),
        ({"sets": ["model.heads=3"]}, "not a multiple of model.heads"),
        ({"probe": ["no mask here"]}, "no \\[MASK\\]"),
    ):
        with pytest.raises(UserError, match=message):
            pretrain(store, tmp_path / "run", **options)
    for name, message in (("2", "between 0 and 1"), ("nowhere", "nowhere")):
        with pytest.raises(UserError, match=message):
            unmask.pretrain([str(store)], out=tmp_path / "run", heldout=name, set=runs.SETS)
    with pytest.raises(UserError, match="the weight '-1'"):
        unmask.pretrain([f"{store}=-1"], out=tmp_path / "run", set=runs.SETS)


@pytest.mark.parametrize("name", names())
def test_every_recipe_of_the_package_is_whole(name):
    recipe = load_recipe(name)
    assert recipe.dropout == (0.1 if "faithful" in name else 0.0)
    assert recipe.model.width % recipe.model.heads == 0


def test_a_run_folder_in_a_place_that_cannot_be_is_an_error(store, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--out"):
        pretrain(store, Path(tmp_path / "file" / "run"), 1)


def test_results_are_json(finished):
    out, result = finished
    assert json.loads((out / "result.json").read_text())["steps"] == result.steps
