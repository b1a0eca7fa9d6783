"""`python -m benchmarks [SCENARIO]...`, `... report`, `... compare A.json B.json`; `--help` says more."""

import sys

from benchmarks.suite.command import main

if __name__ == "__main__":
    main(sys.argv[1:])
