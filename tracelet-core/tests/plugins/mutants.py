"""Backends that each break one promise of the contract. The first line of each says which test has to find it out.

Beneath, they are the embedded backend, without the promise.
"""

import io
import time
import unicodedata
from functools import partial
from pathlib import Path

import attrs

from tracelet.builtin.local import LocalBackend
from tracelet.core.storage.pointers import Pointers
from tracelet.core.storage.version_catalogue import VersionCatalogue
from tracelet.exceptions import ArtifactError
from tracelet.plugin import BackendSpec, Capability, Labels, Manifest, hookimpl


class Mutant(LocalBackend):
    """The embedded backend, whose parts do as the methods here say, so that each mutant can override what it breaks."""

    def __init__(self, root, experiment):
        super().__init__(root, experiment)
        self._versions.claim = self._claim
        self._versions.manifest = self._manifest
        self._versions.manifests = lambda name: partial(self._manifest, name)
        self._versions.newest = self._newest
        self._versions.number_of_digest = self._number_of_digest
        self._pointers.settle_label = self._settle_label
        self._pointers._pointed = self._pointed

    def _claim(self, manifest):
        return VersionCatalogue.claim(self._versions, manifest)

    def _manifest(self, name, number):
        return VersionCatalogue.manifests(self._versions, name)(number)

    def _newest(self, name):
        return VersionCatalogue.newest(self._versions, name)

    def _number_of_digest(self, name, prefix):
        return VersionCatalogue.number_of_digest(self._versions, name, prefix)

    def _settle_label(self, manifest, number, label):
        return Pointers.settle_label(self._pointers, manifest, number, label)

    def _pointed(self, name, alias):
        return Pointers._pointed(self._pointers, name, alias)


class Overwrites(Mutant):
    """test_versions_count_up_and_none_is_overwritten"""

    def _claim(self, manifest):
        self._notes.write(f"puts/{manifest.put_id}", "0")
        return 0


class WritesTheManifestFirst(Mutant):
    """test_an_interrupted_put_lists_nothing_and_is_stored_once[the last file]"""

    def put(self, sealed, labels):
        number = self._claim(sealed.manifest)
        self._notes.write(f"versions/{sealed.manifest.name}/v{number}.json", sealed.manifest.to_json())
        return super().put(sealed, labels)


class ListsWhatFailed(Mutant):
    """test_a_put_whose_source_vanishes_lists_nothing"""

    def put(self, sealed, labels):
        kept = {path: source for path, source in sealed.sources.items() if source.exists()}
        files = tuple(file for file in sealed.manifest.files if file.artifact_path in kept)
        return super().put(attrs.evolve(sealed, manifest=attrs.evolve(sealed.manifest, files=files)), labels)


class BelievesItsSources(Mutant):
    """test_a_put_whose_source_changed_lists_nothing[same]"""

    delete = take_back = None

    def write_files(self, files):
        for file in files:
            self.write(file.key, io.BytesIO(file.source.read_bytes()))


class Forgets(Mutant):
    """test_a_listing_says_what_finding_says"""

    def list(self, *, name, type):
        for stored in super().list(name=name, type=type):
            yield attrs.evolve(stored, aliases=())


class ListsTheNewestOnly(Mutant):
    """test_listing_by_name_and_type_leaves_nothing_out"""

    def list(self, *, name, type):
        newest = {}
        for stored in super().list(name=name, type=type):
            newest.setdefault(stored.manifest.name, stored)
        return list(newest.values())


class AnswersNothingWhenAway(Mutant):
    """test_a_place_that_is_away_is_not_an_empty_one"""

    def find(self, name, ref):
        try:
            return super().find(name, ref)
        except OSError:
            return None


class Flattens(Mutant):
    """test_bytes_come_back_equal_whatever_their_paths"""

    def fetch(self, stored, paths, dest):
        super().fetch(stored, paths, dest)
        for path in list(dest.rglob("*")):
            if path.is_file():
                path.rename(dest / path.name)


