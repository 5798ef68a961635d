from functools import partial

import numpy as np
import pytest
import torch

from vad_pipeline.clips.pool import ClipPool, Parallel
from vad_pipeline.fitting.checkpoint import CheckpointError, write_checkpoint
from vad_pipeline.flow.flownet import Config, FlowNet, FlowNetError, estimate
from vad_pipeline.flow.flownet_checkpoint import flownet_checkpoint, load_flownet
from vad_pipeline.flow.flownet_flow import FlowNetFlow, flownet_jobs, flownet_rows
from vad_pipeline.sources.extraction import FrameExtraction, frame_jobs


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small network without training."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("flownet") / "small.safetensors"
    write_checkpoint(flownet_checkpoint(FlowNet(Config(width=0.0625)), {"seed": 0}), path)
    return path


@pytest.fixture
def run(weights):
    """FlowNet's settings with these weights on the processor."""
    return partial(FlowNetFlow, checkpoint=str(weights), accelerator="cpu")


@pytest.fixture
def scene(store_clips):
    job = frame_jobs(
        FrameExtraction("scenes", scenes={"train_clips": 1, "test_clips": 1, "frames": 24, "height": 64, "width": 96})
    )["train/01"]
    return store_clips({"train/01": np.stack(list(job.rows(0, None)))})


def test_the_rows_are_the_network_s_estimate_of_each_pair(scene, run, weights):
    frames = scene["train/01"].array()
    rows = list(flownet_rows(scene["train/01"], run(batch=5, precision="32"), 3, 9))
    expected = estimate(load_flownet(weights), frames[3:9], frames[4:10])
    assert len(rows) == 6
    np.testing.assert_allclose(np.stack(rows), expected, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("chunk", [3, 8, 10])
def test_chunks_equal_the_whole_exactly(scene, run, tmp_path, chunk):
    config = run(batch=4)
    job = flownet_jobs(scene, config)["train/01"]
    arrays = []
    for size in (1000, chunk):
        pool = ClipPool(str(tmp_path / str(size)))
        pool.fill({"train/01": job}, Parallel(backend="sequential", chunk=size), "flow")
        arrays.append(np.array(pool.array(job.fingerprint)))
    assert arrays[0].shape == (23, 64, 96, 2)
    assert arrays[0].dtype == np.float16
    np.testing.assert_array_equal(*arrays)


def test_a_clip_of_one_frame_has_flow_of_length_zero_and_a_warning(store_clips, run, tmp_path):
    clips = store_clips({"train/01": np.zeros((1, 20, 30, 1), np.uint8)})
    with pytest.warns(UserWarning, match="clip train/01 has one frame"):
        jobs = flownet_jobs(clips, run())
    pool = ClipPool(str(tmp_path / "pool"))
    pool.fill(jobs, Parallel(backend="sequential"), "flow")
    assert pool.array(jobs["train/01"].fingerprint).shape == (0, 20, 30, 2)


def test_frames_smaller_than_the_network_s_coarsest_cell_get_flow(store_clips, run):
    clips = store_clips({"train/01": np.random.default_rng(0).integers(0, 255, (3, 20, 30, 3), np.uint8)})
    rows = list(flownet_rows(clips["train/01"], run(), 0, None))
    assert [row.shape for row in rows] == [(20, 30, 2)] * 2
    assert all(np.isfinite(row).all() for row in rows)


def test_the_fingerprint_follows_weights_and_precision_but_not_the_batch(scene, run, weights, tmp_path):
    def of(**settings):
        return flownet_jobs(scene, run(**settings))["train/01"].fingerprint

    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(weights.read_bytes())
    assert of(precision="32") == of(precision="32", checkpoint=str(copy)) == of(precision="32", batch=2)
    assert of(precision="32") != of(precision="bf16")


def test_unusable_weights_stop_before_anything_is_computed(scene, weights, tmp_path):
    with pytest.raises(
        FlowNetError, match=r"no FlowNet weights at .*gone.pth; correct optical_flow.flownet.checkpoint"
    ):
        flownet_jobs(scene, FlowNetFlow(checkpoint=str(tmp_path / "gone.pth"), accelerator="cpu"))
    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "resnet.pth")
    with pytest.raises(FlowNetError, match="is not of FlowNetS"):
        flownet_jobs(scene, FlowNetFlow(checkpoint=str(tmp_path / "resnet.pth"), accelerator="cpu"))
    (tmp_path / "cut.safetensors").write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="is damaged"):
        flownet_jobs(scene, FlowNetFlow(checkpoint=str(tmp_path / "cut.safetensors"), accelerator="cpu"))
