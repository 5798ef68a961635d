"""Of several video streams the recording is read, whatever stands before it."""

from fractions import Fraction

import av
import pytest

from tests.sources.recordings import COUNT, HEIGHT, WIDTH, number_of, picture
from vad_pipeline.sources.video_file import frame_rate
from vad_pipeline.sources.videos import read_video


def record(path, *streams):
    """Writes streams (codec, width, height, pictures, rate)."""
    with av.open(str(path), "w") as container:
        made = []
        for codec, width, height, count, rate in streams:
            stream = container.add_stream(codec, rate=rate)
            stream.width, stream.height = width, height
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            made.append((stream, count, rate))
        for number in range(COUNT):
            for stream, count, rate in made:
                if number < count:
                    frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
                    frame = frame.reformat(stream.width, stream.height, stream.pix_fmt)
                    frame.pts, frame.time_base = number, Fraction(1, rate)
                    container.mux(stream.encode(frame))
        for stream, _, _ in made:
            container.mux(stream.encode())
    return path


RECORDING = ("libx264", WIDTH, HEIGHT, COUNT, 30)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
@pytest.mark.parametrize(
    "other",
    [
        ("mjpeg", 64, 48, 1, 30),
        ("libx264", 64, 48, 1, 25),
        ("mjpeg", 320, 192, 1, 1),
        ("libx264", 64, 48, COUNT, 30),
        ("libx264", 80, 48, 20, 10),
    ],
    ids=["thumbnail", "H.264 thumbnail", "large thumbnail", "preview", "slow preview"],
)
@pytest.mark.parametrize("first", [True, False])
def test_frames_and_rate_are_the_recordings(tmp_path, name, other, first):
    path = record(tmp_path / name, *((other, RECORDING) if first else (RECORDING, other)))
    frames = list(read_video(path, 1, None, "error"))
    assert {frame.shape for frame in frames} == {(HEIGHT, WIDTH, 3)}
    assert [number_of(frame) for frame in frames] == list(range(COUNT))
    assert frame_rate(path) == pytest.approx(30, rel=0.02)
