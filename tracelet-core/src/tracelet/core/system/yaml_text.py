"""YAML that somebody else wrote, read as data alone, and within bounds."""

from __future__ import annotations

import functools
from typing import Any

from tracelet.exceptions import ConfigError

__all__ = ["load_yaml"]

#: How many values a YAML file may stand for: anchors and merges let a few bytes stand for billions.
_MOST_VALUES = 10_000_000


def load_yaml(text: str) -> Any:
    r"""Return what YAML stands for, read by PyYAML's safe loader: no object of a class is made.

    Raises :class:`~tracelet.ConfigError` where PyYAML is missing, and ``ValueError`` for text that is no such YAML, or
    stands for more than 10,000,000 values.

    Example:
        >>> load_yaml("a: &one [1]\nb: *one")
        {'a': [1], 'b': [1]}

    """
    yaml = _yaml()
    try:
        return yaml.load(text, _loader())
    except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError) as error:
        raise ValueError(f"it is not YAML of plain data: {error}") from error


def _yaml() -> Any:
    try:
        import yaml
    except ImportError as error:
        raise ConfigError("YAML needs PyYAML: pip install 'tracelet-core[yaml]'") from error
    return yaml


@functools.cache
def _loader() -> Any:
    """PyYAML's safe loader, with a budget."""
    yaml = _yaml()
    base: Any = yaml.SafeLoader

    class Loader(base):  # type: ignore[misc]
        """Counts what a document stands for before anything is made of it."""

        def __init__(self, stream: str) -> None:
            super().__init__(stream)
            self._count = 0
            self._sizes: dict[int, int] = {}

        def compose_node(self, parent: Any, index: Any) -> Any:
            before = self._count
            again = self.check_event(yaml.AliasEvent)
            node = super().compose_node(parent, index)
            self._count += self._sizes.get(id(node), 1) if again else 1
            if self._count > _MOST_VALUES:
                raise ValueError(f"it stands for more than {_MOST_VALUES:,} values")
            self._sizes.setdefault(id(node), self._count - before)
            return node

    return Loader
