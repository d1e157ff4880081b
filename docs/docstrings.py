"""How docstrings become the API reference: an extension of griffe, which mkdocs.yml names.

Roles as Sphinx has them (``:class:`~tracelet.Experiment```) become links, and fail the build where nothing is there. Examples become
code. A class of attrs gets its signature, and its fields are listed; so are the members of an enumeration.
"""

from __future__ import annotations

import builtins
import contextlib
import re
import sys
from collections.abc import Iterator
from typing import Any

import griffe

__all__ = ["Docstrings"]

_ROLE = re.compile(r":(?:class|meth|func|mod|attr|exc|data):`(?P<short>~?)\.?(?P<target>[\w.]+)`")
_EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)
_LITERAL = re.compile(r"::$", re.MULTILINE)
_ATTRS = {"attrs.frozen", "attrs.define"}


class Docstrings(griffe.Extension):
    """Rewrites the docstrings of a package once all of it is loaded."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Rewrite every docstring, and give classes of attrs their signature."""
        for one in _objects(pkg):
            if isinstance(one, griffe.Class):
                _describe(one)
            if one.docstring is not None:
                one.docstring.value = _LITERAL.sub(":", _EXAMPLE.sub("Examples:", _linked(one, one.docstring.value)))


def _objects(parent: griffe.Object) -> Iterator[griffe.Object]:
    """Yield everything that is defined in a module or a class, and itself."""
    yield parent
    for member in parent.members.values():
        if not member.is_alias:
            yield from _objects(member)


def _linked(where: griffe.Object, text: str) -> str:
    return _ROLE.sub(lambda role: _link(where, role["target"], short=bool(role["short"])), text)


def _link(where: griffe.Object, target: str, *, short: bool) -> str:
    """Return the Markdown for what a role names. What is of another project is code, and no link."""
    first, _, rest = target.partition(".")
    label = f"`{target.rpartition('.')[2] if short else target}`"
    if first in sys.stdlib_module_names or hasattr(builtins, first):
        return label
    # What is not found, or on no page, is left to autorefs, which fails the build where it is shown.
    with contextlib.suppress(KeyError, griffe.NameResolutionError, griffe.AliasResolutionError):
        if not first.startswith("tracelet"):
            target = ".".join(filter(None, (_resolved(where, first), rest)))
        target = where.modules_collection[target].canonical_path
    return f"[{label}][{target}]"


def _resolved(where: griffe.Object, name: str) -> str:
    """Return the path of a name as a docstring means it: of its class, also where that inherits it, or of its module."""
    cls = where if isinstance(where, griffe.Class) else where.parent
    if isinstance(cls, griffe.Class) and name in cls.all_members:
        return str(cls.all_members[name].canonical_path)
    return where.resolve(name)


def _describe(cls: griffe.Class) -> None:
    """List the fields of a class of attrs, or the members of an enumeration, in its docstring; and add what attrs makes of the fields."""
    listed: dict[str, str] = {}
    if _is_attrs(cls):
        _add_init(cls)
        listed = {one.name: one.docstring.value for one in _fields(cls) if one.docstring is not None}
        for one in _fields(cls):
            one.value, one.docstring = _default(one), None
    elif any(str(base) in {"enum.Enum", "Enum"} for base in cls.bases):
        members = [one for one in cls.members.values() if isinstance(one, griffe.Attribute) and one.value is not None]
        listed = {one.name: f"``{one.value}``" for one in members}
    if listed and cls.docstring is not None:
        lines = [f"    {name}: {' '.join(text.split())}" for name, text in listed.items()]
        before, example, after = cls.docstring.value.partition("\nExample:\n")
        cls.docstring.value = "\n".join([before.rstrip("\n"), "", "Attributes:", *lines]) + "\n" + example + after


def _add_init(cls: griffe.Class) -> None:
    """Add the ``__init__`` that attrs makes of the fields of a class and of its parents."""
    if "__init__" in cls.members:
        return
    parameters: dict[str, griffe.Parameter] = {}
    for one in (*reversed(cls.mro()), cls):
        if _is_attrs(one):
            parameters |= {parameter.name: parameter for parameter in _parameters(one)}
    ordered = sorted(parameters.values(), key=lambda one: one.kind is griffe.ParameterKind.keyword_only)
    own = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
    cls.set_member("__init__", griffe.Function("__init__", parameters=griffe.Parameters(own, *ordered), returns="None"))


def _decorator(cls: griffe.Class) -> Any:
    found = (one.value for one in cls.decorators if isinstance(one.value, griffe.Expr))
    return next((one for one in found if one.canonical_path in _ATTRS), None)


def _is_attrs(cls: griffe.Class) -> bool:
    return _decorator(cls) is not None


def _arguments(call: Any) -> dict[str, Any]:
    given = call.arguments if isinstance(call, griffe.ExprCall) else ()
    return {one.name: one.value for one in given if isinstance(one, griffe.ExprKeyword)}


def _fields(cls: griffe.Class) -> list[griffe.Attribute]:
    members = [one for one in cls.members.values() if isinstance(one, griffe.Attribute)]
    return [one for one in members if one.annotation is not None and "property" not in one.labels]


def _said(field: griffe.Attribute) -> dict[str, Any]:
    """Return what a field is given: the arguments of ``attrs.field``, or the default alone."""
    is_call = getattr(field.value, "canonical_path", "") == "attrs.field"
    return _arguments(field.value) if is_call else {"default": field.value}


def _default(field: griffe.Attribute) -> Any:
    said = _said(field)
    return f"{said['factory']}()" if "factory" in said else said.get("default")


def _parameters(cls: griffe.Class) -> Iterator[griffe.Parameter]:
    kinds = griffe.ParameterKind
    all_by_name = str(_arguments(_decorator(cls)).get("kw_only")) == "True"
    for field in _fields(cls):
        said = _said(field)
        if str(said.get("init")) == "False" or "ClassVar" in str(field.annotation):
            continue
        by_name = all_by_name or str(said.get("kw_only")) == "True"
        kind = kinds.keyword_only if by_name else kinds.positional_or_keyword
        name = field.name.lstrip("_")
        yield griffe.Parameter(name, annotation=field.annotation, kind=kind, default=_default(field))
