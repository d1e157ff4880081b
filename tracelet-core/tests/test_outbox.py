"""The outbox where several processes are at work in it at the same instant."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import write

from tracelet.core.artifacts.plain import converter
from tracelet.core.delivery.drafts import parcels_of, seal_some
from tracelet.core.delivery.inventory import damaged_in, leftovers_in, needed_blobs, waiting_bytes
from tracelet.core.delivery.layout import drafted_at
from tracelet.core.delivery.lease import Lease
from tracelet.core.delivery.outbox import Outbox
from tracelet.core.delivery.parcel import Parcel
from tracelet.core.delivery.records import without_secrets
from tracelet.core.sealing.draft import Draft
from tracelet.core.system.files import copy_blob
from tracelet.core.system.processes import ProcessId, current
from tracelet.exceptions import ArtifactError, IntegrityError, TraceletError
from tracelet.plugin import ArtifactFile, ArtifactType, Labels, Manifest, RunInfo, SealedArtifact

DEAD = attrs.evolve(current(), pid=2**22 + 1, started="1")


def queue(outbox: Outbox, folder: Path, name: str = "thing") -> Parcel:
    """Put a delivery into the outbox."""
    file = ArtifactFile("file", len(name), hashlib.sha256(name.encode()).hexdigest())
    manifest = Manifest(name[:9], ArtifactType.CONFIG, f"put-{name[:9]}", 1.0, files=(file,))
    parcel = Parcel("scripted", RunInfo("run", "trials", 1.0), Labels(), {}, manifest, 1.0)
    return outbox.add(SealedArtifact(manifest, {"file": write(folder / name[:9], name)}), parcel)


def file_of(directory: Path, parcel: Parcel) -> Path:
    """Where a delivery lies."""
    return Outbox(directory).refusal(parcel).with_suffix(".json")


class Beside(Lease):
    """A delivery's lease beside which another process acts, just after this one has looked at it for the n-th time."""

    def __init__(self, directory: Path, parcel: Parcel, *acts: Callable[[Outbox], object]) -> None:
        super().__init__(file_of(directory, parcel))
        self._other = Outbox(directory)
        self._acts = list(acts)

    def _read(self, path: Path) -> Any:
        seen = super()._read(path)
        if self._acts:
            self._acts.pop(0)(self._other)
        return seen


def nothing(other: Outbox) -> None:
    """Do nothing."""


@pytest.fixture
def parcel(tmp_path: Path) -> Parcel:
    return queue(Outbox(tmp_path), tmp_path / "sources")


def take(outbox: Outbox, parcel: Parcel, holders: Sequence[ProcessId] = ()) -> bool:
    return outbox.take(parcel, holders or [current()], 60)


def leases(folder: Path) -> int:
    return len(list(folder.rglob("*.lease")))


def test_of_two_that_find_a_dead_lease_the_first_to_take_it_has_it(tmp_path: Path, parcel: Parcel) -> None:
    assert take(Outbox(tmp_path), parcel, [DEAD])
    late = Beside(tmp_path, parcel, lambda other: take(other, parcel))
    assert not late.take()
    assert leases(tmp_path) == 1
    assert not take(Outbox(tmp_path), parcel), "the first one's lease was put back"


def test_who_moves_a_dead_lease_away_may_still_be_too_late(tmp_path: Path, parcel: Parcel) -> None:
    assert take(Outbox(tmp_path), parcel, [DEAD])
    late = Beside(tmp_path, parcel, nothing, lambda other: take(other, parcel))
    assert not late.take()
    assert leases(tmp_path) == 1


def test_a_lease_that_is_given_back_in_that_instant_can_be_taken(tmp_path: Path, parcel: Parcel) -> None:
    class Freed(Lease):
        def _read(self, path: Path) -> Any:
            Outbox(tmp_path).release(parcel)
            return super()._read(path)

    assert take(Outbox(tmp_path), parcel)
    assert Freed(file_of(tmp_path, parcel)).take()
    assert leases(tmp_path) == 1


