"""Backends that each break one promise of the contract. The first line of each says which test has to find it out.

Beneath, they are the embedded backend, without the promise.
"""

import io
import time
import unicodedata
from pathlib import Path

import attrs

from tracelet.builtin.local import LocalBackend
from tracelet.exceptions import ArtifactError
from tracelet.plugin import BackendSpec, Capability, Labels, Manifest, hookimpl


class Overwrites(LocalBackend):
    """test_versions_count_up_and_none_is_overwritten"""

    def _claim(self, manifest):
        self._note(f"puts/{manifest.put_id}", "0")
        return 0


class WritesTheManifestFirst(LocalBackend):
    """test_an_interrupted_put_lists_nothing_and_is_stored_once[the last file]"""

    def put(self, sealed, labels):
        number = self._claim(sealed.manifest)
        self._write(f"versions/{sealed.manifest.name}/v{number}.json", sealed.manifest.to_json().encode())
        return super().put(sealed, labels)


class ListsWhatFailed(LocalBackend):
    """test_a_put_whose_source_vanishes_lists_nothing"""

    def put(self, sealed, labels):
        kept = {path: source for path, source in sealed.sources.items() if source.exists()}
        files = tuple(file for file in sealed.manifest.files if file.artifact_path in kept)
        return super().put(attrs.evolve(sealed, manifest=attrs.evolve(sealed.manifest, files=files)), labels)


class BelievesItsSources(LocalBackend):
    """test_a_put_whose_source_changed_lists_nothing[same]"""

    delete = take_back = None

    def write_file(self, key, source, sha256, stamp):
        self.write(key, io.BytesIO(source.read_bytes()))


class Forgets(LocalBackend):
    """test_a_listing_says_what_finding_says"""

    def list(self, *, name, type):
        for stored in super().list(name=name, type=type):
            yield attrs.evolve(stored, aliases=())


class ListsTheNewestOnly(LocalBackend):
    """test_listing_by_name_and_type_leaves_nothing_out"""

    def list(self, *, name, type):
        newest = {}
        for stored in super().list(name=name, type=type):
            newest.setdefault(stored.manifest.name, stored)
        return list(newest.values())


class AnswersNothingWhenAway(LocalBackend):
    """test_a_place_that_is_away_is_not_an_empty_one"""

    def find(self, name, ref):
        try:
            return super().find(name, ref)
        except OSError:
            return None


class Flattens(LocalBackend):
    """test_bytes_come_back_equal_whatever_their_paths"""

    def fetch(self, stored, paths, dest):
        super().fetch(stored, paths, dest)
        for path in list(dest.rglob("*")):
            if path.is_file():
                path.rename(dest / path.name)


class FetchesEverything(LocalBackend):
    """test_only_the_paths_that_are_asked_for_are_fetched"""

    def fetch(self, stored, paths, dest):
        super().fetch(stored, [file.artifact_path for file in stored.manifest.payload], dest)


class MovesLabels(LocalBackend):
    """test_a_label_belongs_to_one_content"""

    def _settle_label(self, manifest, number, label):
        self._write(f"labels/{manifest.name}/{label}", f"{number} {manifest.digest}".encode())
        self._note(f"labelled/{manifest.name}/v{number}/{label}")


class SharesLabels(LocalBackend):
    """test_two_processes_that_race_for_a_label_do_not_share_it"""

    def _settle_label(self, manifest, number, label):
        time.sleep(0.05)
        self._write(f"labels/{manifest.name}/{label}", f"{number} {manifest.digest}".encode())
        self._note(f"labelled/{manifest.name}/v{number}/{label}")


class CopiesAliases(LocalBackend):
    """test_an_alias_moves_to_what_is_put_with_it"""

    def _aliases(self, name):
        found = super()._aliases(name)
        return dict.fromkeys(range(3), ("best",)) if found else {}


class CountsWhatIsThere(LocalBackend):
    """test_two_processes_that_race_for_numbers_lose_nothing"""

    def _claim(self, manifest):
        number = len(list(self._keys(f"versions/{manifest.name}/")))
        time.sleep(0.02)
        self._note(f"puts/{manifest.put_id}", str(number))
        return number


