"""The plan compiler against the real TensorRT, which the fake of tests/fakes/tensorrt_11.py stands in for elsewhere."""

from builders.compile.gpu import the_gpu
from builders.compile.tensorrt_plan import PlanOptions, build_plan
from tests.gpu import gpu_archives


def test_a_plan_is_made_here_and_its_timings_are_kept(tensorrt, tmp_path):
    graph = gpu_archives.write(tmp_path / "archive", "tensorrt") / "linear" / "1" / "model.onnx"
    options = PlanOptions(timing_cache=tmp_path / "timing.cache")
    for _ in range(2):  # the second build starts from the first one's timings
        facts = build_plan(graph, tmp_path / "model.plan", gpu_archives.PROFILE, options)
    assert (tmp_path / "model.plan").stat().st_size > 0
    assert options.timing_cache.stat().st_size > 0
    assert (facts.version, facts.compute_capability) == (tensorrt.__version__, the_gpu().compute_capability)


def test_the_names_that_the_fake_knows_are_the_real_ones(tensorrt):
    from tests.fakes import tensorrt_11 as fake

    for kind in (
        fake.BuilderFlag,
        fake.HardwareCompatibilityLevel,
        fake.MemoryPoolType,
        fake.NetworkDefinitionCreationFlag,
    ):
        real = getattr(tensorrt, kind.__name__)
        known = {member.name: member.value for member in kind}
        assert {name: int(getattr(real, name, -1)) for name in known} == known, kind.__name__
