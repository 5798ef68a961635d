"""Every system and every model, by what they declare."""

from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from kedro.config import OmegaConfigLoader
from sklearn.metrics import roc_auc_score

from tests.conftest import stored_clips
from tests.training.conftest import moving_square
from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.clips.window import FEWER
from vad_pipeline.evaluation.evaluate import evaluate
from vad_pipeline.evaluation.normality import anomaly_score
from vad_pipeline.experiments.experiments import EXPERIMENTS
from vad_pipeline.fitting.checkpoint import read_checkpoint, write_checkpoint
from vad_pipeline.fitting.fit import Trained
from vad_pipeline.models.build import build
from vad_pipeline.models.scorer import ScoringOptions
from vad_pipeline.models.systems import MODELS, SYSTEMS, model_class, models_of, pictured_part, rows_of, terms_of
from vad_pipeline.pipeline_registry import EXPERIMENTS as EXPERIMENT_NAMES
from vad_pipeline.scoring.score import Scoring, ScoringError, score_clips
from vad_pipeline.settings import CONFIG_LOADER_ARGS
from vad_pipeline.training.train import Training, train

CONF = Path(__file__).resolve().parents[1] / "conf"
TRAINING = Training(epochs=1, batch_size=4, accelerator="cpu")
TESTED = [["test/0", "test/1"]]  # one group: a scorer goes from the first to the second
SIZE = FrameSize(16, 32, "gray")  # models halve a side up to four times

# Every part of every system: baselines that share a model differ in its parameters.
CASES = {f"{name}.{part}".rstrip("."): (name, part) for name, system in SYSTEMS.items() for part in system.parts}


@cache
def parameters(environment):
    return OmegaConfigLoader(str(CONF), env=environment, **CONFIG_LOADER_ARGS)["parameters"]


def tiny(case):
    """The model's name and its tiny configuration, as the system has it on the built-in scenes in all else."""
    system, part = CASES[case]
    section = parameters("scenes")[system]
    name = SYSTEMS[system].parts[part].model
    model = model_class(name)
    own = (section[part] if part else section)["model"]
    return name, model.config_class(**{**own, **model.tiny})


def other_stream(stream, frames):
    """Something like optical flow, or like features, of frames."""
    if stream == "flow":
        return np.repeat(np.diff(frames.astype(np.float16) / 32, axis=0), 2, axis=-1)
    return np.resize(frames.reshape(len(frames), -1).astype(np.float16) / 255, (len(frames), 1280))


class Fitted(NamedTuple):
    """A model trained on three clips, with two test clips beside them and twins of the training clips' rows."""

    name: str
    config: Any
    streams: dict[str, Clips]
    twins: Clips
    folder: Path
    result: Trained

    @property
    def model(self):
        return model_class(self.name)

    @property
    def n_frames(self):
        return self.model.window(self.config).length + 8

    def again(self, config):
        return train(self.name, config, SIZE, TRAINING, 0, self.streams, self.folder, stored=self.twins)

    def scored(self, checkpoint=None, **settings):
        network = build(checkpoint or self.result.checkpoint)
        return score_clips(network, self.streams, Scoring(accelerator="cpu", **settings), TESTED, self.folder)


@pytest.fixture(scope="module", params=CASES)
def fitted(request, tmp_path_factory):
    return fit_tiny(request.param, tmp_path_factory.mktemp("every_model"))


def fit_tiny(case, folder):
    name, config = tiny(case)
    model = model_class(name)
    n = model.window(config).length + 8
    arrays = {f"train/{i}": moving_square(n, 3 * i) for i in range(3)}
    arrays |= {f"test/{i}": moving_square(n, i, speed=1 + 3 * i) for i in range(2)}
    arrays = {clip: np.pad(rows, ((0, 0), (0, 0), (0, 8), (0, 0)), mode="edge") for clip, rows in arrays.items()}
    made = {
        stream: {c: rows if stream == "frames" else other_stream(stream, rows) for c, rows in arrays.items()}
        for stream in model.reads
    }
    replaced = made[model.reads[0]]
    twins = {f"{clip}@0": rows.max() - rows for clip, rows in replaced.items() if clip.startswith("train")}
    streams = {stream: stored_clips(folder, clips) for stream, clips in made.items()}
    twins = stored_clips(folder, twins)
    result = train(name, config, SIZE, TRAINING, 0, streams, folder, stored=twins)
    return Fitted(name, config, streams, twins, folder, result)