class ReusesNumbers(LocalBackend):
    """test_a_deleted_version_is_gone_and_its_number_is_not_used_again"""

    _claim = CountsWhatIsThere._claim


class KnowsNoPutIds(LocalBackend):
    """test_a_put_whose_answer_was_lost_is_not_stored_again"""

    def find(self, name, ref):
        return None if ref.startswith("put:") else super().find(name, ref)


class MixesUpPutIds(LocalBackend):
    """test_what_is_not_there_is_not_found"""

    def find(self, name, ref):
        return super().find(name, "v0" if ref.startswith("put:") else ref)


class NotesItsReaders(LocalBackend):
    """test_reading_needs_no_run_and_leaves_no_trace"""

    def find(self, name, ref):
        self._note(f"readers/{time.time_ns()}")
        return super().find(name, ref)


class NeedsARunToRead(LocalBackend):
    """test_reading_needs_no_run_and_leaves_no_trace"""

    run = None

    def start(self, run):
        self.run = run

    def find(self, name, ref):
        return super().find(f"{name}{self.run.id[:0]}", ref)


class LosesMetadata(LocalBackend):
    """test_a_manifest_comes_back_equal"""

    def _manifest(self, name, number):
        found = super()._manifest(name, number)
        return found and attrs.evolve(found, metadata={key: str(value) for key, value in found.metadata.items()})


class ForgetsTypes(LocalBackend):
    """test_every_type_comes_back"""

    def _manifest(self, name, number):
        found = super()._manifest(name, number)
        return found and attrs.evolve(found, type=type(found.type).CUSTOM)


class BelievesManifests(LocalBackend):
    """test_a_hostile_manifest_is_not_followed[../../../escaped.bin]"""

    def _manifest(self, name, number):
        try:
            return super()._manifest(name, number)
        except ValueError:
            return Manifest(name=name, type=next(iter(self.types)), put_id="p", created_at=0.0)

    from tracelet.plugin import ArtifactType as types


class Remembers(LocalBackend):
    """test_what_a_second_process_put_is_seen_at_once"""

    known = None

    def find(self, name, ref):
        self.known = self.known or {}
        if (name, ref) not in self.known or self.known[name, ref] is None:
            self.known[name, ref] = super().find(name, ref)
        return self.known[name, ref]


class TellsSecrets(LocalBackend):
    """test_where_it_is_says_no_secret"""

    def _stored(self, *arguments):
        return attrs.evolve(super()._stored(*arguments), uri="https://me:secret@host/x")


class Guesses(LocalBackend):
    """test_a_beginning_of_two_digests_is_ambiguous"""

    def _number_of_digest(self, name, prefix):
        for stored in self.list(name=name, type=None):
            if stored.manifest.digest.startswith(prefix):
                return stored.number
        return None


class Truncates(LocalBackend):
    """test_a_file_of_50_megabytes_comes_back"""

    def write_file(self, key, source, sha256, stamp):
        self.write(key, io.BytesIO(source.read_bytes()[: 10 << 20]))


class LosesEmptyFiles(LocalBackend):
    """test_empty_files_come_back_empty"""

    def fetch(self, stored, paths, dest):
        empty = {file.artifact_path for file in stored.manifest.payload if not file.size_bytes}
        super().fetch(stored, set(paths) - empty, dest)


class FoldsCase(LocalBackend):
    """test_names_that_look_alike_are_not_the_same"""

    def find(self, name, ref):
        for stored in self.list(name=None, type=None):
            if stored.manifest.name.lower() == name.lower():
                return stored
        return None


class SimplifiesExperiments(LocalBackend):
    """test_an_experiment_may_have_any_printable_name"""

    def __init__(self, root, experiment):
        super().__init__(root, "".join(letter for letter in experiment if letter.isalnum()))


class CannotStopEarly(LocalBackend):
    """test_a_run_may_end_with_nothing_put"""

    run = None

    def start(self, run):
        self.run = run

    def stop(self, *, failed):
        self.run.id  # noqa: B018


class PointsWithATuple(LocalBackend):
    """test_what_is_stored_goes_through_json"""

    def _stored(self, *arguments):
        return attrs.evolve(super()._stored(*arguments), locator=("a", Path("b")))


