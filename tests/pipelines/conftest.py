"""End-to-end runs of the project's pipelines on a data root of their own."""

import contextlib
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.io import DataCatalog

PROJECT = Path(__file__).resolve().parents[2]

TINY_SCENES = {
    "frame_extraction": {"scenes": {"train_clips": 2, "test_clips": 2, "frames": 24, "height": 48, "width": 64}}
}


@pytest.fixture
def project(tmp_path: Path) -> "Project":
    return Project(tmp_path / "data")


@pytest.fixture(scope="module")
def shared_project(tmp_path_factory: pytest.TempPathFactory) -> "Project":
    """One data root for the tests of a file, which find each other's clips and trainings there."""
    return Project(tmp_path_factory.mktemp("shared") / "data")


class Project:
    """Runs pipelines and opens datasets of the project on one data root.

    Clips are computed in this process, because starting others takes longer than all that tests compute.

    Args:
        data_root: where data lie.
        parallel: backend that computes clips.
    """

    def __init__(self, data_root: Path, parallel: str = "sequential"):
        self.data_root, self.parallel = data_root, parallel
        self._opened: tuple[Any, DataCatalog] | None = None
        bootstrap_project(PROJECT)

    @contextlib.contextmanager
    def session(self, env: str | None = None, params: dict[str, Any] | None = None) -> Iterator[KedroSession]:
        self._opened = None  # what it found may be old after this session
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("VAD_DATA_ROOT", str(self.data_root))
            patch.setenv("VAD_TRACKING", "off")
            patch.setenv("VAD_PARALLEL", self.parallel)
            with KedroSession.create(project_path=PROJECT, env=env, runtime_params=params or TINY_SCENES) as session:
                yield session

    def run(self, pipeline: str, env: str | None = None, params: dict[str, Any] | None = None, **options: Any) -> Any:
        with self.session(env, params) as session:
            return session.run(pipeline_names=[pipeline], **options)

    def load(self, dataset: str, env: str | None = None, params: dict[str, Any] | None = None) -> Any:
        wanted = env, copy.deepcopy(params)
        if self._opened is None or self._opened[0] != wanted:
            with self.session(env, params) as session:
                catalog = session.load_context().catalog
            self._opened = wanted, catalog  # to read all of the configuration takes longer than to load a dataset
        return self._opened[1].load(dataset)

    def files(self) -> dict[Path, int]:
        return {path: path.stat().st_size for path in self.data_root.rglob("*") if path.is_file()}
