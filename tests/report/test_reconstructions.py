import numpy as np
import pytest

from vad_pipeline.report.reconstructions import Example, examples_of, examples_table, reconstructions_figure


def example(abnormal, value, shape=(6, 9, 1)):
    return Example("test/1", value, abnormal, np.full(shape, value, np.uint8), np.full(shape, value + 1, np.uint8))


def test_examples_survive_being_a_table():
    given = [example(False, 5), example(True, 9, (4, 4, 3))]
    for one, other in zip(given, examples_of(examples_table(given)), strict=True):
        assert (one.clip, one.number, one.abnormal) == (other.clip, other.number, other.abnormal)
        np.testing.assert_array_equal(one.seen, other.seen)
        np.testing.assert_array_equal(one.expected, other.expected)


def test_what_was_seen_stands_above_what_was_made_of_it_normal_left_abnormal_right():
    figure = reconstructions_figure({"0": [example(False, 10), example(False, 20), example(True, 30)]})
    left, right = (axis.images[0].get_array() for axis in figure.axes)
    assert (left[:6, :9] == 10).all()
    assert (left[7:, :9] == 11).all()
    assert (left[:6, 10:19] == 20).all()
    assert (right[:6, :9] == 30).all()
    assert (right[:, 10:] == 255).all(), "white where there are fewer of one kind"
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["normal", "abnormal"]


@pytest.mark.parametrize("groups", [{}, {"": []}, {"0": [example(True, 3)], "1": []}])
def test_missing_examples_leave_gaps_and_no_error(groups):
    assert reconstructions_figure(groups).axes