class DropsFailedRuns(LocalBackend):
    """test_a_later_run_goes_on_where_the_first_ended"""

    def stop(self, *, failed):
        if failed:
            for stored in list(self.list(name=None, type=None)):
                self.delete(stored)


class FixesItsBytes(LocalBackend):
    """test_changed_bytes_are_not_believed[all]"""

    def fetch(self, stored, paths, dest):
        for path in paths:
            (dest / path).write_bytes(b"")


class SendsTheSameAgain(LocalBackend):
    """test_the_same_content_again_is_not_sent"""

    def find(self, name, ref):
        return None if ref == "latest" else super().find(name, ref)


class ComparesWithAll(LocalBackend):
    """test_content_that_comes_back_is_a_new_version"""

    def put(self, sealed, labels):
        known = self.find(sealed.manifest.name, f"sha256:{sealed.manifest.digest}")
        return known or super().put(sealed, labels)


class RelabelsNothing(LocalBackend):
    """test_names_given_afterwards_are_moved_or_refused"""

    def relabel(self, stored, labels):
        return stored


class GivesAliasesInPlaceOfOthers(LocalBackend):
    """test_names_given_afterwards_are_moved_or_refused"""

    def relabel(self, stored, labels):
        for alias in stored.aliases:
            self.remove(f"{self._prefix}/aliases/{stored.manifest.name}/{alias}")
        return super().relabel(stored, labels)


class CollectsTooMuch(LocalBackend):
    """test_clearing_garbage_keeps_what_is_stored"""

    def collect(self, older_than):
        for path in (self._root / "blobs").rglob("*"):
            if path.is_file():
                path.unlink()
                yield 1


class SharesItsLabels(LocalBackend):
    """test_a_label_is_each_names_own"""

    def find(self, name, ref):
        return next((one for one in self.list(name=None, type=None) if one.label == ref), None)


class FindsWhatItCannotRead(LocalBackend):
    """test_what_is_no_reference_is_refused[a/b]"""

    def find(self, name, ref):
        return None


class KeepsOneCopy(LocalBackend):
    """test_files_of_the_same_bytes_are_all_there"""

    def fetch(self, stored, paths, dest):
        files = {file.sha256: file.artifact_path for file in stored.manifest.payload}
        super().fetch(stored, [path for path in paths if path in files.values()], dest)


class FetchesALittle(LocalBackend):
    """test_a_hundred_small_files_come_back"""

    def fetch(self, stored, paths, dest):
        super().fetch(stored, list(paths)[:50], dest)


class DropsReferences(LocalBackend):
    """test_an_artifact_may_hold_references_only"""

    def _manifest(self, name, number):
        found = super()._manifest(name, number)
        return found and attrs.evolve(found, references=())


class RefusesTheEmpty(LocalBackend):
    """test_an_artifact_may_hold_nothing"""

    def put(self, sealed, labels):
        if not sealed.sources:
            raise ValueError("nothing to upload")
        return super().put(sealed, labels)


class ForgetsLabelsOfPuts(LocalBackend):
    """test_every_kind_of_reference_finds_its_version"""

    def put(self, sealed, labels):
        return super().put(sealed, Labels(labels.version))


class DoublesTheLabelled(LocalBackend):
    """test_the_same_content_again_under_its_label_is_the_same_version"""

    def find(self, name, ref):
        return None if ref == "1.0" else super().find(name, ref)

    def _settle_label(self, manifest, number, label):
        return None


class SeesThings(LocalBackend):
    """test_an_empty_place_is_empty"""

    def find(self, name, ref):
        if self.find_any() is None and ref == "latest":
            raise LookupError("nothing here")
        return super().find(name, ref)

    def find_any(self):
        return next(iter(self.list(name=None, type=None)), None)


class HidesThatItRecordsInputs(LocalBackend):
    """test_declared_capabilities_are_the_implemented_ones"""

    undeclared = Capability.INPUTS


class Threadbare(LocalBackend):
    """test_two_programs_with_many_threads_lose_nothing"""

    def put(self, sealed, labels):
        if self._keys_of(sealed.manifest.name) >= 5:
            return super().find(sealed.manifest.name, "latest")
        return super().put(sealed, labels)

    def _keys_of(self, name):
        return len(list(self._keys(f"versions/{name}/")))


