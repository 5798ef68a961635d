"""What to run first, where a pipeline reads what others make and it is not there."""

from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import AbstractVersionedDataset, DataCatalog, DatasetError
from kedro.pipeline import Pipeline

from vad_pipeline.models.systems import SYSTEMS

TRANSFERRED = "transfer__"  # namespaces of models that another environment trained
NAMED = 3  # of the missing datasets


class MissingInputs:
    """Kedro's hook: a run that would stop for want of an input stops before it begins, and says which command helps."""

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Look for the versioned datasets that the run reads and does not make.

        Raises:
            DatasetError: some are not there; it names the commands that make them.
        """
        if run_params.get("only_missing_outputs"):  # which nodes run, the runner finds out
            return
        read = sorted(name for name in pipeline.inputs() if not name.startswith("params:") and name != "parameters")
        versioned = [name for name in read if isinstance(catalog.get(name), AbstractVersionedDataset)]
        missing = [name for name in versioned if not catalog.exists(name)]
        if not missing:
            return
        names = ", ".join(missing[:NAMED])
        more = f" and {len(missing) - NAMED} others are" if len(missing) > NAMED else " are" if missing[1:] else " is"
        first = " and ".join(f"`{command}`" for command in _commands(missing, run_params))
        raise DatasetError(f"{names}{more} not there yet; run {first} first")


def _commands(missing: list[str], run_params: dict[str, Any]) -> list[str]:
    """What makes datasets: the part of this pipeline that was left out, their systems' own, or the extraction."""
    env = f" --env={run_params['env']}" if run_params.get("env") else ""
    commands = {}
    for pipeline in run_params.get("pipeline_names") or ["__default__"]:
        if left_out := [name for name in missing if name in pipelines[pipeline].all_outputs()]:
            commands[f"kedro run{env} --pipeline={pipeline} --to-outputs={','.join(left_out)}"] = True
            missing = [name for name in missing if name not in left_out]
    for top in dict.fromkeys(name.partition(".")[0] for name in missing):
        if top in SYSTEMS:
            commands[f"kedro run{env} --pipeline={top}"] = True
        elif (system := top.removeprefix(TRANSFERRED)) != top:
            source = run_params["runtime_params"].get("source", "scenes")
            commands[f"kedro run --env={source} --pipeline={system}"] = True
    # all of these begin with the extraction
    return list(commands) or [f"kedro run{env} --pipeline=frame_extraction"]
