"""Debian's Chromium without a window, and what it complains of."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait
from tests.debian import install_missing

# the driver's package is of the same source as the browser's: their versions always fit
CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
PROGRAMS = {"chromium": [CHROMIUM], "chromium-driver": [DRIVER]}
WINDOW = 1600, 1000
SECONDS = 120
LOCAL = ("file:", "data:", "blob:", "about:", "chrome:")
OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # which root cannot have
    "--disable-dev-shm-usage",  # containers have little of it
    "--disable-background-networking",
    f"--window-size={WINDOW[0]},{WINDOW[1]}",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # no network, whatever is asked for
)


@contextlib.contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    """A browser that cannot reach anything but files.

    Raises:
        Unavailable: where it cannot be had.
    """
    install_missing(PROGRAMS)
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # with the path given, Selenium looks for no driver to download
    driver = webdriver.Chrome(options, Service(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def wait(driver: webdriver.Chrome, condition: Callable[[], Any], what: str) -> Any:
    """Ask until it is true; what it then is."""
    return WebDriverWait(driver, SECONDS, 0.05).until(lambda _: condition(), what)


def one(place: webdriver.Chrome | WebElement, xpath: str) -> WebElement:
    """The only element of a path."""
    (found,) = place.find_elements(By.XPATH, xpath)
    return found


def errors(driver: webdriver.Chrome) -> list[str]:
    """What the console has had of errors since the last call."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]


def requests(driver: webdriver.Chrome) -> list[str]:
    """Addresses that were asked for since the last call, beyond the machine's own files."""
    events = (json.loads(entry["message"])["message"] for entry in driver.get_log("performance"))
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    return [address for address in asked if not address.startswith(LOCAL)]
