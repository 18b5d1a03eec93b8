"""The wire types by the name in their header. A name that is not here is kept opaque."""

from devices.openigtlink.bodies.base import NoData, NotFiniteError, Opaque, Wire
from devices.openigtlink.bodies.catalogues import (
    ColorTable,
    ImageMeta,
    ImageMetaElement,
    LabelMeta,
    LabelMetaElement,
    VideoMeta,
    VideoMetaElement,
)
from devices.openigtlink.bodies.geometry import (
    Point,
    PointElement,
    PolyAttribute,
    PolyData,
    Trajectory,
    TrajectoryElement,
)
from devices.openigtlink.bodies.images import ImageData
from devices.openigtlink.bodies.poses import (
    TRANSFORM_SIZE,
    PoseWire,
    Position,
    QuaternionElement,
    QuaternionTrackingData,
    TrackingData,
    TrackingElement,
    Transform,
    columns_from,
    matrix_from,
    pack_columns,
    pack_matrix,
    without_lost,
)
from devices.openigtlink.bodies.queries import ANSWER_TYPES, QUERY_TYPES, Answer, Query
from devices.openigtlink.bodies.values import ArrayData, Bind, Child, SensorData
from devices.openigtlink.bodies.words import Capability, CommandData, StatusData, StringData

BODIES: dict[str, type[Wire]] = {
    "TRANSFORM": Transform,
    "POSITION": Position,
    "QTRANS": Position,
    "TDATA": TrackingData,
    "QTDATA": QuaternionTrackingData,
    "IMAGE": ImageData,
    "IMGMETA": ImageMeta,
    "LBMETA": LabelMeta,
    "VIDEOMETA": VideoMeta,
    "COLORT": ColorTable,
    "COLORTABLE": ColorTable,
    "POINT": Point,
    "TRAJ": Trajectory,
    "POLYDATA": PolyData,
    "STATUS": StatusData,
    "STRING": StringData,
    "CAPABILITY": Capability,
    "COMMAND": CommandData,
    "RTS_COMMAND": CommandData,
    "SENSOR": SensorData,
    "NDARRAY": ArrayData,
    "BIND": Bind,
    **dict.fromkeys(QUERY_TYPES, Query),
    **dict.fromkeys(ANSWER_TYPES, Answer),
}

# Lists whose empty form is the message itself; any other data type without content is an answer "no data".
EMPTY_MEANS_EMPTY = frozenset({"TDATA", "QTDATA", "IMGMETA", "LBMETA", "VIDEOMETA", "POINT", "TRAJ", "CAPABILITY"})

__all__ = [
    "ANSWER_TYPES", "BODIES", "EMPTY_MEANS_EMPTY", "QUERY_TYPES", "TRANSFORM_SIZE", "Answer", "ArrayData", "Bind",
    "Capability", "Child", "ColorTable", "CommandData", "ImageData", "ImageMeta", "ImageMetaElement", "LabelMeta",
    "LabelMetaElement", "NoData", "NotFiniteError", "Opaque", "Point", "PointElement", "PolyAttribute", "PolyData",
    "PoseWire", "Position", "QuaternionElement", "QuaternionTrackingData", "Query", "SensorData", "StatusData",
    "StringData", "TrackingData", "TrackingElement", "Trajectory", "TrajectoryElement", "Transform", "VideoMeta",
    "VideoMetaElement", "Wire", "columns_from", "matrix_from", "pack_columns", "pack_matrix", "without_lost",
]  # fmt: skip
