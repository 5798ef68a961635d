"""Code identity, on a package that is written for it and on a copy of this one."""

import importlib.util
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import vad_pipeline
from vad_pipeline.clips import code, resize
from vad_pipeline.clips.code import code_of, definitions_of
from vad_pipeline.clips.resize import FrameSize, resized_rows

FILES = {
    "__init__.py": "",
    "model.py": '''
        """A model."""

        from __future__ import annotations

        import warnings
        from dataclasses import dataclass
        from typing import TYPE_CHECKING

        import numpy as np

        import toy.deep.inner
        from toy import constants, shapes as forms
        from toy.deep import inner as renamed
        from toy.layers import scaled, unused
        from toy.parent import Parent

        if TYPE_CHECKING:
            from toy.typing_only import Hint

        UNREFERRED = 1


        @dataclass
        class Config:
            """Settings."""

            width: float = 1.0  # of all layers


        class Model(Parent):
            """Does it."""

            config_class = Config

            def __init__(self, config: Config, hint: Hint = None):
                self.size: int = constants.SIZE
                if config is None:
                    raise ValueError(f"no config, but {hint}")
                warnings.warn("it is slow", stacklevel=2)
                assert self.size, "no size"

            def run(self, unused_layer):
                from toy.lazy import late

                return late(scaled(unused_layer), toy.deep.inner.inmost(), renamed.other)

            def drawn(self, shadowed):
                rows = [shadowed for shadowed in np.zeros(3)]
                return rows, shadowed

            def spread(self):
                return forms


        def shadowed():
            return 1


        def neighbour():
            return 2
    ''',
    "layers.py": '''
        FACTOR = 2
        OTHER = 3


        def scaled(x):
            """Twice x."""
            y: int = x * FACTOR
            return y


        def unused(x):
            return x
    ''',
    "parent.py": """
        import toy.layers as mine


        class Parent:
            def back(self):
                return cycle


        def cycle(x):
            from toy.model import Model

            return Model, mine.OTHER
    """,
    "constants.py": "SIZE = 4\nTABLE = {}\nTABLE['a'] = SIZE\n\n\ndef table():\n    return TABLE\n",
    "shapes.py": "def square():\n    return 4\n\n\ndef circle():\n    return 3\n",
    "lazy.py": """
        import sys

        sys.setrecursionlimit(2000)


        def late(*x):
            return x


        def later():
            return 1
    """,
    "deep/__init__.py": "from toy.deep import inner\n\nDEPTH = 1\n",
    "deep/inner.py": "from . import DEPTH\n\n\ndef inmost():\n    return DEPTH\n\n\nother = 5\nthird = 6\n",
    "typing_only.py": "class Hint:\n    pass\n",
    "stranger.py": "def stranger():\n    return 0\n",
}
MODEL = SimpleNamespace(__module__="toy.model", __qualname__="Model")


def named(module, name):
    """Stands for a class or function of a package that is never imported."""
    return SimpleNamespace(__module__=module, __qualname__=name)


def fresh():
    """The module under test without what it has read so far."""
    spec = importlib.util.spec_from_file_location("fresh_code", code.__file__)
    made = importlib.util.module_from_spec(spec)
    sys.modules["fresh_code"] = made
    spec.loader.exec_module(made)
    return made


def undented(text):
    return re.sub(r"^ {8}", "", text, flags=re.MULTILINE)


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Writes the package, a file of it changed; returns the code of some roots in it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, text in FILES.items():
        (tmp_path / "toy" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "toy" / name).write_text(undented(text))

    def identity(file="model.py", before="", after="", roots=(MODEL,)):
        path = tmp_path / "toy" / file
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after, 1))
        found = fresh().code_of(*roots)
        path.write_text(text)
        return found

    return identity


