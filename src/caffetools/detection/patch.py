"""Turn a detector's published prototxts into those of one training.

Writes to ``--output`` train.prototxt, test.prototxt and solver.prototxt: for the classes of
``--classes``, with the images of ``--roidb``, and the settings, a JSON object of

=========  =====================================================================
scale      the shorter side of an image, in pixels, as the net sees it
max_size   the longer side at most
mean       what is subtracted, one value a channel, BGR
mirror     whether each image comes mirrored once as well
new_heads  whether the two heads have new names, under which they take no weights
suffix     what is put behind these names
solver     object of fields of SolverParameter; null removes one
=========  =====================================================================
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import yaml

from caffetools import prototxt
from caffetools.cli import ToolError, run
from caffetools.detection.class_names import read_classes
from caffetools.detection.nets.classes import heads, set_classes
from caffetools.detection.training import image_layers
from caffetools.solver import patch_solver
from caffetools.suggest import did_you_mean

_DATA = ("scale", "max_size", "mean", "mirror")
_KINDS: dict[str, Any] = {
    **dict.fromkeys(_DATA[:2], int),
    "mean": list,
    "mirror": bool,
    "new_heads": bool,
    "suffix": str,
    "solver": dict,
}


def read_settings(text: str) -> dict[str, Any]:
    """The settings in a JSON object. Raises :class:`ToolError` for another key or kind."""
    try:
        given = json.loads(text)
    except ValueError as error:
        raise ToolError(f"--settings: expected a JSON object: {error}") from error
    if not isinstance(given, dict):
        raise ToolError(f"--settings: expected a JSON object, found {given!r}")
    for key, value in given.items():
        if key not in _KINDS:
            raise ToolError(f"--settings: {key!r} is no setting{did_you_mean(key, _KINDS)}")
        if type(value) is not _KINDS[key]:
            raise ToolError(f"--settings: {key}: expected {_KINDS[key].__name__}, found {value!r}")
    return given


def with_images(net: Any, roidb: Path, root: str, settings: Mapping[str, Any]) -> Any:
    """The train net with these images; ``root`` stands before each path.

    Raises :class:`ToolError` where it has no RoIDataLayer, or more than one.
    """
    patched = prototxt.copy_net(net)
    layers = image_layers(patched)
    if len(layers) != 1:
        raise ToolError(
            f"net {net.name!r}: expected one Python layer RoIDataLayer of roi_data_layer.layer, "
            f"found {len(layers)}; give a train prototxt as py-faster-rcnn has"
        )
    parameter = layers[0].python_param
    told = yaml.safe_load(parameter.param_str) or {}
    told.update(source=str(roidb), root=root)
    told.update({key: settings[key] for key in _DATA if key in settings})
    parameter.param_str = json.dumps(told)
    return patched


def with_new_heads(net: Any, suffix: str) -> Any:
    """The net with its two heads named anew; their tops keep their names."""
    patched = prototxt.copy_net(net)
    names = {layer.name for layer in heads(net)}
    for layer in patched.layer:
        if layer.name in names:
            layer.name += suffix
    return patched


def main(arguments: Sequence[str]) -> Optional[int]:
    """``python -m caffetools.detection.patch``"""
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.detection.patch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--train", type=Path, required=True, help="train.prototxt")
    parser.add_argument("--test", type=Path, required=True, help="test.prototxt")
    parser.add_argument("--solver", type=Path, required=True, help="solver.prototxt")
    parser.add_argument("--classes", type=Path, required=True, help="classes.txt")
    parser.add_argument("--roidb", type=Path, required=True, help="what to learn from")
    parser.add_argument("--root", type=Path, required=True, help="folder of the images")
    parser.add_argument("--settings", default="{}", help="JSON object")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    options = parser.parse_args(arguments)
    settings = read_settings(options.settings)
    classes = len(read_classes(options.classes)) + 1
    train, test = (
        set_classes(prototxt.read_net(path), classes) for path in (options.train, options.test)
    )
    train = with_images(train, options.roidb, f"{options.root}/", settings)
    if settings.get("new_heads"):
        suffix = settings.get("suffix") or "_new"
        train, test = (with_new_heads(net, suffix) for net in (train, test))
    net_file = options.output / "train.prototxt"
    solver = patch_solver(
        prototxt.read_solver(options.solver),
        # As py-faster-rcnn's, a test net has no images and is for detecting alone.
        {**settings.get("solver", {}), "test_iter": None, "test_interval": None},
        Path(os.path.relpath(net_file)).as_posix(),
    )
    prototxt.write(net_file, train)
    prototxt.write(options.output / "test.prototxt", test)
    prototxt.write(options.output / "solver.prototxt", solver)
    return None


if __name__ == "__main__":
    run(main)
