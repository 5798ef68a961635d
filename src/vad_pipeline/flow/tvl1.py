"""TV-L1 optical flow of clips: OpenCV's own, or the same method in whole-array operations (``tvl1_solver.py``).

A pair's flow depends on that pair alone, so a clip may be computed in chunks, in any order. That is why OpenCV's
useInitialFlow is not among the parameters: the previous pair's flow would tie every chunk to the one before, and where
things move far, more ``scales`` do what a start from a coarser estimator would.
"""

from collections.abc import Iterator
from dataclasses import asdict, fields
from functools import partial
from typing import Literal

import cv2
import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from vad_pipeline.clips.clip import Clip, Clips
from vad_pipeline.clips.fingerprint import step_fingerprint
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.clips.resize import to_gray
from vad_pipeline.flow.stored_flow import FlowError, flow_job, rows_of_pairs
from vad_pipeline.flow.tvl1_solver import Parameters, dual_tvl1

SMALLEST_SIDE = 3  # pixels; a central difference needs three


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TVL1:
    """TV-L1 with OpenCV's parameters; one that is None has its default there (in brackets), under both presets.

    Attributes:
        preset: ``accurate`` runs cv2.optflow.DualTVL1OpticalFlow (package opencv-contrib-python); ``fast`` takes the
            same steps in whole-array operations, four to five times faster on a core, and needs no contrib.
        tau: time step of the dual iteration (0.25); above 0.25 it may not converge.
        lambda_: weight of brightness constancy against smoothness (0.15); lower is smoother.
        theta: how tightly the two are coupled (0.3).
        scales: levels of the pyramid (5); fewer are used where a side would get shorter than 16 pixels. More levels
            find larger motion.
        warps: how often a level warps the later frame anew (5).
        epsilon: iterations of a warp end when flow changes by less than this, in pixels, root mean square (0.01).
        inner_iterations: at most, between two median filters (30).
        outer_iterations: median filters per warp, at most (10).
        scale_step: size of a level relative to the next finer one (0.8).
        gamma: weight of a change of brightness that is estimated beside the flow (0: none is).
        median_filtering: size of the median filter of flow, 1 (none), 3 or 5 (5).
    """

    preset: Literal["accurate", "fast"] = "fast"
    tau: float | None = Field(default=None, gt=0)
    lambda_: float | None = Field(default=None, gt=0)
    theta: float | None = Field(default=None, gt=0)
    scales: int | None = Field(default=None, ge=1)
    warps: int | None = Field(default=None, ge=1)
    epsilon: float | None = Field(default=None, ge=0)
    inner_iterations: int | None = Field(default=None, ge=1)
    outer_iterations: int | None = Field(default=None, ge=1)
    scale_step: float | None = Field(default=None, gt=0, lt=1)
    gamma: float | None = Field(default=None, ge=0)
    median_filtering: Literal[1, 3, 5] | None = None

    def parameters(self) -> Parameters:
        """The method's parameters, overrides applied."""
        given = {field.name: getattr(self, field.name) for field in fields(Parameters)}
        return Parameters(**{name: value for name, value in given.items() if value is not None})


def tvl1_flow(earlier: np.ndarray, later: np.ndarray, config: TVL1) -> np.ndarray:
    """Flow float32 (H, W, 2), x first, in pixels from ``earlier`` to ``later``.

    Args:
        earlier, later: frames uint8 (H, W, 1) gray or (H, W, 3) RGB, of one shape.
        config: preset and overrides.

    Raises:
        FlowError: frames of unlike shapes, of another type, or with a side below 3 pixels.
        ImportError: preset ``accurate`` with an OpenCV without contrib modules.

    >>> frame = np.zeros((24, 32, 1), np.uint8)
    >>> tvl1_flow(frame, frame, TVL1()).shape
    (24, 32, 2)
    """
    if earlier.shape != later.shape:
        raise FlowError(f"frames of unlike shapes, {earlier.shape} and {later.shape}; resize them to one first")
    return _flow_of_gray(_checked_gray(earlier), _checked_gray(later), config)


def tvl1_jobs(frames: Clips, config: TVL1) -> dict[str, ClipJob]:
    """Jobs that compute each clip's flow, float16 (T-1, H, W, 2); row t is the motion from frame t to t+1.

    Raises:
        FlowError: a clip is too small.
        ImportError: preset ``accurate`` with an OpenCV without contrib modules.
    """
    if config.preset == "accurate":
        _require_contrib()
    settings = {"preset": config.preset, **asdict(config.parameters())}
    jobs = {}
    for clip, stored in frames.items():
        _check_size(stored.shape[1:3], f"clip {clip}: ")
        key = step_fingerprint(stored.fingerprint, settings, (tvl1_rows,), ("cv2",))
        jobs[clip] = flow_job(stored, key, partial(tvl1_rows, stored, config), settings)
    return jobs


def tvl1_rows(clip: Clip, config: TVL1, start: int, stop: int | None) -> Iterator[np.ndarray]:
    """Flow of the pairs ``start`` to ``stop``, each float16 (H, W, 2); reads one frame more than it yields rows.

    Raises:
        FlowError: flow that is not finite.
    """
    return rows_of_pairs(clip, start, stop, _checked_gray, partial(_flow_of_gray, config=config))


def _checked_gray(frame: np.ndarray) -> np.ndarray:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] not in (1, 3):
        raise FlowError(f"TV-L1 reads frames uint8 (H, W, 1 or 3), not {frame.dtype} {frame.shape}")
    _check_size(frame.shape[:2])
    return to_gray(frame)


def _check_size(size: tuple[int, ...], place: str = "") -> None:
    if min(size) < SMALLEST_SIDE:
        raise FlowError(
            f"{place}frames of {size[0]}x{size[1]} pixels; TV-L1 needs {SMALLEST_SIDE} on each side: "
            "remove the clip or resize its frames"
        )


def _flow_of_gray(earlier: np.ndarray, later: np.ndarray, config: TVL1) -> np.ndarray:
    if config.preset == "fast":
        return dual_tvl1(earlier, later, config.parameters())
    return _opencv_flow(earlier, later, config.parameters())


def _opencv_flow(earlier: np.ndarray, later: np.ndarray, parameters: Parameters) -> np.ndarray:
    _require_contrib()
    # A new one for each pair: OpenCV's lowers its own number of scales when it meets small frames. Setters, because
    # the constructor's keywords are spelt unlike them (innnerIterations).
    estimator = cv2.optflow.DualTVL1OpticalFlow.create()
    estimator.setTau(parameters.tau)
    estimator.setLambda(parameters.lambda_)
    estimator.setTheta(parameters.theta)
    estimator.setScalesNumber(parameters.scales)
    estimator.setWarpingsNumber(parameters.warps)
    estimator.setEpsilon(parameters.epsilon)
    estimator.setInnerIterations(parameters.inner_iterations)
    estimator.setOuterIterations(parameters.outer_iterations)
    estimator.setScaleStep(parameters.scale_step)
    estimator.setGamma(parameters.gamma)
    estimator.setMedianFiltering(parameters.median_filtering)
    return np.asarray(estimator.calc(earlier, later, np.zeros((*earlier.shape, 2), np.float32)))


def _require_contrib() -> None:
    if not hasattr(getattr(cv2, "optflow", None), "DualTVL1OpticalFlow"):
        raise ImportError(
            "TV-L1's preset 'accurate' needs the package opencv-contrib-python, but the OpenCV installed here has no "
            "contrib modules. Run `pip uninstall opencv-python opencv-python-headless`, then "
            "`pip install opencv-contrib-python`, or use preset 'fast', which does without"
        )
