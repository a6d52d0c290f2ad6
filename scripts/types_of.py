"""The types that a generated package offers, read from its code, and what changed in those that the facade uses."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from scripts.facade import Facade

RENAME = "class_overrides in openapi/generator.yaml can keep the old name"


@dataclass(frozen=True)
class Types:
    """The models and enums of a generated package, and what its functions take."""

    package: Path

    @cached_property
    def classes(self) -> dict[str, dict[str, str]]:
        """By the name of a class: the types of a model's fields, or the values of an enum's members."""
        trees = [ast.parse(file.read_text("utf-8")) for file in sorted((self.package / "models").glob("*.py"))]
        return {
            node.name: dict(_members(node)) for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)
        }

    def module(self, name: str) -> Path:
        """The file of a module."""
        return self.package.joinpath(*name.split(".")[1:]).with_suffix(".py")

    def taken_by(self, module: str) -> dict[str, str]:
        """The types of the arguments that the `get_kwargs` of a module takes."""
        file = self.module(module)
        for node in ast.parse(file.read_text("utf-8")).body if file.is_file() else []:
            if isinstance(node, ast.FunctionDef) and node.name == "get_kwargs":
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                return {each.arg: ast.unparse(each.annotation) for each in arguments if each.annotation}
        return {}

    def reachable(self, names: set[str]) -> set[str]:
        """These classes, those of their fields, and so on."""
        found: set[str] = set()
        waiting = names & self.classes.keys()
        while waiting:
            found |= waiting
            inner = {
                word for name in waiting for kind in self.classes[name].values() for word in re.findall(r"\w+", kind)
            }
            waiting = (inner & self.classes.keys()) - found
        return found


def _members(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for inner in node.body:
        if isinstance(inner, ast.AnnAssign):
            yield ast.unparse(inner.target), ast.unparse(inner.annotation)
        elif isinstance(inner, ast.Assign):
            yield ast.unparse(inner.targets[0]), ast.unparse(inner.value)


def changed_types(facade: Facade, old: Types, new: Types) -> Iterator[str]:
    """Say what changed in the types that the facade uses, so that those who use it, or it itself, may not fit.

    New fields, values and arguments do no harm, and neither does an argument that takes more.
    """
    for name in sorted(old.reachable({name for _, _, name in facade.imports})):
        if name not in new.classes:
            twins = [
                twin
                for twin in sorted(new.classes.keys() - old.classes.keys())
                if new.classes[twin] == old.classes[name]
            ]
            hint = f": it is called {twins[0]} now, and {RENAME}" if twins else ""
            users = sorted(importer for importer, _, imported in facade.imports if imported == name)
            used = f", and src/brex_accounting/{users[0]} imports it" if users else ""
            yield f"The class {name} is gone from generated/{used}{hint}."
            continue
        for member, kind in old.classes[name].items():
            now = new.classes[name].get(member)
            if now is None:
                yield f"{name}.{member} is gone from generated/."
            elif now != kind:
                yield f"{name}.{member} is `{now}` in generated/ now, and was `{kind}`."
    for module in sorted(facade.requests):
        if not new.module(module).is_file():  # missing_imports names it
            continue
        before, after = old.taken_by(module), new.taken_by(module)
        for argument in before:
            alternatives = set(after.get(argument, "").split(" | "))
            if not set(before[argument].split(" | ")) <= alternatives:
                function, now = module.rpartition(".")[2], after.get(argument, "nothing")
                yield f"{function} takes `{now}` as {argument} in generated/ now, and took `{before[argument]}`."
