"""How a command is told of splits: ``--train``, ``--val``, ``--test``, seed, groups and folds."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Optional

from caffetools.cli import ToolError
from caffetools.dataset import splits
from caffetools.dataset.entry import SPLITS


def add_to(parser: argparse.ArgumentParser, required: bool) -> None:
    """The options that :func:`asked` reads; ``required`` if the amounts must be told."""
    add = parser.add_argument
    for split in SPLITS:
        add(f"--{split}", required=required, metavar="N|FRACTION|rest")
    add("--seed", type=int, default=0)
    add("--ignore-splits", action="store_true", help="divide what is told to be divided already")
    add("--group", metavar="PATTERN", help="what images of one group have in common in their paths")
    add("--folds", type=int, default=0, metavar="K", help="divide into K parts; one is the test")
    add("--fold", type=int, default=0, metavar="I", help="which one, from 0")


def asked(options: argparse.Namespace, usual: Optional[Sequence[str]] = None) -> splits.Asked:
    """What ``options`` ask for, or the ``usual`` amounts where they tell none.

    Raises :class:`ToolError` where they contradict each other.
    """
    told = [getattr(options, name) for name in SPLITS]
    if None in told:
        if any(told) or usual is None:
            raise ToolError("--train, --val, --test: expected all three, or none")
        told = list(usual)
    shares = [splits.parse_share(f"--{name}", one) for name, one in zip(SPLITS, told)]
    if shares.count(None) > 1:
        raise ToolError("--train, --val, --test: expected 'rest' for one of them at most")
    if options.folds and not (options.folds >= 2 and 0 <= options.fold < options.folds):
        raise ToolError(
            f"--folds {options.folds} --fold {options.fold}: expected at least 2 folds, and one of "
            f"them, from 0 to {options.folds - 1}"
        )
    return splits.Asked(shares, options.seed, options.folds, options.fold)
