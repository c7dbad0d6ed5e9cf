"""Run test functions without pytest, which BVLC's interpreter has not.

    python run.py test_api_net.py test_api_blob.py

runs every function ``test_*`` of the files, in the order they are written, each in a process
and an empty folder of its own (BVLC's build ends the process at most mistakes), and prints a
line of JSON for each: ``file``, ``test``, ``outcome`` (passed, failed, skipped or died), the
traceback or reason as ``says``, and ``caffe``, the file of the package that was tested.

The tests are plain functions without arguments, with the standard library, numpy and caffe,
as Python 3.9 and NumPy 1.19 have them. A file may name, in two dicts from a test's name to
the reason, ``ONLY_OURS`` and ``ONLY_BVLC``: tests that are for one build alone.
"""

import importlib
import json
import os
import pathlib
import sys
import tempfile
import traceback


def tests_of(module):
    """The names of the tests, in the order they are written."""
    found = {name: value for name, value in vars(module).items() if name.startswith("test_")}
    return sorted(found, key=lambda name: found[name].__code__.co_firstlineno)


def reason_to_skip(module, name, bvlc):
    """Why the test is not for this build; None if it is."""
    others = "ONLY_OURS" if bvlc else "ONLY_BVLC"
    return getattr(module, others, {}).get(name)


def is_bvlc(caffe):
    """Whether the package is BVLC's, which has a compiled part."""
    return hasattr(caffe, "_caffe")


def run(function):
    """Outcome and words of one test, run in a process of its own in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        words = pathlib.Path(folder) / "says"
        place = pathlib.Path(folder) / "place"
        place.mkdir()
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            os.chdir(str(place))
            try:
                function()
            except BaseException:
                words.write_text(traceback.format_exc())
                os._exit(1)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if status == 0:
            return "passed", ""
        if words.exists():
            return "failed", words.read_text()
        return "died", "the process ended with status %d" % status


def main(files):
    failures = 0
    for path in map(pathlib.Path, files):
        sys.path.insert(0, str(path.resolve().parent))
        module = importlib.import_module(path.stem)
        caffe = sys.modules.get("caffe")
        for name in tests_of(module):
            says = reason_to_skip(module, name, is_bvlc(caffe))
            outcome = "skipped"
            if says is None:
                outcome, says = run(getattr(module, name))
            failures += outcome in ("failed", "died")
            line = {"file": path.name, "test": name, "outcome": outcome, "says": says}
            print(json.dumps(dict(line, caffe=getattr(caffe, "__file__", None))))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
