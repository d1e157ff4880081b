"""The rules of the house, read off the source: who imports whom, and what is kept to one module."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "tracelet-core" / "src" / "tracelet"
VENDORS = ("mlflow", "wandb", "clearml", "aim", "lightning")
PLUGINS = (*VENDORS, "bucket")
#: Where a detector keeps what goes wrong from the user's code.
DETECTORS_GUARDS = {
    CORE / "builtin/filesystem/detector.py",
    CORE / "builtin/saves/watching.py",
    ROOT / "tracelet-lightning/src/tracelet_lightning/failures.py",
}

#: The packages of core from the bottom up, as its docstring lists them.
PACKAGES = re.findall(
    r"^\* ``(\w+)``: ", ast.get_docstring(ast.parse((CORE / "core/__init__.py").read_text())) or "", re.M
)
#: From the ground up: a package imports from the floors below its own, and from no neighbour.
FLOORS = (
    {"exceptions", "lazy_names"},
    {f"core.{PACKAGES[0]}"},
    {"settings"},
    *({f"core.{name}"} for name in PACKAGES[1:]),
    {"plugin"},
    {"cli", "testing", "builtin", "worker"},
)


def sources() -> list[Path]:
    return sorted(CORE.rglob("*.py"))


def plugin_sources() -> list[Path]:
    return sorted(path for name in PLUGINS for path in (ROOT / f"tracelet-{name}" / "src").rglob("*.py"))


def package(path: Path) -> str:
    """`core/lanes/lane.py` is of the package `core.lanes`; all of `cli/` is one package."""
    parts = path.relative_to(CORE).with_suffix("").parts
    return ".".join(parts[:2]) if parts[0] == "core" else parts[0]


def floor(name: str) -> int:
    return next(number for number, packages in enumerate(FLOORS) if name in packages)


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that a file imports, wherever in the file that stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def imported_package(module: str) -> str | None:
    parts = module.split(".")
    if parts[0] != "tracelet" or len(parts) < 2:
        return None
    return ".".join(parts[1:3]) if parts[1] == "core" else parts[1]


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def test_every_package_is_on_the_map() -> None:
    packages = {
        package(path) for path in sources() if path.name != "__init__.py" or path.parent not in {CORE, CORE / "core"}
    }
    assert packages == set().union(*FLOORS)


def test_packages_import_only_from_the_floors_below() -> None:
    wrong = []
    for path in sources():
        if path in {CORE / "__init__.py", CORE / "core" / "__init__.py"}:
            continue
        for module, line in imports(path):
            target = imported_package(module)
            known = target in set().union(*FLOORS)
            if known and target != package(path) and floor(target) >= floor(package(path)):
                wrong.append(f"{where(path, line)} imports {module}")
    assert not wrong


def test_a_package_of_core_gives_only_what_is_documented_there() -> None:
    given = {
        path.parent.name: [
            alias.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and node.module.startswith("tracelet.core")
            for alias in node.names
        ]
        for path in (CORE / "core").glob("*/__init__.py")
    }
    assert {name: names for name, names in given.items() if names} == {
        "artifacts": ["ArtifactType"],
        "experiment": ["Experiment", "ExperimentConfig"],
    }


def module_of(dotted: str) -> Path | None:
    """The file of the innermost module in a dotted path."""
    parts = dotted.split(".")[1:]
    for end in range(len(parts), 0, -1):
        for path in (CORE.joinpath(*parts[:end]).with_suffix(".py"), CORE.joinpath(*parts[:end], "__init__.py")):
            if path.exists():
                return path
    return None


def test_no_modules_of_core_import_each_other() -> None:
    below = {
        path: {
            found for module, _ in imports(path) if module.startswith("tracelet.core.") and (found := module_of(module))
        }
        for path in (CORE / "core").rglob("*.py")
    }
    # Whoever imports a module of a package imports the package itself: that is no circle.
    for path, found in below.items():
        found -= {path, *(above / "__init__.py" for above in path.parents)}
    try:
        TopologicalSorter(below).prepare()
    except CycleError as error:
        pytest.fail(" is imported by ".join(path.relative_to(CORE).as_posix() for path in error.args[1]))


def test_plugins_and_built_ins_have_one_door() -> None:
    allowed = {"plugin", "exceptions", "settings"}
    wrong = []
    for path in [*plugin_sources(), *(CORE / "builtin").rglob("*.py")]:
        for module, line in imports(path):
            inside = module.startswith("tracelet.builtin") and CORE in path.parents
            if module.startswith("tracelet.") and not inside and module.split(".")[1] not in allowed:
                wrong.append(f"{where(path, line)} imports {module}")
    assert not wrong


def test_core_knows_no_vendor() -> None:
    wrong = []
    for path in (CORE / "core").rglob("*.py"):
        code = ast.parse(path.read_text())
        words = [node.id for node in ast.walk(code) if isinstance(node, ast.Name)]
        words += [
            node.value for node in ast.walk(code) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        words += [module for module, _ in imports(path)]
        wrong += [f"{path.name}: {vendor}" for vendor in VENDORS for word in words if vendor in word.lower().split()]
    assert not wrong


def top_level_modules(path: Path) -> Iterator[str]:
    """What importing a file imports, in its own distribution's other files too."""
    for node in ast.parse(path.read_text()).body:
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for module in modules:
            own = path.parent / f"{module.partition('.')[2]}.py"
            if module.split(".")[0] == path.parent.name and own.exists():
                yield from top_level_modules(own)
            else:
                yield module


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugins_front_door_is_light(name: str) -> None:
    light = {*sys.stdlib_module_names, "attrs", "tracelet"}
    door = ROOT / f"tracelet-{name}" / "src" / f"tracelet_{name}" / "__init__.py"
    assert not [module for module in top_level_modules(door) if module.split(".")[0] not in light]


