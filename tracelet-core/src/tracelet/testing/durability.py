"""The contract, part three: what fails, is interrupted or is tampered with is not stored, or is not believed."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
import pytest

from tracelet.core.plugins.versions import Labels, SealedArtifact
from tracelet.exceptions import ArtifactNotFound, BackendError, IntegrityError, TraceletError, UnsafePath
from tracelet.testing import programs
from tracelet.testing.backend_process import BackendProcess
from tracelet.testing.contents import present, summary
from tracelet.testing.contract_fixtures import Bench, ContractFixtures
from tracelet.testing.samples import Samples

__all__ = ["Durability"]

_KILLED_AT = ("the first file", "the last file")


class Durability(ContractFixtures):
    """Bytes first, the manifest after them: what has no manifest does not exist."""

    def test_a_put_whose_source_vanishes_lists_nothing(
        self, opened: BackendProcess, samples: Samples, own_folder: Path
    ) -> None:
        """It raises, and the same artifact can be stored afterwards, from the first version on or a later one."""
        files = {"a": b"1" * 5000, "b": b"2" * 5000, "c": b"3" * 5000}
        whole = samples.seal("model", files)
        last = whole.sources[whole.manifest.payload[-1].artifact_path]
        content = last.read_bytes()
        last.unlink()
        with pytest.raises(TraceletError):
            opened.put(whole, Labels("1.0", ("best",)))
        self._is_not_there(opened, whole, "1.0", "best")
        last.write_bytes(content)
        settled = attrs.evolve(whole, stamps={})
        stored = opened.deliver(settled, Labels("1.0", ("best",)), again=True).stored
        assert summary(opened.content(stored, own_folder / "got")) == summary(files)
        assert [one.manifest.put_id for one in opened.list()] == [whole.manifest.put_id]
        assert present(opened.find("model", "1.0")).number == present(opened.find("model", "best")).number

    @pytest.mark.parametrize(
        "change", [b"X" * 5000, b"X" * 4999, b"X" * 5001, b""], ids=["same", "less", "more", "none"]
    )
    def test_a_put_whose_source_changed_lists_nothing(
        self, opened: BackendProcess, samples: Samples, change: bytes
    ) -> None:
        """Bytes that are not the ones that were hashed must not be stored as if they were."""
        opened.put(samples.seal("model", {"a": b"0"}), Labels(None, ("best",)))
        sealed = samples.seal("model", {"a": b"1" * 5000, "b": b"2" * 5000})
        with pytest.raises(TraceletError):
            opened.deliver_changing(sealed, Labels("1.0", ("best",)), {sealed.sources["b"]: change})
        assert opened.find("model", f"put:{sealed.manifest.put_id}") is None
        assert opened.find("model", "1.0") is None
        assert present(opened.find("model")).number == present(opened.find("model", "best")).number == 0
        assert [stored.number for stored in opened.list()] == [0]

    @pytest.mark.parametrize("moment", _KILLED_AT)
    def test_an_interrupted_put_lists_nothing_and_is_stored_once(
        self, bench: Bench, samples: Samples, own_folder: Path, moment: str
    ) -> None:
        """The process is killed while it stores; a later delivery of the same put stores it exactly once."""
        files = {f"part-{number}": os.urandom(200_000) for number in range(4)}
        sealed = samples.seal("model", files)
        victim = bench.open("victim", mortal=True)
        touched = sealed.manifest.payload[0 if moment == _KILLED_AT[0] else -1].artifact_path
        victim.begin_put_and_die(sealed, sealed.sources[touched])
        opened = bench.open()
        if victim.driver.died():
            self._is_not_there(opened, sealed)
        else:
            # The bytes were read by another process than the backend's own: let the clock say when to kill.
            sealed = self._killed_by_the_clock(bench, samples, files)
            found = opened.list(sealed.manifest.name)
            held = [opened.content(stored, own_folder / f"whole-{number}") for number, stored in enumerate(found)]
            assert [summary(one) for one in held] == [summary(files)] * len(found)
        delivered = opened.deliver(sealed, again=True)
        assert summary(opened.content(delivered.stored, own_folder / "got")) == summary(files)
        assert [stored.manifest.put_id for stored in opened.list(sealed.manifest.name)] == [sealed.manifest.put_id]
        assert opened.deliver(sealed, again=True).stored.number == delivered.stored.number
        assert len(opened.list(sealed.manifest.name)) == 1

    def test_a_put_whose_answer_was_lost_is_not_stored_again(self, bench: Bench, samples: Samples) -> None:
        """It is found by its put-id, by another process, also when a newer version came between."""
        first = samples.seal("model", {"x": b"1"})
        with_label = samples.seal("model", {"x": b"2"})
        first_opened = bench.open()
        first_opened.put(first)
        first_opened.put(with_label, Labels("1.0", ("best",)))
        other = bench.open("other")
        for number, one, labels in [(1, with_label, Labels("1.0", ("best",))), (0, first, Labels())]:
            again = other.deliver(one, labels, again=True)
            assert (again.created, again.stored.number) == (True, number)
        assert len(other.list()) == 2

    @pytest.mark.parametrize("change", ["all", "one byte"])
    def test_changed_bytes_are_not_believed(
        self, bench: Bench, samples: Samples, own_folder: Path, tamper: Callable[[bytes, bytes], int], change: str
    ) -> None:
        """A download of bytes that were changed in the place raises, and leaves no file under its name."""
        mark = uuid.uuid4().bytes * 8
        program = bench.driver("program-1")
        recipe = programs.Recipe("model", {"bad.bin": own_folder / "bad", "good.bin": own_folder / "good"})
        (own_folder / "bad").write_bytes(b"head" + mark + b"tail")
        (own_folder / "good").write_bytes(b"good")
        program.call(programs.log, bench.experiment, bench.spec.name, [recipe])
        changed = mark[::-1] if change == "all" else mark[:-1] + bytes([mark[-1] ^ 1])
        assert tamper(mark, changed) > 0, "the stored bytes are in no file of the place: override the fixture tamper"
        dest = own_folder / "got"
        reader = bench.driver("program-2")
        with pytest.raises(IntegrityError):
            reader.call(programs.download, bench.experiment, bench.spec.name, "model", dest)
        assert not [path for path in dest.rglob("*") if path.name == "bad.bin"]
        reader.call(
            programs.download, bench.experiment, bench.spec.name, "model", own_folder / "part", paths=["good.bin"]
        )
        assert (own_folder / "part" / "good.bin").read_bytes() == b"good"
        tamper(changed, mark)
        # What is open may remember the bytes that it has read.
        reader.call(programs.end_reading)
        reader.call(programs.download, bench.experiment, bench.spec.name, "model", dest)
        assert (dest / "bad.bin").read_bytes() == b"head" + mark + b"tail"

    @pytest.mark.parametrize("hostile", ["../../../escaped.bin", "/tmp/12/escaped.bin0"])
    def test_a_hostile_manifest_is_not_followed(
        self, bench: Bench, own_folder: Path, tamper: Callable[[bytes, bytes], int], hostile: str
    ) -> None:
        """A manifest whose paths were changed in the place raises, and no file is written."""
        harmless = "harmless/safe-01.bin"
        assert len(harmless) == len(hostile)
        (own_folder / "x").write_bytes(b"x")
        recipe = programs.Recipe("model", {harmless: own_folder / "x"})
        bench.driver("program-1").call(programs.log, bench.experiment, bench.spec.name, [recipe])
        assert tamper(harmless.encode(), hostile.encode()) > 0, (
            "the manifest is in no file of the place: override the fixture tamper"
        )
        dest = own_folder / "deep" / "er" / "got"
        with pytest.raises((IntegrityError, UnsafePath, ArtifactNotFound)):
            bench.driver("program-2").call(programs.download, bench.experiment, bench.spec.name, "model", dest)
        assert not list(own_folder.rglob("escaped.bin*"))
        assert not [path for path in dest.rglob("*") if path.is_file()]
        # The place may serve other tests.
        tamper(hostile.encode(), harmless.encode())

    def test_a_place_that_is_away_is_not_an_empty_one(
        self, bench: Bench, samples: Samples, unreachable: Mapping[str, str]
    ) -> None:
        """Finding, listing and storing all raise, in time, what says that it may pass."""
        assert dict(unreachable) != dict(bench.environ), "override the fixture unreachable"
        sealed = samples.seal("model", {"x": b"1"})
        attempts: list[Callable[[BackendProcess], object]] = [
            lambda opened: opened.find("model"),
            lambda opened: opened.list(),
            lambda opened: opened.put(sealed),
        ]
        for attempt in attempts:
            with pytest.raises(BackendError) as told:
                attempt(bench.open("away", environ=unreachable))
            assert told.value.retryable

    def _is_not_there(self, opened: BackendProcess, sealed: SealedArtifact, *labels: str) -> None:
        name = sealed.manifest.name
        assert opened.list() == []
        for ref in ("latest", "v0", f"put:{sealed.manifest.put_id}", f"sha256:{sealed.manifest.digest}", *labels):
            assert (ref, opened.find(name, ref)) == (ref, None)

    def _killed_by_the_clock(self, bench: Bench, samples: Samples, files: Mapping[str, bytes]) -> SealedArtifact:
        """Kill a second put after half the time that a first one takes."""
        opened = bench.open("victim", mortal=True)
        opened.begin_put_and_die(samples.seal("measured", files), Path("no such file"))
        took = opened.driver.result()
        sealed = samples.seal("killed", files)
        opened.begin_put_and_die(sealed, Path("no such file"))
        opened.driver.died(took / 2)
        return sealed
