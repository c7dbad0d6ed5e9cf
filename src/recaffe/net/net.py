"""Net: layers connected by blobs, run forward and backward one layer at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from recaffe.blob import Blob
from recaffe.context import context
from recaffe.errors import CaffeError, LayerError, NetError
from recaffe.layers import BlobLayer, Layer, make_layer
from recaffe.memory import tell_lack
from recaffe.net.filter import filter_net
from recaffe.net.gradients import plan_gradients
from recaffe.net.making import Making, tell_end, tell_parameters
from recaffe.net.sharing import LearnableParams
from recaffe.net.splits import insert_splits
from recaffe.net.tapes import Tapes
from recaffe.net.whole import WholeStep
from recaffe.proto.schema import NetState
from recaffe.proto.upgrade import upgrade_net


class Net:
    """A graph of layers in one phase.

    Every layer runs under autograd by itself: its bottoms and parameters are leaves, and
    its backward turns the tops' diffs into theirs. So blobs' data and diff mean what they
    mean in Caffe, also where a user changes one between two layers.

    Args:
        param: a NetParameter.
        phase: TRAIN or TEST.
        level, stages: with ``phase`` the state that include and exclude rules ask for; stages
            in the ``state`` of ``param`` count as well, and its level if none is given.
        origin: names the net in errors; its file, say.

    Attributes:
        layers, layer_names: in the order they run, implicit splits included.
        blobs: by name, in the order they are first produced.
        params: the parameter blobs of each layer that has some, by its name.
        learnable, lr_mults, decay_mults, param_places: the parameters that a solver updates,
            as in :class:`LearnableParams`.
        layer_bottoms, layer_tops: the blobs of each layer.
        plan: where gradients are needed.

    Raises:
        CaffeError: whatever keeps the net from being built, naming the layer.
    """

    def __init__(
        self,
        param: Any,
        phase: int,
        level: int | None = None,
        stages: Sequence[str] = (),
        origin: str = "net",
    ) -> None:
        self.phase = phase
        self.device = context.device
        state = NetState()
        state.CopyFrom(param.state)
        state.MergeFrom(NetState(phase=phase, level=level, stage=stages))
        filtered = filter_net(upgrade_net(param, origin), state)
        tell_parameters(filtered, state)
        self.param = insert_splits(filtered)
        self.name: str = self.param.name
        self.layers: list[Layer] = []
        self.blobs: dict[str, Blob] = {}
        self.layer_bottoms: list[list[Blob]] = []
        self.layer_tops: list[list[Blob]] = []
        self._bottom_shapes: list[list[tuple[int, ...]]] = []
        self._given_rates: list[list[float]] = []
        self.loss_weights: list[list[float]] = []
        learnable, making = LearnableParams(), Making()
        for layer_param in self.param.layer:
            making.begin(layer_param.name)
            self._append(layer_param, making)
            learnable.add(self.layers[-1])
        self.layer_names: list[str] = [layer.name for layer in self.layers]
        self.params: dict[str, list[Blob]] = {
            layer.name: layer.blobs for layer in self.layers if layer.blobs
        }
        self.learnable, self.param_places = learnable.blobs, learnable.places
        self.lr_mults, self.decay_mults = learnable.lr_mults, learnable.decay_mults
        self.plan = plan_gradients(
            self.layers, self._given_rates, self.loss_weights, self.param.force_backward
        )
        self._tapes = Tapes(self.layers, self.layer_bottoms, self.layer_tops)
        self._set_loss_diffs()
        self._loss_terms: list[Tensor | None] = [None] * len(self.layers)
        self._whole_step: WholeStep | None = None
        tell_end(self.outputs)

    # -- building ---------------------------------------------------------------------

    def _append(self, layer_param: Any, making: Making) -> None:
        if not layer_param.HasField("phase"):
            layer_param.phase = self.phase
        # A layer may set the factors of its parameters to 0, but whether it runs backward
        # follows from those that the prototxt gives.
        given = list(type(layer_param)(param=layer_param.param).param)
        layer = make_layer(layer_param, layer_param.phase)
        if layer.is_loss and not layer_param.loss_weight:
            layer_param.loss_weight.extend([1.0] + [0.0] * (layer.top_count - 1))
        bottoms = [self.blobs[name] for name in layer_param.bottom]
        tops = [self._top_blob(layer, index) for index in range(layer.top_count)]
        making.connect(layer)
        shapes = [blob.shape for blob in bottoms]
        if isinstance(layer, BlobLayer):
            layer.attach(bottoms, tops)
        try:
            layer.setup(shapes)
            top_shapes = layer.possible_top_shapes(shapes)
        except LayerError:
            raise
        except (MemoryError, RuntimeError) as error:
            tell_lack(layer.place, error)
            if isinstance(error, CaffeError):
                raise layer.error(str(error)) from error
            raise
        for top, shape in zip(tops, top_shapes, strict=True):
            if layer.shares_data:
                top.share_data(bottoms[0])
            if layer.shares_diff:
                top.share_diff(bottoms[0])
            top.reshape(shape)
        self.loss_weights.append(_loss_weights(layer))
        making.finish(layer, top_shapes, self.loss_weights[-1])
        self.layers.append(layer)
        self.layer_bottoms.append(bottoms)
        self.layer_tops.append(tops)
        self._bottom_shapes.append(shapes)
        self._given_rates.append(
            [given[i].lr_mult if i < len(given) else 1.0 for i in range(len(layer.blobs))]
        )

    def _top_blob(self, layer: Layer, index: int) -> Blob:
        name = layer.top_names[index]
        if index >= len(layer.param.top):
            return self._add_blob(name)
        if list(layer.param.bottom[index : index + 1]) == [name]:
            return self.blobs[name]  # in place
        if name in self.blobs:
            raise NetError(
                f"layer '{layer.name}': top '{name}' is already the top of another layer; "
                "rename one of them (in place a layer may only overwrite its own bottom)"
            )
        return self._add_blob(name)

    def _add_blob(self, name: str) -> Blob:
        self.blobs[name] = Blob(device=self.device)
        return self.blobs[name]

    def _set_loss_diffs(self) -> None:
        for layer, weights, tops in zip(
            self.layers, self.loss_weights, self.layer_tops, strict=True
        ):
            try:
                for weight, top in zip(weights, tops, strict=True):
                    if weight:
                        top.set_diff(torch.full(top.shape, weight, device=self.device))
            except RuntimeError as error:
                tell_lack(layer.place, error)
                raise

    # -- running ----------------------------------------------------------------------

    def forward_layers(self, start: int, end: int, record: bool = True) -> None:
        """Run the layers ``start`` to ``end``, both included.

        Args:
            record: keep what backward needs. Without, less memory is held.
        """
        index = start
        try:
            for index in range(start, end + 1):
                self._forward_layer(index, record and self.plan.layer[index])
                self._note_loss(index)
        except (MemoryError, RuntimeError) as error:
            tell_lack(self.layers[index].place, error)
            raise

    def _note_loss(self, index: int) -> None:
        """Take what the layer's tops add to the loss, weighted by their diffs.

        The weights are only what the diffs are at first: a user may have written others, and
        where a layer reads a loss its backward does, so that as in Caffe the loss of the next
        forward is another.
        """
        terms = [
            (top.data_tensor * top.diff_tensor).sum()
            for top, weight in zip(self.layer_tops[index], self.loss_weights[index], strict=True)
            if weight
        ]
        self._loss_terms[index] = torch.stack(terms).sum() if terms else None

    def loss(self, start: int = 0, end: int | None = None) -> float:
        """The sum of all tops that are losses, weighted, as of the last forward.

        Args:
            start, end: of the layers between these alone, both included; by default of all.
        """
        last = len(self.layers) - 1 if end is None else end
        terms = self._loss_terms[start : last + 1]
        return sum(float(term) for term in terms if term is not None)

    def forward_backward(self, keep: bool = True) -> float:
        """One forward and backward of the whole net; return the loss.

        Args:
            keep: leave data and diff of every blob behind. Without, only those of the
                parameters and the data of the outputs are: it takes less memory and time.
        """
        last = len(self.layers) - 1
        if not keep and not self._reads_losses() and WholeStep.can_run(self):
            if self._whole_step is None:
                self._whole_step = WholeStep(self)
            self._tapes.forget_all()
            try:
                self._whole_step.run()
            except (MemoryError, RuntimeError) as error:
                tell_lack(f"net '{self.name}'", error)
                raise
            for index in range(last + 1):
                self._note_loss(index)
        else:
            self.forward_layers(0, last)
            self.backward_layers(last, 0, retain=False)
        return self.loss()

    def _reads_losses(self) -> bool:
        """Whether a loss is some layer's bottom, whose backward then overwrites its weight."""
        losses = {
            top
            for tops, weights in zip(self.layer_tops, self.loss_weights, strict=True)
            for top, weight in zip(tops, weights, strict=True)
            if weight
        }
        return any(not losses.isdisjoint(bottoms) for bottoms in self.layer_bottoms)

    def _forward_layer(self, index: int, record: bool) -> None:
        layer, bottoms = self.layers[index], self.layer_bottoms[index]
        shapes = [blob.shape for blob in bottoms]
        if isinstance(layer, BlobLayer):
            layer.forward_blobs()
            return
        if shapes != self._bottom_shapes[index]:
            self._reshape_layer(index)
        if record:
            tops = self._tapes.run(index, self.plan.bottoms[index], self.plan.params[index])
        else:
            self._tapes.forget(index)
            with torch.no_grad():
                tops = layer.forward(
                    [blob.data_tensor for blob in bottoms],
                    [blob.data_tensor for blob in layer.blobs],
                )
        self._tapes.note(index, tops)
        for blob, tensor in zip(self.layer_tops[index], tops, strict=False):
            blob.set_data(tensor)

    def backward_layers(self, start: int, end: int, retain: bool = True) -> None:
        """Run the layers ``start`` down to ``end``, both included, backward.

        Bottoms' diffs are overwritten, parameters' diffs are added to.

        Args:
            retain: keep what another backward needs. Without, memory is freed on the way.
        """
        index = start
        try:
            for index in range(start, end - 1, -1):
                if self.plan.layer[index]:
                    self.plan.check(index)
                    self._backward_layer(index, retain)
        except (MemoryError, RuntimeError) as error:
            tell_lack(f"{self.layers[index].place}, backward", error)
            raise

    def _backward_layer(self, index: int, retain: bool) -> None:
        layer = self.layers[index]
        if isinstance(layer, BlobLayer):
            layer.backward_blobs(self.plan.bottoms[index])
            return
        bottoms = _chosen(self.layer_bottoms[index], self.plan.bottoms[index])
        params = _chosen(layer.blobs, self.plan.params[index])
        if not bottoms and not params:
            return
        if layer.reads_top and self._tapes.were_written(index):
            (bottom,), (top,) = self.layer_bottoms[index], self.layer_tops[index]
            read = (bottom.data_tensor, top.data_tensor, top.diff_tensor)
            bottom.set_diff(layer.gradient_of_blobs(*read))
            return
        tape = self._tapes.refreshed(index)
        tops = [
            (tensor, _own_diff(blob))
            for tensor, blob in zip(tape.tops, self.layer_tops[index], strict=False)
            if tensor.requires_grad
        ]
        leaves = [tensor for tensor in (*tape.bottoms, *tape.params) if tensor.requires_grad]
        gradients = torch.autograd.grad(
            [tensor for tensor, _ in tops],
            leaves,
            [diff for _, diff in tops],
            allow_unused=True,
            materialize_grads=True,
            retain_graph=retain,
        )
        for blob, gradient in zip(bottoms, gradients[: len(bottoms)], strict=True):
            blob.set_diff(gradient)
        for blob, gradient in zip(params, gradients[len(bottoms) :], strict=True):
            blob.add_diff(gradient)
        if not retain:
            self._tapes.forget(index)

    def clear_param_diffs(self) -> None:
        """Make the diffs of all parameters zero."""
        for blob in self.learnable:
            blob.clear_diff()

    def reshape(self) -> None:
        """Let the shapes of all blobs follow from those of the inputs."""
        for index in range(len(self.layers)):
            self._reshape_layer(index)

    def follow_shapes(self, index: int, shapes: Sequence[tuple[int, ...]]) -> None:
        """Let layer ``index`` know the shapes of its bottoms, if they are others than before."""
        if shapes != self._bottom_shapes[index]:
            self.layers[index].possible_top_shapes(shapes)
            self._bottom_shapes[index] = list(shapes)

    def _reshape_layer(self, index: int) -> None:
        shapes = [blob.shape for blob in self.layer_bottoms[index]]
        layer = self.layers[index]
        if not shapes:
            return  # a layer without bottoms has the shapes it was set up with, or the user's
        tops = self.layer_tops[index]
        for blob, shape in zip(tops, layer.possible_top_shapes(shapes), strict=True):
            blob.reshape(shape)
        self._bottom_shapes[index] = shapes

    # -- names ------------------------------------------------------------------------

    @property
    def inputs(self) -> list[str]:
        """The tops of the Input layers."""
        return [top for layer in self.layers if layer.type == "Input" for top in layer.param.top]

    @property
    def outputs(self) -> list[str]:
        """The blobs that no layer consumes, in Caffe's order."""
        available: set[str] = set()
        for layer in self.layers:
            available.difference_update(layer.param.bottom)
            available.update(layer.param.top)
        return sorted(available)


def _loss_weights(layer: Layer) -> list[float]:
    given = list(layer.param.loss_weight)
    tops = layer.top_count
    if given and len(given) != tops:
        raise layer.error(f"loss_weight is given {len(given)} time(s) for {tops} top(s)")
    return given or [0.0] * tops


def _own_diff(blob: Blob) -> Tensor:
    """The blob's diff, in memory that nobody else writes to.

    A gradient may be that very tensor, where a layer only adds. So it would change with what a
    user, or the bottom's diff in place, writes through a view.
    """
    diff = blob.diff_tensor
    return diff.clone() if blob.diff_handed_out else diff


def _chosen(blobs: Sequence[Blob], wanted: Sequence[bool]) -> list[Blob]:
    return [blob for blob, want in zip(blobs, wanted, strict=True) if want]
