import numpy as np
import pytest
import torch

from vad_pipeline.models import mnad_pred, mnad_recon
from vad_pipeline.models.layers import memory
from vad_pipeline.models.layers.pixels import scale_frames
from vad_pipeline.models.mnad_pred import MNADPred
from vad_pipeline.models.mnad_recon import MNADRecon
from vad_pipeline.models.scorer import ScoringOptions

BOTH = [(MNADPred, mnad_pred.Config), (MNADRecon, mnad_recon.Config)]


def tiny(model, config, **settings):
    torch.manual_seed(0)
    made = model(config(**({"width": 0.125, "gamma": 0.0} | settings)), colours=1)
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.5
    with torch.no_grad():  # statistics of what comes in, or so deep a network would give the same for everything
        for _ in range(4):
            made.train()(torch.rand(4, made.inputs, 1, 16, 24) * 2 - 1)
    return made.eval()


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 256, (12, 16, 24, 1), np.uint8)


@torch.no_grad()
def plain_scores(model, frames):
    """Window by window as the official code does: read, score, then move the memory if the frame looks regular."""
    length, items, rows = model.window(model.config).length, model.items.clone(), []
    for start in range(len(frames) - length + 1):
        window = scale_frames(torch.from_numpy(frames[start : start + length]))[None]
        features, past = model.network.encode(window[:, : model.inputs].flatten(1, 2))
        queries = torch.nn.functional.normalize(features, dim=1).movedim(1, -1).flatten(0, 2)
        read = (queries @ items.T).softmax(1) @ items
        both = torch.cat([queries, read], 1).view(1, *features.shape[2:], -1).movedim(-1, 1)
        error = ((model.network.decode(both, *past) - window[:, -1]) / 2) ** 2
        nearest = items[(queries @ items.T).argmax(1)]
        weight = 1 - torch.exp(-error)
        regular = float((weight * error).sum() / weight.sum())
        rows.append((float(-10 * torch.log10(error.mean())), float((queries - nearest).square().mean()), regular))
        if regular < float(model.gamma):
            items = memory.updated_items(queries, items)
    return np.array(rows).T


@pytest.mark.parametrize(("model", "config"), BOTH)
@pytest.mark.parametrize("gamma", [0.0, 1.0])
@pytest.mark.parametrize("batch", [1, 5])
def test_scoring_equals_the_plain_forward(model, config, gamma, batch, frames):
    made = tiny(model, config, gamma=gamma)
    batches = list(made.scorer(ScoringOptions(batch=batch)).clip({"frames": frames}))
    for name, expected in zip(("psnr", "memory_distance", "regular_score"), plain_scores(made, frames), strict=True):
        values = np.concatenate([b.terms[name] for b in batches])
        np.testing.assert_allclose(values, expected, atol=1e-4 if name == "psnr" else 1e-6)


def test_reconstruction_scores_every_frame_and_prediction_all_but_four(frames):
    scored = []
    for model, config in BOTH:
        batches = list(tiny(model, config).scorer(ScoringOptions(batch=5)).clip({"frames": frames}))
        scored.append(np.concatenate([b.frames for b in batches]).tolist())
    assert scored == [list(range(4, 12)), list(range(12))]


@pytest.mark.parametrize(("model", "config"), BOTH)
def test_the_distance_of_eq_14_is_larger_than_the_code_s_and_leaves_the_psnr(model, config, frames):
    found = []
    for distance in ("mse", "l2"):
        batches = list(tiny(model, config, distance=distance).scorer(ScoringOptions()).clip({"frames": frames}))
        found.append({name: np.concatenate([b.terms[name] for b in batches]) for name in model.terms})
    assert (found[1]["memory_distance"] > found[0]["memory_distance"]).all()
    np.testing.assert_array_equal(found[0]["psnr"], found[1]["psnr"])


@pytest.mark.parametrize(("model", "config"), BOTH)
def test_the_loss_is_the_last_frame_s_error_and_the_weighted_memory_losses(model, config):
    made = tiny(model, config)
    length = made.window(made.config).length
    stored = torch.randint(0, 256, (2, length, 16, 24, 1), dtype=torch.uint8)
    with torch.no_grad():
        losses, queries = made._losses({"frames": stored})
    window = scale_frames(stored)
    expected = made(window[:, : made.inputs])[0].detach()
    pixel = float(((expected - window[:, -1]) ** 2).mean())
    weight = 0.1 if model is MNADPred else 0.01
    compact = float(memory.nearest_distance(queries, made.items).mean())
    separate = float(memory.separateness(queries, made.items))
    assert float(losses["prediction"]) == pytest.approx(pixel, rel=1e-5)
    assert float(losses["loss"]) == pytest.approx(pixel + weight * compact + weight * separate, rel=1e-5)


def test_the_defaults_are_the_official_code_s_for_ped2():
    pred, recon = mnad_pred.Config(), mnad_recon.Config()
    assert (pred.compactness, pred.separateness, pred.psnr_weight, pred.gamma) == (0.1, 0.1, 0.6, 0.01)
    assert (recon.compactness, recon.separateness, recon.psnr_weight, recon.gamma) == (0.01, 0.01, 0.7, 0.015)
    assert pred.items == recon.items == 10


def test_nothing_but_the_memory_s_answer_reaches_the_reconstruction_s_decoder(frames):
    window = scale_frames(torch.from_numpy(frames[:4]))[None].flatten(1, 2)
    assert len(tiny(*BOTH[0]).network.encode(window)[1]) == 3
    assert tiny(*BOTH[1]).network.encode(window[:, :1])[1] == ()
