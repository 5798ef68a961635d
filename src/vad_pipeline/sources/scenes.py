"""Built-in scenes: a seeded renderer of a walkway under a fixed camera, the data of a fresh clone.

People walk along a paved way in two lanes, the far one to the left and the near one to the right, alone and in groups.
Training clips hold nothing else. Each test clip also holds one of seven abnormal kinds (``KINDS``) for about a third to
half of its frames. How many walk by varies so much within and between clips that frame difference, foreground area and
brightness alone do not find them (see the tests): what gives an anomaly away is how it looks or how it moves.

Nothing is downloaded, and a clip depends on nothing but the configuration and its own number.
"""

import heapq
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, partial
from statistics import NormalDist
from typing import Literal

import cv2
import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from vad_pipeline.clips.fingerprint import fingerprint
from vad_pipeline.sources.raw_clip import RawClip, Span, spans_of
from vad_pipeline.sources.scene_actors import (
    AGAINST_FLOW,
    BUILDS,
    FALL,
    KINDS,
    PUFF_LIFE,
    SMOKE,
    WALK,
    Actor,
    random_look,
    sprite_of,
)
from vad_pipeline.sources.scene_picture import (
    PAVING,
    REFERENCE_HEIGHT,
    background,
    cast_shadow,
    lay_over,
    mark,
    metre_at,
)

FAR_LANE, NEAR_LANE = (61.0, 76.0), (88.0, 106.0)  # reference pixels, where feet touch the ground
NOISE_SIGMA = 2.5  # grey levels, per pixel, channel and frame
NOISE_LEVELS = 4096
BLOCK = 4.0  # seconds over which the density of traffic stays the same
ACT = 30.0  # seconds in which a clip of a minute or more shows its anomaly once
SHARE = (0.32, 0.5)  # of a clip's frames that are abnormal
TRAIN, TEST = "train", "test"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ScenesConfig:
    """The built-in scenes.

    Attributes:
        seed: another seed is another place with other people.
        train_clips: normal clips.
        test_clips: clips with anomalies; they cycle through the seven kinds.
        frames: frames per clip.
        height: pixels; everything scales with it.
        width: pixels; a wider picture shows more of the way.
        fps: frames per second.
        colour: frames have 3 channels ("rgb") or 1 ("gray").
    """

    seed: int = Field(0, ge=0)
    train_clips: int = Field(12, ge=1, le=9999)
    test_clips: int = Field(14, ge=0, le=9999)
    frames: int = Field(120, ge=8)
    height: int = Field(128, ge=32, le=2160)
    width: int = Field(192, ge=32, le=3840)
    fps: float = Field(10.0, ge=1, le=60)
    colour: Literal["rgb", "gray"] = "rgb"

    @property
    def unit(self) -> float:
        """Pixels per reference pixel."""
        return self.height / REFERENCE_HEIGHT

    @property
    def extent(self) -> float:
        """Width of the picture in reference pixels."""
        return self.width / self.unit

    @property
    def seconds(self) -> float:
        """Duration of a clip."""
        return self.frames / self.fps


def read_scenes(config: ScenesConfig) -> list[RawClip]:
    """The clips ``train/01``.. and ``test/01``.. with labels, nothing rendered yet.

    Frames are uint8 (height, width, 3 or 1). Masks are bool (height, width) and hold the abnormal thing without its
    shadow, also where a passer-by hides it; a frame's mask has pixels exactly where its label is 1.
    """
    clips = []
    for split, count in ((TRAIN, config.train_clips), (TEST, config.test_clips)):
        for number in range(1, count + 1):
            clip = f"{split}/{number:02d}"
            # The number of clips is left out: adding one leaves the others in the store valid.
            one_clip = replace(config, train_clips=1, test_clips=0)
            clips.append(
                RawClip(
                    clip=clip,
                    fingerprint=fingerprint(one_clip, clip),
                    frames=partial(render_frames, config, split, number),
                    source=f"built-in scenes, seed {config.seed}",
                    fps=config.fps,
                    spans=_spans(config, number) if split == TEST else (),
                    masks=partial(render_masks, config, split, number),
                )
            )
    return clips


