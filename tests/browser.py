"""A headless Chromium that opens the project's pages: Debian's packages chromium and chromium-driver, by selenium.

Tests that ask for the fixture `browser` are marked `browser` and are skipped where either is missing. There is one
browser for a whole run (each start costs seconds), with an empty profile and no wish to talk to anybody; a test opens
its page with `Browser.open`, which forgets what the page before it logged and asked for.

Sizes are those of the window's content in CSS pixels.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
MISSING = None if CHROMIUM and DRIVER else "no chromium (apt-get install chromium chromium-driver)"

_QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-extensions", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-default-apps", "--disable-search-engine-choice-screen", "--mute-audio", "--lang=en",
]  # fmt: skip
_LOCAL = {"file", "data", "blob", "chrome", "chrome-error", "about"}


class Browser:
    """A selenium driver with what tests of a page ask: errors, requests, sizes, colours.

    Attributes:
        driver: `selenium.webdriver.Chrome`, for everything else.
    """

    def __init__(self, profile: Path) -> None:
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for argument in (*_QUIET, f"--user-data-dir={profile}"):
            options.add_argument(argument)
        downloads = profile / "downloads"
        downloads.mkdir(parents=True, exist_ok=True)
        options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))
        self.driver.set_page_load_timeout(60)
        self.driver.set_script_timeout(60)
        self.downloads = downloads

    def open(self, page: Path | str, *, width: int = 1280, height: int = 800, dark: bool = False) -> None:
        """Open a file (or a whole address) in a window of this size; the page's errors count from here on."""
        self.resize(width, height)
        self.colours(dark=dark)
        self.driver.get("about:blank")  # an address that differs in its hash alone would not load anew
        self.forget()
        self.driver.get(page.resolve().as_uri() if isinstance(page, Path) else page)

    def resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def colours(self, *, dark: bool) -> None:
        """What the page is told of the user's wish for dark pages."""
        wish = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [wish]})

    def run(self, script: str, *arguments: Any) -> Any:
        """The value that a script returns (`return ...`); a promise is waited for."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition: str, seconds: float = 20) -> Any:
        """The value of a JavaScript expression, as soon as it is true."""
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, seconds, poll_frequency=0.02).until(
            lambda driver: driver.execute_script(f"return {condition}"), f"never true: {condition}"
        )

    def keys(self, *keys: str) -> None:
        """Press keys (text, or `selenium.webdriver.common.keys.Keys`) where the focus is."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def screenshot(self, path: Path) -> Path:
        self.driver.save_screenshot(str(path))
        return path

    def forget(self) -> None:
        for log in ("browser", "performance"):
            self.driver.get_log(log)

    def errors(self) -> list[str]:
        """What the page has written to the console as an error or a warning since it was asked last."""
        return [line["message"] for line in self.driver.get_log("browser") if line["level"] in ("SEVERE", "WARNING")]

    def requests(self) -> list[str]:
        """Addresses elsewhere than in files and in the page itself that were asked for since this was asked last."""
        events = [json.loads(line["message"])["message"] for line in self.driver.get_log("performance")]
        asked = [
            event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in asked if urlsplit(url).scheme not in _LOCAL]

    def close(self) -> None:
        self.driver.quit()


def begin(profile: Path) -> Iterator[Browser]:
    """The browser, closed at the end; a skip where it is missing."""
    if MISSING:
        pytest.skip(MISSING)
    pytest.importorskip("selenium", reason="selenium is not installed (extra dev)")
    browser = Browser(profile)
    try:
        yield browser
    finally:
        browser.close()