def test_a_refusal_that_is_deleted_while_they_are_listed_is_passed_over(tmp_path: Path, parcel: Parcel) -> None:
    outbox = Outbox(tmp_path)
    second = queue(outbox, tmp_path / "sources", "zebra")
    for one in (parcel, second):
        outbox.failed(one, ArtifactError("never"), final=True)
    listing = outbox.refused()
    assert next(listing).manifest.name == "thing"
    outbox.refusal(second).unlink()
    assert list(listing) == []


def test_a_delivery_that_is_made_while_they_are_listed_is_passed_over(tmp_path: Path, parcel: Parcel) -> None:
    outbox = Outbox(tmp_path)
    second = queue(outbox, tmp_path / "sources", "zebra")
    listing = outbox.everything()
    assert next(listing).manifest.name == "thing"
    Outbox(tmp_path).done(second)
    assert list(listing) == []


def draft(outbox: Outbox, folder: Path, session: str | None) -> Path:
    """Put a draft of nothing into the outbox."""
    manifest = Manifest("thing", ArtifactType.CONFIG, "put", 1.0)
    draft = Draft(manifest, {}, (), {}, folder / "staging" / "put~1")
    return outbox.drafts.add(draft, Labels(), RunInfo("run", "trials", 1.0), {}, session)


def test_a_draft_is_its_sessions_until_that_ends_and_then_anybodys_though_its_process_lives(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.drafts.begin_session("mine")
    path = draft(outbox, tmp_path, "mine")
    assert Outbox(tmp_path).drafts.take(path) is None
    assert Outbox(tmp_path).drafts.take(path, "another's") is None
    assert outbox.drafts.take(path, "mine") is not None
    Lease(path).release()
    outbox.drafts.end_session("trials", "mine")
    assert Outbox(tmp_path).drafts.take(path) is not None
    assert outbox.drafts.take(path) is None, "somebody is on it"


def test_a_draft_that_is_finished_while_they_are_counted_is_passed_over(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    first, second = draft(outbox, tmp_path, None), draft(outbox, tmp_path, None)
    counting = outbox.drafts.readable()
    assert next(counting) == outbox.drafts.load(first)
    second.unlink()
    assert list(counting) == []


def test_of_drafts_that_are_kept_together_one_that_cannot_be_hinders_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox(tmp_path)
    paths: dict[str, Path] = {}
    for name in ("first", "second", "third"):
        source = write(tmp_path / "staging" / f"{name}~1" / "file", name)
        file = ArtifactFile("file", len(name))
        manifest = Manifest(name, ArtifactType.CONFIG, name, 1.0, files=(file,))
        one = Draft(manifest, {"file": source}, (), {}, source.parent)
        paths[name] = outbox.drafts.add(one, Labels(), RunInfo("run", "trials", 1.0), {"scripted": {}})

    def full(deliveries: Sequence[tuple[SealedArtifact, Parcel]]) -> None:
        if any(parcel.manifest.name == "second" for _, parcel in deliveries):
            raise OSError(28, "No space left on device")
        keep(deliveries)

    keep = outbox.add_many
    monkeypatch.setattr(outbox, "add_many", full)
    failed = seal_some(deque(paths.values()), outbox, lambda *backends: (outbox.store, None))
    assert {path: str(error) for path, error in failed.items()} == {
        paths["second"]: "[Errno 28] No space left on device"
    }
    assert [parcel.manifest.name for parcel in outbox.everything()] == ["first", "third"]
    assert [path for path in paths.values() if path.exists()] == [paths["second"]]
    assert not paths["first"].with_suffix(".lease").exists()
    monkeypatch.undo()
    assert seal_some(deque(outbox.drafts.files()), outbox, lambda *backends: (outbox.store, None)) == {}
    assert [parcel.manifest.name for parcel in outbox.everything()] == ["first", "second", "third"]


def test_a_draft_without_a_session_is_anybodys(tmp_path: Path) -> None:
    path = draft(Outbox(tmp_path), tmp_path, None)
    assert Outbox(tmp_path).drafts.take(path) is not None


def test_a_draft_of_an_earlier_release_is_its_processs_as_long_as_that_lives(tmp_path: Path) -> None:
    path = draft(Outbox(tmp_path), tmp_path, None)
    plain = json.loads(path.read_text())
    del plain["session"], plain["queued_at"]
    path.write_text(json.dumps(plain))
    assert Outbox(tmp_path).drafts.take(path) is None
    path.write_text(json.dumps({**plain, "owner": converter().unstructure(DEAD)}))
    found = Outbox(tmp_path).drafts.take(path)
    assert found is not None
    assert [
        one.queued_at for one in parcels_of(path, attrs.evolve(found, targets={"scripted": {}}), found.draft.manifest)
    ] == [drafted_at(path)]


def test_secrets_go_from_whatever_a_context_holds() -> None:
    context = {"uris": ["https://me:secret@host/x", {"deep": "https://host/y?token=secret"}], "port": 5, "on": None}
    told = without_secrets(context)
    assert "secret" not in str(told)
    assert (told["port"], told["on"], told["uris"][0]) == (5, None, "https://me@host/x")


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**19, 10**400, -1, 1e300, "", "../x", "a/b", "\x00", [], {}, [[]], [None], {"$float": "x"}]),
    st.text(max_size=5),
)
CUTS = st.one_of(st.binary(max_size=4), st.sampled_from([b"[" * 3000, b"9" * 5000, b"1e999", b"NaN"]))


