"""Scene exemplars: frames per second of scoring, against the plain way, and memory against the length of the clip.

    python benchmarks/bench_scene_exemplars.py

One thread; frames of 240x360, 6 per cent of them foreground, full banks. The plain way describes each cell by a crop of
its own and finds neighbours by a loop over examples. Bars: 10 frames a second, whole clips and frame by frame;
20 times the plain way with surprises within 2 per cent; memory of 20,000 frames within 10 per cent of 2,000's.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import torch
from measure import machine, peak_anonymous_mib

from vad_pipeline.clips.clip import Clip, Clips
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.clips.pool import ClipPool, Parallel
from vad_pipeline.features.cell_features import BEFORE, BEHIND, CellFeatures, cell_features
from vad_pipeline.models.layers.exemplar_banks import NEIGHBOURS, AppearanceBank, VelocityBank
from vad_pipeline.models.layers.foreground import CELL
from vad_pipeline.models.scene_exemplars import Config, SceneExemplars, SceneExemplarsScorer
from vad_pipeline.models.scorer import ScoredBatch, ScoringOptions
from vad_pipeline.scoring.score import Scoring, score_clips

HEIGHT, WIDTH, PEOPLE, PERSON = 240, 360, 14, (30, 12)
SMALL = (48, 64, 1, (16, 8))  # of the clips whose memory is measured
OPTIONS = ScoringOptions()


def smooth(random: np.random.Generator, size: tuple[int, ...], low: int, high: int) -> np.ndarray:
    noise = cv2.GaussianBlur(random.random(size), (0, 0), 2.0)
    return (low + (high - low) * (noise - noise.min()) / (noise.max() - noise.min())).astype(np.uint8)


def street(
    n: int,
    seed: int,
    height: int = HEIGHT,
    width: int = WIDTH,
    people: int = PEOPLE,
    person: tuple[int, int] = PERSON,
) -> Iterator[np.ndarray]:
    """Frames of a textured street, the same for every seed, and of people who walk along it."""
    ground, random = smooth(np.random.default_rng(0), (height, width), 90, 150), np.random.default_rng([1, seed])
    tops = random.permutation(np.linspace(8, height - person[0] - 8, people).astype(int))
    lefts, speeds = random.uniform(0, width, people), random.uniform(1, 2, people)
    looks = [smooth(random, person, *random.permutation([10, 60, 240])[:2]) for _ in range(people)]
    for t in range(n):
        frame = ground.copy()
        for top, left, speed, look in zip(tops, lefts, speeds, looks, strict=True):
            columns = (round(left + speed * t) + np.arange(person[1])) % width
            frame[top : top + person[0], columns] = look
        yield np.clip(frame + random.normal(0, 1, frame.shape), 0, 255).astype(np.uint8)[..., None]


def learnt(config: Config, clips: int, n: int, **scene: Any) -> SceneExemplars:
    model = SceneExemplars(config, colours=1)
    for seed in range(clips):
        model.learn({"frames": np.stack(list(street(n, seed, **scene)))})
    held_out = np.stack(list(street(12, 99, **scene)))
    model.calibrate(lambda: iter([{"frames": held_out}]), OPTIONS)
    return model.eval()


def each_cell(
    frame: np.ndarray, places: np.ndarray, settings: CellFeatures, device: torch.device, *_: bool
) -> np.ndarray:
    """Features of cells, each of a crop as wide as the network sees, and one cell more for the enlargement."""
    found = np.zeros((len(places), settings.dimension), np.float32)
    for n, (row, column) in enumerate(places):
        top, left = max(0, row - BEFORE - 1), max(0, column - BEFORE - 1)
        crop = frame[top * CELL : (row + BEHIND + 1) * CELL, left * CELL : (column + BEHIND + 1) * CELL]
        found[n] = cell_features(np.ascontiguousarray(crop)[None], settings, device)[0, row - top, column - left]
    return found


def each_velocity(bank: VelocityBank, motion: np.ndarray) -> np.ndarray:
    points = bank._points(motion)
    apart = np.stack([np.linalg.norm(points - example, axis=1) for example in np.asarray(bank.tree.data)])
    return np.partition(apart, NEIGHBOURS - 1, axis=0)[:NEIGHBOURS].mean(axis=0)


def each_look(bank: AppearanceBank, features: torch.Tensor) -> np.ndarray:
    queries = (features - bank.mean) / bank.deviation
    nearest = torch.full((len(queries),), torch.inf)
    for example in bank.examples:
        nearest = torch.minimum(nearest, (queries - example).norm(dim=1))
    return nearest.numpy()


def surprises(batches: Iterator[ScoredBatch | None], into: dict[str, np.ndarray], name: str) -> None:
    into[name] = np.concatenate([batch.terms["surprise"] for batch in batches if batch is not None])


def plainly(scorer: SceneExemplarsScorer) -> SceneExemplarsScorer:
    scorer.velocities.distance = partial(each_velocity, scorer.velocities)  # type: ignore[method-assign]
    scorer.looks.distance = partial(each_look, scorer.looks)  # type: ignore[method-assign]
    return scorer


def pushed(scorer: SceneExemplarsScorer, frames: np.ndarray) -> Iterator[ScoredBatch | None]:
    for t in range(len(frames)):
        yield scorer.push({"frames": frames[t : t + 1]})
    yield scorer.finish()


def rate(title: str, n: int, work: Callable[[], None]) -> float:
    """Print frames a second and return them per second of processor time, which other work on the machine leaves."""
    wall, own = time.perf_counter(), time.process_time()
    work()
    wall, own = time.perf_counter() - wall, time.process_time() - own
    print(f"{title}: {n / wall:.1f} frames a second, {n / own:.1f} a second of processor time", flush=True)
    return n / own


def stored(folder: Path, n: int) -> Clips:
    pool = ClipPool(str(folder / f"pool{n}"))
    jobs = {f"test/{n}": ClipJob(f"test{n}", partial(small_rows, n))}
    pool.fill(jobs, Parallel(backend="sequential"), "")
    return Clips({c: Clip(c, j.fingerprint, *pool.header(j.fingerprint), None, "", pool) for c, j in jobs.items()})


def small_rows(n: int, start: int, stop: int | None) -> Iterator[np.ndarray]:
    yield from street(n, 7, *SMALL)


def speed() -> None:
    model = learnt(Config(appearance_share=0.5), 8, 40)
    frames = np.stack(list(street(60, 50)))
    scorer, found = model.scorer(OPTIONS), dict[str, np.ndarray]()
    cells = [len(one.places) for windows, _ in scorer.encodings({"frames": frames[:12]}) for one in windows]
    share = np.mean(cells) * CELL**2 / (HEIGHT * WIDTH)
    print(f"{len(model.motion)} velocities, {len(model.looks)} looks; {share:.1%} of a frame in cells of foreground")
    for _ in range(2):
        rate("whole clip", 60, lambda: surprises(scorer.clip({"frames": frames}), found, "clip"))
        rate("frame by frame", 60, lambda: surprises(pushed(scorer, frames), found, "pushed"))
    print(f"  surprises differ by at most {np.abs(found['clip'] / found['pushed'] - 1).max():.1g} of themselves")
    few, plain = frames[:7], plainly(model.scorer(OPTIONS))

    def slowly() -> None:
        with patch("vad_pipeline.models.scene_exemplars.features_of", each_cell):
            surprises(plain.clip({"frames": few}), found, "plain")

    slow = rate("3 frames, cell after cell", 3, slowly)
    fast = rate("3 frames, ours", 3, lambda: surprises(scorer.clip({"frames": few}), found, "ours"))
    print(f"  {fast / slow:.1f} times by processor time")
    print(f"  surprises differ by at most {np.abs(found['plain'] / found['ours'] - 1).max():.1g} of themselves")


def main() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if len(sys.argv) == 3:
        n, folder = int(sys.argv[1]), Path(sys.argv[2])
        model = learnt(Config(), 2, 80, **dict(zip(("height", "width", "people", "person"), SMALL, strict=True)))
        score_clips(model, {"frames": stored(folder, n)}, Scoring(threads=1), [[f"test/{n}"]], folder)
        return
    print(machine(), "1 thread")
    speed()
    with tempfile.TemporaryDirectory() as name:
        peaks = {}
        for n in (2_000, 20_000):
            stored(Path(name), n)
            peaks[n] = peak_anonymous_mib([__file__, str(n), name])
        print(
            f"scoring at {SMALL[1]}x{SMALL[0]}: {peaks[2_000]:.0f} MiB for 2,000 frames, {peaks[20_000]:.0f} MiB for "
            f"20,000, ratio {peaks[20_000] / peaks[2_000]:.3f}"
        )


if __name__ == "__main__":
    main()
