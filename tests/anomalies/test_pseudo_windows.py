import numpy as np
import pytest
import torch

from vad_pipeline.anomalies.pseudo_windows import PseudoAnomalies, PseudoWindows
from vad_pipeline.clips.window import Stream
from vad_pipeline.fitting.loaders import EpochSampler, training_loader
from vad_pipeline.fitting.windows import WindowError

LENGTH = 4


def counting(n, clip):
    """Frames whose pixels tell clip and frame."""
    return np.broadcast_to((40 * clip + np.arange(n, dtype=np.uint8))[:, None, None, None], (n, 12, 14, 1)).copy()


@pytest.fixture
def frames(store_clips):
    return store_clips({f"train/{i:02d}": counting(20, i) for i in range(3)})


@pytest.fixture
def stored(store_clips):
    """Twins of all frames, 100 gray levels brighter; of the last clip frames 8 to 14 only."""
    arrays = {f"train/{i:02d}@0": counting(20, i) + 100 for i in range(2)}
    return store_clips(arrays | {"train/02@8": counting(20, 2)[8:15] + 100})


def windows(frames, source, probability=1.0, stored=None, seed=0, **settings):
    pseudo = PseudoAnomalies(source, probability, **settings)
    return PseudoWindows({"frames": frames}, {"frames": Stream(range(LENGTH))}, LENGTH, 1, pseudo, stored, seed)


def consecutive(target):
    first = target[:, :1].float()
    return torch.equal(target.float(), first + torch.arange(LENGTH).view(1, -1, 1, 1, 1))


@pytest.mark.parametrize("source", ["stored", "patch", "skip_frame"])
def test_the_target_is_normal_whatever_the_model_sees(frames, stored, source):
    made = windows(frames, source, 0.5, stored)
    batch = made.__getitems__(range(len(made)))
    assert consecutive(batch["target"])
    assert set(batch["target"][:, 0, 0, 0, 0].tolist()) <= {40 * c + f for c in range(3) for f in range(17)}
    normal = ~batch["pseudo"]
    assert 0.3 < float(normal.float().mean()) < 0.7
    assert torch.equal(batch["frames"][normal], batch["target"][normal])
    assert (batch["frames"] != batch["target"]).flatten(1).any(dim=1)[batch["pseudo"]].all()


def test_a_stored_window_is_the_twin_of_its_target(frames, stored):
    made = windows(frames, "stored", 1.0, stored)
    batch = made.__getitems__(range(len(made)))
    assert batch["pseudo"].all()
    assert torch.equal(batch["frames"].int(), batch["target"].int() + 100)
    for row, (clip, start) in enumerate(made.starts):
        if clip < 2:  # its own twin exists
            assert int(batch["target"][row, 0, 0, 0, 0]) == 40 * clip + start
        elif not 8 <= start <= 11:  # another twin, with its own target
            assert int(batch["target"][row, 0, 0, 0, 0]) != 40 * clip + start


def test_a_skipped_window_leaves_frames_out_and_is_answered_by_consecutive_ones(frames):
    batch = windows(frames, "skip_frame").__getitems__(range(30))
    seen = batch["frames"][:, :, 0, 0, 0].int()
    steps = seen.diff(dim=1)
    assert torch.equal(seen[:, 0], batch["target"][:, 0, 0, 0, 0].int())
    assert set(steps[:, 0].tolist()) == {2, 3, 4, 5}


@pytest.mark.parametrize("source", ["stored", "patch", "skip_frame"])
def test_equal_seeds_give_equal_windows_and_epochs_differ(frames, stored, source):
    first, again, other = (windows(frames, source, 0.5, stored, seed) for seed in (0, 0, 1))
    numbers = range(len(first))
    one = first.__getitems__(numbers)
    assert all(torch.equal(one[name], value) for name, value in again.__getitems__(numbers).items())
    assert not torch.equal(one["pseudo"], other.__getitems__(numbers)["pseudo"])
    next_epoch = first.__getitems__([len(first) + number for number in numbers])
    assert not torch.equal(one["pseudo"], next_epoch["pseudo"])
    # the same number is the same window, whoever fetches it and with whatever else
    alone = again.__getitems__([5])
    assert all(torch.equal(alone[name][0], one[name][5]) for name in ("frames", "target", "pseudo"))


def test_worker_processes_draw_what_one_process_draws(frames, stored):
    from torch.utils.data import DataLoader

    made = windows(frames, "patch", 0.5, stored)
    sampler = EpochSampler(len(made), 0)

    def first_epoch(workers):
        loader = DataLoader(made, batch_size=5, sampler=sampler, num_workers=workers, collate_fn=lambda batch: batch)
        return torch.cat([batch["frames"] for batch in loader])

    assert torch.equal(first_epoch(0), first_epoch(2))


def test_an_epoch_shows_every_window_once(frames, stored):
    made = windows(frames, "stored", 0.0, stored)
    loader = training_loader(made, 4, 0)
    loader.sampler.set_epoch(2)
    seen = torch.cat([batch["target"][:, 0, 0, 0, 0] for batch in loader]).tolist()
    assert len(seen) == len(set(seen)) == len(made) // 4 * 4


def test_runs_that_are_too_short_are_named(frames, store_clips):
    short = store_clips({"train/00@0": counting(3, 0)})
    with pytest.raises(WindowError, match=r"no pseudo-anomalous run of 4 frames or more.*pool.run of at least 4"):
        windows(frames, "stored", stored=short)
    elsewhere = store_clips({"train/77@0": counting(9, 0)})
    with pytest.raises(WindowError, match="no pseudo-anomalous run"):
        windows(frames, "stored", stored=elsewhere)