class FetchesEverything(Mutant):
    """test_only_the_paths_that_are_asked_for_are_fetched"""

    def fetch(self, stored, paths, dest):
        super().fetch(stored, [file.artifact_path for file in stored.manifest.payload], dest)


class MovesLabels(Mutant):
    """test_a_label_belongs_to_one_content"""

    def _settle_label(self, manifest, number, label):
        self._notes.write(f"labels/{manifest.name}/{label}", f"{number} {manifest.digest}")
        self._notes.write(f"labelled/{manifest.name}/v{number}/{label}")


class SharesLabels(Mutant):
    """test_two_processes_that_race_for_a_label_do_not_share_it"""

    def _settle_label(self, manifest, number, label):
        time.sleep(0.05)
        self._notes.write(f"labels/{manifest.name}/{label}", f"{number} {manifest.digest}")
        self._notes.write(f"labelled/{manifest.name}/v{number}/{label}")


class CopiesAliases(Mutant):
    """test_an_alias_moves_to_what_is_put_with_it"""

    def _stored(self, manifest, number, label, aliases):
        copied = ("best",) if self._pointers.aliases(manifest.name) else ()
        return super()._stored(manifest, number, label, copied)


class CountsWhatIsThere(Mutant):
    """test_two_processes_that_race_for_numbers_lose_nothing"""

    def _claim(self, manifest):
        number = len(list(self._notes.below(f"versions/{manifest.name}/")))
        time.sleep(0.02)
        self._notes.write(f"puts/{manifest.put_id}", str(number))
        return number


class ReusesNumbers(Mutant):
    """test_a_deleted_version_is_gone_and_its_number_is_not_used_again"""

    _claim = CountsWhatIsThere._claim


class KnowsNoPutIds(Mutant):
    """test_a_put_whose_answer_was_lost_is_not_stored_again"""

    def find(self, name, ref):
        return None if ref.startswith("put:") else super().find(name, ref)


class MixesUpPutIds(Mutant):
    """test_what_is_not_there_is_not_found"""

    def find(self, name, ref):
        return super().find(name, "v0" if ref.startswith("put:") else ref)


class NotesItsReaders(Mutant):
    """test_reading_needs_no_run_and_leaves_no_trace"""

    def find(self, name, ref):
        self._notes.write(f"readers/{time.time_ns()}")
        return super().find(name, ref)


class NeedsARunToRead(Mutant):
    """test_reading_needs_no_run_and_leaves_no_trace"""

    run = None

    def start(self, run):
        self.run = run

    def find(self, name, ref):
        return super().find(f"{name}{self.run.id[:0]}", ref)


class LosesMetadata(Mutant):
    """test_a_manifest_comes_back_equal"""

    def _manifest(self, name, number):
        found = super()._manifest(name, number)
        return found and attrs.evolve(found, metadata={key: str(value) for key, value in found.metadata.items()})


class ForgetsTypes(Mutant):
    """test_every_type_comes_back"""

    def _manifest(self, name, number):
        found = super()._manifest(name, number)
        return found and attrs.evolve(found, type=type(found.type).CUSTOM)


class BelievesManifests(Mutant):
    """test_a_hostile_manifest_is_not_followed[../../../escaped.bin]"""

    def _manifest(self, name, number):
        try:
            return super()._manifest(name, number)
        except ValueError:
            return Manifest(name=name, type=next(iter(self.types)), put_id="p", created_at=0.0)

    from tracelet.plugin import ArtifactType as types


class Remembers(Mutant):
    """test_what_a_second_process_put_is_seen_at_once"""

    known = None

    def find(self, name, ref):
        self.known = self.known or {}
        if (name, ref) not in self.known or self.known[name, ref] is None:
            self.known[name, ref] = super().find(name, ref)
        return self.known[name, ref]


class TellsSecrets(Mutant):
    """test_where_it_is_says_no_secret"""

    def _stored(self, *arguments):
        return attrs.evolve(super()._stored(*arguments), uri="https://me:secret@host/x")


