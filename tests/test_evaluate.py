"""caffetools.evaluate on a linear net, whose scores NumPy can compute too."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import bvlc as bvlc_build
import lmdb
import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from caffe.proto import caffe_pb2
from caffetools import evaluate, prototxt, scoring
from caffetools.cli import ToolError

ENTRIES, CLASSES, PIXELS = 23, 3, 4  # 23 is no multiple of the batch, so the last one is cut
NAMES = ["ant", "<bee> & co", "cat, small"]
FILES = (
    "evaluation.json", "per_class.csv", "confusion.csv", "calibration.csv", "predictions.csv",
)  # fmt: skip
NET = """
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  data_param { source: "nowhere" batch_size: 4 backend: LEVELDB } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  transform_param { scale: 0.00390625 }
  data_param { source: "nowhere" batch_size: 10 rand_skip: 7 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 3 } }
"""
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }\n'
ACCURACY = """
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy"
  include { phase: TEST } }
"""
OVER_SOFTMAX = """
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
layer { name: "accuracy" type: "Accuracy" bottom: "prob" bottom: "label" top: "accuracy" }
"""


class Example:
    """Images, labels and weights, and the files that hold them."""

    def __init__(self, folder: Path) -> None:
        random = np.random.default_rng(5)
        self.folder = folder
        self.labels = random.integers(0, CLASSES, ENTRIES)
        self.images = random.integers(0, 256, (ENTRIES, PIXELS), dtype=np.uint8)
        self.weights = random.normal(size=(CLASSES, PIXELS)).astype(np.float32)
        self.bias = random.normal(size=CLASSES).astype(np.float32)
        self.scores = self.images / 256.0 @ self.weights.T + self.bias
        self._write()

    def _write(self) -> None:
        (self.folder / "train_val.prototxt").write_text(NET + LOSS + ACCURACY)
        (self.folder / "classes.txt").write_text("".join(f"{name}\n" for name in NAMES))
        (self.folder / "net.caffemodel").write_bytes(self.model("ip"))
        (self.folder / "lmdb").mkdir()
        self._write_lmdb(self.folder / "lmdb" / "test")
        (self.folder / "lmdb" / "test.json").write_text(json.dumps({"entries": ENTRIES}))

    def _write_lmdb(self, path: Path) -> None:
        environment = lmdb.open(str(path), map_size=1 << 20)
        with environment, environment.begin(write=True) as transaction:
            for index, (image, label) in enumerate(zip(self.images, self.labels, strict=True)):
                datum = caffe_pb2.Datum(
                    channels=1, height=2, width=2, data=image.tobytes(), label=label
                )
                transaction.put(b"%08d" % index, datum.SerializeToString())

    def model(self, layer: str) -> bytes:
        net = caffe_pb2.NetParameter()
        written = net.layer.add(name=layer, type="InnerProduct")
        for values in (self.weights, self.bias):
            blob = written.blobs.add(data=values.ravel().tolist())
            blob.shape.dim.extend(values.shape)
        return bytes(net.SerializeToString())


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    return Example(tmp_path_factory.mktemp("evaluate"))


ARGUMENTS = ["--net", "train_val.prototxt", "--weights", "net.caffemodel", "--lmdb", "lmdb/test"]
Results = dict[str, bytes]
Evaluate = Callable[..., Results]


@pytest.fixture
def ours(example: Example, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Evaluate:
    """Evaluates with our own runtime; returns the files written."""

    def run(*more: str, net: str = "") -> Results:
        monkeypatch.chdir(example.folder)
        if net:
            (tmp_path / "other.prototxt").write_text(net)
            more += ("--net", str(tmp_path / "other.prototxt"))
        evaluate.main([*ARGUMENTS, "--output-dir", str(tmp_path), *more])
        return {name: (tmp_path / name).read_bytes() for name in FILES}

    return run


def check(results: Results, example: Example) -> None:
    """Every figure against NumPy's scores and scikit-learn's judgement of them."""
    predicted = example.scores.argmax(axis=1)
    probabilities = np.exp(example.scores) / np.exp(example.scores).sum(axis=1, keepdims=True)
    errors = int((predicted != example.labels).sum())
    assert 0 < errors < ENTRIES

    summary = json.loads(results["evaluation.json"])
    assert summary["entries"] == ENTRIES
    assert summary["errors"] == errors
    assert summary["accuracy"] == pytest.approx(1 - errors / ENTRIES)
    assert summary["error_rate"] == pytest.approx(errors / ENTRIES)
    loss = sklearn_metrics.log_loss(example.labels, probabilities)
    assert summary["mean_loss"] == pytest.approx(loss, rel=1e-5)
    macro = sklearn_metrics.f1_score(example.labels, predicted, average="macro")
    assert summary["macro_f1"] == pytest.approx(macro)

    predictions = table(results["predictions.csv"])
    assert [int(row["index"]) for row in predictions] == list(range(ENTRIES))
    assert [int(row["label"]) for row in predictions] == example.labels.tolist()
    assert [int(row["predicted"]) for row in predictions] == predicted.tolist()
    np.testing.assert_allclose(
        [float(row["probability"]) for row in predictions], probabilities.max(axis=1), rtol=1e-5
    )

    assert [row["key"] for row in predictions] == [f"{index:08d}" for index in range(ENTRIES)]

    for name in ("accuracy", "mean_loss", "macro_f1"):
        low, high = summary["intervals"][name]
        assert low < summary[name] < high
    assert summary["top_5_accuracy"] is None  # of three classes
    assert "top_5_accuracy" not in summary["intervals"]
    assert summary["ten_crop"] is None

    bins = table(results["calibration.csv"])
    assert sum(int(row["entries"]) for row in bins) == ENTRIES
    assert sum(int(row["hits"]) for row in bins) == ENTRIES - errors
    gaps = [float(row["hits"]) - float(row["confidence sum"]) for row in bins]
    assert summary["calibration"]["expected_error"] == pytest.approx(
        np.abs(gaps).sum() / ENTRIES, rel=1e-6
    )

    header, *rows = csv.reader(results["confusion.csv"].decode().splitlines())
    assert header[1:] == [row[0] for row in rows] == NAMES
    expected = sklearn_metrics.confusion_matrix(example.labels, predicted)
    assert [[int(cell) for cell in row[1:]] for row in rows] == expected.tolist()

    per_class = table(results["per_class.csv"])
    assert [row["class"] for row in per_class] == NAMES
    assert [int(row["support"]) for row in per_class] == expected.sum(axis=1).tolist()
    assert [float(row["f1"]) for row in per_class] == pytest.approx(
        sklearn_metrics.f1_score(example.labels, predicted, average=None)
    )


def table(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(content.decode().splitlines()))


def test_every_entry_is_judged_once(ours: Evaluate, example: Example) -> None:
    check(ours("--classes", "classes.txt"), example)


def test_results_name_no_place_and_are_the_same_twice(ours: Evaluate, example: Example) -> None:
    first = ours()
    assert first == ours()
    assert not any(str(example.folder).encode() in content for content in first.values())


@pytest.mark.parametrize("judge", [LOSS, ACCURACY, OVER_SOFTMAX])
def test_scores_are_found_by_loss_or_accuracy(ours: Evaluate, example: Example, judge: str) -> None:
    check(ours("--classes", "classes.txt", net=NET + judge), example)


def test_fewer_entries_may_be_asked_for(ours: Evaluate, example: Example) -> None:
    predictions = table(ours("--entries", "12")["predictions.csv"])
    assert [int(row["label"]) for row in predictions] == example.labels[:12].tolist()


@pytest.mark.oracle
@pytest.mark.parametrize("judge", [LOSS + ACCURACY, ACCURACY, OVER_SOFTMAX])
def test_bvlcs_own_build_evaluates_alike(
    bvlc: bvlc_build.Build, example: Example, judge: str
) -> None:
    files: dict[str, bvlc_build.Content] = {
        name: example.folder / name for name in ("net.caffemodel", "classes.txt", "lmdb")
    }
    with bvlc.workplace(files | {"train_val.prototxt": NET + judge}) as place:
        place.module(
            "caffetools.evaluate", *ARGUMENTS, "--output-dir", "out", "--classes", "classes.txt"
        )
        results = {name: (place.path / "out" / name).read_bytes() for name in FILES}
    check(results, example)


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("weights", "complaint"),
    [
        ("absent.caffemodel", "error: --weights: expected a file absent.caffemodel, found none"),
        ("cut.caffemodel", "error: cut.caffemodel: expected a .caffemodel"),
        ("other.caffemodel", "found none for ip"),
    ],
)
def test_a_users_mistake_is_told_in_bvlcs_build_too(
    bvlc: bvlc_build.Build, example: Example, weights: str, complaint: str
) -> None:
    files: dict[str, bvlc_build.Content] = {
        "train_val.prototxt": example.folder / "train_val.prototxt",
        "lmdb": example.folder / "lmdb",
        "cut.caffemodel": example.model("ip")[:-3],
        "other.caffemodel": example.model("another"),
    }
    with bvlc.workplace(files) as place:
        arguments = [*ARGUMENTS, "--output-dir", "out", "--weights", weights]
        result = place.module("caffetools.evaluate", *arguments, check=False)
    assert result.status == 1
    assert complaint in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("option", "content", "complaint"),
    [
        ("--net", LOSS, "expected one Data layer in the TEST phase, found 0"),
        ("--net", NET, "expected a SoftmaxWithLoss or Accuracy layer"),
        ("--classes", "ant\nbee\n", "expected 3 classes, as many as the net has scores, found 2"),
        ("--weights", "no caffemodel", "expected a .caffemodel"),
    ],
)
def test_unfit_input_is_named(
    ours: Evaluate, tmp_path: Path, option: str, content: str, complaint: str
) -> None:
    (tmp_path / "unfit").write_text(content)
    with pytest.raises(ToolError, match=complaint):
        ours(option, str(tmp_path / "unfit"))


def test_weights_of_other_layers_are_refused(
    ours: Evaluate, example: Example, tmp_path: Path
) -> None:
    (tmp_path / "other.caffemodel").write_bytes(example.model("another"))
    with pytest.raises(ToolError, match="found none for ip"):
        ours("--weights", str(tmp_path / "other.caffemodel"))


def test_lmdb_without_a_manifest_needs_entries(example: Example) -> None:
    with pytest.raises(ToolError, match=r"expected a JSON manifest .* say --entries"):
        scoring.entries_of(example.folder / "lmdb" / "absent")


def test_the_net_reads_the_lmdb_from_its_start(example: Example) -> None:
    net = prototxt.read_net(example.folder / "train_val.prototxt")
    scored = scoring.net_on(net, Path("lmdb/test"))
    train, test = scored.message.layer[:2]
    assert train.data_param.source == "nowhere"
    assert test.data_param.source == "lmdb/test"
    assert test.data_param.backend == test.data_param.LMDB
    assert not test.data_param.HasField("rand_skip")
    assert (scored.scores, scored.labels, scored.are_probabilities) == ("ip", "label", False)
