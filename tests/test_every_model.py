"""Every system and every model, by what they declare."""

from dataclasses import asdict, fields
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from kedro.config import OmegaConfigLoader

from tests.training.conftest import moving_square
from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.clips.window import FEWER
from vad_pipeline.evaluation.evaluate import evaluate
from vad_pipeline.experiments.experiments import EXPERIMENTS
from vad_pipeline.fitting.checkpoint import read_checkpoint, write_checkpoint
from vad_pipeline.models.build import build
from vad_pipeline.models.scorer import ScoringOptions
from vad_pipeline.models.systems import MODELS, SYSTEMS, model_class, models_of, pictured_part, rows_of, terms_of
from vad_pipeline.pipeline_registry import EXPERIMENTS as EXPERIMENT_NAMES
from vad_pipeline.scoring.score import Scoring, ScoringError, score_clips
from vad_pipeline.settings import CONFIG_LOADER_ARGS
from vad_pipeline.training.train import Training, train

CONF = Path(__file__).resolve().parents[1] / "conf"
SIZE = FrameSize(16, 32, "gray")  # models halve a side up to four times

# Systems that differ in the parameters of one model only are one case each, and so are parts that are no system alone.
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


@pytest.fixture
def data(store_clips):
    """Streams of three training clips and two test clips of ``n`` frames, and twins of the training clips' rows."""

    def make(model, n):
        arrays = {f"train/{i}": moving_square(n, 3 * i) for i in range(3)}
        arrays |= {f"test/{i}": moving_square(n, i, speed=1 + 3 * i) for i in range(2)}
        arrays = {clip: np.pad(rows, ((0, 0), (0, 0), (0, 8), (0, 0)), mode="edge") for clip, rows in arrays.items()}
        made = {
            stream: {c: rows if stream == "frames" else other_stream(stream, rows) for c, rows in arrays.items()}
            for stream in model.reads
        }
        replaced = made[model.reads[0]]
        twins = {f"{clip}@0": rows.max() - rows for clip, rows in replaced.items() if clip.startswith("train")}
        return {stream: store_clips(clips) for stream, clips in made.items()}, store_clips(twins)

    return make


def trained(case, data, folder, **settings):
    name, config = tiny(case)
    model = model_class(name)
    streams, twins = data(model, model.window(config).length + 8)
    training = Training(epochs=1, batch_size=4, accelerator="cpu", **settings)
    return train(name, config, SIZE, training, 0, streams, folder, stored=twins), streams


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
    assert models[pictured_part(system)].has_maps or not any(model.has_maps for model in models.values())


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
        pytest.skip("from no paper: there is no size to hold it against")
    for colours, millions in model.published_parameters.items():
        with torch.device("meta"):
            network = model(model.config_class(), colours=colours)
        assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.006)


@pytest.mark.parametrize("case", CASES)
def test_every_model_trains_scores_and_evaluates(case, tmp_path, data):
    result, streams = trained(case, data, tmp_path)
    name, config = tiny(case)
    model, window = model_class(name), model_class(name).window(config)
    n = window.length + 8
    groups = [["test/0", "test/1"]]
    scores, maps = score_clips(build(result.checkpoint), streams, Scoring(batch=3, accelerator="cpu"), groups, tmp_path)
    assert list(scores.columns) == ["clip", "frame", *model.terms]
    for clip in groups[0]:
        assert scores.loc[scores["clip"] == clip, "frame"].tolist() == list(window.scored(n))
    assert np.isfinite(scores[list(model.terms)].to_numpy()).all()
    assert set(maps) == (set(groups[0]) if model.has_maps else set())
    for job in maps.values():
        stored = np.load(job.file)
        assert stored.dtype == np.float16
        assert stored.shape == (len(window.scored(n)), 4, 8)
        assert (stored >= 0).all()
    labels = pd.DataFrame({"clip": np.repeat(groups[0], n), "frame": list(range(n)) * 2, "kind": ""})
    labels["label"] = (labels["clip"] == "test/1").astype(int)
    normaliser = result.checkpoint.normaliser
    assert set(normaliser) == set(model.terms)
    weights = model.fusion(config)
    lengths = dict.fromkeys(groups[0], n)
    metrics = evaluate(scores, labels, model.terms, weights, lengths=lengths, normaliser=normaliser)
    assert 0 <= metrics["micro_auc"] <= 1
    assert 0 <= metrics["micro_auc_held_out"] <= 1
    assert metrics["frames_scored"] == len(scores)
    if model.has_maps:
        rows = {
            stream: clips["test/0"].array()[: len(model.streams(config)[stream].rows)]
            for stream, clips in streams.items()
        }
        predicted = build(result.checkpoint).scorer(ScoringOptions()).predict(rows, window.target)
        assert predicted.shape == (16, 32, 1 if "frames" in model.reads else 3)
        assert predicted.dtype == np.uint8


