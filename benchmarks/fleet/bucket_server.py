"""An S3 on loopback in a process of its own: prints its address, and lives until its standard input ends.

It takes no signals: who started it closes the pipe, or dies, and either way it ends.
"""

import sys

from moto.server import ThreadedMotoServer


def main() -> None:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    print(f"http://{host}:{port}", flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
