"""Importing from a DVC repository: what is an artifact, what is said of it, where its bytes come from, and what is told.

The repositories are written here as DVC 3.67 and DVC 2.58 wrote them. DVC itself is not needed.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from making import settle, write

import tracelet
from tracelet import ArtifactError, ArtifactNotFound, ArtifactType, ConfigError, IntegrityError
from tracelet.core.plugins.foreign import ForeignArtifact
from tracelet.core.transfer.dvc import DvcRepository

#: What text in Windows' way has in DVC 2.
CRLF, CRLF_OLD = b"x,y\r\n1,2\r\n", "344fd2323dd33d5c058b7cf27de029e8"


def md5_of(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class Repository:
    """A DVC repository that is being written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        write(root / ".dvc" / "config", "")
        self.cache = root / ".dvc" / "cache"

    def store(self, data: bytes, md5: str | None = None, *, old: bool = False, folder: Path | None = None) -> str:
        """Put an object where DVC has it; return its md5."""
        md5 = md5_of(data) if md5 is None else md5
        write((folder or self.cache) / ("" if old else "files/md5") / md5[:2] / md5[2:], data)
        return md5

    def store_folder(self, files: dict[str, bytes], *, old: bool = False) -> str:
        """Put the objects of a directory, and its listing, where DVC has them; return its md5."""
        entries = [{"md5": self.store(files[path], old=old), "relpath": path} for path in sorted(files)]
        listing = json.dumps(entries).encode()
        return self.store(listing, f"{md5_of(listing)}.dir", old=old)

    def track(self, path: str, md5: str | None = None, *lines: str, old: bool = False) -> Path:
        """Write a `.dvc` file beside an output."""
        said = [f"md5: {md5}"] if md5 else []
        said += [] if old else ["hash: md5"]
        name = path.rpartition("/")[2]
        return write(
            self.root / f"{path}.dvc", "outs:\n- path: " + "\n  ".join([json.dumps(name), *said, *lines]) + "\n"
        )

    def file(self, path: str, data: bytes = b"bytes", *lines: str) -> str:
        """Track a file whose bytes are in the cache alone."""
        md5 = self.store(data)
        self.track(path, md5, *lines)
        return md5

    def found(self) -> dict[str, ForeignArtifact]:
        return {one.name: one for one in DvcRepository().discover(str(self.root))}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repo")


def fetched(one: ForeignArtifact, dest: Path) -> dict[str, bytes]:
    dest.mkdir()
    DvcRepository().fetch_foreign(one, dest)
    return {path.relative_to(dest).as_posix(): path.read_bytes() for path in dest.rglob("*") if path.is_file()}


def reason(one: ForeignArtifact, dest: Path, kind: type[Exception] = ArtifactError) -> str:
    dest.mkdir(exist_ok=True)
    with pytest.raises(kind) as caught:
        DvcRepository().fetch_foreign(one, dest)
    return str(caught.value)


# -- repositories as DVC itself wrote them


DVC_3 = {
    "crlf.csv.dvc": """\
outs:
- md5: ef4330228809c42919ada65a11393fd1
  size: 10
  hash: md5
  path: crlf.csv
""",
    "data.dvc": """\
outs:
- md5: 77620c8fb06e86c18f7dd3f47ad56787.dir
  size: 11
  nfiles: 2
  hash: md5
  path: data
""",
    "dvc.yaml": """\
vars:
  - out: model.bin
stages:
  train:
    cmd: cp crlf.csv ${out} && echo '{"acc":1}' > metrics.json && mkdir -p plots && echo hi>plots/p.csv
    deps: [data, crlf.csv]
    params: [train.lr]
    outs:
      - ${out}:
          desc: The model
          type: model
          labels: [a, b]
          meta: {k: 1}
    metrics:
      - metrics.json:
          cache: false
    plots:
      - plots/
  each:
    foreach: [x, y]
    do:
      cmd: echo ${item} > out.${item}
      outs: ["out.${item}"]
  mat:
    matrix: {m: [p, q]}
    cmd: echo ${item.m} > m.${item.m}
    outs: ["m.${item.m}"]
artifacts:
  mymodel:
    path: model.bin
    type: model
    desc: from artifacts
    labels: [l]
    meta: {z: 2}
""",
    "dvc.lock": """\
schema: '2.0'
stages:
  train:
    cmd: cp crlf.csv model.bin && echo '{"acc":1}' > metrics.json && mkdir -p
      plots && echo hi>plots/p.csv
    deps:
    - path: crlf.csv
      hash: md5
      md5: ef4330228809c42919ada65a11393fd1
      size: 10
    - path: data
      hash: md5
      md5: 77620c8fb06e86c18f7dd3f47ad56787.dir
      size: 11
      nfiles: 2
    params:
      params.yaml:
        train.lr: 0.1
    outs:
    - path: metrics.json
      hash: md5
      md5: 28e1087a118e94a5cef90f2dde10d7f0
      size: 10
    - path: model.bin
      hash: md5
      md5: ef4330228809c42919ada65a11393fd1
      size: 10
    - path: plots/
      hash: md5
      md5: 3a7d9eb3d2749348ecbaa67efd00758d.dir
      size: 3
      nfiles: 1
  each@x:
    cmd: echo x > out.x
    outs:
    - path: out.x
      hash: md5
      md5: 401b30e3b8b5d629635a5c613cdb7919
      size: 2
  mat@q:
    cmd: echo q > m.q
    outs:
    - path: m.q
      hash: md5
      md5: c3be117041a113540deb0ff532b19543
      size: 2
""",
}


