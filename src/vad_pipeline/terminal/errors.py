"""Why a run stopped, as one sentence that says what to do."""

import dataclasses
import difflib
import re
import sys
import traceback
from pathlib import Path

from kedro.io import DatasetError

import vad_pipeline

PACKAGE = Path(vad_pipeline.__file__).parent
WORDED_FOR_USERS = ("vad_pipeline", "kedro", "pydantic", "pydantic_core", "omegaconf", "yaml", "click")
OUT_OF_MEMORY = "OutOfMemoryError"  # torch's, by name: whoever never imported torch has none
# one line of a raise statement in a traceback that another process sent as text
REMOTE = re.compile(r'File "(?P<file>[^"]+)", line \d+, in .*\n +(?P<line>.+)\n(?:[ ~^]+\n)?\S[^\n]*\s*"*\s*$')
PARAMETER = re.compile(
    r"for parameter '(?P<name>[^']+)': \d+ validation errors? for (?P<type>\w+)\n(?P<fields>.*)", re.DOTALL
)
PLAIN = re.compile(r"\d+ validation errors? for (?P<name>(?P<type>\w+))\n(?P<fields>.*)", re.DOTALL)
FIELD = re.compile(
    r"^(?P<field>\S.*)\n  (?P<said>.+?)(?: \[type=(?P<type>\w+), input_value=(?P<given>.*), \S+\])?$", re.M
)


def cause_of(error: BaseException) -> BaseException:
    """What lies behind the errors that Kedro's catalog wraps around everything that fails while it loads or saves."""
    while isinstance(error, DatasetError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def is_for_users(error: BaseException) -> bool:
    """Whether the message was written for whoever runs the pipeline, who can mend it; anything else is a bug of ours.

    So are all errors that this package or Kedro raise by a statement of their own, also in another process, what the
    checks of parameters say, and what the operating system refuses.
    """
    error = cause_of(error)
    if isinstance(error, OSError) or type(error).__name__ == OUT_OF_MEMORY:
        return True
    if type(error).__module__.partition(".")[0] in WORDED_FOR_USERS:
        return True
    if isinstance(error, AssertionError | NotImplementedError):
        return False
    remote = getattr(error.__cause__, "tb", None)  # of joblib's and concurrent.futures' workers: a text
    if isinstance(remote, str):
        raised = REMOTE.search(remote)
        return bool(raised) and _is_worded(raised["file"], raised["line"])  # type: ignore[index]
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and _is_worded(frames[-1].filename, frames[-1].line or "")


def _is_worded(file: str, line: str) -> bool:
    ours = Path(file).is_relative_to(PACKAGE) or "kedro" in Path(file).parts
    return ours and line.strip().startswith("raise ")


def sentence_of(error: BaseException) -> str:
    """The message in one line, whatever checks of parameters and Kedro put around it."""
    error = cause_of(error)
    text = str(error)
    if "validation error" in text and (found := _invalid_parameters(text)):
        return found
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror[0].lower()}{error.strerror[1:]}"
    text = " ".join(text.split())
    if not is_for_users(error):
        return f"{type(error).__name__}: {text}".rstrip(": ")
    return text or type(error).__name__


def _invalid_parameters(text: str) -> str:
    """``lgn_net.training.epochs: input should be a valid integer (it is 'many')``, of every wrong field.

    >>> _invalid_parameters("1 validation error for Fit\\nepochs\\n  Wrong [type=x, input_value='a', input_type=y]")
    "Fit.epochs: wrong (it is 'a')"
    """
    said = []
    for section in re.split(r"\n- ", text):
        if (found := PARAMETER.search(section) or PLAIN.search(section)) is None:
            continue
        for field in FIELD.finditer(found["fields"]):
            where = f"{found['name']}.{field['field']}"
            if field["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
                near = difflib.get_close_matches(field["field"], _fields_of(found["type"], found["name"]), n=2)
                hint = f"; did you mean {' or '.join(near)}?" if near else ""
                said.append(f"{where}: there is no such parameter{hint}")
                continue
            message = field["said"].removeprefix("Value error, ")
            message = message[0].lower() + message[1:]
            given = field["given"] if field["type"] != "value_error" else None
            said.append(f"{where}: {message}" + (f" (it is {given})" if given else ""))
    return "; ".join(said)


def _fields_of(type_name: str, parameter: str) -> list[str]:
    """Fields of the type of a section; none where several types have its name and the parameter's says not which."""
    types = {
        module: found
        for module, loaded in list(sys.modules.items())
        if module.startswith("vad_pipeline.")
        and isinstance(found := vars(loaded).get(type_name), type)
        and found.__module__ == module
        and dataclasses.is_dataclass(found)
    }
    own = [found for module, found in types.items() if module.rpartition(".")[2] in parameter.split(".")]
    chosen = own or list(types.values())
    return [field.name for field in dataclasses.fields(chosen[0])] if len(chosen) == 1 else []
