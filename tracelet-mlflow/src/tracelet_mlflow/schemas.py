"""The schema number of what Tracelet writes into MLflow. By it a reader knows what a later release wrote."""

from __future__ import annotations

from collections.abc import Mapping

from tracelet.exceptions import IntegrityError
from tracelet.plugin import check_schema

__all__ = ["SCHEMA", "SCHEMA_TAG", "check_tags"]

#: One number for the index, records, tags and models that wait: they grow together.
SCHEMA = 1
#: The tag that holds it, of an experiment, a run or a model.
SCHEMA_TAG = "tracelet.schema"


def check_tags(tags: Mapping[str, str], what: str) -> None:
    """Check the schema among tags. Without the tag it is 1.

    Raises :class:`~tracelet.NewerFormat` where a later release set them, and :class:`~tracelet.IntegrityError` where the tag
    is no number.
    """
    text = tags.get(SCHEMA_TAG, "1")
    try:
        check_schema({"schema": int(text)}, SCHEMA, what)
    except ValueError as error:
        raise IntegrityError(
            f"{what} has the tag {SCHEMA_TAG}={text[:100]!r}, which is no schema: set it back to {SCHEMA}."
        ) from error
