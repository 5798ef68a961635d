"""The identity of code: which definitions decide what a function, class or module computes, and a hash of them.

From a root on, every top-level definition is followed that the root's syntax tree names, through the imports of its
module into other modules of the root's package. What decides nothing is taken out of the trees: comments, layout,
docstrings, annotations of functions and variables, arguments of exceptions and warnings. Annotated fields of classes
stay, for dataclasses are made of them.

Names are followed, values are not: a method that is called on an argument counts only where something else brings its
class, and a module imported by a string not at all. Other packages count by the names that are imported from them.
"""

import ast
import hashlib
import importlib.util
import symtable
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

LOOSE = ""  # statements of a module that define nothing; they count with any of its definitions
WHOLE = "*"  # every definition of a module


class Place(NamedTuple):
    """A top-level definition of a module, its ``LOOSE`` statements, or the ``WHOLE`` of it."""

    module: str
    name: str


def code_of(*roots: object) -> str:
    """A hash of all the code that decides what the roots compute; see ``definitions_of``.

    >>> len(code_of(code_of))
    64
    """
    return _hash(_places_of(*roots))


def definitions_of(*roots: object) -> dict[str, str]:
    """The definitions that decide what the roots compute: ``module:name`` -> text, sorted.

    Module files are read once per process.

    Args:
        roots: modules, classes or functions; a method or a nested function stands for the definition around it, a
            partial for its function and the classes, of the same package, of what it is bound to.

    Raises:
        TypeError: a root is something else.
        ValueError: a module's source cannot be read, or it imports ``*``.
    """
    return dict(_closure(_places_of(*roots)))


def _places_of(*roots: object) -> tuple[Place, ...]:
    return tuple(sorted({place for root in roots for place in _root_places(root)}))


def _root_places(root: object) -> Iterator[Place]:
    if isinstance(root, ModuleType):
        yield Place(root.__name__, WHOLE)
    elif isinstance(root, partial):
        places = list(_root_places(root.func))
        yield from places
        for bound in (*root.args, *root.keywords.values()):
            kind = bound if hasattr(bound, "__qualname__") or isinstance(bound, partial) else type(bound)
            yield from (p for p in _root_places(kind) if _package(p.module) == _package(places[0].module))
    elif hasattr(root, "__qualname__") and getattr(root, "__module__", None):
        yield Place(str(root.__module__), root.__qualname__.split(".")[0])
    else:
        raise TypeError(f"code of {root!r}: it is neither a module nor a class nor a function; name its class instead")


def _package(module: str) -> str:
    return module.split(".", 1)[0]


@cache
def _hash(places: tuple[Place, ...]) -> str:
    digest = hashlib.sha256()
    for key, text in _closure(places).items():
        digest.update(f"{key}\0{text}\0".encode())
    return digest.hexdigest()


@cache
def _closure(places: tuple[Place, ...]) -> dict[str, str]:
    packages = frozenset(_package(place.module) for place in places)
    waiting, found = list(places), dict[Place, str]()
    while waiting:
        place = waiting.pop()
        definitions = _module(place.module).definitions
        for name in (*([place.name] if place.name in definitions else definitions), LOOSE):
            part = Place(place.module, name)
            if part not in found:
                found[part], uses = _read(part)
                waiting += [target for use in uses for target in _targets(use, packages)]
    return {f"{place.module}:{place.name}": text for place, text in sorted(found.items()) if text}


@dataclass(frozen=True)
class _Module:
    """A module's statements as bare trees.

    Attributes:
        definitions: top-level name -> the statements that define it.
        imports: name -> what it may stand for, dotted: ``numpy``, ``vad_pipeline.clips.clip.Clip``.
        loose: statements that define nothing.
    """

    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, set[str]] = field(default_factory=dict)
    loose: list[ast.stmt] = field(default_factory=list)


@cache
def _module(name: str) -> _Module:
    path = _file(name)
    if path is None:
        raise ValueError(f"code of {name}: there is no source file of it; move what decides a result into a package")
    module = _Module()
    for statement in _Bare().visit(ast.parse(path.read_text(encoding="utf-8"))).body:
        names = _defined(statement, module)
        for defined in names:
            module.definitions.setdefault(defined, []).append(statement)
        if names:
            continue
        for bound, dotted in _imports(statement, name, path):
            module.imports.setdefault(bound, set()).add(dotted)
        if not isinstance(statement, ast.Import | ast.ImportFrom):
            module.loose.append(statement)
    return module


@cache
def _file(module: str) -> Path | None:
    """A module's source file; found without importing anything, so that no step has to load what it does not run."""
    package, *inner = module.split(".")
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # __main__ has no spec
        return None
    if spec is None or spec.origin is None:
        return None
    if not inner:
        return Path(spec.origin) if spec.origin.endswith(".py") else None
    stem = Path(spec.origin).parent.joinpath(*inner)
    return next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)


