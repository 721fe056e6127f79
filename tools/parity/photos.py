"""Compares the preprocessing of many photos with torchvision's on Pillow, in 255ths of a channel.

    cargo build --release --workspace --example pixels
    python3 tools/parity/photos.py ../shared/data/flickr8k/test-000.tar --count 300
"""

import argparse
import io
import subprocess
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import PIL
import torchvision
from PIL import Image
from torchvision import transforms

ROOT = Path(__file__).resolve().parent.parent.parent
SIDE = 224


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/examples/pixels")
    options = parser.parse_args()

    members = (
        (tar.extractfile(member).read(), Path(member.name).suffix)
        for tar in map(tarfile.open, options.shards)
        for member in tar
        if member.name.endswith((".jpg", ".png", ".webp"))
    )
    photos = [photo for photo, _ in zip(members, range(options.count))]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}{suffix}" for number, (_, suffix) in enumerate(photos)]
        for path, (photo, _) in zip(paths, photos):
            path.write_bytes(photo)
        names = "".join(f"{path}\n" for path in paths).encode()
        said = subprocess.run([options.program], input=names, capture_output=True, check=True).stdout
    ours = np.frombuffer(said, dtype=np.uint8).reshape(-1, SIDE, SIDE, 3)
    assert len(ours) == len(photos)

    steps = [transforms.Resize(SIDE, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(SIDE)]
    prepare = transforms.Compose(steps)
    means, largest = [], []
    for (photo, _), pixels in zip(photos, ours):
        theirs = np.asarray(prepare(Image.open(io.BytesIO(photo))).convert("RGB"))
        apart = np.abs(theirs.astype(int) - pixels.astype(int))
        means.append(apart.mean())
        largest.append(apart.max())
    print(f"{len(photos)} photos, torchvision {torchvision.__version__}, Pillow {PIL.__version__}")
    print(f"mean {np.mean(means):.3f}, of the worst photo {max(means):.3f}; largest {max(largest)}")


if __name__ == "__main__":
    main()
