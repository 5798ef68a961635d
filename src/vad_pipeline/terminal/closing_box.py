"""The box at the end of a run: what was measured, whether anything was trained, where to look."""

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.framework.hooks import hook_impl
from kedro.io import AbstractVersionedDataset, DataCatalog
from kedro.pipeline import Pipeline
from rich.box import ROUNDED
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from vad_pipeline.detection.thresholds import said_of_threshold
from vad_pipeline.evaluation.table import NO_LEARNING
from vad_pipeline.models.systems import SYSTEMS
from vad_pipeline.pipeline_registry import DEFAULT

COMPARISON = "model_comparison"  # of the models of a run: what it says comes first, and says theirs
FINISHED = "finished.safetensors"  # what a training leaves in its working directory
FIRST = DEFAULT[0]  # what `kedro score` takes where no model is named
ROWS = 14  # of a table; longer ones are in the report


class ClosingBox:
    """Kedro's hook; the box is printed on standard output."""

    _trained_before: frozenset[Path] = frozenset()

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Remember which trainings were finished."""
        self._trained_before = finished_trainings(pipeline, catalog)

    @hook_impl(trylast=True)
    def after_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Print the box."""
        names = " + ".join(run_params.get("pipeline_names") or DEFAULT)
        dataset = catalog.load("params:dataset") if "params:dataset" in catalog else ""
        new = len(finished_trainings(pipeline, catalog) - self._trained_before)
        lines = [*headlines(pipeline, catalog), *thresholds(pipeline, catalog), *trainings(pipeline, new)]
        if alone := going_on(pipeline, catalog, run_params.get("env")):
            lines += [*alone, *models(pipeline, catalog)]
        lines += places(pipeline, catalog, without_results=bool(alone))
        print_box(f"{names} on {dataset}", lines)


def print_box(title: str, lines: Sequence[tuple[str, str]], console: Console | None = None) -> None:
    """A box around names and what is said of them; without borders where the terminal is too narrow for the longest."""
    console = console or Console(highlight=False)
    left = max((len(name) for name, _ in lines), default=0)
    text = Text("\n").join(Text(f"{name:{left}}  {said}") for name, said in lines)
    needed = max(len(title), *(len(line) for line in text.plain.splitlines() or [""])) + 6
    if console.is_terminal and console.width < needed:
        console.print(Text(f"\n{title}", "bold"), text, sep="\n", soft_wrap=True)
        return
    # a file, or what reads a pipe, has no width: paths stay whole
    console.width = max(console.width, needed)
    console.print(Panel.fit(text, title=Text(title, "bold"), title_align="left", box=ROUNDED))


def headlines(pipeline: Pipeline, catalog: DataCatalog) -> list[tuple[str, str]]:
    """Micro AUC of what the run measured, trivial baselines beside it; of a comparison of models its table alone."""
    said = []
    tables = _made(pipeline, ".table")
    for name in tables[:1] if _compares(tables) else tables:
        table = catalog.load(name)
        if not isinstance(table, pd.DataFrame) or not {"row", "micro_auc"} <= set(table.columns):
            continue
        if "micro_auc_low" in table:  # below the models stands what papers cite of others, which was not measured
            table = table[table["frames_scored"].notna() | table["micro_auc"].notna()]
        metrics = f"{name.removesuffix('.table')}.metrics"
        measured = catalog.load(metrics) if metrics in pipeline.all_outputs() else {}
        for row in table.head(ROWS).itertuples():
            if math.isnan(row.micro_auc):  # type: ignore[arg-type]
                said.append((str(row.row), "no labels, nothing to measure"))
                continue
            fractions = {end: getattr(row, end, math.nan) / 100 for end in ("micro_auc_low", "micro_auc_high")}
            interval = _interval(fractions) or (_interval(measured) if row.Index == 0 else "")
            said.append((str(row.row).replace(f" {NO_LEARNING}", ""), f"micro AUC {row.micro_auc:5.1f} %{interval}"))
            if NO_LEARNING in str(row.row):
                said[-1] = (said[-1][0], f"{said[-1][1]}  {NO_LEARNING}")
        if len(table) > ROWS:
            said.append(("", f"and {len(table) - ROWS} further rows"))
    return said


def thresholds(pipeline: Pipeline, catalog: DataCatalog) -> list[tuple[str, str]]:
    """The lowest rate of false alarms that each detector's held-out footage supports, and its level."""
    said = []
    for name in _made(pipeline, ".metrics"):
        measured = catalog.load(name)
        if isinstance(measured, Mapping) and (words := said_of_threshold(measured)):
            said.append((f"{name.removesuffix('.metrics')} alarms", words))
    return said[:ROWS]


