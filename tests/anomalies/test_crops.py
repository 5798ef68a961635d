import numpy as np
import pytest

from vad_pipeline.anomalies.crops import Square, cut, paste, placed_inside, square_around


@pytest.mark.parametrize("box", [(0, 0, 5, 9), (90, 60, 10, 4), (40, 30, 60, 20), (0, 0, 100, 70)])
def test_a_square_holds_what_it_is_cut_around(box):
    square = square_around(box, 32, 100, 70)
    assert square.side >= max(32, 1.5 * max(box[2:]) - 1)
    assert square.top <= box[0]
    assert square.left <= box[1]
    assert square.top + square.side >= box[0] + box[2]
    assert square.left + square.side >= box[1] + box[3]


def test_a_square_that_fits_lies_inside_the_frame():
    assert placed_inside(Square(-9, 60, 32), 100, 70) == Square(0, 38, 32)
    assert placed_inside(Square(-9, 60, 90), 100, 70) == Square(0, -10, 90)


def test_a_cut_beyond_the_frame_is_mirrored():
    image = np.arange(20, dtype=np.uint8).reshape(4, 5)
    expected = np.pad(image, ((2, 2), (2, 1)), mode="reflect")
    assert np.array_equal(cut(image, Square(-2, -2, 8), 8), expected)
    far = cut(np.arange(3, dtype=np.uint8).reshape(1, 3), Square(-9, -9, 20), 20)
    assert np.array_equal(far[0], np.pad(np.arange(3), (9, 8), mode="reflect"))


@pytest.mark.parametrize("side", [16, 40])
@pytest.mark.parametrize("colours", [1, 3])
def test_what_is_cut_and_pasted_comes_back_where_the_mask_is_true_and_nowhere_else(side, colours):
    smooth = np.linspace(0, 200, 50 * 70 * colours).reshape(50, 70, colours).astype(np.uint8)
    square = placed_inside(Square(30, 60, side), 50, 70)
    mask = np.zeros((50, 70), bool)
    mask[35:45, 62:69] = True
    blank = np.full_like(smooth, 255)
    paste(blank, cut(smooth, square, 16), square, mask)
    assert (blank[~mask] == 255).all()
    assert np.abs(blank[mask].astype(int) - smooth[mask]).max() <= (0 if side == 16 else 8)


def test_a_mask_stays_a_mask():
    mask = np.zeros((50, 70), bool)
    mask[10:30, 10:30] = True
    small = cut(mask, Square(0, 0, 40), 20)
    assert small.dtype == bool
    assert np.array_equal(small, mask[:40:2, :40:2])
