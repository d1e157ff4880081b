"""What keeps a tracelet directory in order, one thing after the other, and beside processes that are at work in it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path, PosixPath

import pytest
from commanding import (
    COMMAND,
    OLD,
    age,
    begin,
    begin_program,
    die_before_hashing,
    environment,
    no_lanes_after,
    plugin,
    program,
    run,
    run_json,
    wait_until,
)
from making import without_rights
from pacing import pace
from watching import Scripted

from tracelet import Experiment
from tracelet.core.artifacts.entries import ArtifactFile, ArtifactType
from tracelet.core.artifacts.manifest import Manifest
from tracelet.core.delivery.drafts import staged_by, staging_folder
from tracelet.core.delivery.lease import DAY, Lease
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.delivery.parcel import Parcel
from tracelet.core.maintenance.gc import Collected, collect
from tracelet.core.maintenance.sync import sync
from tracelet.core.maintenance.sync_report import Delivery, DeliveryState
from tracelet.core.plugins.registry import registry
from tracelet.core.plugins.versions import Labels, RunInfo, SealedArtifact
from tracelet.core.storage.blob_store import LocalStore
from tracelet.core.system.files import discard
from tracelet.core.system.processes import current
from tracelet.exceptions import ArtifactError
from tracelet.settings import TraceletSettings

NOTHING = Collected((), {})


@pytest.fixture
def directory(home: Path) -> Path:
    folder = home / ".tracelet"
    folder.mkdir()
    return folder


def swept(directory: Path, older_than: float | None = None) -> dict[str, tuple[int, int]]:
    done = collect(directory, TraceletSettings(), registry(), time.time() - 3600 if older_than is None else older_than)
    assert done.failed == {}
    return {one.kind: (one.count, one.size_bytes) for one in done.swept}


def put(path: Path, content: str = "12345", *, old: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    if old:
        os.utime(path, (OLD, OLD))
    return path


class TestSending:
    def test_every_step_of_a_delivery_is_reported(self, queue: Scripted, home: Path) -> None:
        steps: list[Delivery] = []
        report = sync(home / ".tracelet", TraceletSettings(), registry(), steps.append)
        assert report.complete
        assert [step.state for step in steps[:3]] == [DeliveryState.PLANNED] * 3
        assert [(step.name, step.state.value) for step in steps[3:]] == [
            (name, state) for name in ("one", "two", "three") for state in ("begun", "delivered")
        ]
        assert [one.version for one in report.delivered] == ["v0"] * 3
        assert report.delivered[0].uri.startswith("file://")

    def test_a_draft_of_a_dead_process_becomes_deliveries_and_is_as_old_as_its_snapshot(
        self, scripted: Scripted, home: Path
    ) -> None:
        began = time.time()
        die_before_hashing('"scripted", "local"')
        told = run_json("sync")
        assert sorted(one["backend"] for one in told["delivered"]) == ["local", "scripted"]
        assert all(began < one["queued_at"] < time.time() - 0.05 for one in told["delivered"])
        assert not list((home / ".tracelet/staging").iterdir())
        assert not [path for path in (home / ".tracelet/outbox").rglob("*") if path.is_file()]
        folder = run("get", "trials", "snapshot", "--backend", "local").strip()
        assert (Path(folder) / "snapshot.txt").read_text() == "as it was"

    def test_a_draft_whose_snapshot_is_gone_stays_and_says_where_it_is(self, scripted: Scripted, home: Path) -> None:
        die_before_hashing('"scripted"')
        shutil.rmtree(home / ".tracelet/staging")
        (left,) = run_json("sync", code=1, TRACELET_ON_LARGE="upload")["left"]
        assert (left["name"], left["backend"]) == ("snapshot", "scripted")
        assert "cannot be read" in left["reason"]
        assert "~drafts" in left["reason"]

    def test_a_draft_of_another_machine_is_left_to_it(
        self, scripted: Scripted, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # What is said of a machine holds as long as the process.
        monkeypatch.setattr("tracelet.core.system.processes._GONE", set())
        die_before_hashing('"scripted"')
        (path,) = Outbox(home / ".tracelet").drafts.files()
        plain = json.loads(path.read_text())
        plain["owner"] |= {"host": "elsewhere", "table": "another-table-1"}
        path.write_text(json.dumps(plain))
        (left,) = run_json("sync", code=1)["left"]
        assert left["reason"].startswith("its process is on elsewhere: sync there, or say --gone elsewhere here if")
        assert len(run_json("sync", "--gone", "elsewhere")["delivered"]) == 1

    def test_several_that_find_a_draft_finish_it_once(self, scripted: Scripted, home: Path) -> None:
        die_before_hashing('"scripted"')
        outbox = Outbox(home / ".tracelet")
        (path,) = outbox.drafts.files()
        assert outbox.drafts.take(path) is not None
        assert outbox.drafts.take(path) is None
        (left,) = run_json("sync", code=1)["left"]
        assert left["reason"] == "another process is on it."
        Lease(path).release()
        assert len(run_json("sync")["delivered"]) == 1

    def test_what_another_process_delivers_is_left_to_it(self, queue: Scripted, home: Path) -> None:
        outbox = Outbox(home / ".tracelet")
        first = next(outbox.everything())
        assert outbox.take(first, [current()], 60)
        told = run_json("sync", code=1)
        assert [(one["name"], one["reason"]) for one in told["left"]] == [("one", "another process is on 'one'.")]
        assert [one["name"] for one in told["delivered"]] == ["two", "three"]

    def test_of_one_name_the_older_goes_first_or_none(self, scripted: Scripted, home: Path) -> None:
        scripted.told(put="away")
        program('with experiment() as exp: [exp.log_artifact(artifact("thing", text)) for text in ("a", "b")]')
        (first, second) = run_json("sync", code=1)["left"]
        assert first["reason"] == "scripted is out"
        assert second["reason"] == "an older delivery of this name goes first."
        scripted.told()
        assert [one["version"] for one in run_json("sync")["delivered"]] == ["v0", "v1"]
        read = run_json("get", "trials", "thing", "--backend", "scripted")
        assert (Path(read["folder"]) / "thing.txt").read_text() == "b"

    def test_a_backend_that_does_not_open_is_tried_once_an_experiment(self, queue: Scripted, home: Path) -> None:
        queue.told(open="locked")
        before = len(queue.calls("open"))
        told = run_json("sync", code=1)
        assert {one["reason"] for one in told["left"]} == {"scripted does not know you"}
        assert len(queue.calls("open")) == before + 1

    def test_one_backend_does_not_keep_the_others_waiting(self, scripted: Scripted, home: Path) -> None:
        scripted.told(put="away")
        program(
            'with experiment("scripted", "scripted-dumb", "scripted-inline") as exp: exp.log_artifact(artifact("thing"))'
        )
        scripted.told(put="sleep 3")
        began = time.monotonic()
        assert len(run_json("sync")["delivered"]) == 3
        assert time.monotonic() - began < 8.5 * pace()

    def test_what_a_missing_plugin_was_to_deliver_is_kept_and_told(self, queue: Scripted, home: Path) -> None:
        told = run_json("sync", code=1, PYTHONPATH="")
        assert len(told["left"]) == 3
        assert all("no backend 'scripted' is installed" in one["reason"] for one in told["left"])
        assert len(run_json("sync")["delivered"]) == 3

    def test_a_lane_sees_what_the_process_that_logged_saw_and_each_run_keeps_its_own(
        self, home: Path, tmp_path: Path
    ) -> None:
        plugin(
            tmp_path / "more",
            "minded",
            """
            import os
            from tracelet.exceptions import BackendUnavailable
            from tracelet.plugin import BackendSpec, hookimpl
            from tracelet.builtin.local import LocalBackend

            class Minded(LocalBackend):
                def start(self, run):
                    with open(os.environ["NOTES"], "a") as notes:
                        notes.write(f"{self.mind} {run.id} {run.experiment}\\n")
                def put(self, sealed, labels):
                    if "AWAY" in os.environ:
                        raise BackendUnavailable("away")
                    return super().put(sealed, labels)

            def open_it(experiment, settings, context):
                backend = Minded(context.directory / "minded", experiment)
                backend.mind = context.sdk.get("mind")
                return backend

            @hookimpl
            def tracelet_backends():
                return [BackendSpec(name="minded", open=open_it, context=lambda: {"mind": os.environ["MIND"]})]
            """,
        )
        common = {"PYTHONPATH": str(tmp_path / "more"), "NOTES": str(tmp_path / "notes")}
        runs = []
        for mind, name in (("blue", "a"), ("red", "b"), ("red", "a")):
            logged = program(
                f"""
                with experiment("minded", name="{name}") as exp:
                    exp.log_artifact(artifact("thing", "{mind} {name}"))
                    print(exp.run_id)
                """,
                AWAY="1",
                MIND=mind,
                **common,
            )
            runs.append(f"{mind} {logged.strip()} {name}")
        (tmp_path / "notes").unlink()
        told = run_json("sync", MIND="mine", **common)
        assert [(one["experiment"], one["version"]) for one in told["delivered"]] == [
            ("a", "v0"),
            ("a", "v1"),
            ("b", "v0"),
        ]
        assert (tmp_path / "notes").read_text().splitlines() == [runs[0], runs[2], runs[1]]

    def test_what_only_this_machine_has_is_left_until_the_tracker_has_it(self, home: Path, tmp_path: Path) -> None:
        plugin(
            tmp_path / "more",
            "offline",
            """
            import os
            import attrs
            from tracelet.plugin import BackendSpec, hookimpl
            from tracelet.builtin.local import LocalBackend

            class Offline(LocalBackend):
                def put(self, sealed, labels):
                    return self.told(super().put(sealed, labels))
                def find(self, name, ref):
                    found = super().find(name, ref)
                    return found and self.told(found)
                def list(self, **wanted):
                    return [self.told(stored) for stored in super().list(**wanted)]
                def told(self, stored):
                    return attrs.evolve(stored, pending="AWAY" in os.environ)

            @hookimpl
            def tracelet_backends():
                open_it = lambda experiment, settings, context: Offline(context.directory / "offline", experiment)
                return [BackendSpec(name="offline", open=open_it)]
            """,
        )
        path = str(tmp_path / "more")
        program('with experiment("offline") as exp: exp.log_artifact(artifact("thing"))', PYTHONPATH=path, AWAY="1")
        told = run_json("sync", code=1, PYTHONPATH=path, AWAY="1")
        assert told["delivered"] == []
        assert "on this machine until it is online" in told["left"][0]["reason"]
        (found,) = run_json("ls", "trials", "--backend", "offline", PYTHONPATH=path, AWAY="1")["artifacts"]
        assert found["pending"] is True
        assert [one["version"] for one in run_json("sync", PYTHONPATH=path)["delivered"]] == ["v0"]
        (found,) = run_json("ls", "trials", "--backend", "offline", PYTHONPATH=path)["artifacts"]
        assert found["pending"] is False

    def test_what_is_queued_meanwhile_is_left_and_said(self, queue: Scripted, home: Path) -> None:
        late = []

        def see(step: Delivery) -> None:
            if step.state is DeliveryState.DELIVERED and not late:
                queue.told(put="away")
                late.append(program('with experiment(name="late") as exp: exp.log_artifact(artifact("thing"))'))
                queue.told()

        report = sync(home / ".tracelet", TraceletSettings(), registry(), see)
        assert [one.name for one in report.delivered] == ["one", "two", "three"]
        assert [(one.experiment, one.reason) for one in report.left] == [("late", "it was queued in the meantime.")]


class TestClearing:
    def test_an_empty_directory_has_no_garbage(self, directory: Path) -> None:
        assert collect(directory, TraceletSettings(), registry(), time.time()) == NOTHING

    def test_staging_of_the_dead_goes_and_of_the_living_stays(self, directory: Path) -> None:
        living = staging_folder(directory, "aa")
        assert staged_by(living) == current()
        dead = directory / "staging" / "bb~999999999~1~here"
        nameless = directory / "staging" / "cc"
        odd = directory / "staging" / "ee~\u00b2~1~here"
        young = directory / "staging" / "dd"
        for folder in (living, dead, nameless, odd, young):
            put(folder / "files" / "0")
        for folder in (living, dead, nameless, odd):
            age(folder.parent / folder.name)
            os.utime(folder, (OLD, OLD))
        assert staged_by(nameless) is None
        assert swept(directory) == {"staging folders": (3, 15)}
        assert sorted((directory / "staging").iterdir()) == sorted([living, young])

    def test_what_another_machine_has_captured_or_is_at_stays(self, directory: Path) -> None:
        captured, unnamed, fresh = (
            directory / "staging" / f"{put_id}~7~1~elsewhere~m-b-1" for put_id in ("aa", "bb", "cc")
        )
        for folder in (captured, unnamed, fresh):
            put(folder / "0")
            os.utime(folder, (OLD, OLD))
        for path in (fresh / "0", fresh):
            os.utime(path, (time.time() - DAY, time.time() - DAY))
        head = {
            "schema": 1,
            "owner": {"host": "elsewhere", "pid": 7, "started": "1", "table": "m-b-1"},
            "run": {"id": "r", "experiment": "e", "started_at": 1.0},
            "backends": ["local"],
            "routing": "by_type",
            "folder": str(captured),
        }
        journal = directory / "captured" / "e" / "1~x.jsonl"
        journal.parent.mkdir(parents=True)
        journal.write_text(json.dumps(head) + "\n")
        assert swept(directory) == {"staging folders": (1, 5)}
        assert sorted((directory / "staging").iterdir()) == [captured, fresh]

    def test_partial_files_go_when_they_are_old(self, directory: Path) -> None:
        for folder in (directory, directory / "outbox" / "e" / "b", directory / "refs" / "00"):
            put(folder / ".half.tmp")
            put(folder / ".young.tmp", old=False)
            put(folder / "whole")
        assert swept(directory) == {"partial files": (3, 15)}
        assert len(list(directory.rglob("*.tmp"))) == 3

    def test_logs_of_dead_lanes_go_and_of_living_ones_stay(self, directory: Path, scripted: Scripted) -> None:
        scripted.told(open="sleep 3")
        put(directory / "lanes" / "scripted-0123.log")
        doctor = subprocess.Popen(
            [sys.executable, "-c", "from tracelet.cli import main; main()", "doctor", "--backend", "scripted"],
            env=environment(),
            stdout=subprocess.DEVNULL,
        )
        wait_until(lambda: scripted.calls("open"))
        age(directory / "lanes")
        assert swept(directory) == {"lane logs": (1, 5)}
        assert len(list((directory / "lanes").iterdir())) == 1
        assert doctor.wait(60) == 0

    def test_downloads_go_when_nobody_has_read_them_for_long(self, directory: Path) -> None:
        old = put(directory / "downloads" / "old" / "file")
        read = put(directory / "downloads" / "read" / "file")
        os.utime(read, (time.time(), OLD))
        recent = put(directory / "downloads" / "recent" / "file")
        os.utime(recent, (time.time() - 40000, time.time() - 40000))
        for file in (old, read, recent):
            os.utime(file.parent, (OLD, OLD))
        assert swept(directory) == {"downloads": (1, 5)}
        assert sorted(path.name for path in (directory / "downloads").iterdir()) == ["read", "recent"]

    def test_a_download_that_is_used_again_is_young(self, home: Path) -> None:
        program('with experiment("local") as exp: exp.log_artifact(artifact("thing"))')
        folder = Path(run("get", "trials", "thing").strip())
        age(home / ".tracelet" / "downloads")
        run("get", "trials", "thing")
        assert run_json("gc")["swept"] == []
        assert (folder / "thing.txt").exists()

    def test_leases_of_the_dead_go_and_of_the_living_stay(self, queue: Scripted, home: Path) -> None:
        outbox = Outbox(home / ".tracelet")
        mine, theirs, delivered = outbox.everything()
        assert outbox.take(mine, [current()], 60)
        dead = subprocess.Popen(["true"])
        dead.wait()
        for parcel in (theirs, delivered):
            assert outbox.take(parcel, [type(current())(current().host, dead.pid, "1")], 60)
        (delivered_file,) = (home / ".tracelet/outbox").rglob("*~three.json")
        delivered_file.unlink()
        assert swept(home / ".tracelet") == {"deliveries' leftovers": (1, 0)}
        leases = sorted(path.name.split("~")[2] for path in (home / ".tracelet/outbox").rglob("*.lease"))
        assert leases == ["one.lease", "two.lease"]

    def test_a_rendering_goes_when_its_delivery_and_its_staging_are_gone(self, directory: Path) -> None:
        outbox = Outbox(directory)
        gone, coming, queued, refused = (queue_one(directory, name) for name in ("gone", "coming", "queued", "refused"))
        rendering_of(directory, gone).with_suffix(".json").unlink()
        rendering_of(directory, coming).with_suffix(".json").unlink()
        staging_folder(directory, coming.manifest.put_id).mkdir(parents=True)
        outbox.failed(refused, ArtifactError("never"), final=True)
        assert swept(directory) == {"deliveries' leftovers": (1, 4)}
        assert not rendering_of(directory, gone).exists()
        assert all(rendering_of(directory, one).exists() for one in (coming, queued, refused))
        assert len(list(outbox.everything())) == 1

    def test_a_rendering_whose_delivery_comes_meanwhile_stays(self, directory: Path) -> None:
        parcel = queue_one(directory, "coming")
        file = rendering_of(directory, parcel).with_suffix(".json")
        content = file.read_text()
        file.unlink()
        looks = []

        def meddle(path: Path) -> None:
            looks.append(path)
            if len(looks) == 2:  # the first look is for staging folders of the dead
                file.write_text(content)

        assert swept(Meddled.with_hook(directory, "staging", meddle)) == {}
        assert rendering_of(directory, parcel).exists()

    def test_a_backend_in_a_process_of_its_own_is_asked_too(self, directory: Path, tmp_path: Path) -> None:
        plugin(
            tmp_path / "more",
            "tidy",
            """
            from tracelet.plugin import BackendSpec, Capability, hookimpl
            from tracelet.builtin.local import LocalBackend

            @hookimpl
            def tracelet_backends():
                open_it = lambda experiment, settings, context: LocalBackend(context.directory / "tidy", experiment)
                return [
                    BackendSpec(name="tidy", open=open_it, capabilities=frozenset({Capability.COLLECT})),
                    BackendSpec(name="untidy", open=open_it),
                ]
            """,
        )
        put(directory / "tidy" / ".half.tmp")
        told = run_json("gc", TRACELET_BACKEND="tidy,untidy", PYTHONPATH=str(tmp_path / "more"))
        assert told["swept"] == [{"kind": "backend tidy", "count": 1, "size_bytes": 5}]

    def test_what_is_in_two_places_frees_nothing_until_both_are_gone(self, directory: Path) -> None:
        store = LocalStore(directory)
        source = put(directory / "staging" / "aa" / "0")
        blob = store.adopt(source, "ab" * 32)
        assert blob.stat().st_nlink == 2
        assert time.time() - blob.stat().st_mtime < 60
        age(directory)
        assert swept(directory) == {"staging folders": (1, 0), "blobs": (1, 5)}


class TestBesideOthers:
    """Others are at work in the directory at the same time."""

    def test_a_blob_that_is_found_needed_between_two_looks_comes_back(self, tmp_path: Path) -> None:
        blob = put(tmp_path / "blob")
        assert discard(Meddled.with_hook(blob, "blob", os.utime), time.time() - 60) is None
        assert blob.read_text() == "12345"
        assert os.listdir(tmp_path) == ["blob"]

    def test_a_blob_that_is_made_anew_meanwhile_stays_as_it_is(self, tmp_path: Path) -> None:
        blob = put(tmp_path / "blob")

        class Renewed(PosixPath):
            def rename(self, target: Path) -> Path:
                os.utime(self)
                super().rename(target)
                return put(Path(self), "anew", old=False)

        assert discard(Renewed(blob), time.time() - 60) is None
        assert blob.read_text() == "anew"
        assert os.listdir(tmp_path) == ["blob"]

    def test_what_somebody_else_deletes_first_is_no_error(self, tmp_path: Path) -> None:
        blob = put(tmp_path / "blob")
        assert discard(Meddled.with_hook(blob, "blob", os.unlink), time.time()) is None
        assert discard(blob, time.time()) is None

    def test_a_download_that_is_used_between_two_looks_comes_back(self, directory: Path) -> None:
        file = put(directory / "downloads" / "thing" / "file")
        os.utime(file.parent, (OLD, OLD))
        assert swept(Meddled.with_hook(directory, "thing", os.utime)) == {}
        assert file.read_text() == "12345"

    def test_a_download_that_another_gc_removes_is_left_to_it(self, directory: Path) -> None:
        file = put(directory / "downloads" / "thing" / "file")
        os.utime(file.parent, (OLD, OLD))
        assert swept(Meddled.with_hook(directory, "thing", shutil.rmtree)) == {}
        assert not file.exists()

    def test_a_draft_that_is_finished_meanwhile_is_not_left(self, scripted: Scripted, home: Path) -> None:
        die_before_hashing('"scripted"')
        outbox = Outbox(home / ".tracelet")
        (path,) = outbox.drafts.files()
        assert outbox.drafts.take(path) is not None
        reads = []

        def meddle(file: Path) -> None:
            reads.append(file)
            if len(reads) == 2:  # the first is to see whose it is
                file.unlink()

        directory = Meddled.with_hook(home / ".tracelet", path.name, meddle)
        assert sync(directory, TraceletSettings(), registry(), lambda _: None).complete
        assert len(reads) == 2

    def test_collecting_never_takes_a_blob_from_a_delivery_that_is_just_being_queued(self, directory: Path) -> None:
        queueing = begin_program(
            """
            import hashlib, contextlib
            from tracelet.core.plugins.versions import Labels, RunInfo, SealedArtifact
            from tracelet.core.artifacts.entries import ArtifactFile
            from tracelet.core.artifacts.manifest import Manifest
            from tracelet.core.delivery.outbox import Outbox
            from tracelet.core.delivery.parcel import Parcel

            outbox = Outbox(Path(".tracelet").absolute())
            source = Path("source").absolute()
            sha256 = hashlib.sha256(b"same").hexdigest()
            file = ArtifactFile("file", 4, sha256)
            print("ready", flush=True)
            until, count, gone = time.monotonic() + 300, 0, 0
            while (count <= 10 or not Path("enough").exists()) and time.monotonic() < until:
                source.unlink(missing_ok=True)
                source.write_bytes(b"same")
                os.utime(source, (1, 1))
                manifest = Manifest("thing", ArtifactType.CONFIG, f"put{count}", time.time(), files=(file,))
                parcel = Parcel("scripted", RunInfo("r", "trials", 1.0), Labels(), {}, manifest, time.time())
                outbox.add(SealedArtifact(manifest, {"file": source}), parcel)
                assert outbox.sealed(parcel).sources["file"].read_bytes() == b"same"
                outbox.done(parcel)
                with contextlib.suppress(FileNotFoundError):
                    os.utime(outbox.store.path(sha256), (1, 1))
                gone += not outbox.store.path(sha256).exists()
                count += 1
            print(count, gone)
            """
        )
        taken = 0
        while queueing.poll() is None:
            taken += swept(directory).get("blobs", (0, 0))[0]
            if taken > 1:
                (directory.parent / "enough").touch()
        out, err = queueing.communicate()
        assert queueing.returncode == 0, err
        assert int(out.split()[0]) > 10
        assert taken > 1

    def test_two_that_collect_at_once_do_not_disturb_each_other(self, directory: Path) -> None:
        for number in range(300):
            put(directory / "objects" / "sha256" / f"{number % 16:02x}" / f"{number:064x}")
            put(directory / "staging" / f"put{number}" / "files" / "0")
            put(directory / "outbox" / "e" / "b" / f".{number}.tmp")
        age(directory)
        both = [
            subprocess.Popen([COMMAND, "gc", "--json"], env=environment(), text=True, stdout=subprocess.PIPE)
            for _ in range(2)
        ]
        told = [json.loads(one.communicate(timeout=180)[0]) for one in both]
        assert [one.returncode for one in both] == [0, 0]
        counts = {
            kind: [one["count"] for each in told for one in each["swept"] if one["kind"] == kind] for kind in KINDS
        }
        assert sum(counts["blobs"]) + sum(counts["partial files"]) >= 600
        assert not [path for path in directory.rglob("*") if path.is_file()]

    def test_a_sync_that_is_killed_leaves_what_it_had_to_the_next_one(self, queue: Scripted, home: Path) -> None:
        queue.told(put="sleep 1")
        before = len(queue.calls("put"))
        with no_lanes_after():
            killed = begin("sync")
            wait_until(lambda: len(queue.calls("put")) > before)
            killed.kill()
            killed.communicate()
        queue.told()
        assert len(run_json("sync")["delivered"]) == 3
        stored = run_json("ls", "trials", "--backend", "scripted")["artifacts"]
        assert sorted((one["name"], one["version"]) for one in stored) == [
            ("one", "v0"),
            ("three", "v0"),
            ("two", "v0"),
        ]

    def test_interrupted_it_begins_nothing_more_and_every_delivery_is_kept(
        self, scripted: Scripted, home: Path
    ) -> None:
        scripted.told(put="away")
        for name in ("first", "second"):
            program(
                f"""
                with experiment("scripted", "scripted-dumb", name="{name}") as exp:
                    for thing in ("one", "two"):
                        exp.log_artifact(artifact(thing))
                """
            )
        scripted.told(put="sleep 1")
        before = len(scripted.calls("put"))
        threads = threading.active_count()

        def see(step: Delivery) -> None:
            if step.state is DeliveryState.BEGUN and step.backend == "scripted":
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.5)

        with pytest.raises(KeyboardInterrupt):
            sync(home / ".tracelet", TraceletSettings(), registry(), see)
        wait_until(lambda: threading.active_count() == threads)
        assert len(scripted.calls("put")) - before <= 2
        scripted.told()
        report = sync(home / ".tracelet", TraceletSettings(), registry(), lambda _: None)
        assert len(report.delivered) + 2 >= 8
        assert report.complete


#: What clearing calls the kinds of garbage that this file counts.
KINDS = ("blobs", "partial files", "staging folders")


class Meddled(PosixPath):
    """A path beside which somebody else is at work: a hook runs when one entry below it is looked at, read or moved."""

    _name_of_hook = ""
    _hook: Callable[[Path], object]

    @classmethod
    def with_hook(cls, path: Path, name: str, hook: Callable[[Path], object]) -> Path:
        kind = type("MeddledOnce", (cls,), {"_name_of_hook": name, "_hook": staticmethod(hook)})
        return kind(path)

    def _meddle(self) -> None:
        if self.name == self._name_of_hook:
            self._hook(Path(self))

    def is_dir(self) -> bool:
        if self.name == "staging":
            self._meddle()
        return super().is_dir()

    def read_bytes(self) -> bytes:
        self._meddle()
        return super().read_bytes()

    def rename(self, target: Path) -> Path:
        self._meddle()
        return super().rename(target)


def queue_one(directory: Path, name: str) -> Parcel:
    """Put a delivery with a rendering into the outbox."""
    source = put(directory.parent / name, name)
    rendered = put(directory.parent / f"{name}-rendered" / "form.txt", "form").parent
    file = ArtifactFile("file", len(name), hashlib.sha256(name.encode()).hexdigest())
    manifest = Manifest(name, ArtifactType.MODEL, f"put-{name}", time.time(), files=(file,))
    parcel = Parcel("scripted", RunInfo("run", "trials", 1.0), Labels(), {}, manifest, time.time())
    return Outbox(directory).add(SealedArtifact(manifest, {"file": source}, rendered=rendered), parcel)


def rendering_of(directory: Path, parcel: Parcel) -> Path:
    return directory / "outbox" / "trials" / "scripted" / f"{parcel.key}.rendered"


# -- what runs used


def test_what_a_run_used_and_a_backend_did_not_note_is_told_by_doctor_and_noted_by_sync(
    scripted: Scripted, experiment: Callable[..., Experiment]
) -> None:
    exp = experiment()
    exp.log_artifact(exp.create_artifact("data", ArtifactType.DATASET).add_object(1, "n"))
    scripted.told(record_input="away")
    exp.use_artifact("data")
    exp.stop()
    assert "lineage: what runs used is still to be noted by scripted (1 in number)" in run("doctor")
    assert "left       trials: the use of data, to be noted by scripted: scripted is out" in run("sync", code=1)
    (left,) = run_json("sync", code=1)["uses_left"]
    assert (left["run"], left["name"], left["reason"]) != ("", "data", "")
    scripted.told(open="away")
    assert "scripted is out" in run_json("sync", code=1)["uses_left"][0]["reason"]
    scripted.told()
    assert "noted      what runs used: 1" in run("sync")
    assert run_json("sync")["uses_noted"] == 0
    assert "lineage" not in run("doctor")


def test_sync_does_not_take_an_outbox_that_it_may_not_list_for_an_empty_one(queue: Scripted, home: Path) -> None:
    with without_rights(home / ".tracelet" / "outbox"):
        told = run("sync", code=1)
    assert "Permission denied" in told
    assert len(list((home / ".tracelet" / "outbox").rglob("*.json"))) == 3
