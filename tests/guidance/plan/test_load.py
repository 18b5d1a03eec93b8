"""Plans load whole or are refused whole, with every fault and its path."""

from pathlib import Path

import numpy as np
import pytest

from guidance.errors import PlanError
from guidance.plan import changed_files, differences, identity_faults, load_plan

CONFIG = Path(__file__).resolve().parents[3] / "config" / "plans"
LINE = """{"markups": [{"type": "Line", "name": "way", "coordinateSystem": "%s", "coordinateUnits": "mm",
 "controlPoints": [{"label": "a", "position": [%s]}, {"label": "b", "position": [%s]}]}]}"""


def test_a_plan_loads(plan_file) -> None:
    plan = plan_file.load()
    assert plan.trajectory("needle").length_mm == 80
    assert plan.target("lesion").margin_mm == 5
    assert plan.structure("vessel").limits.stop_mm == 2
    assert plan.structure("vessel").signed_distance_mm(np.array([[70.0, 10.0, 10.0]])) == pytest.approx([7])
    with pytest.raises(PlanError, match=r"no structure 'rib' \(have \['lesion', 'vessel'\]\)"):
        plan.structure("rib")


@pytest.mark.parametrize("name", ["hifu_liver", "microwave_liver_us"])
def test_the_example_plans_load(name: str) -> None:
    plan = load_plan(CONFIG / name / "plan.toml")
    assert plan.targets and plan.trajectories and len(plan.content_sha256) == 64


def test_lps_is_turned_once(plan_file) -> None:
    turned = plan_file.load(
        ('coordinates = "RAS"', 'coordinates = "LPS"'),
        ("[50.0, 10.0, 0.0]", "[-50.0, -10.0, 0.0]"),
        ("[50.0, 90.0, 0.0]", "[-50.0, -90.0, 0.0]"),
        ("[70.0, 0.0, 0.0]", "[-70.0, 0.0, 0.0]"),
        ("[70.0, 80.0, 0.0]", "[-70.0, -80.0, 0.0]"),
    )
    plain = plan_file.load()
    assert differences(plain, turned) == []
    assert plain.content_sha256 == turned.content_sha256
    assert plain.files != turned.files


@pytest.mark.parametrize(("system", "sign"), [("RAS", 1), ("LPS", -1), ("0", 1), ("1", -1)])
def test_a_trajectory_from_slicer_equals_the_same_in_toml(plan_file, system: str, sign: int) -> None:
    entry, target = f"{sign * 50}, {sign * 90}, 0", f"{sign * 50}, {sign * 10}, 0"
    (plan_file.folder / "way.mrk.json").write_text(LINE % (system, entry, target))
    drawn = plan_file.load(("entry_mm = [50.0, 90.0, 0.0]", 'line = { file = "way.mrk.json" }'))
    assert differences(drawn, plan_file.load()) == []
    assert set(drawn.files) == {"plan.toml", "way.mrk.json"}


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("# version = 2\n# columns = label,x,y,z,sel,vis", "spot,50,10,0,1,1"),
        (
            "# CoordinateSystem = LPS\n# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID",
            "1,-50,-10,0,0,0,0,1,1,1,0,spot,,",
        ),
        (
            "# CoordinateSystem = 1\n# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID",
            '1,-50,-10,0,0,0,0,1,1,1,0,spot,"a, b",',
        ),
        (
            "# CoordinateSystem = 0\n# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID",
            "1,50,10,0,0,0,0,1,1,1,0,spot,,",
        ),
    ],
)
def test_points_from_fiducial_lists(plan_file, header: str, row: str) -> None:
    (plan_file.folder / "p.fcsv").write_text(f"{header}\n{row}\n")
    listed = plan_file.load(("center_mm = [50.0, 10.0, 0.0]", 'center_mm = { file = "p.fcsv", label = "spot" }'))
    assert differences(listed, plan_file.load()) == []


def test_every_fault_is_listed_at_once(plan_file) -> None:
    faults = plan_file.faults(
        ('laterality = "right"', 'laterality = "left"'),
        ('target = "lesion"', 'target = "tumor"'),
        ("radius_mm = 8.0", "radius_mm = 8.0 }\nlimits = { warn_mm = 1.0, stop_mm = 4.0"),
        extra='[[structures]]\nname = "x"\nrole = "organ"\nshape = { kind = "segment", file = "gone.nrrd" }\n',
    )
    text = "\n".join(faults)
    assert "trajectories.needle.target: 'tumor' is not defined" in text
    assert "structures.x.shape: gone.nrrd: cannot be read" in text
    assert "structures.lesion.limits: stop_mm 4.0 lies outside warn_mm 1.0" in text
    assert "targets.lesion: lies 50.0 mm to the right of the midline, the plan says left" in text


