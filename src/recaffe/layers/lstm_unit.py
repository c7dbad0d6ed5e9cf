"""LSTMUnit, one time step of a long short-term memory."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from recaffe.layers.base import Layer, Shape, register


def lstm_step(cell: Tensor, gates: Tensor, cont: Tensor) -> tuple[Tensor, Tensor]:
    """The new cell ``(..., D)`` and hidden state, of gates ``(..., 4 D)`` and ``cont`` ``(...)``.

    ``cell' = cont sigmoid(f) cell + sigmoid(i) tanh(g)`` and ``hidden = sigmoid(o) tanh(cell')``,
    the gates in the order ``i, f, o, g``.
    """
    at_input, forget, output, candidate = gates.chunk(4, -1)
    forgotten = cont.unsqueeze(-1) * forget.sigmoid() * cell
    cell = forgotten + at_input.sigmoid() * candidate.tanh()
    return cell, output.sigmoid() * cell.tanh()


@register("LSTMUnit")
class LSTMUnit(Layer):
    """One time step of an LSTM: gates computed elsewhere applied to a cell.

    Shapes: the cell before ``(1, N, D)``; the gates' inputs ``(1, N, 4 D)``, in the order
    input, forget, output, candidate; ``cont`` ``(1, N)``, 0 where a sequence starts and so the
    cell before is forgotten, else 1; tops, the new cell and hidden state, ``(1, N, D)``.

    Source: ``lstm_unit_layer.cpp``; Hochreiter and Schmidhuber 1997.
    """

    bottoms = (3, 3)
    tops = (2, 2)
    puts_aside = True

    def propagates_to(self, bottom_index: int) -> bool:
        return bottom_index < 2

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        cell, gates, cont = (tuple(shape) for shape in bottom_shapes)
        if len(cell) != 3 or cell[0] != 1:
            raise self.error(f"expected a cell (1, N, D), found {list(cell)}")
        _, items, size = cell
        if gates != (1, items, 4 * size) or cont != (1, items):
            raise self.error(
                f"a cell {list(cell)} needs gates {[1, items, 4 * size]} and cont {[1, items]}, "
                f"found {list(gates)} and {list(cont)}"
            )
        return [cell, cell]

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        cell, gates, cont = bottoms
        return list(lstm_step(cell, gates, cont))