def test_the_names_that_the_registry_lists_are_declared():
    assert set(EXPERIMENT_NAMES) == set(EXPERIMENTS)
    for experiment in EXPERIMENTS.values():
        assert {row.system for row in experiment.rows} <= set(SYSTEMS)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_s_rows_are_of_terms_that_its_parts_have(name):
    system = SYSTEMS[name]
    models = models_of(system)
    terms = terms_of(system)
    assert len(terms) == sum(len(model.terms) for model in models.values()), "parts have no term in common"
    rows = rows_of(system, next(iter(models.values())).config_class())
    assert [row.key for row in rows].count("") == 1, "one headline"
    assert all(set(row.weights) <= set(terms) for row in rows)
    assert pictured_part(system) in models


def test_a_system_of_one_with_error_maps_has_a_row_that_fuses_psnr_and_worst_place():
    (headline, further) = rows_of(SYSTEMS["frame_pred"], model_class("frame_pred").config_class())
    assert headline.weights == {"psnr": 1.0}
    assert further.weights == {"psnr": 0.5, "worst_place": 0.5}
    assert further.key
    assert len(rows_of(SYSTEMS["alps"], model_class("alps").config_class())) == 1


@pytest.mark.parametrize("name", MODELS)
def test_what_a_model_declares_fits_its_configuration(name):
    model = model_class(name)
    config = model.config_class()
    known = {field.name for field in fields(config)}
    assert model.scoring_only | model.fusing_only | set(model.tiny) <= known
    assert not model.scoring_only & model.fusing_only
    assert set(model.streams(config)) <= set(model.reads)
    assert set(model.fusion(config)) <= set(model.terms)


@pytest.mark.parametrize("name", MODELS)
def test_the_defaults_build_the_published_number_of_parameters(name):
    model = model_class(name)
    if not model.published_parameters:
        pytest.skip(f"{name} is from no paper that says its size")
    for colours, millions in model.published_parameters.items():
        with torch.device("meta"):
            network = model(model.config_class(), colours=colours)
        assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.006)


def test_every_model_trains_scores_and_evaluates(fitted):
    model, window, n = fitted.model, fitted.model.window(fitted.config), fitted.n_frames
    scores, maps = fitted.scored(batch=3)
    assert list(scores.columns) == ["clip", "frame", *model.terms]
    for clip in TESTED[0]:
        assert scores.loc[scores["clip"] == clip, "frame"].tolist() == list(window.scored(n))
    assert np.isfinite(scores[list(model.terms)].to_numpy()).all()
    assert set(maps) == (set(TESTED[0]) if model.has_maps else set())
    for job in maps.values():
        if not Path(job.file).exists():
            job.again()
        stored = np.load(job.file)
        assert stored.dtype == np.float16
        assert stored.shape == (len(window.scored(n)), 4, 8)
        assert (stored >= 0).all()
    labels = pd.DataFrame({"clip": np.repeat(TESTED[0], n), "frame": list(range(n)) * 2, "kind": ""})
    labels["label"] = (labels["clip"] == "test/1").astype(int)
    normaliser = fitted.result.checkpoint.normaliser
    assert set(normaliser) == set(model.terms)
    weights = model.fusion(fitted.config)
    metrics = evaluate(scores, labels, model.terms, weights, lengths=dict.fromkeys(TESTED[0], n), normaliser=normaliser)
    assert metrics["frames_scored"] == len(scores)
    labelled = scores.merge(labels, on=["clip", "frame"])
    anomaly = anomaly_score(labelled, model.terms, weights, "held_out", normaliser)
    assert metrics["micro_auc_held_out"] == pytest.approx(roc_auc_score(labelled["label"], anomaly))


def test_what_a_model_expects_of_a_frame_is_a_picture(fitted):
    if not fitted.model.has_maps:
        pytest.skip("a model without maps has no picture")
    seen = fitted.model.streams(fitted.config)
    rows = {stream: clips["test/0"].array()[: len(seen[stream].rows)] for stream, clips in fitted.streams.items()}
    scorer = build(fitted.result.checkpoint).scorer(ScoringOptions())
    predicted = scorer.predict(rows, fitted.model.window(fitted.config).target)
    assert predicted.shape == (16, 32, 1 if "frames" in fitted.model.reads else 3)
    assert predicted.dtype == np.uint8


