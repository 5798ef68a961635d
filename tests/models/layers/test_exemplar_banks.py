"""Banks of velocities, looks and places, each against a slow loop."""

import numpy as np
import pytest
import torch

from vad_pipeline.models.layers.exemplar_banks import (
    FEWEST,
    NEIGHBOURS,
    ROW_UNIT,
    ROWS,
    SLOWEST,
    AppearanceBank,
    VelocityBank,
    crosswise,
    folds_of,
    rarity,
    speeds_by_row,
)

HEIGHT = 20


def motion_of(seed, n):
    """Cells of things that move to the right, faster further down."""
    random = np.random.default_rng(seed)
    rows, columns = random.integers(0, HEIGHT, n), random.integers(0, 30, n)
    speeds = (1 + rows / 10) * random.uniform(0.5, 1.5, n)
    return np.c_[rows, columns, speeds, random.normal(0, 0.1, n)].astype(np.float32)


def test_a_velocity_s_distance_is_that_of_a_slow_loop_over_examples_and_standing_things():
    motion, asked = motion_of(0, 300), motion_of(1, 25)
    speeds = speeds_by_row(motion, HEIGHT)
    bank = [(row, vx, vy) for row, _, vx, vy in motion]
    bank += [(row, 0.0, 0.0) for row in range(HEIGHT) for _ in range(NEIGHBOURS)]
    slow = []
    for row, _, vx, vy in asked:
        distances = []
        for other, ox, oy in bank:
            mine, theirs = speeds[0][int(row)], speeds[0][int(other)]
            apart = np.hypot(vx / mine - ox / theirs, vy / mine - oy / theirs)
            distances.append(np.hypot(apart, (row - other) / ROW_UNIT))
        slow.append(np.mean(sorted(distances)[:NEIGHBOURS]))
    np.testing.assert_allclose(VelocityBank(motion, speeds).distance(asked), slow, rtol=1e-5)


def test_what_moves_against_the_flow_or_faster_lies_far_and_what_stands_lies_near():
    motion = motion_of(0, 3000)
    bank = VelocityBank(motion, speeds_by_row(motion, HEIGHT))
    usual, against, fast, standing = bank.distance(
        np.array([[10, 5, 2, 0], [10, 5, -2, 0], [10, 5, 8, 0], [10, 5, 0, 0]])
    )
    assert usual < 0.1
    assert standing < 0.1
    assert against > 0.8, "nearer to what stands than its own speed it cannot be"
    assert fast > 2


def test_a_speed_counts_relative_to_the_fast_ones_around_its_row_and_creeping_is_as_standing():
    motion = motion_of(0, 3000)
    speeds = speeds_by_row(motion, HEIGHT)
    bank = VelocityBank(motion, speeds)
    low, high, still, creeping = bank.speed(
        np.array([[2, 0, 3, 0], [18, 0, 3, 0], [2, 0, 0, 0], [2, 0, 0, SLOWEST / 2]])
    )
    assert low == pytest.approx(np.log(3 / speeds[1][2]), rel=1e-5)
    assert low > high, "nearer things move faster"
    assert still == creeping


def test_usual_speeds_of_rows_are_those_of_a_slow_loop():
    motion = motion_of(2, 1200)
    motion = motion[(motion[:, 0] < 6) | (motion[:, 0] > 13)]
    slow = {}
    for row in range(HEIGHT):
        near = [np.hypot(vx, vy) for r, _, vx, vy in motion if abs(r - row) <= ROWS]
        if len(near) >= FEWEST:
            slow[row] = np.median(near), np.quantile(near, 0.95)
    found = speeds_by_row(motion, HEIGHT)
    assert 0 < len(slow) <= HEIGHT
    for row, values in slow.items():
        np.testing.assert_allclose(found[:, row], values, rtol=1e-5)


def test_rows_without_enough_examples_take_the_speeds_of_the_nearest_that_have_them():
    motion = np.tile(np.array([[3, 0, 2, 0]], np.float32), (FEWEST, 1))
    assert (speeds_by_row(motion, HEIGHT) == 2).all()
    few = motion[: FEWEST // 4]
    assert (speeds_by_row(few, HEIGHT) == 2).all(), "of few examples all rows take all"


def test_an_appearance_s_distance_is_that_of_a_slow_loop_over_examples():
    random = np.random.default_rng(0)
    looks = torch.from_numpy(random.normal(3, [1, 5, 0.2], (60, 3)).astype(np.float32))
    asked = torch.from_numpy(random.normal(3, [1, 5, 0.2], (1100, 3)).astype(np.float32))
    mean, deviation = looks.mean(dim=0), looks.std(dim=0, correction=0)
    slow = [min(float(((one - other) / deviation).norm()) for other in looks[:30]) for one in asked[::50]]
    found = AppearanceBank(looks[:30], looks).distance(asked)
    np.testing.assert_allclose(found[::50], slow, rtol=1e-3, atol=1e-3)
    assert mean.shape == (3,)
    assert len(AppearanceBank(looks, looks).distance(asked[:0])) == 0


def test_a_feature_that_never_varies_gives_no_infinite_distance():
    looks = torch.tensor([[1.0, 2.0], [3.0, 2.0]])
    assert np.isfinite(AppearanceBank(looks, looks).distance(torch.tensor([[1.0, 2.5]]))).all()


def test_rarity_is_that_of_a_slow_loop_and_highest_where_nothing_ever_was():
    occupied = np.random.default_rng(0).integers(0, 50, (12, 14))
    occupied[:, 9:] = 0
    reach = np.arange(-6, 7)
    weights = np.exp(-(reach**2) / (2 * 1.5**2))
    weights /= weights.sum()
    padded = np.pad(occupied, 6, mode="reflect")
    slow = np.zeros(occupied.shape)
    for row, column in np.ndindex(*occupied.shape):
        share = sum(
            weights[i] * weights[j] * padded[row + i, column + j] for i in range(len(reach)) for j in range(len(reach))
        )
        slow[row, column] = -np.log((share + 0.1) / 101)
    found = rarity(occupied, 100)
    np.testing.assert_allclose(found, slow, rtol=1e-6)
    assert found.argmax() % 14 > 10


@pytest.mark.parametrize("seed", range(3))
def test_crosswise_compares_each_example_with_those_of_other_folds_alone(seed):
    random = np.random.default_rng(seed)
    values, folds = random.normal(size=40), random.integers(0, 5, 40)

    def nearest(others, mine):
        return np.abs(values[mine][:, None] - values[others]).min(axis=1)

    slow = [
        min(abs(values[i] - values[j]) for j in range(40) if folds[j] != folds[i])
        for fold in sorted(set(folds))
        for i in range(40)
        if folds[i] == fold
    ]
    np.testing.assert_allclose(crosswise(folds, nearest), slow)


def test_a_single_fold_has_nothing_to_be_compared_with():
    assert len(crosswise(np.zeros(10, int), lambda *_: np.ones(10))) == 0


def test_folds_are_blocks_of_footage_or_shorter_parts_where_there_are_too_few_blocks():
    parts = np.arange(30)
    many, few = np.repeat([16, 33, 50], 10), np.repeat([16, 33, 33], 10)
    by_block, kind = folds_of(np.c_[many, parts])
    assert (by_block.tolist(), kind) == (np.repeat([0, 1, 2], 10).tolist(), 0)
    by_part, kind = folds_of(np.c_[few, parts])
    assert (by_part.tolist(), kind) == ((parts % 16).tolist(), 1)
