import numpy as np
import pytest
import torch

from vad_pipeline.models.layers.patches import PatchGrid, moving_threshold, patch_motion


def frames(n=3, height=24, width=40, colours=3):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, height, width, colours), dtype=torch.uint8, generator=generator)


def test_unfolding_then_folding_gives_the_frame_back():
    stored, grid = frames(), PatchGrid.of(24, 40, 8)
    assert (grid.rows, grid.columns, grid.count) == (3, 5, 15)
    assert torch.equal(grid.fold(grid.unfold(stored)), stored)


def test_patches_are_those_that_a_loop_cuts_out_and_nothing_is_copied():
    stored, grid = frames(), PatchGrid.of(24, 40, 8)
    patches = grid.unfold(stored)
    for n in range(3):
        for row in range(3):
            for column in range(5):
                cut = stored[n, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
                assert torch.equal(patches[n, row, column], cut)
    assert patches.untyped_storage().data_ptr() == stored.untyped_storage().data_ptr()


def test_patches_never_mix_frames():
    stored, grid = frames(), PatchGrid.of(24, 40, 8)
    before = grid.unfold(stored).clone()
    stored[1] = 255 - stored[1]
    after = grid.unfold(stored)
    assert torch.equal(after[[0, 2]], before[[0, 2]])
    assert torch.equal(after[1], 255 - before[1])


def test_of_other_sizes_the_middle_is_taken():
    stored, grid = frames(height=27, width=45), PatchGrid.of(27, 45, 8)
    assert (grid.top, grid.left) == (1, 2)
    assert torch.equal(grid.fold(grid.unfold(stored)), stored[:, 1:25, 2:42])


def test_a_frame_smaller_than_a_patch_is_refused():
    with pytest.raises(ValueError, match="40x24 are smaller than a patch of 30x30"):
        PatchGrid.of(24, 40, 30)


def test_motion_is_the_mean_absolute_difference_to_the_frame_before():
    stored, grid = frames(), PatchGrid.of(27, 45, 8)
    stored = frames(height=27, width=45)
    motion = patch_motion(stored[1:], stored[:-1], grid)
    numbers = stored.numpy().astype(float) / 255
    for n in range(2):
        difference = np.abs(numbers[n + 1] - numbers[n])[1:25, 2:42]
        expected = [[difference[8 * r : 8 * r + 8, 8 * c : 8 * c + 8].mean() for c in range(5)] for r in range(3)]
        np.testing.assert_allclose(motion[n], expected, atol=1e-6)


def test_the_threshold_lies_between_still_and_moving_patches():
    random = np.random.default_rng(0)
    still, moving = random.lognormal(np.log(0.002), 0.3, 3000), random.lognormal(np.log(0.04), 0.4, 400)
    threshold = moving_threshold(np.r_[still, moving])
    assert (still < threshold).mean() > 0.995
    assert (moving > threshold).mean() > 0.97


def test_patches_that_all_move_alike_all_move():
    assert moving_threshold(np.full(10, 0.1)) < 0.1


def test_a_patch_s_score_is_spread_over_its_pixels_and_nowhere_else():
    grid = PatchGrid.of(27, 45, 8)
    scores = torch.arange(1.0, 16).view(1, 3, 5)
    spread = grid.spread(scores, 27, 45, 1)
    assert torch.equal(grid.unfold(spread[..., None]).amax((3, 4, 5)), scores)
    assert torch.equal(grid.unfold(spread[..., None]).amin((3, 4, 5)), scores)
    assert spread[:, 0].sum() == 0
    assert spread[:, :, 42:].sum() == 0
    coarse = grid.spread(scores, 27, 45, 4)
    assert coarse.shape == (1, 6, 11)
    assert coarse[0, 1, 1] == 1
