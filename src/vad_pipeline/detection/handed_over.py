"""A folder that was handed over: what ``system.json`` says, and whether the files beside it are those it was written
with. Nothing in such a folder is executed."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from vad_pipeline import __version__
from vad_pipeline.detection.thresholds import Threshold
from vad_pipeline.fitting.checkpoint import Checkpoint, CheckpointError

SYSTEM_FILE = "system.json"
FORMAT = 1  # of the folder; another number is another layout


def _inside(name: str) -> str:
    """A file's name, which leads nowhere but into the folder."""
    if not name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name:
        raise ValueError(f"{name!r} is no name of a file in the folder")
    return name


Name = Annotated[str, AfterValidator(_inside)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PartFiles:
    """Files of a part.

    Attributes:
        checkpoint: its trained model.
        weights: stream (flow, features) -> file or folder of the weights that make it, where those are not the
            package's own.
    """

    checkpoint: Name
    weights: dict[str, Name] = Field(default_factory=dict)

    def at(self, checkpoint: Checkpoint, folder: Path) -> Checkpoint:
        """The checkpoint with recipes that name the folder's weights, wherever it was trained."""
        streams = dict(checkpoint.streams)
        for stream, name in self.weights.items():
            streams[stream] = with_weights(streams[stream], str(folder / name))
        return replace(checkpoint, streams=streams)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class HandedOver:
    """What ``system.json`` says.

    Attributes:
        format: of the folder, ``FORMAT``.
        version: of the package that wrote it.
        system, dataset: names.
        parts: part -> its files; of a system of one the part "".
        threshold: for alarms.
        false_alarms_per_hour: that were asked for; None was the lowest rate.
        height: rows to which pictures are brought; None leaves them.
        fps: frames a second that the system was trained on; None where that is not known.
        region_of_interest: its image.
        files: every file that scoring reads -> its SHA-256.
    """

    format: int
    version: str
    system: str
    dataset: str
    parts: dict[str, PartFiles]
    threshold: Threshold
    files: dict[Name, str]
    false_alarms_per_hour: float | None = None
    height: int | None = None
    fps: float | None = None
    region_of_interest: Name | None = None


def read_description(folder: Path) -> HandedOver:
    """Read ``system.json``.

    Raises:
        CheckpointError: it is damaged or of another format.
    """
    path = folder / SYSTEM_FILE
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        number = found["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error!r}); copy the whole folder again") from error
    if number != FORMAT:
        raise CheckpointError(
            f"{folder}: a system of format {number}, handed over by version {found.get('version', 'unknown')}, and "
            f"this version, {__version__}, reads format {FORMAT}; install that one, or hand it over again by this"
        )
    try:
        return TypeAdapter(HandedOver).validate_python(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise CheckpointError(f"{path} is damaged ({where}: {first['msg']}); copy the whole folder again") from error


def write_description(handed: HandedOver, folder: Path) -> None:
    """Write ``system.json``."""
    found = TypeAdapter(HandedOver).dump_python(handed, mode="json")
    (folder / SYSTEM_FILE).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def files_are_whole(folder: Path, handed: HandedOver) -> None:
    """Make sure that all files are there, as they were written.

    Raises:
        CheckpointError: one is missing, or is another.
    """
    named = {name for part in handed.parts.values() for name in (part.checkpoint, *part.weights.values())}
    named |= set() if handed.region_of_interest is None else {handed.region_of_interest}
    for name in sorted(named):
        if not any(file == name or file.startswith(f"{name}/") for file in handed.files):
            raise CheckpointError(
                f"{folder / SYSTEM_FILE} is damaged ({name} has no hash); copy the whole folder again"
            )
    for name, digest in handed.files.items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{path} is missing; copy the whole folder again")
        if hash_of(path) != digest:
            raise CheckpointError(f"{path} is damaged or was replaced; copy the whole folder again")


def hash_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_named(recipe: Mapping[str, Any]) -> str | None:
    """The file of weights that a stream's recipe names, if any: FlowNet's, or those of a network of features."""
    return recipe.get("settings", recipe).get("checkpoint")


def with_weights(recipe: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The recipe, naming another file of weights."""
    if "settings" in recipe:  # an estimator of flow; features have theirs at the top
        return {**recipe, "settings": {**recipe["settings"], "checkpoint": path}}
    return {**recipe, "checkpoint": path}