@pytest.fixture
def of_dvc_3(repository: Repository) -> Repository:
    for name, text in DVC_3.items():
        write(repository.root / name, text)
    for data in (CRLF, b'{"acc":1}\n', b"x\n", b"q\n"):
        repository.store(data)
    assert repository.store_folder({"a.txt": b"a\nb\n", "sub/b.bin": b"\x00\x01bin\r\n"}).startswith("77620c8f")
    assert repository.store_folder({"p.csv": b"hi\n"}).startswith("3a7d9eb3")
    return repository


def test_every_output_of_a_repository_comes_with_its_bytes(of_dvc_3: Repository, tmp_path: Path) -> None:
    came = {name: fetched(one, tmp_path / name) for name, one in of_dvc_3.found().items()}
    assert came == {
        "crlf.csv": {"crlf.csv": CRLF},
        "data": {"a.txt": b"a\nb\n", "sub/b.bin": b"\x00\x01bin\r\n"},
        "metrics.json": {"metrics.json": b'{"acc":1}\n'},
        "model.bin": {"model.bin": CRLF},
        "plots": {"p.csv": b"hi\n"},
        "out.x": {"out.x": b"x\n"},
        "m.q": {"m.q": b"q\n"},
    }


def test_an_output_says_what_people_said_of_it_and_which_stage_made_it(of_dvc_3: Repository) -> None:
    model = of_dvc_3.found()["model.bin"]
    assert (model.type, model.kind, model.experiment) == (ArtifactType.MODEL, "DVC output", "repo")
    assert model.description == "The model"
    assert model.metadata == {
        "dvc": {
            "path": "model.bin",
            "md5": "ef4330228809c42919ada65a11393fd1",
            "stage": "dvc.yaml:train",
            "type": "model",
            "labels": ["a", "b"],
            "meta": {"k": 1},
            "artifact": "mymodel",
        }
    }


def test_the_run_of_a_stage_has_its_parameters_and_metrics(of_dvc_3: Repository) -> None:
    found = of_dvc_3.found()
    run = found["model.bin"].run
    assert run is not None
    assert (run.name, run.parameters, run.metrics) == ("dvc.yaml:train", {"train.lr": 0.1}, {"acc": 1})
    assert found["plots"].run == run
    assert found["crlf.csv"].run is None
    write(of_dvc_3.root / "dvc.lock", DVC_3["dvc.lock"].replace("0.1", "0.2"))
    again = of_dvc_3.found()["model.bin"].run
    assert again is not None
    assert again.id != run.id


def test_an_output_was_made_from_the_outputs_that_its_stage_used(of_dvc_3: Repository) -> None:
    found = of_dvc_3.found()
    assert found["model.bin"].inputs == (found["crlf.csv"].address, found["data"].address)
    assert found["out.x"].inputs == ()


def test_an_output_comes_after_those_it_was_made_from_and_is_not_older(of_dvc_3: Repository) -> None:
    settle(of_dvc_3.cache / "files/md5/3a/7d9eb3d2749348ecbaa67efd00758d.dir")
    names = list(of_dvc_3.found())
    assert names.index("plots") > max(names.index("data"), names.index("crlf.csv"))
    found = of_dvc_3.found()
    assert found["plots"].created_at >= found["data"].created_at > 1_700_000_000