def render_frames(config: ScenesConfig, split: str, number: int) -> Iterator[np.ndarray]:
    """Yields the clip's frames, uint8 (height, width, 3 or 1), one at a time."""
    noise = _random(config, split, number, "noise")
    ground = background(config.seed, config.height, config.width)
    light = _light(config, split, number)
    actors: Iterator[Actor] = _traffic(config, split, number)
    if split == TEST:
        actors = heapq.merge(actors, _abnormal_actors(config, number), key=lambda actor: actor.enters)
    shape = (config.height, config.width, 3 if config.colour == "rgb" else 1)
    for index, present in enumerate(_present(actors, config)):
        second = index / config.fps
        frame = ground.copy()
        drawn = [(actor, sprite_of(actor, second, config.unit)) for actor in sorted(present, key=lambda who: who.y)]
        for actor, sprite in drawn:
            if sprite is not None and actor.kind != SMOKE:
                cast_shadow(frame, sprite, config.unit)
        for _, sprite in drawn:
            if sprite is not None:
                lay_over(frame, sprite)
        if config.colour == "gray":
            frame = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        frame = frame.reshape(shape) * np.float32(light(second))
        frame += np.take(_noise_levels(), noise.integers(0, NOISE_LEVELS, shape, dtype=np.uint16))
        yield np.clip(np.rint(frame, out=frame), 0, 255, out=frame).astype(np.uint8)


def render_masks(config: ScenesConfig, split: str, number: int) -> Iterator[np.ndarray]:
    """Yields one mask of the abnormal pixels per frame, bool (height, width)."""
    ranges = _visible_ranges(config, number) if split == TEST else []
    coming = deque(sorted(ranges, key=lambda shown: shown[1]))
    present: list[tuple[Actor, int, int]] = []
    for index in range(config.frames):
        while coming and coming[0][1] <= index:
            present.append(coming.popleft())
        present = [shown for shown in present if index < shown[2]]
        mask = np.zeros((config.height, config.width), dtype=bool)
        for actor, _, _ in present:
            sprite = sprite_of(actor, index / config.fps, config.unit)
            if sprite is not None:
                mark(mask, sprite)
        yield mask


def _random(config: ScenesConfig, split: str, number: int, *purpose: object) -> np.random.Generator:
    """A generator of its own for each purpose, so that one more draw for walkers leaves the noise as it was."""
    return np.random.default_rng(int(fingerprint(config.seed, split, number, *purpose), 16))


@lru_cache(maxsize=1)
def _noise_levels() -> np.ndarray:
    """Evenly likely values of the noise, float32 (NOISE_LEVELS,): several times faster than drawing normals."""
    normal = NormalDist(0, NOISE_SIGMA)
    return np.array([normal.inv_cdf((level + 0.5) / NOISE_LEVELS) for level in range(NOISE_LEVELS)], dtype=np.float32)


def _light(config: ScenesConfig, split: str, number: int) -> "partial[float]":
    """The brightness of the scene over time: a factor that stays within a few percent of 1."""
    random = _random(config, split, number, "light")
    level = float(random.uniform(-0.015, 0.015))
    waves = [
        (float(random.uniform(0.006, 0.016)), 2 * math.pi / float(random.uniform(*period)), float(random.uniform(0, 7)))
        for period in ((7, 16), (20, 60))
    ]
    return partial(_light_at, level, waves)


def _light_at(level: float, waves: list[tuple[float, float, float]], second: float) -> float:
    return 1 + level + sum(depth * math.sin(rate * second + phase) for depth, rate, phase in waves)


def _present(actors: Iterator[Actor], config: ScenesConfig) -> Iterator[list[Actor]]:
    """The actors in the picture at each frame; ``actors`` come ordered by when they enter, and are read as needed."""
    present: list[Actor] = []
    coming = next(actors, None)
    for index in range(config.frames):
        second = index / config.fps
        present = [actor for actor in present if actor.leaves >= second]
        while coming is not None and coming.enters <= second:
            if coming.leaves >= second:
                present.append(coming)
            coming = next(actors, None)
        yield present


