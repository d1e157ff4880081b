"""What the plugin uses of the SDK that W&B does not promise to keep: named here, so that a new SDK says which of it went."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import wandb
from packaging.requirements import Requirement

SOURCES = sorted((Path(__file__).parents[1] / "src").rglob("*.py"))
#: Module and name in it, and who needs it.
NAMES = {
    "wandb.sdk.lib.service.service_token:clear_service_in_env": "connection.py",
    "wandb.sdk.lib.service.service_connection:WandbApiFailedError": "errors.py",
    "wandb.sdk.lib.service.service_token:WandbServiceConnectionError": "errors.py",
    "wandb.sdk.mailbox.mailbox:MailboxClosedError": "errors.py",
    "wandb.sdk.mailbox.mailbox_handle:HandleAbandonedError": "errors.py",
    "wandb.sdk.artifacts.exceptions:WaitTimeoutError": "errors.py",
    "wandb.sdk.artifacts.artifact_manifest_entry:ArtifactManifestEntry": "uploads.py",
    "wandb.sdk.artifacts.artifact_instance_cache:artifact_instance_cache": "memory.py",
    "wandb.sdk.artifacts.artifact_instance_cache:artifact_instance_cache_by_client_id": "memory.py",
    "wandb.sdk.lib.capped_dict:CappedDict": "memory.py",
    "wandb.sdk.artifacts.staging:get_staging_dir": "staging.py",
    "wandb.sdk.lib.paths:LogicalPath": "uploads.py",
    "wandb.sdk.artifacts._internal_artifact:sanitize_artifact_name": "discovering.py",
    "wandb.apis.public:File": "foreign_files.py",
    "wandb.apis.public:Projects": "connection.py",
    "wandb.apis.public.runs:RunNotFoundError": "runs.py",
    "wandb.errors:AuthenticationError": "errors.py",
    "wandb.errors:CommError": "errors.py",
    "wandb.errors:Error": "errors.py",
    "wandb.errors:UsageError": "errors.py",
}
#: Attributes of the SDK's objects whose names begin with an underscore, and who needs them.
ATTRIBUTES = {"_client_id": "versions.py", "_service_api": "connection.py"}
#: Settings that a run is begun with, or that the lane's environment has as ``WANDB__…``.
SETTINGS = (
    "x_primary",
    "x_update_finish_state",
    "x_label",
    "x_disable_meta",
    "x_disable_stats",
    "x_disable_machine_info",
    "x_save_requirements",
    "x_graphql_retry_max",
    "x_graphql_retry_wait_min_seconds",
    "x_graphql_retry_wait_max_seconds",
    "x_file_transfer_retry_max",
    "x_file_transfer_retry_wait_min_seconds",
    "x_file_transfer_retry_wait_max_seconds",
    "x_file_stream_retry_max",
    "x_file_stream_retry_wait_min_seconds",
    "x_file_stream_retry_wait_max_seconds",
    "x_transaction_log_flush_interval",
    "disable_job_creation",
    "sagemaker_disable",
    "sync_dir",
    "sync_file",
    "x_extra_http_headers",
    # Of the user's own runs, and taken away from ours.
    "sweep_id",
    "sweep_param_path",
    "run_id",
    "resume",
    "resume_from",
    "fork_from",
    "launch",
    # As documented.
    "base_url",
    "console",
    "disable_code",
    "disable_git",
    "mode",
    "root_dir",
    "save_code",
    "silent",
    "symlink",
)
#: Words by which an error is known, where the SDK has no class for it, and the module that says so.
WORDS = {
    "the service process is not running": "wandb.sdk.lib.service.service_connection",
    "the service process is busy": "wandb.sdk.lib.service.service_connection",
    "Unable to parse": "wandb.apis.public.artifacts",
    "not found under entity": "wandb.sdk.artifacts.artifact",
    "not found in": "wandb.sdk.artifacts.artifact",
}


@pytest.mark.parametrize("place", NAMES)
def test_a_name_that_we_import_is_there(place: str) -> None:
    """It is not among those that W&B documents."""
    module, _, names = place.partition(":")
    found: object = import_module(module)
    for name in names.split("."):
        found = getattr(found, name, None)
    assert found is not None, f"{NAMES[place]} needs {place}: look where SDK {wandb.__version__} has it"


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_that_we_set_is_one(name: str) -> None:
    """The SDK ignores a variable that it does not know, and so would the lane."""
    known = {*wandb.Settings.model_fields, *wandb.Settings.model_computed_fields}
    assert name in known, f"SDK {wandb.__version__} has no setting {name}: look what runs and the lane need instead"


def test_every_setting_that_we_set_is_named_here() -> None:
    """Given to a run or to the SDK, or set on what it has; a pair of braces with one for a run has its name, too."""
    touched = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in {"Settings", "run_settings"}:
                touched |= {one.arg for one in node.keywords if one.arg is not None}
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "settings":
                        touched.add(target.attr)
            elif isinstance(node, ast.Dict):
                keys = {key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
                touched |= keys if any(key.startswith("x_") for key in keys) else set()
    assert touched <= set(SETTINGS), f"name {sorted(touched - set(SETTINGS))} in SETTINGS"
    assert touched >= {"x_primary", "sweep_param_path", "disable_git"}


@pytest.mark.parametrize("words", WORDS)
def test_words_that_we_know_an_error_by_are_the_sdks(words: str) -> None:
    said = re.sub(r'"\s*\+?\s*f?"', "", inspect.getsource(import_module(WORDS[words])))
    assert words in said, f"errors.py and versions.py need {words!r}: look how SDK {wandb.__version__} says it"


def test_an_answer_that_failed_has_its_status() -> None:
    """Which is the server's own, and not the words of whoever passed it on."""
    from wandb.proto.wandb_api_pb2 import ApiErrorResponse
    from wandb.sdk.lib.service.service_connection import WandbApiFailedError

    failed = WandbApiFailedError("no", ApiErrorResponse(message="no", http_status=403))
    assert failed.response is not None
    assert failed.response.http_status == 403, "errors.status_of needs it"


