import pytest
import torch

from vad_pipeline.models.layers.temporal_shift import shift_frames, shift_segments


def ramp(segments, channels):
    """(1, segments * channels, 2, 3), each entry the number of its segment, from 1."""
    numbers = torch.arange(1.0, segments + 1).repeat_interleave(channels)
    return numbers.view(1, -1, 1, 1).expand(-1, -1, 2, 3)


def test_a_sixteenth_of_each_segment_comes_from_the_next_and_from_nowhere_in_the_last():
    shifted = shift_segments(ramp(4, 32), segments=4).unflatten(1, (4, 32))
    for segment, later in enumerate((2.0, 3.0, 4.0, 0.0)):
        assert shifted[0, segment, :2].unique().tolist() == [later]
        assert shifted[0, segment, 2:].unique().tolist() == [segment + 1]


def test_the_shift_of_segments_keeps_places():
    features = torch.randn(2, 64, 3, 5)
    shifted = shift_segments(features, segments=4)
    assert torch.equal(shifted[:, 0], features[:, 16])
    assert torch.equal(shifted[:, 1:16], features[:, 1:16])


def test_frames_give_an_eighth_to_either_side():
    shifted = shift_frames(ramp(4, 16).unflatten(1, (4, 16)))
    for frame in range(4):
        assert shifted[0, frame, :2].unique().tolist() == [frame + 2 if frame < 3 else 0]
        assert shifted[0, frame, 2:4].unique().tolist() == [frame]
        assert shifted[0, frame, 4:].unique().tolist() == [frame + 1]


@pytest.mark.parametrize("channels", [2, 3, 7])
def test_something_moves_however_narrow_the_features(channels):
    features = torch.randn(1, 4, channels, 2, 2)
    assert torch.equal(shift_frames(features)[:, :3, 0], features[:, 1:, 0])
    assert torch.equal(shift_frames(features)[:, 1:, 1], features[:, :3, 1])
    segments = shift_segments(features.flatten(1, 2), 4).unflatten(1, (4, channels))
    assert torch.equal(segments[:, :3, 0], features[:, 1:, 0])
