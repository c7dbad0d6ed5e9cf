"""Blobs: views that stay valid, gradients that add up, two sides that agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recaffe.blob import Blob, SyncedMemory
from recaffe.context import CPU
from recaffe.errors import ShapeMismatchError


def values(*shape: int, start: float = 0) -> torch.Tensor:
    return torch.arange(start, start + int(np.prod(shape)), dtype=torch.float32).reshape(shape)


# --- data and its views ---------------------------------------------------------------


def test_a_new_blob_is_zero() -> None:
    blob = Blob((2, 3))
    assert (blob.shape, blob.count) == ((2, 3), 6)
    for array in (blob.data, blob.diff):
        np.testing.assert_array_equal(array, np.zeros((2, 3), np.float32), strict=True)


def test_a_kept_view_shows_later_results() -> None:
    blob = Blob((2, 3))
    view = blob.data
    blob.set_data(values(2, 3))
    np.testing.assert_array_equal(view, values(2, 3))
    assert np.shares_memory(blob.data, view)


def test_writes_through_a_view_reach_the_device() -> None:
    blob = Blob((2, 3))
    blob.set_data(values(2, 3))
    view = blob.data
    view[1] = 9
    assert blob.data_tensor[1].tolist() == [9, 9, 9]
    view[0] = 8
    assert blob.data_tensor[0].tolist() == [8, 8, 8]


def test_a_view_is_not_the_tensor_that_was_set() -> None:
    # A layer's result can be another blob's too (Split): writing to one must not show there.
    shared = values(3)
    one, other = Blob(), Blob()
    one.set_data(shared)
    other.set_data(shared)
    one.data[...] = 5
    assert other.data.tolist() == shared.tolist() == [0, 1, 2]


def test_nobody_looking_means_no_copy() -> None:
    blob, result = Blob(), values(3)
    blob.set_data(result)
    assert not blob.data_handed_out
    assert blob.data_tensor.data_ptr() == result.data_ptr()
    assert blob.data.tolist() == [0, 1, 2]
    assert blob.data_handed_out


def test_a_graph_is_not_kept() -> None:
    blob = Blob()
    blob.set_data(values(3).requires_grad_() * 2)
    assert not blob.data_tensor.requires_grad


@pytest.mark.parametrize(
    "tensor",
    [
        values(2, 3, 4).transpose(0, 2),
        values(2, 3, 4, 5).to(memory_format=torch.channels_last),
        torch.ones(()).expand(2, 3),
        values(3).requires_grad_(),
    ],
)
def test_data_is_in_c_order_and_writable(tensor: torch.Tensor) -> None:
    blob = Blob()
    blob.set_data(tensor)
    assert blob.data.flags.c_contiguous
    assert blob.data.flags.writeable
    np.testing.assert_array_equal(blob.data, tensor.detach().numpy())


# --- diff -----------------------------------------------------------------------------


@pytest.mark.parametrize("handed_out", [False, True])
def test_diffs_add_up_and_clear(handed_out: bool) -> None:
    blob = Blob((2,))
    view = blob.diff if handed_out else None
    for _ in range(2):
        blob.clear_diff()
        blob.add_diff(torch.tensor([1.0, 2.0]))
        blob.add_diff(torch.tensor([10.0, 20.0]))
        assert blob.diff_tensor.tolist() == [11, 22]
        if view is not None:
            assert view.tolist() == [11, 22]
    blob.clear_diff()
    assert blob.diff_tensor.tolist() == [0, 0]
    assert blob.diff.tolist() == [0, 0]


def test_what_a_user_wrote_to_diff_is_added_to_and_cleared() -> None:
    blob = Blob((2,))
    view = blob.diff
    blob.clear_diff()
    view[...] = 3
    blob.add_diff(torch.ones(2))
    assert view.tolist() == [4, 4]
    view[...] = 3
    blob.clear_diff()
    assert view.tolist() == [0, 0]


def test_what_a_user_wrote_to_diff_is_cleared_after_a_reshape() -> None:
    blob = Blob((2,))
    view = blob.diff
    blob.clear_diff()
    view[...] = 3
    blob.reshape(3)
    blob.clear_diff()
    assert blob.diff.tolist() == [0, 0, 0]


def test_the_first_diff_is_not_changed_by_the_second() -> None:
    blob, first = Blob((2,)), torch.ones(2)
    blob.add_diff(first)
    blob.add_diff(torch.ones(2))
    assert first.tolist() == [1, 1]
    assert blob.diff.tolist() == [2, 2]


# --- shape ----------------------------------------------------------------------------


def test_reshape_keeps_memory_order() -> None:
    blob = Blob()
    blob.set_data(values(2, 3))
    blob.reshape(3, 2)
    assert blob.data.tolist() == [[0, 1], [2, 3], [4, 5]]
    view = blob.data
    blob.reshape((6,))
    blob.data[0] = 7
    assert view[0, 0] == 7
    blob.reshape(4)
    assert blob.data.tolist() == [7, 1, 2, 3]
    blob.reshape(2, 3)
    assert blob.data.tolist() == [[7, 1, 2], [3, 4, 5]]
    assert blob.diff.shape == (2, 3)


def test_a_view_stays_the_memory_of_a_blob_that_shrinks() -> None:
    """As in a last batch that is smaller, and one that is larger than all before."""
    blob = Blob((4,))
    view, diff = blob.data, blob.diff
    view[...] = 1
    blob.set_data(torch.tensor([5.0, 6.0]))
    blob.set_diff(torch.tensor([8.0, 9.0]))
    assert view.tolist() == [5, 6, 1, 1]
    assert diff.tolist() == [8, 9, 0, 0]
    view[0] = 7
    assert blob.data_tensor.tolist() == [7, 6]
    blob.reshape(4)
    assert blob.data.tolist() == blob.data_tensor.tolist() == [7, 6, 1, 1]
    blob.reshape(5)
    assert blob.data.tolist() == blob.data_tensor.tolist() == [0] * 5
    assert view.tolist() == [7, 6, 1, 1]


def test_a_blob_that_nobody_looks_at_may_shrink_and_grow() -> None:
    blob = Blob()
    blob.set_data(values(4))
    blob.reshape(2)
    assert blob.data_tensor.tolist() == [0, 1]
    blob.reshape(2, 2)
    assert blob.data_tensor.tolist() == [[0, 1], [2, 3]]
    blob.set_data(values(2, start=7))
    blob.reshape(4)
    assert blob.data_tensor.tolist()[:2] == blob.data.tolist()[:2] == [7, 8]


def test_blobs_that_share_memory_have_shapes_of_their_own() -> None:
    one, other = Blob((2, 3)), Blob((3, 2))
    other.share_data(one)
    one.set_data(values(2, 3))
    assert other.data_tensor.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert one.data_tensor.tolist() == [[0, 1, 2], [3, 4, 5]]
    view = other.data
    view[0] = 9
    assert one.data.tolist() == [[9, 9, 2], [3, 4, 5]]
    one.set_data(values(2, 3))
    assert view.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert other.diff.tolist() == np.zeros((3, 2)).tolist()
    one.diff[...] = 1
    assert not other.diff.any()
    other.share_diff(one)
    assert other.diff.all()


@pytest.mark.parametrize("shape", [(4,), ((4,),), ([4],), (np.int64(4),), (np.array([4]),)])
def test_ways_to_give_a_shape(shape: tuple) -> None:
    blob = Blob()
    blob.reshape(*shape)
    assert blob.shape == (4,)


def test_shapes_without_elements_or_axes() -> None:
    blob = Blob((2, 0))
    assert (blob.count, blob.data.shape) == (0, (2, 0))
    blob.reshape()
    assert (blob.count, blob.data.shape) == (1, ())
    assert blob.data == 0


def test_a_negative_axis() -> None:
    with pytest.raises(ShapeMismatchError, match=r"cannot have the shape \[2, -1\]"):
        Blob().reshape(2, -1)


def test_legacy_axes() -> None:
    blob = Blob((5, 4, 3, 2))
    assert (blob.num, blob.channels, blob.height, blob.width) == (5, 4, 3, 2)
    blob = Blob((5, 4))
    assert (blob.num, blob.channels, blob.height, blob.width) == (5, 4, 1, 1)
    with pytest.raises(ShapeMismatchError, match="up to four axes"):
        _ = Blob((1, 1, 1, 1, 1)).num


def test_setting_data_reshapes_diff_too() -> None:
    blob = Blob((2,))
    blob.set_data(values(3, 2))
    assert blob.shape == blob.data.shape == blob.diff.shape == (3, 2)


def test_a_diff_of_another_shape() -> None:
    blob = Blob((2, 3))
    blob.set_diff(values(6))
    assert blob.diff.tolist() == values(2, 3).tolist()
    with pytest.raises(RuntimeError):
        blob.set_diff(values(5))


# --- two sides ------------------------------------------------------------------------
# On a GPU the host's array and the device's tensor are two memories. Here both are on the
# CPU, but kept apart as there: `_shared` is all that the code asks.


@pytest.fixture
def two_sided() -> SyncedMemory:
    memory = SyncedMemory(CPU)
    memory._shared = False
    memory.grow(3)
    return memory


def apart(memory: SyncedMemory) -> bool:
    """Whether the sides are two memories; looks at the device side, as a layer does."""
    tensor = memory.tensor((3,))
    assert memory._host is not None
    return not np.shares_memory(memory._host, tensor.numpy())


def test_two_sides_start_zero(two_sided: SyncedMemory) -> None:
    assert two_sided.array((3,)).tolist() == [0, 0, 0]
    assert two_sided.tensor((3,)).tolist() == [0, 0, 0]
    assert apart(two_sided)


def test_a_stale_host_is_refreshed_on_access(two_sided: SyncedMemory) -> None:
    view = two_sided.array((3,))
    two_sided.set(values(3))
    assert view.tolist() == [0, 0, 0]  # as in Caffe: the copy comes when the host is asked
    assert np.shares_memory(two_sided.array((3,)), view)
    assert view.tolist() == [0, 1, 2]
    assert apart(two_sided)


def test_host_writes_are_uploaded(two_sided: SyncedMemory) -> None:
    two_sided.set(values(3))
    two_sided.array((3,))[1] = 7
    assert two_sided.tensor((3,)).tolist() == [0, 7, 2]
    two_sided.array((3,))[2] = 8
    assert two_sided.tensor((3,)).tolist() == [0, 7, 8]
    assert apart(two_sided)


def test_changes_in_place_on_the_device_reach_the_host(two_sided: SyncedMemory) -> None:
    view = two_sided.array((3,))
    two_sided.tensor((3,)).add_(5)
    assert view.tolist() == [0, 0, 0]
    assert two_sided.array((3,)).tolist() == view.tolist() == [5, 5, 5]
    view[0] = 1
    two_sided.tensor((3,)).mul_(2)
    assert two_sided.array((3,)).tolist() == [2, 10, 10]


def test_the_newest_side_is_shown_in_any_shape(two_sided: SyncedMemory) -> None:
    view = two_sided.array((3,))
    two_sided.set(values(3))
    assert two_sided.array((3, 1)).tolist() == [[0], [1], [2]]
    assert view.tolist() == [0, 1, 2]
    two_sided.set(values(2, start=5))
    assert two_sided.array((2,)).tolist() == [5, 6]
    two_sided.array((2,))[0] = 9
    assert two_sided.tensor((3,)).tolist() == view.tolist() == [9, 6, 2]


def test_a_two_sided_diff_adds_up_and_clears() -> None:
    blob = Blob((2,), CPU)
    blob._data._shared = blob._diff._shared = False
    view = blob.diff
    blob.clear_diff()
    blob.add_diff(torch.ones(2))
    blob.add_diff(torch.ones(2))
    assert view.tolist() == [0, 0]
    assert np.shares_memory(blob.diff, view)
    assert view.tolist() == [2, 2]
    view[0] = 7
    blob.add_diff(torch.ones(2))
    assert blob.diff.tolist() == [8, 3]
    blob.clear_diff()
    assert blob.diff.tolist() == [0, 0]
