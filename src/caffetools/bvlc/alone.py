"""Starts a module of caffetools in an interpreter that is to see nothing else of this checkout.

``python3 .../caffetools/bvlc/alone.py caffetools.train`` is ``python3 -m caffetools.train``. Were
the checkout's ``src`` in the path of BVLC's interpreter, Recaffe's own ``caffe`` would answer in
its place. This is run as a file, and imports nothing of ours before it has found the package.
"""

import importlib.util
import runpy
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent


def main() -> None:
    """Show the package to this interpreter, and run the module that the first argument names."""
    # Where this file lies, Python looks for modules first, and finds a `build`.
    sys.path = [place for place in sys.path if Path(place).resolve() != _HERE]
    package_folder = _HERE.parent
    spec = importlib.util.spec_from_file_location(
        "caffetools",
        package_folder / "__init__.py",
        submodule_search_locations=[str(package_folder)],
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["caffetools"] = package
    spec.loader.exec_module(package)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
