"""Models of five frameworks: what is stored in one process predicts the same in another, and runs nothing."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from functools import partial
from importlib import import_module

import numpy as np
import pytest

from tracelet import ArtifactType, Experiment
from tracelet.builtin.models import tracelet_serializers
from tracelet.exceptions import ArtifactError, ConfigError, NewerFormat, UnsafeContent

# Before Keras is imported: its models are written with torch here, and read with TensorFlow elsewhere.
os.environ["KERAS_BACKEND"] = "torch"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

# The frameworks warn about themselves and each other.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

SPECS = {spec.name: spec for spec in tracelet_serializers()}

ROWS = np.random.default_rng(7).normal(size=(40, 3)).astype("float32")
TARGET = ROWS.sum(axis=1)
LABELS = np.array(["ash", "elm", "oak"])[np.digitize(TARGET, [-0.7, 0.7])]

READER = """
    import json, os, sys
    from pathlib import Path
    import numpy as np
    {setup}
    from tracelet.builtin.models import tracelet_serializers
    specs = {{spec.name: spec for spec in tracelet_serializers()}}
    rows = np.random.default_rng(7).normal(size=(40, 3)).astype("float32")
    answers = []
    for framework, folder, trust, expression in json.load(sys.stdin):
        model = specs[framework].load(Path(folder), trust)
        answers.append(eval(expression))
    print(json.dumps(answers))
"""

NETS = """
    import functools, os
    from collections import OrderedDict
    from dataclasses import dataclass
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Everything(nn.Module):
        '''Holds one of each kind of thing that modules hold.'''
        class Head(nn.Module):
            def __init__(self):
                super().__init__()
                self.linear = nn.Linear(4, 4, bias=False)
            def forward(self, x):
                return self.linear(x)
        def __init__(self):
            super().__init__()
            self.embed = nn.Linear(3, 4)
            self.head = self.Head()
            self.tied = nn.Linear(4, 4, bias=False)
            self.tied.weight = self.head.linear.weight
            self.frozen = nn.Parameter(torch.randn(4), requires_grad=False)
            self.lstm = nn.LSTM(4, 4, bidirectional=True, batch_first=True)
            self.attention = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)
            self.register_buffer("kept", torch.randn(4))
            self.register_buffer("passing", torch.randn(4), persistent=False)
            self.plain = torch.randn(4, requires_grad=True)
            self.again = [self.plain]
            self.norm = functools.partial(nn.LayerNorm, eps=1e-3)
            self.normalised = self.norm(4)
            self.kind = nn.Linear
            self.act, self.gate = F.gelu, torch.sigmoid
            self.dtype, self.device, self.size = torch.float32, torch.device("cpu"), torch.Size([2, 3])
            self.table = {1: "one", "two": (2.5, None, frozenset({"a", "b"}))}
            self.order = OrderedDict(b=1, a={True})
            self.parent = [(self,)]
            self.drop = nn.Dropout(0.5)
        def forward(self, x):
            x = self.gate(self.tied(self.act(self.head(self.embed(x)))) + self.frozen + self.kept + self.passing)
            x, _ = self.lstm(self.drop(self.normalised(x * self.plain))[:, None])
            return self.attention(x)[:, 0] * self.table[1].count("o")

    @dataclass
    class Config:
        width: int = 4

    class Configured(nn.Module):
        '''Holds an object of a class of its own.'''
        def __init__(self):
            super().__init__()
            self.config = Config()
            self.first = nn.Linear(3, self.config.width)
            self.second = nn.Linear(self.config.width, 3)
            self.bias = torch.ones(3)
        def forward(self, x):
            return self.second(self.first(x)) + self.bias

    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 2)
        def forward(self, x):
            return torch.relu(self.linear(x))

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.third = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)
            self.third.weight = self.second.weight
            self.first.weight.requires_grad_(False)
            self.norm = nn.BatchNorm1d(3)
        def forward(self, x):
            return self.norm(self.third(self.second(self.first(x))))

    class Scaled(Small):
        '''Holds a lambda.'''
        def __init__(self):
            super().__init__()
            self.scale = lambda x: 2 * x

    class Tools:
        @staticmethod
        def double(rows):
            return 2 * rows

    class Cleaning(Small):
        path = ""
        def __del__(self):
            if self.path:
                os.unlink(self.path)
        def __setstate__(self, state):
            super().__setstate__(state)

    def local():
        class Local(Small):
            pass
        return Local()
"""


LIT = """
    import torch
    import {package} as pl

    class Lit(pl.LightningModule):
        def __init__(self, width, shape):
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(3, self.hparams.width)
        def forward(self, x):
            return self.layer(x)
"""


def store(framework, model, folder):
    folder.mkdir(parents=True)
    SPECS[framework].dump(model, folder)
    return folder


def load(framework, folder, *, trust=False):
    return SPECS[framework].load(folder, trust)


def elsewhere(cwd, jobs, *, setup="", path=(), **environ):
    """Load models in a new process that has a working directory of its own, and return what they answer there."""
    cwd.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(READER).format(setup=setup)],
        input=json.dumps([[framework, str(folder), trust, say] for framework, folder, trust, say in jobs]),
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, *sys.path])), **environ},
        text=True,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def same(answers, expected):
    """Compare the numbers of two processes, whose threads may add up in another order."""
    np.testing.assert_allclose(np.array(answers), np.array(expected), rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A directory that holds the module ``nets``."""
    home = tmp_path_factory.mktemp("home")
    (home / "nets.py").write_text(textwrap.dedent(NETS))
    return home


@pytest.fixture(scope="module")
def nets(home):
    """The module ``nets``, imported."""
    sys.path.insert(0, str(home))
    yield import_module("nets")
    sys.path.remove(str(home))
    del sys.modules["nets"]


@pytest.fixture
def torch():
    torch = import_module("torch")
    torch.manual_seed(1)
    return torch


@pytest.fixture
def keras():
    return import_module("keras")


@pytest.fixture
def trap(tmp_path):
    """Something whose pickle creates a file when it is loaded; at the end the file must not be there."""
    mark = tmp_path / "run"

    class Trap:
        def __reduce__(self):
            return os.system, (f"touch {mark}",)

    yield Trap()
    assert not mark.exists()


def dense(keras, *layers):
    return keras.Sequential([keras.layers.Input((3,)), *layers])


def classifier(name, **params):
    linear_model = import_module("sklearn.linear_model")
    return getattr(linear_model, name)(**params)


