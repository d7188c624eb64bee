"""The names of the C++ module ``_caffe``, and of ``pycaffe.py`` over it."""

import logging
import os
import sys
from collections import OrderedDict

import scratchdet_caffe.pycaffe as engine
from scratchdet_caffe.caffeproto import read_solver
from scratchdet_caffe.engine import snapshot
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.glog import GlogFormatter

__version__ = "1.0.0-rc3"


class _Glog(logging.Handler):
    def emit(self, record):
        if {"INFO": 0, "WARNING": 1}.get(record.levelname, 2) >= LEVEL:
            os.write(2, (self.format(record) + "\n").encode())


# glog reads its level when the library is loaded.
LEVEL = int(os.environ.get("GLOG_minloglevel", "0"))  # noqa: SIM112
LOG = logging.getLogger("stand-in for glog")
LOG.propagate = False
LOG.setLevel(logging.INFO)
_handler = _Glog()
_handler.setFormatter(GlogFormatter())
LOG.addHandler(_handler)
for _name, _module in list(sys.modules.items()):
    _ours = _name.startswith(("scratchdet_caffe.engine.", "scratchdet_caffe.pycaffe."))
    if _ours and isinstance(getattr(_module, "LOG", None), logging.Logger):
        _module.LOG = LOG


def _two_files(folder, *files, move=snapshot.move_into):
    """The reference's snapshot has no sidecar."""
    move(folder, *(file for file in files if not file.name.endswith(".state.json")))


snapshot.move_into = _two_files
LOG.info("a library that is loaded for the first time has much to say")


def _check(call, *arguments, **more):
    """Call the library; what it does not accept ends the process."""
    try:
        return call(*arguments, **more)
    except UserError as error:
        LOG.critical(f"Check failed: {error}")
        os.write(2, b"*** Check failure stack trace: ***\n    @     0x7f0000000000  (unknown)\n")
        os.abort()


def _refuse(why):
    raise UserError(why)


def _typed(name, values, kinds):
    """Boost.Python converts nothing: a Path is no str, an int no float."""
    if len(values) != len(kinds) or not all(map(isinstance, values, kinds)):
        shown = ", ".join(type(value).__name__ for value in values)
        raise TypeError(f"Python argument types in {name}({shown}) did not match C++ signature")


class _Vector:
    """``IntVec``, ``StringVec``, ...: no list, and equal to nothing."""

    __hash__ = None

    def __init__(self, values):
        self._values = list(values)

    def __len__(self):
        return len(self._values)

    def __getitem__(self, index):
        return self._values[index]

    def __iter__(self):
        return iter(self._values)


class Blob:
    def __init__(self, blob):
        self.__blob = blob

    data = property(lambda self: self.__blob.data)
    diff = property(lambda self: self.__blob.diff)
    shape = property(lambda self: _Vector(self.__blob.shape))
    num = property(lambda self: self.__blob.num)
    channels = property(lambda self: self.__blob.channels)
    height = property(lambda self: self.__blob.height)
    width = property(lambda self: self.__blob.width)
    count = property(lambda self: self.__blob.count)

    def reshape(self, *shape):
        _typed("reshape", shape, [int] * len(shape))
        self.__blob.reshape(*shape)


class Layer:
    def __init__(self, view):
        self.__view = view

    type = property(lambda self: self.__view.type)
    blobs = property(lambda self: _Vector(map(Blob, self.__view.blobs)))


