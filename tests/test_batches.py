"""How many images an iteration takes."""

from __future__ import annotations

from typing import Any

import pytest
from patch_nets import net_of

from caffetools.batches import batch_size, iter_size
from caffetools.cli import ToolError
from caffetools.prototxt import TEST, TRAIN

# NET has batches of 8 in both phases.


def sizes(**batch: int) -> dict[str, Any]:
    return {"batch_size": batch}


def test_settings_go_before_the_nets_own_batches() -> None:
    assert batch_size(net_of(), TRAIN, {}) == 8
    assert batch_size(net_of(), TRAIN, sizes(train=4)) == 4
    assert batch_size(net_of(), TEST, sizes(train=4)) == 8
    assert batch_size(net_of(), TEST, sizes(val=5)) == 5
    assert batch_size(net_of('layer { name: "x" type: "DummyData" }'), TRAIN, {}) == 1


def test_batches_make_up_the_effective_one() -> None:
    assert iter_size(net_of(), {}) is None
    assert iter_size(net_of(), sizes(train=4)) is None
    assert iter_size(net_of(), sizes(effective=24)) == 3
    assert iter_size(net_of(), sizes(train=6, effective=6)) == 1


def test_batches_that_do_not_fit_the_effective_one_are_told_which_do() -> None:
    with pytest.raises(ToolError, match=r"is 36, which batches of 8 do not .* such as 9"):
        iter_size(net_of(), sizes(effective=36))
    with pytest.raises(ToolError, match=r"multiple of 8, or a batch_size\.train such as 4"):
        iter_size(net_of(), sizes(effective=4))


def test_iter_size_is_told_once() -> None:
    with pytest.raises(ToolError, match=r"batch_size\.effective and solver\.iter_size both"):
        iter_size(net_of(), {**sizes(effective=16), "solver": {"iter_size": 2}})