class RefusesTheMany(LocalBackend):
    """test_two_programs_with_many_threads_lose_nothing"""

    def put(self, sealed, labels):
        if len(list(self._keys(f"versions/{sealed.manifest.name}/"))) >= 5:
            raise ArtifactError("that is enough")
        return super().put(sealed, labels)


class ReadsItsOwnOnly(LocalBackend):
    """test_what_one_program_logs_another_one_reads"""

    mine = frozenset()

    def put(self, sealed, labels):
        stored = super().put(sealed, labels)
        self.mine = self.mine | {stored.manifest.put_id}
        return stored

    def find(self, name, ref):
        found = super().find(name, ref)
        return found if found is None or found.manifest.put_id in self.mine else None


class RaisesForTheAbsent(LocalBackend):
    """test_a_program_that_asks_for_what_is_not_there_is_told"""

    def find(self, name, ref):
        found = super().find(name, ref)
        if found is None and ref == "v7":
            raise RuntimeError("404")
        return found


# -- filters, references and numbers


class KnowsTwoTypes(LocalBackend):
    """test_every_type_comes_back"""

    def list(self, *, name, type):
        found = super().list(name=name, type=type)
        return found if type is None or type.value in {"model", "dataset"} else []


class ListsAllButTheNewest(LocalBackend):
    """test_listing_by_name_and_type_leaves_nothing_out"""

    def list(self, *, name, type):
        found = list(super().list(name=name, type=type))
        newest = {one.manifest.name: one.number for one in sorted(found, key=lambda one: one.number)}
        return [one for one in found if one.number < newest[one.manifest.name] or one.number == 0]


class GivesTheOldestOfADigest(LocalBackend):
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


class ChokesOnLargeNumbers(LocalBackend):
    """test_an_empty_place_is_empty"""

    def find(self, name, ref):
        if ref[1:].isdigit():
            int(ref[1:]).to_bytes(4)
        return super().find(name, ref)


class CountsInABytes(LocalBackend):
    """test_what_is_not_there_is_not_found"""

    def find(self, name, ref):
        far = ref[1:].isdigit() and int(ref[1:]) > 1000
        return super().find(name, f"v{int(ref[1:]) % 9}" if far else ref)


class ReadsLeniently(LocalBackend):
    """test_what_is_no_reference_is_refused[]"""

    def find(self, name, ref):
        return super().find(name, ref.strip() or ref)


class ReadsZeros(LocalBackend):
    """test_what_is_no_reference_is_refused[]"""

    def find(self, name, ref):
        return super().find(name, f"v{int(ref[1:])}" if ref[1:].isdigit() and len(ref) < 9 else ref)


class FindsBeginningsOfPutIds(LocalBackend):
    """test_what_is_not_there_is_not_found"""

    def find(self, name, ref):
        kind, _, start = ref.partition(":")
        if kind != "put" or not start:
            return super().find(name, ref)
        found = (one for one in self.list(name=name, type=None) if one.manifest.put_id.startswith(start))
        return next(found, None)


class FindsPutsOfAnyName(LocalBackend):
    """test_what_is_not_there_is_not_found"""

    def find(self, name, ref):
        if not ref.startswith("put:"):
            return super().find(name, ref)
        return next((one for one in self.list(name=None, type=None) if f"put:{one.manifest.put_id}" == ref), None)


class FindsDigestsOfAnyName(LocalBackend):
    """test_a_label_is_each_names_own"""

    def find(self, name, ref):
        if not ref.startswith("sha256:"):
            return super().find(name, ref)
        return next((one for one in self.list(name=None, type=None) if f"sha256:{one.manifest.digest}" == ref), None)


class StoresContentOnce(LocalBackend):
    """test_a_label_is_each_names_own"""

    def put(self, sealed, labels):
        same = (one for one in self.list(name=None, type=None) if one.manifest.digest == sealed.manifest.digest)
        return next(same, None) or super().put(sealed, labels)


# -- labels and aliases


class FoldsAliases(LocalBackend):
    """test_every_kind_of_reference_finds_its_version"""

    def put(self, sealed, labels):
        return super().put(sealed, Labels(labels.version, {alias.lower() for alias in labels.aliases}))

    def find(self, name, ref):
        return super().find(name, ref.lower())


