"""Takes the bill of materials out of a wheel, and lists its crates.

    python3 tools/release/bom.py WHEEL BOM LIST

maturin writes it with cargo-cyclonedx, which it has inside: CycloneDX 1.5 as JSON, all crates that the program is built
from, for all systems. BOM is that file without the path of the folder where it was built; LIST has a line per crate:
name, version, licence.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from pathlib import Path
from typing import Any


def licence(component: dict[str, Any]) -> str:
    """Returns the licence of a crate as an SPDX expression."""
    licences = component.get("licenses", [])
    names = [
        entry.get("expression") or entry.get("license", {}).get("id") or entry.get("license", {}).get("name", "")
        for entry in licences
    ]
    return " AND ".join(names) or "not given"


def main() -> None:
    """Writes both files; ends with a sentence if the wheel has no bill of materials."""
    wheel, bom, crates = (Path(argument) for argument in sys.argv[1:])
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith("/sboms/pipeline.cyclonedx.json")]
        if not names:
            sys.exit(
                f"error: {wheel} has no bill of materials; build it with maturin 1.11 or later, installed by pip (one "
                "that cargo built needs its feature `sbom`)"
            )
        text = archive.read(names[0]).decode()
    content = json.loads(text)
    components = content.get("components", [])
    if content.get("bomFormat") != "CycloneDX" or not components:
        sys.exit(f"error: the bill of materials in {wheel} lists no crate")
    root = content["metadata"]["component"]["bom-ref"].split("#")[0]
    text = re.sub(re.escape(root) + r"(?=[/#])", "path+file://.", text)
    bom.write_text(text + "\n", encoding="utf-8")
    rows = sorted((part["name"], part["version"], licence(part)) for part in components)
    crates.write_text("".join(f"{name} {version}: {licence}\n" for name, version, licence in rows), encoding="utf-8")
    print(f"{bom}: {len(rows)} crates")


if __name__ == "__main__":
    main()
