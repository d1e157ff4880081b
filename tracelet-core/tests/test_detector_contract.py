"""The contract of detectors: one that keeps it passes, and those that break it are found out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tracelet.core.plugins.detector import Detector
from tracelet.core.plugins.registry import registry
from tracelet.testing import DetectorContract, installed

pytestmark = pytest.mark.capture

PLUGIN = '''
"""Detects what goes through `save`, as a detector of a framework's own saving would."""

import contextlib
import threading
from pathlib import Path

from tracelet.plugin import ArtifactType, Detection, DetectorSpec, hookimpl

listeners = []


def save(path, content):
    Path(path).write_bytes(content)
    for listener in list(listeners):
        listener(Path(path))


class Careful:
    def __init__(self):
        self._emit = None

    def start(self, emit):
        self._emit = emit
        listeners.append(self._saw)

    def _saw(self, path):
        with contextlib.suppress(Exception):
            self._emit(Detection(path=path, name=path.stem, type=ArtifactType.CUSTOM))

    def stop(self):
        if self._saw in listeners:
            listeners.remove(self._saw)


class Deaf(Careful):
    def start(self, emit):
        pass


class Endless(Careful):
    def stop(self):
        pass


class Eager(Careful):
    def __init__(self):
        super().__init__()
        self._early = []
        listeners.append(self._early.append)

    def start(self, emit):
        super().start(emit)
        for path in self._early:
            self._saw(path)


class Strict(Careful):
    def stop(self):
        listeners.remove(self._saw)


class Once(Careful):
    started = False

    def start(self, emit):
        if not self.started:
            super().start(emit)
        self.started = True


class Greedy(Careful):
    def stop(self):
        listeners.clear()


class Fragile(Careful):
    def _saw(self, path):
        self._emit(Detection(path=path, name=path.stem, type=ArtifactType.CUSTOM))


class Chatty(Careful):
    def _saw(self, path):
        print("saw", path)
        super()._saw(path)


class Threaded(Careful):
    def start(self, emit):
        super().start(emit)
        threading.Thread(target=threading.Event().wait, args=(60,), daemon=True).start()


KINDS = (Careful, Deaf, Endless, Eager, Strict, Once, Greedy, Fragile, Chatty, Threaded)


@hookimpl
def tracelet_detectors():
    return [DetectorSpec(name=kind.__name__.lower(), create=lambda settings, context, kind=kind: kind()) for kind in KINDS]
'''


@pytest.fixture(scope="module", autouse=True)
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "saving.py").write_text(PLUGIN)
    with installed(folder, {"saving": "saving"}):
        yield


def saver(folder: Path) -> Callable[[], Path]:
    numbers = itertools.count()

    def provoke() -> Path:
        import saving

        path = folder / f"file-{next(numbers)}.bin"
        saving.save(path, b"content")
        return path

    return provoke


class TestCareful(DetectorContract):
    @pytest.fixture
    def detector(self) -> str:
        return "careful"

    @pytest.fixture
    def provoke(self, tmp_path: Path) -> Callable[[], Path]:
        return saver(tmp_path)


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        ("deaf", "test_what_happens_while_it_runs_is_detected"),
        ("eager", "test_nothing_is_detected_before_the_start"),
        ("endless", "test_nothing_is_emitted_after_the_stop"),
        ("strict", "test_stopping_twice_or_without_a_start_does_nothing"),
        ("once", "test_it_can_be_started_again"),
        ("greedy", "test_two_at_once_do_not_disturb_each_other"),
        ("fragile", "test_an_emit_that_fails_is_not_the_users_trouble"),
        ("chatty", "test_it_is_silent"),
        ("threaded", "test_it_leaves_no_thread_behind"),
    ],
)
def test_a_detector_that_breaks_the_contract_is_found_out(
    kind: str, test: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    contract = DetectorContract()
    contract.patience = 0.5
    create = registry().detectors.get(kind).create

    def make() -> Detector:
        return create(None, None)

    more = {"test_two_at_once_do_not_disturb_each_other": {"order": (0, 1)}, "test_it_is_silent": {"capfd": capfd}}
    with pytest.raises((AssertionError, RuntimeError, ValueError)):
        getattr(contract, test)(make=make, provoke=saver(tmp_path), **more.get(test, {}))
    import saving

    saving.listeners.clear()
