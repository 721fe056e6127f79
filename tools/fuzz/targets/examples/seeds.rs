//! Writes the seeds that can be generated. Seeds that once were findings lie beside them under the
//! name `found-…` and are kept.
//!
//!     cargo run --release --workspace --example seeds
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;
use std::sync::Arc;

use features::{Entry, EntryKey};
use image::{DynamicImage, ImageFormat};
use items::{CachedSample, ShardFault, Work};

fn main() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../seeds"));
    let write = |target: &str, name: &str, parts: &[&[u8]]| {
        fs::create_dir_all(root.join(target)).unwrap();
        fs::write(root.join(target).join(name), parts.concat()).unwrap();
    };
    tars(&write);
    captions(&write);
    configs(&write);
    models(&write);
    caches(&write);
    for (name, picture, format) in [
        ("rgb.png", DynamicImage::new_rgb8(5, 3), ImageFormat::Png),
        ("grey-16.png", DynamicImage::new_luma16(3, 3), ImageFormat::Png),
        ("alpha.png", DynamicImage::new_rgba8(4, 4), ImageFormat::Png),
        ("rgb.jpg", DynamicImage::new_rgb8(17, 9), ImageFormat::Jpeg),
        ("grey.jpg", DynamicImage::new_luma8(8, 8), ImageFormat::Jpeg),
        ("rgb.webp", DynamicImage::new_rgb8(6, 7), ImageFormat::WebP),
    ] {
        write("picture", name, &[&encoded(&picture, format)]);
    }
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

type Write_<'a> = &'a dyn Fn(&str, &str, &[&[u8]]);

fn tars(write: Write_<'_>) {
    let picture = encoded(&DynamicImage::new_rgb8(2, 2), ImageFormat::Png);
    let whole = |members: &[(&str, &[u8])]| {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, bytes) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, name, *bytes).unwrap();
        }
        tar.into_inner().unwrap()
    };
    let long = format!("{}/c.txt", "folder".repeat(30));
    let plain =
        whole(&[("a.png", &picture), ("a.txt", b"a dog\na cat\n"), ("b.txt", b"no picture"), ("b.jpg", &picture)]);
    write("tar", "plain", &[&[0], &plain]);
    write("tar", "long-name", &[&[0], &whole(&[(&long, b"a dog"), (&long.replace("txt", "png"), &picture)])]);
    write("tar", "json", &[&[1], &whole(&[("a.png", &picture), ("a.json", br#"{"caption": ["a dog", "a cat"]}"#)])]);
    write("tar", "unread", &[&[2], &whole(&[("a.png", &picture), ("./b.webp", &picture)])]);
    // A pax header before the first member, and a link after it.
    let mut pax = tar::Builder::new(Vec::new());
    pax.append_pax_extensions([("path", b"deep/er.png".as_slice()), ("size", b"3".as_slice())]).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_path("x.png").unwrap();
    header.set_size(3);
    header.set_cksum();
    pax.append(&header, &b"abc"[..]).unwrap();
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    pax.append_link(&mut link, "er.png", "/etc/passwd").unwrap();
    let mut sparse = tar::Header::new_gnu();
    sparse.set_entry_type(tar::EntryType::GNUSparse);
    sparse.set_path("s.png").unwrap();
    sparse.set_size(0);
    sparse.set_cksum();
    let pax = pax.into_inner().unwrap();
    write("tar", "pax-and-link", &[&[0], &pax]);
    write("tar", "sparse", &[&[0], &plain[..2 * 512 + 512], sparse.as_bytes(), &[0; 1024]]);
}

fn captions(write: Write_<'_>) {
    let some = "a dog runs on the grass\nA brown dog.\n\ntwo men beside a bus\n\nno people, only water";
    for how in 0..6u8 {
        write("captions", &format!("plain-{how}"), &[&[how, 7], some.as_bytes()]);
    }
    write("captions", "negations", &[&[0, 1], b"no no not without\n\nnothing\n\nn't isn't never"]);
    write(
        "captions",
        "odd",
        &[&[2, 3], "İ ß\u{301} 🐕 {object} {caption} %s\n\n\u{202e}中文, (a/b) 'dog's'\n\n-- . ,".as_bytes()],
    );
    write(
        "templates",
        "compositional",
        &[&[0], "# ours\n{caption} and no {object}\n{caption} without {a object}\n".as_bytes()],
    );
    write("templates", "full", &[&[1], b"it is not so that {caption}\nno: {caption}\n"]);
    write(
        "templates",
        "twins",
        &[
            &[2],
            b"{caption}, with {a present} and no {absent} | {caption}, with {a absent} and no {present}\n\
          {a absent} {is absent} not there | {a present} {is present} not there\n",
        ],
    );
}

fn configs(write: Write_<'_>) {
    write(
        "config",
        "plain",
        &[br#"[run]
name = "r"
epochs = 2
seed = 1
device = "cpu"

[model]
weights = "clip"

[[stage]]
kind = "shards"
urls = ["a-{000..003}.tar", "b.tar"]
buffer = 10
captions = "json:caption"

[[stage]]
kind = "captions"
writer = "twins"
mode = "fixed"
[stage.twins]
pairs = 3
"#],
    );
    write(
        "config",
        "wrong",
        &[b"[run]\nname = 3\nepochs = -1\n[[stage]]\nkind = \"shard\"\nurls = 1e9\n[eval]\nx = { y = [1, 2] }\n"],
    );
    write("shard_list", "braces", &[b"train-{000..011}.tar\n{a,b{1..3}}-{x..z..2}.tar\npipe:cat a.tar\n"]);
    write("shard_list", "places", &[b"s3://bucket/{0..2}.tar\nfile://a.tar\nhttp://host/a.tar\n{}\n{a}\n"]);
}

fn models(write: Write_<'_>) {
    let files = fuzz_targets::tiny_files();
    let [config, weights, open_clip_config, open_clip_weights] = files else { unreachable!() };
    write("safetensors", "hugging-face", &[&[0], &weights.1]);
    write("safetensors", "open-clip", &[&[1], &open_clip_weights.1]);
    write("safetensors", "lfs", &[&[0], b"version https://git-lfs.github.com/spec/v1\n"]);
    write("model_config", "hugging-face", &[&[0], &config.1]);
    write("model_config", "open-clip", &[&[1], &open_clip_config.1]);
    write(
        "model_config",
        "one-tower",
        &[&[0], br#"{"model_type": "clip_text_model", "hidden_size": 2, "vocab_size": 6}"#],
    );
    let names: Vec<String> = clip_names().iter().map(|name| format!("\"{name}\": \"a.safetensors\"")).collect();
    write("model_config", "index", &[&[2], format!("{{\"weight_map\": {{{}}}}}", names.join(",")).as_bytes()]);
    write(
        "model_config",
        "preprocessor",
        &[
            &[3],
            br#"{"size": {"shortest_edge": 4}, "crop_size": 4, "resample": 2, "image_mean": [0.5, 0.4, 0.3],
            "image_std": [0.2, 0.2, 0.2], "rescale_factor": 0.004}"#,
        ],
    );
    write(
        "model_config",
        "tokenizer",
        &[
            &[4],
            br#"{"model": {"type": "BPE", "vocab": {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2, "a": 3},
            "merges": ["a a</w>"]}}"#,
        ],
    );
    for (name, how, bytes) in [("zip", 0, archive()), ("zip-open-clip", 1, archive()), ("legacy", 0, legacy())] {
        write("pickle", name, &[&[how], &bytes]);
    }
    write("pickle", "code", &[&[0], b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R."]);
}

fn clip_names() -> Vec<String> {
    let whole = &fuzz_targets::tiny_files()[1].1;
    let (_, metadata) = safetensors::SafeTensors::read_metadata(whole).unwrap();
    metadata.tensors().into_keys().collect()
}

/// The pickle of a state dict with one tensor of two numbers, `logit_scale`, in storage "0".
fn state_dict(protocol: u8) -> Vec<u8> {
    let mut pickle = vec![0x80, protocol];
    pickle.extend(b"ccollections\nOrderedDict\n)R(X\x0b\x00\x00\x00logit_scale");
    pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n");
    pickle.extend(
        b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02tQK\x00K\x02\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtRu.",
    );
    pickle
}

/// A ZIP archive as torch.save makes it: uncompressed parts, one after the other.
fn archive() -> Vec<u8> {
    let numbers = [1f32, 2.0].map(f32::to_le_bytes).concat();
    let parts: [(&str, Vec<u8>); 3] =
        [("x/data.pkl", state_dict(2)), ("x/byteorder", b"little".to_vec()), ("x/data/0", numbers)];
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, part) in &parts {
        let at = bytes.len() as u32;
        // Version, flags, method, time, date, checksum, sizes, lengths of name and extra.
        let mut head = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        head.extend(crc32(part).to_le_bytes());
        head.extend((part.len() as u32).to_le_bytes().repeat(2));
        head.extend((name.len() as u16).to_le_bytes());
        head.extend([0, 0]);
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&head);
        bytes.extend(name.as_bytes());
        bytes.extend(part);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&head);
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let at = bytes.len() as u32;
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0\x03\0\x03\0");
    bytes.extend((directory.len() as u32).to_le_bytes());
    bytes.extend(at.to_le_bytes());
    bytes.extend([0, 0]);
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 })
    })
}

