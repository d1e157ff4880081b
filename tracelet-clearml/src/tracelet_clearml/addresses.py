"""Addresses of what was logged without Tracelet: by the server and by ids, which stay when names change."""

from __future__ import annotations

from urllib.parse import quote, unquote, urlsplit

import attrs

__all__ = ["Addresses", "last_part"]


@attrs.frozen
class Addresses:
    """The addresses of one server."""

    #: Its host and port, without credentials.
    server: str

    @classmethod
    def of(cls, place: str) -> Addresses:
        """Return the addresses of the server whose API is at a URL."""
        return cls(urlsplit(place).netloc.rpartition("@")[2] or place)

    def entry(self, task: str, key: str, side: str, content: str) -> str:
        """Return the address of a task's artifact. ``content`` tells it from what the key named before: keys are written again."""
        return f"clearml://{self.server}/tasks/{task}/{side}/{quote(key, safe='')}#{content}"

    def model(self, key: str, uri: str) -> str:
        """Return the address of a model. The name of its file is in it, for a model gets new weights while it is trained."""
        return f"clearml://{self.server}/models/{key}#{quote(last_part(uri), safe='')}"

    def dataset(self, key: str) -> str:
        """Return the address of a version of a dataset, which nothing changes when it is finished."""
        return f"clearml://{self.server}/datasets/{key}"


def last_part(uri: str) -> str:
    """Return the file's name at the end of a URL."""
    return unquote(uri.partition("?")[0].rpartition("/")[2]).rpartition("/")[2]
