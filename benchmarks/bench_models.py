"""Frames per second of every model, and how long LGN-Net's sweeps take.

    python benchmarks/bench_models.py [--width 0.25] [--size 96 144] [--frames 40] [--repeats 3] [--model NAME ...]

Each model of the registry, untrained and gray, scores one clip by our path (its scorer: rows and windows in batches,
batch norm folded, channels-last), also in bfloat16, and plainly: window by window, eager, float32, each window whole,
through the same weights. A model without a plain way declared below is run by its own scorer on each window as a clip
of its own, and marked. Bars: at least 1.15 times for LGN-Net and its recurrent variants with raw terms equal within
1e-4 (gamma = 0), 1.8 times in bfloat16 for all on a processor that has it; the sweep of lambda over 11 values of Ped2's
stored terms under 2 seconds; that of gamma over 10 values at most twice one scoring. Its thresholds are spread over the
clip's own regular scores, so that soon each has a memory of its own: the worst case.
"""

import argparse
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch
from measure import machine, seconds, settle_batch_norm
from torch import Tensor

from vad_pipeline.clips.window import FEWER
from vad_pipeline.evaluation.evaluate import fusion_sweep
from vad_pipeline.models.alps import network_input
from vad_pipeline.models.contract import Model
from vad_pipeline.models.layers import memory
from vad_pipeline.models.layers.patches import PatchGrid, patch_motion
from vad_pipeline.models.layers.pixels import scale_frames
from vad_pipeline.models.lgn_net import LGNNet
from vad_pipeline.models.msti_net import scale_flow
from vad_pipeline.models.scorer import ScoringOptions
from vad_pipeline.models.systems import MODELS, model_class
from vad_pipeline.scoring.gamma_sweep import gamma_sweep
from vad_pipeline.scoring.score import Scoring

STORED = Path(__file__).resolve().parents[1] / "docs" / "results" / "ped2_small_lgn_net_96x144_batch4.parquet"
EQUAL = 1e-4  # raw terms of LGN-Net
Arrays = Mapping[str, np.ndarray]
Terms = dict[str, np.ndarray]


def psnr(predicted: Tensor, target: Tensor) -> float:
    return float(-10 * torch.log10(((predicted - target) / 2).square().mean()))


def with_memory(model: Any, window: Arrays) -> dict[str, float]:
    """LGN-Net, its variants and MNAD."""
    frames = scale_frames(torch.from_numpy(window["frames"])).contiguous()[None]
    expected, queries = model(frames[:, : model.inputs])
    distance = 0.0 if queries is None else float(memory.nearest_distance(queries, model.items).mean())
    return {"psnr": psnr(expected, frames[:, -1]), "memory_distance": distance}


def alps(model: Any, window: Arrays) -> dict[str, float]:
    before, now = torch.from_numpy(window["frames"])
    height, width = now.shape[:2]
    grid = PatchGrid.of(height, width, model.config.patch)
    moving = patch_motion(now[None], before[None], grid) > float(model.motion_threshold)
    images = network_input(grid.unfold(now[None])[moving], model.config)
    latent = model.encoder(images)
    clean, perturbed = model.decoder(latent), model.decoder(latent + model.distorter(images))
    errors = {"clean_error": clean, "perturbed_error": perturbed}
    return {name: float((made - images).square().flatten(1).mean(1).max()) for name, made in errors.items()}


def predictor(model: Any, window: Arrays) -> dict[str, float]:
    frames = scale_frames(torch.from_numpy(window["frames"])).contiguous()[None]
    return {"psnr": psnr(model(frames[:, :-1]), frames[:, -1])}


def two_streams(model: Any, window: Arrays) -> dict[str, float]:
    frames = scale_frames(torch.from_numpy(window["frames"])).contiguous()[None]
    flow = scale_flow(torch.from_numpy(window["flow"]), model.config.limit)[None]
    predicted, queries = model(frames[:, :-1], flow)
    distance = float(memory.nearest_distance(queries, model.items, "l2").mean())
    return {"psnr": psnr(predicted, frames[:, -1]), "memory_distance": distance}


