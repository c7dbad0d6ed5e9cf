"""The nets that a SolverParameter asks for.

Source: ``InitTrainNet`` and ``InitTestNets`` in ``solver.cpp``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from recaffe.context import context
from recaffe.detection.folding import unfold
from recaffe.errors import SolverError
from recaffe.net import Net, load_weights
from recaffe.proto.schema import TEST, TRAIN, NetParameter, NetState
from recaffe.proto.text import read_net

logger = logging.getLogger(__name__)

MakeNet = Callable[..., Net]
_TRAIN_NETS = ("train_net_param", "train_net", "net_param", "net")


def make_train_net(param: Any, make_net: MakeNet) -> Net:
    """The net to train, with the solver's ``weights`` in it.

    Raises:
        SolverError: none is named, or more than one.
    """
    given = [name for name in _TRAIN_NETS if param.HasField(name)]
    if len(given) != 1:
        raise SolverError(
            f"the solver must name its train net once, by one of {', '.join(_TRAIN_NETS)}; "
            f"found {', '.join(given) or 'none'}"
        )
    source = getattr(param, given[0])
    if context.is_root_solver:
        logger.info("Creating training net %s", _described(given[0], source, "from"))
    net = _net(source, TRAIN, param.train_state, make_net)
    _load(net, param)
    return net


def make_test_nets(param: Any, make_net: MakeNet) -> list[Net]:
    """The nets to test: those of their own first, then the shared one as often as is left.

    Raises:
        SolverError: the numbers of nets, ``test_iter`` and ``test_state`` do not fit together.
    """
    sources: list[tuple[str, Any]] = [
        *(("test_net_param", own) for own in param.test_net_param),
        *(("test_net", own) for own in param.test_net),
    ]
    shared = [(name, getattr(param, name)) for name in ("net_param", "net") if param.HasField(name)]
    tests = len(param.test_iter)
    if tests < len(sources) or (tests > len(sources) and not shared):
        raise SolverError(f"{tests} test_iter for {len(sources)} test net(s); give one each")
    sources += shared * (tests - len(sources))
    if sources and param.test_interval < 1:
        raise SolverError("test_iter needs a test_interval of at least 1")
    states = list(param.test_state) or [NetState()] * len(sources)
    if len(states) != len(sources):
        raise SolverError(f"{len(states)} test_state for {len(sources)} test net(s)")
    nets = []
    for index, ((field, source), state) in enumerate(zip(sources, states, strict=True)):
        described = _described(field, source, "specified by")
        logger.info("Creating test net (#%d) %s", index, described)
        nets.append(_net(source, TEST, state, make_net))
        _load(nets[-1], param)
    return nets


def _described(field: str, source: Any, by: str) -> str:
    if isinstance(source, str):
        return f"{by} {field} file: {source}"
    return f"specified in {field}." if by == "from" else f"{by} {field}"


def _net(source: Any, phase: int, state: Any, make_net: MakeNet) -> Net:
    is_path = isinstance(source, str)
    param = NetParameter()
    param.CopyFrom(read_net(source) if is_path else source)
    param.state.MergeFrom(state)
    origin = source if is_path else "the solver's net"
    return make_net(param, phase, origin=origin)


def _load(net: Net, param: Any) -> None:
    files = [path.strip() for paths in param.weights for path in paths.split(",")]
    for path in files:
        logger.info("Finetuning from %s", path)
    if files:
        unfold(net, load_weights(net, files).copied)
