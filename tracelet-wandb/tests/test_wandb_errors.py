"""What the SDK raises, told as what it is: the reader is sent to the right place."""

from __future__ import annotations

import errno

import pytest
import requests
from wandb.errors import CommError
from wandb.sdk.lib.service.service_token import WandbServiceConnectionError
from wandb.sdk.mailbox.mailbox import MailboxClosedError
from wandb.sdk.mailbox.mailbox_handle import HandleAbandonedError

from tracelet.exceptions import BackendAuthError, BackendError, BackendUnavailable
from tracelet_wandb.errors import translated

CACHE = "/home/somebody/.cache/wandb/artifacts"


def told(error: Exception, cause: BaseException | None = None) -> BackendError:
    with pytest.raises(BackendError) as caught, translated("http://127.0.0.1:1"):
        raise error from cause
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied", CACHE),
        OSError(errno.ENOSPC, "No space left on device", CACHE),
        NotADirectoryError(errno.ENOTDIR, "Not a directory", CACHE),
        CommError(f"failed to upload: open {CACHE}: permission denied"),
        ValueError(f"mkdir {CACHE}: no space left on device"),
    ],
    ids=lambda error: str(error),
)
def test_a_folder_that_cannot_be_used_is_no_matter_of_credentials_or_the_server(error: Exception) -> None:
    """Also where wandb-core met it, and the SDK wraps it: the folder is named, and what to do."""
    for one in (told(error), told(CommError("it did not work"), error)):
        if isinstance(error, OSError) or one.__cause__ is error:
            assert type(one) is BackendError, one
            assert CACHE in str(one)
            assert "WANDB_CACHE_DIR" in str(one)


def test_a_full_disk_that_names_no_file_is_told_as_one() -> None:
    """A write has no name."""
    assert "No space left" in str(told(OSError(errno.ENOSPC, "No space left on device")))
    assert "WANDB_CACHE_DIR" in str(told(OSError(errno.ENOSPC, "No space left on device")))


@pytest.mark.parametrize(
    "text", ["permission denied", "user is not logged in", "HTTP 403", "relogin required", "Forbidden"]
)
def test_a_server_that_says_no_is_a_matter_of_credentials(text: str) -> None:
    """In an answer whose status is 200, too."""
    assert isinstance(told(CommError(text)), BackendAuthError)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ('{"errors":[{"message":"too much"},{"message":"by far"}],"data":{"createArtifact":null}}', "too much; by far"),
        ("<html>no</html>", "<html>no</html>"),
        ('{"detail": "no"}', '{"detail": "no"}'),
        ("x" * 1000, f"{'x' * 400}…"),
    ],
)
@pytest.mark.parametrize(
    "told_by", ["returned error 413: ", "POST http://h giving up after 3 attempt(s)\nwhile retrying: HTTP 402: "]
)
def test_a_final_refusal_has_the_servers_words_and_no_more(answer: str, words: str, told_by: str) -> None:
    """Whatever form they have, and also where the client tried again before it said so."""
    error = told(ValueError(f"ArtifactSaver.createArtifact: {told_by}{answer}"))
    assert str(error).endswith(f"refuses this: {words}")
    assert not error.retryable


@pytest.mark.parametrize(
    ("text", "away"),
    [
        ('Post "http://127.0.0.1:1/graphql": EOF', True),
        ("unexpected EOF", True),
        ("the name, or a part thereof, is taken", False),
        ("geofence is no type", False),
        ("dial tcp 127.0.0.1:1: connect: connection refused", True),
        ("Dial TCP 127.0.0.1:1", True),
    ],
)
def test_only_gos_own_eof_says_that_the_server_is_away(text: str, away: bool) -> None:
    """And no word that has these letters."""
    assert isinstance(told(CommError(text)), BackendUnavailable) is away


def test_a_connection_that_this_machine_forbids_is_no_folder() -> None:
    """A firewall's refusal is a PermissionError inside an error of requests."""
    refused = PermissionError(errno.EPERM, "Operation not permitted")
    assert isinstance(told(requests.ConnectionError("no route"), refused), BackendUnavailable)


@pytest.mark.parametrize(
    "error",
    [
        MailboxClosedError(),
        HandleAbandonedError(),
        WandbServiceConnectionError("no service"),
        ConnectionResetError("Connection lost"),
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
        CommError("Failed to execute API request: the service process is not running."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_client_that_lost_its_own_process_is_of_no_use_any_more(error: Exception) -> None:
    """It does not begin another one by itself; and it may wrap what was behind it, without a word."""
    for one in (told(error), told(CommError("", error), error)):
        assert isinstance(one, BackendUnavailable)
        assert one.ends_lane
        assert "own process" in str(one)


def test_a_server_that_ends_a_connection_is_another_matter() -> None:
    """The client's own process is there as before."""
    one = told(requests.ConnectionError("aborted"), ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))
    assert isinstance(one, BackendUnavailable)
    assert not one.ends_lane