class Guesses(Mutant):
    """test_a_beginning_of_two_digests_is_ambiguous"""

    def _number_of_digest(self, name, prefix):
        for stored in self.list(name=name, type=None):
            if stored.manifest.digest.startswith(prefix):
                return stored.number
        return None


class Truncates(Mutant):
    """test_a_file_of_50_megabytes_comes_back"""

    def write_files(self, files):
        for file in files:
            self.write(file.key, io.BytesIO(file.source.read_bytes()[: 10 << 20]))


class LosesEmptyFiles(Mutant):
    """test_empty_files_come_back_empty"""

    def fetch(self, stored, paths, dest):
        empty = {file.artifact_path for file in stored.manifest.payload if not file.size_bytes}
        super().fetch(stored, set(paths) - empty, dest)


class FoldsCase(Mutant):
    """test_names_that_look_alike_are_not_the_same"""

    def find(self, name, ref):
        for stored in self.list(name=None, type=None):
            if stored.manifest.name.lower() == name.lower():
                return stored
        return None


class SimplifiesExperiments(Mutant):
    """test_an_experiment_may_have_any_printable_name"""

    def __init__(self, root, experiment):
        super().__init__(root, "".join(letter for letter in experiment if letter.isalnum()))


class CannotStopEarly(Mutant):
    """test_a_run_may_end_with_nothing_put"""

    run = None

    def start(self, run):
        self.run = run

    def stop(self, *, failed):
        self.run.id  # noqa: B018


class PointsWithATuple(Mutant):
    """test_what_is_stored_goes_through_json"""

    def _stored(self, *arguments):
        return attrs.evolve(super()._stored(*arguments), locator=("a", Path("b")))


class DropsFailedRuns(Mutant):
    """test_a_later_run_goes_on_where_the_first_ended"""

    def stop(self, *, failed):
        if failed:
            for stored in list(self.list(name=None, type=None)):
                self.delete(stored)


class FixesItsBytes(Mutant):
    """test_changed_bytes_are_not_believed[all]"""

    def fetch(self, stored, paths, dest):
        for path in paths:
            (dest / path).write_bytes(b"")


class SendsTheSameAgain(Mutant):
    """test_the_same_content_again_is_not_sent"""

    def find(self, name, ref):
        return None if ref == "latest" else super().find(name, ref)


class ComparesWithAll(Mutant):
    """test_content_that_comes_back_is_a_new_version"""

    def put(self, sealed, labels):
        known = self.find(sealed.manifest.name, f"sha256:{sealed.manifest.digest}")
        return known or super().put(sealed, labels)


class RelabelsNothing(Mutant):
    """test_names_given_afterwards_are_moved_or_refused"""

    def relabel(self, stored, labels):
        return stored


class GivesAliasesInPlaceOfOthers(Mutant):
    """test_names_given_afterwards_are_moved_or_refused"""

    def relabel(self, stored, labels):
        for alias in stored.aliases:
            self.remove(f"{self._prefix}/aliases/{stored.manifest.name}/{alias}")
        return super().relabel(stored, labels)


class CollectsTooMuch(Mutant):
    """test_clearing_garbage_keeps_what_is_stored"""

    def collect(self, older_than):
        for path in (self._root / "blobs").rglob("*"):
            if path.is_file():
                path.unlink()
                yield 1


class SharesItsLabels(Mutant):
    """test_a_label_is_each_names_own"""

    def find(self, name, ref):
        return next((one for one in self.list(name=None, type=None) if one.label == ref), None)


class FindsWhatItCannotRead(Mutant):
    """test_what_is_no_reference_is_refused[a/b]"""

    def find(self, name, ref):
        return None


class KeepsOneCopy(Mutant):
    """test_files_of_the_same_bytes_are_all_there"""

    def fetch(self, stored, paths, dest):
        files = {file.sha256: file.artifact_path for file in stored.manifest.payload}
        super().fetch(stored, [path for path in paths if path in files.values()], dest)


class FetchesALittle(Mutant):
    """test_a_hundred_small_files_come_back"""

    def fetch(self, stored, paths, dest):
        super().fetch(stored, list(paths)[:50], dest)


