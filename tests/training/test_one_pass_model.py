"""A model that learns in one pass, from its training to its scores; and clips that are single images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.training.conftest import SIZE
from tests.training.toy_bank import Config, ToyBank
from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.code import definitions_of
from vad_pipeline.fitting.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from vad_pipeline.fitting.devices import TrainingError
from vad_pipeline.fitting.fit import RESUME
from vad_pipeline.models import semantic_discriminator
from vad_pipeline.models.build import build
from vad_pipeline.models.systems import model_class
from vad_pipeline.scoring.score import Scoring, score_clips
from vad_pipeline.training.train import Training, code_roots, train

TRAINING = Training(epochs=1, held_out=0.25, accelerator="cpu", threads=1)
SCORING = Scoring(batch=3, accelerator="cpu", threads=1)


@pytest.fixture(autouse=True)
def _toy_bank_is_a_model(monkeypatch):
    def classes(name):
        return ToyBank if name == "toy_bank" else model_class(name)

    monkeypatch.setattr("vad_pipeline.training.train.model_class", classes)
    monkeypatch.setattr("vad_pipeline.models.build.model_class", classes)


@pytest.fixture
def config(tmp_path):
    return Config(projection(tmp_path / "projection.safetensors", seed=0))


def projection(path, seed):
    save_file({"projection": torch.randn(24, 4, generator=torch.Generator().manual_seed(seed))}, path)
    return str(path)


def run(folder, config, clips, training=TRAINING, **more):
    return train("toy_bank", config, SIZE, training, 0, {"frames": clips}, folder, **more)


def test_the_checkpoint_of_a_bank_is_read_built_and_scores_without_its_pretrained_file(tmp_path, config, scenes):
    result = run(tmp_path / "work", config, scenes)
    assert result.checkpoint.about["held_out"] == ["train/02"]
    assert result.checkpoint.state["items"].shape == (3 * 14, 4)
    assert int(result.checkpoint.state["clips"]) == 3
    assert result.history["value"].tolist() == [14, 28, 42]
    assert not list((tmp_path / "work").glob(f"*/{RESUME}")), "the result is safe"
    path = tmp_path / "bank.safetensors"
    write_checkpoint(result.checkpoint, path)
    Path(config.weights).unlink()
    model = build(read_checkpoint(path))
    assert torch.equal(model.items, result.checkpoint.state["items"])
    assert not model.training
    scores, maps = score_clips(model, {"frames": scenes}, SCORING, [["test/01"], ["train/00"]], tmp_path)
    assert not maps
    assert scores["clip"].value_counts().to_dict() == {"test/01": 14, "train/00": 14}
    # nothing is as near to the bank as what it is made of
    assert scores.loc[scores["clip"] == "train/00", "distance"].max() < 1e-5
    assert scores.loc[scores["clip"] == "test/01", "distance"].max() < 1e-1


def test_an_unlike_frame_is_far_from_the_bank(tmp_path, config, scenes, store_clips):
    odd = np.full((5, 16, 24, 1), 60, np.uint8)
    odd[3] = np.linspace(255, 0, 24)[:, None]
    model = build(run(tmp_path / "work", config, scenes).checkpoint)
    scores, _ = score_clips(model, {"frames": store_clips({"test/odd": odd})}, SCORING, [["test/odd"]], tmp_path)
    assert scores["distance"].argmax() == 3


def test_the_normaliser_of_a_bank_is_of_its_held_out_clip(tmp_path, config, scenes):
    result = run(tmp_path / "work", config, scenes)
    scores, _ = score_clips(build(result.checkpoint), {"frames": scenes}, SCORING, [["train/02"]], tmp_path)
    (quantiles,) = result.checkpoint.normaliser.values()
    assert list(result.checkpoint.normaliser) == ["distance"]
    assert quantiles[0] == pytest.approx(scores["distance"].min())
    assert quantiles[-1] == pytest.approx(scores["distance"].max())


def test_a_finished_pass_is_reused_and_a_change_of_scoring_learns_nothing(tmp_path, config, scenes, monkeypatch):
    first = run(tmp_path / "work", config, scenes)

    def forbidden(*_):
        raise AssertionError("it learns again")

    monkeypatch.setattr(ToyBank, "learn", forbidden)
    monkeypatch.setattr(ToyBank, "initialise", forbidden)
    again = run(tmp_path / "work", config, scenes)
    assert (first.reused, again.reused) == (False, True)
    assert torch.equal(first.checkpoint.state["items"], again.checkpoint.state["items"])
    assert first.history.equals(again.history)
    other = run(tmp_path / "work", replace(config, nearest=3), scenes)
    assert other.reused
    assert other.checkpoint.normaliser["distance"][-1] > first.checkpoint.normaliser["distance"][-1]


def test_training_alone_takes_pretrained_weights_over(tmp_path, config, scenes, monkeypatch):
    taken, initialise = [], ToyBank.initialise
    monkeypatch.setattr(ToyBank, "initialise", lambda model: taken.append(1) or initialise(model))
    result = run(tmp_path / "work", config, scenes)
    assert len(taken) == 1, "once, though the checkpoint was built for its calibration"
    model = build(result.checkpoint)
    score_clips(model, {"frames": scenes}, SCORING, [["test/01"]], tmp_path)
    run(tmp_path / "work", config, scenes)
    assert len(taken) == 1
    assert model.projection.abs().min() > 0


def test_a_pretrained_file_counts_by_its_content(tmp_path, config, scenes):
    first = run(tmp_path / "work", config, scenes)
    projection(Path(config.weights), seed=0)  # written again, the same
    assert run(tmp_path / "work", config, scenes).reused
    projection(Path(config.weights), seed=1)
    other = run(tmp_path / "work", config, scenes)
    assert not other.reused
    assert not torch.equal(first.checkpoint.state["items"], other.checkpoint.state["items"])


def test_a_pretrained_file_that_is_not_there_is_named(tmp_path, config, scenes):
    with pytest.raises(TrainingError, match=r"toy_bank: .*nowhere.safetensors.* is not there"):
        run(tmp_path / "work", replace(config, weights=str(tmp_path / "nowhere.safetensors")), scenes)


def test_weights_that_do_not_fit_are_named_also_where_buffers_have_any_shape(tmp_path, config, scenes):
    checkpoint = run(tmp_path / "work", config, scenes).checkpoint
    lacking = {name: value for name, value in checkpoint.state.items() if name != "projection"}
    with pytest.raises(CheckpointError, match=r"(?s)checkpoint of toy_bank: its weights do not fit .*projection"):
        build(replace(checkpoint, state=lacking))


def test_an_interrupted_pass_goes_on_in_training_too(tmp_path, config, scenes, monkeypatch):
    whole = run(tmp_path / "whole", config, scenes)
    learn, seen = ToyBank.learn, []

    def cut(model, clip):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(1)
        return learn(model, clip)

    monkeypatch.setattr(ToyBank, "learn", cut)
    monkeypatch.setattr("vad_pipeline.fitting.one_pass.fit_in_one_pass.__defaults__", (0.0,))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", config, scenes)
    assert len(list((tmp_path / "cut").glob(f"*/{RESUME}"))) == 1
    monkeypatch.setattr(ToyBank, "learn", lambda model, clip: seen.append(1) or learn(model, clip))
    resumed = run(tmp_path / "cut", config, scenes)
    assert len(seen) == 3, "every clip once"
    assert not resumed.reused
    assert torch.equal(whole.checkpoint.state["items"], resumed.checkpoint.state["items"])
    assert whole.history.equals(resumed.history)


def test_the_code_of_a_training_is_that_of_the_toy_s_file():
    found = definitions_of(*code_roots("toy_bank"))
    assert {"tests.training.toy_bank:ToyBank", "tests.training.toy_bank:ToyBankScorer"} <= set(found)
    assert "torch.cat([self.items, vectors])" in found["tests.training.toy_bank:ToyBank"]


@pytest.fixture
def images(store_clips):
    """Clips of one frame each: eight normal ones and two to score."""
    rng = np.random.default_rng(0)

    def image(value):
        return np.clip(rng.normal(value, 3, (1, 16, 24, 1)), 0, 255).astype(np.uint8)

    arrays = {f"train/{i}": image(80 + i) for i in range(8)}
    return store_clips(arrays | {"test/normal": image(84), "test/odd": image(200)}, fps=None)


def test_single_images_are_learnt_in_one_pass_and_scored(tmp_path, config, images):
    result = run(tmp_path / "work", config, images)
    assert result.checkpoint.state["items"].shape == (6, 4)
    assert len(result.checkpoint.about["held_out"]) == 2
    assert set(result.checkpoint.normaliser) == {"distance"}
    groups = [["test/normal"], ["test/odd"]]
    scores, _ = score_clips(build(result.checkpoint), {"frames": images}, SCORING, groups, tmp_path)
    assert scores[["clip", "frame"]].to_numpy().tolist() == [["test/normal", 0], ["test/odd", 0]]
    assert scores["distance"].is_monotonic_increasing


def test_of_a_single_image_nothing_is_held_out(tmp_path, config, images):
    result = run(tmp_path / "work", config, Clips({"train/0": images["train/0"]}))
    assert result.checkpoint.state["items"].shape == (1, 4)
    assert (result.checkpoint.about["held_out"], result.checkpoint.normaliser) == ([], {})


def test_single_images_are_trained_on_by_gradients_and_scored(tmp_path, images, store_clips):
    """The discriminator looks at one frame's features at a time."""
    rng = np.random.default_rng(0)
    vectors = {clip: rng.normal(size=(1, 1280)).astype(np.float16) for clip in images}
    features = store_clips(vectors)
    odd = store_clips({f"{clip}@0": -rows for clip, rows in vectors.items() if clip.startswith("train")})
    config = semantic_discriminator.Config(hidden=(8,))
    training = replace(TRAINING, batch_size=4, epochs=2)
    streams = {"features": features}
    result = train("semantic_discriminator", config, SIZE, training, 0, streams, tmp_path / "work", stored=odd)
    history = result.history.pivot(index="epoch", columns="name", values="value")
    assert np.isfinite(history[["train_loss", "val_probability"]].to_numpy()).all()
    groups = [["test/normal"], ["test/odd"]]
    scores, _ = score_clips(build(result.checkpoint), streams, SCORING, groups, tmp_path)
    assert scores["frame"].tolist() == [0, 0]
    assert scores["pseudo_probability"].between(0, 1).all()
    assert scores["pseudo_probability"].nunique() == 2
