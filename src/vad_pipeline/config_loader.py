"""How configuration is read: conf/base, over it the run environment's, over both conf/local.

An environment may start from another one (``starts_from`` in its ``globals.yml``) and states only what differs from it.
"""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from kedro.config import MissingConfigException, OmegaConfigLoader
from omegaconf import DictConfig, OmegaConf

LOCAL = "local"  # git-ignored: what is one's own, credentials among it
STARTS_FROM = "starts_from"  # key of an environment's globals.yml: the one that it is read over
TEXTS = "dataset", "data_root"  # keys of globals.yml that become parts of paths
PATTERN = re.compile(r"[*?\[\]{}]")  # Kedro takes these for patterns, of files or of names, and knows no escape


class LocalLastConfigLoader(OmegaConfigLoader):
    """Kedro's loader, which reads two environments, with ``conf/local`` read on top of whichever is run.

    ``conf/local`` merges as the run environment does over base: parameters softly, other kinds by top-level key, with
    its own interpolations only. It may hold any kind of file, and need not exist.

    An environment that starts from another is read with it as one folder, its own statements winning: interpolations
    see both, so what the other derives from a value follows the value that is stated here. A data set is never shared:
    each environment names its own.
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

    def _read_dir_configs(
        self,
        conf_path: str,
        patterns: Iterable[str],
        key: str,
        processed_files: set[Path],
        read_environment_variables: bool | None = False,
    ) -> dict[Path, DictConfig]:
        """Kedro's step between finding files and resolving them; of the run environment also what it starts from."""
        read = super()._read_dir_configs
        own = read(conf_path, patterns, key, processed_files, read_environment_variables)
        run_env = self.env or self.default_run_env
        if conf_path != self._get_conf_env_path(run_env):
            return own
        for env in self._started_from(run_env):
            folder = self._get_conf_env_path(env)
            earlier = read(folder, patterns, key, processed_files, read_environment_variables)
            if self.merge_strategy.get(key) != "soft":
                stated = {name for config in own.values() for name in config}
                earlier = {
                    path: OmegaConf.masked_copy(config, [name for name in config if name not in stated])
                    for path, config in earlier.items()
                }
            own = earlier | own
        return own

    def _started_from(self, run_env: str) -> list[str]:
        """The environments below one, the nearest first.

        Raises:
            ValueError: one of them has no folder, or starts from itself.
        """
        found = [run_env]
        while (name := self._own_globals(found[-1]).get(STARTS_FROM)) is not None:
            said = f"{self._get_conf_env_path(found[-1])}/globals.yml: {STARTS_FROM} is {name}"
            if name in found:
                raise ValueError(f"{said}, which starts from this one; name another, or delete the line")
            if not isinstance(name, str) or not self._fs.isdir(self._get_conf_env_path(name)):
                near = difflib.get_close_matches(str(name), self._environments(), n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(self._environments()) or 'none'}"
                raise ValueError(f"{said}, and there is no such folder; {hint}")
            found.append(name)
        return found[1:]

    def _own_globals(self, env: str) -> dict[str, Any]:
        """The globals.yml of an environment alone, nothing resolved; empty where it has none."""
        file = f"{self._get_conf_env_path(env)}/globals.yml"
        if not self._fs.isfile(file):
            return {}
        with self._fs.open(file, "r", encoding="utf-8") as opened:
            return yaml.safe_load(opened) or {}

    def _environments(self) -> list[str]:
        """Folders that can be started from or run, in alphabetical order; none where conf is not on this machine."""
        folder = Path(str(self.conf_source))
        names = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        return [name for name in names if name not in (self.base_env, LOCAL) and not name.startswith(".")]

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
        known = [name for name in self._environments() if "dataset" in self._own_globals(name)]
        near = difflib.get_close_matches(run_env, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise MissingConfigException(
            f"environment {run_env}: no folder {folder / run_env}; {hint}there are {', '.join(known) or 'none'}"
        )

    def _check_globals(self, config: dict[str, Any], run_env: str) -> None:
        """Raises ValueError where a part of all paths is no text, or one that Kedro would take for a pattern; and where
        an environment that others start from is run, or one of these names no data set of its own."""
        if not any("dataset" in self._own_globals(env) for env in (LOCAL, run_env)):
            raise ValueError(
                f"{self._get_conf_env_path(run_env)}/globals.yml names no dataset, below which its data would lie; add "
                f"one, or start from it: `kedro camera init <name>` writes environments that say {STARTS_FROM}"
            )
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
        for env in (LOCAL, run_env, *self._started_from(run_env), self.base_env):
            if name in self._own_globals(env):
                return f"{self._get_conf_env_path(env)}/globals.yml"
        return "globals.yml"