class DropsReferences(Mutant):
    """test_an_artifact_may_hold_references_only"""

    def _manifest(self, name, number):
        found = super()._manifest(name, number)
        return found and attrs.evolve(found, references=())


class RefusesTheEmpty(Mutant):
    """test_an_artifact_may_hold_nothing"""

    def put(self, sealed, labels):
        if not sealed.sources:
            raise ValueError("nothing to upload")
        return super().put(sealed, labels)


class ForgetsLabelsOfPuts(Mutant):
    """test_every_kind_of_reference_finds_its_version"""

    def put(self, sealed, labels):
        return super().put(sealed, Labels(labels.version))


class DoublesTheLabelled(Mutant):
    """test_the_same_content_again_under_its_label_is_the_same_version"""

    def find(self, name, ref):
        return None if ref == "1.0" else super().find(name, ref)

    def _settle_label(self, manifest, number, label):
        return None


class SeesThings(Mutant):
    """test_an_empty_place_is_empty"""

    def find(self, name, ref):
        if self.find_any() is None and ref == "latest":
            raise LookupError("nothing here")
        return super().find(name, ref)

    def find_any(self):
        return next(iter(self.list(name=None, type=None)), None)


class HidesThatItRecordsInputs(Mutant):
    """test_declared_capabilities_are_the_implemented_ones"""

    undeclared = Capability.INPUTS


class Threadbare(Mutant):
    """test_two_programs_with_many_threads_lose_nothing"""

    def put(self, sealed, labels):
        if self._keys_of(sealed.manifest.name) >= 5:
            return super().find(sealed.manifest.name, "latest")
        return super().put(sealed, labels)

    def _keys_of(self, name):
        return len(list(self._notes.below(f"versions/{name}/")))


class RefusesTheMany(Mutant):
    """test_two_programs_with_many_threads_lose_nothing"""

    def put(self, sealed, labels):
        if len(list(self._notes.below(f"versions/{sealed.manifest.name}/"))) >= 5:
            raise ArtifactError("that is enough")
        return super().put(sealed, labels)


class ReadsItsOwnOnly(Mutant):
    """test_what_one_program_logs_another_one_reads"""

    mine = frozenset()

    def put(self, sealed, labels):
        stored = super().put(sealed, labels)
        self.mine = self.mine | {stored.manifest.put_id}
        return stored

    def find(self, name, ref):
        found = super().find(name, ref)
        return found if found is None or found.manifest.put_id in self.mine else None


class RaisesForTheAbsent(Mutant):
    """test_a_program_that_asks_for_what_is_not_there_is_told"""

    def find(self, name, ref):
        found = super().find(name, ref)
        if found is None and ref == "v7":
            raise RuntimeError("404")
        return found


# -- filters, references and numbers


class KnowsTwoTypes(Mutant):
    """test_every_type_comes_back"""

    def list(self, *, name, type):
        found = super().list(name=name, type=type)
        return found if type is None or type.value in {"model", "dataset"} else []


class ListsAllButTheNewest(Mutant):
    """test_listing_by_name_and_type_leaves_nothing_out"""

    def list(self, *, name, type):
        found = list(super().list(name=name, type=type))
        newest = {one.manifest.name: one.number for one in sorted(found, key=lambda one: one.number)}
        return [one for one in found if one.number < newest[one.manifest.name] or one.number == 0]


class GivesTheOldestOfADigest(Mutant):
    """test_content_that_comes_back_is_a_new_version"""

    def find(self, name, ref):
        found = super().find(name, ref)
        if found is None or not ref.startswith("sha256:"):
            return found
        return min(
            (one for one in self.list(name=name, type=None) if one.manifest.digest == found.manifest.digest),
            key=lambda one: one.number,
        )


class GivesTheOldestOfABeginning(GivesTheOldestOfADigest):
    """test_content_that_comes_back_is_a_new_version"""

    def find(self, name, ref):
        return super().find(name, ref) if len(ref) < 71 else LocalBackend.find(self, name, ref)