/// The same in PyTorch's format before 1.6: pickles, then the numbers.
fn legacy() -> Vec<u8> {
    let mut bytes = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.".to_vec();
    bytes.extend(b"\x80\x02}X\x0d\x00\x00\x00little_endian\x88s.");
    bytes.extend(state_dict(2));
    bytes.extend(b"\x80\x02]X\x01\x00\x00\x000a.");
    bytes.write_all(&2u64.to_le_bytes()).unwrap();
    bytes.extend([1f32, 2.0].map(f32::to_le_bytes).concat());
    bytes
}

fn caches(write: Write_<'_>) {
    let key = EntryKey { fingerprint: "f".into(), shard: "s.tar".into(), identity: "size=1".into() };
    let sample = |row: usize| CachedSample {
        key: format!("key {row}").into(),
        captions: (0..row % 3).map(|i| format!("caption {i}")).collect(),
        work: if row % 3 == 2 {
            Work::Skipped { stage: "decode".into(), reason: "no picture".into() }
        } else {
            Work::Done(Arc::from([row as f32; 4]))
        },
    };
    for (name, rows, fault) in [("three", 3, None), ("none", 0, Some(ShardFault { reason: "cut".into() }))] {
        let entry = Entry { samples: (0..rows).map(sample).collect(), fault };
        let bytes = entry.to_bytes(&key).unwrap();
        write("cache", name, &[&bytes]);
        // The seal is the 32 bytes before Arrow's own trailer of 10 bytes, whose first four hold the length of both.
        let (arrow, rest) = bytes.split_at(bytes.len() - 42);
        let length = i32::from_le_bytes(rest[32..36].try_into().unwrap()) - 32;
        write("cache_sealed", name, &[arrow, &length.to_le_bytes(), &rest[36..]]);
    }
}
