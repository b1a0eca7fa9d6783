"""The planner against everything that its world can do to it."""

from hypothesis import settings

from server.residency.planning import planner
from tests.property.planner_machine import RUSHES_FROM, machine_for

TestPlanner = machine_for(planner, rushes_from=RUSHES_FROM).TestCase
TestPlanner.settings = settings(stateful_step_count=50)
