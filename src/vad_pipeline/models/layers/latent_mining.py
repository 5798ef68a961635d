"""Latent mining: latents near those of an encoder whose pictures look more real to a discriminator (spec 2.4).

An iterative fast gradient sign method inside a box: each latent takes steps of one size in all its entries against the
gradient of J = -log D(G(z)), and stays within ``epsilon`` of where it began. A sample whose picture is real enough is
finished, and is not run any further.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vad_pipeline.models.layers import patch_gan

Step = Literal["harmonic", "constant"]


@dataclass(frozen=True)
class Mined:
    """What mining found, of n samples.

    Attributes:
        z: latents, float32, of the shape of those given.
        steps: (n,) how many steps each took.
        before, after: (n,) D's score, in [0, 1], of the pictures of the given latents and of the mined ones.
    """

    z: Tensor
    steps: Tensor
    before: Tensor
    after: Tensor


def mine(
    z0: Tensor,
    decoder: nn.Module,
    discriminator: nn.Module,
    epsilon: float,
    steps: int = 10,
    threshold: float = 0.9,
    step: Step = "harmonic",
) -> Mined:
    """Mine latents; both networks run with the statistics that they have learnt, and nothing of them changes.

    Batch norm's own statistics of the batch would make a sample's steps a matter of which others are not finished.

    Args:
        z0: (n, ...), which the decoder reads; no gradient reaches it.
        decoder: latents to pictures.
        discriminator: pictures to logits of patches (n, 1, h, w).
        epsilon: half the side of the box; at 0 nothing is mined.
        steps: at most.
        threshold: of D's score; a sample that reaches it is finished.
        step: size of step t: epsilon / t, or always epsilon / ``steps``.
    """
    # a tensor of inference mode takes no part in gradients, a copy made outside of it does
    with torch.inference_mode(False), torch.enable_grad(), evaluating(decoder, discriminator):
        z = z0.detach().float().clone()
        low, high = z - epsilon, z + epsilon
        used = torch.zeros(len(z), dtype=torch.long, device=z.device)
        running = torch.arange(len(z), device=z.device)  # numbers of the samples that are not finished
        before = after = torch.zeros(len(z), device=z.device)
        limit = steps if epsilon else 0
        for t in range(1, limit + 1):
            tried = z[running].requires_grad_()
            found = patch_gan.log_score(discriminator(decoder(tried)))
            reached = found.detach().exp()
            after = after.index_copy(0, running, reached)
            before = after if t == 1 else before
            unfinished = reached < threshold
            if not unfinished.any():
                return Mined(z, used, before, after)
            (gradient,) = torch.autograd.grad(-found[unfinished].sum(), tried)
            running = running[unfinished]
            size = epsilon / t if step == "harmonic" else epsilon / steps
            moved = z[running] - size * gradient[unfinished].sign()
            z[running] = moved.clamp(low[running], high[running])
            used[running] += 1
        with torch.no_grad():
            reached = patch_gan.log_score(discriminator(decoder(z[running]))).exp()
        after = after.index_copy(0, running, reached)
        return Mined(z, used, before if limit else after, after)


@contextmanager
def evaluating(*networks: nn.Module) -> Iterator[None]:
    """Evaluation mode within, each module's own mode again afterwards."""
    before = [(module, module.training) for network in networks for module in network.modules()]
    try:
        for network in networks:
            network.eval()
        yield
    finally:
        for module, training in before:
            module.training = training
