"""What users' programs do while they are killed, in processes of their own."""

#: Logs and submits artifacts by turns, three names, large files among them; notes what it was told, line by line.
WRITER = """
import json, os, sys
from pathlib import Path
from tracelet import ArtifactType, Experiment

first, count = int(sys.argv[1]), int(sys.argv[2])
diary = os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def note(**what):
    os.write(diary, (json.dumps(what) + "\\n").encode())

with Experiment("kills", artifacts=True) as exp:
    for n in range(first, first + count):
        Path("it").write_bytes(f"{n:08d}".encode() * (20_000 if n % 5 == 0 else 500))
        artifact = exp.create_artifact(f"name{n % 3}", ArtifactType.CUSTOM).add_file("it")
        artifact.metadata["n"] = n
        if n % 2:
            results = exp.log_artifact(artifact)
            note(n=n, stored={name: one.version for name, one in results.items()}, queued=sorted(results.queued))
            assert not results.failed, results
        else:
            exp.submit_artifact(artifact)
            note(n=n, stored={}, queued=["submitted"])
"""

#: Submits artifacts and dies at once, so that they wait.
LEAVER = """
import os, sys
from pathlib import Path
from tracelet import ArtifactType, Experiment

first, count = int(sys.argv[1]), int(sys.argv[2])
exp = Experiment("kills", artifacts=True).start()
for n in range(first, first + count):
    Path("it").write_bytes(f"{n:08d}".encode() * (20_000 if n % 5 == 0 else 500))
    artifact = exp.create_artifact(f"name{n % 3}", ArtifactType.CUSTOM).add_file("it")
    artifact.metadata["n"] = n
    exp.submit_artifact(artifact)
    os.write(1, f"{n}\\n".encode())
os.kill(os.getpid(), 9)
"""

#: Reads everything back, from every backend; prints what is there as JSON.
READER = """
import json, sys
from pathlib import Path
from tracelet import Experiment

there = []
for backend in sys.argv[1:]:
    for artifact in Experiment("kills", backend=backend, artifacts=True).list_artifacts():
        n = artifact.metadata["n"]
        folder = artifact.download(Path("got") / backend / f"{artifact.name}-{artifact.version}")
        whole = (folder / "it").read_bytes() == f"{n:08d}".encode() * (20_000 if n % 5 == 0 else 500)
        there.append({"backend": backend, "name": artifact.name, "version": artifact.version, "n": n, "whole": whole})
print(json.dumps(there))
"""

#: Logs in one experiment until it has logged so many; prints what it measured on the way as JSON.
SOAKER = """
import gc, json, os, sys, threading, time
from pathlib import Path
from tracelet import ArtifactType, Experiment

count, steps = int(sys.argv[1]), int(sys.argv[2])

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def measured(exp):
    assert exp.flush(600) == 0
    gc.collect()
    return {"resident": resident(), "threads": threading.active_count(), "files": len(os.listdir("/proc/self/fd"))}

told, began = [], time.monotonic()
with Experiment("soak", artifacts=True) as exp:
    for n in range(count):
        Path("it").write_text(str(n))
        artifact = exp.create_artifact(f"name{n % 50}", ArtifactType.CUSTOM).add_file("it")
        if n % 2:
            exp.log_artifact(artifact).raise_for_errors()
        else:
            exp.submit_artifact(artifact)
        if (n + 1) % (count // steps) == 0:
            told.append(measured(exp))
took = time.monotonic() - began
have = len(exp.list_artifacts())
print(json.dumps({"steps": told, "seconds": took, "have": have}))
"""

#: Logs one artifact, says so, waits for a word, logs three more under whatever has come meanwhile, and stops; tells how long calls took.
PATIENT = """
import json, os, sys, time
from pathlib import Path
from tracelet import ArtifactType, Experiment

def log(n):
    Path("it").write_bytes(f"{n:08d}".encode() * 500)
    artifact = exp.create_artifact(f"name{n % 3}", ArtifactType.CUSTOM).add_file("it")
    artifact.metadata["n"] = n
    began = time.monotonic()
    results = exp.log_artifact(artifact)
    took.append(time.monotonic() - began)
    assert not results.failed, results
    return sorted(results)

took = []
exp = Experiment("kills", artifacts=True).start()
told = [log(1)]
print("ready", flush=True)
sys.stdin.readline()
told += [log(n) for n in (2, 3, 4)]
began = time.monotonic()
exp.stop()
print(json.dumps({"told": told, "calls": took, "stop": time.monotonic() - began}))
"""

