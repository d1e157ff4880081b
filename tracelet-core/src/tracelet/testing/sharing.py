"""The contract, part four: several processes and threads, and a user's own program."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tracelet.core.artifacts.entries import ArtifactType
from tracelet.core.plugins.versions import Labels
from tracelet.exceptions import ArtifactError, ArtifactNotFound, VersionConflict
from tracelet.testing import programs
from tracelet.testing.backend_process import BackendProcess
from tracelet.testing.contents import present
from tracelet.testing.contract_fixtures import Bench, ContractFixtures
from tracelet.testing.samples import Samples

__all__ = ["Sharing"]

_THREADS = 8
#: How often two processes meet at one moment.
_RACES = 12
#: Seconds from asking for a race to its start.
_LEAD = 0.1


class Sharing(ContractFixtures):
    """Writers and readers that know nothing of each other."""

    def test_what_one_program_logs_another_one_reads(self, bench: Bench, own_folder: Path) -> None:
        """In another process, another folder, and with another tracelet directory."""
        recipes = []
        for number in range(2):
            source = own_folder / f"source-{number}"
            source.write_bytes(f"weights {number}".encode())
            files = {"model/weights.bin": source, "ünï.txt": source}
            recipes.append(
                programs.Recipe("model", files, ArtifactType.MODEL, {"epoch": number}, f"1.{number}", ("best",))
            )
        writer, reader = bench.driver("program-1"), bench.driver("program-2")
        name = bench.spec.name
        results = writer.call(programs.log, bench.experiment, name, recipes)
        assert [result[name].version for result in results] == ["1.0", "1.1"]
        assert all(result.ok and result[name].created for result in results)

        newest = reader.call(programs.get, bench.experiment, name, "model")
        assert newest["digest"] == results[1][name].digest
        assert (newest["version"], newest["aliases"], newest["metadata"]) == ("1.1", ["best"], {"epoch": 1})
        listed = reader.call(programs.listing, bench.experiment, name)
        assert [one["version"] for one in listed] == ["1.1", "1.0"]
        assert reader.call(programs.listing, bench.experiment, name, ArtifactType.IMAGE) == []
        for number, version in enumerate(("1.0", "best")):
            dest = own_folder / f"got-{number}"
            reader.call(programs.download, bench.experiment, name, "model", dest, version)
            got = {path.relative_to(dest).as_posix(): path.read_bytes() for path in dest.rglob("*") if path.is_file()}
            assert got == {"model/weights.bin": f"weights {number}".encode(), "ünï.txt": f"weights {number}".encode()}

    def test_a_program_that_asks_for_what_is_not_there_is_told(self, bench: Bench, own_folder: Path) -> None:
        """In an empty place, and in one that has something like it."""
        (own_folder / "x").write_bytes(b"x")
        program, name = bench.driver("program-1"), bench.spec.name
        assert program.call(programs.listing, bench.experiment, name) == []
        with pytest.raises(ArtifactNotFound):
            program.call(programs.get, bench.experiment, name, "classifier")
        program.call(programs.log, bench.experiment, name, [programs.Recipe("classifier", {"x": own_folder / "x"})])
        with pytest.raises(ArtifactNotFound, match="classifier"):
            program.call(programs.get, bench.experiment, name, "clasifier")
        with pytest.raises(ArtifactNotFound, match="other versions"):
            program.call(programs.get, bench.experiment, name, "classifier", "v7")
        with pytest.raises(ArtifactError):
            program.call(programs.get, bench.experiment, name, "classifier", "not/a/version")

    def test_two_programs_with_many_threads_lose_nothing(
        self, bench: Bench, samples: Samples, own_folder: Path
    ) -> None:
        """All log one name at once: everything is stored, whole; no number twice where claims are atomic."""
        contents = [f"content {number}".encode() for number in range(2 * _THREADS)]
        recipes = []
        for number, content in enumerate(contents):
            source = own_folder / f"source-{number}"
            source.write_bytes(content)
            recipes.append(programs.Recipe("model", {"x": source}))
        drivers = [bench.driver("program-1"), bench.driver("program-2")]
        for number, driver in enumerate(drivers):
            mine = recipes[number * _THREADS : (number + 1) * _THREADS]
            driver.begin(programs.log_threaded, bench.experiment, bench.spec.name, mine)
        assert [driver.result() for driver in drivers] == [0, 0]
        self._all_there(bench, own_folder, contents)

    def test_two_processes_that_race_for_numbers_lose_nothing(
        self, bench: Bench, samples: Samples, own_folder: Path
    ) -> None:
        """Puts in a row that begin at the same moments in two processes."""
        contents = [f"content {number}".encode() for number in range(2 * _RACES)]
        processes = [bench.open(), bench.open("other")]
        for opened in processes:
            opened.start()
        start = time.time() + _LEAD
        for number, opened in enumerate(processes):
            mine = contents[number * _RACES : (number + 1) * _RACES]
            many = [(samples.seal("model", {"x": content}), Labels(None, ("best",))) for content in mine]
            opened.begin_put_many(many, start)
        stored = [one for opened in processes for one in opened.driver.result()]
        if bench.spec.atomic_versions:
            assert len({one.number for one in stored}) == len(contents)
        self._all_there(bench, own_folder, contents)
        listed = processes[0].list()
        assert Counter(alias for one in listed for alias in one.aliases)["best"] == 1
        if bench.spec.atomic_versions:
            assert present(processes[0].find("model")).number == max(one.number for one in listed)

    def test_two_processes_that_race_for_a_label_do_not_share_it(self, bench: Bench, samples: Samples) -> None:
        """The one that comes too late is told; a label never means two contents."""
        processes = [bench.open(), bench.open("other")]
        for opened in processes:
            opened.start()
        for attempt in range(_RACES):
            sealed = [samples.seal("model", {"x": f"{attempt} {number}".encode()}) for number in range(2)]
            start = time.time() + _LEAD / 5
            for opened, one in zip(processes, sealed, strict=True):
                opened.begin_put_many([(one, Labels(f"1.{attempt}"))], start)
            winners = []
            for opened in processes:
                try:
                    winners += opened.driver.result()
                except VersionConflict:
                    continue
            assert winners, "one of them has to get it"
            if bench.spec.atomic_versions:
                assert len(winners) == 1
            found = present(processes[0].find("model", f"1.{attempt}"))
            assert found.manifest.digest in {one.manifest.digest for one in winners}
            assert present(processes[1].find("model", f"1.{attempt}")).manifest == found.manifest

    def test_a_version_is_never_seen_without_its_aliases(self, bench: Bench, samples: Samples) -> None:
        """They are on it from the moment in which it exists, and on the one before until then."""
        writer, reader = bench.open(), bench.open("other")
        sealed = [samples.seal("model", {"x": f"{number}".encode()}) for number in range(_RACES)]
        best = Labels(None, ("best",))
        writer.put(sealed[0], best)
        reader.begin_watch_alias("model", "best", len(sealed) - 1)
        writer.begin_put_many([(one, best) for one in sealed[1:]], time.time())
        writer.driver.result()
        assert reader.driver.result() == []

    def test_what_a_second_process_put_is_seen_at_once(self, bench: Bench, samples: Samples) -> None:
        """Nothing that a backend remembers of a name may hide what others did since."""
        mine, theirs = bench.open(), bench.open("other")
        for number in range(0, 6, 2):
            delivered = mine.deliver(samples.seal("model", {"x": f"{number}".encode()}), Labels(None, ("best",)))
            assert (delivered.created, delivered.stored.number) == (True, number)
            assert present(theirs.find("model")).number == number
            assert theirs.put(samples.seal("model", {"x": f"{number + 1}".encode()})).number == number + 1
            assert present(mine.find("model")).number == number + 1
            assert present(theirs.find("model", "best")).number == number
            assert len(mine.list()) == len(theirs.list("model")) == number + 2

    def test_a_later_run_goes_on_where_the_first_ended(self, bench: Bench, samples: Samples, own_folder: Path) -> None:
        """Also where the first run failed: its artifacts stay, and the numbers go on."""
        first = bench.open()
        first.put(samples.seal("model", {"x": b"0"}), Labels("1.0", ("best",)))
        first.close(failed=True)
        second = bench.open("other")
        assert second.put(samples.seal("model", {"x": b"1"})).number == 1
        found = present(second.find("model", "1.0"))
        assert second.content(found, own_folder / "got") == {"x": b"0"}
        assert present(second.find("model", "best")).number == 0
        # A delivery that waited is made for the run that it is of, between those of the run at hand.
        for number, run in enumerate(["an-earlier-run", None, "an-earlier-run"], start=2):
            late = second.deliver(samples.seal("model", {"x": f"{number}".encode()}), run=run)
            assert (late.created, late.stored.number) == (True, number)
        second.close()

    def test_reading_needs_no_run_and_leaves_no_trace(
        self, bench: Bench, samples: Samples, own_folder: Path, footprint: Callable[[], object]
    ) -> None:
        """A backend that only reads makes no run, and nothing else, in the place."""
        writer = bench.open()
        writer.put(samples.seal("model", {"x": b"1"}), Labels("1.0", ("best",)))
        writer.close()
        reader = bench.open("other")
        before = footprint()
        assert before, "an artifact is stored and the place shows nothing: override the fixture footprint"
        for ref in ("latest", "v0", "1.0", "best"):
            assert present(reader.find("model", ref)).number == 0
        assert reader.find("nothing") is None
        assert len(reader.list()) == 1
        assert reader.content(present(reader.find("model")), own_folder / "got") == {"x": b"1"}
        assert footprint() == before
        reader.close()
        assert footprint() == before

    def test_a_run_may_end_with_nothing_put(self, bench: Bench) -> None:
        """Stop is safe at once after opening, and after a start."""
        bench.open().close()
        started = bench.open()
        started.start()
        started.close()
        failed = bench.open()
        failed.start()
        failed.close(failed=True)
        assert bench.open("other").list() == []

    def _all_there(self, bench: Bench, own_folder: Path, contents: list[bytes]) -> None:
        opened: BackendProcess = bench.open("third")
        listed = opened.list("model")
        assert len(listed) == len(contents)
        got = [opened.content(stored, bench.new_folder("got")) for stored in listed]
        assert sorted(one["x"] for one in got) == sorted(contents)
        for stored in listed:
            found = present(opened.find("model", f"put:{stored.manifest.put_id}"))
            assert found.manifest == stored.manifest
        if bench.spec.atomic_versions:
            assert len({stored.number for stored in listed}) == len(contents)
            for stored in listed:
                assert present(opened.find("model", f"v{stored.number}")).manifest == stored.manifest
