import base64
import io
import json
import time
from itertools import pairwise
from urllib.parse import urlsplit

import httpx
import onnx
import pytest
from PIL import Image
from playwright.sync_api import expect

from cnnkit import zoo
from tests.serving.conftest import wait_until
from tests.serving.test_pressure import connect, queue_length, request

SEVEN = [[(0.28, 0.25), (0.72, 0.25), (0.45, 0.8)], [(0.38, 0.52), (0.64, 0.52)]]
ONE = [[(0.5, 0.2), (0.5, 0.8)]]
TRIANGLE = [[(0.5, 0.2), (0.8, 0.8), (0.2, 0.8), (0.5, 0.2)]]
# What the browser itself says about an answer that is a refusal, and about tests that look at canvases.
USUAL = ("Failed to load resource", "Canvas2D: Multiple readback")

expect.set_options(timeout=15_000)


@pytest.fixture
def open_page(chromium, server):
    """Open the page in a context of its own: `open_page(server.url, color_scheme="dark")`.

    In the end, nothing may have been asked of anybody else, and nothing may have gone wrong.
    """
    contexts, troubles = [], []

    def start(url="", **options):
        url = url or server.url
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: is_own(request.url, url) or troubles.append(request.url))
        page.on("console", lambda said: said.text.startswith(USUAL) or troubles.append(said.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.goto(url)
        expect(page.locator("#model")).to_be_enabled()
        return page

    yield start
    for context in contexts:
        context.close()
    assert troubles == []


def is_own(asked, url):
    return asked.startswith("data:") or urlsplit(asked).netloc == urlsplit(url).netloc


@pytest.fixture
def page(open_page):
    return open_page()


def places(page, stroke):
    box = page.locator("#canvas").bounding_box()
    return [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]


def draw(page, strokes):
    """Draw strokes, given in units of the paper, with the mouse."""
    for stroke in strokes:
        first, *others = places(page, stroke)
        page.mouse.move(*first)
        page.mouse.down()
        for x, y in others:
            page.mouse.move(x, y, steps=8)
        page.mouse.up()


def reads(page, label):
    expect(page.locator("#label")).to_have_text(label)


def has_sideways_scroll(page):
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


def test_a_drawn_digit_is_read_with_all_that_led_to_it(page):
    page.select_option("#model", "digits")
    draw(page, SEVEN)
    reads(page, "7")
    rows = page.locator("#scores li")
    expect(rows).to_have_count(5)
    expect(rows.first).to_have_text("7" + page.locator("#probability").inner_text())
    assert float(page.locator("#probability").inner_text().removesuffix("%")) > 90
    widths = page.eval_on_selector_all(".fill", "bars => bars.map(bar => parseFloat(bar.style.width))")
    assert widths == sorted(widths, reverse=True)
    weights = "rows => rows.map(row => Number(getComputedStyle(row).fontWeight))"
    assert page.eval_on_selector_all("#scores li", weights) == [650, 400, 400, 400, 400]
    expect(page.locator("#announcement")).to_have_text("7, 100 percent")
    seen = page.locator("#seen")
    decoded = "async image => { await image.decode(); return [image.naturalWidth, image.naturalHeight] }"
    assert seen.evaluate(decoded) == [28, 28]
    assert seen.evaluate("image => getComputedStyle(image).imageRendering") == "pixelated"
    assert seen.get_attribute("alt") == "The image as the network sees it, 28 by 28 pixels"
    expect(page.locator("#steps li")).to_contain_text(["inverted", "boxed to 20×20"])
    pairs = "rows => rows.map(row => [...row.children].map(cell => cell.innerText))"
    times = dict(page.eval_on_selector_all("#times div", pairs))
    assert times.keys() == {"waiting", "decoding", "network", "server in all", "round trip", "batch size"}
    in_all, round_trip = (float(times[what].removesuffix(" ms")) for what in ("server in all", "round trip"))
    assert 0 < in_all <= round_trip


def test_the_feature_maps_of_the_first_layers_are_painted(page):
    draw(page, SEVEN)
    layers = page.locator("#layers figure")
    expect(layers).to_have_count(4)
    assert layers.locator("strong").all_inner_texts() == ["conv1", "pool1", "conv2", "pool2"]
    expect(layers.first).to_contain_text("Conv: 6 maps of 28×28")
    shades = """canvas => new Set(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data).size"""
    assert all(canvas.evaluate(shades) > 20 for canvas in layers.locator("canvas").all())
    assert layers.first.locator("canvas").get_attribute("aria-label") == "6 feature maps of conv1"


def test_feature_maps_are_asked_for_only_while_they_are_shown(page):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    draw(page, ONE)
    expect(page.locator("#features")).to_be_visible()
    page.locator("summary").click()
    page.click("#clear")
    asked.clear()
    draw(page, ONE)
    reads(page, "1")
    assert not any("features" in url for url in asked)
    page.locator("summary").click()
    expect(page.locator("#layers canvas").first).to_be_visible()
    assert "features" in asked[-1]


def test_a_finger_draws_and_does_not_scroll(open_page):
    page = open_page(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    touch = page.context.new_cdp_session(page)

    def send(kind, points):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]})

    for stroke in SEVEN:
        corners = places(page, stroke)
        send("touchStart", corners[:1])
        for (x0, y0), (x1, y1) in pairwise(corners):
            for step in range(1, 9):
                send("touchMove", [(x0 + (x1 - x0) * step / 8, y0 + (y1 - y0) * step / 8)])
        send("touchEnd", [])
    reads(page, "7")
    assert page.evaluate("scrollY") == 0