def _defined(statement: ast.stmt, module: _Module) -> list[str]:
    """The names that a statement defines, or adds to, as ``MODELS["lgn_net"] = LGNNet`` does."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        found = [pair for target in targets for pair in _assigned(target)]
        return [name for name, whole in found if whole or name in module.definitions]
    return []


def _assigned(target: ast.expr) -> Iterator[tuple[str, bool]]:
    """Names of a target, and whether the name itself is assigned rather than something in its value."""
    if isinstance(target, ast.Tuple | ast.List):
        for element in target.elts:
            yield from _assigned(element)
    elif isinstance(target, ast.Name):
        yield target.id, True
    elif isinstance(target, ast.Subscript | ast.Attribute | ast.Starred):
        yield from ((name, whole and isinstance(target, ast.Starred)) for name, whole in _assigned(target.value))


def _imports(tree: ast.AST, module: str, path: Path) -> Iterator[tuple[str, str]]:
    """(name, what it stands for) of every import in a tree."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (alias.asname, alias.name) if alias.asname else (_package(alias.name),) * 2
        elif isinstance(node, ast.ImportFrom):
            package = module if path.name == "__init__.py" else module.rpartition(".")[0]
            source = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            for alias in node.names:
                if alias.name == "*":
                    raise ValueError(f"{path}, line {node.lineno}: import * hides what is used; name what is imported")
                yield alias.asname or alias.name, f"{source}.{alias.name}"


class _Use(NamedTuple):
    """A name that a definition uses: of its module, or dotted where an import inside the definition binds it."""

    module: str | None
    path: tuple[str, ...]


def _read(place: Place) -> tuple[str, set[_Use]]:
    """The text that stands for a definition, what its imported names stand for included; and what it uses."""
    module, path = _module(place.module), _file(place.module)
    assert path is not None
    texts, bound, uses = [], set(), set()
    for statement in module.loose if place.name == LOOSE else module.definitions[place.name]:
        texts.append(ast.unparse(statement))
        inside = list(_imports(statement, place.module, path))
        shared = set(_global_names(symtable.symtable(texts[-1], str(path), "exec")))
        for name, *attributes in _chains(statement):
            if name in shared:
                bound |= {f"{name} = {dotted}" for dotted in module.imports.get(name, ())}
                uses.add(_Use(place.module, (name, *attributes)))
            uses |= {_Use(None, (*dotted.split("."), *attributes)) for key, dotted in inside if key == name}
    return "\n".join([*texts, *sorted(bound)]), uses


def _chains(node: ast.AST, attributes: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Names in a tree, each with the attributes taken from it: ``np.random.default_rng`` in three parts."""
    if isinstance(node, ast.Name):
        yield (node.id, *attributes)
    elif isinstance(node, ast.Attribute):
        yield from _chains(node.value, (node.attr, *attributes))
    else:
        for child in ast.iter_child_nodes(node):
            yield from _chains(child)


def _global_names(table: symtable.SymbolTable) -> Iterator[str]:
    """Names that a statement reads from its module: arguments and local variables may be called the same."""
    for symbol in table.get_symbols():
        read_here = table.get_type() != "function" and symbol.is_referenced() and not symbol.is_free()
        if symbol.is_global() or read_here:
            yield symbol.get_name()
    for child in table.get_children():
        yield from _global_names(child)


def _targets(use: _Use, packages: frozenset[str]) -> Iterator[Place]:
    """The definitions that a use stands for; none for other packages and builtins."""
    if use.module is None:
        yield from _dotted_targets(use.path, packages)
        return
    module, name = _module(use.module), use.path[0]
    if name in module.definitions:
        yield Place(use.module, name)
    for dotted in module.imports.get(name, ()):
        yield from _dotted_targets((*dotted.split("."), *use.path[1:]), packages)


def _dotted_targets(path: tuple[str, ...], packages: frozenset[str]) -> Iterator[Place]:
    module = path[0]
    if module not in packages:
        return
    for i, name in enumerate(path[1:], start=1):
        own, submodule = _module(module), f"{module}.{name}"
        if name in own.definitions or own.imports.get(name, {submodule}) != {submodule}:
            yield from _targets(_Use(module, path[i:]), packages)
            return
        if _file(submodule) is None:
            break  # bound in a way that cannot be told
        module = submodule
    yield Place(module, WHOLE)


class _Bare(ast.NodeTransformer):
    """Takes out of a tree what decides nothing."""

    def __init__(self) -> None:
        self.in_class = False

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if getattr(node, "body", None) == [] and not isinstance(node, ast.Module):
            node.body = [ast.Pass()]  # type: ignore[attr-defined]
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._inside(node, True)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self._inside(node, False)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self._inside(node, False)

    def _inside(self, node: ast.AST, in_class: bool) -> ast.AST:
        outside, self.in_class = self.in_class, in_class
        self.generic_visit(node)
        self.in_class = outside
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if self.in_class:
            return self.generic_visit(node)
        if node.value is None:
            return None
        return self.visit(ast.copy_location(ast.Assign(targets=[node.target], value=node.value), node))

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return None
        if isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "warnings.warn":
            return None
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
        return self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        node.msg = None
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        visited = self.generic_visit(node)
        checking = ast.unparse(node.test).split(".")[-1] == "TYPE_CHECKING"
        return node.orelse if checking else visited
