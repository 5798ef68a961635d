"""LGN-Net's variants of Table II."""

from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch

from tests.conftest import stored_clips
from tests.models.test_lgn_net import plain_scores, scores
from tests.training.conftest import moving_square
from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.evaluation.evaluate import evaluate
from vad_pipeline.experiments.experiments import EXPERIMENTS
from vad_pipeline.models.build import build
from vad_pipeline.models.layers import memory
from vad_pipeline.models.layers.conv_lstm import ConvLSTM
from vad_pipeline.models.layers.st_lstm import SpatioTemporalLSTM
from vad_pipeline.models.lgn_net import Config, LGNNet, Variant
from vad_pipeline.models.mnad_pred import Config as MNADConfig
from vad_pipeline.models.mnad_pred import MNADPred
from vad_pipeline.scoring.score import Scoring, score_clips
from vad_pipeline.training.train import Training, train

VARIANTS = get_args(Variant)
MILLIONS = {"lgn_net": 22.75, "lgn_st": 17.9, "loc_net": 5.4, "glo_net": 14.9, "glo_net_skips": 15.65}  # spec 10


def tiny(variant, colours=1, **settings):
    torch.manual_seed(0)
    model = LGNNet(Config(**({"width": 0.125, "gamma": 0.0, "variant": variant} | settings)), colours)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.5
    with torch.no_grad():  # statistics of what comes in, or so deep a network would give the same for everything
        for _ in range(4):
            model.train()(torch.rand(4, 4, colours, 16, 24) * 2 - 1)
    return model.eval()


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 256, (13, 16, 24, 1), np.uint8)


@pytest.mark.parametrize(("variant", "millions"), MILLIONS.items())
def test_every_variant_has_as_many_parameters_as_published(variant, millions):
    with torch.device("meta"):
        model = LGNNet(Config(variant=variant))
    digits = 2 if millions in (22.75, 15.65) else 1
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, digits) == millions


def test_every_variant_has_a_row_of_the_ablation_and_lgn_net_is_the_default():
    rows = EXPERIMENTS["lgn_net_ablation"].rows
    assert {row.overrides["variant"] for row in rows if "variant" in row.overrides} == {*VARIANTS} - {"lgn_net"}
    assert Config().variant == "lgn_net"


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("gamma", [0.0, 1.0])
@pytest.mark.parametrize("batch", [1, 4])
def test_fast_scoring_equals_the_plain_forward(frames, variant, gamma, batch):
    model = tiny(variant, gamma=gamma)
    fast, plain = scores(model, frames, batch=batch), plain_scores(tiny(variant, gamma=gamma), frames)
    for name, expected in zip(("psnr", "memory_distance", "regular_score"), plain, strict=True):
        np.testing.assert_allclose(fast[name], expected, atol=1e-4 if name == "psnr" else 1e-6)


def test_the_variants_have_the_cells_that_the_paper_names():
    cells = {variant: getattr(tiny(variant).network, "recurrent", None) for variant in VARIANTS}
    assert isinstance(cells["lgn_net"], SpatioTemporalLSTM)
    assert isinstance(cells["lgn_st"], ConvLSTM)
    assert isinstance(cells["loc_net"], ConvLSTM)
    assert cells["glo_net"] is None
    assert cells["glo_net_skips"] is None


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_items_matter_to_every_variant_but_loc_net(frames, variant):
    model, other = tiny(variant), tiny(variant)
    other.items = memory.initial_items(10, other.items.shape[1], torch.Generator().manual_seed(9))
    change = np.abs(scores(model, frames, batch=4)["psnr"] - scores(other, frames, batch=4)["psnr"]).max()
    assert change == 0 if variant == "loc_net" else change > 1e-3


@pytest.mark.parametrize("variant", ["glo_net", "glo_net_skips"])
def test_in_glo_net_the_pixel_loss_reaches_the_encoder_by_the_queries_though_reading_is_detached(variant):
    model = tiny(variant).train()
    losses, _ = model._losses({"frames": torch.randint(0, 256, (2, 5, 16, 24, 1), dtype=torch.uint8)})
    losses["prediction"].backward()
    assert float(model.network.clip_encoder[-1].weight.grad.abs().sum()) > 0


def test_glo_net_with_skips_is_the_network_of_mnad_s_prediction(frames):
    model = tiny("glo_net_skips")
    mnad = MNADPred(MNADConfig(width=0.125, gamma=0.0), colours=1).eval()
    names = {"clip_encoder": "encoder", "global_decoder": "decoder"}
    state = model.state_dict()
    for ours, theirs in names.items():
        state = {name.replace(f"network.{ours}.", f"network.{theirs}."): value for name, value in state.items()}
    mnad.load_state_dict(state)
    for name, values in scores(model, frames, batch=4).items():
        np.testing.assert_array_equal(values, scores(mnad, frames, batch=4)[name])


def test_loc_net_trains_and_is_evaluated_by_psnr_alone(tmp_path):
    arrays = {f"train/{i}": moving_square(10, 3 * i) for i in range(3)}
    arrays |= {f"test/{i}": moving_square(10, i, speed=1 + 3 * i) for i in range(2)}
    streams = {"frames": stored_clips(tmp_path, arrays)}
    config = Config(width=0.0625, gamma=None, variant="loc_net")
    height, width = arrays["train/0"].shape[1:3]
    size, training = FrameSize(height, width, "gray"), Training(epochs=1, batch_size=4, accelerator="cpu")
    trained = train("lgn_net", config, size, training, 0, streams, tmp_path)
    assert set(trained.history["name"]) >= {"train_loss", "train_prediction", "val_psnr"}
    assert not trained.history["name"].str.contains("compactness").any()
    model = build(trained.checkpoint)
    assert float(model.gamma) == 0.0, "no memory, nothing to calibrate"
    table, _ = score_clips(model, streams, Scoring(accelerator="cpu"), [["test/0", "test/1"]], tmp_path, maps=False)
    assert (table["memory_distance"] == 0).all()
    labels = pd.DataFrame({"clip": np.repeat(["test/0", "test/1"], 10), "frame": [*range(10)] * 2, "kind": ""})
    labels["label"] = (labels["clip"] == "test/1").astype(int)
    lengths = {"test/0": 10, "test/1": 10}
    metrics = evaluate(table, labels, model.terms, LGNNet.fusion(config), lengths=lengths)
    assert metrics["micro_auc"] == metrics["micro_auc_term_psnr"]