def changed(content: bytes, data: st.DataObject) -> bytes:
    """What somebody made of a file of JSON: another value in it, or other bytes."""
    if data.draw(st.booleans()):
        start = data.draw(st.integers(0, 5000)) % len(content)
        return content[:start] + data.draw(CUTS) + content[start + data.draw(st.integers(0, 8)) :]
    plain = json.loads(content)
    holder: Any = {"all": plain}
    key: Any = "all"
    while isinstance(holder[key], (dict, list)) and holder[key] and data.draw(st.integers(0, 4)):
        holder = holder[key]
        key = data.draw(st.sampled_from(list(holder) if isinstance(holder, dict) else list(range(len(holder)))))
    holder[key] = data.draw(JUNK)
    return json.dumps(plain).encode()


@given(st.data())
@settings(deadline=None)
def test_a_file_of_the_outbox_that_was_changed_is_read_or_told_of_and_stops_nothing(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as place:
        outbox = Outbox(Path(place))
        first, second = (queue(outbox, Path(place) / "sources", name) for name in ("one", "two"))
        assert take(outbox, first)
        outbox.failed(second, ArtifactError("no"), final=True)
        draft = Draft(first.manifest, {}, (), {}, Path(place) / "staging")
        outbox.drafts.add(draft, Labels("v"), first.run, {"scripted": {"uri": "x"}})
        kinds = {".json", ".lease", ".refused"}
        files = {(path.suffix, path.parent.name): path for path in outbox.root.rglob("*") if path.suffix in kinds}
        assert {suffix for suffix, _ in files} == kinds
        file = files[data.draw(st.sampled_from(sorted(files)))]
        file.write_bytes(changed(file.read_bytes(), data))
        for parcel in [*outbox.everything(), *outbox.refused()]:
            with contextlib.suppress(TraceletError):
                outbox.sealed(parcel)
        [one.advice for one in damaged_in(outbox)]
        with contextlib.suppress(IntegrityError):
            needed_blobs(outbox)
        assert waiting_bytes(outbox) >= 0
        list(leftovers_in(outbox))
        for path in outbox.drafts.files():
            outbox.drafts.take(path)
        for key in outbox.waiting("trials", "scripted"):
            loaded = outbox.load("trials", "scripted", key)
            if loaded is not None:
                outbox.take(loaded, [current()], 60)


def test_bytes_that_another_delivery_marks_as_young_meanwhile_are_the_same_bytes(tmp_path: Path) -> None:
    outbox, over = Outbox(tmp_path), threading.Event()
    parcel = queue(outbox, tmp_path / "files", "x" * 20_000_000)
    blob = outbox.store.path(hashlib.sha256(b"x" * 20_000_000).hexdigest())

    def mark() -> None:
        while not over.wait(0.0001):
            os.utime(blob)

    thread = threading.Thread(target=mark)
    thread.start()
    try:
        sealed = outbox.sealed(parcel)
        copy_blob(blob, tmp_path / "copy", blob.name)
    finally:
        over.set()
        thread.join()
    assert sealed.sources == {"file": blob}
    assert (tmp_path / "copy").stat().st_size == 20_000_000
