"""Result files: written once by the rim, read back by a room that names them, refused when they do not hold."""

import json
from pathlib import Path
from typing import Any

import pytest

from devices.messages import Text
from guidance.errors import SettingsError
from guidance.events import Send, Tick
from guidance.load import config_file, with_results
from guidance.service.results import ResultFiles
from guidance.settings import parse_settings, read_toml
from guidance.space import CalibrationResult, write_result

MADE_NS = 1_700_000_000_000_000_000
HOUR_NS = 3600 * 10**9


def result(**changes: Any) -> CalibrationResult:
    rows = ((1.0, 0.0, 0.0, 5.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    given: dict[str, Any] = {
        "kind": "points", "moving": "Reference", "fixed": "RAS", "fixed_from_moving": rows, "made_ns": MADE_NS,
        "errors": {"fre_mm": 0.4, "sigma_mm": 0.3, "bound_mm": 1.1}, "limits": {"fre_mm": 1.0},
    }  # fmt: skip
    return CalibrationResult(**(given | changes))


def load(folder: Path, data: bytes, now_ns: int = MADE_NS + HOUR_NS) -> Any:
    (folder / "head.json").write_bytes(data)
    values = read_toml(config_file("procedures", "stereotactic_brain"))
    values["space"]["static"][0]["result"] = "head.json"
    return with_results(parse_settings(values, "test"), folder, now_ns)


def test_a_result_is_written_once_and_read_back(tmp_path: Path) -> None:
    files = ResultFiles(tmp_path)
    text = Text(name="result-points-Reference-RAS", text=write_result(result()).decode())
    files.see(Tick(now_ns=7), [Send("console", text), Send("bus", text)])
    (path,) = files.written
    row = load(tmp_path, path.read_bytes()).space.static[0]
    assert row.fixed_from_moving[0][3] == 5.0
    assert (row.sigma_mm, row.bound_mm, row.made_ns) == (0.3, 1.1, MADE_NS)


@pytest.mark.parametrize(
    ("change", "now_ns", "said"),
    [
        ({}, MADE_NS + 13 * HOUR_NS, "holds for"),
        ({"errors": {"fre_mm": 1.4}}, MADE_NS, "at most 1.0"),
        ({"moving": "Table"}, MADE_NS, "not of Reference"),
    ],
)
def test_old_coarse_or_foreign_results_are_refused(tmp_path: Path, change: Any, now_ns: int, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load(tmp_path, write_result(result(**change)), now_ns)


def test_an_edited_result_is_refused(tmp_path: Path) -> None:
    plain = json.loads(write_result(result()))
    plain["fixed_from_moving"][0][3] = 6.0
    with pytest.raises(SettingsError, match="edited"):
        load(tmp_path, json.dumps(plain).encode())


def lagging(folder: Path, found: CalibrationResult, now_ns: int = MADE_NS + HOUR_NS) -> Any:
    (folder / "lag.json").write_bytes(write_result(found))
    values = read_toml(config_file("procedures", "fusion_biopsy_prostate"))
    next(row for row in values["streams"] if row["name"] == "Ultrasound")["result"] = "lag.json"
    settings = with_results(parse_settings(values, "test"), folder, now_ns)
    return next(row for row in settings.streams if row.name == "Ultrasound")


def test_a_stream_takes_its_lag_from_a_file(tmp_path: Path) -> None:
    lag: dict[str, Any] = {"kind": "temporal", "moving": "Ultrasound", "fixed": "Probe", "errors": {"lag_s": 0.065},
                           "limits": {"lag_s": 0.3}}  # fmt: skip
    assert lagging(tmp_path, result(**lag)).lag_ms == pytest.approx(65.0)
    with pytest.raises(SettingsError, match="not of Ultrasound"):
        lagging(tmp_path, result(**lag | {"moving": "XRay"}))
    with pytest.raises(SettingsError, match="not a temporal one"):
        lagging(tmp_path, result(**lag | {"kind": "points"}))
    with pytest.raises(SettingsError, match="holds for"):
        lagging(tmp_path, result(**lag), MADE_NS + 13 * HOUR_NS)
    with pytest.raises(SettingsError, match=r"at most 0\.3"):
        lagging(tmp_path, result(**lag | {"errors": {"lag_s": 0.4}}))