def test_frame_by_frame_gives_the_scores_that_batches_give(fitted):
    model = build(fitted.result.checkpoint)
    whole, live = (model.scorer(ScoringOptions(batch=batch)) for batch in (3, 1))

    def as_it_comes(arrays):
        for t in range(fitted.n_frames):
            fresh = {}
            for name, rows in arrays.items():  # the flow between two frames is there with the second one
                row = t - FEWER.get(name, 0)
                fresh[name] = rows[max(0, row) : row + 1]
            if (batch := live.push(fresh)) is not None:
                yield batch
        if (batch := live.finish()) is not None:
            yield batch

    def joined(batches):
        maps = [batch.maps for batch in batches if batch.maps is not None]
        return (
            np.concatenate([batch.frames for batch in batches]),
            {term: np.concatenate([batch.terms[term] for batch in batches]) for term in model.terms},
            np.concatenate(maps).astype(float) if maps else np.zeros(0),
        )

    for clip in TESTED[0]:  # the second one meets what the first has left behind
        arrays = {name: stored[clip].array() for name, stored in fitted.streams.items()}
        expected, found = joined(list(whole.clip(arrays))), joined(list(as_it_comes(arrays)))
        assert found[0].tolist() == expected[0].tolist()
        for term, values in expected[1].items():
            np.testing.assert_allclose(found[1][term], values, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(found[2], expected[2], atol=1e-3)  # half precision


def test_finished_scores_are_found_again_and_new_weights_run_no_network(fitted, monkeypatch):
    first, maps = fitted.scored(batch=3)
    for job in maps.values():
        Path(job.file).unlink(missing_ok=True)  # the clip store has taken them over

    def forbidden(*_):
        raise AssertionError("a network ran")

    monkeypatch.setattr(fitted.model, "scorer", forbidden)
    changed = replace(fitted.config, **dict.fromkeys(fitted.model.fusing_only, 0.25))
    again = fitted.again(changed)
    assert again.reused
    assert again.checkpoint.normaliser == fitted.result.checkpoint.normaliser
    second, found = fitted.scored(again.checkpoint)
    pd.testing.assert_frame_equal(first, second)
    assert {clip: job.fingerprint for clip, job in found.items()} == {c: job.fingerprint for c, job in maps.items()}


def test_a_checkpoint_says_all_that_it_takes_to_run_the_model(fitted):
    path = fitted.folder / "handed_over.safetensors"
    write_checkpoint(fitted.result.checkpoint, path)
    read = read_checkpoint(path)
    assert read.normaliser == fitted.result.checkpoint.normaliser
    arrays = {name: stored["test/1"].array() for name, stored in fitted.streams.items()}
    one, other = (list(build(c).scorer(ScoringOptions()).clip(arrays)) for c in (fitted.result.checkpoint, read))
    for left, right in zip(one, other, strict=True):
        for term, values in left.terms.items():
            np.testing.assert_allclose(values, right.terms[term], rtol=1e-6)


def test_maps_that_the_store_has_lost_are_made_again(tmp_path):
    fitted = fit_tiny("conv3d_ae", tmp_path)
    _, maps = fitted.scored()
    before = {clip: np.load(job.file) for clip, job in maps.items()}
    for job in maps.values():
        Path(job.file).unlink()
    _, maps = fitted.scored()
    assert not any(Path(job.file).exists() for job in maps.values())
    maps["test/1"].again()
    for clip, job in maps.items():
        np.testing.assert_array_equal(np.load(job.file), before[clip])


@pytest.mark.parametrize("name", MODELS)
def test_a_clip_shorter_than_the_window_is_named_when_scored(name, tmp_path, store_clips):
    model = model_class(name)
    network = model(model.config_class(**model.tiny), colours=1).eval()
    short = model.window(network.config).length - 1
    if not short:
        pytest.skip("one frame is enough for this model")
    clips = {
        stream: store_clips({"test/short": np.zeros((short - FEWER.get(stream, 0), 16, 24, 1), np.uint8)})
        for stream in model.reads
    }
    with pytest.raises(ScoringError, match=f"clip test/short: {short} frames, a window needs"):
        score_clips(network, clips, Scoring(accelerator="cpu"), [["test/short"]], tmp_path)
