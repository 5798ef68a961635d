"""Scoring LGN-Net: the scorer against a plain window-by-window forward of the same weights, without memory update.

    python benchmarks/bench_scoring.py [WIDTH] [SIZE] [FRAMES]

Bars: at least 1.15 times in float32 with raw terms equal within 1e-4, at least 1.8 times in bfloat16 on a processor
with avx512_bf16.
"""

import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from measure import compare, machine, settle_batch_norm

from vad_pipeline.models.contract import ScoringOptions
from vad_pipeline.models.layers import memory
from vad_pipeline.models.layers.pixels import scale_frames
from vad_pipeline.models.lgn_net import Config, LGNNet


@torch.inference_mode()
def plain(model: LGNNet, frames: np.ndarray) -> np.ndarray:
    """(2, n): PSNR and memory distance of each frame, one window after the other."""
    rows = []
    for start in range(len(frames) - 4):
        window = scale_frames(torch.from_numpy(frames[start : start + 5])).contiguous()[None]
        predicted, queries = model(window[:, :4])
        mse = ((predicted - window[:, 4]) / 2).square().mean()
        rows.append((float(-10 * torch.log10(mse)), float(memory.nearest_distance(queries, model.items).mean())))
    return np.array(rows).T


def fast(model: LGNNet, frames: np.ndarray, bf16: bool) -> np.ndarray:
    batches = list(model.scorer(ScoringOptions(bf16=bf16)).clip({"frames": frames}))
    return np.array([np.concatenate([b.terms[name] for b in batches]) for name in ("psnr", "memory_distance")])


def main() -> None:
    width = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    size = int(sys.argv[2]) if len(sys.argv) > 2 else 256
    n = int(sys.argv[3]) if len(sys.argv) > 3 else 20
    print(machine())
    torch.manual_seed(0)
    model = LGNNet(Config(width=width, gamma=0.0), colours=3)
    settle_batch_norm(model)
    model = model.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    frames = np.random.default_rng(0).integers(0, 256, (n, size, size, 3), np.uint8)
    results: dict[str, np.ndarray] = {}

    def keep(name: str, work: Callable[[], np.ndarray]) -> Callable[[], None]:
        def run() -> None:
            results[name] = work()

        return run

    for name, bf16 in (("float32", False), ("bfloat16", True)):
        title = f"LGN-Net width {width}, {size}x{size}, {n - 4} frames, plain float32 against {name}"
        slow, ours = partial(plain, model, frames), partial(fast, model, frames, bf16)
        compare(title, keep("plain", slow), keep(name, ours), repeats=3)
        difference = np.abs(results["plain"] - results[name]).max(axis=1)
        print(f"  raw terms differ by at most {difference[0]:.2g} dB (PSNR), {difference[1]:.2g} (memory distance)")


if __name__ == "__main__":
    main()
