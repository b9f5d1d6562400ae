"""The page at /docs, in a real browser."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

SEVEN = Path(__file__).parents[2] / "docs" / "images" / "seven.png"


@pytest.fixture
def page(chromium: Browser, server: Any) -> Iterator[Page]:
    """The page, which may neither ask anybody else for anything nor have anything to complain about."""
    context = chromium.new_context(viewport={"width": 1100, "height": 900})
    page = context.new_page()
    troubles: list[str] = []
    page.on("request", lambda request: None if is_own(request.url, server) else troubles.append(request.url))
    # The browser reports every answer of 400 and beyond; those that were asked for on purpose are no trouble.
    page.on("console", lambda message: None if "/v2/" in message.location["url"] else troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto(f"{server.url}/docs")
    page.wait_for_selector(".operation")
    yield page
    context.close()
    assert troubles == []


def is_own(url: str, server: Any) -> bool:
    return url.startswith((server.url, "data:"))


def opened(page: Page, identity: str) -> Any:
    operation = page.locator(f"#{identity}")
    operation.locator("summary").first.click()
    return operation


def test_every_address_is_there_and_opens(page: Page, client: Any) -> None:
    api = client.get("/openapi.json").json()
    described = [(method.upper(), path) for path, methods in api["paths"].items() for method in methods]
    shown = page.locator(".operation > summary")
    assert shown.count() == len(described)
    texts = [tuple(text.split("\n")[:2]) for text in shown.all_inner_texts()]
    assert sorted(texts) == sorted(described)
    for _ in range(2):  # the answers are drawn once their operation is open
        page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        expect(page.locator(".operation > .detail")).to_have_count(len(described))
    assert page.get_by_text("undefined").count() == page.get_by_text("[object").count() == 0


def test_an_image_is_tried_and_its_curl_line_works(page: Page) -> None:
    page.get_by_label("Model").select_option("digits")
    predict = opened(page, "predict")
    predict.get_by_label("top").fill("2")
    predict.get_by_label("show").fill("input")
    predict.get_by_label("image").set_input_files(SEVEN)
    predict.get_by_role("button", name="Send").click()
    output = predict.locator("output")
    expect(output).to_contain_text('"label": "7"')
    expect(output).to_contain_text("200")
    expect(output).to_contain_text("data:image/png;base64")
    line = predict.locator(".copied pre").inner_text()
    assert "/predict/digits?top=2&show=input" in line
    words = shlex.split(line)
    words[words.index("@seven.png")] = f"@{SEVEN}"
    found = subprocess.run([*words, "-s"], capture_output=True, check=True, text=True).stdout
    assert '"label":"7"' in found


def test_the_model_is_that_of_the_picker(page: Page) -> None:
    metadata = opened(page, "modelMetadata")
    line = metadata.locator(".copied pre")
    expect(line).to_contain_text("/v2/models/lenet")
    page.get_by_label("Model").select_option("shapes-cnn")
    expect(line).to_contain_text("/v2/models/shapes-cnn")
    metadata.get_by_role("button", name="Send").click()
    expect(metadata.locator("output")).to_contain_text('"name": "shapes-cnn"')


def test_an_error_is_shown_with_its_sentence(page: Page) -> None:
    ready = opened(page, "modelReadyVersion")
    ready.get_by_label("version").fill("9 ")
    ready.get_by_role("button", name="Send").click()
    expect(ready.locator("output .status")).to_have_text("404")
    expect(ready.locator("output")).to_contain_text("lenet has no version '9'; version 1 serves.")


def test_json_is_typed_and_sent(page: Page) -> None:
    index = opened(page, "repositoryIndex")
    index.get_by_label("body").fill('{"ready": true}')
    index.get_by_role("button", name="Send").click()
    expect(index.locator("output")).to_contain_text('"state": "READY"')
    assert """-d '{"ready": true}'""" in index.locator(".copied pre").inner_text()


def test_what_a_browser_may_not_do_has_no_form(chromium: Browser, serve: Any) -> None:
    page = chromium.new_page()
    page.goto(f"{serve('lenet', '--admin').url}/docs")
    reload = opened(page, "reload")
    expect(reload.get_by_role("button", name="Copy")).to_be_visible()
    assert reload.get_by_role("button", name="Send").count() == 0
    page.close()


def test_a_line_is_copied(page: Page, server: Any) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    live = opened(page, "live")
    live.get_by_role("button", name="Copy").click()
    expect(live.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == f"curl {server.url}/v2/health/live"


def test_an_address_opens_one_operation(page: Page, server: Any) -> None:
    page.goto("about:blank")
    page.goto(f"{server.url}/docs#infer")
    expect(page.locator("#infer .detail")).to_be_visible()
    assert page.locator(".detail").count() == 1


def test_the_keyboard_is_enough(page: Page) -> None:
    summary = page.locator("#live > summary")
    summary.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#live .detail")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator("#live").get_by_role("button", name="Copy")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#live output")).to_contain_text('"live": true')


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(page: Page, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 740})
    for identity in ("predict", "infer", "modelConfigVersion", "metrics"):
        opened(page, identity)
    page.locator("#metrics").get_by_role("button", name="Send").click()
    expect(page.locator("#metrics output")).to_contain_text("cnnkit_requests_total")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    colours = page.evaluate(
        """() => [...document.querySelectorAll("h2, .quiet, .path, .method, .type, pre, .status")].map((each) => {
            let owner = each;
            while (getComputedStyle(owner).backgroundColor === "rgba(0, 0, 0, 0)") owner = owner.parentElement;
            return [getComputedStyle(each).color, getComputedStyle(owner).backgroundColor, each.className];
        })"""
    )
    for text, ground, name in colours:
        assert contrast(text, ground) >= 4.5, (name, text, ground)


def contrast(first: str, second: str) -> float:
    """Return the contrast of two CSS colours as the Web Content Accessibility Guidelines define it."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_a_server_that_is_gone_is_said(chromium: Browser, serve: Any) -> None:
    server = serve("lenet")
    page = chromium.new_page()
    page.goto(f"{server.url}/docs")
    live = opened(page, "live")
    assert server.stop() == 0
    live.get_by_role("button", name="Send").click()
    expect(live.locator("output")).to_have_text("The server did not answer. Is it still running?")
    page.close()


def test_a_description_that_cannot_be_had_is_said(chromium: Browser, server: Any) -> None:
    page = chromium.new_page()
    page.route("**/openapi.json", lambda route: route.fulfill(status=503, body="{}"))
    page.goto(f"{server.url}/docs")
    expect(page.get_by_role("alert")).to_contain_text("openapi.json could not be loaded")
    page.close()
