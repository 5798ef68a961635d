"""How configuration is read: conf/base, over it the run environment's, over both conf/local."""

import difflib
import re
from pathlib import Path
from typing import Any

import yaml
from kedro.config import MissingConfigException, OmegaConfigLoader

LOCAL = "local"  # git-ignored: what is one's own, credentials among it
TEXTS = "dataset", "data_root"  # keys of globals.yml that become parts of paths
PATTERN = re.compile(r"[*?\[\]{}]")  # Kedro takes these for patterns, of files or of names, and knows no escape


class LocalLastConfigLoader(OmegaConfigLoader):
    """Kedro's loader, which reads two environments, with ``conf/local`` read on top of whichever is run.

    ``conf/local`` merges as the run environment does over base: parameters softly, other kinds by top-level key, with
    its own interpolations only. It may hold any kind of file, and need not exist.
    """

    def __getitem__(self, key: str) -> dict[str, Any]:
        run_env = self.env or self.default_run_env
        if key in self or key not in self.config_patterns or run_env == LOCAL:
            return super().__getitem__(key)
        self._check_place(run_env)
        missing = None
        try:
            config = super().__getitem__(key)
        except MissingConfigException as error:
            config, missing = {}, error
        files: set[Path] = set()
        folder = self._get_conf_env_path(LOCAL)
        try:
            local = self.load_and_merge_dir_config(folder, self.config_patterns[key], key, files, key == "credentials")
        except MissingConfigException:  # there is no conf/local
            local = {}
        if missing and not (files and self._fs.isdir(self._get_conf_env_path(run_env))):
            raise missing
        if local:
            config = self._merge_configs(config, local, key, folder)
        if key == "globals":
            self._check_globals(config, run_env)
        return config

    def _check_place(self, run_env: str) -> None:
        """Raises ValueError where nothing in ``conf`` would be found, MissingConfigException of a wrong environment."""
        if found := PATTERN.search(str(self.conf_source)):
            raise ValueError(
                f"{self.conf_source}: Kedro takes {found[0]} in a path for a pattern and finds nothing here; move the "
                "project"
            )
        if "://" in str(self.conf_source) or self._fs.isdir(self._get_conf_env_path(run_env)):
            return
        folder = Path(str(self.conf_source))
        known = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        known = [name for name in known if name not in (self.base_env, LOCAL) and not name.startswith(".")]
        near = difflib.get_close_matches(run_env, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise MissingConfigException(
            f"environment {run_env}: no folder {folder / run_env}; {hint}there are {', '.join(known) or 'none'}"
        )

    def _check_globals(self, config: dict[str, Any], run_env: str) -> None:
        """Raises ValueError where a part of all paths is no text, or one that Kedro would take for a pattern."""
        for name in TEXTS:
            if name not in config:
                continue
            value, file = config[name], self._file_with(name, run_env)
            if not isinstance(value, str):
                raise ValueError(
                    f"{file}: {name} is read as {value!r}, {type(value).__name__} and no text; put it in quotes"
                )
            if found := PATTERN.search(value):
                where = "set VAD_DATA_ROOT to, or move the project to," if name == "data_root" else "choose"
                raise ValueError(
                    f"{file}: {name} is {value}, and Kedro takes {found[0]} in a path for a pattern; {where} one "
                    "without"
                )

    def _file_with(self, name: str, run_env: str) -> str:
        """The globals.yml that decides a key."""
        for env in (LOCAL, run_env, self.base_env):
            file = Path(self._get_conf_env_path(env)) / "globals.yml"
            if file.is_file() and name in (yaml.safe_load(file.read_text(encoding="utf-8")) or {}):
                return str(file)
        return "globals.yml"
