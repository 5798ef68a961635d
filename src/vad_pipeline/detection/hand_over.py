"""A trained system handed over: one folder with all that it takes to run it elsewhere.

Checkpoints are the files of the training, byte for byte; beside them lie the weights that their recipes name, the
region of interest, ``system.json`` (``handed_over.HandedOver``) and a README for whoever gets it.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter

from vad_pipeline import __version__
from vad_pipeline.clips.resize import FrameSize
from vad_pipeline.detection.detector import Detector
from vad_pipeline.detection.handed_over import (
    FORMAT,
    SYSTEM_FILE,
    HandedOver,
    PartFiles,
    hash_of,
    weights_named,
    write_description,
)
from vad_pipeline.detection.held_out import fps_of, held_out_threshold
from vad_pipeline.detection.onnx_network import Signature, check_exportable, export_network
from vad_pipeline.detection.reading import Reading
from vad_pipeline.detection.thresholds import spell
from vad_pipeline.detection.trained_system import CHECKPOINT, TrainedSystem, find_trained
from vad_pipeline.fitting.checkpoint import Checkpoint
from vad_pipeline.models.build import build
from vad_pipeline.models.system import ONLY
from vad_pipeline.models.systems import SYSTEMS, model_class

README = """# {system}, trained on {dataset}

Finds unusual events in the video of one fixed camera. It learnt from normal footage of that camera alone, and is of use
for that camera, at its place and with its lens.

## Run it

It takes vad_pipeline {version}, or another version that reads folders of format {format}.

```bash
kedro score new.mp4 --model={folder}    # in the project's folder; --false-alarms-per-hour=RATE for another threshold
```

```python
from vad_pipeline.detection.detector import Detector

detector = Detector.load("{folder}")
table = detector.score("new.mp4")  # or frames, uint8 (T, H, W, 1|3), as the camera gives them
events = detector.events(table)
```

Pictures are {pictures}, and scored at {rate}; the command and `score` see to it.

## What the threshold promises

An alarm is raised where the anomaly score stays above {level} for {hold}. Normal footage like that which was held out
in training raises at most {per_hour} false alarms an hour, in the mean: that is known from {seconds} of it, which
support {lowest} an hour at the lowest. It says nothing of another season, hour or lens.

## How it was trained

{training}
{networks}
`{system_file}` says all this to programs, with a hash of each file that scoring reads.
"""
NETWORKS = """
## Networks

The networks alone, as ONNX: without the sizes, the scaling and the flow before them, and without scores, thresholds
and, where there is one, the update of the memory behind them."""


class HandOverError(RuntimeError):
    """A folder that cannot be written; the message says why."""


def hand_over(
    source: Path,
    folder: Path,
    reading: Reading,
    version: str | None = None,
    false_alarms_per_hour: float | None = None,
    hold: int | None = None,
    onnx: bool = False,
) -> HandedOver:
    """Write a trained system to a folder of its own; one that was written before is replaced once all is there.

    Args:
        source: where it was trained, as ``Detector.load`` takes it; or an earlier hand-over, whose reading counts.
        folder: to write.
        reading: how the camera's pictures were read in training.
        version: of the training; None is the latest.
        false_alarms_per_hour: that normal footage may raise; None takes the lowest rate that held-out footage supports.
        hold: frames for which scores have to stay above the threshold; None is 1.
        onnx: write each part's network as ONNX, too.

    Raises:
        CheckpointError: see ``Detector.load``.
        ThresholdError: no normal footage was held out, or too little of it for the rate.
        ExportError: the system cannot be exported.
        HandOverError: something else lies there, or a file that the folder needs is missing.
    """
    folder = folder.resolve()
    if folder.exists() and not (folder / SYSTEM_FILE).is_file() and (folder.is_file() or any(folder.iterdir())):
        raise HandOverError(f"{folder} is there and no system that was handed over; name another folder")
    trained = find_trained(source, None, version)
    system, reading = SYSTEMS[trained.system], trained.reading or reading
    if onnx:
        check_exportable(trained.system)
    threshold = held_out_threshold(system, trained.checkpoints, false_alarms_per_hour, hold or 1)
    temporary = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        parts = {part: _copied(trained, part, temporary) for part in system.parts}
        region = None
        if reading.region is not None:
            region = f"region_of_interest{reading.region.suffix}"
            _copy(reading.region, temporary / region, "frame_extraction.videos.region_of_interest")
        first = trained.checkpoints[next(iter(system.parts))]
        handed = HandedOver(
            format=FORMAT,
            version=__version__,
            system=system.name,
            dataset=first.about.get("dataset", ""),
            parts=parts,
            threshold=threshold,
            files={
                path.relative_to(temporary).as_posix(): hash_of(path)
                for path in sorted(temporary.rglob("*"))
                if path.is_file()
            },
            false_alarms_per_hour=false_alarms_per_hour,
            height=reading.height,
            fps=fps_of(system, trained.checkpoints),
            region_of_interest=region,
        )
        networks = _networks(trained, temporary) if onnx else {}
        write_description(handed, temporary)
        (temporary / "README.md").write_text(
            readme(folder.name, handed, trained.checkpoints, networks), encoding="utf-8"
        )
        Detector.load(temporary)  # what does not load here would load nowhere
        _put_in_place(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return handed


def _copied(trained: TrainedSystem, part: str, folder: Path) -> PartFiles:
    """A part's checkpoint, and the weights that its recipes name, copied."""
    checkpoint = CHECKPOINT if part == ONLY else f"{part}.safetensors"
    shutil.copyfile(trained.files[part], folder / checkpoint)
    weights = {}
    for stream, recipe in trained.checkpoints[part].streams.items():
        named = weights_named(recipe)
        if named is None or (recipe.get("provider") == "xclip" and not Path(named).exists()):  # a name on the hub
            continue
        weights[stream] = f"weights/{stream if part == ONLY else f'{part}.{stream}'}{Path(named).suffix}"
        _copy(Path(named), folder / weights[stream], f"the {stream} that {trained.system} reads")
    return PartFiles(checkpoint, weights)


