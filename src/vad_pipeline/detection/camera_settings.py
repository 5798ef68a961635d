"""Settings that follow from what a camera's videos are like, and what is to be said of them before anyone trains."""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, log
from typing import TypeVar

from vad_pipeline.detection.camera_survey import ROWS, CameraSurvey, VideoFacts
from vad_pipeline.detection.thresholds import BLOCK, UNKNOWN_RATE, spell

SLOWEST, FASTEST = 8.0, 10.0  # frames a second that are to be left: the benchmarks' rates
LARGE, HEIGHT = 480, 360  # rows from which pictures are read smaller, and to how many
GAP = 0.2  # seconds over which scene exemplars measure motion
PREDICTORS, AUTOENCODERS = 96 * 144, 128 * 192  # pixels of the frames that learned systems read on a laptop
LEAST_LIMIT, USUAL_LIMIT, LARGEST_LIMIT = 1.0, 4.0, 20.0  # pixels of flow that stand for 1
ALPS_PATCHES = 60  # its patches have 30 pixels, its frames sides that four divides
FEW_ALARMS = 10.0  # an hour: a threshold that promises more than that is said to be of little use
SMALL_THINGS = 20  # of 240 rows, below which scene exemplars want larger frames
MUCH = 0.3  # share of the picture that moves where it is rather the camera that does
SHOWN = 3  # videos that a remark names
Value = TypeVar("Value", bound=Hashable)


@dataclass(frozen=True)
class CameraSettings:
    """What an environment states; sides of frames are pixels, (height, width).

    Attributes:
        stride: every how many-th frame is read.
        fps: frames a second that are left, None where no video says its rate.
        height: rows at which pictures are read and stored, None as they are.
        colour: ``rgb`` or ``gray``, of scene exemplars.
        exemplars: frames of scene exemplars.
        gap: frames over which they measure motion.
        predictors: frames of LGN-Net and the other predictors.
        autoencoders: frames of the 3D autoencoders and of optical flow.
        alps: frames of ALPS.
        predictors_limit, autoencoders_limit: pixels of flow that stand for 1 in frames of these sizes.
    """

    stride: int
    fps: float | None
    height: int | None
    colour: str
    exemplars: tuple[int, int]
    gap: int
    predictors: tuple[int, int]
    autoencoders: tuple[int, int]
    alps: tuple[int, int]
    predictors_limit: float
    autoencoders_limit: float


def choose_settings(survey: CameraSurvey) -> CameraSettings:
    """Settings for the size and rate that most of the training footage has."""
    height, width = _usual(survey.train, lambda video: (video.height, video.width))
    rate = _usual(survey.train, lambda video: video.rate)
    stride = 1 if rate is None else stride_for(rate)
    fps = None if rate is None else rate / stride
    aspect = width / height
    predictors, autoencoders = frames_like(aspect, PREDICTORS, 8), frames_like(aspect, AUTOENCODERS, 16)
    fastest = survey.motion.fastest / (fps or UNKNOWN_RATE) / ROWS  # of a picture's height, from frame to frame
    return CameraSettings(
        stride=stride,
        fps=fps,
        height=HEIGHT if height >= LARGE else None,
        colour="gray" if all(video.gray for video in survey.train) else "rgb",
        exemplars=(ROWS, _multiple(ROWS * aspect, 8)),
        gap=max(1, round(GAP * (fps or UNKNOWN_RATE))),
        predictors=predictors,
        autoencoders=autoencoders,
        alps=(ROWS, _multiple(ROWS * aspect, ALPS_PATCHES)),
        predictors_limit=_limit(fastest * predictors[0]),
        autoencoders_limit=_limit(fastest * autoencoders[0]),
    )


def stride_for(rate: float) -> int:
    """Every how many-th frame leaves 8 to 10 a second, or what is nearest to that.

    >>> [stride_for(rate) for rate in (5, 10, 12, 15, 25, 29.97, 60)]
    [1, 1, 1, 2, 3, 3, 6]
    """

    def off(stride: int) -> tuple[float, int]:
        return max(0.0, log(rate / stride / FASTEST), log(SLOWEST / (rate / stride))), stride

    return min(range(1, ceil(rate / SLOWEST) + 1), key=off)


