"""`python -m vad_pipeline.where_to_look`: where the results of the last default run are."""

import json
import os
import sys
from pathlib import Path

from rich.console import Console

from vad_pipeline.settings import PROJECT


def main() -> None:
    """Print headline, report and the commands that show more."""
    data = PROJECT / os.environ.get("VAD_DATA_ROOT", "data")  # an absolute path stays what it is
    folder = data / "08_reporting" / "scenes" / "lgn_net"
    reports, metrics = (sorted(folder.glob(f"{name}/*/{name}")) for name in ("report.html", "metrics.json"))
    if not reports or not metrics:
        sys.exit(f"no report in {folder}; run `kedro run` first, with the same VAD_DATA_ROOT")
    measured = json.loads(Path(metrics[-1]).read_text())
    console = Console(soft_wrap=True, highlight=False)
    console.print(
        f"\n[bold]LGN-Net on the built-in scenes: micro AUC {100 * measured['micro_auc']:.1f}%[/bold] "
        f"(95% interval {100 * measured['micro_auc_low']:.1f} to {100 * measured['micro_auc_high']:.1f})"
    )
    console.print(f"  report      {reports[-1]}  (open it in a browser)")
    console.print("  lineage     .venv/bin/kedro viz run")
    console.print("  comparison  .venv/bin/mlflow ui --backend-store-uri sqlite:///mlflow.db")
    console.print("  your own    README.md, 'Your own camera'\n")


if __name__ == "__main__":
    main()
