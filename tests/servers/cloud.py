"""A bucket of a real cloud, with the credentials of whoever runs the tests."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

from tracelet_bucket.objects import open_objects

#: What says to the clients of clouds who somebody is.
_OURS = ("AWS_", "GOOGLE_", "AZURE_", "CLOUDSDK_")
#: Where their files are, unless something else is said: tests have homes of their own.
_FILES = {
    "AWS_SHARED_CREDENTIALS_FILE": ".aws/credentials",
    "AWS_CONFIG_FILE": ".aws/config",
    "GOOGLE_APPLICATION_CREDENTIALS": ".config/gcloud/application_default_credentials.json",
}


class Cloud:
    """A prefix of its own below a URL; `environ` has what a client needs to reach it."""

    def __init__(self, url: str) -> None:
        self.url = f"{url.rstrip('/')}/tracelet-test-{uuid.uuid4().hex}"
        files = {name: Path.home() / path for name, path in _FILES.items()}
        self.environ = {
            **{name: str(path) for name, path in files.items() if path.exists()},
            **{name: value for name, value in os.environ.items() if name.startswith(_OURS)},
            "TRACELET_BUCKET_URL": self.url,
        }

    def _store(self) -> Any:
        return open_objects(self.url)._store

    def listing(self) -> dict[str, int]:
        """The size of every object, by its key."""
        import obstore

        return {one["path"]: one["size"] for page in obstore.list(self._store()) for one in page}

    def replace(self, old: bytes, new: bytes) -> int:
        """Replace bytes in every object; return in how many."""
        import obstore

        changed, store = 0, self._store()
        for key in self.listing():
            content = bytes(obstore.get(store, key).bytes())
            if old in content:
                obstore.put(store, key, content.replace(old, new))
                changed += 1
        return changed

    def clear(self) -> None:
        """Delete every object."""
        import obstore

        keys = list(self.listing())
        if keys:
            obstore.delete(self._store(), keys)
