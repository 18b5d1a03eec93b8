"""Pictures: WebGL2 and its 2-D twin pixel by pixel, layers, strips, video, graphs, large screens, colour vision."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page
from scipy import ndimage

from tests.browser.conftest import STORE, Stage, ask, live, raise_alarm, step, until

pytestmark = [pytest.mark.peers, pytest.mark.slow]
Open = Callable[..., Page]
GL = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
SYNTHETIC = """async ({ layer, extra, opacity }) => {
  const { GlPlane } = await import('/static/app/gl.js');
  const { Twin } = await import('/static/app/twin.js');
  const { plane, invert } = await import('/static/app/geometry.js');
  const shape = [6, 40, 48];
  const cells = shape[0] * shape[1] * shape[2];
  const fill = (Type, value) => Type.from({ length: cells }, (_, n) => (
    value(n % 48, Math.floor(n / 48) % 40, Math.floor(n / 1920))));
  const layers = {};
  const add = (name, scale, offset, value, Type = Uint16Array) => {
    const type = Type === Uint8Array ? 'uint8' : 'uint16';
    layers[name] = { name, type, scale, offset, missing: 65535, values: fill(Type, value) };
  };
  add('magnitude', 1, 0, (i, j, k) => 900 + 1200 * i + 37 * j + 3000 * (k % 2));
  add('temperature', 0.01, -60, (i, j) => ((i + j) % 11 === 0 ? 65535 : 1500 + 250 * i + 30 * j));
  add('sigma', 0.001, 0, (i, j) => 60 * j + 7 * i);
  add('dose', 0.0002, -4, (i, j) => 14000 + 700 * j + 90 * i);
  add('labels', 1, 0, (i, j) => (j > 20 ? i % 5 : 0), Uint8Array);
  const ras = [[3, 0.4, 0, -70], [-0.3, 3.2, 0.2, -60], [0, 0.1, 9, -25], [0, 0, 0, 1]];
  const frame = { seq: 1, shape, layers, imageFromRas: invert(ras) };
  const rgb = Array.from({ length: 256 }, (_, n) => [n, (n * 7) % 256, 255 - n]);
  const look = layer ? { layer: layers[layer], rgb, ...extra } : null;
  const p = plane({ columns: [-0.8, 0.6, 0], rows: [0, 0, -1] }, [1.3, 2.1, 0.7], 0.61, 200, 150);
  const drawn = (Drawer) => {
    const canvas = document.createElement('canvas');
    new Drawer(canvas).plane(frame, p, 1500, 52000, look, opacity, 1.5);
    const copy = document.createElement('canvas');
    Object.assign(copy, { width: canvas.width, height: canvas.height });
    copy.getContext('2d').drawImage(canvas, 0, 0);
    return copy.getContext('2d').getImageData(0, 0, 200, 150).data;
  };
  const [ours, twin] = [drawn(GlPlane), drawn(Twin)];
  const found = { pixels: ours.length / 4, away: 0, black: 0, brightest: 0 };
  for (let n = 0; n < ours.length; n += 4) {
    const brightest = Math.max(twin[n], twin[n + 1], twin[n + 2]);
    found.brightest = Math.max(found.brightest, brightest);
    found.black += brightest === 0;
    found.away += [0, 1, 2, 3].some((k) => Math.abs(ours[n + k] - twin[n + k]) > 2);
  }
  return found;
}"""
LOOKS: dict[str, tuple[str, dict[str, Any]]] = {
    "grey": ("", {}),
    "warm": ("temperature", {"low": 37, "high": 60, "from": 39}),
    "cold": ("temperature", {"low": -40, "high": 37, "from": 35, "cold": True}),
    "dose": ("dose", {"low": 1, "high": 240, "from": 1, "log": True}),
    "sigma": ("sigma", {"low": 0, "high": 2, "from": 0}),
    "plan": ("labels", {"low": 0, "high": 255, "from": 1, "label": True}),
}


# spread of the greys that the live page's own WebGL2 view has just drawn; 0 while it has drawn nothing
GL_SPREAD = """import('/static/app/views.js').then(({ panes }) => {
  const pane = panes.get('coronal');
  pane.draw();
  const copy = document.createElement('canvas');
  Object.assign(copy, { width: pane.raw.width, height: pane.raw.height });
  const context = copy.getContext('2d');
  context.drawImage(pane.raw, 0, 0);
  const { data } = context.getImageData(0, 0, copy.width, copy.height);
  const grey = data.filter((_, n) => n % 4 === 1);
  const mean = grey.reduce((sum, v) => sum + v, 0) / grey.length;
  return Math.sqrt(grey.reduce((sum, v) => sum + (v - mean) ** 2, 0) / grey.length); })"""


@pytest.fixture
def gl_page(stage: Stage, chromium: Path, browser: Browser) -> Iterator[Page]:
    """A page in a Chromium whose WebGL2 runs in software."""
    one = browser.browser_type.launch(executable_path=str(chromium), args=GL)
    faults: list[str] = []
    page = one.new_page(viewport={"width": 1280, "height": 720})
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    yield page
    one.close()
    assert not faults, faults


def test_webgl_draws_what_its_twin_draws_which_software_takes(stage: Stage, gl_page: Page) -> None:
    page = gl_page
    used = "import('/static/app/views.js').then(({ panes }) => panes.get('axial').drawer.constructor.name)"
    page.goto(stage.plain_address)
    live(page)
    assert page.evaluate(used) == "Twin", "software draws the 2-D twin faster"
    for name, (layer, extra) in LOOKS.items():
        given = {"layer": layer, "extra": extra, "opacity": 0.65}
        found = page.evaluate(SYNTHETIC, given)
        assert found["brightest"] > 100 and found["black"] > 0, name
        print(name, "pixels that differ by more than two levels:", found["away"], "of", found["pixels"])
        assert found["away"] / found["pixels"] < 0.002, name  # voxels' edges, in single and in double precision
    page.goto(stage.plain_address + "?renderer=gl")
    live(page)
    assert page.evaluate(used) == "GlPlane"
    until(page, STORE % "store.frames.has('volume')")
    assert until(page, GL_SPREAD) > 20, "the view of the live volume is empty"


def colours(page: Page, view: str, canvas: str, rgb: tuple[int, int, int]) -> int:
    """Pixels of a colour on one canvas of a view."""
    return int(
        page.evaluate(
            """([view, canvas, rgb]) => { const c = document.querySelector(`[data-view=${view}] canvas.${canvas}`);
            const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;
            for (let i = 0; i < d.length; i += 4) {
              if (d[i + 3] > 200 && rgb.every((v, k) => Math.abs(d[i + k] - v) < 12)) n += 1; }
            return n; }""",
            [view, canvas, list(rgb)],
        )
    )


def test_forecast_is_drawn_dotted_over_the_dose(page: Page) -> None:
    until(page, STORE % "store.frames.has('forecast') && store.frames.has('volume')")
    until(page, STORE % "'forecast' in store.frames.get('forecast').layers")
    assert page.evaluate(STORE % "Object.keys(store.frames.get('forecast').layers)") == ["dose", "forecast"]
    for _ in range(20):  # a forecast of the room itself may come between
        page.evaluate(
            """async () => { const { store } = await import('/static/app/store.js');
            const { panes } = await import('/static/app/views.js');
            const frame = store.frames.get('forecast');
            const [s, r, c] = frame.shape;
            const grow = (half) => Uint16Array.from({ length: s * r * c }, (_, n) => {
              const [i, j] = [n % c, Math.floor(n / c) % r];
              return Math.abs(i - c / 2) < half && Math.abs(j - r / 2) < half ? 40000 : 1; });
            frame.layers.dose = { ...frame.layers.dose, values: grow(2) };
            frame.layers.forecast = { ...frame.layers.dose, name: 'forecast', values: grow(5) };
            frame.seq += 1000;
            store.frames.set('forecast', frame);
            panes.get('coronal').draw(); }"""
        )
        dotted = colours(page, "coronal", "vectors", (0xE6, 0xB3, 0xFF))
        solid = colours(page, "coronal", "vectors", (0xFF, 0xFF, 0xFF))
        if dotted > 30 and solid > 30:
            break
    assert dotted > 30, "no forecast"
    assert solid > 30, "no 240 CEM43 line"


def test_plan_layer_fills_the_structures_and_names_them(page: Page) -> None:
    until(page, STORE % "store.frames.has('labels') && store.frames.has('volume')")
    for _ in range(3):
        page.get_by_role("button", name="overlay layer").click()
    until(page, "/layer\\s*plan/.test(document.querySelector('[aria-label=\"overlay layer\"]').innerText)")
    until(page, "document.querySelector('[data-view=axial] .readout').textContent.includes('tumour')")
    inside = """(() => { const c = document.querySelector('[data-view=coronal] canvas.raw');
        const [r, g, b] = c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data;
        return g > r + 20 && g > b; })()"""
    until(page, inside)  # the target is green


# boxes of the names on a plane, and of the page's own letters and bars over it, in pixels of the page
WORDS = """async (view) => {
  const { panes } = await import('/static/app/views.js');
  const { vectors } = panes.get(view);
  const at = vectors.canvas.getBoundingClientRect();
  const words = vectors.names.words.map((w) => [w.text, ...w.box.map((v, n) => v + (n % 2 ? at.top : at.left))]);
  const marks = [...vectors.canvas.parentElement.querySelectorAll('.letter, .scalebar, .scalebar span, .colours')]
    .map((e) => e.getBoundingClientRect()).filter((b) => b.width)
    .map((b) => ['', b.left, b.top, b.right, b.bottom]);
  return { words, marks, inside: [at.left, at.top, at.right, at.bottom] }; }"""


def test_names_keep_off_each_other_and_off_letters_and_bars(page: Page) -> None:
    wanted = {"axial": {"tumour", "skin", "vessel", "spine"}, "coronal": {"tumour", "skin", "rib-upper", "rib-lower"}}
    for size in ({"width": 1280, "height": 720}, {"width": 2560, "height": 1440}):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        for view, names in wanted.items():
            words = (
                f"import('/static/app/views.js').then(({{ panes }}) => panes.get('{view}').vectors.names.words.length)"
            )
            until(page, f"{words}.then((n) => n >= {len(names)})")
            page.wait_for_timeout(1200)  # letters and bars are measured once a second
            found = page.evaluate(WORDS, view)
            assert names <= {word[0] for word in found["words"]}, found["words"]
            for n, (text, *box) in enumerate(found["words"]):
                assert box[0] >= found["inside"][0] and box[2] <= found["inside"][2], text
                for other, *taken in found["words"][n + 1 :] + found["marks"]:
                    apart = box[0] >= taken[2] or box[2] <= taken[0] or box[1] >= taken[3] or box[3] <= taken[1]
                    assert apart, (view, text, box, other, taken)


def test_targeting_has_strips_along_the_trajectory_and_a_bullseye(page: Page) -> None:
    step(page, "Target")
    for view, title in (("inplane", "IN-PLANE"), ("perp", "PERP")):
        assert page.locator(f"[data-view={view}] .top").inner_text().startswith(title)
        until(page, STORE % f"store.outlines && (store.outlines.views['{view}'] || []).length > 1")
        letters = "".join(page.locator(f"[data-view={view}] .letter").all_inner_texts())
        assert letters[0] != letters[1] and letters[2] != letters[3] and set(letters) <= set("RLAPSI")
    page.locator(".bull polygon").wait_for(state="attached")
    ring = page.locator(".bull polygon").get_attribute("points")
    assert ring and len(ring.split()) == 36
    word, values, named, way = until(  # on a busy machine a pose may be too late for once
        page,
        """Promise.all([import('/static/app/store.js'), import('/static/app/planes.js')]).then(([{ store }, m]) => {
        const { values, way } = store.state.tools.Needle;
        const word = document.getElementById('aim').textContent;
        return 'lateral_mm' in values && word !== 'NOT TRACKED' && [word, values, way, m.trajectory()]; })""",
    )
    assert way["name"] == named, "numbers of another trajectory"
    inside = values["lateral_mm"] + 2 * values["sigma_mm"] <= way["corridor_mm"]
    assert word in ("ON TARGET", "HOLD") and (inside or word == "HOLD")
    wrong = {"kind": "look", "at": [0, 0, 0], "planes": {"x": {"columns": [1, 0, 0], "rows": [1, 0, 0]}}}
    assert ask(page, wrong) is None, "planes that are no planes must not be answered"
    live(page)  # the service closed the link, the page came again


def test_video_is_jpeg_and_only_to_look_at(page: Page) -> None:
    page.keyboard.press("v")
    camera = page.locator("[data-view=Camera]")
    camera.wait_for()
    assert "JPEG" in camera.locator(".top").inner_text()
    assert page.evaluate(STORE % "store.frames.get('Camera').layers.jpeg.type") == "jpeg"
    before = page.evaluate(STORE % "store.crosshair")
    camera.click()
    assert page.evaluate(STORE % "store.crosshair") == before, "a point in a picture that has no place"
    until(page, "document.querySelector('[data-view=Camera] .readout').textContent.includes('no measure')")
    red = """(() => { const c = document.querySelector('[data-view=Camera] canvas.raw');
        const [r, g] = c.getContext('2d').getImageData(5, 5, 1, 1).data; return r > 90 && g < 40; })()"""
    until(page, red)
    page.keyboard.press("v")
    page.locator("[data-view=Ultrasound]").wait_for()


def test_graphs_of_everything_can_be_chosen(page: Page) -> None:
    until(page, STORE % "store.history.length > 3")
    label = "document.querySelector('.flip .graph').getAttribute('aria-label').split(',')[0]"
    seen = [page.evaluate(label)]
    for _ in range(5):
        page.keyboard.press("g")
        until(page, f"{label} !== '{seen[-1]}'")
        seen.append(page.evaluate(label))
    assert set(seen) == {f"graph of {name}" for name in ("beam", "dose", "T mean", "latency", "age")}
    wanted = ["tumour.max_c", "tumour.mean_c", "tumour.dose", "power_w", "confirmed_w", "latency.pose", "age.MR"]
    newest = "store.history[store.history.length - 1]"
    until(page, STORE % f"{wanted}.every((key) => key in {newest})")
    pictures = "key.startsWith('latency.') && key !== 'latency.pose'"
    until(page, STORE % f"Object.keys({newest}).some((key) => {pictures})")


def test_large_screens_have_three_columns_and_an_open_list(page: Page) -> None:
    page.set_viewport_size({"width": 2560, "height": 1440})
    page.locator("main.wide > .alarm-list").wait_for()
    widths = [page.locator(place).bounding_box() for place in ("main > .views", "main > aside", "main > .alarm-list")]
    shares = [round(100 * box["width"] / 2560) for box in widths if box]
    assert shares == [50, 28, 22]
    until(page, STORE % "store.history.length > 3")
    for part in ("aside .numbers", "aside .status", "aside .streams", "main > .alarm-list"):
        beyond = page.evaluate("(p) => ((e) => e.scrollWidth - e.clientWidth)(document.querySelector(p))", part)
        assert beyond <= 1, f"{part} is {beyond} px wider than its column"
    heights = [box["height"] for box in (row.bounding_box() for row in page.locator(".graph .plot").all()) if box]
    assert len(heights) == 2 and min(heights) > 100, heights
    assert page.locator("main > .alarm-list").get_attribute("role") == "region"


def silhouettes(page: Page) -> int:
    """How many separate figures the shape of the highest alarm has, in shades of grey."""
    picture = Image.open(io.BytesIO(page.locator(".alarm .shape svg").screenshot())).convert("L")
    grey = np.asarray(picture, np.int16)
    figure = np.abs(grey - int(np.median(grey[:2]))) > 60
    _, count = ndimage.label(ndimage.binary_opening(figure, iterations=1))
    return int(count)


def test_priorities_are_told_by_shape_without_colour(stage: Stage, page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    raised = {
        "low": ("fact bad_messages tracker 1", 1),
        "medium": ("fact clock_step_ms clock 250", 2),
        "high": ("fact stop_unconfirmed_ms Therapy 900", 3),
    }
    session = page.context.new_cdp_session(page)
    for priority, (line, figures) in raised.items():
        raise_alarm(page, stage, priority, line)
        word = page.locator(".alarm .word").inner_text()
        assert word.split()[0] == priority.upper()
        for vision in ("none", "achromatopsia", "deuteranopia", "protanopia", "tritanopia"):
            session.send("Emulation.setEmulatedVisionDeficiency", {"type": vision})
            assert silhouettes(page) == figures, (priority, vision)
    session.send("Emulation.setEmulatedVisionDeficiency", {"type": "none"})


# least contrasts of the specification: text colour -> on bg, panel, raised; then fills with their words
TEXT = {
    "dark": {"strong": (16.6, 14.8, 12.3), "text": (12.9, 11.5, 9.6), "dim": (8.2, 7.3, 6.1), "edge": (4.9, 4.4, 3.6)},
    "light": {"strong": (16.3,), "text": (12.4,), "dim": (6.3,), "edge": (4.0,)},
}
FILLS = {
    "dark": {
        ("on-high", "high"): 5.4,
        ("on-light", "medium"): 10.9,
        ("on-light", "low"): 10.5,
        ("on-not-live", "not-live"): 8.7,
    },
    "light": {("on-high", "high"): 6.1, ("on-light", "medium"): 10.9, ("on-light", "low"): 10.5},
}


def luminance(colour: str) -> float:
    """Relative luminance of #RRGGBB."""
    values = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255.0
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrasts_and_sizes_are_those_of_the_specification(stage: Stage, page: Page) -> None:
    read = "(names) => names.map((n) => getComputedStyle(document.documentElement).getPropertyValue('--' + n).trim())"
    for theme in ("dark", "light"):
        until(page, f"document.documentElement.dataset.theme === '{theme}'")
        grounds = page.evaluate(read, ["bg", "panel", "raised"])
        for name, least in TEXT[theme].items():
            colour = page.evaluate(read, [name])[0]
            for ground, wanted in zip(grounds, least, strict=False):
                assert contrast(colour, ground) >= wanted - 0.06, (theme, name, ground)
        for pair, wanted in FILLS[theme].items():
            assert contrast(*page.evaluate(read, list(pair))) >= wanted - 0.06, (theme, pair)
        page.keyboard.press("t")
    raise_alarm(page, stage, "high", "fact hot_region_c intercostal-muscle 47.3")
    for width, least in ((1280, 36.0), (3840, 108.0)):
        page.set_viewport_size({"width": width, "height": width * 9 // 16})
        for place in ("#phase", ".stop .t1", ".alarm .line1"):
            until(page, f"parseFloat(getComputedStyle(document.querySelector('{place}')).fontSize) >= {least - 0.5}")
    assert "B612" in page.evaluate("getComputedStyle(document.body).fontFamily")
