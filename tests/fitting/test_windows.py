import threading

import numpy as np
import pytest
import torch

from vad_pipeline.clips.window import Stream
from vad_pipeline.fitting.loaders import EpochSampler, training_loader
from vad_pipeline.fitting.windows import WindowError, Windows
from vad_pipeline.models.layers.pixels import scale_frames


def numbered(n, clip=0, channels=1):
    frames = np.zeros((n, 6, 8, channels), np.uint8)
    frames += np.arange(n, dtype=np.uint8)[:, None, None, None] + 50 * clip
    return frames


def windows_of(clips, length, stride=1):
    return Windows(clips, {name: Stream(range(length)) for name in clips}, length, stride)


def test_windows_never_cross_a_clip_boundary(store_clips):
    windows = windows_of({"frames": store_clips({"train/01": numbered(7), "train/02": numbered(6, 1)})}, length=5)
    assert len(windows) == 3 + 2
    batch = windows.__getitems__(range(5))
    assert batch["frames"].shape == (5, 5, 6, 8, 1)
    assert batch["frames"].dtype == torch.uint8
    starts = batch["frames"][:, :, 0, 0, 0]
    torch.testing.assert_close(
        starts, torch.tensor([0, 1, 2, 50, 51], dtype=torch.uint8)[:, None] + torch.arange(5).byte()
    )


def test_a_stride_spaces_the_windows(store_clips):
    windows = windows_of({"frames": store_clips({"train/01": numbered(40)})}, length=16, stride=16)
    assert windows.starts[:, 1].tolist() == [0, 16]


def test_flow_repeats_its_last_row_where_a_window_needs_one_more(store_clips):
    flow = np.arange(6, dtype=np.float16).reshape(6, 1, 1, 1) * np.ones((1, 6, 8, 2), np.float16)
    windows = windows_of({"frames": store_clips({"train/01": numbered(7)}), "flow": store_clips({"train/01": flow})}, 5)
    batch = windows.__getitems__([0, 2])
    assert batch["flow"][0, :, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert batch["flow"][1, :, 0, 0, 0].tolist() == [2, 3, 4, 5, 5]


def test_a_window_sees_the_rows_that_its_stream_declares(store_clips):
    flow = np.arange(8, dtype=np.float16).reshape(8, 1, 1, 1) * np.ones((1, 6, 8, 2), np.float16)
    clips = {"frames": store_clips({"train/01": numbered(9)}), "flow": store_clips({"train/01": flow})}
    windows = Windows(clips, {"frames": Stream(range(5)), "flow": Stream(range(1, 3))}, 5)
    batch = windows.__getitems__([2])
    assert batch["frames"][0, :, 0, 0, 0].tolist() == [2, 3, 4, 5, 6]
    assert batch["flow"][0, :, 0, 0, 0].tolist() == [3, 4]


def test_flow_alone_says_how_many_frames_there_are(store_clips):
    windows = windows_of({"flow": store_clips({"train/01": np.zeros((6, 6, 8, 2), np.float16)})}, 5)
    assert len(windows) == 7 - 5 + 1


def test_a_clip_shorter_than_the_window_is_named(store_clips):
    clips = store_clips({"train/01": numbered(9), "train/07": numbered(3)})
    with pytest.raises(WindowError, match="clip train/07: 3 frames, a window needs 5"):
        windows_of({"frames": clips}, length=5)


def test_scaling_is_exact_to_a_rounding_of_the_plain_formula():
    frames = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16, 1).repeat(1, 1, 1, 1, 3)
    scaled = scale_frames(frames)
    assert scaled.dtype == torch.float32
    assert scaled.shape == (1, 1, 3, 16, 16)
    torch.testing.assert_close(scaled, frames.permute(0, 1, 4, 2, 3).float() / 127.5 - 1, rtol=0, atol=2e-7)


def test_the_order_of_an_epoch_depends_on_seed_and_epoch_alone():
    def order(seed, epoch):
        sampler = EpochSampler(100, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert sorted(order(0, 0)) == list(range(100))
    assert sorted(order(0, 3)) == list(range(300, 400)), "items of every epoch have numbers of their own"
    assert order(0, 3) == order(0, 3)
    assert [number - 100 for number in order(0, 4)] != order(0, 3)
    assert order(0, 3) != order(1, 3)
    assert order(None, 3) == list(range(300, 400)), "without a seed in their own order"


def test_the_loader_delivers_every_window_once(store_clips):
    clips = store_clips({"train/01": numbered(12), "train/02": numbered(12, 1)})
    loader = training_loader(windows_of({"frames": clips}, 5), batch_size=4, seed=3)
    seen = torch.cat([batch["index"] for batch in loader])
    assert sorted(seen.tolist()) == list(range(16))


def test_fewer_windows_than_a_batch_still_train(store_clips):
    loader = training_loader(windows_of({"frames": store_clips({"train/01": numbered(6)})}, 5), batch_size=8, seed=0)
    assert [len(batch["index"]) for batch in loader] == [2]


def test_reading_ahead_keeps_the_order_of_the_sampler(store_clips):
    windows = windows_of({"frames": store_clips({"train/01": numbered(40)})}, 5)
    loader = training_loader(windows, batch_size=4, seed=3)
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        expected = [number % len(windows) for number in loader.sampler]
        assert torch.cat([batch["index"] for batch in loader]).tolist() == expected


def test_an_error_while_reading_ahead_reaches_the_training(store_clips):
    windows = windows_of({"frames": store_clips({"train/01": numbered(40)})}, 5)
    windows.starts = np.concatenate([windows.starts, [[7, 0]]])  # of a clip that is not there
    with pytest.raises(IndexError):
        list(training_loader(windows, batch_size=4, seed=3))


def test_a_loop_that_ends_early_leaves_no_reader_behind(store_clips):
    loader = training_loader(windows_of({"frames": store_clips({"train/01": numbered(40)})}, 5), batch_size=4, seed=3)
    readers = []
    fetch = loader.dataset.__getitems__
    loader.dataset.__getitems__ = lambda indices: (readers.append(threading.current_thread()), fetch(indices))[1]
    batches = iter(loader)
    next(batches)
    (reader,) = set(readers)
    assert reader is not threading.current_thread()
    assert reader.is_alive()
    batches.close()
    assert not reader.is_alive()