class ChokesOnLargeNumbers(Mutant):
    """test_an_empty_place_is_empty"""

    def find(self, name, ref):
        if ref[1:].isdigit():
            int(ref[1:]).to_bytes(4)
        return super().find(name, ref)


class CountsInABytes(Mutant):
    """test_what_is_not_there_is_not_found"""

    def find(self, name, ref):
        far = ref[1:].isdigit() and int(ref[1:]) > 1000
        return super().find(name, f"v{int(ref[1:]) % 9}" if far else ref)


class ReadsLeniently(Mutant):
    """test_what_is_no_reference_is_refused[]"""

    def find(self, name, ref):
        return super().find(name, ref.strip() or ref)


class ReadsZeros(Mutant):
    """test_what_is_no_reference_is_refused[]"""

    def find(self, name, ref):
        return super().find(name, f"v{int(ref[1:])}" if ref[1:].isdigit() and len(ref) < 9 else ref)


class FindsBeginningsOfPutIds(Mutant):
    """test_what_is_not_there_is_not_found"""

    def find(self, name, ref):
        kind, _, start = ref.partition(":")
        if kind != "put" or not start:
            return super().find(name, ref)
        found = (one for one in self.list(name=name, type=None) if one.manifest.put_id.startswith(start))
        return next(found, None)


class FindsPutsOfAnyName(Mutant):
    """test_what_is_not_there_is_not_found"""

    def find(self, name, ref):
        if not ref.startswith("put:"):
            return super().find(name, ref)
        return next((one for one in self.list(name=None, type=None) if f"put:{one.manifest.put_id}" == ref), None)


class FindsDigestsOfAnyName(Mutant):
    """test_a_label_is_each_names_own"""

    def find(self, name, ref):
        if not ref.startswith("sha256:"):
            return super().find(name, ref)
        return next((one for one in self.list(name=None, type=None) if f"sha256:{one.manifest.digest}" == ref), None)


class StoresContentOnce(Mutant):
    """test_a_label_is_each_names_own"""

    def put(self, sealed, labels):
        same = (one for one in self.list(name=None, type=None) if one.manifest.digest == sealed.manifest.digest)
        return next(same, None) or super().put(sealed, labels)


# -- labels and aliases


class FoldsAliases(Mutant):
    """test_every_kind_of_reference_finds_its_version"""

    def put(self, sealed, labels):
        return super().put(sealed, Labels(labels.version, {alias.lower() for alias in labels.aliases}))

    def find(self, name, ref):
        return super().find(name, ref.lower())


class CutsLabels(Mutant):
    """test_every_kind_of_reference_finds_its_version"""

    def put(self, sealed, labels):
        return super().put(sealed, Labels(labels.version and labels.version[:63], labels.aliases))


class TakesLabelsForNumbers(Mutant):
    """test_every_kind_of_reference_finds_its_version"""

    def find(self, name, ref):
        return super().find(name, f"v{ref}" if ref.isdigit() else ref)


class FreesLabels(Mutant):
    """test_a_label_of_a_deleted_version_is_not_given_to_other_content"""

    def delete(self, stored):
        self.take_back(stored)


class MovesAliasesLate(Mutant):
    """test_a_version_is_never_seen_without_its_aliases"""

    def put(self, sealed, labels):
        stored = super().put(sealed, Labels(labels.version))
        return self.relabel(stored, Labels(None, labels.aliases)) if labels.aliases else stored


class MovesAliasesEarly(Mutant):
    """test_a_version_is_never_seen_without_its_aliases"""

    def _pointed(self, name, alias):
        return self._notes.numbers(f"aliases/{name}/{alias}")[:1]


class MovesAliasesOfWhatFails(Mutant):
    """test_a_put_whose_source_changed_lists_nothing[less]"""

    def put(self, sealed, labels):
        for alias in labels.aliases:
            self._notes.write(f"aliases/{sealed.manifest.name}/{alias}", "7")
        return super().put(sealed, labels)