def _track(config: ScenesConfig, kind: str, random: np.random.Generator, y: float, enters: float, pace: float) -> Actor:
    """An actor that crosses the whole picture in its lane's direction at ``pace`` metres per second."""
    direction = -1 if (y < sum(PAVING) / 2) != (kind == AGAINST_FLOW) else 1
    speed, reach = pace * metre_at(y), BUILDS[kind].reach * metre_at(y)
    leaves = enters + (config.extent + 2 * reach) / speed
    start = -reach if direction > 0 else config.extent + reach
    # A shadow trails on for as long as the actor is high.
    shadow = 2.2 * metre_at(y) / speed if direction > 0 else 0.0
    look = random_look(random)
    return Actor(kind, look, enters, leaves + shadow, start, y, direction * speed)


def _lane(random: np.random.Generator) -> float:
    return float(random.uniform(*(FAR_LANE if random.random() < 0.5 else NEAR_LANE)))


def _traffic(config: ScenesConfig, split: str, number: int) -> Iterator[Actor]:
    """Normal walkers, ordered by when they enter; those already under way at the first frame included."""
    slowest = BUILDS[WALK].speeds[0] * metre_at(FAR_LANE[0])
    warm_up = math.ceil((config.extent / slowest + 4) / BLOCK)
    for block in range(math.ceil(config.seconds / BLOCK) + warm_up):
        random = _random(config, split, number, "traffic", block)
        # From nobody to a school class: the density has to vary far more than one abnormal thing adds to it.
        density = float(random.choice((0.2, 0.8, 2.0, 4.0), p=(0.3, 0.25, 0.2, 0.25)))
        walkers = []
        for _ in range(int(random.poisson(density))):
            begin = (block - warm_up + float(random.random())) * BLOCK
            y, pace = _lane(random), float(random.uniform(*BUILDS[WALK].speeds))
            for member in range(int(random.choice((1, 2, 3, 4), p=(0.5, 0.25, 0.15, 0.1)))):
                lane = FAR_LANE if y < sum(PAVING) / 2 else NEAR_LANE
                beside = float(np.clip(y + (random.normal(0, 6) if member else 0), *lane))
                late = float(random.uniform(0, 1.4)) if member else 0.0
                walkers.append(_track(config, WALK, random, beside, begin + late, pace))
        # Latecomers of a group hurry, where they would enter after the next block began: the stream has to be ordered.
        limit = (block - warm_up + 1) * BLOCK
        yield from sorted((_not_after(walker, limit) for walker in walkers), key=lambda actor: actor.enters)


def _not_after(walker: Actor, limit: float) -> Actor:
    """The same walker on the same track, entering by ``limit`` at the latest."""
    early = max(0.0, walker.enters - limit)
    return replace(walker, enters=walker.enters - early, leaves=walker.leaves - early)


