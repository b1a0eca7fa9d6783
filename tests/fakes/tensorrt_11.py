"""A `tensorrt` module that knows the names of the 11.4 binding which builders may use, and refuses all others.

    trt = FakeTensorRT()            build_plan(graph, to, profile, trt=trt, gpu=...)

It reads the real ONNX file, so that profiles are judged by the graph's own inputs; it refuses wrong orders of calls as
the real one does; and its "plan" is JSON that tells what was asked for. What 11.x dropped (FP16 flags, calibrators,
EXPLICIT_BATCH, build_engine, layer precisions) is an AttributeError here too. Names, values and signatures were compared
with the binding of 11.4.0.106 itself, loaded beside empty libraries (names can be listed so, and nothing can run).
"""

import enum
import json
from functools import partial
from pathlib import Path

import onnx


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 0
    PREFER_JIT_PYTHON_PLUGINS = 1
    PREFER_AOT_PYTHON_PLUGINS = 2


class BuilderFlag(enum.IntEnum):
    DEBUG = 2
    GPU_FALLBACK = 3
    REFIT = 4
    DISABLE_TIMING_CACHE = 5
    TF32 = 6
    SPARSE_WEIGHTS = 7
    SAFETY_SCOPE = 8
    DIRECT_IO = 11
    VERSION_COMPATIBLE = 12
    EXCLUDE_LEAN_RUNTIME = 13
    ERROR_ON_TIMING_CACHE_MISS = 15
    DISABLE_COMPILATION_CACHE = 17
    STRIP_PLAN = 18
    REFIT_IDENTICAL = 19
    WEIGHT_STREAMING = 20
    REFIT_INDIVIDUAL = 22
    STRICT_NANS = 23
    MONITOR_MEMORY = 24
    EDITABLE_TIMING_CACHE = 26
    DISTRIBUTIVE_INDEPENDENCE = 27


class HardwareCompatibilityLevel(enum.IntEnum):
    NONE = 0
    AMPERE_PLUS = 1
    SAME_COMPUTE_CAPABILITY = 2


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0
    DLA_MANAGED_SRAM = 1
    DLA_LOCAL_DRAM = 2
    DLA_GLOBAL_DRAM = 3
    TACTIC_DRAM = 4
    TACTIC_SHARED_MEMORY = 5


class _Strict:
    """Only what `__init__` or the class defines can be set, as on an object of a native binding."""

    _settable: frozenset[str] = frozenset()

    def __setattr__(self, name, value):
        if not name.startswith("_") and name not in self._settable:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        object.__setattr__(self, name, value)


class _HostMemory:
    """Bytes through the buffer protocol, like IHostMemory: `bytes(memory)`, and no more."""

    def __init__(self, content):
        self._content = content

    def __bytes__(self):
        return self._content


class _TimingCache(_Strict):
    def __init__(self, blob):
        self._blob = blob

    def serialize(self):
        return _HostMemory(self._blob)


class _Network(_Strict):
    def __init__(self, builder, flags):
        self._builder = builder
        self._flags = flags
        self._inputs = None  # {name: shape} once a graph was parsed


class _OptimizationProfile(_Strict):
    def __init__(self):
        self._shapes = {}

    def set_shape(self, name, least, best, most):
        if not len(least) == len(best) == len(most):
            raise ValueError(f"shapes of {name} have different lengths")
        if not all(a <= b <= c for a, b, c in zip(least, best, most, strict=True)):
            raise ValueError(f"shapes of {name} must have min <= opt <= max")
        self._shapes[name] = [list(least), list(best), list(most)]


class _BuilderConfig(_Strict):
    _settable = frozenset({"hardware_compatibility_level"})

    def __init__(self, trt):
        self._trt = trt
        self.hardware_compatibility_level = HardwareCompatibilityLevel.NONE
        self._flags = set()
        self._limits = {}
        self._profiles = []
        self._cache = None

    def set_memory_pool_limit(self, pool, size):
        self._limits[MemoryPoolType(pool).name] = int(size)

    def set_flag(self, flag):
        self._flags.add(BuilderFlag(flag).name)

    def add_optimization_profile(self, profile):
        if not profile._shapes or self._trt._refuses_profiles:
            return -1
        self._profiles.append(profile._shapes)
        return len(self._profiles) - 1

    def create_timing_cache(self, blob):
        return _TimingCache(bytes(memoryview(blob)))

    def set_timing_cache(self, cache, ignore_mismatch):
        if cache._blob and not ignore_mismatch and not cache._blob.startswith(self._trt._cache_mark):
            return False
        self._cache = cache
        return True


