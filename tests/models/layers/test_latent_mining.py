from itertools import pairwise

import pytest
import torch
from torch import nn

from vad_pipeline.models.layers.latent_mining import evaluating, mine
from vad_pipeline.models.layers.patch_gan import PatchGAN, score


def networks():
    """A decoder with batch norm of statistics that are not the identity's, and a PatchGAN."""
    torch.manual_seed(0)
    decoder = nn.Sequential(nn.ConvTranspose2d(3, 4, 8, 8), nn.BatchNorm2d(4), nn.Tanh(), nn.Conv2d(4, 1, 1))
    both = nn.ModuleList([decoder, PatchGAN(0.0625, 1)])
    for module in both.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return both[0], both[1]


def latents(n=5):
    return torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(1))


def linear_judge(scale=1.0):
    """D of a picture that is z itself: one logit, linear in z."""
    weights = torch.linspace(-1, 1, 8).view(1, 2, 2, 2) * scale
    judge = nn.Conv2d(2, 1, 2, bias=False)
    judge.weight.data = weights
    return judge


@pytest.mark.parametrize("step", ["harmonic", "constant"])
@pytest.mark.parametrize("epsilon", [0.8, 0.08, 0.008])
def test_mined_latents_stay_in_the_box_and_use_it(epsilon, step):
    z = latents()
    mined = mine(z, *networks(), epsilon, steps=10, threshold=1.0, step=step)
    distance = (mined.z - z).abs().max()
    assert 0.9 * epsilon < float(distance) <= epsilon * (1 + 1e-3) + 1e-6
    assert mined.steps.tolist() == [10] * 5


@pytest.mark.parametrize("training", [True, False])
def test_mining_leaves_networks_bit_for_bit_as_they_are(training):
    decoder, judge = networks()
    both = nn.ModuleList([decoder, judge]).train(training)
    decoder[2].train(not training)  # one module is in a mode of its own
    for number, parameter in enumerate(both.parameters()):
        parameter.grad = torch.full_like(parameter, 0.5) if number % 2 else None
    before = {name: value.clone() for name, value in both.state_dict().items()}
    grads = [None if p.grad is None else p.grad.clone() for p in both.parameters()]
    modes = [module.training for module in both.modules()]
    z = latents().requires_grad_()
    mined = mine(z, decoder, judge, 0.5, steps=3)
    assert (mined.z != z).any()
    assert all(torch.equal(value, before[name]) for name, value in both.state_dict().items())
    for parameter, grad in zip(both.parameters(), grads, strict=True):
        assert parameter.grad is None if grad is None else torch.equal(parameter.grad, grad)
        assert parameter.requires_grad
    assert [module.training for module in both.modules()] == modes
    assert z.grad is None
    assert not mined.z.requires_grad


def test_a_box_of_no_size_is_no_mining():
    z, (decoder, judge) = latents(), networks()
    mined = mine(z, decoder, judge, 0.0)
    assert torch.equal(mined.z, z)
    assert mined.steps.tolist() == [0] * 5
    assert torch.equal(mined.before, mined.after)
    with evaluating(decoder, judge):
        torch.testing.assert_close(mined.before, score(judge(decoder(z))).detach())


def test_finished_samples_do_not_move_and_are_not_run_again():
    sizes = []
    z = torch.cat([torch.full((2, 2, 2, 2), -1.0), torch.full((3, 2, 2, 2), 1.0)])
    judge = nn.Conv2d(2, 1, 2, bias=False)
    judge.weight.data.fill_(0.3)  # logits -2.4 and 2.4
    judge.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    mined = mine(z, nn.Identity(), judge, 0.1, steps=4, threshold=0.9)
    assert torch.equal(mined.z[2:], z[2:])
    assert (mined.z[:2] > z[:2]).all()
    assert mined.steps.tolist() == [4, 4, 0, 0, 0]
    assert sizes == [5, 2, 2, 2, 2]
    assert (mined.after[2:] == mined.before[2:]).all()


def test_mining_ends_at_the_step_that_reaches_the_threshold():
    z, judge = torch.zeros(1, 2, 2, 2), linear_judge(scale=2.0)
    needed = [mine(z, nn.Identity(), judge, 1.0, 10, threshold, "constant").steps.item() for threshold in (0.55, 0.99)]
    assert 1 <= needed[0] < needed[1] <= 10
    mined = mine(z, nn.Identity(), judge, 1.0, 10, 0.55, "constant")
    assert float(mined.before) < 0.55 <= float(mined.after)


@pytest.mark.parametrize("bias", [0.0, -200.0])
@pytest.mark.parametrize("step", ["harmonic", "constant"])
def test_no_step_lowers_the_score_of_a_linear_discriminator(bias, step):
    z, judge, logits = torch.randn(1, 2, 2, 2), nn.Conv2d(2, 1, 2), []
    judge.load_state_dict({"weight": linear_judge().weight.data, "bias": torch.tensor([bias])})
    judge.register_forward_hook(lambda _, __, output: logits.append(output.item()))
    mine(z, nn.Identity(), judge, 1.0, 10, 1.0, step)
    assert len(logits) == 11
    assert all(later >= earlier - 1e-4 for earlier, later in pairwise(logits))
    assert logits[-1] == pytest.approx(logits[0] + float(judge.weight.detach().abs().sum()), rel=1e-4), (
        "the box's best corner"
    )
    if step == "constant":
        assert all(later > earlier for earlier, later in pairwise(logits))


def test_the_first_harmonic_step_reaches_the_corner_and_a_constant_one_a_tenth_of_the_way():
    z, judge = torch.zeros(1, 2, 2, 2), linear_judge()
    harmonic = mine(z, nn.Identity(), judge, 0.5, 1, 1.0, "harmonic").z
    assert torch.equal(harmonic, 0.5 * judge.weight.data.sign())
    steps = []
    judge.register_forward_hook(lambda _, inputs, __: steps.append(inputs[0].detach().abs().max().item()))
    mine(z, nn.Identity(), judge, 0.5, 10, 1.0, "constant")
    assert steps == pytest.approx([0.05 * t for t in range(11)], abs=1e-6)


def test_a_sample_is_mined_alike_alone_and_beside_others():
    z, (decoder, judge) = latents(), networks()
    together = mine(z, decoder, judge, 0.1, threshold=1.0)
    alone = mine(z[3:4], decoder, judge, 0.1, threshold=1.0)
    torch.testing.assert_close(together.after[3:4], alone.after, atol=1e-4, rtol=0)


def test_latents_of_inference_mode_are_mined():
    decoder, judge = networks()
    with torch.inference_mode():
        z = latents() * 1
        mined = mine(z, decoder, judge, 0.1)
    assert float((mined.z - z).abs().max()) > 0.09
