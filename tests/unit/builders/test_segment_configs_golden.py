"""The configs of Segment Anything's own steps, reviewed as text."""

from pathlib import Path

import pytest

from builders.families import segment_anything as family
from tests.golden.golden import check

pytestmark = pytest.mark.builders


@pytest.mark.parametrize("step", ["embed", "sam"])
def test_the_config_is_golden(tmp_path: Path, step):
    family._embed_step(tmp_path)
    family._segment_step(family.Options(name="sam"), tmp_path)
    check(f"segment_anything_{step}.config.pbtxt", (tmp_path / step / "config.pbtxt").read_text())


def test_a_name_that_a_step_has_is_refused(tmp_path):
    with pytest.raises(Exception, match="name of a step"):
        family.build(family.Options(size="tiny", name="embed"), tmp_path / "x")
    assert not list(tmp_path.iterdir())