class _ParserError(_Strict):
    def __init__(self, text):
        self._text = text

    def __str__(self):
        return self._text


class Logger(_Strict):
    pass


class OnnxParser(_Strict):
    def __init__(self, network, logger):
        assert isinstance(network, _Network), "OnnxParser(network, logger): not a network"
        assert isinstance(logger, Logger), "OnnxParser(network, logger): not a logger"
        self._network = network
        self._errors = []

    def parse_from_file(self, file):
        if not isinstance(file, str):
            raise TypeError("parse_from_file(): incompatible function arguments")
        self._errors = [_ParserError(text) for text in self._network._builder._trt._parser_errors]
        if not self._errors:
            self._network._inputs = _inputs_of(Path(file))
        return not self._errors

    @property
    def num_errors(self):
        return len(self._errors)

    def get_error(self, index):
        return self._errors[index]


class Builder(_Strict):
    def __init__(self, trt, logger):
        assert isinstance(logger, Logger), "Builder(logger): not a logger"
        self._trt = trt

    def create_network(self, flags=0):
        return _Network(self, flags)

    def create_builder_config(self):
        return _BuilderConfig(self._trt)

    def create_optimization_profile(self):
        return _OptimizationProfile()

    def build_serialized_network(self, network, config):
        assert network._builder is self, "the network is another builder's"
        assert network._inputs is not None, "nothing was parsed into the network"
        if not self._trt._makes_plans or not _profiles_fit(network._inputs, config._profiles):
            return None
        assert config._cache is not None, "no timing cache was set"
        config._cache._blob = (config._cache._blob or self._trt._cache_mark) + b"one more build\n"
        return _HostMemory(_told(self._trt, network, config))


class FakeTensorRT:
    """The module itself. Knobs are keyword arguments; everything else about it is 11.4's."""

    NetworkDefinitionCreationFlag = NetworkDefinitionCreationFlag
    BuilderFlag = BuilderFlag
    HardwareCompatibilityLevel = HardwareCompatibilityLevel
    MemoryPoolType = MemoryPoolType
    Logger = Logger
    OnnxParser = OnnxParser

    def __init__(self, version="11.4.0.106", parser_errors=(), makes_plans=True, refuses_profiles=False):
        self.__version__ = version
        self.Builder = partial(Builder, self)
        self._cache_mark = f"timings of {version}\n".encode()
        self._parser_errors = list(parser_errors)
        self._makes_plans = makes_plans
        self._refuses_profiles = refuses_profiles

    def __getattr__(self, name):
        raise AttributeError(f"module 'tensorrt' has no attribute {name!r}")


def _inputs_of(file):
    graph = onnx.load(str(file)).graph  # with its external weights: a missing file is found here, as by the real one
    weights = {each.name for each in graph.initializer}
    return {
        each.name: [dim.dim_value if dim.HasField("dim_value") else -1 for dim in each.type.tensor_type.shape.dim]
        for each in graph.input
        if each.name not in weights
    }


def _profiles_fit(inputs, profiles):
    """Every input with a dynamic axis needs shapes in a profile, which agree with its fixed axes."""
    dynamic = {name: shape for name, shape in inputs.items() if -1 in shape}
    if not dynamic:
        return True
    return bool(profiles) and all(
        name in profile
        and all(
            len(shapes) == len(shape) and all(want in (-1, got) for want, got in zip(shape, shapes, strict=True))
            for shapes in profile[name]
        )
        for profile in profiles
        for name, shape in dynamic.items()
    )


def _told(trt, network, config):
    return json.dumps(
        {
            "tensorrt": trt.__version__,
            "strongly_typed": bool(network._flags & (1 << int(NetworkDefinitionCreationFlag.STRONGLY_TYPED))),
            "inputs": network._inputs,
            "profiles": config._profiles,
            "limits": config._limits,
            "flags": sorted(config._flags),
            "hardware": config.hardware_compatibility_level.name,
        }
    ).encode()
