"""Video of more than 8 bits is scaled to 8, and never wrapped."""

import av
import numpy as np
import pytest

from vad_pipeline.sources.videos import read_video

HEIGHT, WIDTH = 47, 63  # odd: rows end between the registers of a processor
RAMP = np.linspace(0, 65535, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)


def write(path, codec, frame):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, frame.format.name
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).format.name == frame.format.name
    return path


def of_planes(pix_fmt, *planes):
    """A frame of these values, whatever they mean."""
    frame = av.VideoFrame(planes[0].shape[1], planes[0].shape[0], pix_fmt)
    for plane, values in zip(frame.planes, planes, strict=True):
        padded = np.zeros((plane.height, plane.line_size // 2), np.uint16)
        padded[:, : values.shape[1]] = values
        plane.update(padded.tobytes())
    return frame


@pytest.mark.parametrize(
    "pix_fmt",
    ["gray9le", "gray10le", "gray12le", "gray14le", "gray16le", "yuv444p10le", "yuv420p12le", "gbrp10le", "gbrp16le"],
)
@pytest.mark.parametrize("turned", [False, True])
def test_a_ramp_stays_a_ramp(tmp_path, pix_fmt, turned):
    values = np.ascontiguousarray(RAMP[::-1, ::-1]) if turned else RAMP
    frame = av.VideoFrame.from_ndarray(values, format="gray16le").reformat(format=pix_fmt)
    (image,) = read_video(write(tmp_path / "a.mkv", "ffv1", frame), 1, None, "error")
    assert image.shape == (HEIGHT, WIDTH, 1 if "gray" in pix_fmt else 3)
    assert image.dtype == np.uint8
    assert np.abs(image - values[..., None] / 257).max() < 3.5


@pytest.mark.parametrize("pix_fmt", ["yuv444p10le", "yuv444p12le", "yuv444p16le"])
def test_colours_beyond_the_range_are_cut_off(tmp_path, pix_fmt):
    """All pairs of extremes of brightness and colour, in blocks; expected is ITU-R BT.601."""
    bits = int(pix_fmt.removeprefix("yuv444p").removesuffix("le"))
    levels = np.array([0, 1, 2, 3, 4]) * ((1 << bits) - 1) // 4
    blocks = np.array(np.meshgrid(levels, levels, levels, indexing="ij")).reshape(3, 5, 25)
    y, u, v = (np.kron(block, np.ones((8, 8))).astype(np.uint16) for block in blocks)
    path = write(tmp_path / "a.mkv", "ffv1", of_planes(pix_fmt, y, u, v))
    (image,) = read_video(path, 1, None, "error")
    scale = 1 << (bits - 8)
    luma, blue, red = (y / scale - 16) * 255 / 219, (u / scale - 128) * 255 / 224, (v / scale - 128) * 255 / 224
    expected = np.stack([luma + 1.402 * red, luma - 0.344 * blue - 0.714 * red, luma + 1.772 * blue], axis=-1)
    assert np.abs(image - np.clip(expected, 0, 255)).max() < 4


def test_gray_values_beyond_the_range_are_white(tmp_path):
    values = np.resize(np.arange(0, 65536, 11, dtype=np.uint16), (64, 80))
    frame = of_planes("gray10le", values)
    with av.open(str(tmp_path / "a.nut"), "w") as container:
        stream = container.add_stream("rawvideo", rate=10)
        stream.width, stream.height, stream.pix_fmt = 80, 64, "gray10le"
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (image,) = read_video(tmp_path / "a.nut", 1, None, "error")
    assert np.abs(image[..., 0] - np.minimum(values / 1023, 1) * 255).max() < 1.5