def test_a_repository_of_dvc_2_comes_with_the_bytes_that_its_users_have(repository: Repository, tmp_path: Path) -> None:
    """Its md5 of text leaves carriage returns out, and its objects are at the top of the cache."""
    write(
        repository.root / "sub" / "dvc.yaml",
        """\
stages:
  train:
    wdir: ../data
    cmd: cp ../crlf.csv ../model.bin
    deps: [../crlf.csv]
    outs: [../model.bin]
  w:
    wdir: ..
    cmd: mkdir o && echo hi > o/f
    outs: [o]
""",
    )
    write(
        repository.root / "sub" / "dvc.lock",
        """\
schema: '2.0'
stages:
  train:
    cmd: cp ../crlf.csv ../model.bin
    deps:
    - path: ../crlf.csv
      md5: 344fd2323dd33d5c058b7cf27de029e8
      size: 10
    outs:
    - path: ../model.bin
      md5: 344fd2323dd33d5c058b7cf27de029e8
      size: 10
  w:
    cmd: mkdir o && echo hi > o/f
    outs:
    - path: o
      md5: 3c61d23f54a47e5124272a29b8e23526.dir
      size: 3
      nfiles: 1
""",
    )
    repository.track("crlf.csv", CRLF_OLD, "size: 10", old=True)
    repository.track("data", "ec242604ea8d08e97d5307a0c1c69115.dir", "size: 21", old=True)
    listing = (
        b'[{"md5": "dd8c6a395b5dd36c56d23275028f526c", "relpath": "a.txt"}, '
        b'{"md5": "344fd2323dd33d5c058b7cf27de029e8", "relpath": "crlf.csv"}, '
        b'{"md5": "4f595da0db10165da1fc0f94077682cd", "relpath": "sub/b.bin"}]'
    )
    repository.store(listing, "ec242604ea8d08e97d5307a0c1c69115.dir", old=True)
    repository.store(CRLF, CRLF_OLD, old=True)
    assert repository.store(b"a\nb\n", old=True) == "dd8c6a395b5dd36c56d23275028f526c"
    repository.store(b"\x00\x01bin\r\n", old=True)
    assert repository.store_folder({"f": b"hi\n"}, old=True).startswith("3c61d23f")
    found = repository.found()
    came = {name: fetched(one, tmp_path / name) for name, one in found.items()}
    assert came == {
        "crlf.csv": {"crlf.csv": CRLF},
        "data": {"a.txt": b"a\nb\n", "crlf.csv": CRLF, "sub/b.bin": b"\x00\x01bin\r\n"},
        "model.bin": {"model.bin": CRLF},
        "o": {"f": b"hi\n"},
    }
    assert found["model.bin"].inputs == (found["crlf.csv"].address,)
    assert found["data"].size_bytes == 21


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", b""),
        (b"\0\r\n", b"\0\r\n"),
        (b"\xff" * 3 + b"\r\n" + b"a" * 5, b"\xff" * 3 + b"\n" + b"a" * 5),
        (b"\xff" * 4 + b"\r\n" + b"a" * 5, b"\xff" * 4 + b"\r\n" + b"a" * 5),
        # Some releases looked at each piece of the file alone, others at its beginning.
        (b"a" * 2**20 + b"\0\r\n", b"a" * 2**20 + b"\0\r\n"),
        (b"a" * 2**20 + b"\0\r\n", b"a" * 2**20 + b"\0\n"),
        # Files that DVC 3 moved into the old layout's place, or that never had a carriage return.
        (CRLF, CRLF),
    ],
)
def test_what_is_text_to_dvc_2_is_told_as_it_told_it(
    data: bytes, told: bytes, repository: Repository, tmp_path: Path
) -> None:
    md5 = repository.store(data, md5_of(told), old=True)
    repository.track("file", md5, old=True)
    assert fetched(repository.found()["file"], tmp_path / "1") == {"file": data}


def test_line_ends_count_where_dvc_3_made_the_md5(repository: Repository, tmp_path: Path) -> None:
    repository.track("file", repository.store(CRLF, CRLF_OLD))
    assert "does not have the bytes of its md5" in reason(repository.found()["file"], tmp_path, IntegrityError)


# -- imported


def test_a_repository_is_imported_once_with_its_lineage_and_its_next_state_as_new_versions(
    of_dvc_3: Repository, home: Path
) -> None:
    write(of_dvc_3.root / "out.dvc", json.dumps({"outs": [{"path": "../out", "md5": "a" * 32}]}))
    for outcome in ("copied", "skipped"):
        results = tracelet.import_from("dvc", of_dvc_3.root, to_backend="local", experiment="digits")
        assert Counter(row.outcome for row in results.versions) == {outcome: 7, "failed": 1}
    with tracelet.Experiment("digits", artifacts=True) as exp:
        model = exp.get_artifact("model.bin")
        assert model.inputs == tuple(sorted(exp.get_artifact(name).digest for name in ("crlf.csv", "data")))
        assert model.metadata["run"]["parameters"] == {"train.lr": 0.1}
        assert model.verify().ok
    of_dvc_3.file("crlf.csv", b"x,y\n")
    results = tracelet.import_from("dvc", of_dvc_3.root, to_backend="local", experiment="digits")
    assert [(row.name, row.target) for row in results.versions if row.outcome == "copied"] == [("crlf.csv", "v1")]


# -- what is an artifact, and when it is the same


def test_the_address_is_the_same_until_the_output_changes(repository: Repository) -> None:
    repository.file("a/net.pt", b"one")
    one, two = (repository.found()["a/net.pt"].address for _ in range(2))
    repository.file("a/net.pt", b"two")
    assert one == two == f"{repository.root.as_uri()}/a/net.pt#md5={md5_of(b'one')}"
    assert repository.found()["a/net.pt"].address != one


def test_a_folder_of_a_repository_leads_to_all_of_it(repository: Repository, tmp_path: Path) -> None:
    repository.file("a/net.pt")
    (repository.root / "b").mkdir()
    (tmp_path / "link").symlink_to(repository.root)
    for place in (repository.root / "b", tmp_path / "link"):
        assert [one.name for one in DvcRepository().discover(str(place))] == ["a/net.pt"]


def test_a_dvc_file_may_track_what_is_beside_another_folder(repository: Repository, tmp_path: Path) -> None:
    fact = {"path": "data/net.pt", "md5": repository.store(b"net"), "hash": "md5"}
    write(repository.root / "tracked" / "net.dvc", json.dumps({"wdir": "..", "outs": [fact]}))
    assert fetched(repository.found()["data/net.pt"], tmp_path / "1") == {"net.pt": b"net"}