class CutsLabels(LocalBackend):
    """test_every_kind_of_reference_finds_its_version"""

    def put(self, sealed, labels):
        return super().put(sealed, Labels(labels.version and labels.version[:63], labels.aliases))


class TakesLabelsForNumbers(LocalBackend):
    """test_every_kind_of_reference_finds_its_version"""

    def find(self, name, ref):
        return super().find(name, f"v{ref}" if ref.isdigit() else ref)


class FreesLabels(LocalBackend):
    """test_a_label_of_a_deleted_version_is_not_given_to_other_content"""

    def delete(self, stored):
        self.take_back(stored)


class MovesAliasesLate(LocalBackend):
    """test_a_version_is_never_seen_without_its_aliases"""

    def put(self, sealed, labels):
        stored = super().put(sealed, Labels(labels.version))
        return self.relabel(stored, Labels(None, labels.aliases)) if labels.aliases else stored


class MovesAliasesEarly(LocalBackend):
    """test_a_version_is_never_seen_without_its_aliases"""

    def _pointed(self, name, alias):
        return self._numbers(f"aliases/{name}/{alias}")[:1]


class MovesAliasesOfWhatFails(LocalBackend):
    """test_a_put_whose_source_changed_lists_nothing[less]"""

    def put(self, sealed, labels):
        for alias in labels.aliases:
            self._note(f"aliases/{sealed.manifest.name}/{alias}", "7")
        return super().put(sealed, labels)


class LosesAliasesOfWhatFails(LocalBackend):
    """test_a_put_whose_source_changed_lists_nothing[same]"""

    def take_back(self, stored):
        self.delete(stored)

    def write_file(self, key, source, sha256, stamp):
        self.write(key, io.BytesIO(source.read_bytes()))


class KeepsAliasesOfTheDeleted(LocalBackend):
    """test_a_deleted_version_is_gone_and_its_number_is_not_used_again"""

    def delete(self, stored):
        super().delete(stored)
        for alias in stored.aliases:
            self._note(f"aliases/{stored.manifest.name}/{alias}", "1")


# -- deleting and clearing


class Renumbers(LocalBackend):
    """test_a_deleted_version_is_gone_and_its_number_is_not_used_again"""

    def list(self, *, name, type):
        found = sorted(super().list(name=name, type=type), key=lambda one: one.number)
        return [attrs.evolve(one, number=number) for number, one in enumerate(found)]


class LeavesLatestDangling(LocalBackend):
    """test_a_deleted_version_is_gone_and_its_number_is_not_used_again"""

    def _newest(self, name):
        return self._number(f"latest/{name}")


class DeletesContent(LocalBackend):
    """test_a_deleted_version_leaves_the_others_of_its_content"""

    def delete(self, stored):
        for one in self.list(name=stored.manifest.name, type=None):
            if one.manifest.digest == stored.manifest.digest:
                super().delete(one)


class DeletesSharedBytes(LocalBackend):
    """test_a_deleted_version_is_gone_and_its_number_is_not_used_again"""

    def delete(self, stored):
        super().delete(stored)
        for file in stored.manifest.payload:
            self.remove(f"blobs/sha256/{file.sha256[:2]}/{file.sha256}")


class DeletesBytesOfOtherNames(LocalBackend):
    """test_a_deleted_version_is_gone_and_its_number_is_not_used_again"""

    def delete(self, stored):
        super().delete(stored)
        mine = {file.sha256 for one in self.list(name=stored.manifest.name, type=None) for file in one.manifest.payload}
        for file in stored.manifest.payload:
            if file.sha256 not in mine:
                self.remove(f"blobs/sha256/{file.sha256[:2]}/{file.sha256}")


class ClearsWhatIsYoung(LocalBackend):
    """test_clearing_garbage_leaves_what_is_young"""

    def collect(self, older_than):
        return super().collect(time.time() + 3600)


class ClearsInSilence(LocalBackend):
    """test_clearing_garbage_leaves_what_is_young"""

    def collect(self, older_than):
        list(super().collect(time.time() + 3600))
        return []


class ClearsWhatOthersNeed(LocalBackend):
    """test_clearing_garbage_keeps_what_is_stored"""

    def _needed(self):
        mine = self.list(name=None, type=None)
        return {file.sha256 for one in mine for file in one.manifest.payload}


