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
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, Optional

from caffetools import files, prototxt
from caffetools.changes import field_changes, net_changes
from caffetools.cli import ToolError, run
from caffetools.data_layers import point_data, set_mean
from caffetools.deploy import to_deploy
from caffetools.prototxt import HEAD_PARAMETERS, TEST, TRAIN, copy_net
from caffetools.settings import Settings, parse_shape, read_settings
from caffetools.solver import patch_solver


def patch_net(net: Any, settings: Settings) -> Any:
    """The net with all that ``settings`` (checked ones) say of it applied."""
    patched = net
    head = settings.get("new_head")
    if head is not None:
        patched = replace_head(patched, settings["head"], head, settings["classes"])
        patched = boost(
            patched, head, settings.get("head_lr_mult"), settings.get("head_bias_lr_mult")
        )
    patched = freeze(patched, settings.get("freeze", ()), head)
    sizes = settings.get("batch_size", {})
    for phase, key in ((TRAIN, "train"), (TEST, "val")):
        patched = point_data(patched, phase, settings.get(f"{key}_source"), sizes.get(key))
    if "mean_file" in settings:
        patched = set_mean(patched, settings["mean_file"])
    return patched


# --- the head -------------------------------------------------------------------------


def replace_head(net: Any, head: str, new_head: str, classes: int) -> Any:
    """The net with the layer ``head`` renamed to ``new_head`` and giving ``classes`` scores.

    Under its new name the layer takes no weights from a caffemodel and starts from its
    fillers. A top named like the layer is renamed with it, wherever it is read. A head
    that is to keep its name must keep its number of outputs as well.
    """
    _require_head(net, head)
    _refuse_shared_blobs(net, head)
    _require_new_name(net, head, new_head, classes)
    patched = copy_net(net)
    for layer in prototxt.layers_named(patched, head):
        layer.name = new_head
        getattr(layer, HEAD_PARAMETERS[layer.type]).num_output = classes
    if any(head in layer.top for layer in prototxt.layers_named(net, head)):
        _rename_blob(patched, head, new_head)
    return patched


def boost(
    net: Any, head: str, lr_mult: Optional[float], bias_lr_mult: Optional[float] = None
) -> Any:
    """The net with other lr_mults for the weight and the bias of the layer ``head``.

    None leaves a multiplier as it is, but for a bias without its own, which gets twice
    the weight's, as in Caffe's models. The decay_mults stay.
    """
    if bias_lr_mult is None and lr_mult is not None:
        bias_lr_mult = 2 * lr_mult
    patched = copy_net(net)
    for layer in prototxt.layers_named(patched, head):
        if lr_mult is not None or bias_lr_mult is not None:
            _complete_params(layer)
        for spec, multiplier in zip(layer.param, (lr_mult, bias_lr_mult)):
            if multiplier is not None:
                spec.lr_mult = multiplier
    return patched


def _require_head(net: Any, head: str) -> None:
    reason = prototxt.why_not_head(net, head)
    if reason:
        candidates = ", ".join(prototxt.heads(net)) or "none of its layers"
        raise ToolError(
            f"layer {head!r} cannot be the head: {reason}. What can be in this net: {candidates}"
        )


def _refuse_shared_blobs(net: Any, head: str) -> None:
    for name, layers in _shared_blobs(net).items():
        if head in layers and len(layers) > 1:
            raise ToolError(
                f"layer {head!r} shares its blob {name!r} (param {{ name }}) with "
                f"{', '.join(sorted(layers - {head}))}, which a new head would change as "
                "well; give the head a param of its own"
            )


def _require_new_name(net: Any, head: str, new_head: str, classes: int) -> None:
    if new_head == head:
        layer = prototxt.layers_named(net, head)[0]
        outputs = getattr(layer, HEAD_PARAMETERS[layer.type]).num_output
        if outputs != classes:
            raise ToolError(
                f"the new head has the name of the old one, {head!r}, but {classes} outputs "
                f"instead of {outputs}: weights would be sought by that name and not fit. "
                f"Name it otherwise, such as {head}_{classes}"
            )
        return
    for kind, names in (
        ("layer", [layer.name for layer in net.layer]),
        ("blob", prototxt.blob_names(net)),
    ):
        if new_head in names:
            raise ToolError(
                f"the new head's name {new_head!r} is that of a {kind} of the net; "
                f"choose one that is not in it, such as {head}_new"
            )


def _rename_blob(net: Any, old: str, new: str) -> None:
    for layer in net.layer:
        for blobs in (layer.bottom, layer.top):
            for place, blob in enumerate(blobs):
                if blob == old:
                    blobs[place] = new


# --- multipliers ----------------------------------------------------------------------


