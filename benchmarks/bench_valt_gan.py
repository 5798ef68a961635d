"""VALT-GAN: features shared by windows, and mining where it is needed alone.

    python benchmarks/bench_valt_gan.py [--width 0.25] [--size 96 144] [--frames 68] [--repeats 3]

Bars: scoring with the encoder's features once a frame at least 2 times the plain forward of every window, terms equal
within 1e-4 (the limit at the published size is 227 / 74 = 3.07, in multiplications); mining only the samples that need
it at least 1.5 times mining all of them all steps, where half stop at once. Exit status 1 where terms differ by
more.
"""

import argparse
import sys
from functools import partial

import numpy as np
import torch
from measure import compare, machine, settle_batch_norm
from torch import Tensor, nn

from vad_pipeline.models.layers import patch_gan
from vad_pipeline.models.layers.latent_mining import evaluating, mine
from vad_pipeline.models.layers.pixels import scale_frames
from vad_pipeline.models.scorer import ScoringOptions
from vad_pipeline.models.valt_gan import INPUTS, VALTGAN, Config

EQUAL = 1e-4  # raw terms
STEPS = 10


def untrained(config: Config, colours: int) -> VALTGAN:
    torch.manual_seed(0)
    model = VALTGAN(config, colours)
    settle_batch_norm(model)
    return model.eval()


@torch.inference_mode()
def plain(model: VALTGAN, frames: np.ndarray, into: dict[str, np.ndarray]) -> None:
    """Every window whole, eight at a time as the scorer takes them."""
    scaled = scale_frames(torch.from_numpy(frames))
    starts, found = range(len(frames) - INPUTS), []
    for first in range(0, len(starts), 8):
        windows = torch.stack([scaled[start : start + INPUTS + 1] for start in starts[first : first + 8]])
        error = (model(windows[:, :INPUTS]) - windows[:, INPUTS]).square() / 4
        found.append(-10 * torch.log10(error.flatten(1).mean(1)))
    into["plain"] = torch.cat(found).numpy()


def ours(model: VALTGAN, frames: np.ndarray, into: dict[str, np.ndarray]) -> None:
    batches = list(model.scorer(ScoringOptions()).clip({"frames": frames}))
    into["ours"] = np.concatenate([batch.terms["psnr"] for batch in batches])


def sharing(model: VALTGAN, frames: np.ndarray, repeats: int) -> bool:
    found: dict[str, np.ndarray] = {}
    title = f"{len(frames) - INPUTS} frames: every window whole against features once a frame"
    compare(title, partial(plain, model, frames, found), partial(ours, model, frames, found), repeats)
    difference = float(np.abs(found["plain"] - found["ours"]).max())
    print(f"  PSNR differs by at most {difference:.1e} dB")
    return difference <= EQUAL


def mine_all(z0: Tensor, decoder: nn.Module, judge: nn.Module, epsilon: float, threshold: float) -> Tensor:
    """All samples run all steps; those that have reached the threshold are put back where they were."""
    with evaluating(decoder, judge):
        z = z0.clone()
        for t in range(1, STEPS + 1):
            tried = z.clone().requires_grad_()
            found = patch_gan.log_score(judge(decoder(tried)))
            (gradient,) = torch.autograd.grad(-found.sum(), tried)
            moved = (z - epsilon / t * gradient.sign()).clamp(z0 - epsilon, z0 + epsilon)
            z = torch.where((found.detach().exp() < threshold).view(-1, 1, 1, 1), moved, z)
        with torch.no_grad():
            patch_gan.log_score(judge(decoder(z)))
    return z


def stopping(model: VALTGAN, frames: np.ndarray, repeats: int) -> None:
    """The threshold is between the scores of eight latents, so that half of them stop at once."""
    decoder, judge = model.generator.decoder, model.discriminator
    scaled = scale_frames(torch.from_numpy(frames[: INPUTS + 7]))
    with torch.no_grad():
        features = model.generator.features(scaled)
        z = model.generator.latent([features[i : i + 8] for i in range(INPUTS)])
    threshold = float(mine(z, decoder, judge, 0.0).before.median()) + 1e-7
    epsilon = 1e-7  # so small that nothing crosses the threshold on the way: steps cost the same
    title = f"8 latents of {tuple(z.shape[1:])}, half finished: all run against those that need it"
    found = mine(z, decoder, judge, epsilon, STEPS, threshold)
    compare(
        title,
        partial(mine_all, z, decoder, judge, epsilon, threshold),
        partial(mine, z, decoder, judge, epsilon, STEPS, threshold),
        repeats,
    )
    print(f"  steps taken: {found.steps.tolist()}")


def noise(n: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, height, width, 1), np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--size", type=int, nargs=2, default=(96, 144), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--frames", type=int, default=68)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{machine()}, {torch.get_num_threads()} threads")
    small, frames = untrained(Config(width=arguments.width), 1), noise(arguments.frames, *arguments.size)
    equal = sharing(small, frames, arguments.repeats)
    stopping(small, frames, arguments.repeats)
    if not equal:
        sys.exit(f"terms differ by more than {EQUAL}")


if __name__ == "__main__":
    main()
