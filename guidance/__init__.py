"""The real-time brain of an image-guided intervention room. Research software, not a medical device."""

import os

__version__ = "0.1.0"

# Lanes are the only parallelism: threads of the linear algebra library that wait for each other on a busy machine
# cost twenty times what they save, and sums in another order would not replay byte for byte.
for _name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
