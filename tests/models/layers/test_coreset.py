"""Banks of a set size that do not depend on the order of the footage."""

import numpy as np
import torch

from vad_pipeline.models.layers.coreset import content_of, kept, priorities


def bank_of(parts, size):
    bank = {"values": torch.zeros(0, 2), "ranks": torch.zeros(0, dtype=torch.int64)}
    for values, ranks in parts:
        bank = kept(bank, {"values": values, "ranks": ranks}, size)
    return bank["values"], bank["ranks"]


def parts_of(seed, sizes):
    random = np.random.default_rng(seed)
    frames = random.integers(0, 256, (len(sizes), 4, 4), np.uint8)
    return [
        (
            torch.from_numpy(random.normal(size=(n, 2)).astype(np.float32)),
            torch.from_numpy(priorities(content_of(f), n)),
        )
        for f, n in zip(frames, sizes, strict=True)
    ]


def test_the_order_of_the_parts_changes_nothing():
    parts = parts_of(0, [5, 40, 1, 17, 0, 30])
    first, ranks = bank_of(parts, 25)
    other, other_ranks = bank_of(parts[::-1], 25)
    assert len(first) == 25
    assert torch.equal(first, other)
    assert torch.equal(ranks, other_ranks)


def test_banks_of_parts_merge_into_that_of_the_whole():
    parts = parts_of(1, [30, 30, 30, 30])
    halves = [bank_of(parts[:2], 20), bank_of(parts[2:], 20)]
    merged, _ = bank_of(halves, 20)
    whole, _ = bank_of(parts, 20)
    assert torch.equal(merged, whole)


def test_a_bank_is_a_uniform_sample_of_all_examples():
    parts = [
        (torch.full((200, 2), float(number)), torch.from_numpy(priorities(1000 + number, 200))) for number in range(50)
    ]
    bank, _ = bank_of(parts, 2000)
    counts = np.bincount(bank[:, 0].long().numpy(), minlength=50)
    assert abs(counts - 40).max() < 5 * np.sqrt(40), "a fifth of each part, give or take"


def test_a_bank_that_is_not_full_keeps_everything():
    bank, ranks = bank_of(parts_of(2, [3, 4]), 100)
    assert len(bank) == 7
    assert (ranks.diff() >= 0).all()


def test_priorities_follow_from_the_content_alone_and_differ_within_a_frame():
    frame = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert (priorities(content_of(frame), 9) == priorities(content_of(frame.copy()), 9)).all()
    assert len(set(priorities(content_of(frame), 1000))) == 1000
    assert (priorities(content_of(frame), 9) != priorities(content_of(frame[::-1]), 9)).all()
    assert (priorities(content_of(frame), 1000) >= 0).all()
