"""ALPS on video: patches cut by one strided view and scored in large batches, against a loop over patches.

    python benchmarks/bench_alps.py [FRAMES]

Bar: at least 20 times the frames per second, same scores within 1e-5. Also printed: frames per second in bfloat16, what
a training step costs, and what of it is fetching the batch from the items in memory (a copy of 57 KB).
"""

import sys
from functools import partial

import numpy as np
import torch
from measure import compare, machine, seconds, settle_batch_norm

from vad_pipeline.fitting.resident import ResidentItems
from vad_pipeline.models.alps import ALPS, Config, network_input
from vad_pipeline.models.scorer import ScoringOptions

HEIGHT, WIDTH, PATCH = 240, 360, 30


def walkers(n: int) -> np.ndarray:
    """Noise with things that move in a fifth of the patches, as on UCSD Ped2."""
    random = np.random.default_rng(0)
    frames = random.integers(118, 122, (n, HEIGHT, WIDTH, 1)).astype(np.uint8)
    for top, left, speed in random.integers((0, 0, 1), (HEIGHT - 30, WIDTH - 12, 4), (16, 3)):
        for t in range(n):
            x = (left + speed * t) % (WIDTH - 12)
            frames[t, top : top + 30, x : x + 12] = random.integers(20, 60, (30, 12, 1))
    return frames


@torch.inference_mode()
def loop(model: ALPS, frames: np.ndarray, threshold: float, into: dict[str, np.ndarray]) -> None:
    """One patch after the other."""
    assert model.distorter is not None
    scores, count = [], 0
    for t in range(1, len(frames)):
        highest = 0.0
        for top in range(0, HEIGHT, PATCH):
            for left in range(0, WIDTH, PATCH):
                now, before = (frames[s, top : top + PATCH, left : left + PATCH] for s in (t, t - 1))
                if np.abs(now.astype(float) - before).mean() / 255 > threshold:
                    image = network_input(torch.from_numpy(now[None].copy()), model.config)
                    latent = model.encoder(image)
                    clean, perturbed = model.decoder(latent), model.decoder(latent + model.distorter(image))
                    errors = float((clean - image).square().mean()), float((perturbed - image).square().mean())
                    highest, count = max(highest, errors[1]), count + 1
        scores.append(highest)
    into["loop"], into["patches"] = np.array(scores), np.array(count / len(scores))


def fast(model: ALPS, frames: np.ndarray, bf16: bool, into: dict[str, np.ndarray]) -> None:
    batches = list(model.scorer(ScoringOptions(bf16=bf16, batch=32)).clip({"frames": frames}))
    into["fast"] = np.concatenate([batch.terms["perturbed_error"] for batch in batches])


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 96
    print(machine(), f"{torch.get_num_threads()} threads")
    torch.manual_seed(0)
    model, frames, threshold = ALPS(Config(), colours=1), walkers(n), 0.01
    model.motion_threshold.fill_(threshold)
    settle_batch_norm(model)
    model.eval()
    found: dict[str, np.ndarray] = {}
    for name, bf16 in (("float32", False), ("bfloat16", True)):
        title = f"{n} frames of {WIDTH}x{HEIGHT}: a loop over patches against one view and large batches, {name}"
        compare(title, partial(loop, model, frames, threshold, found), partial(fast, model, frames, bf16, found), 3)
        print(f"  {found['patches']:.0f} moving patches a frame")
        print(
            f"  scores differ by at most {np.abs(found['loop'] - found['fast']).max():.2g} of {found['loop'].max():.2g}"
        )
    items = ResidentItems(torch.randint(0, 256, (50_000, PATCH, PATCH, 1), dtype=torch.uint8))
    order = torch.randperm(len(items)).tolist()
    fetch = seconds(lambda: [items.__getitems__(order[64 * i : 64 * i + 64]) for i in range(500)]) / 500
    own = ALPS(Config(), colours=1)
    optimizer = torch.optim.Adam(own.parameters(), 1e-3)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            errors = own.errors(network_input(items.__getitems__(order[:64])["frames"], own.config))
        optimizer.zero_grad()
        (errors["clean_error"] + errors["perturbed_error"]).backward()
        optimizer.step()

    step()

    def steps() -> None:
        for _ in range(10):
            step()

    whole = seconds(steps) / 10
    print(f"a step of 64 patches in bfloat16: {1e3 * whole:.1f} ms, of which fetching the batch {1e3 * fetch:.3f} ms")


if __name__ == "__main__":
    main()
