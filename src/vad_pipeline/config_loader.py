"""How configuration is read: conf/base, over it the run environment's, over both conf/local."""

from pathlib import Path
from typing import Any

from kedro.config import MissingConfigException, OmegaConfigLoader

LOCAL = "local"  # git-ignored: what is one's own, credentials among it


class LocalLastConfigLoader(OmegaConfigLoader):
    """Kedro's loader, which reads two environments, with ``conf/local`` read on top of whichever is run.

    ``conf/local`` merges as the run environment does over base: parameters softly, other kinds by top-level key, with
    its own interpolations only. It may hold any kind of file, and need not exist.
    """

    def __getitem__(self, key: str) -> dict[str, Any]:
        run_env = self.env or self.default_run_env
        if key in self or key not in self.config_patterns or run_env == LOCAL:
            return super().__getitem__(key)
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
        return self._merge_configs(config, local, key, folder) if local else config  # type: ignore[no-any-return]