class TestRecognising:
    def test_importing_the_serializers_imports_no_framework(self, tmp_path):
        code = (
            "import sys; import tracelet.builtin.models as m; [s.matches(3) for s in m.tracelet_serializers()]; "
            "print(sorted({'torch', 'sklearn', 'skops', 'xgboost', 'lightgbm', 'keras', 'tensorflow', 'numpy'} "
            "& set(sys.modules)))"
        )
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        assert subprocess.check_output([sys.executable, "-c", code], cwd=tmp_path, env=env, text=True) == "[]\n"

    def test_each_model_is_recognised_by_exactly_one(self, torch, keras, nets):
        xgboost, lightgbm = import_module("xgboost"), import_module("lightgbm")
        pipeline = import_module("sklearn.pipeline")

        class Both(torch.nn.Module, import_module("sklearn.base").BaseEstimator):
            pass

        class Own(xgboost.XGBClassifier):
            pass

        models = {
            "pytorch": [torch.nn.Linear(1, 1), nets.Small(), torch.jit.trace(nets.Small(), torch.ones(1, 3)), Both()],
            "sklearn": [classifier("Ridge"), pipeline.make_pipeline(lightgbm.LGBMClassifier())],
            "xgboost": [xgboost.XGBClassifier(), xgboost.XGBRFRegressor(), xgboost.Booster(), Own()],
            "lightgbm": [lightgbm.LGBMRanker(), lightgbm.LGBMRegressor()],
            "tensorflow": [dense(keras)],
        }
        for name, examples in models.items():
            for model in examples:
                assert [spec.name for spec in SPECS.values() if spec.matches(model)] == [name], model

    @pytest.mark.parametrize("thing", [{"weight": 1}, [1], "model", object(), None, dict])
    def test_what_is_no_model_is_nobodys(self, thing):
        assert not any(spec.matches(thing) for spec in SPECS.values())

    @pytest.mark.parametrize("framework", SPECS)
    def test_a_dictionary_given_as_a_model_is_refused(self, framework, tmp_path):
        with pytest.raises(TypeError):
            store(framework, {"weight": 1}, tmp_path / "m")

    @pytest.mark.parametrize("framework", SPECS)
    def test_made_up_files_are_no_model(self, framework, tmp_path):
        for name in ("structure.json", "model.ubj", "model.txt", "model.skops", "model.keras"):
            (tmp_path / name).write_bytes(b"{nothing of the kind")
        (tmp_path / "model.json").write_text('{"class": ["os:system"], "version": "1"}')
        with pytest.raises(ArtifactError):
            load(framework, tmp_path)

    @pytest.mark.parametrize("framework", SPECS)
    def test_a_model_that_a_later_release_stores_otherwise_says_to_upgrade(self, framework, tmp_path):
        (tmp_path / "model.json").write_text('{"format": 2}')
        with pytest.raises(NewerFormat, match="upgrade"):
            load(framework, tmp_path, trust=True)

    def test_facts_that_are_no_facts_are_no_model(self, tmp_path):
        (tmp_path / "model.json").write_text("[]")
        with pytest.raises(ArtifactError, match="no facts"):
            load("xgboost", tmp_path)

    @pytest.mark.parametrize("framework", ["xgboost", "lightgbm"])
    def test_a_class_outside_the_table_is_never_looked_up(self, framework, tmp_path):
        (tmp_path / "model.json").write_text('{"class": "os:system", "params": {"command": "false"}}')
        with pytest.raises(ArtifactError, match="os:system"):
            load(framework, tmp_path)

    def test_a_missing_framework_is_named(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "xgboost", None)
        with pytest.raises(ConfigError, match="xgboost"):
            load("xgboost", tmp_path)