HARMLESS = {
    "a comment": ("model.py", "# of all layers", "# wider"),
    "a docstring": ("model.py", '"""Does it."""', '"""Does it well."""\n\n    "more of it"'),
    "an annotation of an argument": ("model.py", "config: Config, hint: Hint = None", "config, hint: str = None"),
    "an annotation of a result": ("layers.py", "def scaled(x):", "def scaled(x) -> int:"),
    "an annotation of a variable": ("layers.py", "y: int =", "y ="),
    "an error's message": ("model.py", '(f"no config, but {hint}")', '("set config")'),
    "a warning": ("model.py", 'warnings.warn("it is slow", stacklevel=2)', 'warnings.warn("slow")'),
    "a warning that goes": ("model.py", 'warnings.warn("it is slow", stacklevel=2)', ""),
    "an assertion's message": ("model.py", '"no size"', '"size is 0"'),
    "a function beside it": ("model.py", "return 2", "return 3"),
    "a function called like a local variable": (
        "model.py",
        "def shadowed():\n    return 1",
        "def shadowed(): return 2",
    ),
    "a constant that nothing uses": ("model.py", "UNREFERRED = 1", "UNREFERRED = 2"),
    "a function that is imported and not used": ("layers.py", "return x\n", "return x + 1\n"),
    "another name of a module that is used": ("deep/inner.py", "third = 6", "third = 7"),
    "another function of a module that is used": (
        "lazy.py",
        "def later():\n    return 1",
        "def later():\n    return 2",
    ),
    "what is imported for types only": ("typing_only.py", "pass", "x = 1"),
    "an import for types only": ("model.py", "import Hint", "import Hint, Hint as H"),
    "a file that nothing imports": ("stranger.py", "return 0", "return 1"),
    "an import that nothing uses": ("model.py", "import numpy as np", "import numpy as np\nimport pandas as pd"),
    "a constant beside the one that is used": ("constants.py", "TABLE = {}", "TABLE = {1: 2}"),
}


@pytest.mark.parametrize(("file", "before", "after"), HARMLESS.values(), ids=HARMLESS.keys())
def test_what_decides_nothing_changes_nothing(toy, file, before, after):
    assert toy(file, before, after) == toy()


def test_layout_changes_nothing(toy):
    assert toy("layers.py", "    y: int = x * FACTOR\n", "\n\n    y = (x *\n        FACTOR)\n") == toy()


DECIDING = {
    "a method": ("model.py", "return rows, shadowed", "return shadowed, rows"),
    "a default": ("model.py", "hint: Hint = None", "hint: Hint = 1"),
    "a decorator": ("model.py", "@dataclass\n", "@dataclass(frozen=True)\n"),
    "a dataclass's default": ("model.py", "width: float = 1.0", "width: float = 2.0"),
    "a dataclass's field": ("model.py", "width: float = 1.0", "width: int = 1.0"),
    "the condition of an error": ("model.py", "if config is None:", "if not config:"),
    "the kind of an error": ("model.py", "raise ValueError(", "raise TypeError("),
    "its base": ("parent.py", "return cycle", "return cycle, 1"),
    "a function that it calls": ("layers.py", "x * FACTOR", "FACTOR * x"),
    "what that function uses": ("layers.py", "FACTOR = 2", "FACTOR = 3"),
    "an attribute of a module": ("constants.py", "SIZE = 4", "SIZE = 5"),
    "an attribute of a module imported under another name": ("layers.py", "OTHER = 3", "OTHER = 4"),
    "what an import inside a function brings": ("lazy.py", "return x", "return x[0]"),
    "a dotted import": ("deep/inner.py", "return DEPTH", "return DEPTH + 1"),
    "what a relative import brings": ("deep/__init__.py", "DEPTH = 1", "DEPTH = 2"),
    "a name bound by from package import submodule": ("deep/inner.py", "other = 5", "other = 6"),
    "any function of a module that is used as a value": ("shapes.py", "return 3", "return 3.14"),
    "a statement that defines nothing, of a module that is used": ("lazy.py", "2000", "3000"),
    "another library under the same name": ("model.py", "import numpy as np", "import cupy as np"),
    "another function under the same name": ("model.py", "import scaled, unused", "import unused as scaled"),
    "what a cycle leads back to": ("parent.py", "return Model,", "return Model, Model,"),
}


@pytest.mark.parametrize(("file", "before", "after"), DECIDING.values(), ids=DECIDING.keys())
def test_what_decides_changes_the_code(toy, file, before, after):
    assert toy(file, before, after) != toy()


def test_a_module_as_a_root_counts_with_all_its_functions(toy):
    whole, square = (ModuleType("toy.shapes"),), (named("toy.shapes", "square"),)
    edit = ("shapes.py", "return 3", "return 3.14")
    assert toy(*edit, roots=whole) != toy(roots=whole)
    assert toy(*edit, roots=square) == toy(roots=square)


