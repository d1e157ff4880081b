"""The contract, part two: versions, labels, aliases, and finding them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from tracelet.core.artifacts.entries import ArtifactType
from tracelet.core.artifacts.manifest import Manifest
from tracelet.core.plugins.backend import Capability
from tracelet.core.plugins.versions import Labels, SealedArtifact
from tracelet.exceptions import AmbiguousVersion, ArtifactError, BackendError, TraceletError, VersionConflict
from tracelet.testing.backend_process import BackendProcess
from tracelet.testing.contents import present
from tracelet.testing.contract_fixtures import Bench, ContractFixtures
from tracelet.testing.samples import Samples

__all__ = ["Versions"]

#: Numbers that no name gets to.
_FAR = ("v99999999999", f"v{'9' * 18}")
_LONG = f"1.{'0' * 126}"
#: What is nearly a reference.
_NEARLY = (
    "latest ",
    "v0 ",
    " v0",
    "v\u0660",
    "v00",
    "v0\n",
    "V0",
    f"v{'9' * 5000}",
    "sha256:ABCDEF",
    "sha256:abcde",
)


class Versions(ContractFixtures):
    """What a name's versions are, and how they are found."""

    def test_an_empty_place_is_empty(self, opened: BackendProcess) -> None:
        """No version is listed, and none is found by any kind of reference."""
        assert opened.list() == []
        assert opened.list("nothing") == []
        for ref in ("latest", "v0", "v7", *_FAR, "best", "v1.2.0", f"sha256:{'0' * 64}", "sha256:abcdef", "put:0123"):
            assert opened.find("nothing", ref) is None

    def test_versions_count_up_and_none_is_overwritten(
        self, opened: BackendProcess, samples: Samples, own_folder: Path
    ) -> None:
        """From v0 on; ``latest`` moves along; and each version keeps its own bytes, under the same paths."""
        for number in range(4):
            stored = opened.put(samples.seal("model", {"weights.bin": f"weights {number}".encode() * (4 - number)}))
            assert (stored.number, stored.version) == (number, f"v{number}")
            assert present(opened.find("model", "latest")).number == number
        for number in range(4):
            found = present(opened.find("model", f"v{number}"))
            assert found.number == number
            assert opened.content(found, own_folder / f"v{number}") == {
                "weights.bin": f"weights {number}".encode() * (4 - number)
            }

    def test_every_kind_of_reference_finds_its_version(self, opened: BackendProcess, samples: Samples) -> None:
        """By number, label, alias, digest and its beginning, and put-id; also of a version that is not the last."""
        sealed = [samples.seal("model", {"x": f"{number}".encode()}) for number in range(3)]
        labels = [
            Labels("1.0", ("first", "Case", "7", "sha256")),
            Labels("v1.2.0", ("second", "also-second", "case", "v-1")),
            Labels(_LONG, ("-._", "x" * 128)),
        ]
        for one, names in zip(sealed, labels, strict=True):
            opened.put(one, names)
        refs = [[f"v{number}", str(one.version), *one.aliases] for number, one in enumerate(labels)]
        refs[-1].append("latest")
        for number, (one, known) in enumerate(zip(sealed, refs, strict=True)):
            digest = one.manifest.digest
            for ref in (*known, *(f"sha256:{digest[:end]}" for end in (64, 12)), f"put:{one.manifest.put_id}"):
                found = present(opened.find("model", ref))
                assert (ref, found.number, found.manifest.put_id) == (ref, number, one.manifest.put_id)
                assert found.version == (labels[number].version or f"v{number}")
                assert sorted(found.aliases) == sorted(labels[number].aliases)

    def test_a_listing_says_what_finding_says(self, opened: BackendProcess, samples: Samples) -> None:
        """Manifests, numbers, labels and aliases are the same in both."""
        sealed = [samples.seal(name, {"x": content}) for name, content in (("one", b"1"), ("one", b"2"), ("two", b"1"))]
        put = [
            opened.put(one, labels)
            for one, labels in zip(
                sealed, (Labels("1.0", ("best", "other")), Labels(), Labels(None, ("best",))), strict=True
            )
        ]
        assert [one.manifest for one in put] == [one.manifest for one in sealed]
        stored = {one.manifest.put_id: one.manifest for one in sealed}
        for listed in opened.list():
            found = present(opened.find(listed.manifest.name, f"v{listed.number}"))
            assert found.manifest == listed.manifest == stored.pop(listed.manifest.put_id)
            assert (found.version, found.uri) == (listed.version, listed.uri)
            assert sorted(found.aliases) == sorted(listed.aliases)
        assert not stored

    def test_what_is_not_there_is_not_found(self, opened: BackendProcess, samples: Samples) -> None:
        """Another name's labels, digests and put-ids are not this one's, and nothing near is good enough."""
        mine = samples.seal("model", {"x": b"1"})
        other = samples.seal("model-2", {"x": b"2"})
        opened.put(mine, Labels("1.0", ("best",)))
        opened.put(other, Labels("2.0", ("worst",)))
        digest = other.manifest.digest
        absent = ["v1", "v10", *_FAR, "2.0", "1", "worst", "bes", "BEST", f"sha256:{digest}"]
        absent += [f"sha256:{digest[:6]}", f"put:{other.manifest.put_id}", f"put:{mine.manifest.put_id[:8]}"]
        for ref in absent:
            assert (ref, opened.find("model", ref)) == (ref, None)
        for name in ("mode", "model-", "MODEL", "model-22"):
            assert (name, opened.find(name)) == (name, None)

    @pytest.mark.parametrize("ref", ["", "V3", "v03", "sha256:xyz", "sha256:", "put:", "a/b", "../x", "md5:abcdef"])
    def test_what_is_no_reference_is_refused(self, opened: BackendProcess, samples: Samples, ref: str) -> None:
        """It is an error of the caller's, and not an answer; nor is anything that is nearly the same."""
        if not ref:
            opened.put(samples.seal("model", {"x": b"1"}))
        for near in (ref, f"{ref} ", *(_NEARLY if not ref else ())):
            with pytest.raises(ArtifactError):
                opened.find("model", near)

    def test_a_beginning_of_two_digests_is_ambiguous(self, opened: BackendProcess, samples: Samples) -> None:
        """Six digits that begin both digests raise; the whole digest still finds its version."""
        first, second = _alike(samples)
        opened.put(first)
        opened.put(second)
        with pytest.raises(AmbiguousVersion):
            opened.find("alike", f"sha256:{first.manifest.digest[:6]}")
        for one in (first, second):
            found = present(opened.find("alike", f"sha256:{one.manifest.digest}"))
            assert found.manifest.digest == one.manifest.digest

    def test_listing_by_name_and_type_leaves_nothing_out(self, opened: BackendProcess, samples: Samples) -> None:
        """A filter gives all that fits, and core sees to it that it gives no more."""
        for name, kind in [
            ("model", ArtifactType.MODEL),
            ("model.2", ArtifactType.MODEL),
            ("set", ArtifactType.DATASET),
        ]:
            for number in range(2):
                opened.put(samples.seal(name, {"x": f"{number}".encode()}, type=kind))

        def shown(name: str | None = None, type: ArtifactType | None = None) -> list[tuple[str, int]]:
            return sorted((stored.manifest.name, stored.number) for stored in opened.list(name, type))

        assert shown("model") == [("model", 0), ("model", 1)]
        assert shown(type=ArtifactType.MODEL) == [("model", 0), ("model", 1), ("model.2", 0), ("model.2", 1)]
        assert shown("set", ArtifactType.DATASET) == [("set", 0), ("set", 1)]
        assert shown("set", ArtifactType.MODEL) == []
        assert shown(type=ArtifactType.AUDIO) == shown("mod") == shown("model.") == []
        assert len(shown()) == 6

    def test_names_that_look_alike_are_not_the_same(
        self, opened: BackendProcess, samples: Samples, own_folder: Path
    ) -> None:
        """Names may differ in case, in dots, and in what a path or a glob would make of them."""
        names = ["a", "A", "a.b", "a.", ".a", "a..b", "a-b", "a_b", "--", "x" * 128]
        for name in names:
            opened.put(samples.seal(name, {"file": name.encode()}))
        for number, name in enumerate(names):
            found = present(opened.find(name))
            assert (found.manifest.name, found.number) == (name, 0)
            assert opened.content(found, own_folder / f"{number}") == {"file": name.encode()}

    # -- the same content again

    def test_the_same_content_again_is_not_sent(self, opened: BackendProcess, samples: Samples) -> None:
        """Its files are gone by then: the version that is there is the answer."""
        first = opened.deliver(samples.seal("model", {"x": b"same"}))
        again = samples.seal("model", {"x": b"same"})
        for source in again.sources.values():
            source.unlink()
        second = opened.deliver(again)
        assert (first.created, second.created) == (True, False)
        assert second.stored.number == 0
        assert len(opened.list()) == 1

    def test_content_that_comes_back_is_a_new_version(
        self, opened: BackendProcess, samples: Samples, own_folder: Path
    ) -> None:
        """A, B, A is three versions: only the newest is compared with."""
        for number, content in enumerate([b"A", b"B", b"A"]):
            delivered = opened.deliver(samples.seal("model", {"x": content}))
            assert (delivered.created, delivered.stored.number) == (True, number)
        contents = [opened.content(present(opened.find("model", f"v{n}")), own_folder / f"{n}") for n in range(3)]
        assert contents == [{"x": b"A"}, {"x": b"B"}, {"x": b"A"}]
        digest = present(opened.find("model", "v0")).manifest.digest
        for end in (64, 20, 6):
            assert present(opened.find("model", f"sha256:{digest[:end]}")).number == 2, "the newest one is meant"

    # -- labels and aliases

    def test_a_label_belongs_to_one_content(self, opened: BackendProcess, samples: Samples) -> None:
        """Other content under a label that is given raises, and is not stored; the label stays where it was."""
        opened.put(samples.seal("model", {"x": b"1"}), Labels("1.0"))
        other = samples.seal("model", {"x": b"2"})
        with pytest.raises(VersionConflict):
            opened.put(other, Labels("1.0"))
        with pytest.raises(VersionConflict):
            opened.deliver(other, Labels("1.0"))
        assert [stored.number for stored in opened.list()] == [0]
        assert present(opened.find("model", "latest")).number == 0
        assert opened.find("model", f"put:{other.manifest.put_id}") is None
        assert present(opened.find("model", "1.0")).number == 0

    def test_the_same_content_again_under_its_label_is_the_same_version(
        self, opened: BackendProcess, samples: Samples
    ) -> None:
        """Also when other versions came between."""
        opened.deliver(samples.seal("model", {"x": b"1"}), Labels("1.0"))
        opened.deliver(samples.seal("model", {"x": b"2"}), Labels("2.0"))
        again = opened.deliver(samples.seal("model", {"x": b"1"}), Labels("1.0"))
        assert (again.created, again.stored.number, again.stored.label) == (False, 0, "1.0")
        assert len(opened.list()) == 2

    def test_a_label_is_each_names_own(self, opened: BackendProcess, samples: Samples) -> None:
        """Two names may both have a ``1.0`` and a ``best``, also where their content is the same."""
        sealed = [samples.seal(name, {"x": b"the same"}) for name in ("one", "two")]
        for one in sealed:
            assert opened.deliver(one, Labels("1.0", ("best",))).created
        for one in sealed:
            for ref in ("1.0", "best", "v0", "latest", f"sha256:{one.manifest.digest}"):
                assert present(opened.find(one.manifest.name, ref)).manifest == one.manifest

    def test_an_alias_moves_to_what_is_put_with_it(self, opened: BackendProcess, samples: Samples) -> None:
        """It is on one version at a time."""
        for number in range(3):
            opened.put(
                samples.seal("model", {"x": f"{number}".encode()}), Labels(None, ("best",) if number < 2 else ())
            )
        assert present(opened.find("model", "best")).number == 1
        carried = {stored.number: list(stored.aliases) for stored in opened.list()}
        assert carried == {0: [], 1: ["best"], 2: []}

    def test_names_given_afterwards_are_moved_or_refused(
        self, opened: BackendProcess, samples: Samples, can: Callable[[Capability], bool]
    ) -> None:
        """With the capability ALIASES a version can be named later; without it the caller is told."""
        opened.deliver(samples.seal("model", {"x": b"0"}), Labels(None, ("best",)))
        opened.deliver(samples.seal("model", {"x": b"1"}))
        again = samples.seal("model", {"x": b"1"})
        if not can(Capability.ALIASES):
            with pytest.raises(BackendError) as told:
                opened.deliver(again, Labels(None, ("best",)))
            assert not told.value.retryable
            return
        moved = opened.deliver(again, Labels("1.0", ("best", "new")))
        assert (moved.created, moved.stored.number, moved.stored.label) == (False, 1, "1.0")
        assert sorted(moved.stored.aliases) == ["best", "new"]
        first = opened.relabel(present(opened.find("model", "v0")), Labels(None, ("best",)))
        assert (first.number, list(first.aliases)) == (0, ["best"])
        both = opened.relabel(present(opened.find("model", "v0")), Labels(None, ("old",)))
        assert (both.number, sorted(both.aliases)) == (0, ["best", "old"])
        carried = {stored.number: (stored.label, sorted(stored.aliases)) for stored in opened.list()}
        assert carried == {0: (None, ["best", "old"]), 1: ("1.0", ["new"])}
        assert present(opened.find("model", "latest")).number == 1

    def test_an_alias_that_is_taken_away_names_nothing(self, opened: BackendProcess, samples: Samples) -> None:
        """Where aliases can be taken away: from this version alone, and the version and its other names stay."""
        stored = opened.put(samples.seal("model", {"x": b"0"}), Labels("1.0", ("best", "old")))
        if "RemovesAliases" not in opened.protocols():
            with pytest.raises(BackendError) as told:
                opened.remove_aliases(stored, "best")
            assert not told.value.retryable
            return
        newer = opened.put(samples.seal("model", {"x": b"1"}), Labels(None, ("new",)))
        left = opened.remove_aliases(present(opened.find("model", "v0")), "best", "new", "never")
        assert (left.number, left.label, list(left.aliases)) == (0, "1.0", ["old"])
        assert opened.find("model", "best") is None
        assert present(opened.find("model", "new")).number == newer.number
        carried = {one.number: (one.label, list(one.aliases)) for one in opened.list()}
        assert carried == {0: ("1.0", ["old"]), 1: (None, ["new"])}
        opened.deliver(samples.seal("model", {"x": b"1"}), Labels(None, ("best",)))
        assert present(opened.find("model", "best")).number == 1

    def test_experiments_are_listed_by_their_names(
        self, bench: Bench, samples: Samples, can: Callable[[Capability], bool]
    ) -> None:
        """With the capability EXPERIMENTS: those with a version, asked of any of them, named as their users did."""
        names = [f"{bench.experiment} {rest}" for rest in ("a/b ünï", "模" * 60, "x" * 100)]
        for name in names:
            one = bench.open(experiment=name)
            if not can(Capability.EXPERIMENTS):
                assert "EXPERIMENTS" not in one.implements()
                return
            one.put(samples.seal("model", {"x": b"0"}))
        elsewhere = bench.open(experiment=f"{bench.experiment} none")
        found = [name for name in elsewhere.experiments() if name.startswith(bench.experiment)]
        assert sorted(found) == sorted(names)

    def test_what_a_version_was_used_for_is_found(
        self, bench: Bench, opened: BackendProcess, samples: Samples, can: Callable[[Capability], bool]
    ) -> None:
        """With the capability USERS: every version of any name that has it as an input, and no deleted one."""
        data = opened.put(samples.seal("data", {"x": b"0"}, inputs=()))
        used = data.manifest.digest
        made = [
            opened.put(samples.seal(name, {"x": content}, inputs=inputs))
            for name, content, inputs in (
                ("model", b"1", [used]),
                ("model", b"2", ["f" * 64, used]),
                ("model", b"3", ["f" * 64]),
                ("report", b"4", [used]),
            )
        ]
        assert ("USERS" in opened.implements()) == can(Capability.USERS)
        wanted = [("model", 0), ("model", 1), ("report", 0)]
        assert sorted((one.manifest.name, one.number) for one in opened.used_by(used)) == wanted
        assert [one.manifest for one in opened.used_by("f" * 64) if one.number == 2] == [made[2].manifest]
        assert opened.used_by(made[0].manifest.digest) == []
        assert bench.open(experiment=f"{bench.experiment}-other").used_by(used) == []
        if can(Capability.DELETE):
            opened.delete(present(opened.find("model", "v0")))
            assert sorted((one.manifest.name, one.number) for one in opened.used_by(used)) == wanted[1:]

    def test_a_deleted_version_is_gone_and_its_number_is_not_used_again(
        self, opened: BackendProcess, samples: Samples, own_folder: Path, can: Callable[[Capability], bool]
    ) -> None:
        """With the capability DELETE; the others keep their bytes, also those that they shared."""
        for number in range(3):
            files = {"shared": b"shared", "own": f"{number}".encode()}
            opened.put(samples.seal("model", files), Labels(f"1.{number}", (f"alias-{number}",)))
        opened.put(samples.seal("other", {"shared": b"shared", "own": b"0"}))
        if not can(Capability.DELETE):
            assert "DELETE" not in opened.implements()
            return
        gone = [present(opened.find("model", ref)) for ref in ("v2", "v0")]
        for one in gone:
            opened.delete(one)
        refs = ["v0", "v2", "1.0", "1.2", "alias-0", "alias-2"]
        refs += [
            f"{kind}:{one.manifest.digest if kind == 'sha256' else one.manifest.put_id}"
            for one in gone
            for kind in ("sha256", "put")
        ]
        assert [opened.find("model", ref) for ref in refs] == [None] * len(refs)
        left = present(opened.find("model", "latest"))
        assert left.number == 1
        assert opened.content(left, own_folder / "left") == {"shared": b"shared", "own": b"1"}
        assert present(opened.find("model", "alias-1")).label == "1.1"
        other = present(opened.find("other"))
        assert opened.content(other, own_folder / "other") == {"shared": b"shared", "own": b"0"}
        assert [stored.number for stored in opened.list("model")] == [1]
        assert opened.put(samples.seal("model", {"own": b"3"})).number == 3

    def test_versions_that_are_deleted_together_are_gone_together(
        self, opened: BackendProcess, samples: Samples, own_folder: Path, can: Callable[[Capability], bool]
    ) -> None:
        """With the capability DELETE; what stays keeps the bytes that it shares with them, of whatever type it is."""
        if not can(Capability.DELETE):
            return
        kinds = {"model": ArtifactType.MODEL, "data": ArtifactType.DATASET}
        content = {"shared": b"shared"}
        for number in range(3):
            content = {**content, f"own-{number}": f"{number}".encode()}
            for name, kind in kinds.items():
                opened.put(samples.seal(name, content, type=kind))
        gone = [present(opened.find(name, ref)) for name in kinds for ref in ("v0", "v1")]
        freed = opened.delete_many(*gone)
        assert [one is None or one >= 0 for one in freed] == [True] * len(gone)
        for name in kinds:
            assert [one.number for one in opened.list(name)] == [2]
            assert opened.content(present(opened.find(name)), own_folder / name) == content

    def test_a_deleted_version_leaves_the_others_of_its_content(
        self, opened: BackendProcess, samples: Samples, own_folder: Path, can: Callable[[Capability], bool]
    ) -> None:
        """With the capability DELETE; content that came back is deleted once, where it was deleted once."""
        if not can(Capability.DELETE):
            return  # pragma: no cover - no backend of the core
        for content in (b"0", b"1", b"0"):
            opened.put(samples.seal("model", {"x": content}))
        first = present(opened.find("model", "v0"))
        opened.delete(first)
        assert sorted(stored.number for stored in opened.list("model")) == [1, 2]
        left = present(opened.find("model", f"sha256:{first.manifest.digest}"))
        assert left.number == 2
        assert opened.content(left, own_folder / "left") == {"x": b"0"}

    def test_a_label_of_a_deleted_version_is_not_given_to_other_content(
        self, opened: BackendProcess, samples: Samples, can: Callable[[Capability], bool]
    ) -> None:
        """With the capability DELETE; who has noted down what ``1.0`` was never gets something else by it."""
        if not can(Capability.DELETE):
            return  # pragma: no cover - no backend of the core
        opened.put(samples.seal("model", {"x": b"0"}))
        opened.delete(opened.put(samples.seal("model", {"x": b"1"}), Labels("1.0")))
        with pytest.raises(VersionConflict):
            opened.put(samples.seal("model", {"x": b"2"}), Labels("1.0"))
        assert opened.find("model", "1.0") is None
        again = opened.put(samples.seal("model", {"x": b"1"}), Labels("1.0"))
        assert present(opened.find("model", "1.0")).number == again.number > 1

    def test_inputs_are_recorded_or_not_declared(
        self, opened: BackendProcess, samples: Samples, can: Callable[[Capability], bool]
    ) -> None:
        """With the capability INPUTS the run notes what it uses, and what is used stays as it is."""
        stored = opened.put(samples.seal("data", {"x": b"1"}))
        assert ("INPUTS" in opened.implements()) == can(Capability.INPUTS)
        opened.record_input(stored)
        assert [one.manifest for one in opened.list()] == [stored.manifest]

    def test_clearing_garbage_keeps_what_is_stored(
        self, bench: Bench, opened: BackendProcess, samples: Samples, own_folder: Path
    ) -> None:
        """With the capability COLLECT; whatever is called garbage, no version of any experiment needs it."""
        contents = [{"a": b"1" * 1000, "b/c": f"{number}".encode() * 1000} for number in range(3)]
        for number, files in enumerate(contents):
            opened.put(samples.seal("data", files), Labels(f"1.{number}", ("best",) if number == 1 else ()))
        other = bench.open("other", experiment=f"{bench.experiment}-other")
        theirs = other.put(samples.seal("theirs", {"only-here": b"3" * 1000}))
        assert opened.collect(older_than=time.time() + 3600) >= 0
        for number, files in enumerate(contents):
            found = present(opened.find("data", f"1.{number}"))
            assert (found.number, found.aliases) == (number, ("best",) if number == 1 else ())
            assert opened.content(found, own_folder / f"got-{number}") == files
        assert other.content(theirs, own_folder / "theirs") == {"only-here": b"3" * 1000}

    def test_clearing_garbage_leaves_what_is_young(
        self,
        opened: BackendProcess,
        samples: Samples,
        footprint: Callable[[], object],
        can: Callable[[Capability], bool],
    ) -> None:
        """With the capability COLLECT; what a put has stored that is still under way is no garbage yet."""
        if not can(Capability.COLLECT):  # pragma: no cover - no backend of the core
            assert "COLLECT" not in opened.implements()
            return
        unfinished = samples.seal("data", {"a": b"a" * 5000, "b": b"b" * 5000})
        unfinished.sources[unfinished.manifest.payload[-1].artifact_path].unlink()
        with pytest.raises(TraceletError):
            opened.put(unfinished)
        # One that is refused has stored its bytes by then in most backends.
        opened.put(samples.seal("data", {"a": b"first"}), Labels("1.0"))
        with pytest.raises(VersionConflict):
            opened.put(samples.seal("data", {"a": b"second"}), Labels("1.0"))
        before = footprint()
        assert opened.collect(older_than=time.time() - 3600) == 0
        assert footprint() == before


def _alike(samples: Samples) -> tuple[SealedArtifact, SealedArtifact]:
    """Two artifacts whose digests begin with the same six digits: some thousands are looked at to find them."""
    pattern = samples.seal("alike", {"x": b"1"}, metadata={"salt": 0})
    seen: dict[str, Manifest] = {}
    salt = 0
    while True:
        salt += 1
        manifest = attrs.evolve(pattern.manifest, metadata={"salt": salt}, put_id=f"alike-{salt}")
        other = seen.setdefault(manifest.digest[:6], manifest)
        if other is not manifest:
            return attrs.evolve(pattern, manifest=other), attrs.evolve(pattern, manifest=manifest)
