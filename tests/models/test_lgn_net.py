from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vad_pipeline.models.layers import memory
from vad_pipeline.models.layers.pixels import scale_frames
from vad_pipeline.models.lgn_net import Config, LGNNet
from vad_pipeline.models.scorer import ScoringOptions


@pytest.fixture
def frames():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (23, 32, 48, 1), np.uint8)


def tiny(**settings):
    torch.manual_seed(0)
    model = LGNNet(Config(**({"width": 0.125, "gamma": 0.0} | settings)), colours=1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def scores(model, frames, **options):
    batches = list(model.scorer(ScoringOptions(**options)).clip({"frames": frames}))
    return {name: np.concatenate([b.terms[name] for b in batches]) for name in batches[0].terms} | {
        "frames": np.concatenate([b.frames for b in batches]),
        "maps": np.concatenate([b.maps for b in batches]),
    }


@torch.no_grad()
def plain_scores(model, frames):
    """Window by window through the training network; the memory update after each frame, as the official code does."""
    items, rows = model.items.clone(), []
    for start in range(len(frames) - 4):
        window = scale_frames(torch.from_numpy(frames[start : start + 5]))[None]
        model.items = items
        predicted, queries = model(window[:, :4])
        error = ((predicted - window[:, 4]) / 2) ** 2
        weight = 1 - torch.exp(-error)
        regular = float((weight * error).sum() / weight.sum())
        distance = 0.0 if queries is None else float(memory.nearest_distance(queries, items).mean())
        rows.append((float(-10 * torch.log10(error.mean())), distance, regular))
        if queries is not None and regular < float(model.gamma):
            items = memory.updated_items(queries, items)
    return np.array(rows).T


def test_the_paper_s_network_has_22_75_million_parameters():
    with torch.device("meta"):
        model = LGNNet(Config())
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(22.75, abs=0.01)


@pytest.mark.parametrize("detach", [True, False])
def test_the_pixel_loss_reaches_the_prototype_encoder_only_where_reading_is_not_detached(detach):
    model = tiny(detach_read=detach).train()
    window = torch.randint(0, 256, (2, 5, 32, 48, 1), dtype=torch.uint8)
    losses, _ = model._losses({"frames": window})
    losses["prediction"].backward()
    gradients = [p.grad for p in model.network.clip_encoder.parameters()]
    if detach:
        assert all(g is None or float(g.abs().sum()) == 0.0 for g in gradients)
    else:
        assert sum(float(g.abs().sum()) for g in gradients) > 0
    assert float(model.network.frame_encoder[0].weight.grad.abs().sum()) > 0


def test_in_training_each_step_of_time_is_a_batch_of_its_own_to_the_frame_encoder():
    """Held against the official code's way: one frame after the other through the encoder, statistics moving on."""
    one, other = tiny().train(), tiny().train()
    window = torch.rand(3, 4, 1, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    predicted, _ = one(window)
    predicted.square().mean().backward()

    gates = []
    for t in range(4):
        hidden = window[:, t]
        for layer in other.network.frame_encoder:
            hidden = layer(hidden)
        gates.append(other.network.recurrent.input_gates(hidden))
    local = other.network.local_features(torch.stack(gates))
    features = other.network.clip_encoder(window.flatten(1, 2))
    read = memory.as_features(memory.read(memory.as_queries(features), other.items, detach=True), features)
    expected = other.network.decode(read, local)
    expected.square().mean().backward()

    torch.testing.assert_close(predicted, expected, rtol=0, atol=0)
    for (name, mine), theirs in zip(one.network.named_parameters(), other.network.parameters(), strict=True):
        if theirs.grad is not None:
            torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-5, atol=1e-8, msg=name)
    norms = [m for m in one.network.frame_encoder if isinstance(m, torch.nn.BatchNorm2d)]
    assert [int(norm.num_batches_tracked) for norm in norms] == [4] * 4, "four updates a step"
    for (name, mine), theirs in zip(one.network.named_buffers(), other.network.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0, msg=name)


def test_training_moves_the_memory_with_the_step_s_queries():
    model = tiny().train()
    before = model.items.clone()
    batch = {"frames": torch.randint(0, 256, (2, 5, 32, 48, 1), dtype=torch.uint8)}
    model.log_dict = lambda *_, **__: None
    model._trainer = SimpleNamespace(world_size=1)
    loss = model.training_step(batch, 0)
    assert loss.requires_grad
    assert not torch.equal(model.items, before)
    assert not model.items.requires_grad
    assert model.items.shape == before.shape


@pytest.mark.parametrize("batch", [1, 4, 8, 64])
def test_fast_scoring_equals_the_plain_forward(frames, batch):
    model = tiny()
    fast = scores(model, frames, batch=batch)
    plain = plain_scores(model, frames)
    assert fast["frames"].tolist() == list(range(4, 23))
    np.testing.assert_allclose(fast["psnr"], plain[0], atol=1e-4)
    np.testing.assert_allclose(fast["memory_distance"], plain[1], atol=1e-6)
    np.testing.assert_allclose(fast["regular_score"], plain[2], atol=1e-6)


def test_scoring_with_the_test_time_update_equals_the_plain_loop(frames):
    middle = float(np.median(plain_scores(tiny(), frames)[2]))
    model = tiny(gamma=middle)
    fast, plain = scores(model, frames, batch=8), plain_scores(tiny(gamma=middle), frames)
    np.testing.assert_allclose(fast["psnr"], plain[0], atol=1e-4)
    np.testing.assert_allclose(fast["memory_distance"], plain[1], atol=1e-6)
    without = scores(tiny(), frames)
    assert np.abs(fast["memory_distance"] - without["memory_distance"]).max() > 1e-4


def test_the_memory_is_carried_to_the_next_clip_unless_it_is_reset(frames):
    for reset, same in (("never", False), ("per_clip", True)):
        scorer = tiny(gamma=1.0, memory_reset=reset).scorer(ScoringOptions())
        first, second = ([b.terms["memory_distance"] for b in scorer.clip({"frames": frames})] for _ in range(2))
        assert np.allclose(first[0], second[0]) == same


def test_scoring_leaves_the_model_as_it_is(frames):
    model = tiny(gamma=1.0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    scores(model, frames)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_maps_are_the_error_averaged_over_4x4_pixels(frames):
    result = scores(tiny(), frames)
    assert result["maps"].shape == (19, 8, 12)
    assert result["maps"].dtype == np.float16
    np.testing.assert_allclose(
        -10 * np.log10(result["maps"].astype(float).mean(axis=(1, 2))), result["psnr"], atol=0.02
    )


def test_bf16_scores_stay_close(frames):
    model = tiny()
    exact, fast = scores(model, frames), scores(model, frames, bf16=True)
    np.testing.assert_allclose(fast["psnr"], exact["psnr"], atol=0.1)
    assert fast["psnr"].dtype == np.float64


def test_calibration_sets_gamma_to_the_quantile_of_held_out_scores(frames):
    model = tiny(gamma=None, gamma_quantile=0.75)
    assert float(model.gamma) == 0
    model.calibrate(lambda: iter([{"frames": frames}]), ScoringOptions())
    assert float(model.gamma) == pytest.approx(np.quantile(plain_scores(tiny(), frames)[2], 0.75), rel=1e-3)
    fixed = tiny(gamma=0.5)
    fixed.calibrate(lambda: iter([{"frames": frames}]), ScoringOptions())
    assert float(fixed.gamma) == 0.5


def test_the_prediction_for_figures_is_the_scored_one(frames):
    model = tiny()
    predicted = model.scorer(ScoringOptions()).predict({"frames": frames[3:8]}, 4)
    with torch.no_grad():
        plain, _ = model(scale_frames(torch.from_numpy(frames[3:7]))[None])
    expected = ((plain[0] + 1) * 127.5).round().clamp(0, 255).byte().movedim(0, -1).numpy()
    assert np.abs(predicted.astype(int) - expected).max() <= 1