def test_what_was_not_run_or_is_not_in_the_pipeline_any_more_is_no_output(repository: Repository) -> None:
    write(repository.root / "sub" / "dvc.yaml", "stages: {new: {cmd: x, outs: [new]}}")
    write(repository.root / "dvc.yaml", "stages: {a: {cmd: x, outs: [kept]}, b: broken}")
    lock = {name: {"outs": [{"path": name, "md5": "0" * 32}, {"path": "kept", "md5": "0" * 32}]} for name in "abc"}
    write(repository.root / "dvc.lock", json.dumps({"schema": "2.0", "stages": lock}))
    assert list(repository.found()) == ["kept"]


def test_a_pipeline_of_the_first_format_is_read(repository: Repository) -> None:
    write(repository.root / "dvc.yaml", "stages: {a: {cmd: x, outs: [out]}}")
    write(repository.root / "dvc.lock", json.dumps({"a": {"cmd": "x", "outs": [{"path": "out", "md5": "0" * 32}]}}))
    assert list(repository.found()) == ["out"]


@pytest.mark.parametrize("text", ["", "schema: '2.0'\n"])
def test_an_empty_pipeline_has_no_outputs(text: str, repository: Repository) -> None:
    write(repository.root / "dvc.yaml", "")
    write(repository.root / "dvc.lock", text)
    assert repository.found() == {}


def test_a_repository_inside_and_what_is_in_an_output_are_left_out(repository: Repository) -> None:
    Repository(repository.root / "inner").file("theirs")
    md5 = repository.store_folder({"x.dvc": b"no YAML: ["})
    repository.track("data", md5)
    write(repository.root / "data" / "x.dvc", "no YAML: [")
    for name in (".git", ".tracelet", ".dvc"):
        write(repository.root / name / "x.dvc", "no YAML: [")
    write(repository.root / "notes.txt", "no YAML: [")
    assert list(repository.found()) == ["data"]


def test_an_empty_directory_is_an_artifact_without_files(repository: Repository, tmp_path: Path) -> None:
    repository.track("data", repository.store_folder({}))
    one = repository.found()["data"]
    assert (one.files, one.files_known) == ((), True)
    assert fetched(one, tmp_path / "1") == {}


def test_several_templates_that_could_be_a_path_say_nothing_of_it(repository: Repository) -> None:
    outs = [{"${a}/x.bin": {"desc": "one"}}, {"${b}/${c}.bin": {"desc": "two"}}, {"exact/x.bin": {"desc": "three"}}]
    write(repository.root / "dvc.yaml", json.dumps({"stages": {"s": {"cmd": "x", "outs": outs}}}))
    paths = ("p/x.bin", "p/y.bin", "exact/x.bin", "p/z.txt")
    facts = [{"path": path, "md5": f"{number}" * 32} for number, path in enumerate(paths)]
    write(repository.root / "dvc.lock", json.dumps({"schema": "2.0", "stages": {"s": {"outs": facts}}}))
    said = {name: one.description for name, one in repository.found().items()}
    assert said == {"p/x.bin": None, "p/y.bin": "two", "exact/x.bin": "three"}


def test_templates_take_little_time_whatever_they_are(repository: Repository) -> None:
    outs = ["${a}a" * 200 + "b"]
    write(repository.root / "dvc.yaml", json.dumps({"stages": {"s": {"cmd": "x", "outs": outs}}}))
    facts = [{"path": "a" * 250, "md5": "0" * 32}]
    write(repository.root / "dvc.lock", json.dumps({"schema": "2.0", "stages": {"s": {"outs": facts}}}))
    assert repository.found() == {}


def test_a_file_inside_an_output_counts_as_made_from_that_output(repository: Repository) -> None:
    repository.track("data", repository.store_folder({"in/a.csv": b"a"}))
    repository.file("other", b"o")
    write(repository.root / "dvc.yaml", json.dumps({"stages": {"s": {"cmd": "x", "outs": ["net"]}}}))
    deps = [
        {"path": "data/in/a.csv", "md5": md5_of(b"a")},
        {"path": "other", "md5": md5_of(b"before")},
        {"path": "code.py"},
    ]
    facts = {"deps": deps, "outs": [{"path": "net", "md5": "0" * 32, "hash": "md5"}]}
    write(repository.root / "dvc.lock", json.dumps({"schema": "2.0", "stages": {"s": facts}}))
    found = repository.found()
    assert found["net"].inputs == (found["data"].address,)


# -- types, descriptions and facts


def test_the_type_is_told_by_content_or_by_names_where_people_gave_none_of_ours(repository: Repository) -> None:
    repository.file("a.yaml", b"a: 1\n", "type: something")
    repository.file("b.csv", b"a,b\n")
    repository.track("data", repository.store_folder({"x.png": b"x", "y.png": b"y"}))
    write(repository.root / "a.yaml", "a: 1\n")
    types = {name: one.type for name, one in repository.found().items()}
    assert types == {"a.yaml": ArtifactType.CONFIG, "b.csv": ArtifactType.DATASET, "data": ArtifactType.IMAGE}


