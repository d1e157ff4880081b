"""What every detector must do."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tracelet.core.plugins.detector import Detection, Detector, DetectorContext, DetectorSpec
from tracelet.core.plugins.registry import registry
from tracelet.settings import WatchedDirectory, load
from tracelet.testing import programs
from tracelet.testing.declaring import OURS
from tracelet.testing.driver import Driver
from tracelet.testing.guard import Contract

__all__ = ["DetectorContract", "Seen"]

#: Seconds of silence after which nothing is expected any more.
_QUIET = 0.5


class Seen:
    """What a detector emitted."""

    def __init__(self) -> None:
        self.detections: list[Detection] = []
        self._more = threading.Condition()

    def emit(self, detection: Detection) -> None:
        """Take a detection in."""
        with self._more:
            self.detections.append(detection)
            self._more.notify_all()

    def wait_for(self, path: Path, patience: float) -> Detection:
        """Return the detection of a file, for which so many seconds may pass."""
        with self._more:
            came = self._more.wait_for(lambda: any(_is_of(one, path) for one in self.detections), patience)
        assert came, f"{path} was not detected within {patience:.0f} s; there was {self.detections}"
        return next(one for one in self.detections if _is_of(one, path))

    def quiet(self, path: Path) -> bool:
        """Whether a file stays undetected."""
        time.sleep(_QUIET)
        return not any(_is_of(one, path) for one in self.detections)


def _is_of(detection: Detection, path: Path) -> bool:
    return detection.path is not None and detection.path.resolve() == path.resolve()


class DetectorContract(Contract):
    """The contract of a detector. Subclass it, with fixtures ``detector`` and ``provoke``."""

    #: Seconds from the completed file to its detection.
    patience = 10.0

    @pytest.fixture
    def detector(self) -> str:
        """Override: the name of the detector, as it is installed."""
        raise NotImplementedError("give the contract a fixture 'detector' that returns the installed detector's name")

    @pytest.fixture
    def environ(self) -> Mapping[str, str]:
        """Override: the variables of the detector's settings."""
        return {}

    @pytest.fixture
    def provoke(self) -> Callable[[], Path]:
        """Override: a function that does what the detector watches for and returns the file, each time another."""
        raise NotImplementedError("give the contract a fixture 'provoke': a function that makes a file to be detected")

    @pytest.fixture
    def spec(self, detector: str) -> DetectorSpec:
        """The spec that the installed plugin provides."""
        return registry().detectors.get(detector)

    @pytest.fixture
    def watched(self) -> tuple[WatchedDirectory, ...]:
        """Override, for a detector that watches directories: those in which ``provoke`` makes its files."""
        return ()

    @pytest.fixture
    def make(
        self, spec: DetectorSpec, environ: Mapping[str, str], watched: tuple[WatchedDirectory, ...], tmp_path: Path
    ) -> Iterator[Callable[[], Detector]]:
        """Make detectors; they are stopped in the end."""
        settings = load(spec.settings, f"TRACELET_{spec.name.upper().replace('-', '_')}_", environ)
        directory = tmp_path / ".tracelet"
        context = DetectorContext(
            experiment="watched", directory=directory, workspace=directory / "staging" / "made", watched=watched
        )
        made: list[Detector] = []

        def one() -> Detector:
            made.append(spec.create(settings, context))
            return made[-1]

        yield one
        for detector in made:
            detector.stop()

    def test_what_happens_while_it_runs_is_detected(
        self, make: Callable[[], Detector], provoke: Callable[[], Path]
    ) -> None:
        """A detection names a file that is there, complete, and what it may become."""
        seen = Seen()
        make().start(seen.emit)
        for _ in range(2):
            path = provoke()
            content = path.read_bytes()
            detection = seen.wait_for(path, self.patience)
            assert isinstance(detection, Detection)
            assert detection.path is not None
            assert detection.path.is_file()
            assert all(one.is_file() for one in detection.beside)
            assert path.read_bytes() == content

    def test_nothing_is_detected_before_the_start(
        self, make: Callable[[], Detector], provoke: Callable[[], Path]
    ) -> None:
        """Making one changes nothing, and what was there before is not emitted."""
        seen = Seen()
        detector = make()
        before = provoke()
        detector.start(seen.emit)
        seen.wait_for(provoke(), self.patience)
        assert seen.quiet(before)

    def test_nothing_is_emitted_after_the_stop(self, make: Callable[[], Detector], provoke: Callable[[], Path]) -> None:
        """When stop has returned, it is over."""
        seen = Seen()
        detector = make()
        detector.start(seen.emit)
        seen.wait_for(provoke(), self.patience)
        detector.stop()
        count = len(seen.detections)
        assert seen.quiet(provoke())
        assert len(seen.detections) == count

    def test_stopping_twice_or_without_a_start_does_nothing(
        self, make: Callable[[], Detector], provoke: Callable[[], Path]
    ) -> None:
        """Whoever stops need not know what went before."""
        make().stop()
        detector = make()
        detector.start(Seen().emit)
        detector.stop()
        detector.stop()
        assert provoke().is_file()

    def test_it_can_be_started_again(self, make: Callable[[], Detector], provoke: Callable[[], Path]) -> None:
        """A second run in one program is watched like the first, and tells the second run only."""
        first, second = Seen(), Seen()
        detector = make()
        detector.start(first.emit)
        detector.stop()
        detector.start(second.emit)
        path = provoke()
        second.wait_for(path, self.patience)
        assert first.quiet(path)

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["first in first out", "last in first out"])
    def test_two_at_once_do_not_disturb_each_other(
        self, make: Callable[[], Detector], provoke: Callable[[], Path], order: tuple[int, int]
    ) -> None:
        """Both see it; the end of one, whichever, is not the end of the other; after both, all is as before."""
        seen = [Seen(), Seen()]
        detectors = [make(), make()]
        for detector, one in zip(detectors, seen, strict=True):
            detector.start(one.emit)
        path = provoke()
        for one in seen:
            one.wait_for(path, self.patience)
        gone, left = order
        detectors[gone].stop()
        path = provoke()
        seen[left].wait_for(path, self.patience)
        assert seen[gone].quiet(path)
        detectors[left].stop()
        path = provoke()
        assert seen[left].quiet(path)

    def test_an_emit_that_fails_is_not_the_users_trouble(
        self, make: Callable[[], Detector], provoke: Callable[[], Path]
    ) -> None:
        """What is raised while a file is reported does not come out of the code that wrote it, nor end the watch."""
        seen = Seen()

        def emit(detection: Detection) -> None:
            seen.emit(detection)
            raise RuntimeError("emit fails")

        make().start(emit)
        for _ in range(2):
            seen.wait_for(provoke(), self.patience)

    def test_it_is_silent(
        self, make: Callable[[], Detector], provoke: Callable[[], Path], capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Nothing is printed into the user's output."""
        seen = Seen()
        detector = make()
        detector.start(seen.emit)
        seen.wait_for(provoke(), self.patience)
        detector.stop()
        assert capfd.readouterr() == ("", "")

    def test_it_leaves_no_thread_behind(self, make: Callable[[], Detector], provoke: Callable[[], Path]) -> None:
        """When stop has returned, the threads of the watch are over or about to be."""
        seen = Seen()
        before = set(threading.enumerate())
        detector = make()
        detector.start(seen.emit)
        seen.wait_for(provoke(), self.patience)
        detector.stop()
        until = time.monotonic() + self.patience
        while set(threading.enumerate()) - before and time.monotonic() < until:
            time.sleep(0.02)
        assert not set(threading.enumerate()) - before

    def test_importing_the_plugin_loads_nothing_heavy(self, detector: str, tmp_path: Path) -> None:
        """The entry point's module loads the standard library, Tracelet and its own package, and nothing else."""
        record = next(record for record in registry().records if f"detector {detector}" in record.provides)
        module = record.target.partition(":")[0]
        driver = Driver(tmp_path / "importing", {})
        try:
            loaded = driver.call(programs.load_plugin, module)
        finally:
            driver.close()
        foreign = loaded - set(sys.stdlib_module_names) - OURS - {module.partition(".")[0]}
        assert not foreign, f"{module} imports {sorted(foreign)}: import them in create() or start()"
