"""The contract, part five: what the plugin says of itself is so, and installing it changes nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tracelet.core.artifacts.plain import converter
from tracelet.core.plugins.backend_spec import BackendSpec
from tracelet.core.plugins.specs import PluginRecord
from tracelet.core.plugins.versions import Labels, StoredArtifact
from tracelet.settings import load
from tracelet.testing import programs
from tracelet.testing.backend_process import BackendProcess
from tracelet.testing.contract_fixtures import Bench, ContractFixtures
from tracelet.testing.samples import Samples

__all__ = ["OURS", "Declaring"]

#: What Tracelet itself needs, and what that needs.
OURS = {"tracelet", "attr", "attrs", "cattr", "cattrs", "pluggy", "typing_extensions", "exceptiongroup"}
#: Seconds that ``BackendSpec.context`` may take: it runs in every ``log_artifact`` of the user's.
_CHEAP = 0.1


class Declaring(ContractFixtures):
    """The spec, and the module that the entry point names."""

    def test_importing_the_plugin_leaves_the_sdk_alone(
        self, bench: Bench, record: PluginRecord, sdk_modules: tuple[str, ...]
    ) -> None:
        """The entry point's module loads the standard library, Tracelet and its own package, and nothing else."""
        module = record.target.partition(":")[0]
        loaded = bench.driver("program-fresh", mortal=True).call(programs.load_plugin, module)
        own = module.partition(".")[0]
        foreign = loaded - set(sys.stdlib_module_names) - OURS - {own}
        assert not foreign, (
            f"{module} imports {sorted(foreign)}: import them in open() or in a module that open() imports"
        )
        assert not loaded & set(sdk_modules)

    def test_the_users_process_never_loads_the_sdk(
        self, bench: Bench, own_folder: Path, sdk_modules: tuple[str, ...]
    ) -> None:
        """Logging and reading happen in lanes; a backend that lives in the user's process loads no SDK either way."""
        (own_folder / "x").write_bytes(b"x")
        program = bench.driver("program-fresh", mortal=True)
        recipe = programs.Recipe("model", {"x": own_folder / "x"})
        program.call(programs.log, bench.experiment, bench.spec.name, [recipe])
        program.call(programs.download, bench.experiment, bench.spec.name, "model", own_folder / "got")
        assert (own_folder / "got" / "x").read_bytes() == b"x"
        assert not program.call(programs.modules) & set(sdk_modules)

    def test_the_context_is_plain_data_and_costs_nothing(self, bench: Bench) -> None:
        """It runs in the user's process, imports nothing, and goes through JSON."""
        answer, brought, seconds = bench.driver("program-fresh", mortal=True).call(programs.context_of, bench.spec.name)
        assert isinstance(json.loads(answer), dict)
        assert not brought - set(sys.stdlib_module_names)
        assert seconds < _CHEAP

    def test_declared_capabilities_are_the_implemented_ones(self, opened: BackendProcess, spec: BackendSpec) -> None:
        """Core goes by the declaration before it opens a backend, and by the protocols after: they must say the same."""
        assert opened.implements() == sorted(capability.name for capability in spec.capabilities)

    def test_settings_have_defaults_and_are_plain_data(self, spec: BackendSpec) -> None:
        """Nothing has to be set for the plugin to load; settings go to the lane as JSON."""
        settings = load(spec.settings, "NO_VARIABLE_BEGINS_LIKE_THIS_", {})
        assert isinstance(settings, spec.settings)
        plain = json.loads(json.dumps(converter().unstructure(settings)))
        assert converter().structure(plain, spec.settings) == settings

    def test_what_is_stored_goes_through_json(self, opened: BackendProcess, samples: Samples) -> None:
        """What put, find and list return crosses the lane, with the locator as it was."""
        put = opened.put(samples.seal("model", {"x": b"1"}), Labels("1.0", ("best",)))
        for stored in (put, opened.find("model"), *opened.list()):
            plain = json.loads(json.dumps(converter().unstructure(stored)))
            assert converter().structure(plain, StoredArtifact) == stored

    def test_the_spec_says_what_it_is_for(self, spec: BackendSpec, backend: str) -> None:
        """It has the name that was asked for, and one sentence for the table of backends."""
        assert spec.name == backend
        assert spec.summary.strip()
        assert "\n" not in spec.summary
        assert all(isinstance(key, str) and isinstance(value, str) for key, value in spec.environ.items())
