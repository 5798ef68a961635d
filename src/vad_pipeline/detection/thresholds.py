"""Alarm thresholds with a meaning: how often normal footage would cross them.

Held-out normal footage is cut into blocks, and of each block the highest level is kept that its scores hold for the
time that an alarm needs. Blocks of normal footage to come are exchangeable with these, so one of them crosses the k-th
highest of n levels with probability at most k / (n + 1) (inductive conformal prediction). An alarm counts once a block,
so that probability is a rate of false alarms; below one in the held-out footage and a block more, nothing can be
promised.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

BLOCK = 5.0  # seconds; events nearer to one another than this are one
RELEASE = 0.99  # quantile of held-out scores below which an alarm may end
UNKNOWN_RATE = 25.0  # frames a second, of footage that does not say


class ThresholdError(ValueError):
    """A threshold that the footage does not support."""


@dataclass(frozen=True)
class Threshold:
    """When an alarm is raised.

    Attributes:
        level: of the anomaly score, above which it has to stay for ``hold`` frames.
        release: at or below which an alarm may end, at most ``level``.
        hold: frames.
        per_hour: false alarms an hour, at most, in the mean over footage like the held-out one.
        lowest_per_hour: the lowest rate that the held-out footage supports.
        blocks, block_frames: of held-out footage.
        fps: frames a second that are scored.
    """

    level: float
    release: float
    hold: int
    per_hour: float
    lowest_per_hour: float
    blocks: int
    block_frames: int
    fps: float

    @property
    def seconds(self) -> float:
        """Of held-out footage."""
        return self.blocks * self.block_frames / self.fps


def held_levels(scores: np.ndarray, hold: int) -> np.ndarray:
    """The level that the last ``hold`` scores all reach, (n - hold + 1,) of scores (n,).

    >>> held_levels(np.array([1.0, 5.0, 3.0, 4.0]), 2)
    array([1., 3., 3.])
    """
    return np.lib.stride_tricks.sliding_window_view(scores, hold).min(axis=1) if len(scores) >= hold else scores[:0]


def block_levels(clips: Sequence[np.ndarray], frames: int, hold: int) -> np.ndarray:
    """The highest held level of each block, (n,).

    Args:
        clips: anomaly scores of consecutive frames, an array for each clip.
        frames: in a block; what is left over at the end of a clip belongs to its last block.
        hold: frames for which an alarm's scores stay above it.
    """
    levels = []
    for scores in clips:
        held = held_levels(scores, hold)
        if not len(held):
            continue
        starts = range(0, max(len(held) - frames + 1, 1), frames)
        ends = [*list(starts)[1:], len(held)]
        levels += [held[start:end].max() for start, end in zip(starts, ends, strict=True)]
    return np.array(levels)


def choose_threshold(
    clips: Sequence[np.ndarray], fps: float | None, per_hour: float | None = None, hold: int = 1, block: float = BLOCK
) -> Threshold:
    """The lowest threshold that keeps a rate of false alarms.

    Args:
        clips: anomaly scores of held-out normal frames, an array for each clip.
        fps: frames a second.
        per_hour: false alarms an hour; None takes the lowest rate that the footage supports.
        hold: frames for which scores have to stay above it.
        block: seconds.

    Raises:
        ThresholdError: there is no held-out footage, or too little of it for the rate.

    >>> found = choose_threshold([np.arange(100.0)], fps=10, block=2.0)
    >>> found.level, found.blocks, round(found.per_hour)
    (99.0, 5, 300)
    """
    fps = fps or UNKNOWN_RATE
    frames = max(1, round(block * fps))
    levels = np.sort(block_levels(clips, frames, hold))[::-1]
    if not len(levels):
        raise ThresholdError(
            "no held-out normal footage to set a threshold by; set training.held_out above 0 and train again"
        )
    blocks_an_hour = 3600 * fps / frames
    lowest = blocks_an_hour / (len(levels) + 1)
    crossed = 1 if per_hour is None else int(per_hour / blocks_an_hour * (len(levels) + 1) + 1e-9)
    if crossed < 1:
        assert per_hour is not None
        needed = spell(3600 / per_hour if per_hour > 0 else np.inf)
        raise ThresholdError(
            f"{per_hour:g} false alarms an hour: {spell(len(levels) * frames / fps)} of held-out normal footage "
            f"support {lowest:.3g} an hour at the lowest; that rate takes {needed}, so give more or accept more alarms"
        )
    level = float(levels[min(crossed, len(levels)) - 1])
    release = min(level, float(np.quantile(np.concatenate(list(clips)), RELEASE)))
    rate = blocks_an_hour * min(crossed, len(levels)) / (len(levels) + 1)
    return Threshold(level, release, hold, rate, lowest, len(levels), frames, fps)


def spell(seconds: float) -> str:
    """A time in the unit that suits it.

    >>> spell(42.0), spell(5400.0), spell(360000.0)
    ('42 seconds', '90 minutes', '100 hours')
    """
    if not np.isfinite(seconds):
        return "no finite time"
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def said_of_threshold(metrics: Mapping[str, float | None]) -> str | None:
    """What ``held_out.threshold_metrics`` mean, in words; None of metrics without them.

    >>> said_of_threshold({"threshold_level": 1.2, "false_alarms_per_hour_lowest": 6.0, "held_out_seconds": 600.0})
    'at the lowest 6 false alarms an hour, above a score of 1.2, by 10 minutes of held-out normal footage'
    """
    if "threshold_level" not in metrics:
        return None
    level, lowest = metrics["threshold_level"], metrics.get("false_alarms_per_hour_lowest")
    if level is None or lowest is None or np.isnan(level):
        return "no threshold, for no normal footage was held out; set training.held_out above 0"
    footage = f"{spell(metrics.get('held_out_seconds') or 0.0)} of held-out normal footage"
    return f"at the lowest {lowest:.3g} false alarms an hour, above a score of {level:.3g}, by {footage}"


def said_of_alarms(metrics: Mapping[str, float | None]) -> str | None:
    """What ``alarms.alarm_metrics`` mean, in words; None of metrics without them.

    >>> said_of_alarms({"events_labelled": 15, "events_found": 14, "false_alarms": 2, "normal_seconds": 100})
    'found 14 of 15 labelled events, raised 2 false alarms in 100 seconds of normal test footage'
    """
    labelled, found, false, seconds = (
        metrics.get(name) for name in ("events_labelled", "events_found", "false_alarms", "normal_seconds")
    )
    if labelled is None or found is None or false is None or seconds is None or np.isnan(labelled):
        return None
    alarms = f"{false:.0f} false alarm{'s' * (false != 1)}"
    footage = f"{spell(seconds)} of normal test footage"
    return f"found {found:.0f} of {labelled:.0f} labelled events, raised {alarms} in {footage}"