def test_what_a_dvc_file_says_at_its_top_is_said_of_its_output(repository: Repository) -> None:
    path = repository.track("a", repository.store(b"a"))
    write(path, path.read_text() + "desc: All of it\nmeta: {1: {2026-01-02: yes}, list: [1]}\n")
    one = repository.found()["a"]
    assert one.description == "All of it"
    assert one.metadata["dvc"]["meta"] == {"1": {"2026-01-02": True}, "list": [1]}


def test_a_description_that_is_no_text_is_none(repository: Repository) -> None:
    repository.file("a", b"a", "desc: [1]")
    assert repository.found()["a"].description is None


def test_what_a_pipeline_says_of_paths_counts_wherever_they_are_tracked(repository: Repository) -> None:
    repository.file("a/net.pt")
    artifacts = {"net": {"path": "../a/net.pt", "desc": "The net"}, "out": {"path": "../../out"}, "broken": 5}
    write(repository.root / "train" / "dvc.yaml", json.dumps({"artifacts": artifacts}))
    one = repository.found()["a/net.pt"]
    assert (one.description, one.metadata["dvc"]["artifact"]) == ("The net", "net")


def test_parameters_of_other_files_say_from_which(repository: Repository) -> None:
    write(repository.root / "dvc.yaml", "stages: {s: {cmd: x, outs: [net]}}")
    params = {"conf/other.yaml": {"lr": 1}, "params.yaml": {"depth": [1, 2], "seed": 2**100}, "broken": 5}
    facts = {"params": params, "outs": [{"path": "net", "md5": "0" * 32}]}
    write(repository.root / "dvc.lock", json.dumps({"schema": "2.0", "stages": {"s": facts}}))
    run = repository.found()["net"].run
    assert run is not None
    assert run.parameters == {"conf/other.yaml:lr": 1, "depth": [1, 2], "seed": str(2**100)}


@pytest.mark.parametrize(
    ("name", "data", "numbers"),
    [
        ("m.json", b'{"a": {"b": 1, "c": 0.5}, "d": "text", "e": true}', {"a.b": 1, "a.c": 0.5}),
        ("m.yaml", b"a: {1: 2}", {"a.1": 2}),
        ("m.json", b"[1, 2]", {}),
        ("m.json", b"7", {"": 7}),
        ("m.json", b"{broken", {}),
        ("m.json", b"[" * 100_000, {}),
        ("m.json", b"\xff", {}),
        ("m.json", b'{"a": 1}' + b" " * 2**20, {}),
        ("m.csv", b"a,1", {}),
    ],
)
@pytest.mark.parametrize("place", ["cache", "working copy", "nowhere", "changed"])
def test_metrics_are_the_numbers_in_files_of_metrics(
    name: str, data: bytes, numbers: dict[str, Any], place: str, repository: Repository
) -> None:
    write(repository.root / "dvc.yaml", json.dumps({"stages": {"s": {"cmd": "x", "metrics": [name]}}}))
    facts = {"outs": [{"path": name, "md5": md5_of(data), "hash": "md5"}]}
    write(repository.root / "dvc.lock", json.dumps({"schema": "2.0", "stages": {"s": facts}}))
    if place == "cache":
        repository.store(data)
    elif place != "nowhere":
        write(repository.root / name, data if place == "working copy" else b'{"other": 1}')
    run = repository.found()[name].run
    assert run is not None
    assert run.metrics == (numbers if place in {"cache", "working copy"} else {})


# -- where bytes come from


def test_bytes_come_from_the_working_copy_where_the_cache_has_none(repository: Repository, tmp_path: Path) -> None:
    """Outputs with `cache: false` are there alone."""
    repository.track("net.pt", md5_of(b"net"), "size: 3")
    write(repository.root / "net.pt", b"net")
    md5 = repository.store_folder({"a": b"a", "b/c": b"c"})
    repository.track("data", md5)
    write(repository.root / "data" / "a", b"a")
    write(repository.root / "data" / "b" / "c", b"c")
    (repository.cache / "files/md5" / md5_of(b"c")[:2] / md5_of(b"c")[2:]).unlink()
    found = repository.found()
    assert fetched(found["net.pt"], tmp_path / "1") == {"net.pt": b"net"}
    assert fetched(found["data"], tmp_path / "2") == {"a": b"a", "b/c": b"c"}
    assert [file.size_bytes for file in found["data"].files] == [1, None]


@pytest.mark.parametrize("old", [False, True])
def test_a_directory_whose_listing_is_gone_is_told_by_the_working_copy(
    old: bool, repository: Repository, tmp_path: Path
) -> None:
    told = {"a.csv": CRLF.replace(b"\r", b"") if old else CRLF, "b/c": b"c"}
    entries = [{"md5": md5_of(told[path]), "relpath": path} for path in sorted(told)]
    repository.track("data", f"{md5_of(json.dumps(entries).encode())}.dir", "size: 11", old=old)
    write(repository.root / "data" / "a.csv", CRLF)
    write(repository.root / "data" / "b" / "c", b"c")
    one = repository.found()["data"]
    assert (one.files_known, one.size_bytes) == (False, 11)
    assert fetched(one, tmp_path / "1") == {"a.csv": CRLF, "b/c": b"c"}
    write(repository.root / "data" / "b" / "c", b"changed")
    assert "which files are in the directory 'data'" in reason(one, tmp_path / "2", ArtifactNotFound)
    (repository.root / "data" / "link").symlink_to(tmp_path)
    assert "which files are in the directory 'data'" in reason(one, tmp_path / "2", ArtifactNotFound)


