"""Helpers of the fault tests that run as programs of their own are imported from beside the tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
