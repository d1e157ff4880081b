"""Where many files are, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["Places"]


class Places(Mapping[str, Path]):
    """Paths by name, each kept as text: a hundred thousand paths of pathlib take three times the memory."""

    __slots__ = ("_texts",)

    def __init__(self, texts: dict[str, str]) -> None:
        """``texts`` are the paths as text, by name."""
        self._texts = texts

    def __getitem__(self, name: str) -> Path:
        """Return the path of a name."""
        return Path(self._texts[name])

    def __iter__(self) -> Iterator[str]:
        """Give the names."""
        return iter(self._texts)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._texts)

    def __contains__(self, name: object) -> bool:
        """Tell whether a name is among them."""
        return name in self._texts

    def __repr__(self) -> str:
        return f"<Places {self._texts!r}>"
