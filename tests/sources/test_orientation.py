"""A picture is shown as the file's display matrix says: turned, mirrored, or both."""

import numpy as np
import pytest

from tests.sources.test_videos import with_matrix
from vad_pipeline.sources.videos import VideosConfig, read_videos

CORNERS = np.kron(np.array([[30, 90], [150, 220]], np.uint8), np.ones((24, 32), np.uint8))
PICTURE = np.repeat(CORNERS[..., None], 3, axis=-1)

# (a, b, c, d): the pixel at (x, y) is shown at (a x + c y, b x + d y); and the same in words
EIGHT = {
    "as it is": ((1, 0, 0, 1), lambda image: image),
    "mirrored left to right": ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
    "mirrored top to bottom": ((1, 0, 0, -1), lambda image: image[::-1]),
    "upside down": ((-1, 0, 0, -1), lambda image: image[::-1, ::-1]),
    "clockwise": ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
    "counterclockwise": ((0, -1, 1, 0), lambda image: np.rot90(image)),
    "transposed": ((0, 1, 1, 0), lambda image: image.swapaxes(0, 1)),
    "transposed along the other diagonal": ((0, -1, -1, 0), lambda image: np.rot90(image, 2).swapaxes(0, 1)),
}


def frames_of(path, **settings):
    (raw,) = read_videos(VideosConfig(str(path), **settings))
    return np.stack(list(raw.frames()))


@pytest.mark.parametrize("name", EIGHT)
def test_a_picture_is_turned_and_mirrored(tmp_path, write_video, name):
    matrix, seen = EIGHT[name]
    path = write_video(tmp_path / "a.mp4", [PICTURE] * 2)
    stored = frames_of(path)
    with_matrix(path, *matrix)
    shown = frames_of(path)
    np.testing.assert_array_equal(shown[1], seen(stored[1]))
    np.testing.assert_allclose(shown[0].astype(int), seen(PICTURE), atol=8)


@pytest.mark.parametrize("name", EIGHT)
def test_the_region_of_interest_is_drawn_on_what_is_shown(tmp_path, write_video, write_image, name):
    matrix, seen = EIGHT[name]
    path = write_video(tmp_path / "a.mp4", [PICTURE] * 2)
    with_matrix(path, *matrix)
    region = np.full(seen(PICTURE).shape[:2], 255, np.uint8)
    region[:20, :25] = 0
    frame = frames_of(path, region_of_interest=str(write_image(tmp_path / "region.png", region)))[0]
    assert not frame[:20, :25].any()
    assert frame[region == 255].all()


def test_a_gray_video_is_mirrored_too(tmp_path, write_video):
    path = write_video(tmp_path / "a.mp4", [PICTURE] * 2)
    plain = frames_of(path)
    with_matrix(path, -1, 0, 0, 1)
    np.testing.assert_array_equal(frames_of(path, frame_stride=2), plain[:1, :, ::-1])
