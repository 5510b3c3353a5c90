"""Pictures of every page of the dashboard, at phone and desktop width, light and dark, of a demo project that is made for them.

    pictures.py --binary FILE --into FOLDER [--best FOLDER]

Whole pages go into the first folder, to be looked at; what the docs show of a few of them, as much as a screen holds and with few colours, into the second.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

from browser import DESKTOP, PAGES, PHONE, SCHEMES, chromium, log_in, open_page, visitor
from PIL import Image

SCREENS = {"desktop": (DESKTOP, 1), "phone": (PHONE, 2)}
# Page, screen and scheme of those that the docs show.
BEST = [
    ("overview", "desktop", "light"),
    ("overview", "phone", "dark"),
    ("sales", "phone", "light"),
    ("sale", "desktop", "light"),
    ("sites", "desktop", "dark"),
    ("sources", "desktop", "light"),
]
COLOURS = 192
MOST_BYTES = 150_000
# The sales of a demo end now.
PERIOD = "period=7-days"
USER, PASSWORD = "reader", "a password for pictures"


def project(binary, folder):
    """The words that a command of a demo project with a user begins with."""
    home = folder / "demo"
    made = subprocess.run([binary, "demo", "--dir", home], capture_output=True, text=True)
    if made.returncode:
        raise SystemExit(made.stderr)
    password = folder / "password.txt"
    password.write_text(PASSWORD + "\n")
    here = [binary, "--project", home]
    subprocess.run([*here, "user", "add", USER, "--personal", "--sources", "--password-file", password], check=True, capture_output=True)
    return here


def small(picture, path):
    """A picture of few colours, which a document carries."""
    with Image.open(picture) as image:
        image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise SystemExit(f"{path} has {size} bytes, more than {MOST_BYTES}")


def shoot(browser, url, into, best):
    for screen, (width, scale) in SCREENS.items():
        page, watch = visitor(browser, url, viewport=width, device_scale_factor=scale)
        for which in PAGES:
            if not which.is_before_login and not page.context.cookies():
                page.goto("/login")
                log_in(page, USER, PASSWORD)
                page.wait_for_url(lambda address: "/login" not in address)
            open_page(page, which, PERIOD)
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)
                name = f"{which.name}-{screen}-{scheme}.png"
                page.screenshot(path=into / name, full_page=True)
                if best and (which.name, screen, scheme) in BEST:
                    shown = into / f"shown-{name}"
                    page.screenshot(path=shown)
                    small(shown, best / name)
                    shown.unlink()
        watch.assert_none(screen)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--into", required=True, type=pathlib.Path)
    parser.add_argument("--best", type=pathlib.Path)
    arguments = parser.parse_args()
    for folder in filter(None, [arguments.into, arguments.best]):
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        here = project(arguments.binary, pathlib.Path(folder))
        words = [*here, "serve", "--listen", "127.0.0.1:0", "--format", "json"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
            try:
                url = json.loads(server.stdout.readline())["url"]
                with chromium() as browser:
                    shoot(browser, url, arguments.into, arguments.best)
            finally:
                server.terminate()
    print(arguments.into)


if __name__ == "__main__":
    sys.exit(main())
