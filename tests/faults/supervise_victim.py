"""The supervisor over the victim, in a process as small as the real one, whose end counts in what is measured."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from guidance.service.supervisor import Supervisor


def tell(row: dict[str, Any]) -> None:
    """Whole lines: the victim writes to the same pipe."""
    os.write(1, json.dumps(row).encode() + b"\n")


if __name__ == "__main__":
    supervisor = Supervisor([sys.executable, str(Path(__file__).with_name("victim.py")), *sys.argv[1:]], tell)
    tell({"child": supervisor.child})
    sys.exit(supervisor.run())
