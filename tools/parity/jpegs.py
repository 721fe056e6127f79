"""JPEG files of every shape, and the pixels that Pillow has for them: python3 tools/parity/jpegs.py

Writes crates/clip/tests/data/jpeg. Pillow's own encoder knows few shapes, so that most files come from
the small encoder below: any sampling factors, scans, restart intervals, markers and damages. It needs
pillow, numpy and safetensors alone.
"""

import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image, features
from safetensors.numpy import save_file

import formula

OUT = Path(__file__).resolve().parents[2] / "crates/clip/tests/data/jpeg"

# ITU T.81, annex K: tables that most encoders use.
LUMA_QUANT = """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"""
LUMA_QUANT = np.array(LUMA_QUANT.split(), dtype=int).reshape(8, 8)
# The zigzag: diagonals, each other one upwards.
ZIGZAG = sorted(((y, x) for y in range(8) for x in range(8)), key=lambda p: (sum(p), p[0] if sum(p) % 2 else p[1]))
TRANSFORM = np.array(
    [[np.cos((2 * x + 1) * u * np.pi / 16) * (np.sqrt(0.125) if u == 0 else 0.5) for x in range(8)] for u in range(8)]
)


def standard_codes() -> dict[str, tuple[list[int], list[int]]]:
    """Counts and symbols of the Huffman tables that Pillow writes: DC and AC of luma, DC and AC of colour."""
    data = io.BytesIO()
    Image.new("RGB", (8, 8)).save(data, "JPEG")
    data, at, tables = data.getvalue(), 2, {}
    while data[at + 1] != 0xDA:
        length = struct.unpack(">H", data[at + 2 : at + 4])[0]
        if data[at + 1] == 0xC4:
            body = data[at + 4 : at + 2 + length]
            while body:
                kind, counts = body[0], list(body[1:17])
                symbols = list(body[17 : 17 + sum(counts)])
                tables[f"{'AC' if kind & 16 else 'DC'}{kind & 15}"] = (counts, symbols)
                body = body[17 + sum(counts) :]
        at += 2 + length
    return tables


CODES = standard_codes()


def code_words(name: str) -> dict[int, tuple[int, int]]:
    """Symbol to code and length."""
    counts, symbols = CODES[name]
    words, code, at = {}, 0, 0
    for length, count in enumerate(counts, 1):
        for _ in range(count):
            words[symbols[at]] = (code, length)
            code, at = code + 1, at + 1
        code <<= 1
    return words


class Bits:
    def __init__(self):
        self.bits = ""

    def put(self, value: int, length: int) -> None:
        self.bits += format(value, f"0{length}b") if length else ""

    def number(self, value: int, size: int) -> None:
        self.put(value if value >= 0 else value + (1 << size) - 1, size)

    def bytes(self) -> bytes:
        bits = self.bits + "1" * (-len(self.bits) % 8)
        return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)).replace(b"\xff", b"\xff\0")


def marker(code: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, code, len(content) + 2) + content


JFIF = marker(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")


def adobe(transform: int) -> bytes:
    return marker(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform]))