def test_a_pen_that_presses_harder_draws_wider(page):
    def ink(pressure):
        x, y = places(page, [(0.5, 0.5)])[0]
        page.evaluate(
            """([clientX, clientY, pressure]) => {
                const canvas = document.getElementById("canvas");
                canvas.setPointerCapture = () => {};
                for (const [name, dx] of [["pointerdown", 0], ["pointermove", 60], ["pointerup", 60]])
                    canvas.dispatchEvent(new PointerEvent(name, {
                        clientX: clientX + dx, clientY, pressure, pointerType: "pen", isPrimary: true, pointerId: 7 }));
            }""",
            [x, y, pressure],
        )
        dark = page.evaluate(
            """() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => {
                const canvas = document.getElementById("canvas");
                const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                done(data.filter((value, index) => index % 4 === 0 && value < 128).length);
            })))"""
        )
        page.click("#clear")
        return dark

    light, usual, hard = ink(0.1), ink(0.5), ink(1.0)
    assert 0 < light < usual < hard


def test_the_keyboard_draws(page):
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    canvas = page.locator("#canvas")
    expect(canvas).to_be_focused()
    assert canvas.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"
    for key in ["Shift+ArrowUp"] * 3 + ["Space"] + ["ArrowDown"] * 24:
        page.keyboard.press(key)
    expect(page.locator("#announcement")).to_have_text("Pen down.")
    page.keyboard.press("Space")
    reads(page, "1")
    expect(page.locator("#announcement")).to_contain_text("1, ")
    page.keyboard.press("Control+z")
    expect(page.locator("#empty")).to_be_visible()


def test_everything_can_be_reached_with_the_keyboard(page):
    draw(page, ONE)
    reads(page, "1")
    page.evaluate("document.activeElement.blur()")
    page.locator("h1").click()
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    feature_maps = "Feature maps of the first layers"
    assert reached == ["model", "canvas", "undo", "clear", "file", feature_maps, "HTTP interface", "Metrics"]


def test_undo_and_clear(page):
    draw(page, SEVEN)
    reads(page, "7")
    page.click("#clear")
    expect(page.locator("#empty")).to_be_visible()
    expect(page.locator("#invitation")).to_be_visible()
    expect(page.locator("#features")).to_be_hidden()
    expect(page.locator("#clear")).to_be_disabled()
    for _ in range(3):
        page.click("#undo")
    expect(page.locator("#empty")).to_be_visible()
    expect(page.locator("#undo")).to_be_disabled()


TAKE = """([content, event]) => {
    const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
    const files = new DataTransfer();
    files.items.add(new File([bytes], "seven.png", { type: "image/png" }));
    const about = { bubbles: true, cancelable: true };
    document.getElementById("paper").dispatchEvent(event === "drop"
        ? new DragEvent("drop", { ...about, dataTransfer: files })
        : new ClipboardEvent("paste", { ...about, clipboardData: files }));
}"""


@pytest.mark.parametrize("event", ["drop", "paste", "choose"])
def test_an_image_file_is_sent_as_it_is(page, seven, event):
    if event == "choose":
        page.set_input_files("#file", {"name": "seven.png", "mimeType": "image/png", "buffer": seven})
    else:
        page.evaluate(TAKE, [base64.b64encode(seven).decode(), event])
    reads(page, "7")
    # What the browser makes of it has no palette.
    expect(page.locator("#steps li").first).to_have_text("palette to RGB")
    draw(page, [[(0.1, 0.1), (0.11, 0.1)]])
    expect(page.locator("#steps li").first).not_to_have_text("palette to RGB")


