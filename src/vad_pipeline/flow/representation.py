"""What networks and people see of flow: scaled vectors, vectors with their magnitude, or a coloured picture.

| kind | of flow (..., H, W, 2) makes | range | inverse |
|---|---|---|---|
| ``uv`` | float32 (..., H, W, 2) | [-1, 1] | exact up to ``limit`` |
| ``uv_magnitude`` | float32 (..., H, W, 3) | u, v [-1, 1]; magnitude [0, 1] | exact up to ``limit``, from u and v |
| ``hsv`` | uint8 RGB (..., H, W, 3) | 0 to 255 | to 8-bit precision, up to a magnitude of ``limit`` |

``limit`` is in pixels, 20 where nothing else is said (spec 1.7).
"""

from typing import Literal

import cv2
import numpy as np

Representation = Literal["uv", "uv_magnitude", "hsv"]
LIMIT = 20.0


def represent(flow: np.ndarray, kind: Representation, limit: float = LIMIT) -> np.ndarray:
    """Flow (..., H, W, 2) in pixels, any float type, as the table above says.

    >>> represent(np.zeros((7, 4, 6, 2), np.float16), "uv_magnitude").shape
    (7, 4, 6, 3)
    """
    return {"uv": scaled_uv, "uv_magnitude": uv_magnitude, "hsv": hsv_picture}[kind](flow, limit)


def flow_of(represented: np.ndarray, kind: Representation, limit: float = LIMIT) -> np.ndarray:
    """The inverse of ``represent``: flow float32 (..., H, W, 2) in pixels, as far as the kind keeps it."""
    return {"uv": flow_of_uv, "uv_magnitude": flow_of_uv, "hsv": flow_of_hsv}[kind](represented, limit)


def scaled_uv(flow: np.ndarray, limit: float = LIMIT) -> np.ndarray:
    """Both components clipped to [-limit, limit] pixels and divided by it: float32 (..., H, W, 2) in [-1, 1]."""
    return np.clip(flow.astype(np.float32) / np.float32(limit), -1, 1)


def uv_magnitude(flow: np.ndarray, limit: float = LIMIT) -> np.ndarray:
    """``scaled_uv`` and the vector's length clipped to ``limit`` and divided by it: float32 (..., H, W, 3)."""
    flow = flow.astype(np.float32)
    length = np.minimum(np.hypot(flow[..., :1], flow[..., 1:]) / np.float32(limit), 1)
    return np.concatenate((scaled_uv(flow, limit), length), axis=-1)


def flow_of_uv(represented: np.ndarray, limit: float = LIMIT) -> np.ndarray:
    """Flow float32 (..., H, W, 2) in pixels from ``scaled_uv`` or ``uv_magnitude``; what was clipped stays so."""
    return represented[..., :2].astype(np.float32) * np.float32(limit)


def hsv_picture(flow: np.ndarray, limit: float = LIMIT) -> np.ndarray:
    """The usual colour wheel, uint8 RGB (..., H, W, 3): direction is hue, magnitude is saturation, stillness is white.

    To the right is red, down yellow-green, to the left cyan, up violet (hue is the angle from x towards y, y pointing
    down). Full saturation stands for ``limit`` pixels and more.

    >>> hsv_picture(np.array([[[0.0, 0.0], [20.0, 0.0]]])).tolist()
    [[[255, 255, 255], [255, 0, 0]]]
    """
    shape, flow = flow.shape[:-1], flow.astype(np.float32).reshape(1, -1, 2)
    hue = np.degrees(np.arctan2(flow[..., 1], flow[..., 0])) % 360
    saturation = np.minimum(np.hypot(flow[..., 0], flow[..., 1]) / np.float32(limit), 1)
    rgb = cv2.cvtColor(np.stack((hue, saturation, np.ones_like(hue)), axis=-1), cv2.COLOR_HSV2RGB)
    return np.rint(rgb * 255).astype(np.uint8).reshape(*shape, 3)


def flow_of_hsv(picture: np.ndarray, limit: float = LIMIT) -> np.ndarray:
    """Flow float32 (..., H, W, 2) in pixels from ``hsv_picture``; off by no more than limit / 255 up to ``limit``."""
    rgb = picture.reshape(1, -1, 3).astype(np.float32) / 255
    hue, saturation, _ = cv2.split(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV))
    angle = np.radians(hue)
    flow = np.stack((np.cos(angle), np.sin(angle)), axis=-1) * (saturation * np.float32(limit))[..., None]
    return flow.reshape(*picture.shape[:-1], 2)


def colour_wheel(size: int = 96) -> np.ndarray:
    """The legend of ``hsv_picture``, uint8 RGB (size, size, 3): a pixel has the colour of motion from the centre to it.

    The rim of the disc stands for the picture's ``limit``; outside it is white.
    """
    offset = (np.arange(size, dtype=np.float32) - (size - 1) / 2) / (size / 2)
    flow = np.stack(np.meshgrid(offset, offset), axis=-1)
    flow[np.hypot(flow[..., 0], flow[..., 1]) > 1] = 0
    return hsv_picture(flow, limit=1.0)
