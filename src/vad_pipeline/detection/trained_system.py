"""Where a trained system lies: folders of Kedro's checkpoints, or one folder that was handed over."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vad_pipeline.detection.handed_over import SYSTEM_FILE, HandedOver, files_are_whole, read_description
from vad_pipeline.detection.reading import Reading
from vad_pipeline.fitting.checkpoint import Checkpoint, CheckpointError, read_checkpoint
from vad_pipeline.models.system import ONLY
from vad_pipeline.models.systems import SYSTEMS

CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True)
class TrainedSystem:
    """A trained system on disk.

    Attributes:
        system: its name.
        checkpoints: part -> its trained model.
        files: part -> the file of its checkpoint.
        handed: what a folder that was handed over says of itself; None of Kedro's.
        reading: how pictures are read, where the folder says it.
    """

    system: str
    checkpoints: Mapping[str, Checkpoint]
    files: Mapping[str, Path]
    handed: HandedOver | None = None
    reading: Reading | None = None


def find_trained(folder: Path, system: str | None = None, version: str | None = None) -> TrainedSystem:
    """The trained system in a folder; see ``Detector.load`` for the arguments.

    Raises:
        CheckpointError: nothing is trained there, a file is missing or damaged, or of another version.
    """
    if (folder / SYSTEM_FILE).exists():
        return _handed_over(folder, system, version)
    name = system or folder.name
    if name not in SYSTEMS:
        lost = (
            "; a system that was handed over has a system.json beside it" if list(folder.glob("*.safetensors")) else ""
        )
        raise CheckpointError(f"{folder}: no system is called {name!r}; trained are: {_trained(folder.parent)}{lost}")
    files = {
        part: checkpoint_file(folder if part == ONLY else folder.with_name(f"{folder.name}.{part}"), version)
        for part in SYSTEMS[name].parts
    }
    return TrainedSystem(name, {part: read_checkpoint(file) for part, file in files.items()}, files)


def _handed_over(folder: Path, system: str | None, version: str | None) -> TrainedSystem:
    handed = read_description(folder)
    if handed.system not in SYSTEMS or set(handed.parts) != set(SYSTEMS[handed.system].parts):
        raise CheckpointError(
            f"{folder}: handed over by version {handed.version}, whose system {handed.system} this version does not "
            "have; install that version"
        )
    if system not in (None, handed.system) or version is not None:
        asked = f"system {system}" if system not in (None, handed.system) else f"version {version}"
        raise CheckpointError(f"{folder}: handed over is {handed.system}, in one version; do not ask for {asked}")
    files_are_whole(folder, handed)
    files = {part: folder / stored.checkpoint for part, stored in handed.parts.items()}
    checkpoints = {part: handed.parts[part].at(read_checkpoint(file), folder) for part, file in files.items()}
    region = handed.region_of_interest
    reading = Reading(handed.height, None if region is None else folder / region)
    return TrainedSystem(handed.system, checkpoints, files, handed, reading)


def checkpoint_file(folder: Path, version: str | None = None) -> Path:
    """The checkpoint in a model's folder: the file, or of Kedro's versions of it the named or the latest one.

    Raises:
        CheckpointError: there is none.
    """
    path = folder / CHECKPOINT
    if path.is_file():
        return path
    versions = sorted(each.parent.name for each in path.glob(f"*/{CHECKPOINT}"))
    if not versions or (version is not None and version not in versions):
        there = f"there are versions {', '.join(versions)}" if versions else f"trained are: {_trained(folder.parent)}"
        raise CheckpointError(f"{folder}: no trained model{f' of version {version}' if versions else ''}; {there}")
    return path / (version or versions[-1]) / CHECKPOINT


def _trained(models: Path) -> str:
    names = {found.parent.name.partition(".")[0] for found in models.glob(f"*/{CHECKPOINT}")}
    return ", ".join(sorted(names & set(SYSTEMS))) or "none"
