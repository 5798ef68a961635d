"""What flow does to pictures: warping by it, the error that remains, and flow at another size."""

import cv2
import numpy as np

from vad_pipeline.clips.resize import to_gray


def warp(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """The later image as it looks from the earlier one: ``warp(later, flow)[y, x] = later[y + flow_y, x + flow_x]``.

    Bilinear; beyond the border the image continues with its outermost pixels.

    Args:
        image: (H, W) or (H, W, C), uint8 or float32.
        flow: (H, W, 2), pixels from the earlier to the later image, x first; any float type.

    Returns:
        An array of the image's shape and type.

    Raises:
        ValueError: image and flow differ in size.

    >>> warp(np.arange(12, dtype=np.float32).reshape(3, 4), np.tile(np.float32([1, 0]), (3, 4, 1)))[0]
    array([1., 2., 3., 3.], dtype=float32)
    """
    height, width = image.shape[:2]
    if flow.shape != (height, width, 2):
        raise ValueError(f"an image of {height}x{width} needs flow ({height}, {width}, 2), not {flow.shape}")
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    flow = flow.astype(np.float32)
    warped = cv2.remap(image, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return warped.reshape(image.shape)


def photometric_error(
    earlier: np.ndarray, later: np.ndarray, flow: np.ndarray, where: np.ndarray | None = None
) -> float:
    """Mean absolute difference, in gray levels (0 to 255), of the earlier frame and the later one warped to it.

    Zero flow gives the error of assuming no motion. Newly uncovered ground has no counterpart, so that even true flow
    leaves an error.

    Args:
        earlier, later: uint8 (H, W, 1) gray or (H, W, 3) RGB.
        flow: (H, W, 2), pixels.
        where: bool (H, W), the pixels to average over; None takes all. NaN where it holds none.
    """
    difference = np.abs(warp(to_gray(later).astype(np.float32), flow) - to_gray(earlier))
    if where is not None:
        difference = difference[where]
    return float(difference.mean()) if difference.size else float("nan")


def resize_flow(flow: np.ndarray, height: int, width: int) -> np.ndarray:
    """Flow (H, W, 2) at another size, float32 (height, width, 2); vectors scale with the picture (spec 1.7).

    Bilinear; x is multiplied by width / W and y by height / H, so that values are pixels of the new size.

    >>> resize_flow(np.ones((4, 4, 2)), 8, 2)[0, 0]
    array([0.5, 2. ], dtype=float32)
    """
    ratio = np.array([width / flow.shape[1], height / flow.shape[0]], np.float32)
    return cv2.resize(flow.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR) * ratio