@pytest.mark.parametrize("case", CASES)
def test_frame_by_frame_gives_the_scores_that_batches_give(case, tmp_path, data):
    result, streams = trained(case, data, tmp_path)
    model = build(result.checkpoint)
    clips = [{name: stored[clip].array() for name, stored in streams.items()} for clip in ("test/0", "test/1")]

    def table(batches):
        frames = np.concatenate([batch.frames for batch in batches])
        terms = {term: np.concatenate([batch.terms[term] for batch in batches]) for term in model.terms}
        maps = [batch.maps for batch in batches if batch.maps is not None]
        return frames, terms, np.concatenate(maps).astype(float) if maps else np.zeros(0)

    def as_it_comes(scorer, arrays):
        n = len(next(iter(arrays.values()))) + FEWER.get(next(iter(arrays)), 0)
        for t in range(n):
            # the flow between two frames is there with the second one
            fresh = {
                name: rows[t - FEWER.get(name, 0) :][: int(t >= FEWER.get(name, 0))] for name, rows in arrays.items()
            }
            if (batch := scorer.push(fresh)) is not None:
                yield batch
        if (batch := scorer.finish()) is not None:
            yield batch

    whole, live = (model.scorer(ScoringOptions(batch=batch)) for batch in (3, 1))
    for arrays in clips:  # the second clip meets what the first has left behind
        expected, found = table(list(whole.clip(arrays))), table(list(as_it_comes(live, arrays)))
        assert found[0].tolist() == expected[0].tolist()
        for term, values in expected[1].items():
            np.testing.assert_allclose(found[1][term], values, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(found[2], expected[2], atol=1e-3)  # half precision


@pytest.mark.parametrize("case", CASES)
def test_finished_scores_are_found_again_and_new_weights_run_no_network(case, tmp_path, data, monkeypatch):
    result, streams = trained(case, data, tmp_path)
    scoring, groups = Scoring(accelerator="cpu"), [["test/0", "test/1"]]
    first, maps = score_clips(build(result.checkpoint), streams, scoring, groups, tmp_path)
    for job in maps.values():
        Path(job.file).unlink()  # the clip store has taken them over

    def forbidden(*_):
        raise AssertionError("a network ran")

    for model in map(model_class, MODELS):
        monkeypatch.setattr(model, "scorer", forbidden)
    name, config = tiny(case)
    fused = dict.fromkeys(model_class(name).fusing_only, 0.25)
    changed = type(config)(**{**asdict(config), **fused})
    model = model_class(name)
    again = train(
        name,
        changed,
        SIZE,
        Training(epochs=1, batch_size=4, accelerator="cpu"),
        0,
        streams,
        tmp_path,
        stored=twins_of(result, data, model, config),
    )
    assert again.reused
    assert again.checkpoint.normaliser == result.checkpoint.normaliser
    second, found = score_clips(build(again.checkpoint), streams, scoring, groups, tmp_path)
    pd.testing.assert_frame_equal(first, second)
    assert {clip: job.fingerprint for clip, job in found.items()} == {c: job.fingerprint for c, job in maps.items()}


def twins_of(result, data, model, config):
    return data(model, model.window(config).length + 8)[1]


def test_maps_that_the_store_has_lost_are_made_again(tmp_path, data):
    result, streams = trained("conv3d_ae", data, tmp_path)
    arguments = (build(result.checkpoint), streams, Scoring(accelerator="cpu"), [["test/0", "test/1"]], tmp_path)
    _, maps = score_clips(*arguments)
    before = {clip: np.load(job.file) for clip, job in maps.items()}
    for job in maps.values():
        Path(job.file).unlink()
    _, maps = score_clips(*arguments)
    assert not any(Path(job.file).exists() for job in maps.values())
    maps["test/1"].again()
    for clip, job in maps.items():
        np.testing.assert_array_equal(np.load(job.file), before[clip])


@pytest.mark.parametrize("case", CASES)
def test_a_checkpoint_says_all_that_it_takes_to_run_the_model(case, tmp_path, data):
    result, streams = trained(case, data, tmp_path)
    path = tmp_path / "handed_over.safetensors"
    write_checkpoint(result.checkpoint, path)
    read = read_checkpoint(path)
    assert read.normaliser == result.checkpoint.normaliser
    arrays = {name: stored["test/1"].array() for name, stored in streams.items()}
    one, other = (list(build(c).scorer(ScoringOptions()).clip(arrays)) for c in (result.checkpoint, read))
    for left, right in zip(one, other, strict=True):
        assert all(np.array_equal(left.terms[term], right.terms[term]) for term in left.terms)


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