def plugin_modules(name: str) -> dict[str, Path]:
    """The modules of a plugin by their full names; the package itself is its front door."""
    source = ROOT / f"tracelet-{name}" / "src"
    paths = (source / f"tracelet_{name}").rglob("*.py")
    return {".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def used_modules(path: Path, modules: dict[str, Path]) -> set[str]:
    """Which of these modules a file uses, be it in a function, for types alone, or by a name in a string."""
    used = {name for name, _ in imports(path)}
    used |= {name.rpartition(".")[0] for name in used - modules.keys()}
    used |= {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
    return {name for name in modules if name in used and modules[name] != path}


@pytest.mark.parametrize("name", PLUGINS)
def test_no_modules_of_a_plugin_use_each_other_in_a_circle(name: str) -> None:
    modules = plugin_modules(name)
    try:
        TopologicalSorter({module: used_modules(path, modules) for module, path in modules.items()}).prepare()
    except CycleError as error:
        pytest.fail(" uses ".join(reversed(error.args[1])))


def test_the_map_of_lightnings_modules_is_true() -> None:
    """Each line of the map names modules, then two spaces and their job; a module uses those of later lines alone."""
    modules = plugin_modules("lightning")
    door = modules.pop("tracelet_lightning")
    text = ast.get_docstring(ast.parse(door.read_text())) or ""
    lines = [line.strip().split("  ")[0].split(", ") for line in text.splitlines() if line.startswith("    ")]
    place = {f"tracelet_lightning.{name}": number for number, names in enumerate(lines) for name in names}
    assert place.keys() == modules.keys()
    for name, path in modules.items():
        assert not [used for used in used_modules(path, modules) if place[used] <= place[name]], name


def users_of(*modules: str) -> set[str]:
    return {
        path.relative_to(CORE).as_posix()
        for path in sources()
        for module, _ in imports(path)
        if any(module == one or module.startswith(f"{one}.") for one in modules)
    }


def test_threads_processes_and_entry_points_have_one_owner_each() -> None:
    assert users_of("subprocess") == {"core/lanes/worker_process.py"} | {
        path for path in users_of("subprocess") if "testing/" in path
    }
    threading = {package(CORE / path) for path in users_of("threading") if path.startswith("core/")}
    # Lanes, plugins and readers make none: they lock, or ask whether an interruption can be the user's.
    assert threading == {"core.capture", "core.delivery", "core.lanes", "core.plugins", "core.reading", "core.system"}
    assert users_of("importlib.metadata.entry_points") == {"core/plugins/discovery.py"}
    assert {path for path in users_of("multiprocessing") if path.startswith("core/")} == set()


def test_only_settings_reads_the_environment() -> None:
    wrong = []
    for path in [*sources(), *plugin_sources()]:
        of_settings = path.parent == CORE / "settings" or path.name == "settings.py"
        for node in ast.walk(ast.parse(path.read_text())):
            reads = isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
            if reads and isinstance(node.value, ast.Name) and node.value.id == "os" and not of_settings:
                wrong.append(where(path, node.lineno))
    assert not [line for line in wrong if "/testing/" not in line]


def test_only_the_boundaries_catch_everything() -> None:
    calling = (
        "core/plugins/discovery.py",
        "core/plugins/loading.py",
        "core/plugins/calling.py",
        "core/system/uris.py",
        "core/capture/detectors.py",
        "core/capture/imports.py",
        "core/capture/pipeline.py",
        "worker.py",
    )
    # Where classes of the user's own are asked for what is in them, or run as a pickle says.
    asking = (
        "core/artifacts/plain_values.py",
        "core/system/messages.py",
        "builtin/objects/_common.py",
        "builtin/model_saves/models.py",
    )
    # What is raised on a thread is raised again by who waits for it.
    threads = {ROOT / "tracelet-bucket/src/tracelet_bucket/together.py"}
    allowed = {CORE / one for one in (*calling, *asking)} | DETECTORS_GUARDS | threads
    wrong = []
    for path in [*sources(), *plugin_sources()]:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ExceptHandler):
                continue
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            names = {kind.id for kind in kinds if isinstance(kind, ast.Name)}
            reraises = any(isinstance(inner, ast.Raise) and inner.exc is None for inner in node.body)
            broad = node.type is None or names & {"Exception", "BaseException"}
            if broad and not reraises and path not in allowed:
                wrong.append(where(path, node.lineno))
    assert not wrong


def test_the_library_prints_nothing() -> None:
    wrong = [
        where(path, node.lineno)
        for path in [*sources(), *plugin_sources()]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not wrong


@pytest.mark.parametrize("name", ["core", *PLUGINS])
def test_every_distribution_is_typed_and_licensed(name: str) -> None:
    folder = ROOT / f"tracelet-{name}"
    package = "tracelet" if name == "core" else f"tracelet_{name}"
    assert (folder / "src" / package / "py.typed").exists()
    assert (folder / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert (folder / "README.md").read_text().startswith(f"# tracelet-{name}")
