import numpy as np
import pytest
import torch

from vad_pipeline.flow.representation import represent
from vad_pipeline.models.flow_conv3d_ae import Config, FlowConv3dAE
from vad_pipeline.models.scorer import ScoringOptions


def tiny(**settings):
    torch.manual_seed(0)
    return FlowConv3dAE(Config(width=0.0625, **settings), 1).eval()


def flow(n, seed=0):
    return np.random.default_rng(seed).normal(0, 2, (n, 16, 32, 2)).astype(np.float16)


@pytest.mark.parametrize(("representation", "channels"), [("uv", 2), ("uv_magnitude", 3), ("hsv", 3)])
def test_the_network_sees_the_representation_scaled_to_one(representation, channels):
    model = tiny(representation=representation, limit=4.0)
    windows = flow(16)[None]
    seen = model.scaled(torch.from_numpy(windows))
    assert seen.shape == (1, 16, channels, 16, 32)
    assert seen.dtype == torch.float32
    assert float(seen.abs().max()) <= 1
    expected = represent(windows, representation, 4.0).astype(np.float32)
    if representation == "hsv":
        expected = expected / 127.5 - 1
    assert np.allclose(seen.movedim(2, -1).numpy(), expected, atol=1e-6)
    assert model.picture(seen[0, 8]).shape == (16, 32, 3)


def test_the_published_network_has_as_many_parameters_as_the_spatial_one():
    with torch.device("meta"):
        network = FlowConv3dAE(Config(), 1)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(5.991171, abs=1e-6)


def test_the_loss_is_that_of_the_normal_flow_even_for_mixed_up_flow():
    model = tiny(limit=4.0)
    seen, normal = (torch.from_numpy(flow(16, seed)[None]) for seed in (0, 1))
    loss = model._loss({"flow": seen, "target": normal, "pseudo": torch.tensor([True])})
    with torch.no_grad():
        output = model(model.scaled(seen))
    expected = (output - model.scaled(normal)).square().mean()
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_a_frame_is_scored_as_the_ninth_of_its_window_and_the_last_flow_repeats(batch):
    model = tiny(limit=4.0)
    stored = flow(24)  # of 25 frames
    scored = list(model.scorer(ScoringOptions(batch=batch)).clip({"flow": stored}))
    numbers = np.concatenate([part.frames for part in scored])
    assert numbers.tolist() == list(range(8, 18))
    errors = np.concatenate([part.terms["flow_error"] for part in scored])
    repeated = np.concatenate([stored, stored[-1:]])
    for i, number in enumerate(numbers):
        window = model.scaled(torch.from_numpy(repeated[number - 8 : number + 8][None]))
        with torch.no_grad():
            error = (model(window)[0, 8] - window[0, 8]).square().mean()
        assert errors[i] == pytest.approx(float(error), rel=1e-4)
