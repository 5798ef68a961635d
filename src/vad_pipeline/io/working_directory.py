"""A folder that a step may keep state in between runs, for work that is resumed after a crash."""

from pathlib import Path, PurePosixPath
from typing import Any

from kedro.io import AbstractDataset, DatasetError


class WorkingDirectoryDataset(AbstractDataset[None, Path]):
    """Loads to the path of a folder, which is made if need be; unversioned, and nothing else may depend on it.

    Args:
        filepath: the folder, on a local disk.
        metadata: for kedro-viz; not used here.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = PurePosixPath(filepath)
        self.metadata = metadata
        if "://" in filepath:
            raise DatasetError(f"{filepath}: a working directory lies on a local disk; set its filepath in the catalog")

    def load(self) -> Path:
        folder = Path(self._filepath)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def save(self, data: None) -> None:
        raise DatasetError(f"{self._filepath} is a working directory: steps write into it themselves")

    def _exists(self) -> bool:
        return True  # it is made when it is loaded

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}
