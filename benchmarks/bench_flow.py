"""Optical flow of 256x256 frames: FlowNet in batches beside TV-L1 and DIS, and FlowNet's memory against clip length.

    python benchmarks/bench_flow.py [FOLDER]

FOLDER holds a clip as a folder of pictures (by default a built-in scene is rendered). There is no bar for the speed;
memory of a 2,000-frame clip must be within 10% of a 200-frame one's.
"""

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from measure import machine, peak_anonymous_mib, seconds

from vad_pipeline.clips.clip import Clip
from vad_pipeline.clips.pool import ClipPool
from vad_pipeline.clips.resize import FrameSize, resize
from vad_pipeline.fitting.checkpoint import write_checkpoint
from vad_pipeline.flow.dis import DIS, dis_flow
from vad_pipeline.flow.flownet import Config, FlowNet, estimate
from vad_pipeline.flow.flownet_checkpoint import flownet_checkpoint
from vad_pipeline.flow.flownet_flow import FlowNetFlow, flownet_rows
from vad_pipeline.flow.tvl1 import TVL1, tvl1_flow
from vad_pipeline.sources.extraction import FrameExtraction, frame_jobs
from vad_pipeline.sources.images import list_images, read_frames

PAIRS = 48
SIZE = FrameSize(256, 256, "gray")


def frames() -> np.ndarray:
    if len(sys.argv) > 1:
        native = list(read_frames(tuple(list_images(Path(sys.argv[1]))[: PAIRS + 1]), ""))
    else:
        config = FrameExtraction("scenes", scenes={"train_clips": 1, "test_clips": 1, "frames": 60})
        job = frame_jobs(config)["train/01"]
        assert job.rows is not None
        native = list(job.rows(0, None))[: PAIRS + 1]
    return np.stack([resize(frame, SIZE) for frame in native])


def in_batches(network: FlowNet, clip: np.ndarray, batch: int, bf16: bool, magnify: int = 1) -> None:
    for first in range(0, PAIRS, batch):
        last = min(first + batch, PAIRS)
        estimate(network, clip[first:last], clip[first + 1 : last + 1], bf16=bf16, magnify=magnify)


def flow_of_length(n: int) -> None:
    """Run in a process of its own: FlowNet over a clip of n frames, whose rows are thrown away."""
    with tempfile.TemporaryDirectory() as name:
        pool = ClipPool(name)
        array = np.lib.format.open_memmap(pool.path("long"), mode="w+", dtype=np.uint8, shape=(n, 128, 192, 1))
        array.flush()
        clip = Clip("train/01", "long", array.shape, "uint8", None, "", pool)
        weights = Path(name) / "flownet.safetensors"
        write_checkpoint(flownet_checkpoint(FlowNet(Config(width=0.25)), {}), weights)
        for _ in flownet_rows(clip, FlowNetFlow(str(weights)), 0, None):
            pass


def main() -> None:
    print(machine())
    clip = frames()
    quarter, full = FlowNet(Config(width=0.25)).eval(), FlowNet(Config()).eval()
    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "DIS": (PAIRS, lambda: [dis_flow(clip[i], clip[i + 1], DIS()) for i in range(PAIRS)]),
        "TV-L1 fast, one process": (6, lambda: [tvl1_flow(clip[i], clip[i + 1], TVL1()) for i in range(6)]),
        "TV-L1 accurate, one process": (
            2,
            lambda: [tvl1_flow(clip[i], clip[i + 1], TVL1("accurate")) for i in range(2)],
        ),
    }
    for title, network in (("FlowNetS of a quarter of the width", quarter), ("FlowNetS of full width", full)):
        for bf16 in (False, True):
            for batch in (1, 8):
                name = f"{title}, {'bf16' if bf16 else 'fp32'}, batch {batch}"
                ways[name] = (PAIRS, partial(in_batches, network, clip, batch, bf16))
    ways["the quarter, enlarged twice (default), bf16, batch 8"] = (
        PAIRS,
        partial(in_batches, quarter, clip, 8, True, magnify=2),
    )
    for name, (pairs, work) in ways.items():
        work()
        print(f"{name}: {pairs / min(seconds(work) for _ in range(3)):.1f} pairs/s", flush=True)
    peaks = {n: peak_anonymous_mib([__file__, "--length", str(n)]) for n in (200, 2000)}
    print(
        f"anonymous memory: {peaks[200]:.0f} MiB for 200 frames, {peaks[2000]:.0f} for 2,000, ratio "
        f"{peaks[2000] / peaks[200]:.3f}"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--length"]:
        flow_of_length(int(sys.argv[2]))
    else:
        main()