class LosesAliasesOfWhatFails(Mutant):
    """test_a_put_whose_source_changed_lists_nothing[same]"""

    def take_back(self, stored):
        self.delete(stored)

    def write_files(self, files):
        for file in files:
            self.write(file.key, io.BytesIO(file.source.read_bytes()))


class KeepsAliasesOfTheDeleted(Mutant):
    """test_a_deleted_version_is_gone_and_its_number_is_not_used_again"""

    def delete(self, stored):
        super().delete(stored)
        for alias in stored.aliases:
            self._notes.write(f"aliases/{stored.manifest.name}/{alias}", "1")


# -- deleting and clearing


class Renumbers(Mutant):
    """test_a_deleted_version_is_gone_and_its_number_is_not_used_again"""

    def list(self, *, name, type):
        found = sorted(super().list(name=name, type=type), key=lambda one: one.number)
        return [attrs.evolve(one, number=number) for number, one in enumerate(found)]


class LeavesLatestDangling(Mutant):
    """test_a_deleted_version_is_gone_and_its_number_is_not_used_again"""

    def _newest(self, name):
        return self._notes.number(f"latest/{name}")


class DeletesContent(Mutant):
    """test_a_deleted_version_leaves_the_others_of_its_content"""

    def delete(self, stored):
        for one in self.list(name=stored.manifest.name, type=None):
            if one.manifest.digest == stored.manifest.digest:
                super().delete(one)


class DeletesSharedBytes(Mutant):
    """test_a_deleted_version_is_gone_and_its_number_is_not_used_again"""

    def delete(self, stored):
        super().delete(stored)
        for file in stored.manifest.payload:
            self.remove(f"blobs/sha256/{file.sha256[:2]}/{file.sha256}")


class DeletesBytesOfOtherNames(Mutant):
    """test_a_deleted_version_is_gone_and_its_number_is_not_used_again"""

    def delete(self, stored):
        super().delete(stored)
        mine = {file.sha256 for one in self.list(name=stored.manifest.name, type=None) for file in one.manifest.payload}
        for file in stored.manifest.payload:
            if file.sha256 not in mine:
                self.remove(f"blobs/sha256/{file.sha256[:2]}/{file.sha256}")


class ClearsWhatIsYoung(Mutant):
    """test_clearing_garbage_leaves_what_is_young"""

    def collect(self, older_than):
        return super().collect(time.time() + 3600)


class ClearsInSilence(Mutant):
    """test_clearing_garbage_leaves_what_is_young"""

    def collect(self, older_than):
        list(super().collect(time.time() + 3600))
        return []


class ClearsWhatOthersNeed(Mutant):
    """test_clearing_garbage_keeps_what_is_stored"""

    def _needed(self):
        mine = self.list(name=None, type=None)
        return {file.sha256 for one in mine for file in one.manifest.payload}


class ClearsAllButTheNewest(Mutant):
    """test_clearing_garbage_keeps_what_is_stored"""

    def collect(self, older_than):
        for one in list(self.list(name=None, type=None)):
            if one.number != self._newest(one.manifest.name):
                self.delete(one)
        return super().collect(older_than)


class ClearsAliases(Mutant):
    """test_clearing_garbage_keeps_what_is_stored"""

    def collect(self, older_than):
        for key in list(self._notes.below("aliases/")):
            self.remove(f"{self._prefix}/{key}")
        return super().collect(older_than)


# -- what is in a manifest


class RoundsFloats(Mutant):
    """test_a_manifest_comes_back_equal"""

    def _manifest(self, name, number):
        found = super()._manifest(name, number)
        rounded = found and {k: round(v, 6) if isinstance(v, float) else v for k, v in found.metadata.items()}
        return found and attrs.evolve(found, metadata=rounded)


class CutsTheTime(Mutant):
    """test_a_manifest_comes_back_equal"""

    def _manifest(self, name, number):
        found = super()._manifest(name, number)
        return found and attrs.evolve(found, created_at=float(int(found.created_at)))


class LosesDescriptions(Mutant):
    """test_a_manifest_comes_back_equal"""

    def _manifest(self, name, number):
        found = super()._manifest(name, number)
        return found and attrs.evolve(found, description=None)


