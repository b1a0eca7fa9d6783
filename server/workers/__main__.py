"""A front-end worker; `home/workforce.py` starts it: `python -m server.workers CHANNEL_FD LISTENER_FD`."""

import sys

from server.workers.front.process import main

if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