class ClearsAllButTheNewest(LocalBackend):
    """test_clearing_garbage_keeps_what_is_stored"""

    def collect(self, older_than):
        for one in list(self.list(name=None, type=None)):
            if one.number != self._newest(one.manifest.name):
                self.delete(one)
        return super().collect(older_than)


class ClearsAliases(LocalBackend):
    """test_clearing_garbage_keeps_what_is_stored"""

    def collect(self, older_than):
        for key in list(self._keys("aliases/")):
            self.remove(f"{self._prefix}/{key}")
        return super().collect(older_than)


# -- what is in a manifest


class RoundsFloats(LocalBackend):
    """test_a_manifest_comes_back_equal"""

    def _manifest(self, name, number):
        found = super()._manifest(name, number)
        rounded = found and {k: round(v, 6) if isinstance(v, float) else v for k, v in found.metadata.items()}
        return found and attrs.evolve(found, metadata=rounded)


class CutsTheTime(LocalBackend):
    """test_a_manifest_comes_back_equal"""

    def _manifest(self, name, number):
        found = super()._manifest(name, number)
        return found and attrs.evolve(found, created_at=float(int(found.created_at)))


class LosesDescriptions(LocalBackend):
    """test_a_manifest_comes_back_equal"""

    def _manifest(self, name, number):
        found = super()._manifest(name, number)
        return found and attrs.evolve(found, description=None)


class DropsLargeFilesReferences(LocalBackend):
    """test_a_manifest_comes_back_equal"""

    def _manifest(self, name, number):
        found = super()._manifest(name, number)
        return found and attrs.evolve(found, references=[one for one in found.references if one.path is None])


class DropsRunsAndInputs(LocalBackend):
    """test_a_listing_says_what_finding_says"""

    def _manifest(self, name, number):
        found = super()._manifest(name, number)
        return found and attrs.evolve(found, run_id=None, inputs=())


# -- bytes and processes


class LeavesPartialFiles(LocalBackend):
    """test_bytes_come_back_equal_whatever_their_paths"""

    def fetch(self, stored, paths, dest):
        super().fetch(stored, paths, dest)
        for path in paths[:1]:
            (dest / ".part").write_bytes(path.encode())


class ChangesPaths(LocalBackend):
    """test_bytes_come_back_equal_whatever_their_paths"""

    def fetch(self, stored, paths, dest):
        super().fetch(stored, paths, dest)
        for path in list(dest.rglob("*")):
            if path.is_file():
                path.rename(path.with_name(unicodedata.normalize("NFC", path.name)))


class LivesInItsFolder(LocalBackend):
    """test_what_one_program_logs_another_one_reads"""

    def __init__(self, root, experiment):
        super().__init__(Path("place").absolute(), experiment)


class StartsOnce(LocalBackend):
    """test_a_later_run_goes_on_where_the_first_ended"""

    run = None

    def start(self, run):
        if self.run is not None:
            raise RuntimeError("it has begun")
        self.run = run


class CannotEndWhatItBegan(LocalBackend):
    """test_a_later_run_goes_on_where_the_first_ended"""

    number = 0

    def put(self, sealed, labels):
        self.number += 1
        return super().put(sealed, labels)

    def stop(self, *, failed):
        if self.number and not failed:
            raise RuntimeError("it cannot end")


class StoresItTwice(LocalBackend):
    """test_a_put_whose_answer_was_lost_is_not_stored_again"""

    def find(self, name, ref):
        newest = super().find(name, "latest")
        found = super().find(name, ref)
        return None if ref.startswith("put:") and found is not None and found != newest else found


def _every(kind):
    for one in kind.__subclasses__():
        yield one
        yield from _every(one)


KINDS = [kind for kind in _every(LocalBackend) if kind.__module__ == __name__]


def _name(kind):
    return f"mutant-{kind.__name__}"


def _open(kind):
    return lambda experiment, settings, context: kind(context.directory / "local", experiment)


METHODS = {
    Capability.ALIASES: "relabel",
    Capability.INPUTS: "record_input",
    Capability.DELETE: "delete",
    Capability.COLLECT: "collect",
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
