import pytest
import torch

from vad_pipeline.models.layers.patch_gan import PatchGAN, log_score, score


def test_the_published_size_judges_18_by_18_patches_with_2_77_million_parameters():
    network = PatchGAN(1.0, 3).to("meta")
    assert network(torch.empty(2, 3, 160, 160, device="meta")).shape == (2, 1, 18, 18)
    assert sum(p.numel() for p in network.parameters()) == 2_765_633


def test_a_logit_sees_70_by_70_pixels():
    torch.manual_seed(0)
    network, frame = PatchGAN(0.125, 1).eval(), torch.randn(1, 1, 160, 160, requires_grad=True)
    network(frame)[0, 0, 9, 9].backward()
    rows, columns = (frame.grad[0, 0].abs().sum(axis).nonzero().flatten() for axis in (1, 0))
    assert rows[-1] - rows[0] + 1 == columns[-1] - columns[0] + 1 == 70


@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 32), (24, 24)])
def test_small_frames_have_a_patch_too(height, width):
    logits = PatchGAN(0.0625, 1)(torch.randn(2, 1, height, width))
    assert logits.shape[:2] == (2, 1)
    assert logits.numel() >= 2


def test_the_score_is_a_mean_over_each_sample_s_patches():
    logits = torch.logit(torch.tensor([[0.2, 0.6], [0.9, 0.9]])).view(2, 1, 1, 2)
    assert score(logits).tolist() == pytest.approx([0.4, 0.9])
    assert log_score(logits).exp().tolist() == pytest.approx([0.4, 0.9])


@pytest.mark.parametrize("logit", [-1e4, -200.0, 200.0, 1e4])
def test_extreme_logits_have_a_finite_score_and_a_gradient_that_says_the_way(logit):
    logits = torch.full((1, 1, 2, 2), logit, requires_grad=True)
    log_score(logits).sum().backward()
    assert torch.isfinite(log_score(logits)).all()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad > 0).all() == (logit < 0), "what is sure to be generated still knows what would look more real"
