"""The real liver cine series through the running core: what is good is used, what is bad is named, 100 of 100."""

from pathlib import Path

import numpy as np
import pytest

from devices.messages import Image
from devices.recorded.files import read_series
from guidance.lanes.motion import MotionWork
from guidance.load import config_file, load_room

SERIES = {"cine_ks81": "2020-11-10_KS81_Nav_Pur_1.mha", "cine_cs31": "2020-11-17_CS31_Nav_Pur_2.mha"}
HORIZON_S = 0.1


class Player:
    """The guard lane of a real room, fed frame by frame as `SeriesPeer` says them."""

    def __init__(self, procedure: str, folder: Path) -> None:
        settings, plan, _ = load_room(config_file("procedures", procedure))
        series = read_series(folder / SERIES[procedure], kind="auto", period_s=None, assume_space=None)
        self.frames = series.frames
        self.geometry = series.frame_from_image_mm[0]
        self.work = MotionWork(settings, plan)
        self.now_ns = 0

    def show(self, pixels):
        self.now_ns += 167_000_000
        image = Image(name="Cine", pixels=pixels, frame="RAS", frame_from_image_mm=self.geometry)
        return self.work.cine(image, self.now_ns, HORIZON_S)[0]

    def until_reference(self) -> None:
        states = [self.show(frame)["state"] for frame in self.frames[:60]]
        assert set(states) == {"acquiring_reference"}


def fitted(picture, shape):
    """The picture cut or filled with zeros to (1, rows, columns)."""
    out = np.zeros(shape, picture.dtype)
    rows, columns = (min(a, b) for a, b in zip(picture.shape, shape[1:], strict=True))
    out[0, :rows, :columns] = picture[:rows, :columns]
    return out


@pytest.mark.data
@pytest.mark.parametrize("procedure", sorted(SERIES))
def test_undisturbed_cine_is_hardly_ever_refused(procedure, data_dir):
    player = Player(procedure, data_dir / "liver_cine_mr")
    player.until_reference()
    told = [player.show(frame) for frame in player.frames[60:460:2]]
    refused = [facts["state"] for facts in told if not facts["usable"] or facts["through_plane"]]
    assert len(refused) < 0.01 * len(told), refused
    assert np.ptp([facts["y_mm"] for facts in told]) > 8, "this organ breathes"


@pytest.mark.data
def test_the_one_estimate_that_went_astray_is_named(data_dir):
    """Frame 187 of CS31: the picture goes on as before (its nearest are its neighbours), the estimate leapt 22 mm."""
    player = Player("cine_cs31", data_dir / "liver_cine_mr")
    pictures = np.array([frame[0] for frame in player.frames])
    apart = np.square(pictures.astype(np.float32) - pictures[187]).mean(axis=(1, 2))
    assert set(np.argsort(apart)[:3]) == {185, 186, 187}
    player.until_reference()
    told = [player.show(frame) for frame in player.frames[60:190]]
    assert [(k + 60, facts["state"]) for k, facts in enumerate(told) if not facts["usable"]] == [(187, "jump")]
    astray, before = told[127], told[126]
    assert abs(astray["y_mm"] - before["y_mm"]) > 15
    assert not any(key.startswith("ahead") for key in astray)


@pytest.mark.data
@pytest.mark.parametrize("procedure", sorted(SERIES))
def test_every_bad_frame_is_named(procedure, data_dir):
    player = Player(procedure, data_dir / "liver_cine_mr")
    stranger = Player(next(name for name in SERIES if name != procedure), data_dir / "liver_cine_mr").frames
    player.until_reference()
    shape = player.frames[0].shape
    bad = 0
    for k in range(60, 460, 32):  # 13 frames, 4 kinds, 2 series: 104 cases
        picture = player.frames[k][0]
        for name, made in {
            "blank": np.full_like(picture, 7),
            "other slice": stranger[k][0],
            "turned by 90 degrees": np.rot90(picture),
            "jump of 40 px": np.roll(picture, ((40, 0), (0, 40), (-40, 0), (0, -40))[k // 32 % 4], (0, 1)),
        }.items():
            facts = player.show(fitted(made, shape))
            assert not facts["usable"] and facts["quality"] == 0.0, (name, k, facts)
            assert not any(key.startswith("ahead") for key in facts), "nothing is predicted from a bad frame"
            bad += 1
        assert player.show(player.frames[k])["usable"], k
    assert bad == 52