def _copy(source: Path, target: Path, what: str) -> None:
    target.parent.mkdir(exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.is_file():
        shutil.copyfile(source, target)
    else:
        raise HandOverError(
            f"{source} is missing, which {what} takes; put it back, the folder would not run without it"
        )


def _networks(trained: TrainedSystem, folder: Path) -> dict[str, Signature]:
    """The parts' networks exported: file -> its inputs and outputs."""
    networks = {}
    (folder / "onnx").mkdir()
    for part, checkpoint in trained.checkpoints.items():
        name = f"onnx/{part or trained.system}.onnx"
        size = TypeAdapter(FrameSize).validate_python(checkpoint.frames)
        networks[name] = export_network(build(checkpoint), size, folder / name)
    return networks


def _put_in_place(temporary: Path, folder: Path) -> None:
    """Rename; what was there is moved aside first and deleted last, as a folder cannot be renamed over another."""
    earlier = folder.with_name(f".{folder.name}.earlier")
    shutil.rmtree(earlier, ignore_errors=True)
    if folder.exists():
        folder.rename(earlier)
    temporary.rename(folder)
    shutil.rmtree(earlier, ignore_errors=True)


def readme(
    name: str, handed: HandedOver, checkpoints: Mapping[str, Checkpoint], networks: Mapping[str, Signature]
) -> str:
    """The README of a folder of some name."""
    threshold = handed.threshold
    height = "of their own size" if handed.height is None else f"brought to {handed.height} rows"
    region = "" if handed.region_of_interest is None else f", black outside of `{handed.region_of_interest}`"
    return README.format(
        folder=name,
        system=handed.system,
        dataset=handed.dataset or "footage without a name",
        version=handed.version,
        format=handed.format,
        pictures=height + region,
        rate="a rate that is not known" if handed.fps is None else f"{handed.fps:g} frames a second",
        level=f"{threshold.level:.6g}",
        hold="a frame" if threshold.hold == 1 else f"{threshold.hold} frames in a row",
        per_hour=f"{threshold.per_hour:.3g}",
        lowest=f"{threshold.lowest_per_hour:.3g}",
        seconds=spell(threshold.seconds),
        training="\n".join(_training(part, checkpoint) for part, checkpoint in checkpoints.items()),
        networks=_described(networks),
        system_file=SYSTEM_FILE,
    )


def _training(part: str, checkpoint: Checkpoint) -> str:
    about, frames = checkpoint.about, checkpoint.frames
    training = about.get("training", {})
    shown = [f"{name} {training[name]}" for name in ("epochs", "batch_size", "learning_rate") if name in training]
    settings = "one pass over the clips" if model_class(checkpoint.model).learns_in_one_pass else ", ".join(shown)
    held_out = ", ".join(about.get("held_out", [])) or "none"
    return (
        f"- {f'{part}: ' if part else ''}{checkpoint.model} on frames of {frames['width']}x{frames['height']} "
        f"{frames['colour']}; {settings}, seed {about.get('seed')}, torch {about.get('torch')}; held-out normal clips: "
        f"{held_out}; data {about.get('data')}"
    )


def _described(networks: Mapping[str, Signature]) -> str:
    if not networks:
        return ""
    lines = [NETWORKS]
    for name, signature in networks.items():
        lines += [f"\n`{name}` gives {', '.join(f'`{output}`' for output in signature.outputs)} and takes\n"]
        lines += [
            f"- `{given}`: float32 {'x'.join(map(str, of.shape))}, a window of {of.prepared}"
            for given, of in signature.inputs.items()
        ]
    return "\n".join([*lines, ""])
