"""Python: a layer that a user's class computes."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from typing import Any

from recaffe.blob import Blob
from recaffe.context import context
from recaffe.errors import NoSuchMethodError
from recaffe.layers.base import BlobLayer, LayerClass, Shape, register
from recaffe.layers.native import native_class
from recaffe.user import UserBlob, UserLayer

# Where it is set, the modules that nets may name, parted by commas; the pipeline sets it, so that
# a prototxt from elsewhere runs no code but what the user's configuration tells.
ALLOWED = "RECAFFE_PYTHON_LAYERS"
_ARGUMENTS = {"backward": "top, propagate_down, bottom"}


@register("Python")
class Python(BlobLayer):
    """A layer that a user's class computes, named by ``python_param``: module and layer.

    The class is derived from :class:`UserLayer`; the module is imported as by ``import``, so
    its folder is in PYTHONPATH or beside the program. Where the environment has
    ``RECAFFE_PYTHON_LAYERS``, only modules that it names, parted by commas, are imported. An
    exception of the user's code goes on as it is, with a note that names the layer.

    Those layers of py-faster-rcnn that are computed here need no module: ``RoIDataLayer`` of
    ``roi_data_layer``, ``ProposalLayer``, ``AnchorTargetLayer`` and ``ProposalTargetLayer`` of
    ``rpn``. One of that name of a user's own
    is taken only where ``RECAFFE_PYTHON_LAYERS`` names its module.

    ``share_in_parallel`` is for the threads of several GPUs in one process, which are not there:
    of several solvers that train together each must have a process of its own, and say so.

    Attributes:
        user: the user's object. What it calls its attributes is its own affair.

    Source: ``python_layer.hpp``.
    """

    bottoms = (0, None)
    tops = (0, None)
    in_place = True

    @classmethod
    def class_for(cls, param: Any) -> LayerClass:
        module, layer = param.python_param.module, param.python_param.layer
        if module in os.environ.get(ALLOWED, "").split(","):
            return cls
        return native_class(module, layer) or cls

    def attach(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> None:
        super().attach(bottoms, tops)
        if self.is_training and context.solver_count > 1 and not context.multiprocess:
            raise self.error(
                f"trains with {context.solver_count} solvers only where each of them has a process "
                "of its own: call caffe.set_multiprocess(True) in each"
            )
        self._bottoms = [UserBlob(blob) for blob in bottoms]
        self._tops = [UserBlob(blob) for blob in tops]
        self.user: UserLayer = self._call(self._user_class(), self.param)
        self.user.param_str = self.param.python_param.param_str
        self.user.phase = self.phase
        # The same list, so that both see where a parameter is shared with another layer.
        self.blobs = self.user._runtime_blobs

    def _user_class(self) -> type[UserLayer]:
        parameter = self.param.python_param
        allowed = os.environ.get(ALLOWED)
        if allowed is not None and parameter.module not in filter(None, allowed.split(",")):
            raise self.error(
                f"the module '{parameter.module}' is none of those that nets may run "
                f"({allowed or 'none'}); if you trust it, name it in model.python_layers of the "
                f"configuration, or, outside of the workflow, in the variable {ALLOWED}"
            )
        try:
            module = importlib.import_module(parameter.module)
        except ModuleNotFoundError as error:
            if error.name != parameter.module.split(".")[0]:
                self._name_in(error)
                raise
            raise self.error(
                f"no module '{parameter.module}': name it in python_param as import does, and put "
                "its folder into PYTHONPATH"
            ) from error
        except ValueError as error:  # no name at all
            raise self.error(f"python_param.module '{parameter.module}': {error}") from error
        except Exception as error:
            self._name_in(error)
            raise
        found = getattr(module, parameter.layer, None)
        if not (isinstance(found, type) and issubclass(found, UserLayer)):
            raise self.error(
                f"expected a class '{parameter.layer}' derived from caffe.Layer in the module "
                f"'{parameter.module}' ({getattr(module, '__file__', 'built in')}), found {found!r}"
            )
        return found

    def setup(self, bottom_shapes: Sequence[Shape]) -> None:
        self._run("setup", self._bottoms, self._tops)

    def top_shapes(self, bottom_shapes: Sequence[Shape]) -> list[Shape]:
        self._run("reshape", self._bottoms, self._tops)
        return [blob.shape for blob in self.top_blobs]

    def forward_blobs(self) -> None:
        self._run("reshape", self._bottoms, self._tops)
        self._run("forward", self._bottoms, self._tops)

    def backward_blobs(self, propagate_down: Sequence[bool]) -> None:
        self._run("backward", self._tops, list(propagate_down), self._bottoms)

    def _run(self, name: str, *arguments: Any) -> None:
        # Looked up at each call: a user may have given the object another one.
        method = getattr(self.user, name, None)
        if method is None:
            named = _ARGUMENTS.get(name, "bottom, top")
            raise NoSuchMethodError(
                f"layer '{self.name}' ({self.type}): {type(self.user).__name__} needs a method "
                f"{name}(self, {named})"
            )
        self._call(method, *arguments)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:
            self._name_in(error)
            raise

    def _name_in(self, error: Exception) -> None:
        parameter = self.param.python_param
        error.add_note(
            f"in layer '{self.name}' ({self.type}): {parameter.module}.{parameter.layer}"
        )
