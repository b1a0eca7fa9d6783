"""The planner against everything that its world can do to it."""

from hypothesis import settings

from server.residency.planning import planner
from tests.property.planner_machine import machine_for

TestPlanner = machine_for(planner).TestCase
TestPlanner.settings = settings(stateful_step_count=50)
