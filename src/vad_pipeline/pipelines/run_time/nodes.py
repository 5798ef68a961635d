"""The node that times systems frame by frame."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from pydantic import TypeAdapter

from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.evaluation.published import published_results, published_value
from vad_pipeline.fitting.checkpoint import Checkpoint
from vad_pipeline.fitting.devices import torch_threads
from vad_pipeline.flow.dis import DIS
from vad_pipeline.flow.flownet_flow import FlowNetFlow
from vad_pipeline.flow.tvl1 import TVL1
from vad_pipeline.models.build import build
from vad_pipeline.models.contract import Model
from vad_pipeline.models.system import System
from vad_pipeline.models.systems import SYSTEMS, model_class
from vad_pipeline.report.run_time import run_time_figure
from vad_pipeline.scoring.run_time import FrameByFrame, RunTime, device_name, time_frames
from vad_pipeline.scoring.score import Scoring, ScoringError
from vad_pipeline.sources.extraction import FrameExtraction, frame_jobs
from vad_pipeline.training.streams import Recipe, recipes_of

CPU = torch.device("cpu")
logger = logging.getLogger(__name__)


def measure_run_time(
    config: RunTime,
    extraction: FrameExtraction,
    split: str,
    parameters: dict[str, Any],
    stored: Mapping[str, Callable[[], Checkpoint]],
) -> tuple[pd.DataFrame, Figure]:
    """Milliseconds per frame on the CPU and, where the system's ``scoring`` chooses another device, there too.

    Args:
        config: which systems.
        extraction: where the raw clips come from.
        split: whose clips are scored.
        parameters: all of them; a system that is not trained is built from its own, but for one that learns in one
            pass: that is left out, and the log says so.
        stored: ``<system or part>/checkpoint.safetensors/<version>`` -> loads that checkpoint.

    Returns:
        Table row, device, weights (trained, untrained), parameters (millions), frames (size and colour), reading_ms,
        network_ms, end_to_end_ms, fps (end to end), published_ms, note; cited rows, which have only the last two, are
        below. And a figure of it.

    Raises:
        ScoringError: there are no clips to score, or none is long enough.
    """
    jobs = {clip: job for clip, job in frame_jobs(extraction).items() if clip.startswith(f"{split}/")}
    if not jobs:
        raise ScoringError(f"run_time: the data have no clips of {split!r}; set eval_split to a split that they have")
    clips: list[Callable[[], Iterator[np.ndarray]]] = []
    for job in jobs.values():
        assert job.rows is not None
        clips.append(partial(job.rows, 0, None))
    latest = {key.split("/", 1)[0]: stored[key] for key in sorted(stored)}  # versions are times
    rows = []
    for name in config.systems:
        system = SYSTEMS[name]
        if unlearnt := _unlearnt(system, latest):
            logger.warning(
                "%s learns no weights that could be random; `kedro run --pipeline=%s` first.", unlearnt, name
            )
            continue
        networks = [_network(system, part, parameters, latest) for part in system.parts]
        scorings = [Scoring(**_section(parameters, system.namespace(part))["scoring"]) for part in system.parts]
        chosen = [scoring.options() for scoring in scorings]
        for device in dict.fromkeys((CPU, chosen[0].device)):
            with torch_threads(scorings[0].threads):
                parts = [
                    FrameByFrame(model, size, recipes, replace(options, device=device))
                    for (model, size, recipes, _), options in zip(networks, chosen, strict=True)
                ]
                times = time_frames(parts, clips, config)
                computed_by = device_name(device)
            weights = sum(p.numel() for model, *_ in networks for p in model.parameters())
            rows.append(
                {
                    "row": name,
                    "device": computed_by,
                    "weights": "trained" if all(trained for *_, trained in networks) else "untrained",
                    "parameters": weights / 1e6,
                    "frames": ", ".join(dict.fromkeys(_described(size) for _, size, *_ in networks)),
                    "reading_ms": times.reading,
                    "network_ms": times.network,
                    "end_to_end_ms": times.end_to_end,
                    "fps": 1000 / times.end_to_end,
                    "published_ms": _published(name),
                    "note": "",
                }
            )
    table = pd.DataFrame([*rows, *_cited()]).astype({"published_ms": "float64"})
    return table, run_time_figure(table)


def _unlearnt(system: System, latest: Mapping[str, Callable[[], Checkpoint]]) -> str:
    """The part that learns in one pass and has not yet; empty if there is none.

    A network takes as long with random weights; a memory of examples has none to compare with.
    """
    names = {system.namespace(part): declared.model for part, declared in system.parts.items()}
    wanting = (name for name, model in names.items() if name not in latest and model_class(model).learns_in_one_pass)
    return next(wanting, "")


def _network(
    system: System, part: str, parameters: dict[str, Any], latest: Mapping[str, Callable[[], Checkpoint]]
) -> tuple[Model, FrameSize, Mapping[str, Recipe], bool]:
    """A part's network, the size of its frames, how its other streams are made, and whether it is trained."""
    namespace, declared = system.namespace(part), system.parts[part]
    if namespace in latest:
        checkpoint = latest[namespace]()
        return build(checkpoint), FrameSize(**checkpoint.frames), checkpoint.streams, True
    model = model_class(declared.model)
    config: Any = TypeAdapter(model.config_class).validate_python(_section(parameters, namespace)["model"])
    size = FrameSize(**_section(parameters, declared.size or namespace)["frames"])
    flow = parameters["optical_flow"]
    estimators = (
        TypeAdapter(TVL1).validate_python(flow["tvl1"]),
        TypeAdapter(FlowNetFlow).validate_python(flow["flownet"]),
        TypeAdapter(DIS).validate_python(flow["dis"]),
    )
    return model(config, colours=size.channels).eval(), size, recipes_of(model.streams(config), *estimators), False


def _section(parameters: dict[str, Any], namespace: str) -> dict[str, Any]:
    for name in namespace.split("."):
        parameters = parameters[name]
    return parameters


def _described(size: FrameSize) -> str:
    return f"{size.height}x{size.width} {size.colour}"


def _published(system: str) -> float | None:
    """A system's own paper's milliseconds per frame, on Ped2 or on data that it does not name."""
    per_second = published_value(system, "", "fps")
    return published_value(system, "ped2", "ms_per_frame") or (1000 / per_second if per_second else None)


def _cited() -> list[dict[str, Any]]:
    """What the papers print of speed, as milliseconds per frame."""
    results = published_results()
    cited: list[dict[str, Any]] = []
    for line in results[results["metric"].isin(["ms_per_frame", "fps"])].to_dict("records"):
        value, per_second = float(line["value"]), line["metric"] == "fps"
        printed = [f"printed as {value:g} frames a second"] if per_second else []
        cited.append(
            {
                "row": f"{line['row']} ({line['paper']}, {line['table']})",
                "published_ms": 1000 / value if per_second else value,
                "note": "; ".join([*printed, *([line["note"]] if line["note"] else [])]),
            }
        )
    return cited
