"""How a planted bug is looked for: deterministically, without a database and without shrinking.

The question is only whether it is found. `settings(HUNT, max_examples=...)` says how long to look.
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
