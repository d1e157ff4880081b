"""Sessions: `demo`, `tests`, `coverage`, `reliability`, `launchers`, `machines`, `deployments`, `clouds`, `captured`, `oldest`, `newest`, `other_server`, `bench`, `lint`, `types`, `docs`, `build`. `python -m pip install nox` is all they need."""

import shutil
from pathlib import Path

import nox
import nox.command

nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_existing_virtualenvs = True
PROJECT = nox.project.load_toml("pyproject.toml")
PLUGINS = ("mlflow", "wandb", "clearml", "aim", "bucket", "lightning")
#: Plugins whose package on PyPI is of their own name.
TRACKERS = ("mlflow", "wandb", "clearml", "aim")
CORE_TESTS = "tracelet-core/tests"
#: Frameworks make a process large and late: only those who test them load them.
FRAMEWORKS = "tracelet-core/tests/frameworks"
DISTRIBUTIONS = ("core", *PLUGINS)
CORE = "./tracelet-core[cli,remote,testing,watch,yaml]"
#: Microsoft's emulator of Azure's blobs, from npm.
AZURITE = "azurite@3.35.0"
#: What Chromium is called.
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
#: Frameworks and servers are for fewer workers: a large process is late with all that it starts.
FEW = ("-n", "2", "--dist", "loadscope")
#: Who waits for a server leaves half of two cores to others.
SERVED = ("-n", "4", "--dist", "loadscope")
#: Much of the time is spent waiting for deadlines: more workers than cores.
MANY = ("-n", "4", "--dist", "worksteal")


def group(*names: str) -> list[str]:
    return [line for name in names for line in nox.project.dependency_groups(PROJECT, name)]


def sources() -> list[str]:
    return [f"tracelet-{name}/src" for name in DISTRIBUTIONS]


def editable() -> list[str]:
    extras = {"aim": "[plotly]"}
    paths = [CORE, *(f"./tracelet-{name}{extras.get(name, '')}" for name in PLUGINS)]
    return [part for path in paths for part in ("-e", path)]


