"""The report of copying weights: the table, near misses, named heads, several files."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from small_nets import DATA, LOSS, TINY, filled, ip, relu
from test_load_weights import SIX, B, W, blob, layer, made, ours

import caffe
from recaffe.errors import CaffeError, FormatError, NetError, ShapeMismatchError
from recaffe.net import LoadReport, load_weights, save_weights

HEAD = DATA + ip("ip", "data") + relu("relu", "ip") + ip("ip_new", "ip", 2, top="ip2") + LOSS


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Of layers ip, 3x3 and 3, and ip2, 2x3 and 2."""
    path = tmp_path / "w.caffemodel"
    save_weights(filled(TINY), path)
    return path


def test_everything_is_copied(weights: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        report = load_weights(filled(TINY), weights)
    assert report == LoadReport(
        [str(weights)], copied={"ip": [(3, 3), (3,)], "ip2": [(2, 3), (2,)]}
    )
    assert str(report) == (
        f"weights from {weights}: 2 copied, 0 newly initialised, 0 ignored in the file, "
        "0 shape mismatch\n"
        "  ip   copied               3x3, 3\n"
        "  ip2  copied               2x3, 2"
    )
    assert str(report) in caplog.messages


def test_a_new_head(weights: Path) -> None:
    report = load_weights(filled(HEAD), weights)
    assert list(report.copied) == ["ip"]
    assert report.fresh == {"ip_new": [(2, 3), (2,)]}
    assert report.ignored == {"ip2": [(2, 3), (2,)]}
    assert report.suggestions() == {}
    assert "  ip_new  newly initialised    2x3, 2\n" in str(report)
    assert str(report).endswith("  ip2     ignored in the file  2x3, 2")


@pytest.mark.parametrize(
    ("outputs", "hint"),
    [(2, "2x3, 2 (the file has 'ip2', of a name and shapes like it)"),
     (4, "4x3, 4 (the file has 'ip2', of a name like it)")],
)  # fmt: skip
def test_a_name_that_is_nearly_right_is_suggested(weights: Path, outputs: int, hint: str) -> None:
    text = DATA + ip("ip", "data") + ip("ip-2", "ip", outputs, top="ip2") + LOSS
    report = load_weights(filled(text), weights)
    assert report.suggestions() == {"ip-2": "ip2"}
    assert f"  ip-2  newly initialised    {hint}\n" in str(report)


def test_layers_without_parameters_are_not_told(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(layer("ip", W, B) + layer("r") + layer("drop") + layer("d"))
    report = load_weights(made(), tmp_path / "w")
    assert [*report.copied, *report.fresh, *report.ignored] == ["ip", "s1", "s2"]


def test_a_layer_whose_parameters_are_anothers_is_copied_with_it(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(layer("s1", W))
    report = load_weights(made(), tmp_path / "w", heads=["ip"])
    assert report.copied == {"s1": [(2, 3)], "s2": [(3, 2)]}


def test_what_does_not_fit_is_told_with_the_whole_table(weights: Path) -> None:
    net = filled(TINY.replace("num_output: 2", "num_output: 5"))
    with pytest.raises(ShapeMismatchError) as caught:
        load_weights(net, weights)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"{weights}: layer 'ip2', blob 0: the file holds the shape [2, 3]")
    assert "1 copied, 0 newly initialised, 0 ignored in the file, 1 shape mismatch" in lines[1]
    assert "  ip2  shape mismatch       2x3, 2 in the file, 5x3, 5 in the net" in lines


def test_every_layer_that_does_not_fit_is_told(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(layer("ip", W) + layer("r", W) + layer("s1", blob(SIX, 3, 2)))
    with pytest.raises(ShapeMismatchError) as caught:
        load_weights(made(), tmp_path / "w")
    told = str(caught.value)
    assert [told.count(f"layer '{name}'") for name in ("ip", "r", "s1")] == [1, 1, 1]
    assert "  r   shape mismatch       2x3 in the file, no blobs in the net" in told


# -- strict -----------------------------------------------------------------------------------


def test_exactly_the_named_heads_are_new(weights: Path) -> None:
    assert list(load_weights(filled(HEAD), weights, heads=["ip_new"]).fresh) == ["ip_new"]
    assert load_weights(filled(TINY), weights, heads=[]).fresh == {}


@pytest.mark.parametrize(
    ("text", "heads", "said"),
    [
        (HEAD, [], "expected no layer to be newly .*, but 'ip_new' would be newly initialised"),
        (HEAD, ["ip"], "expected 'ip' .* 'ip_new' would be .*, too, and 'ip' would be copied from"),
        (TINY, ["ip2"], "but 'ip2' would be copied from the file; rename it in the net"),
        (HEAD, ["ip_new", "ip"], "but 'ip' would be copied from the file"),
        (HEAD, ["ip_new", "fc8"], "'fc8' to be newly .*: the net has no such layer .* it has ip, "),
        (HEAD, ["relu"], "'relu' to be newly initialised: the net has no such layer with"),
    ],
)
def test_other_layers_than_the_heads(weights: Path, text: str, heads: list[str], said: str) -> None:
    net = filled(text)
    before = ours(net)
    with pytest.raises(NetError, match=said):
        load_weights(net, weights, heads=heads)
    assert ours(net) == before


# -- several files ----------------------------------------------------------------------------


def test_several_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(layer("s1", blob([9] * 6, 2, 3)))
    (tmp_path / "b").write_bytes(layer("s1", W) + layer("gone", W))
    net = made()
    paths = [tmp_path / "a", tmp_path / "b"]
    report = load_weights(net, paths, heads=["ip"])
    assert report.files == [str(path) for path in paths]
    assert (list(report.copied), list(report.fresh)) == (["s1", "s2"], ["ip"])
    assert list(report.ignored) == ["gone"]
    assert ours(net)["s1"] == [[1, 2, 3, 4, 5, 6]]


def test_nothing_is_copied_if_the_second_file_is_none(tmp_path: Path, weights: Path) -> None:
    net = filled(TINY)
    before = ours(net)
    with pytest.raises(FormatError, match="gone: no such file"):
        load_weights(net, [weights, tmp_path / "gone"])
    assert ours(net) == before


def test_pycaffes_net_gives_the_report(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(HEAD)
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TRAIN)
    assert list(net.copy_from(str(weights)).fresh) == ["ip_new"]
    with pytest.raises(CaffeError, match="expected no layer"):
        net.copy_from(str(weights), heads=[])
