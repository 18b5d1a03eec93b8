"""Cases that once showed a fault of the service or of the campaign itself, by the names of their faults."""

from guidance.faults.kinds import FAULTS
from guidance.faults.virtual_run import Case

# seed of its chance, patient, place in the treatment, faults, when they begin in ms
_ROWS: tuple[tuple[int, int, int, tuple[str, ...], tuple[float, ...]], ...] = (
    (7, 0, 1, ("invalid", "no signal in a third of the picture"), (406.505, 383.686)),
    (12, 0, 1, ("duplicated", "one guard voxel hot"), (24.591, 665.063)),
    (28, 0, 1, ("no signal in a third of the picture", "huge_size on the tracker's wire"), (439.192, 220.113)),
    (312, 0, 1, ("no signal in a third of the picture", "one guard voxel hot"), (253.455, 98.667)),
    (596, 0, 2, ("no signal in a third of the picture",), (181.503,)),
    (933, 1, 2, ("bursts of 30 lost", "cut on the tracker's wire"), (155.125, 169.577)),
    (1164, 0, 1, ("no signal in a third of the picture", "body_flip on the tracker's wire"), (595.803, 169.952)),
    (1188, 0, 2, ("body_flip on the scanner's wire", "frozen picture"), (372.256, 239.498)),
    (1204, 0, 0, ("http on the device's wire", "STOP answered late"), (588.64, 688.649)),
    (1224, 1, 1, ("pause of 1.6 periods and more", "flip on the tracker's wire"), (330.814, 185.97)),
    (1432, 0, 0, ("duplicated", "body_flip on the tracker's wire"), (602.708, 697.624)),
    (4313, 0, 1, ("wrong_crc on the scanner's wire", "no signal in a third of the picture"), (479.289, 346.992)),
    (6315, 0, 1, ("noise on the device's wire", "not finite"), (490.852, 369.683)),
    (8018, 0, 1, ("cut on the device's wire", "cut on the scanner's wire"), (228.594, 90.591)),
    (3699, 0, 2, ("invalid", "zero"), (180.106, 522.234)),
    (8587, 0, 2, ("noise on the device's wire", "body_flip on the scanner's wire"), (349.913, 536.162)),
    (9095, 0, 2, ("invalid", "zero"), (40.345, 330.24)),
    (3650, 1, 2, ("phase noise", "version on the scanner's wire"), (198.11, 651.382)),
    (4236, 1, 2, ("noise on the tracker's wire", "hidden tool repeats its pose"), (332.105, 306.387)),
    (8196, 1, 2, ("pixels not finite", "pause of 3 periods and more"), (232.224, 539.545)),
    (441, 0, 0, ("reference hidden", "second reference pushed"), (672.152, 692.932)),
    (5367, 0, 0, ("reference pushed", "reference hidden"), (12.537, 33.24)),
    (4045, 1, 2, ("flip on the tracker's wire", "flip on the device's wire"), (676.411, 223.698)),
    (5900, 3, 2, ("http on the tracker's wire", "hidden tool repeats its pose"), (303.967, 620.64)),
    (2369, 1, 1, ("no signal", "http on the scanner's wire"), (404.147, 553.114)),
    (5390, 0, 1, ("robot rushes aside", "loop late"), (196.165, 333.84)),
    (7109, 0, 1, ("robot's pose invalid", "robot's pose silent"), (679.15, 503.082)),
    (9939, 0, 1, ("loop blocked", "robot's pose invalid"), (545.893, 364.729)),
    (6213, 0, 1, ("robot's pose invalid", "robot's tip jumps aside"), (120.071, 116.053)),
    (863, 0, 1, ("guard's lane hangs", "target about to boil"), (548.088, 628.244)),
    (392, 0, 1, ("guard's lane hangs", "unheated tissue reads wrong"), (611.29, 466.348)),
    (415, 0, 0, ("another echo time", "last picture is never computed"), (458.343, 293.843)),
    (2892, 0, 1, ("last picture is never computed", "another echo time"), (149.474, 207.182)),
)
_INDEX = {row.name: number for number, row in enumerate(FAULTS)}
PAST = tuple(
    Case(seed, base, place, tuple(_INDEX[name] for name in names), starts) for seed, base, place, names, starts in _ROWS
)
