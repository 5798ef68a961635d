"""What a camera's videos are like: size, rate, length, colour, and how much, how fast and how large what moves is.

The looking is bounded: of every video its header and first picture, of all of them together a number of pairs of
pictures a fifth of a second apart, evenly spread over the footage.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vad_pipeline.clips.resize import to_gray
from vad_pipeline.flow.dis import DIS, dis_flow
from vad_pipeline.sources.raw_clip import SourceError
from vad_pipeline.sources.reading_size import frames_at_height
from vad_pipeline.sources.video_file import duration, frame_rate, pictures_near

ROWS = 240  # of the pictures in which motion is measured, those of scene exemplars
PLACES = 32  # of the footage that are looked at
APART = 0.2  # seconds between the pictures of a pair
CHANGED = 15  # gray levels by which a pixel that moves differs, at least, within its neighbourhood
DISPLACED = 0.6  # pixels by which it is displaced, at least: below lie noise and trees
SMALLEST = 40  # pixels of a thing
COLOURLESS = 3.0  # gray levels between the channels, in the mean, of what a camera shows without colour


@dataclass(frozen=True)
class VideoFacts:
    """A video as it is found.

    Attributes:
        path: of the file.
        width, height: of its pictures as they are shown, pixels.
        rate: frames a second; None where the file does not say.
        seconds: how long it is; None where the file does not say.
        gray: whether its first picture has no colour, however it is stored.
    """

    path: Path
    width: int
    height: int
    rate: float | None
    seconds: float | None
    gray: bool


@dataclass(frozen=True)
class Motion:
    """What moves, in pictures brought to 240 rows.

    Attributes:
        pairs: of pictures that were compared.
        still: pairs in which nothing moves.
        share: of the pixels that move, 0 to 1, in the mean.
        speed: of moving pixels, pixels a second; the median.
        fastest: their 99th percentile.
        height, width: of things, pixels; the medians, 0 where nothing moves. What overlaps, such as people who walk
            together, is one thing.
    """

    pairs: int
    still: int
    share: float
    speed: float
    fastest: float
    height: float
    width: float


@dataclass(frozen=True)
class CameraSurvey:
    """What was seen of a camera's normal footage, and of what is to be scored.

    Attributes:
        train, test: videos.
        motion: of the training videos.
    """

    train: tuple[VideoFacts, ...]
    test: tuple[VideoFacts, ...]
    motion: Motion

    @property
    def seconds(self) -> float:
        """Of training footage, as far as it is known."""
        return sum(video.seconds or 0.0 for video in self.train)


def survey_camera(train: Sequence[Path], test: Sequence[Path] = ()) -> CameraSurvey:
    """Look at videos.

    Args:
        train: files of normal footage.
        test: files to be scored.

    Raises:
        SourceError: one of them cannot be opened or decoded.
    """
    found = tuple(video_facts(path) for path in train)
    return CameraSurvey(found, tuple(video_facts(path) for path in test), measure_motion(found))


def video_facts(path: Path) -> VideoFacts:
    """Header and first picture of a video.

    Raises:
        SourceError: it cannot be opened, or no picture of it can be decoded.
    """
    rate, seconds = frame_rate(path), duration(path)
    first = next(pictures_near(path, 0.0), None)
    if first is None:
        raise SourceError(f"{path}: no picture of it can be decoded; copy it again or remove it")
    height, width, _ = first[0].shape
    return VideoFacts(path, width, height, rate, seconds, is_gray(first[0]))


def is_gray(picture: np.ndarray) -> bool:
    """Whether a picture uint8 (H, W, 1|3) has no colour.

    >>> is_gray(np.full((2, 2, 3), 90, np.uint8)), is_gray(np.tile(np.uint8([200, 90, 20]), (2, 2, 1)))
    (True, False)
    """
    if picture.shape[-1] == 1:
        return True
    spread = picture.max(axis=-1).astype(np.int16) - picture.min(axis=-1)
    return bool(spread.mean() < COLOURLESS)


def measure_motion(videos: Sequence[VideoFacts]) -> Motion:
    """What moves in pairs of pictures, evenly spread over all videos; of videos of unknown length their beginning."""
    shares, speeds, sides = [], [], []
    for earlier, later, seconds in _pairs(videos):
        moving, displaced = _moving(earlier, later)
        shares.append(float(moving.mean()))
        speeds.append(displaced[moving] / seconds)
        _, _, found, _ = cv2.connectedComponentsWithStats(moving.astype(np.uint8))
        sides += found[1:, [cv2.CC_STAT_HEIGHT, cv2.CC_STAT_WIDTH]].tolist()
    every = np.concatenate(speeds) if speeds else np.zeros(0)
    speed, fastest = np.percentile(every, [50, 99]).tolist() if len(every) else (0.0, 0.0)
    height, width = np.median(sides, axis=0).tolist() if sides else (0.0, 0.0)
    return Motion(
        pairs=len(shares),
        still=sum(share == 0 for share in shares),
        share=float(np.mean(shares)) if shares else 0.0,
        speed=speed,
        fastest=fastest,
        height=height,
        width=width,
    )


def _pairs(videos: Sequence[VideoFacts]) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """Gray pictures (240, W) and the later ones, and the seconds between them."""
    lengths = np.array([video.seconds or 1.0 for video in videos])
    ends = np.cumsum(lengths)
    places = (np.arange(PLACES) + 0.5) / PLACES * ends[-1]
    seen = set()
    for place in places:
        number = int(np.searchsorted(ends, place))
        video = videos[number]
        second = place - (ends[number] - lengths[number]) if video.seconds else 0.0
        first: tuple[np.ndarray, float] | None = None
        for picture, now in pictures_near(video.path, second):
            if first is None:
                first = picture, now
                if (number, now) in seen:  # key frames are rarer than places
                    break
                seen.add((number, now))
            elif now >= first[1] + APART - 1e-3:
                yield _reduced(first[0]), _reduced(picture), now - first[1]
                break


def _reduced(picture: np.ndarray) -> np.ndarray:
    return to_gray(next(frames_at_height([picture], ROWS)))


def _moving(earlier: np.ndarray, later: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which pixels of gray pictures (H, W) move, bool (H, W); and how far all are displaced, float (H, W)."""
    displaced = np.linalg.norm(dis_flow(earlier[..., None], later[..., None], DIS()), axis=-1)
    difference = cv2.GaussianBlur(cv2.absdiff(earlier, later), (3, 3), 0)
    # an even change of light moves nothing; a thing's even surface does not change where it moves
    difference = cv2.subtract(difference, float(np.median(difference)))  # type: ignore[call-overload]
    changed = cv2.dilate((difference > CHANGED).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    moving = (displaced >= DISPLACED) & changed
    numbers, labels, found, _ = cv2.connectedComponentsWithStats(moving.astype(np.uint8))
    large = np.flatnonzero(found[:numbers, cv2.CC_STAT_AREA] >= SMALLEST)
    return moving & np.isin(labels, large[large > 0]), displaced
