"""What TRACELET_BUCKET_URL may say, and what it is told otherwise, before anything is sent."""

from __future__ import annotations

import pytest

from tracelet.exceptions import ConfigError
from tracelet_bucket.settings import BucketSettings


@pytest.mark.parametrize("name", ["my bucket", "übung", "a*b", "-a", "a\\b"])
@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_what_is_no_name_of_a_bucket_is_refused(scheme: str, name: str) -> None:
    with pytest.raises(ConfigError, match="no bucket has the name"):
        BucketSettings(url=f"{scheme}://{name}/team")


@pytest.mark.parametrize("url", ["s3://bucket/new\nline", "gs://bucket/\x00", "file:///data/\x1b[0m"])
def test_what_cannot_be_seen_is_no_part_of_a_prefix(url: str) -> None:
    with pytest.raises(ConfigError, match="cannot be seen"):
        BucketSettings(url=url)


@pytest.mark.parametrize(
    "url", ["s3://my.bucket-1", "gs://my_bucket/", "az://$root/team", "s3://bucket/my prefix/ü", "file:///data/my team"]
)
def test_other_names_are_taken(url: str) -> None:
    assert BucketSettings(url=url).url == url