def encode(width, height, sampling, *, scans=None, restart=0, head=JFIF, tables=True, ids=None, scale=1.0) -> bytes:
    """A sequential file of waves and noise. `sampling`: factors (across, down) of each component. `scans`: lists of
    components; all in one if missing. `restart`: units between restart markers. `scale`: of the quantisation."""
    quant = np.clip(np.round(LUMA_QUANT * scale), 1, 255).astype(int)
    most_across, most_down = (max(s[i] for s in sampling) for i in (0, 1))
    ids = ids or list(range(1, len(sampling) + 1))
    blocks = []
    for number, (across, down) in enumerate(sampling):
        columns = -(-width // (most_across * 8)) * across
        rows = -(-height // (most_down * 8)) * down
        y, x = np.mgrid[0 : rows * 8, 0 : columns * 8]
        noise = formula.bits(f"{width}x{height} {number}", x.size).reshape(x.shape) % 64
        wave = 100 * np.sin(x * (0.2 + 0.1 * number) * most_across / across + y * 0.15 * most_down / down)
        plane = np.clip(wave + noise - 32 + 40 * ((x // 5 + y // 7) % 2), -128, 127)
        parts = plane.reshape(rows, 8, columns, 8).transpose(0, 2, 1, 3)
        blocks.append(np.round((TRANSFORM @ parts @ TRANSFORM.T) / quant).astype(int))
    out = b"\xff\xd8" + head
    out += marker(0xDB, b"\0" + bytes(int(quant[p]) for p in ZIGZAG))
    frame = struct.pack(">BHHB", 8, height, width, len(sampling))
    out += marker(0xC0, frame + b"".join(bytes([i, a << 4 | d, 0]) for i, (a, d) in zip(ids, sampling)))
    if tables:
        for name, (counts, symbols) in CODES.items():
            kind = (16 if name[0] == "A" else 0) | int(name[2])
            out += marker(0xC4, bytes([kind]) + bytes(counts) + bytes(symbols))
    if restart:
        out += marker(0xDD, struct.pack(">H", restart))
    words = {name: code_words(name) for name in CODES}
    for scan in scans or [list(range(len(sampling)))]:
        table = {number: 0 if number == 0 else 1 for number in scan}
        parts = b"".join(bytes([ids[number], table[number] * 17]) for number in scan)
        out += marker(0xDA, bytes([len(scan)]) + parts + b"\0\x3f\0")
        if len(scan) == 1:
            across, down = sampling[scan[0]]
            columns = -(-(-(-width * across // most_across)) // 8)
            rows = -(-(-(-height * down // most_down)) // 8)
            units = [[(scan[0], y, x)] for y in range(rows) for x in range(columns)]
        else:
            columns, rows = -(-width // (most_across * 8)), -(-height // (most_down * 8))
            units = [
                [
                    (number, y * sampling[number][1] + v, x * sampling[number][0] + h)
                    for number in scan
                    for v in range(sampling[number][1])
                    for h in range(sampling[number][0])
                ]
                for y in range(rows)
                for x in range(columns)
            ]
        bits, before = Bits(), dict.fromkeys(scan, 0)
        for at, unit in enumerate(units):
            if restart and at and at % restart == 0:
                out += bits.bytes() + bytes([0xFF, 0xD0 + (at // restart - 1) % 8])
                bits, before = Bits(), dict.fromkeys(scan, 0)
            for number, y, x in unit:
                values = [int(blocks[number][y, x][p]) for p in ZIGZAG]
                difference = values[0] - before[number]
                before[number] = values[0]
                size = abs(difference).bit_length()
                bits.put(*words[f"DC{table[number]}"][size])
                bits.number(difference, size)
                ac, run = words[f"AC{table[number]}"], 0
                last = max((i for i in range(1, 64) if values[i]), default=0)
                for value in values[1 : last + 1]:
                    if value == 0:
                        run += 1
                        continue
                    while run > 15:
                        bits.put(*ac[0xF0])
                        run -= 16
                    size = abs(value).bit_length()
                    bits.put(*ac[run << 4 | size])
                    bits.number(value, size)
                    run = 0
                if last < 63:
                    bits.put(*ac[0])
        out += bits.bytes()
    return out + b"\xff\xd9"


def pillow(width: int, height: int, mode: str, **options) -> bytes:
    channels = len(mode) if mode != "L" else 1
    y, x = np.mgrid[0:height, 0:width]
    noise = formula.bits(f"{width}x{height} {mode}", width * height * channels).reshape(height, width, channels)
    planes = [127 + 110 * np.sin(x * (0.1 + 0.1 * c) + y * 0.2) for c in range(channels)]
    values = np.clip(np.stack(planes, -1) + noise % 30, 0, 255).astype(np.uint8)
    data = io.BytesIO()
    Image.fromarray(values[..., 0] if mode == "L" else values, mode).save(data, "JPEG", **options)
    return data.getvalue()


def shapes() -> dict[str, bytes]:
    one, two = (1, 1), (2, 2)
    files = {}
    for a, d in [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (1, 4), (3, 1), (1, 3), (4, 2), (2, 4), (3, 2)]:
        files[f"luma_{a}x{d}"] = encode(37, 29, [(a, d), one, one])
    files["colour_is_larger"] = encode(37, 29, [one, two, one])
    files["all_differ"] = encode(45, 33, [two, (2, 1), (1, 2)])
    files["quarter_and_half"] = encode(45, 33, [(4, 2), (2, 2), (2, 1)], scans=[[0], [1], [2]])
    for side in range(1, 7):
        files[f"narrow_{side}"] = encode(side, 9, [two, one, one])
        files[f"flat_{side}"] = encode(9, side, [(2, 1), one, one])
    files["one_component_2x2"] = encode(21, 19, [two])
    files["scans_apart"] = encode(37, 29, [two, one, one], scans=[[0], [1], [2]])
    files["scans_in_disorder"] = encode(37, 29, [(2, 1), one, one], scans=[[2], [0, 1]])
    files["a_scan_is_missing"] = encode(37, 29, [two, one, one], scans=[[0], [2]])
    files["restarts"] = encode(50, 40, [two, one, one], restart=2)
    files["restarts_apart"] = encode(50, 40, [two, one, one], scans=[[1], [0], [2]], restart=3)
    files["no_tables"] = encode(37, 29, [two, one, one], tables=False)
    files["rgb_by_adobe"] = encode(37, 29, [one] * 3, head=adobe(0))
    files["rgb_by_ids"] = encode(37, 29, [one] * 3, head=b"", ids=list(b"RGB"))
    files["ycc_by_adobe"] = encode(37, 29, [two, one, one], head=adobe(1))
    files["ycc_by_nothing"] = encode(37, 29, [two, one, one], head=b"", ids=[0, 1, 2])
    files["jfif_before_adobe"] = encode(37, 29, [one] * 3, head=JFIF + adobe(0))
    files["inks"] = encode(37, 29, [one] * 4, head=adobe(0))
    files["inks_ycck"] = encode(37, 29, [two, one, one, two], head=adobe(2))
    files["inks_by_nothing"] = encode(37, 29, [one] * 4, head=b"")
    files["fine"] = encode(37, 29, [one] * 3, scale=0.02)
    files["coarse"] = encode(37, 29, [two, one, one], scale=5)
    for name, options in {
        "progressive": {"progressive": True},
        "progressive_full": {"progressive": True, "subsampling": 0, "quality": 95},
        "progressive_restarts": {"progressive": True, "restart_marker_blocks": 2},
        "progressive_half": {"progressive": True, "subsampling": 1, "quality": 40},
        "optimized": {"optimize": True, "quality": 100},
    }.items():
        files[name] = pillow(43, 35, "RGB", **options)
    files["progressive_grey"] = pillow(43, 35, "L", progressive=True)
    files["progressive_inks"] = pillow(43, 35, "CMYK", progressive=True)

    # Damaged, and read all the same: libjpeg warns and goes on.
    whole = encode(50, 40, [two, one, one])
    parts = encode(50, 40, [two, one, one], restart=2)
    data = whole.index(b"\xff\xda") + 14
    files["ends_early"] = whole[: data + 200] + b"\xff\xd9"
    files["bits_are_wrong"] = whole[: data + 150] + bytes([0x55] * 7) + whole[data + 157 :]
    files["rubbish_between"] = whole[:data - 14] + b"rubbish\0" + whole[data - 14 :]
    files["rubbish_before_the_end"] = whole[:-2] + b"\1\2\3" + whole[-2:]
    third = parts.index(b"\xff\xd2")
    files["a_restart_is_lost"] = parts[:third] + parts[third + 2 :]
    files["a_restart_is_another"] = parts[:third] + b"\xff\xd4" + parts[third + 2 :]
    files["a_part_is_lost"] = parts[: parts.index(b"\xff\xd1")] + parts[third:]
    slow = pillow(43, 35, "RGB", progressive=True)
    at = slow.rindex(b"\xff\xda") + 10
    files["progressive_bits_are_wrong"] = slow[: at + 20] + bytes([0xAA] * 5) + slow[at + 25 :]
    return files


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    expected = {}
    for name, data in shapes().items():
        (OUT / f"{name}.jpg").write_bytes(data)
        image = Image.open(io.BytesIO(data))
        expected[name] = np.asarray(image)
    save_file(expected, OUT / "expected.safetensors")
    size = sum(path.stat().st_size for path in OUT.iterdir())
    turbo = features.version("libjpeg_turbo")
    print(f"{len(expected)} files, {size} bytes, Pillow {Image.__version__}, libjpeg-turbo {turbo}")


if __name__ == "__main__":
    main()
