"""Scoring the 3D autoencoder: the scorer against one window at a time of the same weights, as LNTRA's code does it.

    python benchmarks/bench_conv3d_scoring.py [WIDTH] [HEIGHT] [WIDTH OF FRAMES] [FRAMES]

Bars: terms equal within 1e-4 in float32, at least 1.8 times in bfloat16 on a processor with avx512_bf16. Windows that
do not overlap score sixteen frames each instead of one.
"""

import sys
from functools import partial

import numpy as np
import torch
from measure import compare, machine, settle_batch_norm

from vad_pipeline.models.contract import ScoringOptions
from vad_pipeline.models.conv3d_ae import LENGTH, TARGET, Config, Conv3dAE
from vad_pipeline.models.layers.pixels import scale_frames


@torch.inference_mode()
def plain(model: Conv3dAE, frames: np.ndarray, into: dict[str, np.ndarray]) -> None:
    """PSNR of each frame as the ninth of its window, one window after the other."""
    values = []
    for start in range(len(frames) - LENGTH + 1):
        window = scale_frames(torch.from_numpy(frames[start : start + LENGTH])).contiguous()[None]
        error = ((model(window)[0, TARGET] - window[0, TARGET]) / 2).square().mean()
        values.append(float(-10 * torch.log10(error)))
    into["plain"] = np.array(values)


def fast(model: Conv3dAE, frames: np.ndarray, bf16: bool, into: dict[str, np.ndarray]) -> None:
    batches = list(model.scorer(ScoringOptions(bf16=bf16)).clip({"frames": frames}))
    into["fast"] = np.concatenate([batch.terms["psnr"] for batch in batches])


def main() -> None:
    width = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    height, across, n = (int(v) for v in sys.argv[2:5]) if len(sys.argv) > 4 else (256, 256, 32)
    print(machine())
    torch.manual_seed(0)
    trained = Conv3dAE(Config(width=width), colours=1)
    settle_batch_norm(trained)
    model = trained.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    apart = Conv3dAE(Config(width=width, windows="apart"), colours=1).eval()
    apart.load_state_dict(model.state_dict())
    frames = np.random.default_rng(0).integers(0, 256, (n, height, across, 1), np.uint8)
    found: dict[str, np.ndarray] = {}
    for name, bf16 in (("float32", False), ("bfloat16", True)):
        title = f"3D autoencoder, width {width}, {across}x{height}, {n} frames, stride 1, plain float32 against {name}"
        compare(title, partial(plain, model, frames, found), partial(fast, model, frames, bf16, found), repeats=3)
        print(f"  PSNR differs by at most {np.abs(found['plain'] - found['fast']).max():.2g} dB")
        title = f"the same, windows apart, {name}: frames per second"
        compare(title, partial(fast, model, frames, bf16, found), partial(fast, apart, frames, bf16, found), repeats=3)
        print(f"  {n - LENGTH + 1} frames scored against {n}")


if __name__ == "__main__":
    main()