@pytest.mark.parametrize("name", ["config", "config.local"])
@pytest.mark.parametrize("absolute", [False, True])
def test_a_cache_elsewhere_is_read(name: str, absolute: bool, repository: Repository, tmp_path: Path) -> None:
    place = tmp_path / "cache # 1" if absolute else tmp_path / "caches"
    said = str(place) if absolute else "../../caches"
    value = f'"{said}"' if absolute else f"{said} # a comment"
    write(repository.root / ".dvc" / "config", "[cache]\n    dir = ../nowhere\n")
    write(repository.root / ".dvc" / name, f"# dir = no\n[core]\n    analytics = false\n[cache]\n    dir = {value}\n")
    repository.track("net.pt", repository.store(b"net", folder=place))
    (repository.root / "net.pt").symlink_to(place / "files/md5" / md5_of(b"net")[:2] / md5_of(b"net")[2:])
    assert fetched(repository.found()["net.pt"], tmp_path / "1") == {"net.pt": b"net"}


def test_a_cache_in_the_home_of_nobody_has_nothing(repository: Repository) -> None:
    write(repository.root / ".dvc" / "config", "[cache]\ndir = ~nobody-has-this-name/cache\nno setting\n")
    repository.track("net.pt", md5_of(b"net"))
    assert repository.found()["net.pt"].size_bytes == 0


def test_a_remote_that_is_a_folder_is_read_and_one_elsewhere_is_told(repository: Repository, tmp_path: Path) -> None:
    write(
        repository.root / ".dvc" / "config",
        "[core]\n    remote = loc\n['remote \"loc\"']\n    url = ../../gone\n['remote \"s3\"']\n    url = s3://b/k\n",
    )
    write(repository.root / ".dvc" / "config.local", "['remote \"loc\"']\n    url = ../../remote\n")
    repository.track("here", repository.store(b"here", folder=tmp_path / "remote"))
    repository.track("older", repository.store(b"older", old=True, folder=tmp_path / "remote"))
    repository.track("there", md5_of(b"there"))
    found = repository.found()
    assert fetched(found["here"], tmp_path / "1") == {"here": b"here"}
    assert fetched(found["older"], tmp_path / "2") == {"older": b"older"}
    said = reason(found["there"], tmp_path / "3", ArtifactNotFound)
    assert f"'there' (md5 {md5_of(b'there')}) is not in the cache, and is not so in the working copy" in said
    assert "run 'dvc pull', which brings it from the remote 's3'" in said


def test_a_directory_that_lists_its_files_itself_is_read(repository: Repository, tmp_path: Path) -> None:
    """As DVC writes it for remotes that keep versions."""
    lines = ["files:", f"- {{relpath: a, md5: {repository.store(b'a')}, size: 1}}"]
    repository.track("data", None, *lines)
    one = repository.found()["data"]
    listing = json.dumps([{"md5": md5_of(b"a"), "relpath": "a"}]).encode()
    assert one.metadata["dvc"]["md5"] == f"{md5_of(listing)}.dir"
    assert fetched(one, tmp_path / "1") == {"a": b"a"}


# -- what is missing or damaged


def test_what_is_missing_is_told_file_by_file_and_does_not_stop_the_rest(
    repository: Repository, tmp_path: Path
) -> None:
    files = {f"{number}": b"%d" % number for number in range(8)}
    repository.track("data", repository.store_folder(files))
    repository.file("good", b"good")
    for number in range(1, 8):
        md5 = md5_of(files[f"{number}"])
        (repository.cache / "files/md5" / md5[:2] / md5[2:]).unlink()
    found = repository.found()
    said = reason(found["data"], tmp_path / "1", ArtifactNotFound)
    assert said.startswith("7 files are missing or damaged. 'data/1' (md5 ")
    assert "'data/5'" in said
    assert "'data/6'" not in said
    assert said.endswith("run 'dvc pull' or 'dvc repro'. And 2 more.")
    assert fetched(found["good"], tmp_path / "2") == {"good": b"good"}


def test_a_working_copy_with_other_bytes_is_not_taken_for_the_output(repository: Repository, tmp_path: Path) -> None:
    repository.track("net.pt", md5_of(b"net"))
    write(repository.root / "net.pt", b"new")
    assert "is not so in the working copy" in reason(repository.found()["net.pt"], tmp_path / "1", ArtifactNotFound)
    assert list((tmp_path / "1").iterdir()) == []


