"""LGN-Net's sweeps; its own pipeline runs before it."""

from kedro.pipeline import Node, Pipeline

from vad_pipeline.pipelines.sweeps import nodes


def create_pipeline() -> Pipeline:
    """LGN-Net Figs. 9 and 10 of the trained model: nothing is trained, and lambda takes no inference."""
    sweeps, split = "params:lgn_net_sweeps", "params:eval_split"
    drawn = ["table", "lambda_oracle_figure", "gamma_oracle_figure"]
    return Pipeline(
        [
            Node(
                nodes.sweep_lambda,
                ["lgn_net.scores", "labels", "lgn_net.checkpoint", sweeps, split],
                "lgn_net_sweeps.lambda_oracle",
                name="sweep_lambda",
            ),
            Node(
                nodes.sweep_gamma,
                ["lgn_net.checkpoint", "lgn_net.frames", "labels", "params:lgn_net.scoring", sweeps, split],
                "lgn_net_sweeps.gamma_oracle",
                name="sweep_gamma",
            ),
            Node(
                nodes.tabulate_sweeps,
                ["lgn_net_sweeps.lambda_oracle", "lgn_net_sweeps.gamma_oracle", "params:dataset"],
                [f"lgn_net_sweeps.{name}" for name in drawn],
                name="tabulate_sweeps",
            ),
        ]
    )
