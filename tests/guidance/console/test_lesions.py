"""What pages get of a lesion that grows from an applicator."""

import numpy as np
import pytest

from guidance.console.frames import MISSING
from guidance.console.sources import LESIONS, _lesion_layers


@pytest.mark.parametrize("name", sorted(LESIONS))
def test_the_sign_of_every_map_survives_its_steps(name):
    values = np.array([[[-5.0, -0.01, 0.0, 0.01, 12.0, np.nan]]], np.float32)
    (layer,) = _lesion_layers({name: values, "magnitude": values}, regions=None)
    assert (layer.name, layer.unit) == LESIONS[name][:2]
    back = layer.values[0, 0, :5] * layer.scale + layer.offset
    np.testing.assert_allclose(back, values[0, 0, :5], atol=0.6 * layer.scale)
    assert (back[:2] < 0).all() and (back[3:] > 0).all()
    assert layer.values[0, 0, 5] == MISSING


def test_nothing_is_made_of_other_volumes():
    assert _lesion_layers({"magnitude": np.zeros((1, 4, 4))}, regions=None) == []
