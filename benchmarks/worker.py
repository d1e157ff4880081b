"""The process of one way to do a job: ``python worker.py module:function '{"argument": 1}'``.

It prepares, says so, then reads what to do from stdin, as JSON: a number, and the job's arguments. Each time it does the job once,
and writes the seconds that it took.
"""

from __future__ import annotations

import importlib
import json
import os
import sys


def main() -> None:
    # What libraries print is not an answer.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        module, _, function = sys.argv[1].partition(":")
        with getattr(importlib.import_module(module), function)(**json.loads(sys.argv[2])) as step:
            answers.write("null\n")
            answers.flush()
            for line in sys.stdin:
                answers.write(json.dumps(step(**json.loads(line))) + "\n")
                answers.flush()


if __name__ == "__main__":
    main()
