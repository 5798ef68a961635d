"""Crops of normal frames on which a latent inpainter is trained."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from vad_pipeline.anomalies.crops import Square, cut, placed_inside, square_around
from vad_pipeline.anomalies.masks import Masks, components, hole_of_frame
from vad_pipeline.clips.clip import Clips

ELSEWHERE = 0.15  # share of crops that are cut anywhere instead of around an object
RANDOM_HOLES = 0.25  # share of crops with random holes instead of an object's


class Place(NamedTuple):
    """Where an object is: clip, frame, and box (top, left, height, width)."""

    clip: str
    frame: int
    box: tuple[int, int, int, int]


class ObjectCrops(Dataset):
    """Crops around moving objects, with the object and a hole to fill; each a function of (seed, number) alone.

    An item is ``image``, uint8 (size, size, 3), ``object`` and ``hole``, bool (size, size).

    Args:
        frames: uint8 (T, H, W, C).
        objects: bool (T, H, W), of the same clips.
        masks: how holes are made of objects.
        size: pixels.
        seed: of all crops.
        count: items.
    """

    def __init__(self, frames: Clips, objects: Clips, masks: Masks, size: int, seed: int, count: int):
        self.frames, self.objects, self.masks = frames, objects, masks
        self.size, self.seed, self.count = size, seed, count
        self.names = list(frames)
        self.places = places_of(objects)
        self._arrays: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {name: rows[0] for name, rows in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        crops = [self._crop(index) for index in indices]
        return {
            name: torch.from_numpy(np.stack([crop[i] for crop in crops]))
            for i, name in enumerate(("image", "object", "hole"))
        }

    def _crop(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        random = np.random.default_rng([self.seed, number])
        clip, frame, square = self._place(random)
        frames, objects = self._open(clip)
        image = cut(frames[frame], square, self.size)
        found = cut(objects[frame], square, self.size)
        nothing = random.random() < RANDOM_HOLES
        hole = hole_of_frame(np.zeros_like(found) if nothing else found, self.masks, random)
        if random.random() < 0.5:
            image, found, hole = image[:, ::-1], found[:, ::-1], hole[:, ::-1]
        return np.repeat(image, 3 // image.shape[-1], axis=-1), found.copy(), hole.copy()

    def _place(self, random: np.random.Generator) -> tuple[str, int, Square]:
        if not self.places or random.random() < ELSEWHERE:
            clip = self.names[int(random.integers(len(self.names)))]
            frames, height, width = self.frames[clip].shape[:3]
            at = (int(random.integers(height)), int(random.integers(width)))
            square = Square(at[0] - self.size // 2, at[1] - self.size // 2, self.size)
            return clip, int(random.integers(frames)), placed_inside(square, height, width)
        clip, frame, box = self.places[int(random.integers(len(self.places)))]
        height, width = self.frames[clip].shape[1:3]
        top, left, side = square_around(box, self.size, height, width)
        down, right = (int(v) for v in random.integers(-side // 5, side // 5 + 1, 2))
        return clip, frame, placed_inside(Square(top + down, left + right, side), height, width)

    def _open(self, clip: str) -> tuple[np.ndarray, np.ndarray]:
        if clip not in self._arrays:
            self._arrays[clip] = (self.frames[clip].array(), self.objects[clip].array())
        return self._arrays[clip]


def places_of(objects: Clips) -> list[Place]:
    """Every moving object of every frame."""
    return [
        Place(clip, frame, part.box)
        for clip, stored in objects.items()
        for frame, mask in enumerate(stored.array())
        for part in components(mask)
    ]