def autoencoder(model: Any, window: Arrays) -> dict[str, float]:
    rows = model.scaled(torch.from_numpy(window[model.reads[0]])).contiguous()[None]
    target = model.window(model.config).target
    error = (model(rows)[:, target] - rows[:, target]).square()
    return {name: float(values[0]) for name, values in model.scores(error).items()}


def classifier(model: Any, window: Arrays) -> dict[str, float]:
    return {"pseudo_probability": float(model(torch.from_numpy(window["features"])[None]).sigmoid()[0])}


PLAIN: dict[str, Callable[[Any, Arrays], dict[str, float]]] = {
    "lgn_net": with_memory,
    "lgn_net lgn_st": with_memory,
    "lgn_net loc_net": with_memory,
    "lgn_net glo_net": with_memory,
    "mnad_pred": with_memory,
    "mnad_recon": with_memory,
    "msti_net": two_streams,
    "alps": alps,
    "frame_pred": predictor,
    "valt_gan": predictor,
    "conv3d_ae": autoencoder,
    "flow_conv3d_ae": autoencoder,
    "semantic_discriminator": classifier,
}


ALL = tuple(dict.fromkeys((*MODELS, *PLAIN)))


def scorer_on_its_own(model: Model, window: Arrays) -> dict[str, float]:
    batches = list(model.scorer(ScoringOptions(batch=1)).clip(window))
    return {name: float(values[-1]) for batch in batches[-1:] for name, values in batch.terms.items()}


@torch.inference_mode()
def plain(model: Model, one: Callable[[Any, Arrays], dict[str, float]], arrays: Arrays, into: dict[str, Terms]) -> None:
    """One window after the other, whole."""
    length, streams = model.window(model.config).length, model.streams(model.config)
    n_frames = max(len(rows) + FEWER.get(name, 0) for name, rows in arrays.items())
    found = []
    for start in range(n_frames - length + 1):
        window = {}
        for name, stream in streams.items():
            rows = arrays[name][start + stream.rows.start : start + stream.rows.stop]
            missing = len(stream.rows) - len(rows)  # the flow after the last frame: the one before it again
            window[name] = np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)])
        found.append(one(model, window))
    into["plain"] = {name: np.array([values[name] for values in found]) for name in found[0]}


def ours(model: Model, arrays: Arrays, into: dict[str, Terms], bf16: bool = False) -> None:
    batches = list(model.scorer(ScoringOptions(bf16=bf16)).clip(arrays))
    into["ours"] = {name: np.concatenate([b.terms[name] for b in batches]) for name in model.terms}


def untrained(name: str, width: float) -> Model:
    """With batch norm's statistics as after training, of a width where the model has one; ``lgn_net lgn_st`` names a
    variant."""
    name, _, variant = name.partition(" ")
    model = model_class(name)
    named = {field.name for field in fields(model.config_class)}
    chosen = {key: value for key, value in (("width", width), ("gamma", 0.0), ("windows", "sliding")) if key in named}
    chosen |= {"variant": variant} if variant else {}
    torch.manual_seed(0)
    made = model(model.config_class(**chosen), colours=1)
    settle_batch_norm(made)
    return made.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def streams_of(model: Model, n: int, height: int, width: int) -> Arrays:
    """Noise of every stream's shape."""
    random = np.random.default_rng(0)
    made: dict[str, np.ndarray] = {"frames": random.integers(0, 256, (n, height, width, 1), np.uint8)}
    made["flow"] = random.normal(0, 1, (n - 1, height, width, 2)).astype(np.float16)
    if "features" in model.reads:
        made["features"] = random.normal(0, 1, (n, model.config.features.dimension)).astype(np.float16)
    return {name: made[name] for name in model.streams(model.config)}


