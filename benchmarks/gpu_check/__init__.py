"""For a GPU host: do the archives answer there as they do on a CPU, and how much faster?

    python -m benchmarks.gpu_check --store GPU_ARCHIVES --reference-store CPU_ARCHIVES

Two servers run one after the other: the reference (embedded engine, CPU) and the subject (Triton, GPU). Both are asked
over HTTP, for every archive name that both stores have, and one report is written: parity, speed, environment.
"""
