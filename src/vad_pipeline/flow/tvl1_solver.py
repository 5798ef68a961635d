"""TV-L1 optical flow in whole-array operations: the steps and parameters of OpenCV's DualTVL1OpticalFlow, sooner done.

The method is the duality-based one of Zach, Pock and Bischof (DAGM 2007) with the pyramid, warping and median filter of
Sánchez Pérez, Meinhardt-Llopis and Facciolo (IPOL 2013), which is what OpenCV implements. OpenCV runs each step as a
scalar loop over pixels, with a double-precision hypotenuse per pixel and direction; here a step is a handful of
vectorised passes over arrays that fit a processor's cache: four to five times as many pairs per second and core at
256x256.

Flow differs from OpenCV's by rounding, and where rounding tips the choice between two equally good matches: by 0.007 px
on average on UCSD Ped2 and 0.013 px on the built-in scenes (0.02 and 0.07 px where things move), while OpenCV's own
flow moves by 0.008 and 0.017 px when one frame of a pair is brighter by a millionth (benchmarks/bench_tvl1.py).
"""

from dataclasses import dataclass

import cv2
import numpy as np

SMALLEST_LEVEL = 16  # pixels; OpenCV's pyramid ends before a side gets shorter
FLAT = np.float32(1e-12)  # squared gradient, below which a pixel says nothing about its motion


@dataclass(frozen=True)
class Parameters:
    """OpenCV's parameters under its defaults; ``TVL1`` of ``flow/tvl1.py`` says what they mean."""

    tau: float = 0.25
    lambda_: float = 0.15
    theta: float = 0.3
    scales: int = 5
    warps: int = 5
    epsilon: float = 0.01
    inner_iterations: int = 30
    outer_iterations: int = 10
    scale_step: float = 0.8
    gamma: float = 0.0
    median_filtering: int = 5


def dual_tvl1(earlier: np.ndarray, later: np.ndarray, parameters: Parameters) -> np.ndarray:
    """Flow float32 (H, W, 2) in pixels, x first, from ``earlier`` to ``later``.

    Args:
        earlier, later: gray frames uint8 (H, W), both sides at least 3 pixels.
        parameters: the method's.
    """
    levels = _pyramid(earlier.astype(np.float32), later.astype(np.float32), parameters)
    # A third component, where gamma is set, holds a change of brightness.
    u: list[np.ndarray] = [np.zeros(levels[-1][0].shape, np.float32) for _ in range(3 if parameters.gamma else 2)]
    for number in reversed(range(len(levels))):
        _solve_level(*levels[number], u, parameters)
        if number:
            size = levels[number - 1][0].shape[::-1]
            u = [cv2.resize(component, size, interpolation=cv2.INTER_LINEAR) for component in u]
            for component in u[:2]:
                component *= np.float32(1 / parameters.scale_step)
    return np.stack(u[:2], axis=-1)


def _pyramid(earlier: np.ndarray, later: np.ndarray, parameters: Parameters) -> list[tuple[np.ndarray, np.ndarray]]:
    """Both frames at every level, finest first; fewer levels than asked for where frames are small."""
    levels, step = [(earlier, later)], parameters.scale_step
    while len(levels) < parameters.scales:
        smaller = [cv2.resize(frame, None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR) for frame in levels[-1]]
        if min(smaller[0].shape) < SMALLEST_LEVEL:
            break
        levels.append((smaller[0], smaller[1]))
    return levels