def compared(name: str, arguments: argparse.Namespace) -> bool:
    """Print a model's row; False where terms of LGN-Net differ."""
    model = untrained(name, arguments.width)
    multiple = math.lcm(model.size_multiple, 4)
    height, width = (-(-side // multiple) * multiple for side in arguments.size)
    length = model.window(model.config).length
    n = max(arguments.frames, length + 4)
    arrays, found = streams_of(model, n, height, width), dict[str, Terms]()
    one = PLAIN.get(name, scorer_on_its_own)
    slow, fast = partial(plain, model, one, arrays, found), partial(ours, model, arrays, found)
    short = partial(ours, model, arrays, {}, True)
    times = [(seconds(slow), seconds(fast), seconds(short)) for _ in range(arguments.repeats)]
    scored = n - length + 1
    rates = [scored / median(column) for column in zip(*times, strict=True)]
    difference = max(float(np.abs(found["ours"][term] - values).max()) for term, values in found["plain"].items())
    how = "" if name in PLAIN else "  (plain: its scorer, window by window)"
    print(
        f"{name:24} {width}x{height}, {scored} frames: plain {rates[0]:8.1f} fps, ours {rates[1]:8.1f} fps, "
        f"{rates[1] / rates[0]:5.2f} times, terms differ by {difference:.1e}; bf16 {rates[2]:8.1f} fps, "
        f"{rates[2] / rates[0]:5.2f} times{how}",
        flush=True,
    )
    return not name.startswith("lgn_net") or difference <= EQUAL


def time_lambda_sweep(repeats: int) -> None:
    """Eleven weights of Ped2's stored terms, with labels of the right size, as the time does not depend on them."""
    stored = pd.read_parquet(STORED)
    scores = stored[stored["clip"].str.startswith("test/")]
    labels = scores[["clip", "frame"]].assign(label=(scores["frame"] % 180 > 60).astype(int), kind="")
    sweep = partial(fusion_sweep, scores, labels, LGNNet.terms, "psnr", "memory_distance")
    print(f"sweep of lambda, 11 values, {len(scores)} frames: {median(seconds(sweep) for _ in range(repeats)):.3f} s")


def time_gamma_sweep(arguments: argparse.Namespace) -> None:
    """Ten gammas against one scoring whose memory moves; thresholds spread over the clip's own regular scores."""
    model = untrained("lgn_net", arguments.width)
    assert isinstance(model, LGNNet)
    arrays = streams_of(model, arguments.frames, *(-(-side // 8) * 8 for side in arguments.size))
    found: dict[str, Terms] = {}
    ours(model, arrays, found)
    gammas = [0.0, *np.quantile(found["ours"]["regular_score"], np.linspace(0.1, 1, 9)).tolist()]
    model.gamma.fill_(gammas[5])
    scoring = Scoring(accelerator="cpu")
    sweep = partial(gamma_sweep, model, {"clip": arrays}, gammas, scoring)
    once = partial(gamma_sweep, model, {"clip": arrays}, gammas[5:6], scoring)
    times = [
        (seconds(partial(ours, model, arrays, found)), seconds(once), seconds(sweep)) for _ in range(arguments.repeats)
    ]
    scoring_time, one, ten = (median(column) for column in zip(*times, strict=True))
    print(
        f"sweep of gamma, 10 values, {arguments.frames - 4} frames: {ten:.3f} s, one scoring {scoring_time:.3f} s, "
        f"{ten / scoring_time:.2f} times (one value by the same way: {one:.3f} s)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=float, default=0.25, help="of all networks")
    parser.add_argument("--size", type=int, nargs=2, default=(96, 144), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", nargs="*", choices=ALL, default=ALL)
    arguments = parser.parse_args()
    print(f"{machine()}, {torch.get_num_threads()} threads, medians of {arguments.repeats}")
    equal = [compared(name, arguments) for name in arguments.model]
    time_lambda_sweep(arguments.repeats)
    time_gamma_sweep(arguments)
    if not all(equal):
        sys.exit(f"LGN-Net's terms differ by more than {EQUAL}")


if __name__ == "__main__":
    main()