def test_a_constant_counts_with_the_statements_that_add_to_it(toy):
    roots = (named("toy.constants", "table"),)
    assert toy("constants.py", "['a'] = SIZE", "['b'] = SIZE", roots=roots) != toy(roots=roots)


def test_import_star_is_refused_with_file_and_line(toy):
    with pytest.raises(ValueError, match=r"stranger.py, line 1: import \* hides"):
        toy("stranger.py", "def", "from toy.shapes import *\ndef", roots=(named("toy.stranger", "stranger"),))


def test_a_module_without_a_source_file_is_named():
    with pytest.raises(ValueError, match="code of builtins: there is no source file"):
        code_of(len)


def test_an_object_that_is_no_code_is_refused():
    with pytest.raises(TypeError, match="name its class instead"):
        code_of(FrameSize(8, 8))


def test_the_order_of_the_roots_does_not_matter_and_each_counts():
    assert code_of(FrameSize, resized_rows) == code_of(resized_rows, FrameSize)
    assert len({code_of(FrameSize, resized_rows), code_of(FrameSize), code_of(resized_rows), code_of(resize)}) == 4


def test_a_partial_counts_as_its_function_and_the_classes_it_is_bound_to():
    assert code_of(partial(resized_rows, "a path")) == code_of(resized_rows)
    assert code_of(partial(resized_rows, size=FrameSize(8, 8))) == code_of(resized_rows, FrameSize)


def test_a_method_counts_as_its_class():
    assert code_of(FrameSize.channels.fget) == code_of(FrameSize)


def test_the_definitions_behind_a_step_can_be_read():
    found = definitions_of(resized_rows)
    assert list(found) == [f"vad_pipeline.clips.resize:{name}" for name in ("resize", "resized_rows", "to_gray")]
    assert found["vad_pipeline.clips.resize:resize"].endswith("cv2 = cv2\nnp = numpy")


# The package itself, as a copy called otherwise: edited, never imported.

SOURCE = Path(vad_pipeline.__file__).parent
LGN_NET = (named("a_copy.models.lgn_net", "LGNNet"), named("a_copy.fitting.windows", "Windows"))


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(SOURCE, folder / "a_copy", ignore=lambda _, names: [n for n in names if n.endswith("safetensors")])
    for path in folder.rglob("*.py"):
        path.write_text(path.read_text().replace("vad_pipeline", "a_copy"))
    sys.path.insert(0, str(folder))
    yield folder / "a_copy"
    sys.path.remove(str(folder))


def edited(copy, file, before, after):
    text = (copy / file).read_text()
    assert before in text
    (copy / file).write_text(text.replace(before, after, 1))
    found = fresh().code_of(*LGN_NET)
    (copy / file).write_text(text)
    return found


def test_lgn_net_is_another_where_the_scaling_of_frames_or_the_reading_of_windows_is(copy):
    as_it_is = fresh().code_of(*LGN_NET)
    assert edited(copy, "models/layers/pixels.py", "127.5", "128.0") != as_it_is
    assert edited(copy, "fitting/windows.py", "array[-1]", "array[0]") != as_it_is
    assert edited(copy, "models/layers/memory.py", "def read(", "def read(more=0, *, ") != as_it_is


def test_lgn_net_is_the_same_where_others_are_edited(copy):
    as_it_is = fresh().code_of(*LGN_NET)
    assert edited(copy, "models/conv3d_ae.py", "LENGTH, TARGET = 16, 8", "LENGTH, TARGET = 16, 9") == as_it_is
    assert edited(copy, "models/layers/pixels.py", '"""', '"""Of old: ') == as_it_is
    assert edited(copy, "clips/pool.py", "import os", "import os\nimport this") == as_it_is
    (copy / "models/layers/new_layer.py").write_text("def layer():\n    return 1\n")
    assert fresh().code_of(*LGN_NET) == as_it_is


def test_finding_code_loads_neither_torch_nor_the_module():
    program = """
import sys
from types import SimpleNamespace
from vad_pipeline.clips.code import definitions_of
root = SimpleNamespace(__module__="vad_pipeline.models.lgn_net", __qualname__="LGNNet")
assert "vad_pipeline.models.layers.pixels:scale_frames" in definitions_of(root)
assert not {"torch", "vad_pipeline.models"} & set(sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