def test_another_model_is_asked_about_the_same_drawing(page):
    draw(page, TRIANGLE)
    expect(page.locator("#result")).to_be_visible()
    page.select_option("#model", "shapes-cnn")
    reads(page, "triangles")
    expect(page.locator("#scores li")).to_have_count(3)
    expect(page.locator("#about")).to_contain_text("shapes-cnn trained on basicshapes · 3 classes · 28×28 colour")
    page.reload()
    expect(page.locator("#model")).to_have_value("shapes-cnn")


def wait(page, is_so):
    """Look again and again, and let the page go on meanwhile."""
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        page.wait_for_timeout(20)


def test_one_request_at_a_time_and_the_last_drawing_wins(open_page, gated, gate):
    page = open_page(gated("--max-batch", 1).url)
    flying, most = set(), []

    def start(request):
        if request.method == "POST":
            flying.add(request)
            most.append(len(flying))

    def end(request):
        flying.discard(request)

    page.on("request", start)
    page.on("requestfinished", end)
    page.on("requestfailed", end)
    for number in range(8):
        draw(page, [[(0.1 * number, 0.2), (0.1 * number, 0.8)]])
        wait(page, lambda: most)
        page.wait_for_timeout(70)
    gate.unlink()
    wait(page, lambda: len(most) > 1 and not flying)
    expect(page.locator("#result")).to_be_visible()
    assert max(most) == 1
    # Asked once more, the network sees the same.
    seen, asked = page.locator("#seen").get_attribute("src"), len(most)
    for _ in range(2):
        page.locator("summary").click()
    expect(page.locator("#layers canvas")).to_have_count(4)
    assert len(most) == asked + 1
    assert page.locator("#seen").get_attribute("src") == seen


def test_a_refusal_is_said_in_the_words_of_the_server(page):
    page.set_input_files("#file", {"name": "broken.png", "mimeType": "image/png", "buffer": b"\x89PNG broken"})
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("that cnnkit does not read, or a damaged one")
    expect(page.locator("#invitation")).to_have_text("This browser cannot show broken.png.")
    expect(page.locator("#again")).to_be_hidden()
    draw(page, SEVEN)
    reads(page, "7")
    expect(problem).to_be_hidden()


def test_a_busy_server_is_asked_again(open_page, gated, gate, seven):
    server = gated("--queue-size", 1, "--max-batch", 1)
    page = open_page(server.url)
    with connect(server.url) as client:
        client.sendall(request(seven))
        wait_until(lambda: queue_length(server) == 1)
        draw(page, ONE)
        expect(page.get_by_role("alert")).to_contain_text("Trying again in")
        expect(page.locator("#again")).to_be_visible()
        gate.unlink()
        expect(page.locator("#result")).to_be_visible()
        expect(page.get_by_role("alert")).to_be_hidden()


def test_a_server_that_is_gone_is_noticed(open_page, serve):
    server = serve("lenet")
    page = open_page(server.url)
    draw(page, ONE)
    reads(page, "1")
    server.stop()
    draw(page, [[(0.3, 0.8), (0.7, 0.8)]])
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached. Is it still running?")
    # What is left of the last answer is no answer to this drawing.
    assert page.locator("#result").evaluate("element => getComputedStyle(element).opacity") == "0.4"


def test_labels_are_text_and_assumptions_are_said(open_page, serve, tmp_path):
    model = onnx.load_model_from_string(zoo.read("lenet", "model.onnx"))
    model.ClearField("metadata_props")
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    labels = [f"<b onclick=alert()>{index}</b>" for index in range(10)]
    (tmp_path / "labels.txt").write_text("\n".join(labels), "utf-8")
    page = open_page(serve(tmp_path / "net.onnx", "--labels", tmp_path / "labels.txt").url)
    draw(page, ONE)
    expect(page.locator("#label")).to_contain_text("<b onclick=alert()>")
    assert page.locator("b").count() == 0
    assert set(page.locator(".name").all_inner_texts()) <= set(labels)
    expect(page.locator("#about")).to_contain_text("layout NHWC")