class TestTorch:
    @pytest.fixture
    def linear(self, torch, tmp_path):
        """A folder with a stored ``Linear``, to be tampered with."""
        return store("pytorch", torch.nn.Linear(3, 2), tmp_path / "linear")

    def rebuild(self, folder, node):
        (folder / "structure.json").write_text(json.dumps(node))
        return load("pytorch", folder)

    def test_models_predict_the_same_in_another_process(self, torch, nets, home, tmp_path):
        models = {
            "library": torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.BatchNorm1d(8), torch.nn.GELU()),
            "everything": nets.Everything(),
            "configured": nets.Configured(),
            "script": torch.jit.trace(nets.Small(), torch.ones(1, 3)),
        }
        jobs = []
        for name, model in models.items():
            model.eval()
            folder = store("pytorch", model, tmp_path / name)
            jobs.append(("pytorch", folder, name in {"configured", "script"}, "model(torch.tensor(rows)).tolist()"))
        answers = elsewhere(tmp_path / "away", jobs, setup="import torch, nets", path=[home])
        for model, answer in zip(models.values(), answers, strict=True):
            same(answer, model(torch.tensor(ROWS)).tolist())

    def test_weights_are_stored_once_for_anybody_with_torch(self, torch, nets, tmp_path):
        model = nets.Everything()
        folder = store("pytorch", model, tmp_path / "m")
        state = torch.load(folder / "weights.pt", weights_only=True)
        assert state.keys() == model.state_dict().keys()
        nets.Everything().load_state_dict(state)
        assert len(torch.load(folder / "extra.pt", weights_only=True)) == 2

    def test_everything_about_a_module_comes_back(self, torch, nets, tmp_path):
        before = nets.Everything()
        after = load("pytorch", store("pytorch", before, tmp_path / "m"))
        assert type(after) is nets.Everything
        assert after.tied.weight is after.head.linear.weight
        assert isinstance(after.frozen, torch.nn.Parameter)
        assert not after.frozen.requires_grad
        assert after.again[0] is after.plain
        assert after.plain.requires_grad
        assert after.parent[0][0] is after
        assert (after.act, after.gate, after.kind) == (before.act, before.gate, before.kind)
        assert (after.norm.func, after.norm.keywords) == (torch.nn.LayerNorm, {"eps": 1e-3})
        assert (after.dtype, after.device, after.size) == (before.dtype, before.device, before.size)
        assert (after.table, after.order, list(after.order)) == (before.table, before.order, ["b", "a"])
        assert [name for name, _ in after.named_parameters()] == [name for name, _ in before.named_parameters()]

    @pytest.mark.parametrize("training", [True, False])
    def test_the_mode_is_kept(self, torch, tmp_path, training):
        folder = store("pytorch", torch.nn.Dropout().train(training), tmp_path / "m")
        assert load("pytorch", folder).training is training

    def test_the_same_model_gives_the_same_bytes(self, torch, nets, home, tmp_path):
        model = nets.Everything()
        first = store("pytorch", model, tmp_path / "a")
        torch.save(model, tmp_path / "whole.pt")
        code = (
            "import sys, torch; from pathlib import Path; from tracelet.builtin.models import _torch; "
            "_torch.dump(torch.load('whole.pt', weights_only=False), Path('b'))"
        )
        (tmp_path / "b").mkdir()
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(home), *sys.path])}
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=True)
        for path in first.iterdir():
            assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name

    def test_a_class_that_is_not_imported_is_imported_with_trust_only(self, torch, home, tmp_path, monkeypatch):
        (tmp_path / "lately.py").write_text(
            "import torch, pathlib; pathlib.Path(__file__).with_suffix('.imported').touch()\n"
            "class Late(torch.nn.Linear): pass\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        folder = store("pytorch", import_module("lately").Late(3, 2), tmp_path / "m")
        monkeypatch.delitem(sys.modules, "lately")
        (tmp_path / "lately.imported").unlink()
        with pytest.raises(UnsafeContent, match=r"lately.*import it before"):
            load("pytorch", folder)
        assert not (tmp_path / "lately.imported").exists()
        assert type(load("pytorch", folder, trust=True)).__name__ == "Late"
        monkeypatch.delitem(sys.modules, "lately")
        (tmp_path / "lately.py").unlink()
        with pytest.raises(ConfigError, match="lately"):
            load("pytorch", folder, trust=True)

    def test_a_class_of_a_script_is_found_in_the_readers_script(self, torch, tmp_path):
        head = "import sys, torch; from pathlib import Path; from tracelet.builtin.models import _torch\n"
        net = "class Net(torch.nn.Linear): pass\n"
        (tmp_path / "write.py").write_text(head + net + "_torch.dump(Net(3, 2), Path('m'))\n")
        (tmp_path / "read.py").write_text(head + net + "print(type(_torch.load(Path('m'), False)) is Net)\n")
        (tmp_path / "m").mkdir()
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        for script in ("write.py", "read.py"):
            out = subprocess.check_output([sys.executable, script], cwd=tmp_path, env=env, text=True)
        assert out == "True\n"

    def test_a_module_that_holds_other_objects_needs_trust(self, nets, tmp_path):
        folder = store("pytorch", nets.Configured(), tmp_path / "m")
        with pytest.raises(UnsafeContent, match=r"Config .*trust=True"):
            load("pytorch", folder)
        assert load("pytorch", folder, trust=True).config == nets.Config()

    def test_a_class_that_pickles_itself_needs_trust(self, nets, tmp_path):
        folder = store("pytorch", nets.Cleaning(), tmp_path / "m")
        with pytest.raises(UnsafeContent, match="Cleaning is not rebuilt from its attributes alone"):
            load("pytorch", folder)
        assert type(load("pytorch", folder, trust=True)) is nets.Cleaning

    @pytest.mark.parametrize("make", ["Scaled", "local"])
    def test_of_a_module_that_cannot_be_pickled_the_weights_are_kept(self, torch, nets, tmp_path, caplog, make):
        model = getattr(nets, make)()
        folder = store("pytorch", model, tmp_path / "m")
        assert "Only the weights" in caplog.text
        with pytest.raises(ArtifactError, match=r"load_state_dict.*weights\.pt"):
            load("pytorch", folder, trust=True)
        other = nets.Small()
        other.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
        same(other(torch.tensor(ROWS)).tolist(), model(torch.tensor(ROWS)).tolist())

    def test_a_parametrized_module_keeps_its_weights(self, torch, tmp_path):
        model = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(3, 2))
        folder = store("pytorch", model, tmp_path / "m")
        with pytest.raises(ArtifactError, match="parametriz"):
            load("pytorch", folder)
        model.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))

    def test_what_training_puts_around_a_model_is_left_out(self, torch, tmp_path):
        model = torch.nn.Linear(3, 2)
        wrapped = torch.nn.DataParallel(torch.compile(model))
        after = load("pytorch", store("pytorch", wrapped, tmp_path / "m"))
        assert type(after) is torch.nn.Linear
        same(after(torch.tensor(ROWS)).tolist(), model(torch.tensor(ROWS)).tolist())

    @pytest.mark.parametrize("how", ["cpu", "buffers", "disk", "both", "hook", "two hooks", "compiled"])
    def test_what_accelerate_has_offloaded_is_gathered(self, torch, nets, tmp_path, how):
        accelerate, here = import_module("accelerate"), torch.device("cpu")
        model, rows, aside = nets.Tied().eval(), torch.tensor(ROWS), str(tmp_path / "aside")
        want = model(rows).tolist()
        if how == "disk":
            model = accelerate.disk_offload(model, aside, execution_device=here)
        elif how == "both":
            places = {"first": "cpu", "second": "disk", "third": "disk", "norm": "cpu"}
            model = accelerate.dispatch_model(model, places, main_device="cpu", offload_dir=aside, force_hooks=True)
        elif how == "hook":
            model, _ = accelerate.cpu_offload_with_hook(model, execution_device="cpu")
        else:
            model = accelerate.cpu_offload(model, execution_device=here, offload_buffers=how == "buffers")
        if how == "two hooks":
            hooks = import_module("accelerate.hooks")
            hooks.add_hook_to_module(model.second, hooks.ModelHook(), append=True)
        if how == "compiled":
            model = torch.compile(model, backend="eager")
        after = load("pytorch", store("pytorch", model, tmp_path / "m"))
        same(after(rows).tolist(), want)
        # On disk each has a file of its own.
        assert (after.second.weight is after.third.weight) is (how not in {"disk", "both"})
        assert [after.first.weight.requires_grad, after.second.weight.requires_grad] == [False, True]
        if how != "compiled":  # which accelerate's hooks are not made for
            same(model(rows).tolist(), want)

    def test_an_offloaded_module_with_a_forward_of_its_own_keeps_it(self, torch, nets, tmp_path):
        model = nets.Small()
        model.forward = torch.nn.functional.relu
        hooked = import_module("accelerate").cpu_offload(model, execution_device=torch.device("cpu"))
        after = load("pytorch", store("pytorch", hooked, tmp_path / "m"))
        assert after(torch.tensor([-1.0])).tolist() == [0.0]

    def test_what_cannot_be_copied_without_its_hooks_is_told_what_to_do(self, torch, nets, tmp_path):
        model = nets.Small()
        model.lock = threading.Lock()
        hooked = import_module("accelerate").cpu_offload(model, execution_device=torch.device("cpu"))
        with pytest.raises(ValueError, match=r"remove_hook_from_submodules\(model\) first"):
            store("pytorch", hooked, tmp_path / "m")

    @pytest.mark.parametrize(
        ("spoil", "reason"),
        [
            (
                "model.to('meta')",
                "its parameter 'linear.weight' holds no values: it is on the meta device: load the weights",
            ),
            ("setattr(model.linear, 'bias', None) or model.linear.to('meta')", "its parameter 'linear.weight'"),
            ("model.register_buffer('mean', torch.ones(2, device='meta'))", "its buffer 'mean' holds no values"),
            ("model.register_buffer('m', torch.ones(2, device='meta'), persistent=False)", "its buffer 'm'"),
            (
                "setattr(model, 'kept', [torch.ones(2, device='meta')])",
                r"a tensor of shape \(2,\) among its attributes",
            ),
            ("setattr(model, 'more', torch.nn.LazyLinear(2))", "'more.weight' .* lazy .*call it on some data first"),
            ("setattr(model, 'more', torch.nn.LazyBatchNorm1d())", "'more.weight' .*call it on some data first"),
            ("setattr(model, 'more', fake(lambda: torch.nn.Linear(1, 1)))", "'more.weight' .* outside FakeTensorMode"),
            ("model.linear.weight.data.untyped_storage().resize_(0)", "its memory was given back, as FSDP does"),
            ("setattr(model.linear, 'weight', partitioned())", "DeepSpeed has partitioned it: .*GatheredParameters"),
            ("setattr(model, 'script', torch.jit.script(torch.nn.Linear(1, 1, device='meta')))", "'script.weight'"),
        ],
    )
    def test_a_module_without_values_is_refused_by_the_name_of_what_lacks_them(
        self, torch, nets, tmp_path, spoil, reason
    ):
        def fake(build):
            with import_module("torch._subclasses.fake_tensor").FakeTensorMode():
                return build()

        def partitioned():
            made = torch.nn.Parameter(torch.empty(0))
            made.ds_id = 7
            return made

        model = nets.Small()
        eval(spoil, {"model": model, "torch": torch, "fake": fake, "partitioned": partitioned})
        with pytest.raises(ValueError, match=reason):
            store("pytorch", model, tmp_path / "m")

    @pytest.mark.parametrize("kind", ["one", "two"])
    def test_one_processs_share_of_a_module_is_refused(self, torch, tmp_path, kind):
        script = f"""
            import sys, torch, torch.distributed as dist
            from pathlib import Path
            from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
            from tracelet.builtin.models import tracelet_serializers
            dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
            net = torch.nn.Sequential(torch.nn.Linear(2, 2))
            if {kind!r} == "one":
                net = FullyShardedDataParallel(net, device_id=torch.device("cpu"))
            else:
                fully_shard(net)
            spec = {{spec.name: spec for spec in tracelet_serializers()}}["pytorch"]
            try:
                spec.dump(net, Path({str(tmp_path)!r}))
            except ValueError as error:
                print(error)
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=180
        )
        assert "it is one process's share. Gather the whole with " in done.stdout, done.stderr

    def test_a_tensor_that_is_made_of_others_has_values_where_they_have(self, torch, nets, tmp_path):
        pair = import_module("torch.testing._internal.two_tensor").TwoTensor
        model = nets.Small()
        model.kept = torch.nn.Parameter(pair(torch.ones(2), torch.ones(2)))
        assert (store("pytorch", model, tmp_path / "m") / "weights.pt").exists()
        model.kept.a.untyped_storage().resize_(0)
        with pytest.raises(ValueError, match="its parameter 'kept' holds no values: its memory was given back"):
            store("pytorch", model, tmp_path / "emptied")

    def test_a_module_that_has_no_weights_by_design_is_stored(self, torch, tmp_path):
        model = torch.nn.Sequential(torch.nn.ReLU())
        model.none = torch.nn.Parameter(torch.empty(0))
        after = load("pytorch", store("pytorch", model, tmp_path / "m"))
        assert after(torch.tensor([-1.0])).tolist() == [0.0]

    def test_torchscript_needs_trust(self, torch, nets, tmp_path):
        folder = store("pytorch", torch.jit.trace(nets.Small(), torch.ones(1, 3)), tmp_path / "m")
        with pytest.raises(UnsafeContent, match="program"):
            load("pytorch", folder)
        assert load("pytorch", folder, trust=True)(torch.ones(1, 3)).shape == (1, 2)

    def test_a_torch_with_known_holes_needs_trust(self, torch, linear, monkeypatch):
        monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
        with pytest.raises(UnsafeContent, match=r"torch 2\.10 or later"):
            load("pytorch", linear)
        assert load("pytorch", linear, trust=True).in_features == 3

    @pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
    def test_weights_that_would_run_code_are_refused(self, torch, linear, trap, form):
        if form == "pickle":
            (linear / "weights.pt").write_bytes(pickle.dumps(trap, protocol=2))
        else:
            torch.save({"weight": trap}, linear / "weights.pt", _use_new_zipfile_serialization=form == "zip")
        with pytest.raises(UnsafeContent, match=r"weights\.pt"):
            load("pytorch", linear)

    def test_a_pickle_in_place_of_the_structure_is_not_opened(self, linear, trap):
        (linear / "structure.json").unlink()
        (linear / "structure.pkl").write_bytes(pickle.dumps(trap))
        with pytest.raises(UnsafeContent, match="trust=True"):
            load("pytorch", linear)

    def test_trust_runs_what_a_pickle_says(self, linear, tmp_path):
        (linear / "structure.json").unlink()
        (linear / "structure.pkl").write_bytes(pickle.dumps(partial(os.getpid)))
        assert load("pytorch", linear, trust=True)() == os.getpid()

    @pytest.mark.parametrize(
        "path",
        [
            "os:system",
            "os:path.os.system",
            "builtins:eval",
            "builtins:dict",
            "subprocess:Popen",
            "torch.nn.modules.module:Module.forward.__globals__",
            "torch.nn.modules.module:Module.__init__",
            "torch.nn.modules.module:Module.__class__",
            "torch.nn.modules.module:torch.nn.Linear",
            "torch.nn:Linear",
            "torch.nn.modules.module:",
            "__main__:__builtins__.eval",
            "nets:os.system",
            "nets:Config",
            "",
            7,
            ["os:system"],
        ],
    )
    @pytest.mark.parametrize("kind", ["module", "class"])
    def test_only_modules_under_their_own_names_are_found(self, nets, linear, path, kind):
        with pytest.raises((ConfigError, UnsafeContent), match="This model is made of"):
            self.rebuild(linear, {"is": kind, "number": 0, "class": path, "state": {"args": "touch run"}})

    def test_a_class_of_the_script_that_stored_the_model_is_told_where_it_belongs(self, linear):
        with pytest.raises(ConfigError, match="put it into a module that both programs import"):
            self.rebuild(linear, {"is": "module", "number": 0, "class": "__main__:SineNet", "state": {}})

    @pytest.mark.parametrize(
        "path",
        ["torch.jit._script:ScriptModule", "torch.fx.graph_module:GraphModule", "nets:Cleaning"],
    )
    def test_classes_that_run_code_when_they_are_loaded_are_refused(self, nets, linear, path):
        import_module("torch.fx")
        victim = linear / "weights.pt"
        with pytest.raises(UnsafeContent, match="runs code of its own"):
            self.rebuild(linear, {"is": "module", "number": 0, "class": path, "state": {"path": str(victim)}})
        assert victim.exists()

    @pytest.mark.parametrize(
        "node",
        [
            {"is": "function", "name": "os.system"},
            {"is": "function", "name": "torch.load"},
            {"is": "function", "name": "torch.nn.functional.relu.__globals__"},
            {"is": "dtype", "name": "load"},
            {"is": "dtype", "name": "float32.__class__"},
            {"is": "device", "name": "no such device"},
            {"is": "partial", "items": ["os.system", [], {}]},
            {"is": "attributes", "class": "builtins:dict", "number": 0, "items": []},
            {"is": "attributes", "class": "pytorch_lightning.utilities.parsing:AttributeDict.update", "number": 0},
            {"is": "tensor", "at": ["weights", "no such key", True, True]},
            {"is": "tensor", "at": ["weights.__class__", "weight", True, True]},
            {"is": "same", "number": 3},
            {"is": "__class__"},
            {"is": ["list"]},
            {"class": "os:system"},
            [1],
        ],
    )
    def test_a_structure_that_nobody_wrote_is_no_model(self, linear, node):
        with pytest.raises(ArtifactError, match="do not hold a model"):
            self.rebuild(linear, node)

    def test_a_structure_without_end_is_no_model(self, linear):
        (linear / "structure.json").write_text('{"is": "tuple", "items": [' * 100_000)
        with pytest.raises(ArtifactError, match="do not hold a model"):
            load("pytorch", linear)

    def test_attributes_of_a_structure_run_nothing(self, nets, linear, trap):
        spy = {"is": "module", "number": 1, "class": "nets:Small", "state": {"__setstate__": "x", "__init__": "y"}}
        model = self.rebuild(linear, {"is": "dict", "number": 0, "items": [["m", spy]]})["m"]
        assert type(model) is nets.Small
        assert callable(model.__class__.__init__)


class TestLightning:
    @pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
    def test_a_module_with_hyperparameters_comes_back_in_another_process(self, torch, tmp_path, package):
        home = tmp_path / "home"
        home.mkdir()
        (home / "lit.py").write_text(textwrap.dedent(LIT).format(package=package))
        sys.path.insert(0, str(home))
        try:
            model = import_module("lit").Lit(width=5, shape=(1, [2]))
            folder = store("pytorch", model, tmp_path / "m")
            after = load("pytorch", folder)
        finally:
            sys.path.remove(str(home))
            del sys.modules["lit"]
        assert type(after.hparams) is type(model.hparams)
        assert after.hparams == model.hparams == {"width": 5, "shape": (1, [2])}
        assert after.hparams.width == 5
        say = "[model(torch.tensor(rows)).tolist(), model.hparams.width, model.hparams_initial.width]"
        jobs = [("pytorch", folder, trust, say) for trust in (False, True)]
        for setup, job in zip(("import torch, lit", "import torch"), jobs, strict=True):
            answer, *widths = elsewhere(tmp_path / "away", [job], setup=setup, path=[home])[0]
            same(answer, model(torch.tensor(ROWS)).tolist())
            assert widths == [5, 5]


class TestSklearn:
    def test_a_model_is_looked_at_when_it_is_added(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        model = classifier("LogisticRegression").fit(ROWS, LABELS)
        with Experiment("rare", artifacts=True) as exp:
            exp.log_artifact(exp.create_artifact("thing", ArtifactType.MODEL).add_model(model, framework="sklearn"))
            with pytest.raises(ArtifactError, match="no model of sklearn"):
                exp.create_artifact("thing", ArtifactType.MODEL).add_model(object(), framework="sklearn")

    def test_models_predict_the_same_in_another_process(self, tmp_path):
        ensemble, pipeline = import_module("sklearn.ensemble"), import_module("sklearn.pipeline")
        scaler = import_module("sklearn.preprocessing").StandardScaler()
        logistic = pipeline.make_pipeline(scaler, classifier("LogisticRegression")).fit(ROWS, LABELS)
        forest = ensemble.RandomForestClassifier(5, random_state=1).fit(ROWS, LABELS)
        say = "[model.predict(rows).tolist(), model.predict_proba(rows).tolist()]"
        jobs = [
            ("sklearn", store("sklearn", logistic, tmp_path / "logistic"), False, say),
            ("sklearn", store("sklearn", forest, tmp_path / "forest"), True, say),
        ]
        for model, (labels, chances) in zip((logistic, forest), elsewhere(tmp_path / "away", jobs), strict=True):
            assert labels == model.predict(ROWS).tolist()
            same(chances, model.predict_proba(ROWS).tolist())

    def test_an_equal_model_gives_the_same_bytes(self, tmp_path):
        """It is fitted again in another process, at another time, and its objects are elsewhere in memory."""
        code = (
            "import sys, numpy as np; from pathlib import Path; from sklearn.ensemble import RandomForestClassifier; "
            "from sklearn.pipeline import make_pipeline; from sklearn.preprocessing import StandardScaler; "
            "from tracelet.builtin.models import _sklearn; rows = np.random.default_rng(7).normal(size=(40, 3)); "
            "away = [object()] * int(sys.argv[2]); model = make_pipeline(StandardScaler(), "
            "RandomForestClassifier(4, random_state=1)).fit(rows, rows[:, 0] > 0); "
            "Path(sys.argv[1]).mkdir(); _sklearn.dump(model, Path(sys.argv[1]))"
        )
        for name, size in (("a", "10"), ("b", "1000000")):
            env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
            subprocess.run([sys.executable, "-W", "ignore", "-c", code, name, size], cwd=tmp_path, env=env, check=True)
            time.sleep(2.1)  # the step of a zip's clock
        assert {path.name for path in (tmp_path / "a").iterdir()} == {"model.skops", "model.json"}
        for path in (tmp_path / "a").iterdir():
            assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name

    def test_an_estimator_that_is_not_fitted_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="not fitted"):
            store("sklearn", classifier("Ridge"), tmp_path / "m")

    def test_types_that_skops_does_not_know_need_trust(self, home, tmp_path, monkeypatch):
        (tmp_path / "mine.py").write_text(
            "from sklearn.linear_model import Ridge\nclass Mine(Ridge):\n"
            "    def predict(self, X):\n        return super().predict(X) + 1\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        model = import_module("mine").Mine().fit(ROWS, TARGET)
        folder = store("sklearn", model, tmp_path / "m")
        with pytest.raises(UnsafeContent, match=r"mine\.Mine"):
            load("sklearn", folder)
        same(load("sklearn", folder, trust=True).predict(ROWS), model.predict(ROWS))
        monkeypatch.delitem(sys.modules, "mine")
        (tmp_path / "mine.py").unlink()
        with pytest.raises(ConfigError, match="mine"):
            load("sklearn", folder, trust=True)

    def test_a_function_named_in_a_file_is_not_run(self, tmp_path):
        transformer = import_module("sklearn.preprocessing").FunctionTransformer(os.system).fit(ROWS)
        folder = store("sklearn", transformer, tmp_path / "m")
        with pytest.raises(UnsafeContent, match=r"posix\.system"):
            load("sklearn", folder)

    def test_without_skops_a_pickle_is_written_and_needs_trust(self, tmp_path, monkeypatch, caplog):
        monkeypatch.setitem(sys.modules, "skops.io", None)
        model = classifier("Ridge").fit(ROWS, TARGET)
        folder = store("sklearn", model, tmp_path / "m")
        assert "skops is not installed" in caplog.text
        with pytest.raises(UnsafeContent, match="pickle"):
            load("sklearn", folder)
        same(load("sklearn", folder, trust=True).predict(ROWS), model.predict(ROWS))

    def test_a_skops_file_without_skops_says_what_to_install(self, tmp_path, monkeypatch):
        folder = store("sklearn", classifier("Ridge").fit(ROWS, TARGET), tmp_path / "m")
        monkeypatch.setitem(sys.modules, "skops.io", None)
        with pytest.raises(ConfigError, match="skops"):
            load("sklearn", folder, trust=True)

    def test_what_skops_would_lose_is_pickled(self, nets, tmp_path, caplog):
        model = import_module("sklearn.preprocessing").FunctionTransformer(nets.Tools.double).fit(ROWS)
        folder = store("sklearn", model, tmp_path / "m")
        assert "skops cannot store this model" in caplog.text
        assert [path.name for path in sorted(folder.iterdir())] == ["model.json", "model.pkl"]
        same(load("sklearn", folder, trust=True).transform(ROWS), 2 * ROWS)

    def test_what_cannot_be_stored_at_all_is_refused(self, tmp_path):
        model = import_module("sklearn.preprocessing").FunctionTransformer(lambda rows: rows).fit(ROWS)
        with pytest.raises(TypeError, match="cannot be pickled"):
            store("sklearn", model, tmp_path / "m")

    def test_a_pickle_is_not_opened(self, tmp_path, trap):
        folder = store("sklearn", classifier("Ridge").fit(ROWS, TARGET), tmp_path / "m")
        (folder / "model.skops").unlink()
        (folder / "model.pkl").write_bytes(pickle.dumps(trap))
        with pytest.raises(UnsafeContent):
            load("sklearn", folder)

    def test_another_version_is_told(self, tmp_path, caplog):
        folder = store("sklearn", classifier("Ridge").fit(ROWS, TARGET), tmp_path / "m")
        load("sklearn", folder)
        assert not caplog.records
        facts = json.loads((folder / "model.json").read_text())
        (folder / "model.json").write_text(json.dumps({**facts, "version": "0.1"}))
        load("sklearn", folder)
        assert "may predict otherwise" in caplog.text

    def test_an_old_skops_needs_trust(self, tmp_path, monkeypatch):
        folder = store("sklearn", classifier("Ridge").fit(ROWS, TARGET), tmp_path / "m")
        monkeypatch.setattr(import_module("skops"), "__version__", "0.11.0")
        with pytest.raises(UnsafeContent, match=r"skops 0\.13 or later"):
            load("sklearn", folder)


class TestXGBoost:
    def test_models_predict_the_same_in_another_process(self, tmp_path):
        xgboost = import_module("xgboost")
        numbers = np.unique(LABELS, return_inverse=True)[1]
        gaps = np.where(ROWS < -1, -1, ROWS)
        many = xgboost.XGBClassifier(n_estimators=5).fit(ROWS, numbers)
        two = xgboost.XGBRFClassifier(n_estimators=5).fit(ROWS, numbers > 0)
        # Which value stands for a missing one changes predictions and is not in XGBoost's format.
        missing = xgboost.XGBRegressor(n_estimators=5, missing=np.int64(-1)).fit(gaps, TARGET)
        stopped = xgboost.XGBRegressor(n_estimators=50, early_stopping_rounds=1, learning_rate=1.0)
        stopped.fit(ROWS[:20], TARGET[:20], eval_set=[(ROWS[20:], TARGET[20:])], verbose=False)
        ranker = xgboost.XGBRanker(n_estimators=5).fit(ROWS, numbers, qid=np.repeat([0, 1], 20))
        booster = many.get_booster()
        models = {
            "many": (many, "model.predict(rows).tolist() + model.predict_proba(rows).ravel().tolist()"),
            "two": (two, "model.predict(rows).tolist() + model.predict_proba(rows).ravel().tolist()"),
            "missing": (missing, "model.predict(np.where(rows < -1, -1, rows)).tolist()"),
            "stopped": (stopped, "model.predict(rows).tolist()"),
            "ranker": (ranker, "model.predict(rows).tolist()"),
            "booster": (booster, "model.predict(__import__('xgboost').DMatrix(rows)).tolist()"),
        }
        jobs = [
            ("xgboost", store("xgboost", model, tmp_path / name), False, say) for name, (model, say) in models.items()
        ]
        answers = elsewhere(tmp_path / "away", jobs)
        for (model, say), answer in zip(models.values(), answers, strict=True):
            same(answer, eval(say, {"np": np, "rows": ROWS, "model": model}))

    def test_a_wrapper_comes_back_as_itself_with_its_parameters(self, tmp_path, caplog):
        xgboost = import_module("xgboost")
        before = xgboost.XGBRegressor(n_estimators=3, max_depth=2, monotone_constraints=(1, 0, 0)).fit(ROWS, TARGET)
        after = load("xgboost", store("xgboost", before, tmp_path / "m"))
        assert type(after) is xgboost.XGBRegressor
        assert after.get_params()["max_depth"] == 2
        assert "XGBRegressor: monotone_constraints is not stored" in caplog.text

    def test_a_wrapper_that_is_not_fitted_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="fit"):
            store("xgboost", import_module("xgboost").XGBRegressor(), tmp_path / "m")
        with pytest.raises(ValueError, match="the booster has not been trained"):
            store("xgboost", import_module("xgboost").Booster(), tmp_path / "booster")

    def test_a_subclass_is_sent_to_another_serializer(self, tmp_path):
        class Own(import_module("xgboost").XGBRegressor):
            pass

        with pytest.raises(TypeError, match="framework='sklearn'"):
            store("xgboost", Own(n_estimators=2).fit(ROWS, TARGET), tmp_path / "m")


class TestLightGBM:
    def test_models_predict_the_same_in_another_process(self, tmp_path):
        lightgbm = import_module("lightgbm")
        few = {"n_estimators": 5, "min_child_samples": 2, "verbose": -1}
        many = lightgbm.LGBMClassifier(**few).fit(ROWS, LABELS)
        two = lightgbm.LGBMClassifier(**few).fit(ROWS, TARGET > 0)
        stop = lightgbm.early_stopping(3, verbose=False)
        stopped = lightgbm.LGBMRegressor(**{**few, "n_estimators": 60, "learning_rate": 0.9})
        stopped.fit(ROWS[:20], TARGET[:20], eval_set=[(ROWS[20:], TARGET[20:])], callbacks=[stop])
        data = lightgbm.Dataset(ROWS[:20], TARGET[:20])
        booster = lightgbm.train(
            {"min_data_in_leaf": 2, "learning_rate": 0.9, "verbose": -1},
            data,
            valid_sets=[lightgbm.Dataset(ROWS[20:], TARGET[20:], reference=data)],
            callbacks=[stop],
            keep_training_booster=True,
        )
        assert booster.best_iteration < booster.num_trees()
        ranker = lightgbm.LGBMRanker(**few).fit(ROWS, (TARGET > 0).astype(int), group=[20, 20])
        proba = "[model.predict(rows).tolist(), model.predict_proba(rows).tolist(), model.classes_.tolist()]"
        models = {
            "many": (many, proba),
            "two": (two, proba),
            "stopped": (stopped, "[model.predict(rows).tolist(), model.best_iteration_]"),
            "ranker": (ranker, "model.predict(rows).tolist()"),
            "booster": (booster, "[model.predict(rows).tolist(), model.num_trees()]"),
        }
        jobs = [
            ("lightgbm", store("lightgbm", model, tmp_path / name), False, say) for name, (model, say) in models.items()
        ]
        answers = elsewhere(tmp_path / "away", jobs)
        for (model, say), answer in zip(models.values(), answers, strict=True):
            assert answer == eval(say, {"rows": ROWS, "model": model})

    def test_labels_keep_their_type(self, tmp_path):
        lightgbm = import_module("lightgbm")
        for number, labels in enumerate((LABELS, LABELS.astype(object), TARGET > 0, np.digitize(TARGET, [0]) * 7)):
            before = lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(ROWS, labels)
            after = load("lightgbm", store("lightgbm", before, tmp_path / str(number)))
            assert after.predict(ROWS).dtype == before.predict(ROWS).dtype
            assert after.predict(ROWS).tolist() == before.predict(ROWS).tolist()

    def test_labels_without_a_plain_form_are_refused(self, tmp_path):
        labels = np.where(TARGET > 0, np.datetime64("2024-01-01"), np.datetime64("2025-01-01"))
        model = import_module("lightgbm").LGBMClassifier(n_estimators=2, verbose=-1).fit(ROWS, labels)
        with pytest.raises(TypeError, match="class labels of type date"):
            store("lightgbm", model, tmp_path / "m")

    def test_a_wrapper_that_is_not_fitted_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="fit"):
            store("lightgbm", import_module("lightgbm").LGBMRegressor(), tmp_path / "m")

    def test_an_objective_that_is_a_function_is_refused(self, tmp_path):
        def objective(truth, guess):
            return guess - truth, np.ones_like(guess)

        model = import_module("lightgbm").LGBMRegressor(n_estimators=2, min_child_samples=2, objective=objective)
        with pytest.raises(TypeError, match="booster_"):
            store("lightgbm", model.fit(ROWS, TARGET), tmp_path / "m")

    def test_a_subclass_is_sent_to_another_serializer(self, tmp_path):
        class Own(import_module("lightgbm").LGBMRegressor):
            pass

        with pytest.raises(TypeError, match="framework='sklearn'"):
            store("lightgbm", Own(n_estimators=2, verbose=-1).fit(ROWS, TARGET), tmp_path / "m")

    def test_a_lightgbm_that_keeps_its_parts_elsewhere_says_so(self, tmp_path, monkeypatch):
        lightgbm = import_module("lightgbm")
        folder = store(
            "lightgbm", lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(ROWS, LABELS), tmp_path / "m"
        )
        monkeypatch.setattr(lightgbm.LGBMClassifier, "_le", property(), raising=False)
        with pytest.raises(ConfigError, match=r"model\.txt"):
            load("lightgbm", folder)

    def test_a_damaged_booster_is_no_model(self, tmp_path):
        model = import_module("lightgbm").LGBMRegressor(n_estimators=2, verbose=-1).fit(ROWS, TARGET)
        folder = store("lightgbm", model, tmp_path / "m")
        (folder / "model.txt").write_text("tree\n")
        with pytest.raises(ArtifactError, match=r"model\.txt"):
            load("lightgbm", folder)


class TestKeras:
    def test_a_model_predicts_the_same_in_another_process_and_backend(self, keras, tmp_path):
        model = dense(keras, keras.layers.Dense(8, activation="relu"), keras.layers.BatchNormalization())
        model.compile("adam", "mse")
        folder = store("tensorflow", model, tmp_path / "m")
        job = ("tensorflow", folder, False, "model.predict(rows, verbose=0).tolist()")
        expected = model.predict(ROWS, verbose=0).tolist()
        for backend in ("torch", "tensorflow"):
            (answer,) = elsewhere(tmp_path / "away", [job], KERAS_BACKEND=backend)
            np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-5)

    def test_the_same_model_gives_the_same_bytes(self, keras, tmp_path):
        model = dense(keras, keras.layers.Dense(2))
        first = store("tensorflow", model, tmp_path / "a")
        time.sleep(2.1)  # the step of a zip's clock
        second = store("tensorflow", model, tmp_path / "b")
        assert {path.name for path in first.iterdir()} == {"model.keras", "model.json"}
        for path in first.iterdir():
            assert path.read_bytes() == (second / path.name).read_bytes(), path.name

    def test_a_model_that_is_not_built_is_refused(self, keras, tmp_path):
        with pytest.raises(ValueError, match="not built"):
            store("tensorflow", keras.Sequential([keras.layers.Dense(2)]), tmp_path / "m")

    def test_a_layer_of_code_needs_trust(self, keras, tmp_path):
        folder = store("tensorflow", dense(keras, keras.layers.Lambda(lambda x: 2 * x)), tmp_path / "m")
        with pytest.raises(UnsafeContent, match="trust=True"):
            load("tensorflow", folder)
        same(load("tensorflow", folder, trust=True).predict(ROWS, verbose=0), 2 * ROWS)

    def test_classes_that_keras_does_not_know_are_told_when_they_are_stored_and_how_they_load(
        self, keras, tmp_path, caplog
    ):
        class Twice(keras.layers.Layer):
            def call(self, x):
                return 2 * x

        def far(before, after):
            return keras.ops.max(keras.ops.abs(before - after))

        model = dense(keras, Twice())
        model.compile("sgd", loss=far, metrics=[keras.losses.mean_squared_error])
        folder = store("tensorflow", model, tmp_path / "m")
        way = "load within keras.saving.custom_object_scope({'Twice': Twice, 'far': far}), or decorate them"
        (warning,) = [one.getMessage() for one in caplog.records if one.name == "tracelet.models"]
        assert f"Sequential loads only where its own classes and functions are: {way}" in warning
        with pytest.raises(ConfigError) as caught:
            load("tensorflow", folder)
        assert way in str(caught.value)
        keras.saving.register_keras_serializable()(Twice)  # which is too late for what is stored
        with pytest.raises(ConfigError):
            load("tensorflow", folder)
        with keras.saving.custom_object_scope({"Twice": Twice, "far": far}):
            same(load("tensorflow", folder).predict(ROWS, verbose=0), 2 * ROWS)

    def test_a_registered_class_needs_its_import_alone(self, keras, tmp_path, caplog):
        source = (
            "import keras\n"
            "@keras.saving.register_keras_serializable()\n"
            "class Thrice(keras.layers.Layer):\n"
            "    def call(self, x):\n"
            "        return 3 * x\n"
        )
        (tmp_path / "thrice.py").write_text(source)
        sys.path.insert(0, str(tmp_path))
        model = dense(keras, import_module("thrice").Thrice())
        sys.path.remove(str(tmp_path))
        folder = store("tensorflow", model, tmp_path / "m")
        assert "import the module of Custom>Thrice before loading" in caplog.text
        job = ("tensorflow", folder, False, "model.predict(rows, verbose=0).tolist()")
        (answer,) = elsewhere(tmp_path / "away", [job], setup="import thrice", path=[tmp_path], KERAS_BACKEND="torch")
        np.testing.assert_allclose(answer, 3 * ROWS, rtol=1e-4)

    def test_a_model_of_keras_own_parts_is_stored_without_a_word(self, keras, tmp_path, caplog):
        model = dense(keras, keras.layers.Dense(2, activation="relu", kernel_regularizer="l2"))
        model.compile("adam", loss=keras.losses.Huber(), metrics=["accuracy", keras.metrics.mean_squared_error])
        store("tensorflow", model, tmp_path / "m")
        assert [one for one in caplog.records if one.name == "tracelet.models"] == []

    @pytest.mark.parametrize(
        "layer",
        [
            {"class_name": "system", "module": "os", "config": {"command": "false"}},
            {"class_name": "function", "module": "os", "config": "system", "registered_name": "system"},
            {
                "class_name": "get_file",
                "module": "keras.utils",
                "config": {"fname": "x", "origin": "file:///etc/passwd"},
            },
            {"class_name": "__lambda__", "config": {"value": "not even code"}},
        ],
    )
    def test_classes_named_in_a_file_are_not_run(self, keras, tmp_path, layer):
        folder = store("tensorflow", dense(keras, keras.layers.Dense(2)), tmp_path / "m")
        with zipfile.ZipFile(folder / "model.keras") as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        config = json.loads(parts["config.json"])
        config["config"]["layers"][1] = layer
        with zipfile.ZipFile(folder / "model.keras", "w") as archive:
            for name, content in {**parts, "config.json": json.dumps(config)}.items():
                archive.writestr(name, content)
        with pytest.raises((ArtifactError, ConfigError)):
            load("tensorflow", folder)

    def test_a_keras_with_known_holes_needs_trust(self, keras, tmp_path, monkeypatch):
        folder = store("tensorflow", dense(keras, keras.layers.Dense(2)), tmp_path / "m")
        monkeypatch.setattr(keras, "__version__", "3.13.1")
        with pytest.raises(UnsafeContent, match=r"keras 3\.13\.2 or later"):
            load("tensorflow", folder)


class TestTensorFlow:
    @pytest.fixture
    def tensorflow(self):
        return import_module("tensorflow")

    @pytest.fixture
    def scale(self, tensorflow):
        class Scale(tensorflow.Module):
            def __init__(self):
                super().__init__()
                self.factor = tensorflow.Variable(3.0)

            @tensorflow.function
            def __call__(self, x):
                return self.factor * x

        return Scale()

    def test_a_module_predicts_the_same_in_another_process(self, tensorflow, scale, tmp_path):
        expected = scale(tensorflow.constant(ROWS)).numpy()
        assert [spec.name for spec in SPECS.values() if spec.matches(scale)] == ["tensorflow"]
        folder = store("tensorflow", scale, tmp_path / "m")
        job = ("tensorflow", folder, True, "model(rows).numpy().tolist()")
        same(elsewhere(tmp_path / "away", [job])[0], expected)

    def test_a_saved_model_needs_trust_and_can_be_stored_again(self, tensorflow, scale, tmp_path):
        scale(tensorflow.constant(ROWS))
        folder = store("tensorflow", scale, tmp_path / "m")
        with pytest.raises(UnsafeContent, match="program"):
            load("tensorflow", folder)
        again = store("tensorflow", load("tensorflow", folder, trust=True), tmp_path / "again")
        same(load("tensorflow", again, trust=True)(tensorflow.constant(ROWS)).numpy(), 3 * ROWS)

    def test_a_module_that_could_not_predict_is_refused(self, scale, tmp_path):
        with pytest.raises(ValueError, match="call it once"):
            store("tensorflow", scale, tmp_path / "m")
