import pytest

from server.domain.model import CPU, NOTHING, Footprint
from server.residency.memory.footprint import Footprints
from server.residency.options import ResidencyOptions
from tests.fakes.source import step


@pytest.mark.parametrize(("second", "charged"), [(1040, 1000), (960, 1000), (1100, 1100), (800, 800)])
def test_a_second_measurement_counts_only_if_it_is_more_than_noise(second, charged):
    """The charge of a repeated load is then its prediction, and cannot overdraw the budget."""
    footprints = Footprints(lambda _: NOTHING, {CPU: 5000}, ResidencyOptions())
    footprints.measured(step("a"), Footprint({CPU: 1000}), 1.0)

    assert footprints.measured(step("a"), Footprint({CPU: second}), 1.0) == Footprint({CPU: charged})
    assert footprints.predict(step("a")) == Footprint({CPU: charged})
