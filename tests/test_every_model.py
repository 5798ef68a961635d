"""Every registered model."""

from dataclasses import asdict

import numpy as np
import pytest

from tests.training.conftest import moving_square
from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.evaluation.evaluate import evaluate
from vad_pipeline.experiments.experiments import EXPERIMENTS
from vad_pipeline.models import MODELS
from vad_pipeline.models.build import build
from vad_pipeline.pipeline_registry import DETECTORS, PARTS
from vad_pipeline.pipeline_registry import EXPERIMENTS as EXPERIMENT_NAMES
from vad_pipeline.scoring.score import Scoring, ScoringError, score_clips
from vad_pipeline.training.train import Training, train

# What makes a model small enough to train in seconds.
TINY = {
    "lgn_net": {"width": 0.0625, "gamma": None},
    "conv3d_ae": {"width": 0.0625},
    "lntra_patch": {"width": 0.0625, "pseudo": "patch", "probability": 0.5},
    "lntra_skip_frame": {"width": 0.0625, "pseudo": "skip_frame", "probability": 0.5},
    "steal_net": {"width": 0.0625, "pseudo": "steal", "probability": 0.1},
    "flow_conv3d_ae": {"width": 0.0625, "limit": 4.0},
    "semantic_discriminator": {"hidden": (8,)},
}


def test_the_names_in_the_pipeline_registry_are_those_of_the_registries():
    assert {*DETECTORS, *PARTS} == set(MODELS) == set(TINY)
    assert set(EXPERIMENT_NAMES) == set(EXPERIMENTS)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_trains_scores_and_evaluates(model, tmp_path, store_clips):
    import pandas as pd

    kind = MODELS[model]
    config = kind.config_class(**TINY[model])
    window = kind.window(config)
    n = window.length + 8
    arrays = {f"train/{i}": moving_square(n, 3 * i) for i in range(3)}
    arrays |= {f"test/{i}": moving_square(n, i, speed=1 + 3 * i) for i in range(2)}
    # 16 x 32: models halve a side up to four times
    arrays = {clip: np.pad(frames, ((0, 0), (0, 0), (0, 8), (0, 0)), mode="edge") for clip, frames in arrays.items()}
    streams, pseudo = {"frames": store_clips(arrays)}, None
    for stream in kind.streams:
        if stream not in streams:
            made = {clip: other_stream(stream, frames) for clip, frames in arrays.items()}
            streams[stream] = store_clips(made)
            pseudo = store_clips({f"{clip}@0": 1 - rows for clip, rows in made.items() if clip.startswith("train")})
    size = FrameSize(16, 32, "gray")
    training = Training(epochs=1, batch_size=4, accelerator="cpu")
    trained = train(model, config, size, training, 0, streams, tmp_path, pseudo=pseudo)
    scores, maps = score_clips(
        build(trained.checkpoint), streams, Scoring(batch=3, accelerator="cpu"), [["test/0", "test/1"]], tmp_path
    )
    assert list(scores.columns) == ["clip", "frame", *kind.terms]
    for clip in ("test/0", "test/1"):
        assert scores.loc[scores["clip"] == clip, "frame"].tolist() == list(window.scored(n))
    assert np.isfinite(scores[list(kind.terms)].to_numpy()).all()
    assert bool(maps) == kind.has_maps
    for job in maps.values():
        stored = np.load(job.file)
        assert stored.dtype == np.float16
        assert stored.shape == (len(window.scored(n)), 4, 8)
        assert (stored >= 0).all()
    labels = pd.DataFrame({"clip": np.repeat(["test/0", "test/1"], n), "frame": list(range(n)) * 2, "kind": ""})
    labels["label"] = (labels["clip"] == "test/1").astype(int)
    metrics = evaluate(scores, labels, kind.terms, kind.fusion(config))
    assert 0 <= metrics["micro_auc"] <= 1
    assert metrics["frames_scored"] == len(scores)
    if not kind.has_maps:
        return
    seen = streams[kind.streams[-1]]["test/0"].array()[: window.length]
    predicted = build(trained.checkpoint).scorer(Scoring(accelerator="cpu").options()).predict(seen, window.target)
    assert predicted.shape == (16, 32, 1 if kind.streams == ("frames",) else 3)
    assert predicted.dtype == np.uint8


def other_stream(stream, frames):
    """Something like optical flow, or like features, of frames."""
    if stream == "flow":
        return np.repeat(np.diff(frames.astype(np.float16) / 32, axis=0), 2, axis=-1)
    return np.resize(frames.reshape(len(frames), -1).astype(np.float16) / 255, (len(frames), 1280))


@pytest.mark.parametrize("model", MODELS)
def test_a_clip_shorter_than_the_window_is_named_when_scored(model, tmp_path, store_clips):
    kind = MODELS[model]
    network = kind(kind.config_class(**TINY[model]), colours=1).eval()
    short = kind.window(network.config).length - 1
    if not short:
        pytest.skip("one frame is enough for this model")
    clips = store_clips({"test/short": moving_square(short, 0)})
    with pytest.raises(ScoringError, match=f"clip test/short: {short} frames, a window needs"):
        score_clips(network, dict.fromkeys(kind.streams, clips), Scoring(accelerator="cpu"), [["test/short"]], tmp_path)
    assert asdict(network.config)
