import pytest

from vad_pipeline.clips.window import Window

PED2 = (180, 180, 150, 180, 150, 180, 180, 180, 120, 150, 180, 180)


@pytest.mark.parametrize(("window", "scored"), [(Window(5, 4), 1962), (Window(16, 8), 1830), (Window(1, 0), 2010)])
def test_scored_frames_of_ped2_are_as_published(window, scored):
    assert sum(len(window.scored(length)) for length in PED2) == scored


def test_a_reconstruction_window_drops_eight_frames_before_and_seven_after():
    assert Window(16, 8).scored(180) == range(8, 173)