def test_every_name_that_we_import_is_named_here() -> None:
    """What is imported from the SDK's modules, whole modules by what is used of them."""
    imported = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("wandb"):
                imported |= {f"{node.module}:{one.name}" for one in node.names}
    modules = {f"{module.rpartition('.')[0]}:{module.rpartition('.')[2]}" for module, _, _ in map(_parted, NAMES)}
    missing = imported - set(NAMES) - modules
    assert not missing, f"name {sorted(missing)} in NAMES, and who needs it"


def _parted(place: str) -> tuple[str, str, str]:
    return place.partition(":")


def test_every_private_attribute_that_we_touch_is_named_here() -> None:
    """Of objects that are not our own."""
    touched = {
        node.attr
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.endswith("__")
        if not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"})
    }
    assert touched <= set(ATTRIBUTES), f"name {sorted(touched - set(ATTRIBUTES))} in ATTRIBUTES, and who needs it"


def test_an_artifact_has_an_id_of_its_own_before_the_server_knows_it() -> None:
    """By it alone what was begun and refused is found."""
    made = wandb.Artifact("model", "model")
    assert isinstance(getattr(made, "_client_id", None), str), (
        f"versions.py needs Artifact._client_id: look what createArtifact is sent as clientID by SDK {wandb.__version__}"
    )


def test_requests_of_our_own_can_be_sent() -> None:
    """The public API has none for what is not committed."""
    from wandb.apis.public.service_api import ServiceApi

    assert "self._service_api" in inspect.getsource(wandb.Api), (
        f"connection.py needs Api._service_api: look how SDK {wandb.__version__} sends a request"
    )
    assert list(inspect.signature(ServiceApi.execute_graphql).parameters)[1:3] == ["query", "variables"]


def test_the_newest_release_that_we_have_tried_is_a_ceiling() -> None:
    """Private names changed several times in a year: a release that nobody has tried is not taken by itself."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    (own,) = [one for one in map(Requirement, project["dependencies"]) if one.name == "wandb"]
    major, minor = map(int, wandb.__version__.split(".")[:2])
    assert own.specifier.contains(wandb.__version__)
    assert not own.specifier.contains(f"{major}.{minor + 1}.0"), (
        "the ceiling in tracelet-wandb/pyproject.toml is not the next minor of the SDK that these tests run with"
    )


def test_every_private_variable_of_the_lane_is_named_here() -> None:
    """``WANDB__X`` is the SDK's setting ``x_x``."""
    from tracelet_wandb import tracelet_backends

    (spec,) = tracelet_backends()
    private = {name.removeprefix("WANDB__").lower() for name in spec.environ if name.startswith("WANDB__")}
    assert {f"x_{name}" for name in private} <= set(SETTINGS)


def test_versions_are_filtered_by_a_variable_of_the_query() -> None:
    """``Api.artifacts`` takes no filters; its answer is a query whose variables can still be changed."""
    from wandb.apis.paginator import Paginator
    from wandb.apis.public.artifacts import Artifacts
    from wandb.sdk.artifacts._generated import PROJECT_ARTIFACTS_GQL

    assert "self.variables" in inspect.getsource(Paginator.__init__), "versions.py sets found.variables['filters']"
    assert "variables=self.variables" in inspect.getsource(Paginator), "the variables are not what is sent any more"
    assert "$filters: JSONString" in PROJECT_ARTIFACTS_GQL, "the query of versions takes no filters any more"
    assert "filters" in inspect.signature(Artifacts.__init__).parameters


def test_what_we_read_of_artifacts_is_there() -> None:
    """Properties without which a link, or what is being deleted, would be taken for a version."""
    for name in ("source_name", "source_version", "is_link", "state", "aliases", "get_entry", "manifest", "files"):
        assert hasattr(wandb.Artifact, name), f"versions.py and downloads.py need Artifact.{name}"
    assert set(inspect.signature(wandb.Artifact.add_file).parameters) >= {"local_path", "name", "policy"}


def test_an_error_of_the_clients_says_what_was_behind_it() -> None:
    """``CommError.exc`` tells what is not there from what failed."""
    from wandb.errors import CommError

    inner = ValueError("artifact membership 'x' not found in 'y'")
    assert CommError("message", inner).exc is inner, "errors.is_absent needs it"


def test_threads_may_make_artifacts_at_once(tmp_path: Path) -> None:
    """The SDK remembers the last hundred in each of two places, which fail on their own where threads meet there."""
    code = """
import sys
from concurrent.futures import ThreadPoolExecutor
from wandb.sdk.artifacts import artifact_instance_cache as memories
from tracelet_wandb.connection import set_up
set_up({})
sys.setswitchinterval(1e-6)
for memory in memories.artifact_instance_cache, memories.artifact_instance_cache_by_client_id:
    def remember(thread):
        for number in range(2000):
            memory[f"{thread}-{number}"] = None
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(remember, range(8)))
    assert len(memory) == 100, len(memory)
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=300)
