"""Rows of an experiment compared without any label: held-out normal clips against pseudo-anomalies made of them.

    python benchmarks/rows_on_pseudo_anomalies.py ENVIRONMENT EXPERIMENT ROW [ROW ...]

The rows must have been trained (``kedro run --env=.. --pipeline=EXPERIMENT``). Pseudo-anomalous clips are the held-out
ones at three times their speed, and with a textured patch that moves about in them. Printed are the AUC of each raw
term and of the fused score, and how many items of a memory the held-out queries are nearest to.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from pydantic import TypeAdapter

from vad_pipeline.anomalies.patch import Patch, intruder, patch_clip
from vad_pipeline.clips.held_out import with_parts
from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.evaluation.metrics import micro_auc
from vad_pipeline.evaluation.normality import anomaly_score
from vad_pipeline.experiments.experiments import EXPERIMENTS, Budget, with_overrides
from vad_pipeline.models.build import build
from vad_pipeline.models.contract import Model
from vad_pipeline.models.memory_model import MemoryModel
from vad_pipeline.models.scorer import ScoringOptions
from vad_pipeline.models.system import ONLY
from vad_pipeline.models.systems import SYSTEMS, model_class
from vad_pipeline.training.train import train

PROJECT, SPEED, RUN = Path(__file__).resolve().parents[1], 3, 16


def faster(frames: np.ndarray) -> np.ndarray:
    return frames[::SPEED]


def patched(frames: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Runs of 16 frames with an intruder each."""
    _, height, width, channels = frames.shape
    runs = [frames[first : first + RUN] for first in range(0, len(frames) - RUN + 1, RUN)]
    return np.concatenate(
        [patch_clip(np.array(run), intruder(random, height, width, channels, None), Patch(), random) for run in runs]
    )


def scored(model: Model, clips: Mapping[str, np.ndarray]) -> pd.DataFrame:
    scorer = model.scorer(ScoringOptions())
    return pd.concat(
        [
            pd.DataFrame({"clip": clip, "frame": batch.frames, **batch.terms})
            for clip, frames in clips.items()
            for batch in scorer.clip({"frames": frames})
        ],
        ignore_index=True,
    )


def items_used(model: Model, clips: Mapping[str, np.ndarray]) -> str:
    """How many items are the nearest of at least a hundredth of the held-out queries."""
    if not isinstance(model, MemoryModel):
        return ""
    used = torch.zeros(len(model.items))
    with torch.inference_mode():
        for frames in clips.values():
            window = torch.from_numpy(np.array(frames[: model.window(model.config).length])).movedim(-1, -3)
            features, _past = model.encode((window.float() / 127.5 - 1)[None, : model.inputs])
            assert features is not None
            queries = torch.nn.functional.normalize(features.movedim(1, -1).flatten(0, 2), dim=1)
            used += torch.bincount((queries @ model.items.T).argmax(1), minlength=len(used))
    return f", items used {int((used > used.sum() / 100).sum())} of {len(used)}"


def main() -> None:
    environment, name, *rows = sys.argv[1:]
    bootstrap_project(PROJECT)
    experiment = EXPERIMENTS[name]
    with KedroSession.create(project_path=PROJECT, env=environment) as session:
        context = session.load_context()  # type: ignore[attr-defined]
        folder = context.catalog.load(f"{name}.working_directory")
        for row in (experiment.row(r) for r in rows):
            model_name = SYSTEMS[row.system].parts[ONLY].model
            given = context.params[row.system]
            config: Any = TypeAdapter(model_class(model_name).config_class).validate_python(given["model"])
            size = row.size(TypeAdapter(FrameSize).validate_python(given["frames"]))
            budget = TypeAdapter(Budget).validate_python(context.params[name])
            frames = context.catalog.load(f"{experiment.namespace(row)}.frames")
            trained = train(
                model_name,
                with_overrides(config, row.overrides),
                size,
                budget.training,
                budget.seeds[0],
                {"frames": frames},
                folder,
            )
            assert trained.reused, f"row {row.name} is not trained yet"
            model = build(trained.checkpoint)
            held_out = trained.checkpoint.about["held_out"]
            clips = with_parts({"frames": frames}, held_out)["frames"]
            normal = {clip: clips[clip].array() for clip in held_out}
            random = np.random.default_rng(0)
            made = {
                "faster": {f"{clip}, faster": faster(rows) for clip, rows in normal.items()},
                "patched": {f"{clip}, patched": patched(rows, random) for clip, rows in normal.items()},
            }
            print(f"{row.title}{items_used(model, normal)}")
            for kind, abnormal in made.items():
                table = pd.concat([scored(model, normal).assign(label=0), scored(model, abnormal).assign(label=1)])
                terms = {term: anomaly_score(table, model.terms, {term: 1.0}, "global") for term in model.terms}
                terms["fused"] = anomaly_score(table, model.terms, model.fusion(model.config), "global")
                areas = {term: 100 * micro_auc(table["label"], values) for term, values in terms.items()}
                print(f"  {kind:8s}", ", ".join(f"{term} {area:.1f}" for term, area in areas.items()), flush=True)


if __name__ == "__main__":
    main()