class DropsLargeFilesReferences(Mutant):
    """test_a_manifest_comes_back_equal"""

    def _manifest(self, name, number):
        found = super()._manifest(name, number)
        return found and attrs.evolve(found, references=[one for one in found.references if one.path is None])


class DropsRunsAndInputs(Mutant):
    """test_a_listing_says_what_finding_says"""

    def _manifest(self, name, number):
        found = super()._manifest(name, number)
        return found and attrs.evolve(found, run_id=None, inputs=())


# -- bytes and processes


class LeavesPartialFiles(Mutant):
    """test_bytes_come_back_equal_whatever_their_paths"""

    def fetch(self, stored, paths, dest):
        super().fetch(stored, paths, dest)
        for path in paths[:1]:
            (dest / ".part").write_bytes(path.encode())


class ChangesPaths(Mutant):
    """test_bytes_come_back_equal_whatever_their_paths"""

    def fetch(self, stored, paths, dest):
        super().fetch(stored, paths, dest)
        for path in list(dest.rglob("*")):
            if path.is_file():
                path.rename(path.with_name(unicodedata.normalize("NFC", path.name)))


class LivesInItsFolder(Mutant):
    """test_what_one_program_logs_another_one_reads"""

    def __init__(self, root, experiment):
        super().__init__(Path("place").absolute(), experiment)


class StartsOnce(Mutant):
    """test_a_later_run_goes_on_where_the_first_ended"""

    run = None

    def start(self, run):
        if self.run is not None:
            raise RuntimeError("it has begun")
        self.run = run


class CannotEndWhatItBegan(Mutant):
    """test_a_later_run_goes_on_where_the_first_ended"""

    number = 0

    def put(self, sealed, labels):
        self.number += 1
        return super().put(sealed, labels)

    def stop(self, *, failed):
        if self.number and not failed:
            raise RuntimeError("it cannot end")


class StoresItTwice(Mutant):
    """test_a_put_whose_answer_was_lost_is_not_stored_again"""

    def find(self, name, ref):
        newest = super().find(name, "latest")
        found = super().find(name, ref)
        return None if ref.startswith("put:") and found is not None and found != newest else found


class CannotLetGo(Mutant):
    """test_an_alias_that_is_taken_away_names_nothing"""

    def remove_aliases(self, stored, aliases):
        return stored


class EncodesExperiments(Mutant):
    """test_experiments_are_listed_by_their_names"""

    def experiments(self):
        return [folder.parent.name for folder in self._root.glob("*/versions")]


class DeletesTheFirstOfMany(Mutant):
    """test_versions_that_are_deleted_together_are_gone_together"""

    def delete_many(self, stored):
        return super().delete_many(stored[:1])


class ForgetsUsers(Mutant):
    """test_what_a_version_was_used_for_is_found"""

    def used_by(self, digest):
        return list(super().used_by(digest))[:1]


def _every(kind):
    for one in kind.__subclasses__():
        yield one
        yield from _every(one)


KINDS = [kind for kind in _every(Mutant) if kind.__module__ == __name__]


def _name(kind):
    return f"mutant-{kind.__name__}"


def _open(kind):
    return lambda experiment, settings, context: kind(context.directory / "local", experiment)


METHODS = {
    Capability.ALIASES: "relabel",
    Capability.INPUTS: "record_input",
    Capability.DELETE: "delete",
    Capability.COLLECT: "collect",
    Capability.EXPERIMENTS: "experiments",
    Capability.USERS: "used_by",
}


def _spec(kind):
    # What a backend declares and lacks is refused when it is opened.
    capabilities = {one for one, method in METHODS.items() if getattr(kind, method)} - {
        getattr(kind, "undeclared", None)
    }
    return BackendSpec(
        name=_name(kind),
        open=_open(kind),
        in_process=True,
        capabilities=frozenset(capabilities),
        summary="It breaks a promise.",
    )


@hookimpl
def tracelet_backends():
    return [_spec(kind) for kind in KINDS]
