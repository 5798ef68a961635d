"""Fingerprints: short hashes of what decides a result."""

import hashlib
import importlib
import json
from collections.abc import Iterable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from vad_pipeline.clips.code import code_of


def fingerprint(*parts: object) -> str:
    """A short hash (24 hex digits) of the parts' text."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(str(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:24]


def files_fingerprint(paths: Iterable[Path], content: bool = False) -> str:
    """A hash of files by name, size and modification time, or by content where asked for."""
    parts: list[object] = []
    for path in paths:
        if content:
            with open(path, "rb") as file:
                parts += [path.name, hashlib.file_digest(file, "sha256").hexdigest()]
        else:
            stat = path.stat()
            parts += [path.resolve(), stat.st_size, stat.st_mtime_ns]
    return fingerprint(*parts)


def step_fingerprint(of_input: str, parameters: Any, roots: tuple[object, ...], libraries: tuple[str, ...] = ()) -> str:
    """Fingerprint of a step's result: its input, its parameters, the code of the functions and classes that do the
    work (``code_of``) and the versions of the libraries (import names) they lean on."""
    settings = asdict(parameters) if is_dataclass(parameters) and not isinstance(parameters, type) else parameters
    versions = [f"{library} {importlib.import_module(library).__version__}" for library in libraries]
    return fingerprint(of_input, json.dumps(settings, sort_keys=True, default=str), code_of(*roots), *versions)