def _abnormal_actors(config: ScenesConfig, number: int) -> Iterator[Actor]:
    """The abnormal things of a test clip, ordered by when they enter."""
    kind = KINDS[(number - 1) % len(KINDS)]
    # Over the clips of one kind the stretch comes late, early, in the middle.
    where = (number + (number - 1) // len(KINDS)) % 3
    acts = max(1, math.floor(config.seconds / ACT)) if config.seconds >= 2 * ACT else 1
    for act in range(acts):
        length = config.seconds / acts
        random = _random(config, TEST, number, "abnormal", act)
        target = float(random.uniform(*SHARE)) * length
        start = act * length
        if kind in (SMOKE, FALL):
            offset = (0.92, 0.04, 0.5)[where] * (length - target)
            stage = _smoke_actor if kind == SMOKE else _fall_actor
            yield stage(config, random, start + offset, target)
            continue
        y, pace = _lane(random), float(random.uniform(*BUILDS[kind].speeds))
        crossing = (config.extent + 2 * BUILDS[kind].reach * metre_at(y)) / (pace * metre_at(y))
        for enters in _entries(random, crossing, length, target, where, whole=acts > 1):
            lane = FAR_LANE if y < sum(PAVING) / 2 else NEAR_LANE
            beside = float(np.clip(y + random.normal(0, 3), *lane))
            # The pace in pixels stays that of y, or those behind would overtake.
            same = pace * metre_at(y) / metre_at(beside)
            yield _track(config, kind, random, beside, start + enters, same)


def _entries(
    random: np.random.Generator, crossing: float, length: float, target: float, where: int, whole: bool
) -> list[float]:
    """When to send something across the picture, so that it is in view for ``target`` of ``length`` seconds.

    A crossing takes ``crossing`` seconds. One that takes longer than ``target`` is cut by the beginning or the end of
    the clip, or two of them by both, unless it has to be ``whole``.
    """
    if crossing > target and not whole:
        late, early = length - target, target - crossing
        return [[late], [early], [early - target / 2, late + target / 2]][where]
    # A second one only where it adds to the time in view: two side by side would hide each other.
    more = max(0, math.ceil((target - crossing) / crossing - 0.25))
    gaps = [min(crossing, (target - crossing) / more)] * more if more else []
    if more and random.random() < 0.35:
        gaps[more // 2] += crossing - gaps[0] + 0.1 * length  # two stretches
    spare = max(0.0, length - crossing - sum(gaps))
    first = (0.9, 0.1, 0.5)[where] * spare
    return [first + sum(gaps[:index]) for index in range(more + 1)]


def _fall_actor(config: ScenesConfig, random: np.random.Generator, start: float, target: float) -> Actor:
    """A walker who trips at ``start``, lies, and is up again after ``target`` seconds."""
    y, pace = _lane(random), float(random.uniform(*BUILDS[FALL].speeds))
    actor = _track(config, FALL, random, y, start, pace)
    # The place of the fall is chosen, the rest follows: the whole body, lying ahead of the feet, is in the picture.
    share = float(random.uniform(0.3, 0.6))
    place = config.extent * (share if actor.speed > 0 else 1 - share)
    enters = start - abs(actor.x - place) / abs(actor.speed)
    leaves = actor.leaves - actor.enters + enters + target
    return replace(actor, enters=enters, leaves=leaves, event=(start, start + target))


def _smoke_actor(config: ScenesConfig, random: np.random.Generator, start: float, target: float) -> Actor:
    """A plume from the edge of the way, visible for about ``target`` seconds from ``start``."""
    x, y = config.extent * float(random.uniform(0.2, 0.8)), float(random.uniform(64, 100))
    # The last puffs stay visible for a while; very short clips are better served by a plume that is cut by their end.
    out = start + max(target - 0.6 * PUFF_LIFE, 0.5 * target)
    return Actor(SMOKE, random_look(random), start, out + PUFF_LIFE, x, y, 0.0, event=(start, out))


def _visible_ranges(config: ScenesConfig, number: int) -> list[tuple[Actor, int, int]]:
    """The abnormal things of a test clip, each with the frames, start to stop (exclusive), in which it shows.

    Only the frames around coming and going are looked at: in between the track says that it is in full view.
    """
    enough = max(3, round(6 * config.unit**2))

    def shows(actor: Actor, index: int) -> bool:
        sprite = sprite_of(actor, index / config.fps, config.unit)
        if sprite is None:
            return False
        mask = np.zeros((config.height, config.width), dtype=bool)
        mark(mask, sprite)
        return int(mask.sum()) >= enough

    ranges = []
    for actor in _abnormal_actors(config, number):
        if actor.kind == FALL:
            first, last = actor.event
            earliest, latest = first, last
        elif actor.kind == SMOKE:
            first, last = actor.event[0] + 1.0, actor.event[1]
            earliest, latest = actor.event[0], actor.leaves
        else:
            # In between, the feet are in the picture.
            to_centre = BUILDS[actor.kind].reach * metre_at(actor.y) / abs(actor.speed)
            earliest, latest = actor.enters, actor.enters + 2 * to_centre + config.extent / abs(actor.speed)
            first, last = earliest + to_centre, latest - to_centre
        floor = max(0, math.ceil(earliest * config.fps))
        ceiling = min(config.frames, math.ceil(latest * config.fps))
        start = min(max(math.ceil(first * config.fps), 0), config.frames)
        stop = min(max(math.ceil(last * config.fps), start), config.frames)
        while start > floor and shows(actor, start - 1):
            start -= 1
        while stop < ceiling and shows(actor, stop):
            stop += 1
        if start < stop:
            ranges.append((actor, start, stop))
    return ranges


def _spans(config: ScenesConfig, number: int) -> tuple[Span, ...]:
    labels = np.zeros(config.frames, dtype=np.int8)
    for _, start, stop in _visible_ranges(config, number):
        labels[start:stop] = 1
    return tuple(Span(start, stop, KINDS[(number - 1) % len(KINDS)]) for start, stop in spans_of(labels))
