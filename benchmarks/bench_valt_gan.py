"""VALT-GAN: features shared by windows, mining where it is needed alone, and milliseconds per test frame (Table III).

    python benchmarks/bench_valt_gan.py [--width 0.25] [--size 96 144] [--frames 68] [--repeats 3] [--published]

Bars: scoring with the encoder's features once a frame at least 2 times the plain forward of every window, terms equal
within 1e-4 (the limit at the published size is 227 / 74 = 3.07, in multiplications); mining only the samples that need
it at least 1.5 times mining all of them all steps, where half stop at once. ``--published`` adds the network of the
paper, 160x160 and three colours, to Table III's milliseconds: for one frame at a time, warm, the network alone (on
features of the frames before) and from stored pixels to score, on the CPU and on a GPU where there is one. Exit status
1 where a bar is missed.
"""

import argparse
import sys
from functools import partial
from statistics import median

import numpy as np
import torch
from measure import compare, machine, seconds, settle_batch_norm
from torch import Tensor, nn

from vad_pipeline.models.layers import patch_gan
from vad_pipeline.models.layers.latent_mining import evaluating, mine
from vad_pipeline.models.layers.pixels import scale_frames
from vad_pipeline.models.scorer import ScoringOptions
from vad_pipeline.models.valt_gan import INPUTS, VALTGAN, Config

EQUAL, SHARING, STOPPING = 1e-4, 2.0, 1.5  # the bars
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
    times = compare(title, partial(plain, model, frames, found), partial(ours, model, frames, found), repeats)
    difference = float(np.abs(found["plain"] - found["ours"]).max())
    print(f"  PSNR differs by at most {difference:.1e} dB")
    return times >= SHARING and difference <= EQUAL


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


def stopping(model: VALTGAN, frames: np.ndarray, repeats: int) -> bool:
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
    times = compare(
        title,
        partial(mine_all, z, decoder, judge, epsilon, threshold),
        partial(mine, z, decoder, judge, epsilon, STEPS, threshold),
        repeats,
    )
    print(f"  steps taken: {found.steps.tolist()}")
    return times >= STOPPING


def milliseconds(model: VALTGAN, frames: np.ndarray, device: torch.device, repeats: int) -> None:
    """Table III: medians over frames, the first of which warm the network."""
    scorer = model.scorer(ScoringOptions(device, batch=1))
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None

    @torch.inference_mode()
    def network(frame: Tensor, before: Tensor) -> None:
        features = torch.cat([before, scorer.generator.features(frame)])
        scorer.generator.decoder(scorer.generator.latent(features.split(1)))
        wait()

    def whole(row: np.ndarray) -> None:
        scorer.push({"frames": row[None]})
        wait()

    scaled = scale_frames(torch.from_numpy(frames)).to(device)
    with torch.inference_mode():
        before = scorer.generator.features(scaled[: INPUTS - 1])
    alone = [seconds(partial(network, scaled[i : i + 1], before)) for i in range(repeats + 2)]
    for row in frames[:INPUTS]:
        whole(row)
    end_to_end = [seconds(partial(whole, row)) for row in frames[INPUTS : INPUTS + repeats + 2]]
    height, width, colours = frames.shape[1:]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(
        f"{width}x{height}x{colours}, width {model.config.width}, one frame at a time on {name}: network alone "
        f"{1000 * median(alone[2:]):.1f} ms, from stored pixels to score {1000 * median(end_to_end[2:]):.1f} ms "
        "(printed: 36 ms in Table III, 48 ms in the text, V100)",
        flush=True,
    )


def noise(n: int, height: int, width: int, colours: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, height, width, colours), np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--size", type=int, nargs=2, default=(96, 144), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--frames", type=int, default=68)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--published", action="store_true")
    arguments = parser.parse_args()
    print(f"{machine()}, {torch.get_num_threads()} threads")
    small, frames = untrained(Config(width=arguments.width), 1), noise(arguments.frames, *arguments.size, 1)
    passed = [sharing(small, frames, arguments.repeats), stopping(small, frames, arguments.repeats)]
    devices = [torch.device("cpu")] + ([torch.device("cuda")] if torch.cuda.is_available() else [])
    for device in devices:
        milliseconds(small, frames, device, repeats=10)
        if arguments.published:
            published = untrained(Config(), 3)
            milliseconds(published, noise(16, 160, 160, 3), device, repeats=5 if device.type == "cpu" else 10)
    if not all(passed):
        sys.exit("a bar is missed")


if __name__ == "__main__":
    main()
