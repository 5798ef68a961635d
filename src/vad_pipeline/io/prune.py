"""`kedro prune`: delete old versions of clip stores and the clips that no version refers to any more."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pandas as pd
from kedro.framework.session import KedroSession

GRACE_SECONDS = 3600  # clips younger than this may belong to a run that has not written its index yet


@dataclass(frozen=True)
class Pruned:
    """What was, or with a dry run would be, deleted."""

    versions: int
    clips: int
    bytes: int


def prune_clips(folder: Path, keep: int, dry_run: bool = False, grace: float = GRACE_SECONDS) -> Pruned:
    """Delete all but the newest versions of every clip store below a folder, and unreferenced clips.

    Args:
        folder: ``<data_root>/<layer>/<dataset>``: one pool ``clips`` and the stores ``**/*.clips`` that use it.
        keep: versions to keep of each store, at least 1.
        dry_run: only count.
        grace: seconds for which a new clip is left alone although no version refers to it.

    Raises:
        ValueError: keep is less than 1.
    """
    if keep < 1:
        raise ValueError(f"keep is {keep}; at least the newest version of each store must stay")
    versions = 0
    kept: set[str] = set()
    for store in folder.rglob("*.clips"):
        if not store.is_dir():
            continue
        complete = sorted((v for v in store.iterdir() if (v / store.name).is_file()), reverse=True)
        for version in complete[:keep]:
            kept |= set(pd.read_parquet(version / store.name, columns=["fingerprint"])["fingerprint"])
        for version in complete[keep:]:
            versions += 1
            if not dry_run:
                shutil.rmtree(version)
    clips = freed = 0
    now = time.time()
    pool = folder / "clips"
    for path in [*pool.glob("*.npy"), *pool.glob(".partial/*")]:
        stat = path.stat()
        if path.stem in kept or now - stat.st_mtime < grace:
            continue
        clips += 1
        freed += stat.st_size
        if not dry_run:
            path.unlink()
    return Pruned(versions, clips, freed)


@click.group(name="vad_pipeline")
def commands() -> None:
    """Commands of this project."""


@commands.command()
@click.option("--env", "-e", default=None, help="Conf environment whose data set is pruned.")
@click.option("--keep", default=1, show_default=True, help="Versions of each clip store to keep.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be deleted.")
@click.pass_obj
def prune(metadata: Any, env: str | None, keep: int, dry_run: bool) -> None:
    """Delete old versions of clips (frames, masks, flow) and the clips that no version refers to any more."""
    with KedroSession.create(project_path=metadata.project_path, env=env) as session:
        settings = session.load_context().config_loader["globals"]  # type: ignore[attr-defined]
    root = Path(settings["data_root"])
    for layer in sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []:
        if (layer / settings["dataset"] / "clips").is_dir():
            pruned = prune_clips(layer / settings["dataset"], keep, dry_run)
            click.echo(
                f"{layer.name}/{settings['dataset']}: {'would delete' if dry_run else 'deleted'} {pruned.versions} "
                f"versions and {pruned.clips} clips ({pruned.bytes / 1e6:.1f} MB)"
            )
