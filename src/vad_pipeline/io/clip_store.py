"""The clip store: a versioned Kedro dataset of whole clips that recomputes only what changed."""

import base64
import json
import os
import uuid
from collections.abc import Mapping
from copy import deepcopy
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any

import cv2
import fsspec
import numpy as np
import pandas as pd
from kedro.io.core import AbstractVersionedDataset, Version, get_filepath_str, get_protocol_and_path
from kedro_datasets._typing import ImagePreview

from vad_pipeline.clips.clip import Clip, Clips
from vad_pipeline.clips.job import ClipJob
from vad_pipeline.clips.pool import ClipPool, ClipStoreError, Parallel
from vad_pipeline.report.contact_sheet import contact_sheet


class ClipStoreDataset(AbstractVersionedDataset[Mapping[str, ClipJob], Clips]):
    """Saves clip id -> ClipJob, loads Clips.

    A version is one small index table; the clips lie in a pool that all versions, and all stores given the same pool,
    share. Saving computes what the pool lacks and writes the index last, so a version exists only when it is whole.

    Args:
        filepath: the index, conventionally ``<layer>/<dataset>/<name>.clips``.
        pool: folder of the clips.
        parallel: backend, n_jobs and chunk of ``Parallel``.
        version: Kedro's load and save version.
        credentials: for the file system of ``filepath``.
        fs_args: further options of that file system.
        metadata: for kedro-viz and the tracking hook; not used here.
    """

    def __init__(
        self,
        *,
        filepath: str,
        pool: str,
        parallel: dict[str, Any] | None = None,
        version: Version | None = None,
        credentials: dict[str, Any] | None = None,
        fs_args: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.metadata = metadata
        self._parallel = Parallel(**(parallel or {}))
        options = {**deepcopy(fs_args or {}), **deepcopy(credentials or {})}
        protocol, path = get_protocol_and_path(filepath, version)
        self._protocol = protocol
        self._fs = fsspec.filesystem(protocol, **options)
        self._pool = ClipPool(pool, options)
        super().__init__(
            filepath=PurePosixPath(path),
            version=version,
            exists_function=self._fs.exists,
            glob_function=self._fs.glob,
        )

    def load(self) -> Clips:
        """The clips of the load version; a damaged or missing index is a DatasetError of Kedro's."""
        index = self._read_index(get_filepath_str(self._get_load_path(), self._protocol))
        return Clips(
            {
                row["clip"]: Clip(
                    clip=row["clip"],
                    fingerprint=row["fingerprint"],
                    shape=tuple(int(n) for n in row["shape"]),
                    dtype=row["dtype"],
                    fps=None if pd.isna(row["fps"]) else float(row["fps"]),
                    source=row["source"],
                    pool=self._pool,
                    seconds=seconds if isinstance(seconds := row.get("seconds"), np.ndarray) else None,
                )
                for row in index.to_dict("records")
            }
        )

    def save(self, data: Mapping[str, ClipJob]) -> None:
        """Compute the missing clips, then write the index."""
        path = get_filepath_str(self._get_save_path(), self._protocol)
        name = PurePosixPath(self._filepath).stem
        self._pool.fill(data, self._parallel, title=name)
        rows = []
        for clip, job in data.items():
            shape, dtype = self._pool.header(job.fingerprint)
            seconds = self._pool.seconds(job.fingerprint) if job.timed else job.seconds
            rows.append(
                {
                    "clip": clip,
                    "fingerprint": job.fingerprint,
                    "shape": list(shape),
                    "dtype": dtype,
                    "fps": job.fps,
                    "source": job.source,
                    "parameters": json.dumps(job.parameters, sort_keys=True, default=str),
                    "seconds": seconds,
                }
            )
        columns = ["clip", "fingerprint", "shape", "dtype", "fps", "source", "parameters", "seconds"]
        index = pd.DataFrame(rows, columns=columns).astype({"fps": "float64"})
        self._write_index(path, index)
        self._cached_load_version = None  # what was the newest version before is not any more

    def _read_index(self, path: str) -> pd.DataFrame:
        with self._fs.open(path, "rb") as file:
            try:
                return pd.read_parquet(file)
            except Exception as error:
                raise ClipStoreError(
                    f"{path} is not an index of clips ({error}); delete its folder, the version before it still loads"
                ) from error

    def _write_index(self, path: str, index: pd.DataFrame) -> None:
        content = BytesIO()
        index.to_parquet(content, index=False)
        if self._protocol != "file":
            self._fs.pipe_file(path, content.getvalue())
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # the temporary name must not look like a version to readers that list the folder
        temporary = os.path.join(os.path.dirname(path), f".{uuid.uuid4().hex[:8]}.partial")
        try:
            with open(temporary, "wb") as file:
                file.write(content.getvalue())
            os.replace(temporary, path)
        except BaseException:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise

    def _exists(self) -> bool:
        try:
            path = get_filepath_str(self._get_load_path(), self._protocol)
        except Exception:  # Kedro's VersionNotFoundError: no version yet
            return False
        return bool(self._fs.exists(path))

    def _describe(self) -> dict[str, Any]:
        return {
            "filepath": self._filepath,
            "pool": self._pool.url,
            "protocol": self._protocol,
            "version": self._version,
        }

    def preview(self, clips: int = 6, frames: int = 6) -> ImagePreview:
        """A contact sheet for kedro-viz: one line per clip, frames spread over its length."""
        loaded = self.load()
        names = list(loaded)
        chosen = [names[i * len(names) // min(clips, len(names))] for i in range(min(clips, len(names)))]
        sheet = contact_sheet({name: loaded[name].array() for name in chosen}, columns=frames)
        png = cv2.imencode(".png", sheet[..., ::-1])[1].tobytes()
        return ImagePreview(base64.b64encode(png).decode())
