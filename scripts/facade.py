"""What the facade relies on, according to its own code, which is read and not run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

PACKAGE = "brex_accounting_api"


@dataclass(frozen=True)
class Facade:
    """The modules of src/brex_accounting."""

    folder: Path

    @cached_property
    def modules(self) -> dict[str, ast.Module]:
        """The parsed modules, by their path below the folder."""
        files = sorted(self.folder.rglob("*.py"))
        return {str(file.relative_to(self.folder)): ast.parse(file.read_text("utf-8")) for file in files}

    @cached_property
    def operations(self) -> dict[str, str]:
        """The operations that it calls, `Operation("id", …)`, and the module of each."""
        return {name: module for name, module, _ in self._operation_calls()}

    @cached_property
    def refusals(self) -> list[dict[str, ast.expr]]:
        """The entries of the table of refusals, each with its arguments by name."""
        names = ("error", "status", "code", "strings")
        found = [
            dict(zip(names, node.args, strict=False)) | {word.arg: word.value for word in node.keywords if word.arg}
            for _, node in self._calls()
            if ast.unparse(node.func) == "Refusal" and node.args
        ]
        if not found:
            raise LookupError("scripts/facade.py looks for Refusal(…) in src/brex_accounting/: it is not there")
        return found

    @cached_property
    def error_codes(self) -> dict[str, str]:
        """The error codes that have a class of their own, and that class."""
        return {code: _class_name(refusal) for refusal in self.refusals for code in _constants(refusal.get("code"))}

    @cached_property
    def details(self) -> dict[str, tuple[str, str]]:
        """The properties of an error's details that become attributes: what each is to be, and of which class."""
        return {
            name: (kind, _class_name(refusal))
            for refusal in self.refusals
            for argument, kind in (("strings", "string"), ("ids", "array of string"))
            for name in _constants(refusal.get(argument))
        }

    @cached_property
    def imports(self) -> set[tuple[str, str, str]]:
        """Its imports from the generated package: importer, module, name."""
        return {
            (module, node.module, alias.name)
            for module, tree in self.modules.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == PACKAGE
            for alias in node.names
        }

    @cached_property
    def heirs(self) -> dict[str, list[tuple[str, str, set[str]]]]:
        """Its classes that inherit a generated one, by the name of that: their name, module and members."""
        found: dict[str, list[tuple[str, str, set[str]]]] = {}
        for module, tree in self.modules.items():
            imported = {name for importer, _, name in self.imports if importer == module}
            for node in tree.body:
                for base in node.bases if isinstance(node, ast.ClassDef) else ():
                    if isinstance(node, ast.ClassDef) and ast.unparse(base) in imported:
                        found.setdefault(ast.unparse(base), []).append((node.name, module, _members(node)))
        return found

    @cached_property
    def safe(self) -> set[str]:
        """The operations that it calls as reads: `Operation("id", …, safe=True)`."""
        return {
            name
            for name, _, call in self._operation_calls()
            if any(keyword.arg == "safe" and ast.unparse(keyword.value) == "True" for keyword in call.keywords)
        }

    @cached_property
    def requests(self) -> set[str]:
        """The generated modules whose `get_kwargs` it passes arguments to."""
        modules = {name: f"{module}.{name}" for _, module, name in self.imports}
        return {
            modules[ast.unparse(node.func.value)]
            for _, node in self._calls()
            if isinstance(node.func, ast.Attribute)
            and node.func.attr == "get_kwargs"
            and (node.args or node.keywords)
            and ast.unparse(node.func.value) in modules
        }

    def constant(self, name: str) -> tuple[str, Any]:
        """Return the module and the value of a constant. Raises LookupError."""
        for module, value in self._assigned(name):
            return module, ast.literal_eval(_Inliner(self.modules[module]).visit(value))
        raise LookupError(f"scripts/facade.py looks for {name} in src/brex_accounting/: it is not there")

    def _calls(self) -> Iterator[tuple[str, ast.Call]]:
        for module, tree in self.modules.items():
            yield from ((module, node) for node in ast.walk(tree) if isinstance(node, ast.Call))

    def _operation_calls(self) -> Iterator[tuple[str, str, ast.Call]]:
        for module, node in self._calls():
            called = ast.unparse(node.func).partition("[")[0].rpartition(".")[2]
            first = node.args[0] if node.args else None
            if called == "Operation" and isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value, module, node

    def _assigned(self, name: str) -> Iterator[tuple[str, ast.expr]]:
        """Find what modules assign to a global name."""
        for module, tree in self.modules.items():
            for node in tree.body:
                if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
                    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                    if [ast.unparse(target) for target in targets] == [name]:
                        yield module, node.value


class _Inliner(ast.NodeTransformer):
    """Puts the values of a module's other constants in place of their names."""

    def __init__(self, module: ast.Module) -> None:
        self._values = {
            target.id: node.value
            for node in module.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._values.get(node.id, node)


def _class_name(refusal: dict[str, ast.expr]) -> str:
    return ast.unparse(refusal["error"]).rpartition(".")[2]


def _constants(node: ast.expr | None) -> list[str]:
    found = [] if node is None else [each.value for each in ast.walk(node) if isinstance(each, ast.Constant)]
    return [value for value in found if isinstance(value, str)]


def missing_imports(facade: Facade, package: Path) -> Iterator[tuple[str, str, str]]:
    """Find imports of the facade that the generated package lacks: importer, module, name."""
    for importer, module, name in sorted(facade.imports):
        place = package.joinpath(*module.split(".")[1:])
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        inside = place / f"{name}.py", place / name / "__init__.py"
        if not any(path.is_file() for path in inside) and not (file.is_file() and name in _defined(file)):
            yield importer, module, name


def collisions(facade: Facade, package: Path) -> Iterator[tuple[str, str, str]]:
    """Find fields of generated models that share the name of a hand-written member: model, field, owner."""
    every = [
        ("generated/ (codec)", node.name, _members(node))
        for node in _classes(package / "codec" / "model.py")
        if node.name == "Model"
    ]
    for file in sorted((package / "models").glob("*.py")):
        for model in _classes(file):
            if not any(ast.unparse(base) == "Model" for base in model.bases):
                continue
            heirs = [
                (f"src/brex_accounting/{module}", name, own) for name, module, own in facade.heirs.get(model.name, ())
            ]
            for field in _fields(model):
                for place, owner, members in heirs + every:
                    if field in members:
                        yield model.name, field, f"{owner} in {place}"
                        break


def _classes(file: Path) -> list[ast.ClassDef]:
    body = ast.parse(file.read_text("utf-8")).body if file.is_file() else []
    return [node for node in body if isinstance(node, ast.ClassDef)]


def _fields(node: ast.ClassDef) -> list[str]:
    annotated = [inner.target for inner in node.body if isinstance(inner, ast.AnnAssign)]
    return [target.id for target in annotated if isinstance(target, ast.Name)]


def _members(node: ast.ClassDef) -> set[str]:
    functions = {inner.name for inner in node.body if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef))}
    return functions | {*_fields(node)}


@cache
def _defined(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names
