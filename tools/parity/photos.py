"""Many photos through our preprocessing and through Pillow, in 255ths of a channel. Needs numpy and pillow.

    cargo build --release --workspace --example pixels
    python3 tools/parity/photos.py ../shared/data/flickr8k/*.tar

Resizing and cropping are torchvision's: bicubic to 224 on the shorter side, centre crop.
"""

import argparse
import io
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, features

ROOT = Path(__file__).resolve().parent.parent.parent
SIDE = 224


def prepare(image: Image.Image) -> Image.Image:
    """What torchvision's Resize(224, BICUBIC) and CenterCrop(224) do to a Pillow image, and RGB after that."""
    short, long = sorted(image.size)
    size = (SIDE, int(SIDE * long / short))
    size = size if image.width <= image.height else size[::-1]
    if size != image.size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (round((side - SIDE) / 2) for side in image.size)
    return image.crop((left, top, left + SIDE, top + SIDE)).convert("RGB")


def ours(program: Path, photos: list[tuple[bytes, str]]) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}{suffix}" for number, (_, suffix) in enumerate(photos)]
        for path, (photo, _) in zip(paths, photos):
            path.write_bytes(photo)
        names = "".join(f"{path}\n" for path in paths).encode()
        run = subprocess.run([program], input=names, stdout=subprocess.PIPE, check=True)
    return np.frombuffer(run.stdout, dtype=np.uint8).reshape(-1, SIDE, SIDE, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=sys.maxsize, help="take the first N photos")
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/examples/pixels")
    options = parser.parse_args()

    count, same, total, largest, pillow = 0, 0, 0.0, 0, 0.0
    for shard in options.shards:
        with tarfile.open(shard) as tar:
            members = [member for member in tar if member.name.endswith((".jpg", ".png", ".webp"))]
            members = members[: options.count - count]
            photos = [(tar.extractfile(member).read(), Path(member.name).suffix) for member in members]
        for (photo, _), pixels in zip(photos, ours(options.program, photos), strict=True):
            start = time.thread_time()
            theirs = np.asarray(prepare(Image.open(io.BytesIO(photo))))
            pillow += time.thread_time() - start
            apart = np.abs(theirs.astype(int) - pixels.astype(int))
            count, same, total = count + 1, same + (not apart.any()), total + apart.mean()
            largest = max(largest, apart.max())
    turbo = features.version("libjpeg_turbo")
    print(f"{count} photos, Pillow {Image.__version__}, libjpeg-turbo {turbo}: {pillow / count * 1000:.2f} ms each")
    print(f"{same} identical; mean difference {total / count:.4f}, largest {largest}")


if __name__ == "__main__":
    main()