def frames_like(aspect: float, pixels: int, multiple: int) -> tuple[int, int]:
    """(height, width) in multiples, near a shape (width over height) and a number of pixels.

    >>> frames_like(4 / 3, 96 * 144, 8), frames_like(16 / 9, 96 * 144, 8), frames_like(9 / 16, 128 * 192, 16)
    ((104, 136), (88, 160), (208, 112))
    """
    ideal = (pixels / aspect) ** 0.5
    heights, widths = (
        {multiple * max(1, n + int(side // multiple)) for n in (-1, 0, 1, 2)} for side in (ideal, ideal * aspect)
    )
    return min(
        product(sorted(heights), sorted(widths)),
        key=lambda size: 2 * abs(log(size[1] / size[0] / aspect)) + abs(log(size[0] * size[1] / pixels)),
    )


def remarks_on(survey: CameraSurvey, settings: CameraSettings, held_out: float) -> list[str]:
    """What the user should know before training, a sentence or two each; nothing where all is well.

    Args:
        survey, settings: of the camera.
        held_out: share of the training footage that thresholds are set by.
    """
    motion = survey.motion
    said = [
        *_differing("size", "pixels", survey.train + survey.test, lambda video: f"{video.width}x{video.height}"),
        *_differing("rate", "frames a second", survey.train + survey.test, lambda video: _rate(video.rate)),
    ]
    if settings.fps is None:
        said.append(
            f"No training video says its frame rate; {UNKNOWN_RATE:g} frames a second are taken. Correct frame_stride "
            "and gap if it is another."
        )
    grays = {video.gray for video in survey.train}
    if len(grays) == 2:
        said.append(
            "Some training videos are gray, others in colour (a camera that sees by infrared at night?); both are "
            "learnt as normal, and appearance tells them apart more than things."
        )
    elif grays == {True}:
        said.append("The training footage is gray: what differs by its colour alone cannot be found.")
    if not motion.pairs:
        said.append("No two pictures a fifth of a second apart could be read; what moves is not known.")
    elif motion.still == motion.pairs:
        said.append(
            f"Nothing moves in {motion.pairs} pairs of pictures. Who learns from footage in which nobody moves takes "
            "anyone for unusual; give footage of the hours in which people are there."
        )
    elif motion.share > MUCH:
        said.append(
            f"{motion.share:.0%} of the picture moves: has the camera been moved or turned? Detectors here are for "
            "cameras that stand still."
        )
    elif motion.height < SMALL_THINGS:
        said.append(
            f"What moves is about {motion.height:.0f} of {ROWS} rows high, which is small; scene_exemplars.frames of "
            "360 rows see it better, at more than twice the time."
        )
    if (lowest := lowest_rate(survey.train, held_out)) > FEW_ALARMS:
        had = f"{spell(survey.seconds)} of normal footage" if survey.seconds else "Footage of unknown length"
        said.append(
            f"{had} is little for a threshold: the {held_out:.0%} of it that is held out supports {lowest:.3g} false "
            f"alarms an hour at the lowest. {FEW_ALARMS:g} an hour take about "
            f"{spell(3600 / FEW_ALARMS / held_out)} of footage, one an hour {spell(3600 / held_out)}."
        )
    return said


def lowest_rate(videos: Sequence[VideoFacts], held_out: float) -> float:
    """False alarms an hour that a threshold can promise at the lowest, as ``choose_threshold`` will have it.

    It takes whole blocks out of the videos that are held out, of which nobody knows yet which they are: all count with
    their mean length, a single one with its end.
    """
    lengths = [video.seconds or 0.0 for video in videos]
    number = max(1, round(held_out * len(lengths)))
    each = held_out * lengths[0] if len(lengths) == 1 else sum(lengths) / len(lengths)
    return 3600 / BLOCK / (number * max(1, int(each // BLOCK)) + 1)


def _usual(videos: Sequence[VideoFacts], of: Callable[[VideoFacts], Value]) -> Value:
    """The value that most of the footage has; None only where no video has another."""
    seconds: dict[Value, float] = {}
    for video in videos:
        seconds[of(video)] = seconds.get(of(video), 0.0) + (video.seconds or 1.0)
    known = [value for value in seconds if value is not None]
    return max(known or seconds, key=lambda value: seconds[value])


def _differing(what: str, unit: str, videos: Sequence[VideoFacts], of: Callable[[VideoFacts], str]) -> list[str]:
    """A sentence where videos are not alike."""
    values = [of(video) for video in videos]
    if len(set(values)) < 2:
        return []
    usual = Counter(values).most_common(1)[0][0]
    others = [f"{video.path.name} {value}" for video, value in zip(videos, values, strict=True) if value != usual]
    more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
    return [
        f"Videos differ in {what}: most have {usual} {unit}, {', '.join(others[:SHOWN])}{more}. Settings are those of "
        "most of the training footage; bring the others to it, or leave them out."
    ]


def _rate(rate: float | None) -> str:
    return "an unknown number of" if rate is None else f"{rate:.4g}"


def _multiple(side: float, multiple: int) -> int:
    return max(1, round(side / multiple)) * multiple


def _limit(fastest: float) -> float:
    """Half as much again as what 99 of 100 moving pixels stay below, in half pixels; the usual where nothing moves."""
    if not fastest:
        return USUAL_LIMIT
    return min(LARGEST_LIMIT, max(LEAST_LIMIT, ceil(2 * 1.5 * fastest) / 2))