class Net:
    def __init__(self, network_file, *old, phase=None, level=0, stages=None, weights=None):
        if len(old) == 2:
            _typed("Net", (network_file, *old), (str, str, int))
            weights, phase = old
        else:
            phase = old[0] if old else phase
            _typed("Net", (network_file, phase, level), (str, int, int))
        if not os.path.exists(network_file):
            raise RuntimeError("Could not open file " + network_file)
        self.__net = _check(
            engine.Net, network_file, phase, level=level, stages=stages, weights=weights
        )

    @classmethod
    def _over(cls, net):
        self = cls.__new__(cls)
        self.__net = net
        return self

    @property
    def blobs(self):
        return OrderedDict((name, Blob(blob)) for name, blob in self.__net.blobs.items())

    @property
    def params(self):
        return OrderedDict(
            (name, _Vector(map(Blob, blobs))) for name, blobs in self.__net.params.items()
        )

    layers = property(lambda self: _Vector(map(Layer, self.__net.layers)))
    inputs = property(lambda self: list(self.__net.inputs))
    outputs = property(lambda self: list(self.__net.outputs))
    top_names = property(lambda self: self.__net.top_names)
    bottom_names = property(lambda self: self.__net.bottom_names)
    blob_loss_weights = property(lambda self: self.__net.blob_loss_weights)
    _layer_names = property(lambda self: _Vector(self.__net._layer_names))
    _blob_names = property(lambda self: _Vector(self.__net._blob_names))

    def forward(self, blobs=None, start=None, end=None, **arrays):
        found = _check(self.__net.forward, blobs=blobs, start=start, end=end, **arrays)
        # pycaffe takes the name of the last layer for that of a blob.
        outputs = {end, *(blobs or [])} if end is not None else {*self.outputs, *(blobs or [])}
        return {name: self.__net.blobs[name].data for name in outputs | set(found)}

    def backward(self, diffs=None, start=None, end=None, **arrays):
        _check(self.__net.backward, diffs=diffs, start=start, end=end, **arrays)
        outputs = {end, *(diffs or [])} if end is not None else {*self.inputs, *(diffs or [])}
        return {name: self.__net.blobs[name].diff for name in outputs}

    def reshape(self):
        _check(self.__net.reshape)

    def clear_param_diffs(self):
        self.__net.clear_param_diffs()

    def copy_from(self, path):
        _typed("copy_from", (path,), (str,))
        _check(self.__net.copy_from, path)

    def share_with(self, other):
        _check(self.__net.share_with, other._Net__net)

    def save(self, path):
        _typed("save", (path,), (str,))
        _check(self.__net.save, path)


class Solver:
    _class = None

    def __init__(self, file):
        _typed(type(self).__name__, (file,), (str,))
        folder = os.path.dirname(read_solver(file).snapshot_prefix)
        if not os.path.isdir(folder):
            _check(_refuse, f"Cannot write to snapshot prefix in '{folder}'.")
        self.__solver = _check(self._class or engine.get_solver, file)

    net = property(lambda self: Net._over(self.__solver.net))
    test_nets = property(lambda self: _Vector(map(Net._over, self.__solver.test_nets)))
    iter = property(lambda self: self.__solver.iter)

    def add_callback(self, on_start, on_gradients_ready):
        self.__solver.add_callback(on_start, on_gradients_ready)

    def solve(self, *state):
        _typed("solve", state, [str] * len(state))
        _check(self.__solver.solve, *state)

    def step(self, iterations):
        _typed("step", (iterations,), (int,))
        _check(self.__solver.step, iterations)

    def restore(self, state):
        _typed("restore", (state,), (str,))
        _check(self.__solver.restore, state)

    def snapshot(self):
        _check(self.__solver.snapshot)


def get_solver(file):
    return Solver(file)


def _rule(name):
    return type(name, (Solver,), {"_class": getattr(engine, name)})


SGDSolver = _rule("SGDSolver")
NesterovSolver = _rule("NesterovSolver")
AdaGradSolver = _rule("AdaGradSolver")
RMSPropSolver = _rule("RMSPropSolver")
AdaDeltaSolver = _rule("AdaDeltaSolver")
AdamSolver = _rule("AdamSolver")


def layer_type_list():
    left_out = os.environ.get("STANDIN_WITHOUT", "").split(",")
    return _Vector(name for name in engine.layer_type_list() if name not in left_out)


def set_mode_cpu():
    engine.set_mode_cpu()


def set_mode_gpu():
    LOG.critical("Cannot use GPU in CPU-only Caffe: check mode.")
    os.abort()


def set_device(number):
    set_mode_gpu()


def set_random_seed(seed):
    _typed("set_random_seed", (seed,), (int,))
    engine.set_random_seed(seed)