def freeze(net: Any, patterns: Iterable[str], head: Optional[str] = None) -> Any:
    """The net with lr_mult and decay_mult 0 for every blob of the layers that match.

    A pattern is a layer's name or has ``*``, ``?`` and ``[...]`` as file names do; it is
    held against the layers that learn, without ``head``, so that ``*`` freezes all but
    the new head. BatchNorm's statistics go on following the data, whatever lr_mult says.
    """
    frozen = _matching(net, list(patterns), head)
    for name, layers in _shared_blobs(net).items():
        learning = layers - frozen
        if learning and learning != layers:
            raise ToolError(
                f"blob {name!r} is shared by {', '.join(sorted(layers))}; a frozen layer "
                f"cannot share it with one that learns: freeze {', '.join(sorted(learning))} too"
            )
    patched = copy_net(net)
    for layer in patched.layer:
        if layer.name in frozen:
            _complete_params(layer)
            for spec in layer.param:
                spec.lr_mult = 0
                spec.decay_mult = 0
    if frozen and not any(map(_learns, patched.layer)):
        raise ToolError(
            "with these layers frozen no layer of the net learns; leave one of them out of "
            f"freeze: {', '.join(sorted(frozen))}"
        )
    return patched


def _matching(net: Any, patterns: Sequence[str], head: Optional[str]) -> set[str]:
    learnable = [
        layer.name for layer in net.layer if prototxt.learnable_blobs(layer) and layer.name != head
    ]
    matching: set[str] = set()
    for pattern in patterns:
        # A name may hold a glob's characters, so it counts as a name first.
        named = [pattern] if pattern in learnable else []
        matched = named or [name for name in learnable if fnmatchcase(name, pattern)]
        if not matched:
            raise ToolError(
                f"freeze: {pattern!r} {_why_not_frozen(net, pattern, head)}. "
                f"What can be frozen: {', '.join(dict.fromkeys(learnable))}"
            )
        matching.update(matched)
    return matching


def _why_not_frozen(net: Any, pattern: str, head: Optional[str]) -> str:
    if pattern == head:
        return "is the new head, which has everything to learn"
    if any(layer.name == pattern for layer in net.layer):
        return "is a layer without anything to learn"
    return "matches no layer that learns"


def _learns(layer: Any) -> bool:
    """Whether a blob of the layer has an lr_mult other than 0; where none is written it is 1."""
    if layer.type == "BatchNorm":
        return False
    unwritten = prototxt.learnable_blobs(layer) - len(layer.param)
    return unwritten > 0 or any(spec.lr_mult != 0 for spec in layer.param)


def _complete_params(layer: Any) -> None:
    """Give each learnable blob of the layer its ``param`` entry."""
    while len(layer.param) < prototxt.learnable_blobs(layer):
        layer.param.add()


def _shared_blobs(net: Any) -> dict[str, set[str]]:
    """The names given to learnable blobs, each with the layers that use it."""
    shared: dict[str, set[str]] = {}
    for layer in net.layer:
        for spec in layer.param:
            if spec.name:
                shared.setdefault(spec.name, set()).add(layer.name)
    return shared


# --- the command ----------------------------------------------------------------------


def changed(
    net: Any, patched_net: Any, solver: Any, patched_solver: Any, settings: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The rows of patch.json: file, layer and phase (None for the solver), field, values."""
    renamed = {settings["head"]: settings["new_head"]} if "head" in settings else {}
    of_net = [
        {"file": "train_val.prototxt", **row} for row in net_changes(net, patched_net, renamed)
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
        "input_shape and test_iter follows from dataset/classes.txt and lmdb/*.json in it",
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
    ``test_iter`` as many batches as hold the ``val`` LMDB once.
    """
    completed = dict(settings)
    if "head" in settings and "classes" not in settings:
        names = (data / "dataset" / "classes.txt").read_text(encoding="utf-8").splitlines()
        completed["classes"] = len(names)
    if "input_shape" not in settings:
        train = _manifest(data / "lmdb" / "train.json")
        completed["input_shape"] = [train[key] for key in ("channels", "height", "width")]
    fields = dict(settings.get("solver", {}))
    if "test_iter" not in fields and solver.test_iter:
        batch = settings.get("batch_size", {}).get("val") or _test_batch_size(net)
        entries = _manifest(data / "lmdb" / "val.json")["entries"]
        fields["test_iter"] = math.ceil(entries / batch)
    completed["solver"] = fields
    return completed


def _manifest(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _test_batch_size(net: Any) -> int:
    layers = prototxt.phase_view(net, prototxt.TEST)
    sizes = [layer.data_param.batch_size for layer in layers if layer.type == "Data"]
    return max([size for size in sizes if size] or [1])


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
    patched_solver = patch_solver(solver, settings.get("solver", {}), net_path)
    deploy = to_deploy(patched_net, settings["input_shape"])

    prototxt.write(net_file, patched_net)
    prototxt.write(options.output / "solver.prototxt", patched_solver)
    prototxt.write(options.output / "deploy.prototxt", deploy)
    rows = changed(net, patched_net, solver, patched_solver, settings)
    files.write_json(options.output / "patch.json", rows)
    return None


if __name__ == "__main__":
    run(main)
