"""What to run first, where a pipeline reads what others make and it is not there."""

import logging
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import DataCatalog, DatasetError
from kedro.pipeline import Pipeline

from vad_pipeline.models.systems import SYSTEMS

logger = logging.getLogger(__name__)


class MissingInputs:
    """Kedro's hook. Kedro says which file has no version; this says below it which command makes one."""

    @hook_impl
    def on_pipeline_error(
        self, error: Exception, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Name the remedy where a dataset that no node of the run makes could not be loaded."""
        if not isinstance(error, DatasetError):
            return
        failed = str(error).partition(":")[0]
        if failed in pipeline.inputs() and not catalog.exists(failed):
            logger.error("%s is not there yet; `%s` makes it.", failed, _command(failed, run_params))


def _command(dataset: str, run_params: dict[str, Any]) -> str:
    """What makes a dataset: the part of this pipeline that was left out, its system's own, or the extraction."""
    env = f" --env={run_params['env']}" if run_params.get("env") else ""
    for name in run_params.get("pipeline_names") or ["__default__"]:
        if dataset in pipelines[name].all_outputs():
            return f"kedro run{env} --pipeline={name} --to-outputs={dataset}"
    top = dataset.partition(".")[0]
    return f"kedro run{env} --pipeline={top if top in SYSTEMS else 'frame_extraction'}"
