"""The parts of `benchmarks.scenarios.many_models`: variants, a run, what was watched, figures, tables, charts."""
