"""Scene exemplars: what moves how, and looks how, at each place of a scene, against what normal footage showed there.

Not from a paper. Relatives: the exemplars per region of Street Scene's baseline (Ramachandra and Jones 2020) and EVAL,
AI-VAD's densities of velocities and features, PatchCore's memory bank, inductive conformal anomaly detection. Nothing
is trained by gradients: one pass over the footage fills banks of a set size, and says how far normal things lie from
one another.

A cell is 4x4 pixels of a frame (the presets bring frames to 240 rows). It counts where foreground covers 0.4 of it, two
cells or more off the picture's border.

- Foreground: what differs by 18 gray levels from a running background, which starts as the median of the training
  frames, follows the light, and allows for an even change of the whole picture.
- Motion: DIS flow from t to t + gap and, negated, to t - gap, averaged; mean over the foreground of the 9x5 cells
  around: about a person, so that a swinging leg moves as its walker does. Of two statistics of it the larger surprise
  counts: *speed*, over the 95th percentile of speeds in the 13 rows around; and how far the *velocity*, in units of
  their median, lies from the ten nearest of the bank's examples (two rows off count as far as a ninth of that unit),
  among which every row has things that stand still, so that what is slow is never far.
- Appearance: the output of EfficientNet-Lite0's fifth block (frozen, ImageNet) on the frame enlarged twice, averaged
  over 3x3 cells, standardised by the bank; distance to the nearest of its examples.
- Place: -log of the share of training frames in which something was there. A term of its own, no part of the surprise.
- Surprise: each statistic is turned into -log p by its rank among the cells of the footage itself, each compared with
  examples of other folds of the footage alone (cross-conformal), beyond their 99th percentile by an exponential tail. A
  cell's is the root of the squared surprises of motion and appearance added; a frame's the mean of its ten most
  surprising cells, 0 where there is no foreground. No scaling per clip, no smoothing.
- The frame's p-value: its rank among the frames of held-out clips.
- A fifth of the picture foreground is no thing but the camera (moved, covered, light switched): no cell counts, and
  after a second term ``camera`` says so and the background catches up.

How these were chosen, on held-out clips and pseudo-anomalies made of them: docs/results.md.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from vad_pipeline.clips.resize import to_gray
from vad_pipeline.clips.window import Window
from vad_pipeline.evaluation.terms import Term
from vad_pipeline.features.cell_features import CellFeatures
from vad_pipeline.fitting.devices import TrainingError
from vad_pipeline.models.contract import Arrays, Model
from vad_pipeline.models.layers.coreset import content_of, kept, priorities
from vad_pipeline.models.layers.exemplar_banks import (
    FOLDS,
    NEIGHBOURS,
    AppearanceBank,
    VelocityBank,
    crosswise,
    folds_of,
    rarity,
    speeds_by_row,
)
from vad_pipeline.models.layers.foreground import CELL, Background
from vad_pipeline.models.layers.moving_cells import Cells, cells_in_motion, features_of
from vad_pipeline.models.layers.tail import surprise, tail_of
from vad_pipeline.models.scorer import Complete, Scorer, ScoringOptions

BACKGROUNDS = 48  # training frames whose median is the background
BLOCK, PART = 100, 25  # gaps of footage (20 and 5 seconds) that belong to one fold of it
CLIP_SAMPLES = 60  # frames of a clip whose median is its own background while it is learnt
STATISTICS = ("speed", "velocity", "appearance", "place")


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """Scene exemplars.

    Attributes:
        gap: frames over which motion is measured; those of a fifth of a second: 2 at 10 frames a second, 5 at 25.
        causal: look back only, so that a score needs no later frame; otherwise it comes ``gap`` frames late.
        threshold: gray levels by which foreground differs from the background.
        running_background: follow slow changes of light.
        border: cells along the picture's border that do not count: things there are cut off, flow and features see
            beyond it.
        motion_examples, appearance_examples: sizes of the banks.
        appearance_share: of the training frames whose cells' appearance is looked at; speeds of cells are cheap, their
            features are not.
        features: what describes how a cell looks.
        top_cells: most surprising cells of a frame that its score averages.
    """

    gap: int = Field(default=2, ge=1)
    causal: bool = False
    threshold: float = Field(default=18.0, gt=0)
    running_background: bool = True
    border: int = Field(default=2, ge=0)
    motion_examples: int = Field(default=60_000, ge=NEIGHBOURS)
    appearance_examples: int = Field(default=20_000, ge=1)
    appearance_share: float = Field(default=0.25, gt=0, le=1)
    features: CellFeatures = Field(default_factory=CellFeatures)
    top_cells: int = Field(default=10, ge=1)


class SceneExemplars(Model):
    """The memory of a scene; see ``Model`` for the arguments. What it has learnt lies in buffers."""

    config_class: ClassVar[type] = Config
    terms: ClassVar[dict[str, Term]] = {
        "surprise": Term(higher_is_anomalous=True, meaning="mean -log p of the most surprising cells"),
        "motion": Term(higher_is_anomalous=True, meaning="the same of speed and velocity alone"),
        "speed": Term(higher_is_anomalous=True, meaning="the same of speed alone"),
        "velocity": Term(higher_is_anomalous=True, meaning="the same of velocity alone"),
        "appearance": Term(higher_is_anomalous=True, meaning="the same of appearance alone"),
        "place": Term(higher_is_anomalous=True, meaning="the same of place alone, no part of the surprise"),
        "p_value": Term(
            higher_is_anomalous=False, meaning="p-value of the surprise among held-out frames", bounded=True
        ),
        "camera": Term(higher_is_anomalous=True, meaning="1 where the picture has changed as a whole", bounded=True),
    }
    has_maps = True
    size_multiple = 8
    learns_in_one_pass = True
    scoring_only = frozenset({"top_cells", "running_background"})
    tiny: ClassVar[Mapping[str, Any]] = {
        "gap": 1,
        "border": 0,
        "motion_examples": 200,
        "appearance_examples": 100,
        "appearance_share": 1.0,
    }

    backgrounds: Tensor  # uint8 (n, H, W), training frames
    motion: Tensor  # float32 (n, 4): row, column and velocity of cells
    motion_origins: Tensor  # int64 (n, 2): numbers of the block of footage and of the part of it
    looks: Tensor  # float16 (n, C), features of cells
    looks_origins: Tensor
    occupied: Tensor  # int64 (2, FOLDS, h, w): frames in which a cell was foreground, by fold, of blocks and of parts
    frames_seen: Tensor  # int64 (2, FOLDS)
    background: Tensor  # uint8 (H, W), their median
    row_speeds: Tensor  # float32 (2, h): median and 95th percentile of the speeds around a row

    def __init__(self, config: Config, colours: int = 3, learning_rate: float = 2e-4, epochs: int = 60):
        super().__init__(config, colours, learning_rate, epochs)
        self.config: Config = config
        for name, size, kind in (
            ("backgrounds", (0, 0, 0), torch.uint8),
            ("motion", (0, 4), torch.float32),
            ("looks", (0, config.features.dimension), torch.float16),
        ):
            self.register_buffer(name, torch.zeros(size, dtype=kind))
            self.register_buffer(f"{name}_ranks", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("motion_origins", torch.zeros(0, 2, dtype=torch.int64))
        self.register_buffer("looks_origins", torch.zeros(0, 2, dtype=torch.int64))
        self.register_buffer("occupied", torch.zeros(2, FOLDS, 0, 0, dtype=torch.int64))
        self.register_buffer("frames_seen", torch.zeros(2, FOLDS, dtype=torch.int64))
        self.register_buffer("background", torch.zeros(0, 0, dtype=torch.uint8))
        self.register_buffer("row_speeds", torch.zeros(2, 0))
        for statistic in (*STATISTICS, "frame"):
            self.register_buffer(f"{statistic}_tail", tail_of(np.zeros(0)))

    @staticmethod
    def window(config: Config) -> Window:
        return Window(length=config.gap + 1 if config.causal else 2 * config.gap + 1, target=config.gap)

    @staticmethod
    def fusion(config: Config) -> dict[str, float]:
        return {"surprise": 1.0}

    def facts(self) -> dict[str, float]:
        """How much was seen, and the smallest p-value of a frame that ranks can give."""
        return {
            "frames_seen": float(self.frames_seen[0].sum()),
            "examples_of_motion": float(len(self.motion)),
            "examples_of_appearance": float(len(self.looks)),
            "smallest_p_value_by_rank": 1 / (float(self.frame_tail[-1]) + 1),
        }

    def learn(self, clip: Arrays) -> dict[str, Tensor | float]:
        """Add a clip to the banks; the order of clips changes nothing."""
        frames, config, window = clip["frames"], self.config, self.window(self.config)
        own = np.stack([to_gray(frames[t]) for t in range(0, len(frames), -(-len(frames) // CLIP_SAMPLES))])
        ranks = np.array([priorities(content_of(gray), 1)[0] for gray in own])
        self._remember("backgrounds", own, ranks, BACKGROUNDS)
        background = Background(np.median(own, axis=0).astype(np.float32), config.gap, config.threshold)
        grays: deque[np.ndarray] = deque(maxlen=window.length)
        masks: deque[np.ndarray] = deque(maxlen=window.length)
        origin = np.zeros(2, np.int64)
        found = 0
        for t, frame in enumerate(frames):
            for kind, gaps in enumerate((BLOCK, PART)):
                if t % (gaps * config.gap) == 0:
                    origin[kind] = priorities(content_of(frame), 1)[0]
            grays.append(to_gray(np.asarray(frame)))
            masks.append(background.things(grays[-1]))
            if len(grays) == window.length:
                target = frames[t - window.length + 1 + window.target]
                found += self._learn_frame(np.asarray(target), list(grays), masks[window.target], origin)
        return {"train_cells": found / len(frames)}

    def _learn_frame(self, frame: np.ndarray, grays: Sequence[np.ndarray], mask: np.ndarray, origin: np.ndarray) -> int:
        """Add the foreground cells of a frame; how many there were."""
        places, velocity = cells_in_motion(grays, mask, self.config.gap, self.config.border)
        height, width = mask.shape[0] // CELL, mask.shape[1] // CELL
        if not self.occupied.numel():
            self.occupied = self.occupied.new_zeros(2, FOLDS, height, width)
        rows, columns = torch.from_numpy(places.T).to(self.occupied.device)
        for kind, fold in enumerate(origin % FOLDS):
            self.frames_seen[kind, fold] += 1
            self.occupied[kind, fold, rows, columns] += 1
        content = content_of(frame)
        ranks = priorities(content, len(places))
        self._remember("motion", np.c_[places, velocity], ranks, self.config.motion_examples, origin)
        if len(places) and content / 2**32 < self.config.appearance_share:
            looks = features_of(frame, places, self.config.features, self.looks.device)
            self._remember("looks", looks, ranks, self.config.appearance_examples, origin)
        return len(places)

    def _remember(
        self, bank: str, examples: Any, ranks: np.ndarray, size: int, origin: np.ndarray | None = None
    ) -> None:
        known: Tensor = getattr(self, bank)
        given = {"examples": torch.as_tensor(examples).to(known.dtype), "ranks": torch.from_numpy(ranks)}
        if origin is not None:
            given["origins"] = torch.from_numpy(origin).expand(len(ranks), 2)
        given = {part: values.to(known.device) for part, values in given.items()}
        names = {part: bank if part == "examples" else f"{bank}_{part}" for part in given}
        had = {part: getattr(self, name) for part, name in names.items()}
        if not len(known):
            had["examples"] = given["examples"][:0]  # an empty bank does not know the size of its examples yet
        for part, values in kept(had, given, size).items():
            setattr(self, names[part], values)

    def calibrate(self, held_out: Callable[[], Iterator[Arrays]], options: ScoringOptions) -> None:
        """Background, usual speeds, how far normal cells lie from others, and how surprising held-out frames are.

        Raises:
            TrainingError: no foreground was seen in training, or there is no held-out footage.
        """
        if not len(self.motion):
            raise TrainingError(
                "scene_exemplars: nothing stands out from the background in the training clips, so there is nothing to "
                "learn; give footage in which things move, or lower model.threshold"
            )
        if not len(self.looks):
            raise TrainingError("scene_exemplars: no training frame's appearance was looked at; raise appearance_share")
        device = self.looks.device
        self.background = self.backgrounds.cpu().float().median(dim=0).values.round().byte().to(device)
        motion = self.motion.cpu().numpy()
        self.row_speeds = torch.from_numpy(speeds_by_row(motion, self.occupied.shape[2])).to(device)
        for statistic, values in self._crosswise(motion, options.device).items():
            setattr(self, f"{statistic}_tail", tail_of(values).to(device))
        scorer = self.scorer(options)
        encoded = (cells for arrays in held_out() for windows, _ in scorer.encodings(arrays) for cells in windows)
        frames = [highest(scorer.surprises(cells)["surprise"], self.config.top_cells) for cells in encoded]
        if not frames:
            raise TrainingError(
                "scene_exemplars: no held-out footage to say how surprising normal frames are; set training.held_out "
                f"above 0 and give clips of at least {self.window(self.config).length} frames"
            )
        self.frame_tail = tail_of(np.array(frames)).to(device)

    def _crosswise(self, motion: np.ndarray, device: torch.device) -> dict[str, np.ndarray]:
        """Each statistic of the examples, of each fold against the others."""
        speeds, looks = self.row_speeds.cpu().numpy(), self.looks.to(device).float()
        folds, kind = folds_of(self.motion_origins.cpu().numpy())
        of_looks, _ = folds_of(self.looks_origins.cpu().numpy())

        def appearance(others: np.ndarray, mine: np.ndarray) -> np.ndarray:
            return AppearanceBank(looks[others], looks).distance(looks[mine])

        return {
            "speed": VelocityBank(motion, speeds).speed(motion),
            "velocity": crosswise(folds, lambda o, mine: VelocityBank(motion[o], speeds).distance(motion[mine])),
            "appearance": crosswise(of_looks, appearance),
            "place": self._places(motion, folds, kind),
        }

    def _places(self, motion: np.ndarray, folds: np.ndarray, kind: int) -> np.ndarray:
        """How rare the places of the examples are in the footage of other folds, by blocks (0) or parts (1) of it."""
        occupied, seen = self.occupied[kind].cpu().numpy(), self.frames_seen[kind].cpu().numpy()

        def others(fold: int) -> np.ndarray:
            return rarity(occupied.sum(axis=0) - occupied[fold], int(seen.sum() - seen[fold]))

        rows, columns = motion[:, :2].astype(int).T
        found = [others(fold)[rows[folds == fold], columns[folds == fold]] for fold in np.unique(folds)]
        return np.concatenate(found) if len(found) > 1 else np.zeros(0)

    def scorer(self, options: ScoringOptions) -> "SceneExemplarsScorer":
        return SceneExemplarsScorer(self, options)


class SceneExemplarsScorer(Scorer):
    """The memory made ready to score; every clip starts from the background that training saw."""

    def __init__(self, model: SceneExemplars, options: ScoringOptions):
        super().__init__(model.window(model.config), model.streams(model.config), options)
        self.model, self.config = model, model.config
        self.velocities = VelocityBank(model.motion.cpu().numpy(), model.row_speeds.cpu().numpy())
        looks = model.looks.to(options.device).float()
        self.looks = AppearanceBank(looks, looks)
        self.rarity = rarity(model.occupied[0].sum(dim=0).cpu().numpy(), int(model.frames_seen[0].sum()))
        self.tails = {name: getattr(model, f"{name}_tail").cpu() for name in (*STATISTICS, "frame")}

    def begin(self) -> None:
        picture = self.model.background.cpu().numpy().astype(np.float32)
        self.background = Background(picture, self.config.gap, self.config.threshold, self.config.running_background)

    def per_row(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        """Frames with what stands out of them, gray."""
        frames = rows["frames"].cpu().numpy()
        self._check(frames.shape[1:3])
        grays = np.stack([to_gray(frame) for frame in frames])
        masks, lost = [], []
        for gray in grays:
            masks.append(self.background.things(gray))
            lost.append(self.background.lost)
        return {
            "frames": rows["frames"],
            "gray": torch.from_numpy(grays),
            "foreground": torch.from_numpy(np.stack(masks)),
            "lost": torch.tensor(lost),
        }

    def encode(self, rows: dict[str, Tensor], complete: Complete) -> list[Cells]:
        """Foreground cells of each window's target frame."""
        grays, masks, lost = (rows[name].numpy() for name in ("gray", "foreground", "lost"))
        targets = complete.starts + self.window.target
        moving = [
            cells_in_motion(
                list(grays[start : start + self.window.length]),
                masks[at],
                self.config.gap,
                self.config.border,
            )
            for start, at in zip(complete.starts, targets, strict=True)
        ]
        frames, options = rows["frames"], self.options
        return [
            Cells(
                places,
                velocity,
                features_of(frames[at].cpu().numpy(), places, self.config.features, options.device, options.bf16),
                bool(lost[at]),
            )
            for (places, velocity), at in zip(moving, targets, strict=True)
        ]

    def score(self, encoded: list[Cells], complete: Complete) -> tuple[dict[str, Tensor], Tensor]:
        """Terms of the frames and maps of their cells' surprise."""
        height, width = (side // CELL for side in self.model.background.shape)
        maps = torch.zeros(len(encoded), height, width)
        terms = {name: torch.zeros(len(encoded), dtype=torch.float64) for name in self.model.terms}
        for n, cells in enumerate(encoded):
            surprises = self.surprises(cells)
            maps[n][tuple(torch.from_numpy(cells.places.T))] = torch.from_numpy(surprises["surprise"]).float()
            for name, values in surprises.items():
                terms[name][n] = highest(values, self.config.top_cells)
            terms["camera"][n] = float(cells.lost)
        terms["p_value"] = torch.from_numpy(np.exp(-surprise(terms["surprise"].numpy(), self.tails["frame"])))
        return terms, maps

    def surprises(self, cells: Cells) -> dict[str, np.ndarray]:
        """Term -> -log p of each cell, (m,)."""
        motion = np.c_[cells.places, cells.velocity]
        features = torch.from_numpy(cells.appearance).to(self.options.device)
        alone = {
            "speed": surprise(self.velocities.speed(motion), self.tails["speed"]),
            "velocity": surprise(self.velocities.distance(motion), self.tails["velocity"]),
            "appearance": surprise(self.looks.distance(features), self.tails["appearance"]),
            "place": surprise(self.rarity[tuple(cells.places.T)], self.tails["place"]),
        }
        moved = np.maximum(alone["speed"], alone["velocity"])
        return {**alone, "motion": moved, "surprise": np.hypot(moved, alone["appearance"])}

    def predict(self, arrays: Arrays, position: int) -> np.ndarray:
        """The empty scene: what would surprise nobody."""
        picture = self.model.background.cpu().numpy()[..., None]
        return np.repeat(picture, arrays["frames"].shape[-1], axis=-1)

    def _check(self, size: tuple[int, ...]) -> None:
        known = tuple(self.model.background.shape)
        if tuple(size) != known:
            raise ValueError(
                f"frames of {size[1]}x{size[0]}, the scene was learnt at {known[1]}x{known[0]}; resize them to that"
            )


def highest(values: np.ndarray, count: int) -> float:
    """Mean of the highest values, those that are missing count as 0."""
    return float(np.sort(values)[-count:].sum()) / count
