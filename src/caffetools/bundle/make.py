"""Make a bundle of a trained net, if it passes the parity test.

A bundle is a folder with ``deploy.prototxt``, ``weights.caffemodel``, ``labels.txt``,
``preprocessing.json`` (how an image file becomes the net's input), ``mean.binaryproto`` where the
net subtracts an image, ``model.onnx`` where all of its layers have a form in ONNX,
``parity.json``, ``provenance.json`` and ``SHA256SUMS``.

The parity test sends test images, evenly spaced in the LMDB and so over its classes, through
the TEST net over the LMDB and, from the bundle's files, through ``caffe.Classifier``, OpenCV's
importer and onnxruntime. Where they differ the command says so and leaves no bundle, not even
an older one; what goes in is checked before that one is touched.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np

from caffetools import databases, prototxt, scoring
from caffetools.bundle import contents, parity, preprocessing, readers
from caffetools.bundle.preprocessing import Preprocessing
from caffetools.bundle.provenance import provenance
from caffetools.cli import ToolError, run
from caffetools.datums import encoded_datum_bytes, pixels_of
from caffetools.encoded_images import encode
from caffetools.evaluate import class_names
from caffetools.files import whole_directory, write_json
from caffetools.folders import lies_inside, refuse_foreign
from caffetools.onnx_export import check, export
from caffetools.onnx_export.graph import NotExportedError

LOG = logging.getLogger("caffetools.bundle")

IMAGES = 64
_KEY_PREFIX = len("00000000_")


def make(options: argparse.Namespace) -> None:
    """The command."""
    _check_inputs(options)
    settings, manifest = _json(options.settings), _manifest(options.lmdb)
    net = prototxt.read_net(options.net)
    data_layer = scoring.data_layer_on(prototxt.phase_view(net, prototxt.TEST), options.lmdb)
    steps = preprocessing.of_net(data_layer, manifest)
    records = databases.some_records(options.lmdb, options.count)
    names, images = _originals(records, options.images, steps, manifest["encode"])
    refuse_foreign(options.output, contents.FILES.__contains__)
    _refuse_own_inputs(options, data_layer)
    origin = provenance(_inputs(options), settings, manifest, options.solver, options.evaluation)
    prototxt.read_net(options.deploy)
    reference = readers.by_test_net(options.net, options.weights, records)
    labels = class_names(options.classes, reference.shape[1])
    # All that goes in is sound, so from here on an older bundle is outdated.
    if options.output.exists():
        shutil.rmtree(str(options.output))
    with whole_directory(options.output) as folder:
        _copy(folder, options, data_layer, steps)
        answers, on_random_inputs = _answers(folder, options, labels, images)
        found = parity.judge(reference, answers, names, labels)
        if on_random_inputs is not None:
            told = found["readers"]["onnxruntime"]
            told["largest_difference_on_random_inputs"] = on_random_inputs
        write_json(folder / contents.PARITY, found)
        write_json(folder / contents.PROVENANCE, origin)
        contents.write_sums(folder)
    LOG.info("%s: %s", options.output, _summary(found))


# --- what goes in -----------------------------------------------------------------------


def _check_inputs(options: argparse.Namespace) -> None:
    # BVLC's build ends the process where a file is missing, so they are looked for here.
    files = (
        "net",
        "deploy",
        "weights",
        "classes",
        "solver",
        "manifest",
        "pretrained",
        "evaluation",
    )
    for name in files:
        path = getattr(options, name)
        if path is not None and not path.is_file():
            raise ToolError(f"--{name}: expected a file {path}, found none; make it first")
    if not options.images.is_dir():
        raise ToolError(f"--images {options.images}: no such folder; give the dataset's source")
    if options.count < 1:
        raise ToolError(f"--count: expected at least one image, found {options.count}")


def _json(text: str) -> dict[str, Any]:
    try:
        given = json.loads(text)
    except ValueError as error:
        raise ToolError(f"--settings: expected a JSON object ({error})") from error
    if not isinstance(given, dict):
        raise ToolError(f"--settings: expected a JSON object, found {given!r}")
    return given


def _manifest(lmdb: Path) -> dict[str, Any]:
    path = lmdb.with_name(f"{lmdb.name}.json")
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        told = {name: given[name] for name in ("channels", "height", "width", "entries", "sha256")}
        # One that was written before there was a choice has none of these.
        return {**told, "fit": given.get("fit"), "encode": given.get("encode")}
    except (FileNotFoundError, KeyError, TypeError, ValueError) as error:
        raise ToolError(
            f"{path}: expected the manifest of the LMDB ({error!r}); convert the images with "
            "caffetools.lmdb"
        ) from error


def _originals(
    records: Sequence[tuple[bytes, bytes]],
    root: Path,
    steps: Preprocessing,
    encoding: Optional[str],
) -> tuple[list[str], list[np.ndarray]]:
    """Names and pixels of the records' image files; the pixels must be those of the records.

    Of records in JPEG the pixels are those that it leaves.
    """
    names, images = [], []
    for key, value in records:
        name = key[_KEY_PREFIX:].decode("utf-8", "backslashreplace")
        path = root / name
        image = steps.fitted(path) if lies_inside(path, root) and path.is_file() else None
        if image is None:
            raise ToolError(
                f"{path}: expected the image that the LMDB has as {key!r}, found none that can be "
                "read; give the folder that the LMDB was made of as --images"
            )
        try:
            stored = pixels_of(value)
        except ValueError as error:
            raise ToolError(f"the LMDB's record {key!r}: {error}") from error
        if encoding is not None:
            image = pixels_of(encoded_datum_bytes(encode(image, encoding), 0)).transpose(1, 2, 0)
        if not np.array_equal(stored, image.transpose(2, 0, 1)):
            raise ToolError(
                f"{path}: read and fitted to {steps.width}x{steps.height} it is not what the LMDB "
                f"has as {key!r}; the file was changed, or the LMDB was made in another way: "
                "convert the images again"
            )
        names.append(name)
        images.append(steps.window(image))
    return names, images


def _refuse_own_inputs(options: argparse.Namespace, data_layer: Any) -> None:
    """The folder is replaced, so nothing that goes in may lie there."""
    mean = data_layer.transform_param.mean_file
    for path in [*_inputs(options).values(), *([Path(mean)] if mean else [])]:
        if lies_inside(path, options.output):
            raise ToolError(
                f"--output {options.output}: it will be replaced, and {path} lies in it; name "
                "another folder, or copy that file out of it first"
            )


def _inputs(options: argparse.Namespace) -> dict[str, Path]:
    named = {
        "train_val": options.net,
        "deploy": options.deploy,
        "weights": options.weights,
        "classes": options.classes,
        "solver": options.solver,
        "dataset_manifest": options.manifest,
        "pretrained_weights": options.pretrained,
        "evaluation": options.evaluation,
    }
    return {name: path for name, path in named.items() if path is not None}


# --- what comes out ---------------------------------------------------------------------


def _copy(folder: Path, options: argparse.Namespace, data_layer: Any, steps: Preprocessing) -> None:
    shutil.copyfile(str(options.deploy), str(folder / contents.DEPLOY))
    shutil.copyfile(str(options.weights), str(folder / contents.WEIGHTS))
    shutil.copyfile(str(options.classes), str(folder / contents.LABELS))
    if steps.mean_image is not None:
        mean_file = data_layer.transform_param.mean_file
        shutil.copyfile(mean_file, str(folder / contents.MEAN))
    preprocessing.write(folder, steps)


def _answers(
    folder: Path,
    options: argparse.Namespace,
    labels: Sequence[str],
    images: Sequence[np.ndarray],
) -> tuple[dict[str, parity.Answer], Optional[float]]:
    """What the readers make of the bundle's own files, as a user has them, and :func:`_onnx`'s.

    ``model.onnx`` is written if it could be run.
    """
    bundled = preprocessing.read(folder)
    inputs = np.stack([bundled.net_input(image) for image in images])
    on_random_inputs, onnx_answer = _onnx(folder, labels, bundled, inputs)
    answers: dict[str, parity.Answer] = {
        "caffe.Classifier": readers.by_classifier(folder, bundled, images),
        "OpenCV": "the configuration says not to"
        if options.without_opencv
        else _answer(lambda: readers.by_opencv(folder, inputs)),
        "onnxruntime": onnx_answer,
    }
    return answers, on_random_inputs


def _answer(ask: Callable[[], np.ndarray]) -> parity.Answer:
    try:
        return ask()
    except readers.NotCheckedError as reason:
        return str(reason)


def _onnx(
    folder: Path, labels: Sequence[str], steps: Preprocessing, inputs: np.ndarray
) -> tuple[Optional[float], parity.Answer]:
    """Write ``model.onnx``: how far it is from Caffe on random inputs, and its probabilities.

    Where a layer has no form in ONNX, or the model cannot be run, there is no such file, and
    the reason instead of the probabilities.
    """
    message = prototxt.read_net(folder / contents.DEPLOY)
    net = scoring.load(message, folder / contents.WEIGHTS)
    metadata = {
        "labels": json.dumps(labels, ensure_ascii=False),
        "preprocessing": json.dumps(steps.as_json(), sort_keys=True),
    }
    try:
        model = export.export(net, message, metadata)
        apart = check.compare_on_random_inputs(net, model)
    except (NotExportedError, check.NotRunError) as error:
        return None, str(error)
    export.write(model, folder / contents.ONNX)
    return float(f"{apart:.3g}"), readers.by_onnxruntime(model, inputs)


def _summary(found: dict[str, Any]) -> str:
    told = [
        f"{name} not checked: {reader['not_checked']}"
        if "not_checked" in reader
        else f"{name} within {reader['largest_difference']:.2g}"
        for name, reader in found["readers"].items()
    ]
    return f"{found['images']} images alike; " + "; ".join(told)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m caffetools.bundle.make",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--net", type=Path, required=True, help="train_val.prototxt")
    add("--deploy", type=Path, required=True, help="deploy.prototxt")
    add("--weights", type=Path, required=True, help=".caffemodel")
    add("--classes", type=Path, required=True, help="classes.txt")
    add("--lmdb", type=Path, required=True, help="LMDB of test images, with its manifest beside")
    add("--images", type=Path, required=True, help="the folder that the LMDB was made of")
    add("--count", type=int, default=IMAGES, help=f"images for the parity test (default: {IMAGES})")
    add("--without-opencv", action="store_true", help="do not ask OpenCV's importer")
    add("--solver", type=Path, help="solver.prototxt, for the provenance, as what follows")
    add("--settings", default="{}", help="the experiment's configuration as a JSON object")
    add("--manifest", type=Path, help="manifest.csv of the data set")
    add("--pretrained", type=Path, help="the weights that training started from")
    add("--evaluation", type=Path, help="evaluation.json")
    add("--output", type=Path, required=True, help="folder to write")
    return parser


def main(arguments: Sequence[str]) -> Optional[int]:
    """``python -m caffetools.bundle.make``"""
    make(_parser().parse_args(arguments))
    return None


if __name__ == "__main__":
    run(main)
