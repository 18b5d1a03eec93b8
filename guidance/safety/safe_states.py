"""Safe states: what STOP means for each kind of device.

It never ends imaging, tracking, coolant, coupling water or fluoroscopy.
"""

import msgspec


class SafeState(msgspec.Struct, frozen=True):
    """`text` for people; `values` go with the STOP command, so that the device need not guess."""

    text: str
    values: dict[str, float] = {}


SAFE_STATES: dict[str, SafeState] = {
    "ultrasound": SafeState("emission off, coupling water stays", {"emission": 0.0, "coupling": 1.0}),
    "laser": SafeState("emission off, coolant stays on", {"emission": 0.0, "coolant": 1.0}),
    "microwave": SafeState("emission off, coolant stays on", {"emission": 0.0, "coolant": 1.0}),
    "radiofrequency": SafeState("emission off, coolant stays on", {"emission": 0.0, "coolant": 1.0}),
    "cryo": SafeState("freezing off, needles stay, no automatic thaw", {"freeze": 0.0, "thaw": 0.0}),
    "electroporation": SafeState("no pulses, capacitors discharged", {"pulses": 0.0, "discharge": 1.0}),
    "linac": SafeState("beam off, leaves and couch stay where they are", {"beam": 0.0, "hold": 1.0}),
    "robot_outside": SafeState("holds its place", {"hold": 1.0, "compliant": 0.0}),
    "robot_in_moving_organ": SafeState("compliant, follows the organ", {"hold": 0.0, "compliant": 1.0}),
}
