"""Becomes another program that gets SIGTERM when the process that started it dies, however it dies.

A program of its own, run by path, because code between fork and exec of a threaded process may deadlock.
Usage: tied_start.py PARENT_PID PROGRAM ARGUMENT...
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    parent, program, *arguments = sys.argv[1:]
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")
    if os.getppid() != int(parent):  # it died before the request above took hold
        sys.exit("the parent process is gone")
    os.execv(program, [program, *arguments])  # noqa: S606 - becoming that program is the point