def test_damaged_bytes_are_told_unless_they_are_whole_elsewhere(repository: Repository, tmp_path: Path) -> None:
    md5 = repository.file("net.pt", b"net")
    object_ = write(repository.cache / "files/md5" / md5[:2] / md5[2:], b"bad")
    repository.track("data", repository.store_folder({"a": b"a", "b": b"b"}))
    write(repository.cache / "files/md5" / md5_of(b"a")[:2] / md5_of(b"a")[2:], b"bad")
    found = repository.found()
    said = reason(found["net.pt"], tmp_path / "1", IntegrityError)
    assert (
        said == f"{str(object_)!r} does not have the bytes of its md5: delete it, then run 'dvc pull' or 'dvc repro'."
    )
    (repository.cache / "files/md5" / md5_of(b"b")[:2] / md5_of(b"b")[2:]).unlink()
    assert "2 files are missing or damaged" in reason(found["data"], tmp_path / "2", IntegrityError)
    repository.store(b"net", old=True)
    assert fetched(found["net.pt"], tmp_path / "3") == {"net.pt": b"net"}


@pytest.mark.parametrize(
    "listing",
    [
        b"[",
        b"[" * 100_000,
        b'{"a": 1}',
        b"[1]",
        b'[{"relpath": "a", "md5": "../../../secret"}]',
        b'[{"relpath": "../a", "md5": "00000000000000000000000000000000"}]',
        b'[{"md5": "00000000000000000000000000000000"}]',
        b'[{"relpath": "a", "md5": "00000000000000000000000000000000"}, '
        b'{"relpath": "a/b", "md5": "00000000000000000000000000000000"}]',
        None,
    ],
)
def test_a_damaged_listing_of_a_directory_is_told(
    listing: bytes | None, repository: Repository, tmp_path: Path
) -> None:
    md5 = md5_of(listing or b"whole")
    repository.store(listing or b"other", f"{md5}.dir")
    repository.track("data", f"{md5}.dir")
    said = reason(repository.found()["data"], tmp_path / "1", IntegrityError)
    assert f"files/md5/{md5[:2]}/{md5[2:]}.dir' is no listing of a directory" in said
    assert "delete it, then run 'dvc pull' or 'dvc repro'." in said


@pytest.mark.parametrize(
    "text",
    [
        "stages: [",
        "5",
        "- a",
        "stages: 5\nschema: '2.0'",
        "a: !!python/object/apply:os.mkdir [owned]",
        "\x01",
        "a: !!bool x",
    ],
)
def test_a_damaged_lock_is_told_by_its_name(text: str, repository: Repository) -> None:
    repository.file("good")
    write(repository.root / "dvc.yaml", "stages: {}")
    write(repository.root / "dvc.lock", text)
    with pytest.raises(IntegrityError, match=r"dvc\.lock' .*restore it, with git for instance"):
        repository.found()
    assert not Path("owned").exists()


def test_yaml_that_stands_for_itself_or_for_billions_of_values_is_told(repository: Repository) -> None:
    lines = ["a0: &a0 [1, 2]"]
    lines += [f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 9)}]" for number in range(1, 12)]
    for text in ("\n".join(lines), "a: &a [*a]", "x: " + "[" * 100 + "]" * 100, "a: " + "x" * 2**24):
        write(repository.root / "dvc.yaml", text)
        with pytest.raises(IntegrityError, match=r"dvc\.yaml' cannot be read as DVC wrote it"):
            repository.found()


@pytest.mark.parametrize("data", [b"\xff", b"[cache]\ndir = a\0b", b" " * (2**24 + 1)])
def test_a_damaged_configuration_is_told(data: bytes, repository: Repository) -> None:
    write(repository.root / ".dvc" / "config", data)
    with pytest.raises(IntegrityError, match=r"\.dvc/config' cannot be read as DVC's configuration"):
        repository.found()


def test_two_files_that_claim_an_output_are_told(repository: Repository) -> None:
    repository.file("net.pt")
    write(repository.root / "z.dvc", (repository.root / "net.pt.dvc").read_text())
    with pytest.raises(IntegrityError, match=r"'net.pt' is an output of '.*net.pt.dvc' and of '.*z.dvc'"):
        repository.found()


def test_outputs_made_from_each_other_are_told(repository: Repository) -> None:
    write(repository.root / "dvc.yaml", "stages: {s: {cmd: x, outs: [a]}, t: {cmd: x, outs: [b]}}")
    one, two = {"path": "a", "md5": "0" * 32}, {"path": "b", "md5": "1" * 32}
    stages = {"s": {"deps": [two], "outs": [one]}, "t": {"deps": [one], "outs": [two]}}
    write(repository.root / "dvc.lock", json.dumps({"schema": "2.0", "stages": stages}))
    with pytest.raises(IntegrityError, match="has outputs that were made from each other"):
        repository.found()


# -- what cannot be imported, and what is not trusted


@pytest.mark.parametrize("path", ["../out", "/etc/passwd", "s3://bucket/key", "remote://r/key", ".", "a/../../b"])
def test_an_output_outside_the_repository_is_told_by_name(path: str, repository: Repository, tmp_path: Path) -> None:
    write(tmp_path / "out", b"secret")
    write(repository.root / "x.dvc", json.dumps({"outs": [{"path": path, "md5": md5_of(b"secret"), "hash": "md5"}]}))
    repository.file("good", b"good")
    found = repository.found()
    assert f"{path!r} of" in reason(found[path], tmp_path / "1")
    assert "it is outside the repository" in reason(found[path], tmp_path / "1")
    assert found[path].files
    assert found[path].kind == "DVC output that cannot be imported"
    assert fetched(found["good"], tmp_path / "2") == {"good": b"good"}