#: Logs on a disk that becomes full, makes room, goes on, and reads everything back.
CRAMPED = """
import json, os, sys
from pathlib import Path
from tracelet import ArtifactType, Experiment

disk = Path(sys.argv[1])
ballast = disk / "ballast"
ballast.write_bytes(bytes(4_000_000))
content = {}
exp = Experiment("cramped", artifacts=True).start()
stored, queued, failed = set(), set(), set()

def log(n):
    content[n] = os.urandom(150_000)
    Path(f"{n}.bin").write_bytes(content[n])
    artifact = exp.create_artifact(f"n{n}", ArtifactType.CUSTOM).add_file(f"{n}.bin", "it")
    results = exp.log_artifact(artifact)
    (stored if results.ok else queued if results.queued else failed).add(n)

n = 0
while len(failed) + len(queued) < 3:
    n += 1
    log(n)
ballast.unlink()
left = exp.flush(120)
for n in range(n + 1, n + 4):
    log(n)
exp.stop()
there = {artifact.name for artifact in Experiment("cramped", artifacts=True).list_artifacts()}
whole = [n for n in content if f"n{n}" in there and (Experiment("cramped", artifacts=True).get_artifact(f"n{n}").download() / "it").read_bytes() == content[n]]
print(json.dumps({"stored": sorted(stored), "queued": sorted(queued), "failed": sorted(failed), "there": len(there), "whole": whole, "left": left}))
"""

#: Damages one of Tracelet's own files at a time, and does all that reads them; tells of what is no error of Tracelet's.
BREAKER = """
import json, os, random, shutil, sys, time
from pathlib import Path
from tracelet import ArtifactType, Experiment, TraceletError
from tracelet.core.plugins.registry import registry
from tracelet.core.maintenance.gc import collect
from tracelet.core.maintenance.sync import sync
from tracelet.core.maintenance.doctor import check_up
from tracelet.settings import TraceletSettings

times, chance, whole = int(sys.argv[1]), random.Random(1), Path(sys.argv[2])
directory = Path(os.environ["TRACELET_DIR"])
files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file() and path.stat().st_size)
words = [b"9" * 5000, b"1e400", b"-1", b"null", b"[" * 3000, b"{}", b"../../x", b"/etc/passwd", b"\\xff", b"NaN", b'"', b"true"]

def damaged(data):
    at = chance.randrange(len(data))
    kind = chance.randrange(4)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]
    if kind == 2:
        return data[:at] + chance.choice(words) + data[at + 1 :]
    end = chance.randrange(at, len(data))
    return data[:at] + chance.choice(words) + data[end:]

def look():
    exp = Experiment("kills", artifacts=True)
    for artifact in exp.list_artifacts():
        try:
            artifact.download(Path("got") / f"{artifact.name}-{artifact.version}")
        except TraceletError:
            pass
    for name in ("name0", "name1", "name2"):
        try:
            exp.get_artifact(name)
        except TraceletError:
            pass

settings = TraceletSettings(dir=directory)
deeds = {
    "look": look,
    "doctor": lambda: check_up(directory, settings, registry()),
    "sync": lambda: sync(directory, settings, registry(), lambda step: None),
    "gc": lambda: collect(directory, settings, registry(), time.time() - 3600),
}
wrong, longest = [], 0.0
for _ in range(times):
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(whole, directory, symlinks=True)
    target = directory / chance.choice(files)
    os.chmod(target, 0o600)
    data = damaged(target.read_bytes())
    target.unlink()
    target.write_bytes(data)
    for name, deed in deeds.items():
        shutil.rmtree("got", ignore_errors=True)
        began = time.process_time()
        try:
            deed()
        except TraceletError:
            pass
        except Exception as error:
            wrong.append([name, str(target.relative_to(directory)), repr(error), repr(data[:200])])
        longest = max(longest, time.process_time() - began)
print(json.dumps({"files": len(files), "wrong": wrong, "longest": longest}))
"""
