"""A PLUS sequence file as a tracker, an ultrasound machine, or both on one link."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from devices.messages import AnyMessage, Image, Pose
from devices.quality import Quality
from devices.recorded.errors import RecordedDataError
from devices.recorded.files import find
from devices.recorded.playback import RecordedPeer, Schedule
from devices.recorded.sequence import RecordedPose, SequenceFrame, read_sequence
from devices.recorded.volume import Pixels, matrix

EMITS = {"both": (True, True), "tracker": (True, False), "ultrasound": (False, True)}
_IDENTITY = matrix(np.eye(4))  # stands where the contract wants a matrix and the quality says MISSING


class SequencePeer(RecordedPeer):
    """Plays a sequence file: at every frame's time first its poses, then its image.

    Parameters (all plain TOML values):
        path: the file; `${GUIDANCE_DATA}` and the like come from `environment`.
        name: the link id that it speaks on.
        emit: "both", "tracker" (poses only) or "ultrasound" (images only): two peers over one file
            with the same `start_ns` and `timing` stay in step on two links.
        timing: "original" | "shifted" | seconds per frame, see `Schedule`.
        loop: start again after the last frame, time running on.
        image_name: the images' message name; `image_frame` the frame that they are in.
        orientation: images are turned to it ("MF" is what probe calibrations are made for); "" keeps
            them as recorded.
        transforms: only these, as "ProbeToTracker"; empty means all.
        image_unit: whether pixels are placed in "mm" by the file's spacing or left in "pixels" (the
            PLUS Image frame, whose mm come with the ImageToProbe calibration).
        seed: accepted because every peer of a scenario is given one; a recording has no chance in it.

    Poses: name "ProbeToTracker", moving "Probe", fixed "Tracker", quality by the file's status; a
    transform that other frames have and this one lacks is said as MISSING. Images: `Image` with the
    frame's number and, in `tags`, orientation, type and the unfiltered time.

    Raises RecordedDataError where the file cannot be used, ValueError for a parameter that cannot.
    """

    def __init__(
        self,
        path: str,
        name: str = "tracker",
        *,
        start_ns: int = 0,
        emit: str = "both",
        timing: str | float = "shifted",
        loop: bool = False,
        image_name: str = "Image",
        image_frame: str = "Image",
        orientation: str = "MF",
        transforms: Sequence[str] = (),
        image_unit: str = "pixels",
        environment: Mapping[str, str] = os.environ,
        seed: int = 0,
    ) -> None:
        if emit not in EMITS:
            raise ValueError(f"emit is one of {sorted(EMITS)}, not {emit!r}")
        if image_unit not in ("pixels", "mm"):
            raise ValueError(f"image_unit is 'pixels' or 'mm', not {image_unit!r}")
        poses, images = EMITS[emit]
        file = find(path, environment)
        self._sequence = read_sequence(file, wanted_orientation=orientation if images else "")
        self._transforms = _chosen(file, self._sequence.transforms, transforms) if poses else {}
        self._images = self._sequence.images if images else None
        if emit == "ultrasound" and self._images is None:
            raise RecordedDataError(
                file, "DimSize", "the file holds poses only: nothing for an ultrasound machine to say"
            )
        self._image_name, self._image_frame = image_name, image_frame
        steps = self._sequence.spacing_mm if image_unit == "mm" else (1.0, 1.0, 1.0)
        self._frame_from_image = matrix(np.diag([*steps, 1.0]))
        times_s = self._sequence.times_s.tolist()
        schedule = Schedule(
            times_s, start_ns=start_ns, timing=timing, loop=loop, first_device_ns=round(times_s[0] * 1_000_000_000)
        )
        self._lap_numbers = 1 + max(frame.number for frame in self._sequence.frames)
        super().__init__(name, schedule, self._moment)

    def _moment(self, index: int, saying: int, device_time_ns: int) -> list[AnyMessage]:
        frame = self._sequence.frames[index]
        number = (
            frame.number + (saying - index) // len(self._sequence.frames) * self._lap_numbers
            if frame.number >= 0
            else saying
        )
        by_name = {(pose.moving, pose.fixed): pose for pose in frame.poses}
        messages: list[AnyMessage] = [
            _pose(name, moving, fixed, by_name.get((moving, fixed)), number, device_time_ns)
            for (moving, fixed), name in self._transforms.items()
        ]
        if self._images is not None:
            messages.append(self._image(self._images[index], frame, number, device_time_ns))
        return messages

    def _image(self, pixels: Pixels, frame: SequenceFrame, number: int, device_time_ns: int) -> Image:
        tags = {
            "UltrasoundImageOrientation": self._sequence.orientation,
            "UltrasoundImageType": self._sequence.image_type,
        }
        if frame.unfiltered_time_s is not None:
            tags["UnfilteredTimestamp_s"] = repr(frame.unfiltered_time_s)
        return Image(
            name=self._image_name,
            device_time_ns=device_time_ns,
            pixels=pixels,
            frame=self._image_frame,
            frame_from_image_mm=self._frame_from_image,
            quality=frame.image_quality,
            number=number,
            tags=tags,
        )


def _chosen(path: Path, there: Sequence[tuple[str, str]], wanted: Sequence[str]) -> dict[tuple[str, str], str]:
    """(moving, fixed) -> message name of the transforms to say, in the order of the file."""
    names = {(moving, fixed): f"{moving}To{fixed}" for moving, fixed in there}
    absent = set(wanted) - set(names.values())
    if absent:
        raise RecordedDataError(
            path, "transforms", f"{sorted(absent)} are not in the file, which has {[*names.values()]}"
        )
    return {pair: name for pair, name in names.items() if not wanted or name in wanted}


def _pose(name: str, moving: str, fixed: str, recorded: RecordedPose | None, number: int, device_time_ns: int) -> Pose:
    return Pose(
        name=name,
        device_time_ns=device_time_ns,
        moving=moving,
        fixed=fixed,
        fixed_from_moving=_IDENTITY if recorded is None else recorded.fixed_from_moving,
        quality=Quality.MISSING if recorded is None else recorded.quality,
        number=number,
    )
