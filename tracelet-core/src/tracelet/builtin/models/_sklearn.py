"""scikit-learn estimators: skops where it is installed, pickle where it is not."""

from __future__ import annotations

import itertools
import json
import pickle
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

from tracelet.builtin.libraries import check_version
from tracelet.builtin.models._common import UNREADABLE, logger, pack_again, read_facts, readable, write_facts
from tracelet.exceptions import UnsafeContent

__all__ = ["dump", "load"]

_SKOPS = "model.skops"
_PICKLE = "model.pkl"
_SCHEMA = "schema.json"
_SKOPS_SAFE_SINCE = (0, 13)


def dump(model: Any, folder: Path) -> None:
    """Write a fitted estimator as ``model.skops``, or as ``model.pkl`` where skops cannot.

    Raises ``TypeError`` for what is no estimator or cannot be pickled, and ``ValueError`` for one
    of scikit-learn's own estimators that is not fitted.
    """
    sklearn = import_module("sklearn")
    if not isinstance(model, import_module("sklearn.base").BaseEstimator):
        raise TypeError(f"{type(model).__name__} is not an estimator of scikit-learn")
    # Only scikit-learn's own estimators keep its convention for what is fitted without exception.
    if type(model).__module__.startswith("sklearn."):
        import_module("sklearn.utils.validation").check_is_fitted(model)
    if not _dump_skops(model, folder / _SKOPS):
        try:
            (folder / _PICKLE).write_bytes(pickle.dumps(model, protocol=5))
        except (AttributeError, pickle.PicklingError) as error:
            raise TypeError(f"{type(model).__name__} cannot be pickled: {error}") from error
    write_facts(folder, model, sklearn)


def _dump_skops(model: Any, path: Path) -> bool:
    try:
        skops = import_module("skops.io")
    except ImportError:
        logger.warning("skops is not installed: the model is pickled, and loading it will need trust=True.")
        return False
    try:
        skops.dump(model, path)
        _renumber(path)
        # skops writes functions and classes by name, those too that have none to be found by.
        skops.load(path, trusted=skops.get_untrusted_types(file=path))
    except UNREADABLE as error:
        logger.warning("skops cannot store this model (%s): it is pickled, and loading it will need trust=True.", error)
        path.unlink(missing_ok=True)
        return False
    return True


def _renumber(path: Path) -> None:
    """Number what skops names by its address in memory, so that equal models give equal bytes."""
    with zipfile.ZipFile(path) as archive:
        members = frozenset(archive.namelist())
        schema = json.loads(archive.read(_SCHEMA))
    names: dict[str, str] = {}
    numbers: dict[int, int] = {}
    count = itertools.count(1)  # skops takes 0 for no number

    def visit(node: Any) -> None:
        if isinstance(node, list):
            for item in node:
                visit(item)
        elif isinstance(node, dict):
            for item in node.values():
                visit(item)
            own = node.get("__id__")
            if isinstance(own, int):
                # What is shared must stay so; but whether two equal texts or numbers are one is Python's whim.
                node["__id__"] = next(count) if node.get("is_json") else numbers.setdefault(own, next(count))
            file = node.get("file")
            if isinstance(file, str) and file in members:
                node["file"] = names.setdefault(file, f"{len(names)}{Path(file).suffix}")

    visit(schema)
    pack_again(path, names, {_SCHEMA: lambda _: json.dumps(schema, indent=2).encode()})


@readable()
def load(folder: Path, trust: bool) -> Any:
    """Load an estimator; a warning is logged where scikit-learn's version is another one.

    Raises :class:`UnsafeContent` without ``trust`` for a pickle, and for types that skops does not
    know to be harmless; :class:`ConfigError` where skops is needed and missing.
    """
    version = import_module("sklearn").__version__
    stored = str(read_facts(folder)["version"])
    if stored.split(".")[:2] != version.split(".")[:2]:
        logger.warning("The model is of scikit-learn %s and this is %s: it may predict otherwise.", stored, version)
    if (folder / _SKOPS).exists():
        return _load_skops(folder / _SKOPS, trust)
    if not trust:
        raise UnsafeContent(
            "This model is stored as a pickle, which can run any code when it is loaded: pass trust=True if you "
            "know where it comes from. Install skops before storing a model to have it stored without one."
        )
    with (folder / _PICKLE).open("rb") as stream:
        return pickle.load(stream)


def _load_skops(path: Path, trust: bool) -> Any:
    check_version(import_module("skops"), _SKOPS_SAFE_SINCE, trust)
    skops = import_module("skops.io")
    unknown = skops.get_untrusted_types(file=path)
    if unknown and not trust:
        raise UnsafeContent(
            f"This model holds types that are not known to be harmless: {', '.join(unknown)}. Pass trust=True if "
            "you know where it comes from."
        )
    return skops.load(path, trusted=unknown)
