"""Trained models in the catalog."""

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from kedro.io.core import AbstractVersionedDataset, Version

from vad_pipeline.fitting.checkpoint import Checkpoint, header_of, read_checkpoint, write_checkpoint
from vad_pipeline.io.metrics_dataset import valid_json


class CheckpointDataset(AbstractVersionedDataset[Checkpoint, Checkpoint]):
    """One safetensors file per version, with configuration and origin in its header; nothing in it is executed.

    Args:
        filepath: ending in ``.safetensors``, on a local disk.
        version: Kedro's load and save version.
        metadata: for kedro-viz and the tracking hook; not used here.
    """

    def __init__(
        self, *, filepath: str, version: Version | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        self.metadata = metadata
        super().__init__(filepath=PurePosixPath(filepath), version=version)

    def load(self) -> Checkpoint:
        """The checkpoint; ``about`` says which version and file were loaded."""
        path = Path(self._get_load_path())
        checkpoint = read_checkpoint(path)
        version = path.parent.name if self._version else None
        return replace(checkpoint, about=checkpoint.about | {"version": version, "file": str(path)})

    def save(self, data: Checkpoint) -> None:
        path = Path(self._get_save_path())
        path.parent.mkdir(parents=True, exist_ok=True)
        write_checkpoint(data, path)

    def _exists(self) -> bool:
        try:
            return Path(self._get_load_path()).exists()
        except Exception:  # Kedro's VersionNotFoundError: no version yet
            return False

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath, "version": self._version}

    def preview(self) -> Any:
        """Configuration and origin, for kedro-viz."""
        import json

        from kedro_datasets._typing import JSONPreview

        return JSONPreview(json.dumps(valid_json(header_of(self.load())), default=str))
