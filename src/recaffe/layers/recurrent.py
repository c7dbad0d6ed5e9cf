"""RNN and LSTM, run over all time steps of their bottom."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from recaffe.errors import DataError
from recaffe.layers.base import Layer, Shape, register
from recaffe.layers.lstm_unit import lstm_step


class _Recurrent(Layer):
    """A layer whose state at one time step depends on that at the step before.

    Bottoms: ``x`` of shape ``(T, N, *S)``, T time steps of N streams; ``cont`` ``(T, N)``, 0
    where a sequence starts in a stream and so the state before is forgotten, else 1; perhaps
    ``x_static`` ``(N, *R)``, which every step sees. The first top is ``(T, N, num_output)``.

    Without ``expose_hidden`` the state after the last step is kept for the next forward, so
    that sequences may be longer than T. With it, the states before the first step are further
    bottoms and those after the last further tops, all ``(1, N, num_output)``. Either way no
    gradient passes from one forward to another: neither through the states kept nor, as in
    Caffe, through those exposed. ``T`` never changes.

    Source: ``recurrent_layer.cpp``.

    Attributes:
        states: how many tensors the state is made of.
    """

    puts_aside = True

    states: ClassVar[int]

    bottoms = (2, None)
    tops = (1, None)

    def __init__(self, param: Any, phase: int) -> None:
        super().__init__(param, phase)
        self.exposed = self.states if param.recurrent_param.expose_hidden else 0
        self._check_count("bottom", len(param.bottom), (2 + self.exposed, 3 + self.exposed))
        self._check_count("top", len(param.top), (1 + self.exposed, 1 + self.exposed))
        self.has_static = len(param.bottom) == 3 + self.exposed

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self.size = self.param.recurrent_param.num_output
        if self.size < 1:
            raise self.error("num_output must be at least 1")
        self._check(bottom_shapes)
        self.steps = bottom_shapes[0][0]
        self.inputs = math.prod(bottom_shapes[0][2:])
        self.static_inputs = math.prod(bottom_shapes[2][1:]) if self.has_static else 0
        self._add_blobs()
        self._kept: list[Tensor] = []

    def _add_blobs(self) -> None:
        raise NotImplementedError

    def _add_weight(self, outputs: int, inputs: int) -> None:
        self.add_blob((outputs, inputs), self.param.recurrent_param.weight_filler)

    def _add_bias(self, outputs: int) -> None:
        self.add_blob((outputs,), self.param.recurrent_param.bias_filler)

    def run_state(self) -> dict[str, Any]:
        """The states that the last forward left."""
        return {"kept": [state.tolist() for state in self._kept]}

    def set_run_state(self, state: Mapping[str, Any]) -> None:
        try:
            kept = [torch.tensor(values, dtype=torch.float32) for values in state["kept"]]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"no recurrent states ({type(error).__name__}: {error})") from None
        shapes = {tuple(values.shape) for values in kept}
        if kept and (
            len(kept) != self.states
            or len(shapes) != 1
            or any(len(shape) != 2 or shape[1] != self.size for shape in shapes)
        ):
            raise DataError(
                f"expected {self.states} state(s) of {self.size} numbers a stream, found "
                f"{[list(values.shape) for values in kept]}"
            )
        self._kept = kept

    def propagates_to(self, bottom_index: int) -> bool:
        return bottom_index == 0 or (bottom_index == 2 and self.has_static)

    def refuses_gradient_of(self, bottom_index: int) -> bool:
        return bottom_index == 1

    def _check(self, shapes: Sequence[Shape]) -> None:
        x, cont = (tuple(shape) for shape in shapes[:2])
        if len(x) < 3:
            raise self.error(f"expected a first bottom (T, N, ...), found {list(x)}")
        if cont != x[:2]:
            raise self.error(
                f"the first bottom {list(x)} needs a second one, cont, of shape {list(x[:2])}: "
                f"time steps and streams; found {list(cont)}"
            )
        if self.has_static and (len(shapes[2]) < 2 or shapes[2][0] != x[1]):
            raise self.error(
                f"expected a static input ({x[1]}, ...) for {x[1]} streams, found {list(shapes[2])}"
            )
        state = (1, x[1], self.size)
        for shape in shapes[2 + self.has_static :]:
            if tuple(shape) != state:
                raise self.error(f"expected states of shape {list(state)}, found {list(shape)}")

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        self._check(bottom_shapes)
        steps, streams = bottom_shapes[0][:2]
        if steps != self.steps:
            raise self.error(f"was set up for {self.steps} time steps, which found {steps} instead")
        found = [math.prod(bottom_shapes[0][2:])]
        expected = [self.inputs]
        if self.has_static:
            found.append(math.prod(bottom_shapes[2][1:]))
            expected.append(self.static_inputs)
        if found != expected:
            raise self.error(
                f"the weights are for {expected} inputs a time step, but "
                f"{[list(shape) for shape in bottom_shapes]} give {found}"
            )
        return [(steps, streams, self.size)] + [(1, streams, self.size)] * self.exposed

    def forward(self, bottoms: Sequence[Tensor], params: Sequence[Tensor]) -> list[Tensor]:
        x, cont = bottoms[0].flatten(2), bottoms[1]
        static = bottoms[2].flatten(1) if self.has_static else None
        if self.exposed:
            before = [bottom[0] for bottom in bottoms[-self.exposed :]]
        else:
            before = [state.to(x) for state in self._recalled(x)]
        top, after = self._run(x, cont, static, before, params)
        after = [state.detach() for state in after]
        if self.exposed:
            return [top, *(state[None] for state in after)]
        self._keep(after)
        return [top]

    def _run(
        self,
        x: Tensor,
        cont: Tensor,
        static: Tensor | None,
        before: Sequence[Tensor],
        params: Sequence[Tensor],
    ) -> tuple[Tensor, list[Tensor]]:
        """The top, and the states ``(N, num_output)`` after the last step."""
        raise NotImplementedError

    def _recalled(self, x: Tensor) -> list[Tensor]:
        """The states that the last forward left for these streams, zero at first.

        Caffe keeps them in memory that only ever grows: fewer streams see the first ones'
        states, and more than ever before start from zero.
        """
        streams = x.shape[1]
        if not self._kept or len(self._kept[0]) < streams:
            self._kept = [x.new_zeros(streams, self.size) for _ in range(self.states)]
        return [state[:streams] for state in self._kept]

    def _keep(self, after: Sequence[Tensor]) -> None:
        self._kept = [
            torch.cat([state, old[len(state) :].to(state)]) if len(state) < len(old) else state
            for state, old in zip(after, self._kept, strict=True)
        ]


def _projected(x: Tensor, static: Tensor | None, params: Sequence[Tensor]) -> Tensor:
    """What the inputs alone give, for all time steps at once.

    Args:
        params: weight and bias of ``x``, and the weight of ``static`` if there is one.
    """
    projected = F.linear(x, params[0], params[1])
    return projected if static is None else projected + F.linear(static, params[2])


@register("RNN")
class RNN(_Recurrent):
    """A simple recurrent net with an output of its own.

    ``h_t = tanh(W_h (cont_t h_{t-1}) + W_x x_t + b + W_s x_static)`` and the top
    ``o_t = tanh(W_o h_t + b_o)``; the state is ``h``. :class:`_Recurrent` tells of the bottoms.

    Shapes, with D for ``num_output``: ``W_x`` ``(D, x)``, ``b`` ``(D,)``, ``W_s`` ``(D, static)``
    if there is a static input, ``W_h`` ``(D, D)``, ``W_o`` ``(D, D)``, ``b_o`` ``(D,)``.

    Source: ``rnn_layer.cpp``.
    """

    states = 1

    def _add_blobs(self) -> None:
        self._add_weight(self.size, self.inputs)
        self._add_bias(self.size)
        if self.has_static:
            self._add_weight(self.size, self.static_inputs)
        self._add_weight(self.size, self.size)
        self._add_weight(self.size, self.size)
        self._add_bias(self.size)

    def _run(
        self,
        x: Tensor,
        cont: Tensor,
        static: Tensor | None,
        before: Sequence[Tensor],
        params: Sequence[Tensor],
    ) -> tuple[Tensor, list[Tensor]]:
        recurrent, output, output_bias = params[-3:]
        (hidden,), all_hidden = before, []
        steps = zip(
            _projected(x, static, params).unbind(), cont.unsqueeze(-1).unbind(), strict=True
        )
        for given, going_on in steps:
            hidden = (given + F.linear(going_on * hidden, recurrent)).tanh()
            all_hidden.append(hidden)
        return F.linear(torch.stack(all_hidden), output, output_bias).tanh(), [hidden]


@register("LSTM")
class LSTM(_Recurrent):
    """A long short-term memory.

    The gates' inputs are ``W_h (cont_t h_{t-1}) + W_x x_t + b + W_s x_static``; what they do to
    the cell ``c`` is told at LSTMUnit. The top is ``h``; the state is ``h`` and ``c``, in this
    order. :class:`_Recurrent` tells of the bottoms.

    Shapes, with D for ``num_output``: ``W_x`` ``(4 D, x)``, ``b`` ``(4 D,)``, ``W_s``
    ``(4 D, static)`` if there is a static input, ``W_h`` ``(4 D, D)``.

    Source: ``lstm_layer.cpp``; Hochreiter and Schmidhuber 1997.
    """

    states = 2

    def _add_blobs(self) -> None:
        self._add_weight(4 * self.size, self.inputs)
        self._add_bias(4 * self.size)
        if self.has_static:
            self._add_weight(4 * self.size, self.static_inputs)
        self._add_weight(4 * self.size, self.size)

    def _run(
        self,
        x: Tensor,
        cont: Tensor,
        static: Tensor | None,
        before: Sequence[Tensor],
        params: Sequence[Tensor],
    ) -> tuple[Tensor, list[Tensor]]:
        (hidden, cell), all_hidden = before, []
        steps = zip(_projected(x, static, params).unbind(), cont.unbind(), strict=True)
        for given, going_on in steps:
            gates = given + F.linear(going_on.unsqueeze(-1) * hidden, params[-1])
            cell, hidden = lstm_step(cell, gates, going_on)
            all_hidden.append(hidden)
        return torch.stack(all_hidden), [hidden, cell]