def test_faults_of_rows_are_listed_at_once_with_paths(plan_file) -> None:
    faults = plan_file.faults(
        ('patient_id = "P1"', 'patient_id = ""'),
        ("radius_mm = 8.0", "radius_mm = -8.0"),
        ('unit = "mm"', 'unit = "m"'),
        extra="colour = 3\n",
    )
    for part in ("patient_id", "structures.0.shape.sphere.radius_mm", "unit", "structures.1.colour"):
        assert any(fault.startswith(part) for fault in faults), (part, faults)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ([("center_mm = [50.0, 10.0, 0.0]\ns", "center_mm = [-50.0, -10.0, 0.0]\ns")], "if it were LPS"),
        ([("center_mm = [50.0, 10.0, 0.0]\ns", "center_mm = [-50.0, 10.0, 0.0]\ns")], "on the other side"),
        ([("center_mm = [50.0, 10.0, 0.0]\ns", "center_mm = [0.05, 0.01, 0.0]\ns")], "in metres"),
        ([("center_mm = [50.0, 10.0, 0.0]\ns", "center_mm = [50.0, 30.0, 0.0]\ns")], "12.0 mm outside 'lesion'"),
        ([("entry_mm = [50.0, 90.0, 0.0]", "entry_mm = [50000.0, 90.0, 0.0]")], "further than 1500 mm"),
        ([("entry_mm = [50.0, 90.0, 0.0]", "entry_mm = [50.0, 10.2, 0.0]")], "0.200 mm from entry to target"),
        ([("radius_mm = 8.0", "radius_mm = 0.008")], "is only 0.0160 mm large: is it in metres?"),
        ([("start_mm = [70.0, 0.0, 0.0]", "start_mm = [54.0, 40.0, 0.0]")], "passes"),
        ([('name = "vessel"', 'name = "lesion"')], "structures.lesion: is defined twice"),
        ([("entry_mm = [50.0, 90.0, 0.0]\n", "")], "trajectories.needle: needs entry_mm, or a line"),
        (
            [('role = "vessel"', 'role = "organ_at_risk"\ntissue = "bone"\nlimits = { temperature_c = 45.0 }')],
            "surrogate",
        ),
        ([('role = "vessel"', 'role = "vessel"\nvolume_ml = 99.0')], "the plan says 99.00 ml"),
    ],
)
def test_mix_ups_are_named(plan_file, changes, fault: str) -> None:
    faults = plan_file.faults(*changes)
    assert any(fault in text for text in faults), faults


def test_a_planned_contact_is_allowed(plan_file) -> None:
    near = ("start_mm = [70.0, 0.0, 0.0]", "start_mm = [54.0, 40.0, 0.0]")
    assert plan_file.load(near, ('role = "vessel"', 'role = "vessel"\nplanned_contact = true'))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("not json", "is not JSON"),
        ("[]", "has no list named markups"),
        ('{"markups": [{"type": "Blob"}]}', "markups[0].type: 'Blob'"),
        (LINE % ("IJK", "0, 0, 0", "0, 0, 9"), "coordinateSystem: 'IJK'"),
        (LINE.replace('"mm"', '"um"') % ("RAS", "0, 0, 0", "0, 0, 9"), "only mm is read"),
        (LINE % ("RAS", "0, 0, 0", "0, 0"), "are not 3 finite numbers"),
        (LINE % ("RAS", "0, 0, 0", "0, 0, NaN"), "are not 3 finite numbers"),
        (LINE.replace('"label": "b"', '"positionStatus": "undefined"') % ("RAS", "0, 0, 0", "0, 0, 9"), "needs 2"),
        (LINE.replace("Line", "Curve") % ("RAS", "0, 0, 0", "0, 0, 9"), "holds 0 lines"),
    ],
)
def test_bad_markups_are_named(plan_file, text: str, fault: str) -> None:
    (plan_file.folder / "way.mrk.json").write_text(text)
    faults = plan_file.faults(("entry_mm = [50.0, 90.0, 0.0]", 'line = { file = "way.mrk.json" }'))
    assert any(fault in one for one in faults), faults


def test_an_edited_file_is_refused(plan_file) -> None:
    way = plan_file.folder / "way.mrk.json"
    way.write_text(LINE % ("RAS", "50, 90, 0", "50, 10, 0"))
    drawn = ("entry_mm = [50.0, 90.0, 0.0]", 'line = { file = "way.mrk.json" }')
    plan = plan_file.load(drawn)
    row = f'[[files]]\npath = "way.mrk.json"\nsha256 = "{plan.files["way.mrk.json"]}"\n'
    assert plan_file.load(drawn, extra=row)
    assert changed_files(plan, plan_file.folder) == ["plan.toml: was edited after it was loaded"]
    way.write_text(LINE % ("RAS", "50, 91, 0", "50, 10, 0"))
    assert any("way.mrk.json: was edited: its SHA-256 is" in fault for fault in plan_file.faults(drawn, extra=row))
    assert "way.mrk.json: was edited after it was loaded" in changed_files(plan, plan_file.folder)


def test_another_patient_side_or_space_is_named(plan_file) -> None:
    plan = plan_file.load()
    assert identity_faults(plan, patient_id="P1", frame_of_reference_uid="1.2.3", laterality="right") == []
    assert identity_faults(plan, patient_id="P2") == ["plan.patient_id: is 'P1', the room has 'P2'"]
    assert len(identity_faults(plan, patient_id="P2", laterality="left", content_sha256="0" * 64)) == 3


def test_what_changes_the_plan_changes_its_hash(plan_file) -> None:
    hashes = {
        plan_file.load(change).content_sha256
        for change in [
            ("radius_mm = 8.0", "radius_mm = 8.0"),
            ("radius_mm = 8.0", "radius_mm = 8.01"),
            ('patient_id = "P1"', 'patient_id = "P2"'),
            ('role = "vessel"', 'role = "vessel"\nlimits = { stop_mm = 1.0 }'),
            ('name = "needle"', 'name = "needle"\ncorridor_mm = 4.0'),
        ]
    }
    assert len(hashes) == 5


@pytest.mark.parametrize("text", ["", "x = ", "schema_version = 2", "\x00", "[[targets]]\n" * 3])
def test_nonsense_is_a_plan_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(PlanError):
        load_plan(path)
    with pytest.raises(PlanError, match="cannot be read"):
        load_plan(tmp_path / "gone.toml")
