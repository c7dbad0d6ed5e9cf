"""Turn a published net and solver into those of one fine-tuning experiment.

``python -m caffetools.patch --net train_val.prototxt --solver solver.prototxt
--settings SETTINGS --output DIR`` writes into DIR: train_val.prototxt, solver.prototxt,
deploy.prototxt and patch.json (each field that was changed, before and after). SETTINGS
is a JSON object, or @ and the name of a file with one; :mod:`caffetools.settings` lists
its keys.

The functions take a NetParameter and return a new one.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Optional

from caffetools import batch_norm, files, prototxt
from caffetools.batches import batch_size, images_an_iteration, in_iterations, iter_size
from caffetools.changes import field_changes, net_changes
from caffetools.classes import read_names
from caffetools.cli import ToolError, run
from caffetools.data_layers import (
    point_data,
    require_fitting_means,
    set_augmentation,
    set_crop,
    set_mean,
    set_mean_values,
    set_shuffle,
)
from caffetools.deploy import to_deploy
from caffetools.dropout import set_ratios
from caffetools.freezing import freeze, to_freeze
from caffetools.heads import boost, replace_heads
from caffetools.multipliers import set_multipliers
from caffetools.prototxt import TEST, TRAIN
from caffetools.settings import Settings, new_heads, of_head, parse_shape, read_settings
from caffetools.solver import patch_solver


def patch_net(net: Any, settings: Settings) -> Any:
    """The net with all that ``settings`` (checked ones) say of it applied."""
    heads = new_heads(settings)
    patched = batch_norm.still(net)
    if settings.get("batch_norm") == "freeze" and not batch_norm.names(net):
        raise ToolError("batch_norm: the net has no layer of type BatchNorm; leave it out")
    freezing = {
        "patterns": settings.get("freeze", ()),
        "heads": heads,
        "up_to": settings.get("freeze_up_to"),
        "statistics": settings.get("batch_norm", "follow"),
    }
    patched = freeze(patched, **freezing)
    frozen = to_freeze(net, **freezing)
    for field in ("lr_mult", "decay_mult"):
        patched = set_multipliers(patched, field, settings.get(field, {}), heads, frozen)
    if heads:
        patched = replace_heads(patched, heads, settings["classes"])
    for head, new_head in heads.items():
        patched = boost(
            patched,
            new_head,
            of_head(settings, "head_lr_mult", head),
            of_head(settings, "head_bias_lr_mult", head),
        )
    sizes = settings.get("batch_size", {})
    for phase, key in ((TRAIN, "train"), (TEST, "val")):
        patched = point_data(patched, phase, settings.get(f"{key}_source"), sizes.get(key))
    patched = set_crop(patched, settings.get("crop_size"), settings.get("mirror"))
    patched = set_shuffle(patched, settings.get("shuffle"))
    patched = set_augmentation(patched, settings.get("augmentation"))
    if "mean_file" in settings:
        patched = set_mean(patched, settings["mean_file"])
    if "mean_value" in settings:
        patched = set_mean_values(patched, settings["mean_value"])
    if "input_shape" in settings:
        require_fitting_means(patched, settings["input_shape"][0])
    return set_ratios(patched, settings.get("dropout", {}))


def solver_fields(net: Any, settings: Settings) -> Settings:
    """What ``settings`` say of the solver, with what follows from the batches."""
    fields = settings.get("solver", {})
    in_epochs = [name for name, value in fields.items() if isinstance(value, dict)]
    if in_epochs:
        raise ToolError(
            f"solver.{in_epochs[0]} is {fields[in_epochs[0]]!r}; how many images an epoch has "
            "is told by the folder of the data set's results, --data"
        )
    batches = iter_size(net, settings)
    return fields if batches is None else {**fields, "iter_size": batches}


# --- the command ----------------------------------------------------------------------


def changed(
    net: Any, patched_net: Any, solver: Any, patched_solver: Any, settings: Settings
) -> list[dict[str, Any]]:
    """The rows of patch.json: file, layer and phase (None for the solver), field, values."""
    of_net = [
        {"file": "train_val.prototxt", **row}
        for row in net_changes(net, patched_net, new_heads(settings))
    ]
    of_solver = [
        {"file": "solver.prototxt", "layer": None, "phase": None, **row}
        for row in field_changes(solver, patched_solver)
    ]
    return of_net + of_solver


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="caffetools.patch",
        description="Turn a published net and solver into those of one experiment.",
    )
    parser.add_argument("--net", type=Path, required=True, help="the train_val.prototxt")
    parser.add_argument("--solver", type=Path, required=True, help="its solver.prototxt")
    parser.add_argument("--settings", required=True, metavar="JSON|@FILE", help="what to change")
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")
    parser.add_argument(
        "--net-path",
        help="the patched net's path as the solver names it, relative to the folder that "
        "Caffe runs in (default: where it is written, seen from the current folder)",
    )
    parser.add_argument(
        "--input-shape",
        metavar="C,H,W",
        help="the size of an image in the LMDBs (default: input_shape of the settings)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        help="folder of the data set's results: what the settings leave out of classes, "
        "input_shape, test_iter and epochs follows from dataset/classes.txt and lmdb/*.json",
    )
    return parser.parse_args(arguments)


def _completed(options: argparse.Namespace, net: Any, solver: Any, settings: Settings) -> Settings:
    if options.input_shape is not None:
        settings["input_shape"] = parse_shape(options.input_shape)
    if options.data is not None:
        settings = with_data(settings, net, solver, options.data)
    return settings


def with_data(settings: Settings, net: Any, solver: Any, data: Path) -> Settings:
    """``settings``, completed by what the data set in the folder ``data`` tells.

    ``classes`` is the number of its classes, ``input_shape`` the size of its images, and
    ``test_iter`` as many batches as hold the ``val`` LMDB once. What the solver counts in
    epochs becomes iterations.
    """
    completed = dict(settings)
    if "head" in settings and "classes" not in settings:
        completed["classes"] = len(read_names(data / "dataset" / "classes.txt"))
    if "input_shape" not in settings:
        train = data / "lmdb" / "train.json"
        completed["input_shape"] = [_told(train, key) for key in ("channels", "height", "width")]
    fields = dict(settings.get("solver", {}))
    if "test_iter" not in fields and solver.test_iter:
        entries = _told(data / "lmdb" / "val.json", "entries")
        fields["test_iter"] = math.ceil(entries / batch_size(net, TEST, settings))
    entries = _told(data / "lmdb" / "train.json", "entries")
    images = images_an_iteration(net, solver, settings)
    completed["solver"] = in_iterations(fields, entries, images)
    return completed


def _told(path: Path, key: str) -> int:
    """A number of an LMDB's manifest."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        value = told[key]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ToolError(
            f"{path}: expected an LMDB's manifest with {key} in it, found none ({error}); make the "
            "LMDB again by caffetools.lmdb"
        ) from error
    if type(value) is not int or value < 1:
        raise ToolError(
            f"{path}: expected {key} to be a whole number from 1 on, found {value!r}; make the "
            "LMDB again by caffetools.lmdb"
        )
    return value


def main(arguments: Sequence[str]) -> Optional[int]:
    options = _options(arguments)
    net = prototxt.read_net(options.net)
    solver = prototxt.read_solver(options.solver)
    settings = read_settings(options.settings, complete=partial(_completed, options, net, solver))
    if "input_shape" not in settings:
        raise ToolError("the deploy net needs the images' size: --input-shape or input_shape")
    net_file = options.output / "train_val.prototxt"
    net_path = options.net_path or Path(os.path.relpath(net_file)).as_posix()

    patched_net = patch_net(net, settings)
    patched_solver = patch_solver(solver, solver_fields(net, settings), net_path)
    deploy = to_deploy(patched_net, settings["input_shape"])

    prototxt.write(net_file, patched_net)
    prototxt.write(options.output / "solver.prototxt", patched_solver)
    prototxt.write(options.output / "deploy.prototxt", deploy)
    rows = changed(net, patched_net, solver, patched_solver, settings)
    files.write_json(options.output / "patch.json", rows)
    return None


if __name__ == "__main__":
    run(main)
