"""Front-end workers: processes that answer plain requests on leases; one process keeps residency (docs/workers.md).

`home/` is the side of the process that decides, `front/` that of the workers; between them there are words (`words.py`)
on a channel. What decides about leases is pure: `home/lent_out.py` and `front/held.py`.
"""