@pytest.mark.parametrize(
    ("fact", "told"),
    [
        ({"path": "a"}, "it has no md5: run 'dvc repro' or 'dvc commit', then import again"),
        ({"path": "a", "md5": "../../secret"}, "it has no md5"),
        ({"path": "a", "md5": "0" * 32, "hash": "etag"}, "it has no md5"),
        ({"path": "a", "etag": "0" * 32}, "it has no md5"),
        ({"path": "a", "files": [{"relpath": "../b", "md5": "0" * 32}]}, "it is empty or has an empty part"),
        ({"path": "a", "files": 5}, "it lists files without their md5"),
        ({"path": "a\nb", "md5": "0" * 32}, "it has a backslash or a control character"),
        ({"path": "a\0b", "md5": "0" * 32}, "it is outside the repository"),
        ({"path": "sub/tracelet.json", "md5": "0" * 32}, "tracelet.json is the manifest's own name"),
        ({"md5": "0" * 32}, "it is outside the repository"),
    ],
)
def test_an_output_that_cannot_be_imported_is_told_by_name(
    fact: dict[str, Any], told: str, repository: Repository, tmp_path: Path
) -> None:
    write(repository.root / "x.dvc", json.dumps({"outs": [fact]}))
    (one,) = repository.found().values()
    assert told in reason(one, tmp_path / "1")
    assert not one.files_known


def test_a_stage_that_runs_in_a_folder_of_a_template_is_told(repository: Repository, tmp_path: Path) -> None:
    write(repository.root / "dvc.yaml", "stages: {s: {wdir: '${where}', cmd: x, outs: [net]}}")
    facts = {"outs": [{"path": "net", "md5": "0" * 32}]}
    write(repository.root / "dvc.lock", json.dumps({"schema": "2.0", "stages": {"s": facts}}))
    (one,) = repository.found().values()
    assert "its stage 's' runs in '${where}', which only DVC can tell" in reason(one, tmp_path / "1")


@pytest.mark.parametrize("size", [-1, 2**63, "5", None])
def test_a_size_that_is_none_is_left_out(size: Any, repository: Repository) -> None:
    repository.file("a", b"a", f"size: {json.dumps(size)}")
    assert repository.found()["a"].size_bytes == 0


def test_no_link_leads_out_of_the_repository_or_its_cache(repository: Repository, tmp_path: Path) -> None:
    secret = write(tmp_path / "secret", b"secret")
    for name in ("working", "cached"):
        repository.track(name, md5_of(b"secret"))
    (repository.root / "working").symlink_to(secret)
    place = repository.cache / "files/md5" / md5_of(b"secret")[:2] / md5_of(b"secret")[2:]
    place.parent.mkdir(parents=True)
    place.symlink_to(secret)
    found = repository.found()
    for name in ("working", "cached"):
        assert "is not in the cache" in reason(found[name], tmp_path / "1", ArtifactNotFound)
    write(tmp_path / "theirs.dvc", "outs: []")
    (repository.root / "theirs.dvc").symlink_to(tmp_path / "theirs.dvc")
    with pytest.raises(IntegrityError, match="it is a link out of the repository"):
        repository.found()


def test_links_between_the_layouts_of_a_cache_are_followed(repository: Repository, tmp_path: Path) -> None:
    """As `dvc cache migrate` makes them."""
    md5 = repository.store(b"net", old=True)
    (repository.cache / "files/md5" / md5[:2]).mkdir(parents=True)
    (repository.cache / "files/md5" / md5[:2] / md5[2:]).symlink_to(repository.cache / md5[:2] / md5[2:])
    repository.track("net.pt", md5)
    assert fetched(repository.found()["net.pt"], tmp_path / "1") == {"net.pt": b"net"}


def test_what_is_no_regular_file_is_never_waited_for(repository: Repository, tmp_path: Path) -> None:
    repository.track("pipe", md5_of(b"x"))
    os.mkfifo(repository.root / "pipe")
    assert "is not in the cache" in reason(repository.found()["pipe"], tmp_path / "1", ArtifactNotFound)
    os.mkfifo(repository.root / "pipe2.dvc")
    with pytest.raises(IntegrityError, match=r"pipe2\.dvc' cannot be read as DVC wrote it"):
        repository.found()


# -- what is no repository


def test_a_place_that_is_no_repository_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArtifactNotFound, match=r"is in no DVC repository, .*: give one that 'dvc init' was run in"):
        list(DvcRepository().discover(str(tmp_path)))


@pytest.mark.parametrize("place", ["nowhere", "file"])
def test_a_place_that_is_no_folder_is_told(place: str, tmp_path: Path) -> None:
    write(tmp_path / "file")
    with pytest.raises(ArtifactNotFound, match="is no folder that is there: give the folder of a DVC repository"):
        list(DvcRepository().discover(str(tmp_path / place)))


def test_without_a_reader_of_yaml_it_says_what_to_install(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.file("net.pt")
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ConfigError, match=r"YAML needs PyYAML: pip install 'tracelet-core\[yaml\]'"):
        repository.found()
