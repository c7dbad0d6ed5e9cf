"""caffetools.metrics against hand-counted figures and scikit-learn's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

import caffe
from caffetools import metrics
from caffetools.cli import ToolError
from caffetools.history import Row, history_of


def scores_and_labels(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 5, 200)
    return random.normal(size=(200, 5)) + 1.5 * np.eye(5)[labels], labels.astype(np.float32)


def test_errors_are_counted() -> None:
    scores = np.array([[1.0, 2.0], [3.0, 0.0], [0.0, 0.0]])
    assert metrics.count_errors(scores, np.array([1, 1, 0])) == 1
    assert metrics.accuracy(scores, np.array([1, 1, 0])) == pytest.approx(2 / 3)


def test_of_equal_scores_the_lowest_class_counts() -> None:
    assert metrics.count_errors(np.zeros((4, 3)), np.array([0, 1, 2, 0])) == 2


def test_among_the_best_k_a_tie_counts_against_an_entry() -> None:
    scores = np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 2.0], [5.0, 5.0, 5.0]])
    labels = np.array([2, 1, 0])
    accuracies = [metrics.top_k_accuracy(scores, labels, k) for k in (1, 2, 3)]
    assert accuracies == pytest.approx([0, 1 / 3, 1])


def test_the_best_k_are_caffes(tmp_path: Path) -> None:
    """Against the runtime's Accuracy layer, which is held against BVLC's by its own tests."""
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "in" type: "Input" top: "scores" top: "label"'
        " input_param { shape { dim: 40 dim: 9 } shape { dim: 40 } } }\n"
        'layer { name: "top" type: "Accuracy" bottom: "scores" bottom: "label" top: "top"'
        " accuracy_param { top_k: 5 } }\n"
    )
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
    random = np.random.default_rng(0)
    scores, labels = random.integers(0, 6, (40, 9)), random.integers(0, 9, 40)  # many ties
    net.blobs["scores"].data[...], net.blobs["label"].data[...] = scores, labels
    assert metrics.top_k_accuracy(scores, labels, 5) == pytest.approx(float(net.forward()["top"]))


def test_figures_agree_with_scikit_learn() -> None:
    scores, labels = scores_and_labels()
    predicted = scores.argmax(axis=1)
    confusion = metrics.confusion_matrix(labels, predicted, 5)
    figures = metrics.class_figures(confusion)
    expected = sklearn_metrics.precision_recall_fscore_support(labels, predicted)
    np.testing.assert_array_equal(confusion, sklearn_metrics.confusion_matrix(labels, predicted))
    for ours, theirs in zip(
        (figures.precision, figures.recall, figures.f1, figures.support), expected, strict=True
    ):
        np.testing.assert_allclose(ours, theirs)
    macro = sklearn_metrics.f1_score(labels, predicted, average="macro")
    assert figures.macro_f1 == pytest.approx(macro)
    log_probabilities = metrics.log_softmax(scores)
    loss = sklearn_metrics.log_loss(labels, np.exp(log_probabilities))
    assert metrics.mean_loss(log_probabilities, labels) == pytest.approx(loss)


def test_class_without_entries_and_class_never_predicted_have_figures_of_zero() -> None:
    figures = metrics.class_figures(np.array([[2, 0, 1], [1, 0, 0], [0, 0, 0]]))
    np.testing.assert_allclose(figures.precision, [2 / 3, 0, 0])
    np.testing.assert_allclose(figures.recall, [2 / 3, 0, 0])
    np.testing.assert_allclose(figures.f1, [2 / 3, 0, 0])


def test_softmax_of_huge_scores_is_finite() -> None:
    logs = metrics.log_softmax(np.array([[1000.0, 0.0]], dtype=np.float32))
    np.testing.assert_allclose(logs, [[0.0, -1000.0]])


@pytest.mark.parametrize("label", [-1, 3])
def test_label_without_a_score_is_named(label: int) -> None:
    with pytest.raises(ToolError, match=f"entry 1 has label {label}, expected 0 to 2"):
        metrics.confusion_matrix(np.array([0, label]), np.array([0, 0]), 3)


def test_iterations_to_reach_is_the_first_test_at_or_above() -> None:
    tests = {0: 0.1, 5: 0.5, 10: 0.7, 15: 0.6}
    history = history_of(
        [Row(i, None if i == 0 else 1.0, 0.01, 1.0, tests.get(i)) for i in range(16)]
    )
    assert metrics.iterations_to_reach(history, 0.5) == 5
    assert metrics.iterations_to_reach(history, 0.6) == 10
    assert metrics.iterations_to_reach(history, 0.71) is None