@nox.session
def demo(session: nox.Session) -> None:
    """Train, log, and find everything again from a second process, on the embedded backend."""
    session.log(
        "installing Tracelet, scikit-learn, skops, matplotlib and what they need: some 30 packages, about 90 MB. "
        "The first time this takes a minute or more, and pip shows nothing until it is done."
    )
    session.install("./tracelet-core[cli,yaml]", *group("demo"))
    session.run("python", "examples/demo.py", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run every test."""
    install_all(session)
    compute_alone(session)
    if session.posargs:
        session.run("pytest", *session.posargs)
        return
    groups = {
        **core_groups(),
        "across distributions": ("tests", "-n", "3", "--dist", "loadscope"),
        **{name: (f"tracelet-{name}/tests", *SERVED) for name in PLUGINS},
        "lightning": ("tracelet-lightning/tests", "-n", "3", "--dist", "loadscope"),
    }
    # Azurite is for `deployments`: it comes from another registry. Nobody has a bucket everywhere.
    groups["bucket"] = (*groups["bucket"], "-m", "not azure and not cloud")
    failed = [name for name, arguments in groups.items() if not passes(session, "pytest", *arguments)]
    if "browser" not in groups:
        session.warn("no page was looked at, because no Chromium is installed. On Debian: apt-get install chromium")
    if failed:
        session.error(f"these failed: {', '.join(failed)}")


@nox.session
def coverage(session: nox.Session) -> None:
    """Measure how much of the core its own tests run, branch by branch; measuring takes as long again as the tests."""
    install_all(session)
    compute_alone(session)
    session.run("coverage", "erase")
    for arguments in core_groups().values():
        session.run("coverage", "run", "-m", "pytest", *arguments)
    session.run("coverage", "combine", silent=True)
    # All is covered but, once in a while, a line that only a race's other outcome reaches: that is no reason to fail.
    session.run("coverage", "report", "--precision=2", "--fail-under=99.9")


def install_all(session: nox.Session) -> None:
    """Install every distribution from its sources, and what its tests need."""
    session.install(*group("frameworks", "formats"))
    session.install(*editable(), "./tests/plugins/tracelet-fsspec-sample", *group("test", "servers", "notebooks"))
    # Hundreds of processes are started: none has to compile what another one has.
    session.env["PYTHONDONTWRITEBYTECODE"] = ""


def compute_alone(session: nox.Session) -> None:
    """Let libraries compute with one thread each: there are more workers than cores, and threads that wait for each other double what all take."""
    session.env.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))


def core_groups() -> dict[str, tuple[str, ...]]:
    """What the core's own tests are run in, each with as many workers as suit it. Pages are looked at where there is a browser."""
    pages = {"browser": (CORE_TESTS, "--ignore", FRAMEWORKS, "-m", "browser", *FEW)}
    return {
        "core": (CORE_TESTS, "--ignore", FRAMEWORKS, "-m", "not kit and not capture and not browser", *MANY),
        "capture": (CORE_TESTS, "--ignore", FRAMEWORKS, "-m", "capture", *MANY),
        "kit": (CORE_TESTS, "--ignore", FRAMEWORKS, "-m", "kit", *FEW),
        "frameworks": (FRAMEWORKS, *FEW),
        **(pages if any(map(shutil.which, BROWSERS)) else {}),
    }


def passes(session: nox.Session, *command: str, external: bool = False) -> bool:
    """Run a command to its end and say whether it was good; what comes after it is run all the same."""
    try:
        session.run(*command, external=external)
    except nox.command.CommandFailed:
        return False
    return True


@nox.session
def launchers(session: nox.Session) -> None:
    """Start jobs by real launchers: torchrun, accelerate, Ray, Dask, Open MPI, MPICH and Slurm; what is not installed is said, and fails."""
    ours = [line for line in group("frameworks") if line.startswith(("torch==", "accelerate"))]
    theirs = ("ray[train]>=2.51", "distributed>=2024.6", "mpi4py>=4.1")
    session.install(*ours, *theirs, "-e", "./tracelet-core", "-e", "./tracelet-bucket", *group("test", "servers"))
    session.run("pytest", "tests/launchers", *session.posargs)


@nox.session
def machines(session: nox.Session) -> None:
    """Log on one machine and read on another one, in namespaces of Linux, as root; what is not installed is said, and fails."""
    plugins = ("mlflow", "aim", "bucket")
    session.install("-e", CORE, *(part for one in plugins for part in ("-e", f"./tracelet-{one}")))
    session.install(*group("test", "demo", "servers", "machines"))
    session.run("pytest", "tests/machines", *session.posargs)


@nox.session
def deployments(session: nox.Session) -> None:
    """Use MLflow on PostgreSQL, with passwords, and behind TLS and a path, and a bucket in Azurite; what is not installed is said, and fails."""
    wanted = group("test", "demo", "servers", "deployments")
    session.install("-e", CORE, "-e", "./tracelet-mlflow", "-e", "./tracelet-bucket", *wanted)
    azurite = Path(session.virtualenv.location) / "azurite"
    session.run(
        "npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(azurite), AZURITE, external=True
    )
    session.run("pytest", "tests/deployments", *FEW, *session.posargs)
    session.run("pytest", "tracelet-bucket/tests", "-m", "azure", *FEW, *session.posargs)


@nox.session
def clouds(session: nox.Session) -> None:
    """Keep the contract of backends in real buckets, with this shell's credentials: `-- s3://bucket/prefix gs://bucket`; what is written there is deleted."""
    if not session.posargs:
        session.error("name buckets, or prefixes in them: nox -s clouds -- s3://bucket/prefix")
    session.install("-e", CORE, "-e", "./tracelet-bucket[profiles]", *group("test", "servers"))
    session.env["TRACELET_TEST_CLOUDS"] = " ".join(session.posargs)
    session.run("pytest", "tracelet-bucket/tests", "-m", "cloud", *FEW)


@nox.session
def reliability(session: nox.Session) -> None:
    """Kill, starve, cheat and soak at length; write what came of it into docs/why/reliability.md. It takes some fifteen minutes."""
    session.install(*editable(), "./tests/plugins/tracelet-fsspec-sample", *group("test"))
    session.env["PYTHONDONTWRITEBYTECODE"] = ""
    session.run("pytest", "tests/reliability", "--long", "--figures", "docs/why/reliability.md", *session.posargs)


@nox.session
def captured(session: nox.Session) -> None:
    """Save as users do with each library whose saves are captured; write what was captured into docs/reference/capture.md."""
    install_all(session)
    session.install(*group("captured"))
    session.run("pytest", "tests/captured", *(session.posargs or ["--figures", "docs/reference/capture.md"]))


@nox.session
def oldest(session: nox.Session) -> None:
    """Run the tests of tracelet-lightning with the oldest releases of both packages that it works with."""
    (torch,) = (line for line in group("frameworks") if line.startswith("torch=="))
    # They import what was since taken out of setuptools, and out of the client of Lightning's cloud.
    then = ("lightning==2.0.0", "pytorch-lightning==2.0.0", "setuptools<81", "lightning-cloud==0.5.32")
    session.install(*then, torch, "pillow", "-e", "./tracelet-core", "-e", "./tracelet-lightning", *group("test"))
    tests = "tracelet-lightning/tests"
    # Those batches are of libraries that need newer releases, and these loggers are those of trackers.
    batches = f"{tests}/test_lightning_batches.py"
    loggers = f"{tests}/test_lightning_runs.py::test_what_loggers_upload_is_the_same_with_capture_and_captured_once"
    others = ("--ignore", batches, "--deselect", loggers)
    session.run("pytest", tests, *others, "-n", "2", "--dist", "loadscope", *session.posargs)


@nox.session
@nox.parametrize("tracker", TRACKERS)
def newest(session: nox.Session, tracker: str) -> None:
    """Run a tracker's tests with its newest release, whatever our ceiling is; made to be run every week."""
    install_all(session)
    # pip says which of our bounds is overstepped, and goes on.
    session.install("--upgrade", tracker)
    told = session.run(
        "python", "-c", f"from importlib.metadata import version; print(version({tracker!r}))", silent=True
    )
    if not passes(session, "pytest", f"tracelet-{tracker}/tests", "-n", "3", "--dist", "loadscope", *session.posargs):
        session.error(f"{tracker} {str(told).strip()} breaks what is said to have failed above")


@nox.session
def other_server(session: nox.Session) -> None:
    """Run W&B's tests against the kind of stand-in server that each of them does not meet among the tests."""
    install_all(session)
    session.env["TRACELET_TEST_WANDB_OTHER_MODE"] = "1"
    session.run("pytest", "tracelet-wandb/tests", "-n", "3", "--dist", "loadscope", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure every budget beside the plain SDKs and the same job by hand, into benchmarks/results/; `-- --quick` does less of each."""
    install_all(session)
    session.run("python", "benchmarks/bench.py", "--peers", install_peers(session), *session.posargs)


def install_peers(session: nox.Session) -> str:
    """Install what Tracelet is measured beside, each into an environment of its own; what cannot be installed is said, and missing."""
    folder = Path(session.virtualenv.location) / "peers"
    for line in group("peers"):
        place = folder / line.partition("=")[0]
        python = str(place / "bin" / "python")
        installed = place.exists() or passes(session, "python", "-m", "venv", str(place))
        if not (installed and passes(session, python, "-m", "pip", "install", "--quiet", line, external=True)):
            shutil.rmtree(place, ignore_errors=True)
            session.warn(f"{line} cannot be installed: its lines are missing in the plots")
    return str(folder)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    session.install(*editable(), *group("types"))
    session.run("mypy", *sources())


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site into site/, strictly: with every link and every name of the API, and no misspelt word."""
    session.install(*group("docs"))
    # What it says of a later MkDocs is known, and no warning about a page.
    session.env["NO_MKDOCS_2_WARNING"] = "1"
    session.run("typos")
    session.run("mkdocs", "build", "--strict")
    session.run("python", "docs/links.py", "site")


@nox.session
def build(session: nox.Session) -> None:
    """Build the wheel and the sdist of every distribution into dist/."""
    backend = nox.project.load_toml("tracelet-core/pyproject.toml")["build-system"]["requires"]
    session.install("build", *backend)
    shutil.rmtree("dist", ignore_errors=True)
    for name in DISTRIBUTIONS:
        session.run("python", "-m", "build", "--no-isolation", "--outdir", "dist", f"tracelet-{name}", silent=True)