@pytest.mark.parametrize("width", [320, 360, 768, 1920])
def test_nothing_reaches_out_of_the_screen(open_page, width):
    page = open_page(viewport={"width": width, "height": 740})
    for model in ("digits", "shapes-cnn"):
        page.select_option("#model", model)
        page.click("#clear") if page.locator("#clear").is_enabled() else None
        draw(page, TRIANGLE)
        expect(page.locator("#layers canvas").last).to_be_visible()
        assert not has_sideways_scroll(page)
    heights = page.eval_on_selector_all("button, select, .button", "all => all.map(e => e.offsetHeight).filter(h => h)")
    assert min(heights) >= 40


CONTRASTS = """() => {
    const luminance = colour => {
        const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3)
            .map(value => value / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = element => {
        for (; element; element = element.parentElement) {
            const colour = getComputedStyle(element).backgroundColor;
            if (!/, 0\\)$/.test(colour)) return colour;
        }
        return "rgb(255, 255, 255)";
    };
    const found = [];
    for (const element of document.querySelectorAll("body *")) {
        const text = [...element.childNodes].filter(n => n.nodeType === 3 && n.data.trim());
        if (!text.length || !element.checkVisibility() || element.disabled) continue;
        const [a, b] = [luminance(getComputedStyle(element).color), luminance(ground(element))].sort((x, y) => y - x);
        found.push([(a + 0.05) / (b + 0.05), element.textContent.trim().slice(0, 40)]);
    }
    return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(open_page, scheme):
    page = open_page(color_scheme=scheme)
    # WCAG 2.2, success criterion 1.4.3: 4.5 to 1.
    empty = page.evaluate(CONTRASTS)
    draw(page, SEVEN)
    expect(page.locator("#layers canvas").last).to_be_visible()
    full = page.evaluate(CONTRASTS)
    page.set_input_files("#file", {"name": "broken.png", "mimeType": "image/png", "buffer": b"no image"})
    expect(page.get_by_role("alert")).to_be_visible()
    refused = page.evaluate(CONTRASTS)
    assert len(full) > 30
    assert [said for said in empty + full + refused if said[0] < 4.5] == []


def white():
    file = io.BytesIO()
    Image.new("L", (28, 28), 255).save(file, "PNG")
    return file.getvalue()


CORNER = "canvas => canvas.getContext('2d').getImageData(3, 3, 1, 1).data[0]"


def test_the_paper_is_dark_on_a_dark_page_and_the_same_is_sent(open_page):
    seen, corners, grounds = [], [], []
    for scheme in ("light", "dark"):
        page = open_page(color_scheme=scheme)
        page.on("request", lambda request: seen.append(request.post_data_buffer) if request.method == "POST" else None)
        draw(page, SEVEN)
        reads(page, "7")
        corners.append(page.locator("#canvas").evaluate(CORNER))
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert corners[0] == 255
    assert corners[1] < 32
    assert len(set(grounds)) == 2
    assert len(set(seen)) == 1


def test_the_paper_follows_the_page_and_shows_an_image_as_it_is(open_page):
    page = open_page(color_scheme="light")
    page.emulate_media(color_scheme="dark")
    wait_until(lambda: page.locator("#canvas").evaluate(CORNER) < 32)
    page.set_input_files("#file", {"name": "white.png", "mimeType": "image/png", "buffer": white()})
    wait_until(lambda: page.locator("#canvas").evaluate(CORNER) == 255)


def test_lines_are_as_sharp_as_the_screen_and_still_where_motion_is_unwanted(open_page):
    page = open_page(device_scale_factor=2, reduced_motion="reduce")
    draw(page, ONE)
    reads(page, "1")
    assert page.locator("#canvas").evaluate("canvas => canvas.width === 2 * canvas.clientWidth")
    assert page.locator(".fill").first.evaluate("bar => getComputedStyle(bar).transitionDuration") == "0s"


def test_the_page_asks_for_nothing_inline(server):
    answer = httpx.get(server.url)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "<style" not in answer.text
    assert " style=" not in answer.text
    assert json.dumps(server.log).count('"bug"') == 0


def test_the_page_asks_for_the_key_and_keeps_it_for_its_tab(chromium, serve):
    server = serve("digits", "--api-key", "open-sesame")
    page = chromium.new_context().new_page()
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept("open-sesame")))
    page.goto(server.url)
    expect(page.locator("#model")).to_be_enabled()
    page.reload()
    expect(page.locator("#model")).to_be_enabled()
    assert asked == ["prompt"]
    page.context.close()
