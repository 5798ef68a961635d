"""Curves of what is varied after training, against test labels."""

import pandas as pd
from matplotlib.figure import Figure

from vad_pipeline.report.figures import ABNORMAL, OWN


def sweep_figure(sweep: pd.DataFrame, parameter: str) -> Figure:
    """AUC against one parameter (LGN-Net Figs. 9, 10), the trained model's own value marked.

    Args:
        sweep: columns value, micro_auc_oracle (per cent), own (bool), in the order of the values.
        parameter: for the axis.
    """
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axis = figure.subplots()
    axis.plot(sweep["value"], sweep["micro_auc_oracle"], color=OWN, marker="o", ms=4, lw=1.4)
    own = sweep[sweep["own"]]
    axis.plot(own["value"], own["micro_auc_oracle"], "D", color=ABNORMAL, ms=7, ls="", label="the model's own")
    axis.set(xlabel=parameter, ylabel="micro AUC, % (oracle: test labels)")
    axis.grid(alpha=0.25)
    axis.legend(fontsize=8)
    return figure
