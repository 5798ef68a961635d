"""VALT-GAN Table III: how long a test frame takes; trained systems are timed as they are, others untrained."""

from kedro.pipeline import Node, Pipeline

from vad_pipeline.pipelines.run_time import nodes


def create_pipeline() -> Pipeline:
    """From raw clips to the table and its figure; nothing else has to be made before."""
    reads = ["params:run_time", "params:frame_extraction", "params:eval_split", "parameters", "checkpoints_of_all"]
    made = ["run_time.table", "run_time.milliseconds_figure"]
    return Pipeline([Node(nodes.measure_run_time, reads, made, name="measure_run_time")])
