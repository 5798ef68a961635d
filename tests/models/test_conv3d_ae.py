import numpy as np
import pytest
import torch
from torch import nn

from vad_pipeline.models.conv3d_ae import Config, Conv3dAE
from vad_pipeline.models.scorer import ScoringOptions

TINY = Config(width=0.0625)


@pytest.mark.parametrize(("colours", "millions"), [(3, 5.991171), (1, 5.980801)])
def test_the_published_network_has_as_many_parameters(colours, millions):
    with torch.device("meta"):
        network = Conv3dAE(Config(), colours)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=1e-6)


def test_layers_shrink_and_grow_as_published():
    with torch.device("meta"):
        network = Conv3dAE(Config(), 3).network
    x = torch.zeros(1, 3, 16, 256, 256, device="meta")
    shapes = []
    for layer in network:
        x = layer(x)
        if isinstance(layer, torch.nn.Conv3d | torch.nn.ConvTranspose3d):
            shapes.append(tuple(x.shape[1:]))
    assert shapes == [
        (96, 16, 128, 128),
        (128, 8, 64, 64),
        (256, 4, 32, 32),
        (256, 2, 16, 16),
        (256, 4, 32, 32),
        (128, 8, 64, 64),
        (96, 16, 128, 128),
        (3, 16, 256, 256),
    ]


@pytest.mark.parametrize("colours", [1, 3])
def test_the_loss_is_that_of_the_normal_target_over_all_frames_channels_and_pixels(colours):
    torch.manual_seed(0)
    model = Conv3dAE(TINY, colours).eval()
    model.log = lambda *_, **__: None
    seen, normal = (torch.randint(0, 256, (2, 16, 16, 16, colours), dtype=torch.uint8) for _ in range(2))
    loss = model.training_step({"frames": seen, "target": normal}, 0)
    with torch.no_grad():
        output = model(seen.movedim(-1, 2) / 127.5 - 1).numpy()
    target = normal.movedim(-1, 2).numpy() / 127.5 - 1
    errors = [(output[b, t, c] - target[b, t, c]) ** 2 for b in range(2) for t in range(16) for c in range(colours)]
    assert float(loss) == pytest.approx(float(np.mean(errors)), rel=1e-5)


def test_steal_net_subtracts_the_error_of_a_pseudo_anomalous_window_to_itself():
    torch.manual_seed(0)
    model = Conv3dAE(Config(width=0.0625, pseudo="steal", probability=0.01), 1).eval()
    seen, normal = (torch.randint(0, 256, (3, 16, 16, 16, 1), dtype=torch.uint8) for _ in range(2))
    pseudo = torch.tensor([False, True, False])
    normal[~pseudo] = seen[~pseudo]
    loss = model._loss({"frames": seen, "target": normal, "pseudo": pseudo})
    windows = seen.movedim(-1, 2) / 127.5 - 1
    with torch.no_grad():
        own = (model(windows) - windows).square().mean(dim=(1, 2, 3, 4))
    assert float(loss) == pytest.approx(float(own[0] - own[1] + own[2]) / 3, rel=1e-5)


def trained(config):
    """A model whose batch norms have statistics of their own, as after training."""
    torch.manual_seed(0)
    model = Conv3dAE(config, 1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.2, 3.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
    return model.eval()


@pytest.mark.parametrize("batch", [1, 5, 100])
def test_a_frame_is_scored_as_the_ninth_of_its_window(batch):
    model = trained(TINY)
    frames = np.random.default_rng(0).integers(0, 256, (25, 16, 32, 1), dtype=np.uint8)
    scored = list(model.scorer(ScoringOptions(batch=batch)).clip({"frames": frames}))
    numbers = np.concatenate([part.frames for part in scored])
    assert numbers.tolist() == list(range(8, 18)) == list(Conv3dAE.window(TINY).scored(25))
    psnr = np.concatenate([part.terms["psnr"] for part in scored])
    for i, number in enumerate(numbers):
        window = torch.from_numpy(frames[number - 8 : number + 8][None]).movedim(-1, 2) / 127.5 - 1
        with torch.no_grad():
            error = (model(window)[0, 8] - window[0, 8]).square().mean() / 4
        assert psnr[i] == pytest.approx(float(-10 * torch.log10(error)), abs=1e-4)
    maps = np.concatenate([part.maps for part in scored])
    assert maps.shape == (10, 4, 8)
    assert np.allclose(-10 * np.log10(maps.astype(float).mean(axis=(1, 2))), psnr, atol=0.02)


@pytest.mark.parametrize("batch", [1, 2, 100])
@pytest.mark.parametrize("n_frames", [16, 37, 48])
def test_windows_apart_score_every_frame_once_by_its_own_position(batch, n_frames):
    config = Config(width=0.0625, windows="apart")
    model = trained(config)
    frames = np.random.default_rng(0).integers(0, 256, (n_frames, 16, 32, 1), dtype=np.uint8)
    scored = list(model.scorer(ScoringOptions(batch=batch)).clip({"frames": frames}))
    numbers = np.concatenate([part.frames for part in scored])
    assert numbers.tolist() == list(range(n_frames)) == list(Conv3dAE.window(config).scored(n_frames))
    psnr = np.concatenate([part.terms["psnr"] for part in scored])
    for number in numbers:
        start, position = Conv3dAE.window(config).place(int(number), n_frames)
        window = torch.from_numpy(frames[start : start + 16][None]).movedim(-1, 2) / 127.5 - 1
        with torch.no_grad():
            error = (model(window)[0, position] - window[0, position]).square().mean() / 4
        assert psnr[number] == pytest.approx(float(-10 * torch.log10(error)), abs=1e-4)


def test_bfloat16_moves_the_scores_a_little():
    model = trained(TINY)
    frames = np.random.default_rng(0).integers(0, 256, (25, 16, 32, 1), dtype=np.uint8)
    exact, rounded = (
        np.concatenate([p.terms["psnr"] for p in model.scorer(ScoringOptions(bf16=bf16)).clip({"frames": frames})])
        for bf16 in (False, True)
    )
    assert 0 < np.abs(exact - rounded).max() < 0.1


def test_1830_frames_of_ped2_are_scored():
    lengths = [180, 180, 150, 180, 150, 180, 180, 180, 120, 150, 180, 180]
    assert sum(len(Conv3dAE.window(Config()).scored(length)) for length in lengths) == 1830


def test_a_configuration_says_which_pseudo_anomalies_it_trains_on():
    assert Conv3dAE.pseudo_anomalies(Config()) is None
    for pseudo, source in (
        ("inpainted", "stored"),
        ("patch", "patch"),
        ("skip_frame", "skip_frame"),
        ("steal", "skip_frame"),
    ):
        declared = Conv3dAE.pseudo_anomalies(Config(pseudo=pseudo, probability=0.2))
        assert declared.source == source
        assert declared.probability == 0.2