def trainings(pipeline: Pipeline, new: int) -> list[tuple[str, str]]:
    """Whether models were trained now or before; nothing of a run that trains none."""
    wanted = sum(any(name.endswith(".checkpoint") for name in node.outputs) for node in pipeline.nodes)
    if not wanted and not new and not any(name.endswith(".working_directory") for name in pipeline.inputs()):
        return []
    if not new:
        return [("trainings", "none: finished ones of earlier runs were used again")]
    again = f", {wanted - new} of earlier runs used again" if wanted > new else ""
    return [("trainings", f"{new} in this run{again}")]


def going_on(pipeline: Pipeline, catalog: DataCatalog, env: str | None) -> list[tuple[str, str]]:
    """Of systems that the run trained and did not evaluate: what their held-out footage promises, and what comes next.

    Args:
        pipeline, catalog: of the run.
        env: that was named.
    """
    made = pipeline.all_outputs()
    said = []
    for name, system in SYSTEMS.items():
        parts = {part: f"{system.namespace(part)}.checkpoint" for part in system.parts}
        if f"{name}.metrics" in made or not made.issuperset(parts.values()):
            continue
        checkpoints = {part: catalog.load(checkpoint) for part, checkpoint in parts.items()}
        named = "".join(f" --{key}={shlex.quote(value)}" for key, value in (("env", env), ("model", name)) if value)
        said += [
            (name, "trained, not evaluated"),
            ("threshold", promise(name, checkpoints)),
            ("go on with", f"kedro score new.mp4{named.removesuffix(f' --model={FIRST}')}"),
        ]
    return said


def promise(system: str, checkpoints: dict[str, Any]) -> str:
    """The rate of false alarms that a trained system's held-out footage supports, in words."""
    # here, where a training has loaded torch already
    from vad_pipeline.detection.detector import Detector
    from vad_pipeline.detection.thresholds import ThresholdError, spell
    from vad_pipeline.fitting.checkpoint import CheckpointError

    try:
        threshold = Detector(system, checkpoints).threshold
    except (CheckpointError, ThresholdError) as error:
        return str(error)
    return (
        f"at most {threshold.per_hour:.3g} false alarms an hour, the lowest rate that {spell(threshold.seconds)} of "
        "held-out normal footage support"
    )


def finished_trainings(pipeline: Pipeline, catalog: DataCatalog) -> frozenset[Path]:
    """Files that finished trainings left in the working directories that the pipeline reads."""
    folders = {
        Path(catalog.get(name)._filepath)  # type: ignore[union-attr]
        for name in pipeline.inputs()
        if name.endswith(".working_directory")
    }
    return frozenset(file for folder in folders for file in folder.glob(f"**/{FINISHED}"))


def models(pipeline: Pipeline, catalog: DataCatalog) -> list[tuple[str, str]]:
    """Where trained models are."""
    return [("model", path) for name in _made(pipeline, ".checkpoint") if (path := _path(name, catalog))]


def places(pipeline: Pipeline, catalog: DataCatalog, without_results: bool = False) -> list[tuple[str, str]]:
    """Where reports are; where there is none, and it is wanted, the pictures, tables and cards that nothing reads."""
    found = [("report", name) for name in _made(pipeline, ".report")]
    if not without_results:
        found = found or [("result", name) for name in sorted(pipeline.outputs()) if _path(name, catalog)]
    said = [(kind, path) for kind, name in found[:ROWS] if (path := _path(name, catalog))]
    return [*said, ("lineage", "kedro viz run")] if said else []


def _made(pipeline: Pipeline, ending: str) -> list[str]:
    """What a run makes of some ending, a comparison's before all others."""
    made = [name for node in pipeline.nodes for name in node.outputs if name.endswith(ending)]
    return sorted(made, key=lambda name: not _compares([name]))


def _compares(names: Sequence[str]) -> bool:
    """Whether the first of some datasets is of a comparison."""
    return any(name.startswith(f"{COMPARISON}.") for name in names[:1])


def _path(name: str, catalog: DataCatalog) -> str | None:
    """Where the run wrote a dataset, relative to the working directory where that is shorter."""
    dataset = catalog.get(name)
    path = getattr(dataset, "_filepath", None)
    if path is None:
        return None
    if isinstance(dataset, AbstractVersionedDataset) and (saved := dataset.resolve_save_version()):
        path = dataset._get_versioned_path(saved)
    here = Path(str(path))
    return str(here.relative_to(Path.cwd())) if here.is_relative_to(Path.cwd()) else str(here)


def _interval(metrics: dict[str, float | None]) -> str:
    low, high = metrics.get("micro_auc_low"), metrics.get("micro_auc_high")
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    return f"  (95% interval {100 * low:.1f} to {100 * high:.1f})"
