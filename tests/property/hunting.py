"""How a planted bug is looked for: without a database and without shrinking.

The question is only whether it is found. `settings(HUNT, max_examples=...)` says how long to look. Hypothesis also draws
constants that it finds in the modules which happen to be loaded, so that a hunt is not quite the same in every process:
look for a bug several times as long as it takes alone (`AT_MOST`); whoever finds it stops.
"""

from hypothesis import HealthCheck, Phase, settings

HUNT = settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    print_blob=False,
    suppress_health_check=list(HealthCheck),
)
AT_MOST = 300
"""Examples, for bugs that are found within some ten."""
