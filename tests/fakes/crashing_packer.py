"""A packer that ends as a runtime does that reads past the end of a packed weight: killed by a signal."""

import os
import signal

os.kill(os.getpid(), signal.SIGSEGV)
