"""A framework whose models are one number, and are stored as such: what is done with models does not depend on them."""

import json

import attrs

from tracelet.plugin import SerializerSpec, hookimpl


@attrs.frozen
class Line:
    """A model."""

    slope: float

    def predict(self, x):
        return self.slope * x


def _dump(model, folder):
    (folder / "line.json").write_text(json.dumps(model.slope))


def _load(folder, trust):
    slope = json.loads((folder / "line.json").read_text())
    if slope == "broken":
        raise ZeroDivisionError("there is no such slope")
    return Line(slope)


@hookimpl
def tracelet_serializers():
    def matches(model):
        return isinstance(model, Line)

    return [SerializerSpec(name="toys", dump=_dump, load=_load, safe=True, matches=matches)]
