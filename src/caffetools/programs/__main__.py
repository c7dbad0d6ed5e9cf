"""``python -m caffetools.programs NAME ...``, where the programs are not installed."""

import importlib
import pkgutil
import sys

import caffetools.programs

NAMES = sorted(
    module.name
    for module in pkgutil.iter_modules(caffetools.programs.__path__)
    if module.name not in ("__main__", "program")
)

if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
    sys.exit(f"python -m caffetools.programs {'|'.join(NAMES)} ...")
importlib.import_module(f"caffetools.programs.{sys.argv.pop(1)}").main()
