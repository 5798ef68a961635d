import numpy as np
import pytest

from vad_pipeline.clips.clip import Clips
from vad_pipeline.clips.held_out import split_held_out, with_parts


def numbered(n):
    return np.arange(n, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 6, 1), np.uint8)


def flow(n):
    return numbered(n)[:-1].repeat(2, axis=-1).astype(np.float16)


@pytest.fixture
def frames(store_clips):
    return store_clips({f"train/{i:02d}": numbered(20) for i in range(4)})


@pytest.mark.parametrize(("share", "held"), [(0.0, 0), (0.1, 1), (0.5, 2), (0.99, 3)])
def test_a_share_of_the_clips_is_held_out(frames, share, held):
    fitted, kept = (split["frames"] for split in split_held_out({"frames": frames}, share))
    assert (len(fitted), len(kept)) == (4 - held, held)
    assert {*fitted, *kept} == set(frames)


def test_of_a_single_clip_the_end_is_held_out_in_every_stream(store_clips):
    streams = {"frames": store_clips({"train/01": numbered(50)}), "flow": store_clips({"train/01": flow(50)})}
    fitted, held = split_held_out(streams, 0.2, shortest=5)
    assert fitted["frames"]["train/01"].array()[:, 0, 0, 0].tolist() == list(range(40))
    assert fitted["flow"]["train/01"].array()[:, 0, 0, 0].tolist() == list(range(39)), "no motion into the other part"
    assert list(held["frames"]) == list(held["flow"]) == ["train/01@40"]
    assert held["frames"]["train/01@40"].array()[:, 0, 0, 0].tolist() == list(range(40, 50))
    assert held["flow"]["train/01@40"].array()[:, 0, 0, 0].tolist() == list(range(40, 49))
    assert held["frames"]["train/01@40"].split == "train"
    again = with_parts(streams, ["train/01@40"])
    assert again["flow"]["train/01@40"] == held["flow"]["train/01@40"]
    assert set(again["frames"]) == {"train/01", "train/01@40"}


@pytest.mark.parametrize(("frames_", "shortest", "first"), [(50, 16, 34), (31, 16, None), (32, 16, 16), (50, 30, None)])
def test_a_part_is_never_shorter_than_a_window(store_clips, frames_, shortest, first):
    clips = store_clips({"train/01": numbered(frames_)})
    fitted, held = split_held_out({"frames": clips}, 0.1, shortest)
    assert list(held["frames"]) == ([] if first is None else [f"train/01@{first}"])
    assert len(fitted["frames"]["train/01"]) == (frames_ if first is None else first)


def test_a_part_of_a_part_counts_from_the_whole_clip(store_clips):
    clip = store_clips({"train/01": numbered(50)})["train/01"]
    inner = clip.part("train/01@10", 10, 40).part("train/01@15", 5, 20)
    assert inner.array()[:, 0, 0, 0].tolist() == list(range(15, 30))
    assert inner.fingerprint == clip.part("other", 15, 30).fingerprint != clip.part("other", 15, 31).fingerprint


def test_names_of_clips_that_are_gone_are_passed_over(frames):
    assert set(with_parts({"frames": frames}, ["train/09@3", "train/00"])["frames"]) == set(frames)
    assert set(with_parts({"frames": Clips({})}, ["train/09@3"])["frames"]) == set()
