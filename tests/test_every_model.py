"""Every registered model, and every parameters file of every environment."""

from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from kedro.config import OmegaConfigLoader
from pydantic import TypeAdapter

from tests.training.conftest import moving_square
from vad_pipeline.anomalies.flow_mixup import FlowMixup
from vad_pipeline.anomalies.masks import Masks
from vad_pipeline.anomalies.pool import Pool
from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.evaluation.evaluate import evaluate
from vad_pipeline.experiments.experiments import EXPERIMENTS, Budget, with_overrides
from vad_pipeline.flow import flownet
from vad_pipeline.flow.flownet import FlowNet
from vad_pipeline.flow.flownet_flow import FlowNetFlow
from vad_pipeline.flow.rendered_pairs import RenderedPairs
from vad_pipeline.flow.train_flownet import FlowNetFit
from vad_pipeline.flow.tvl1 import TVL1
from vad_pipeline.inpainting import latent_inpainter
from vad_pipeline.inpainting.filled_clips import Inpainting
from vad_pipeline.inpainting.fit_inpainter import CROP, InpainterFit
from vad_pipeline.models import MODELS, pseudo_anomaly_detector
from vad_pipeline.models.build import build
from vad_pipeline.pipeline_registry import DETECTORS, PARTS, PSEUDO_ANOMALIES, SAME_INPAINTER
from vad_pipeline.pipeline_registry import EXPERIMENTS as EXPERIMENT_NAMES
from vad_pipeline.scoring.score import Scoring, ScoringError, score_clips
from vad_pipeline.settings import CONFIG_LOADER_ARGS
from vad_pipeline.sources import SOURCES
from vad_pipeline.sources.extraction import FrameExtraction
from vad_pipeline.training.train import Training, train

CONF = Path(__file__).resolve().parents[1] / "conf"
ENVIRONMENTS = sorted(path.name for path in CONF.iterdir() if path.name != "local")

# Millions of parameters at width 1 (spec 10), as the paper's environment builds the model.
PUBLISHED_SIZE = {
    "lgn_net": 22.75,
    "conv3d_ae": 5.99,
    "lntra_patch": 5.98,
    "lntra_skip_frame": 5.98,
    "steal_net": 5.98,
    "flow_conv3d_ae": 5.99,
    "semantic_discriminator": 0.36,
}

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


@cache
def parameters(environment):
    loader = OmegaConfigLoader(str(CONF), env=None if environment == "base" else environment, **CONFIG_LOADER_ARGS)
    return loader["parameters"]


def test_the_names_in_the_pipeline_registry_are_those_of_the_registries():
    assert {*DETECTORS, *PARTS} == set(MODELS) == set(PUBLISHED_SIZE) == set(TINY)
    assert set(EXPERIMENT_NAMES) == set(EXPERIMENTS)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_parameters_file_loads_into_its_typed_configuration(environment):
    loaded = parameters(environment)
    extraction = FrameExtraction(**loaded["frame_extraction"])
    assert TypeAdapter(SOURCES[extraction.source].config).validate_python(getattr(extraction, extraction.source))
    fused = loaded["pseudo_anomaly_detector"]
    assert set(fused) == set(pseudo_anomaly_detector.PARTS)
    at_flow_size = {"frames": loaded["optical_flow"]["frames"]}
    sections = [(model, loaded[model]) for model in DETECTORS]
    sections += [(model, at_flow_size | fused[part]) for part, model in pseudo_anomaly_detector.PARTS.items()]
    for model, section in sections:
        assert set(section) == {"frames", "model", "training", "scoring"}
        size = FrameSize(**section["frames"])
        config = MODELS[model].config_class(**section["model"])
        assert Training(**section["training"]).epochs >= 1
        assert Scoring(**section["scoring"]).batch >= 1
        with torch.device("meta"):
            network = MODELS[model](config, colours=size.channels)
        assert sum(p.numel() for p in network.parameters()) > 0
    flow = loaded["optical_flow"]
    assert FrameSize(**flow["frames"]).height >= 1
    assert set(flow["estimators"]) <= {"tvl1", "flownet"}
    assert TVL1(**flow["tvl1"]).parameters()
    assert FlowNetFlow(**flow["flownet"]).batch >= 1
    training = loaded["flownet_training"]
    assert RenderedPairs(**training["rendered"]).height >= 64
    assert FlowNetFit(**training["training"]).pairs >= 1
    with torch.device("meta"):
        assert FlowNet(flownet.Config(**training["network"]))
    for namespace in PSEUDO_ANOMALIES:
        section = loaded[namespace]
        fitted = {"model", "training"} if namespace not in SAME_INPAINTER else set()
        assert set(section) == {"masks", "pool", "inpainting", "mixup"} | fitted
        assert Masks(**section["masks"]).dilate >= 0
        assert Pool(**section["pool"]).run >= 1
        assert (Inpainting(**section["inpainting"]).crop or CROP) % 16 == 0
        assert FlowMixup(**section["mixup"]).alpha > 0
        if fitted:
            assert InpainterFit(**section["training"]).crops >= 1
            with torch.device("meta"):
                assert latent_inpainter.new_denoiser(latent_inpainter.Config(**section["model"]))
    for name, experiment in EXPERIMENTS.items():
        assert Budget(**loaded[name]).seeds
        for row in experiment.rows:
            config = MODELS[row.model].config_class(**loaded[row.model]["model"])
            changed = with_overrides(config, row.overrides)
            stored = MODELS[row.model].pseudo_anomalies(changed)
            assert bool(row.pseudo) == (stored is not None and stored.source == "stored")
            assert not row.pseudo or row.pseudo in PSEUDO_ANOMALIES


@pytest.mark.parametrize("model", MODELS)
def test_the_paper_s_environment_builds_the_published_number_of_parameters(model):
    loaded = parameters("ped2")
    parts = {model: part for part, model in pseudo_anomaly_detector.PARTS.items() if model in PARTS}
    section = loaded["pseudo_anomaly_detector"][parts[model]] if model in parts else loaded[model]
    frames = section.get("frames", loaded["optical_flow"]["frames"])
    with torch.device("meta"):
        network = MODELS[model](MODELS[model].config_class(**section["model"]), colours=FrameSize(**frames).channels)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(PUBLISHED_SIZE[model], abs=0.01)


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