def _solve_level(earlier: np.ndarray, later: np.ndarray, u: list[np.ndarray], parameters: Parameters) -> None:
    """Improve the flow (and change of brightness) ``u`` of one level in place.

    Everywhere below, ``u`` is kept times tau / theta, so that the dual step takes no products:
    p <- (p + grad u) / (1 + |grad u|).
    """
    rows, columns = earlier.shape
    theta, gamma = np.float32(parameters.theta), np.float32(parameters.gamma)
    scale = np.float32(parameters.tau / parameters.theta)
    reach = np.float32(parameters.lambda_ * parameters.theta)
    # OpenCV stops when the squared change of u, summed over the level, falls to this; the loop sees it over theta^2.
    enough = parameters.epsilon**2 * rows * columns / parameters.theta**2

    textures = np.dstack((later, *_central_gradient(later)))
    x, y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
    fidelity, scratch = np.empty((rows, columns), np.float32), _Scratch(rows, columns)
    duals = [_Dual(rows, columns) for _ in u]

    for _ in range(parameters.warps):
        warped = cv2.remap(textures, x + u[0], y + u[1], cv2.INTER_CUBIC)  # outside the frame: 0, as in OpenCV
        there, *slopes = cv2.split(warped)
        squared = slopes[0] * slopes[0] + slopes[1] * slopes[1]
        if parameters.gamma:
            slopes.append(np.full((rows, columns), gamma))
        for component in u:
            component *= scale
        # fidelity = constant + sum of weights * u = -(brightness difference at u) / |slope|^2
        inverse = np.divide(-1, np.maximum(squared, FLAT, out=squared), out=squared)
        weights = [slope * inverse / scale for slope in slopes]
        constant = (there - earlier) * inverse - weights[0] * u[0] - weights[1] * u[1]
        pulls = [slope / theta for slope in slopes]

        change = np.inf
        for _ in range(parameters.outer_iterations):
            if change <= enough:
                break
            if parameters.median_filtering > 1:
                for component in u[:2]:
                    cv2.medianBlur(component, parameters.median_filtering, component)
            for _ in range(parameters.inner_iterations):
                if change <= enough:
                    break
                np.copyto(fidelity, constant)
                for weight, component in zip(weights, u, strict=True):
                    cv2.accumulateProduct(weight, component, fidelity)
                np.clip(fidelity, -reach, reach, out=fidelity)
                change = 0.0
                for component, pull, dual in zip(u, pulls, duals, strict=True):
                    change += dual.step(component, pull, fidelity, parameters.tau, scratch)
        for component in u:
            component /= scale


class _Scratch:
    """Arrays that every step overwrites; one set for all components, because fewer arrays stay in the cache."""

    def __init__(self, rows: int, columns: int):
        self.change, self.slope_x, self.slope_y = (np.zeros((rows, columns), np.float32) for _ in range(3))


class _Dual:
    """The dual variable of one component of the flow, zero in its last column (x) and its last row (y).

    Those zeros let differences between neighbours run over the flattened array: what wraps around a border is zero.
    """

    def __init__(self, rows: int, columns: int):
        self.along_x, self.along_y = (np.zeros((rows, columns), np.float32) for _ in range(2))

    def step(self, u: np.ndarray, pull: np.ndarray, fidelity: np.ndarray, tau: float, scratch: _Scratch) -> float:
        """One iteration of ``u`` in place; returns its squared change over tau^2, summed over pixels."""
        by_axis = ((self.along_x, scratch.slope_x, 1), (self.along_y, scratch.slope_y, u.shape[1]))
        change = np.multiply(pull, fidelity, out=scratch.change)
        for along, _, apart in by_axis:  # the divergence
            change += along
            change.reshape(-1)[apart:] -= along.reshape(-1)[:-apart]
        squared_change = cv2.norm(change, cv2.NORM_L2SQR)
        cv2.scaleAdd(change, tau, u, u)

        flat = u.reshape(-1)
        for _, slope, apart in by_axis:
            np.subtract(flat[apart:], flat[:-apart], out=slope.reshape(-1)[:-apart])
        scratch.slope_x[:, -1] = 0
        # not cv2.magnitude, whose last bits depend on where in memory the arrays lie: equal frames give equal flow
        divisor = np.multiply(scratch.slope_x, scratch.slope_x, out=scratch.change)
        cv2.accumulateSquare(scratch.slope_y, divisor)
        np.sqrt(divisor, out=divisor)
        divisor += 1
        for along, slope, _ in by_axis:
            along += slope
            along /= divisor
        return squared_change


def _central_gradient(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    padded = cv2.copyMakeBorder(frame, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    return (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2, (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2
