"""Detectors that see what a test shows them: `show(detection)`."""

import time

from tracelet.exceptions import ConfigError
from tracelet.plugin import DetectorSpec, hookimpl

listeners = []
contexts = []


def show(detection):
    for emit in tuple(listeners):
        emit(detection)


class Hand:
    def __init__(self, context):
        contexts.append(context)

    def start(self, emit):
        self.emit = emit
        listeners.append(emit)

    def stop(self):
        if getattr(self, "emit", None) in listeners:
            listeners.remove(self.emit)


class Refusing(Hand):
    def start(self, emit):
        raise ConfigError("there is nothing to hold: give it a hand.")


class Clumsy(Hand):
    def start(self, emit):
        raise RuntimeError("no hands")

    def stop(self):
        raise RuntimeError("no hands either")


class Stuck(Hand):
    def stop(self):
        super().stop()
        time.sleep(60)


kind = Hand


@hookimpl
def tracelet_detectors():
    return [DetectorSpec(name="hand", create=lambda settings, context: kind(context))]
