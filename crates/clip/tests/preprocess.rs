//! Preprocessing compared with open_clip's tensors, and given broken files.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::Cursor;
use std::path::Path;

use clip::preprocess::{DecodeError, Limits, Preprocess};
use common::{messages, shared};
use image::{ExtendedColorType, ImageEncoder, ImageFormat};
use safetensors::SafeTensors;
use serde_json::{Value, json};

fn configured(json: &Value) -> Preprocess {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("preprocessor_config.json"), json.to_string()).unwrap();
    Preprocess::open(dir.path(), None).unwrap()
}

/// The preprocessing of an open_clip folder.
fn of_open_clip(preprocess: &Value) -> Result<Preprocess, String> {
    let dir = tempfile::tempdir().unwrap();
    let json = json!({"preprocess_cfg": preprocess});
    fs::write(dir.path().join("open_clip_config.json"), json.to_string()).unwrap();
    Preprocess::open(dir.path(), None).map_err(|error| error.to_string())
}

/// Only decodes: a crop of the picture's own size.
fn as_is(file: &[u8], height: u32, width: u32) -> Vec<u8> {
    let config = json!({"do_resize": false, "crop_size": {"height": height, "width": width}});
    configured(&config).decode(file, &Limits::default()).unwrap().rgb
}

/// Mean and largest difference in 255ths.
fn difference(a: &[u8], b: &[u8]) -> (f64, u8) {
    assert_eq!(a.len(), b.len());
    let each = || a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
    (each().map(f64::from).sum::<f64>() / a.len() as f64, each().max().unwrap_or(0))
}

fn encode(format: ImageFormat, data: &[u8], width: u32, height: u32, color: ExtendedColorType) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    match format {
        ImageFormat::Png => {
            image::codecs::png::PngEncoder::new(&mut out).write_image(data, width, height, color).unwrap()
        }
        ImageFormat::WebP => {
            image::codecs::webp::WebPEncoder::new_lossless(&mut out).write_image(data, width, height, color).unwrap()
        }
        _ => image::codecs::jpeg::JpegEncoder::new_with_quality(&mut out, 95)
            .write_image(data, width, height, color)
            .unwrap(),
    }
    out.into_inner()
}

/// Smooth waves with a hard edge, `channels` values per pixel.
fn waves(width: u32, height: u32, channels: u32) -> Vec<u8> {
    let mut out = Vec::new();
    for y in 0..height {
        for x in 0..width {
            for c in 0..channels {
                let wave = (x * (c + 1)) as f32 * 0.07 + y as f32 * 0.05;
                let edge = if (x / 37 + y / 23) % 2 == 0 { 40.0 } else { 0.0 };
                out.push((110.0 + 90.0 * wave.sin() + edge) as u8);
            }
        }
    }
    out
}

const GOLDENS: [&str; 9] = [
    "std_640x480.jpg",
    "tall_97x640.jpg",
    "wide_1500x61.jpg",
    "gray.jpg",
    "cmyk.jpg",
    "rgba.png",
    "gray16.png",
    "tiny_5x7.png",
    "palette_224.png",
];

/// Decoding and everything after it is Pillow's to the bit.
#[test]
fn goldens() {
    let Some(dir) = shared("golden/preprocess") else { return };
    let bytes = fs::read(dir.join("preprocess.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let preprocess = Preprocess::openai(224);
    for name in GOLDENS {
        let file = fs::read(dir.join(name)).unwrap();
        let golden = tensors.tensor(name).unwrap();
        assert_eq!(golden.shape(), [3, 224, 224]);
        let golden: Vec<f32> =
            golden.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        let pixels = preprocess.decode(&file, &Limits::default()).unwrap();
        assert_eq!((pixels.height, pixels.width), (224, 224));
        let found = preprocess.normalise(&pixels.rgb);
        // Both are multiples of 1/255 before normalisation; one of them is 0.014 after it.
        let apart = found.iter().zip(&golden).fold(0.0, |most: f32, (a, b)| most.max((a - b).abs()));
        println!("{name:<18} largest difference {apart:.1e}");
        assert!(apart < 1e-5, "{name}: {apart}");

        let decoded = tensors.tensor(&format!("{name}.rgb_u8")).unwrap();
        let [height, width, 3] = *decoded.shape() else { panic!("{:?}", decoded.shape()) };
        let found = as_is(&file, height as u32, width as u32);
        assert_eq!(difference(&found, decoded.data()), (0.0, 0), "{name}");
    }
}

const OWN: [&str; 12] = [
    "photo.jpg",
    "full.jpg",
    "gray.jpg",
    "cmyk.jpg",
    "tall.jpg",
    "wide.png",
    "tiny.png",
    "rgba.png",
    "palette.png",
    "gray16.png",
    "bits.png",
    "lossless.webp",
];

/// Our own pictures, resized in four ways.
#[test]
fn our_own_goldens() {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/preprocess"));
    let bytes = fs::read(dir.join("expected.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let squash = json!({"size": {"height": 24, "width": 24}, "do_center_crop": false, "resample": 2});
    let ways = [
        ("shortest", Preprocess::openai(32)),
        ("squash", configured(&squash)),
        ("longest", of_open_clip(&json!({"size": [16, 24], "resize_mode": "longest"})).unwrap()),
        ("around", of_open_clip(&json!({"size": [20, 12], "interpolation": "bilinear"})).unwrap()),
    ];
    for name in OWN {
        let file = fs::read(dir.join(name)).unwrap();
        for (way, preprocess) in &ways {
            let golden = tensors.tensor(&format!("{name}.{way}")).unwrap();
            let pixels = preprocess.decode(&file, &Limits::default()).unwrap();
            assert_eq!(golden.shape(), [pixels.height, pixels.width, 3]);
            assert_eq!(difference(&pixels.rgb, golden.data()), (0.0, 0), "{name} {way}");
        }
    }
}

/// A JPEG in a coding that is not done is named, and is not called broken.
#[test]
fn a_coding_that_is_not_done_is_named() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/preprocess/photo.jpg"));
    let mut file = fs::read(path).unwrap();
    let frame = file.windows(2).position(|at| at == [0xff, 0xc0]).unwrap();
    file[frame + 1] = 0xc9;
    let error = Preprocess::openai(8).decode(&file, &Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "Jpeg files with arithmetic coding are not read; save the picture anew");
}

#[test]
fn lossless_files_come_out_as_they_went_in() {
    let (width, height) = (61, 47);
    let rgb = waves(width, height, 3);
    for format in [ImageFormat::Png, ImageFormat::WebP] {
        let file = encode(format, &rgb, width, height, ExtendedColorType::Rgb8);
        assert_eq!(as_is(&file, height, width), rgb, "{format:?}");
    }
    let jpeg = encode(ImageFormat::Jpeg, &rgb, width, height, ExtendedColorType::Rgb8);
    let (mean, max) = difference(&as_is(&jpeg, height, width), &rgb);
    println!("JPEG of quality 95: mean {mean:.3}, max {max}");
    assert!(mean < 3.0);
}

#[test]
fn modes_become_rgb_as_in_pillow() {
    let (width, height) = (40, 30);
    let count = (width * height) as usize;
    let png = |data: &[u8], color| encode(ImageFormat::Png, data, width, height, color);
    let three = |grey: u8| [grey; 3];

    let grey = waves(width, height, 1);
    let expected: Vec<u8> = grey.iter().copied().flat_map(three).collect();
    assert_eq!(as_is(&png(&grey, ExtendedColorType::L8), height, width), expected);

    let with_alpha = waves(width, height, 2);
    let expected: Vec<u8> = with_alpha.chunks(2).flat_map(|p| three(p[0])).collect();
    assert_eq!(as_is(&png(&with_alpha, ExtendedColorType::La8), height, width), expected);

    let rgba = waves(width, height, 4);
    let expected: Vec<u8> = rgba.chunks(4).flat_map(|p| [p[0], p[1], p[2]]).collect();
    for format in [ImageFormat::Png, ImageFormat::WebP] {
        let file = encode(format, &rgba, width, height, ExtendedColorType::Rgba8);
        assert_eq!(as_is(&file, height, width), expected, "{format:?}");
    }

    // 16-bit grey is clipped at 255; 16-bit colour keeps the upper byte.
    let deep: Vec<u16> = (0..count as u16).collect();
    let bytes: Vec<u8> = deep.iter().flat_map(|v| v.to_ne_bytes()).collect();
    let expected: Vec<u8> = deep.iter().flat_map(|v| three((*v).min(255) as u8)).collect();
    assert_eq!(as_is(&png(&bytes, ExtendedColorType::L16), height, width), expected);
    let deep: Vec<u16> = (0..count * 3).map(|i| (i * 17) as u16).collect();
    let bytes: Vec<u8> = deep.iter().flat_map(|v| v.to_ne_bytes()).collect();
    let expected: Vec<u8> = deep.iter().map(|v| (v >> 8) as u8).collect();
    assert_eq!(as_is(&png(&bytes, ExtendedColorType::Rgb16), height, width), expected);
}

#[test]
fn what_is_transparent_does_not_bleed() {
    // The right half is red but transparent; the left is opaque green.
    let rgba: Vec<u8> =
        (0..64 * 64).flat_map(|i| if i % 64 < 32 { [0, 200, 0, 255] } else { [255, 0, 0, 0] }).collect();
    let file = encode(ImageFormat::Png, &rgba, 64, 64, ExtendedColorType::Rgba8);
    let pixels = Preprocess::openai(32).decode(&file, &Limits::default()).unwrap();
    let column = |x: usize| [pixels.rgb[x * 3], pixels.rgb[x * 3 + 1]];
    assert_eq!(column(0), [0, 200]);
    assert!((0..32).all(|x| column(x)[0] == 0), "red shows: {:?}", (0..32).map(column).collect::<Vec<_>>());
}

#[test]
fn sizes_round_as_in_torchvision() {
    // A ramp along the long side shows where the crop begins.
    let config = |size: Value, crop: Value| configured(&json!({"size": size, "crop_size": crop}));
    let grey: Vec<u8> = (0..7).flat_map(|_| (0..10).map(|x| x * 20)).collect();
    let file = encode(ImageFormat::Png, &grey, 10, 7, ExtendedColorType::L8);
    let first = |p: &Preprocess| p.decode(&file, &Limits::default()).unwrap().rgb[0];
    // Crops of the picture without resizing: (10 - 7) / 2 = 1.5 rounds to 2, (10 - 5) / 2 = 2.5 to 2.
    assert_eq!(first(&config(json!(7), json!(7))), 40);
    assert_eq!(first(&configured(&json!({"do_resize": false, "crop_size": 5}))), 40);
    // A crop larger than the picture is padded with black: 2 columns left, 3 rows above.
    let padded = configured(&json!({"do_resize": false, "crop_size": {"height": 14, "width": 15}}));
    let rgb = padded.decode(&file, &Limits::default()).unwrap().rgb;
    let at = |row: usize, column: usize| rgb[(row * 15 + column) * 3];
    assert_eq!((at(3, 2 + 9), at(2, 2 + 9), at(3 + 6, 2 + 9), at(3 + 7, 2 + 9), at(4, 12)), (180, 0, 180, 0, 0));
    // Resized to other proportions, without a crop.
    let squash = configured(&json!({"size": {"height": 4, "width": 6}, "do_center_crop": false}));
    assert_eq!(squash.size(), (4, 6));
    assert_eq!(squash.decode(&file, &Limits::default()).unwrap().rgb.len(), 4 * 6 * 3);
}

#[test]
fn both_styles_of_config() {
    let openai = Preprocess::openai(224);
    let mean = json!([0.48145466, 0.4578275, 0.40821073]);
    let std = json!([0.26862954, 0.26130258, 0.27577711]);
    for (size, crop) in [
        (json!(224), json!(224)),
        (json!({"shortest_edge": 224}), json!({"height": 224, "width": 224})),
        (Value::Null, Value::Null),
    ] {
        let config = json!({"size": size, "crop_size": crop, "resample": 3, "image_mean": mean, "image_std": std,
            "do_rescale": true, "rescale_factor": 1.0 / 255.0});
        assert_eq!(configured(&config), openai);
    }

    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Preprocess::open(dir.path(), None).unwrap(), openai);
    assert_eq!(Preprocess::open(dir.path(), Some(32)).unwrap().size(), (32, 32));
    let config = json!({
        "model_cfg": {"vision_cfg": {"image_size": 224}},
        "preprocess_cfg": {"mean": mean, "std": std, "interpolation": "bicubic", "resize_mode": "shortest"},
    });
    fs::write(dir.path().join("open_clip_config.json"), config.to_string()).unwrap();
    assert_eq!(Preprocess::open(dir.path(), Some(32)).unwrap(), openai);

    let other = configured(&json!({"resample": 2, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}));
    assert_ne!(other.fingerprint(), openai.fingerprint());
    assert_eq!(openai.fingerprint(), Preprocess::openai(224).fingerprint());
    let found = other.normalise(&[0, 51, 255, 255, 255, 255]);
    for (found, expected) in found.iter().zip([-1.0, 1.0, -0.6, 1.0, 1.0, 1.0]) {
        assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
    }
    let raw = configured(&json!({"do_rescale": false, "do_normalize": false}));
    assert_eq!(raw.normalise(&[1, 2, 3]), [1.0, 2.0, 3.0]);
}

/// A folder with these files.
fn with(files: &[(&str, Value)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, json) in files {
        fs::write(dir.path().join(name), json.to_string()).unwrap();
    }
    dir
}

/// What transformers 5 saves: everything in `processor_config.json`, the image processor nested.
fn transformers_5(mean: f64, side: u32) -> Value {
    json!({
        "image_processor": {
            "crop_size": {"height": side, "width": side},
            "do_center_crop": true,
            "do_convert_rgb": true,
            "do_normalize": true,
            "do_rescale": true,
            "do_resize": true,
            "image_mean": [mean, mean, mean],
            "image_processor_type": "CLIPImageProcessor",
            "image_std": [0.5, 0.5, 0.5],
            "resample": 3,
            "rescale_factor": 0.00392156862745098,
            "size": {"shortest_edge": side}
        },
        "processor_class": "CLIPProcessor"
    })
}

#[test]
fn transformers_5_nests_the_settings() {
    let half = transformers_5(0.5, 32);
    let flat = half["image_processor"].clone();
    let expected = configured(&flat);
    assert_ne!(expected, Preprocess::openai(32));
    let open = |files: &[(&str, Value)]| Preprocess::open(with(files).path(), Some(16)).unwrap();
    assert_eq!(open(&[("processor_config.json", half.clone())]), expected);
    // Where both files are, transformers takes the nested settings; without such, the other file's.
    let old = ("preprocessor_config.json", json!({"size": 16, "crop_size": 16}));
    assert_eq!(open(&[("processor_config.json", half.clone()), old.clone()]), expected);
    for other in [json!({"processor_class": "CLIPProcessor"}), json!({"image_processor": null})] {
        assert_eq!(open(&[("processor_config.json", other), old.clone()]), Preprocess::openai(16));
    }
    // Before open_clip's, as weights of both are read as those of transformers.
    let theirs = ("open_clip_config.json", json!({"preprocess_cfg": {"size": 48}}));
    assert_eq!(open(&[("processor_config.json", half.clone()), theirs]), expected);

    for (nested, part) in [
        (json!({"image_processor": 3}), "image_processor: it is not a JSON object"),
        (json!({"image_processor": {"resample": 1}}), "image_processor: resample = 1"),
    ] {
        let dir = with(&[("processor_config.json", nested)]);
        let message = Preprocess::open(dir.path(), None).unwrap_err().to_string();
        assert!(message.contains("processor_config.json") && message.contains(part), "{message}");
    }
    let dir = with(&[("processor_config.json", half)]);
    assert!(Preprocess::is_given(dir.path()).unwrap() && !Preprocess::is_given(with(&[]).path()).unwrap());
}

#[test]
fn numbers_that_nobody_gave_are_reported() {
    let warned = |files: &[(&str, Value)], side| {
        let dir = with(files);
        let said = messages(|| _ = Preprocess::open(dir.path(), side).unwrap());
        // Once per folder is enough.
        assert_eq!(messages(|| _ = Preprocess::open(dir.path(), side).unwrap()), "");
        said
    };
    let said = warned(&[], Some(32));
    assert!(said.contains("OpenAI's mean and standard deviation are assumed"), "{said}");
    let said = warned(&[("vision_model.onnx", json!("an encoder"))], None);
    assert!(said.contains("processor_config.json"), "{said}");
    let said = warned(&[("open_clip_config.json", json!({"model_cfg": {}}))], Some(32));
    assert!(said.contains("it has no preprocess_cfg"), "{said}");
    // A text tower alone looks at no images.
    assert_eq!(warned(&[], None), "");
    assert_eq!(warned(&[("preprocessor_config.json", json!({}))], Some(32)), "");
    assert_eq!(warned(&[("processor_config.json", transformers_5(0.5, 32))], Some(32)), "");
    assert_eq!(warned(&[("open_clip_config.json", json!({"preprocess_cfg": {"size": 48}}))], Some(32)), "");
}

/// Other classes of transformers differ in what they do without being told.
#[test]
fn other_image_processors_are_not_taken_for_clips() {
    let siglip = json!({
        "image_processor_type": "SiglipImageProcessor", "do_resize": true, "size": {"height": 20, "width": 20},
        "resample": 2, "do_rescale": true, "do_normalize": true, "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5]
    });
    // It crops nothing: 20 x 20, and not the 16 x 16 in its middle.
    let dir = with(&[("preprocessor_config.json", siglip.clone())]);
    assert_eq!(Preprocess::open(dir.path(), Some(16)).unwrap().size(), (20, 20));
    let mut number = siglip.clone();
    number["size"] = json!(20);
    let dir = with(&[("preprocessor_config.json", number)]);
    assert_eq!(Preprocess::open(dir.path(), Some(16)).unwrap(), configured(&siglip));
    for key in ["image_mean", "image_std", "resample", "size"] {
        let mut short = siglip.clone();
        short.as_object_mut().unwrap().remove(key);
        let dir = with(&[("preprocessor_config.json", short)]);
        let message = Preprocess::open(dir.path(), Some(16)).unwrap_err().to_string();
        assert!(message.contains(key) && message.contains("SiglipImageProcessor"), "{message}");
    }
    for (key, value) in [("do_pad", json!(true)), ("crop_pct", json!(0.875))] {
        let mut other = siglip.clone();
        other[key] = value;
        let dir = with(&[("preprocessor_config.json", other)]);
        let message = Preprocess::open(dir.path(), Some(16)).unwrap_err().to_string();
        assert!(message.contains(key), "{message}");
    }
}

#[test]
fn bad_configs_say_what_is_wrong() {
    for (config, part) in [
        (json!({"resample": 7}), "resample = 7"),
        (json!({"size": 0}), "size = 0"),
        (json!({"size": {"depth": 3}}), "depth"),
        (json!({"crop_size": 1e9}), "crop_size"),
        (json!({"image_mean": [1]}), "mean"),
        (json!({"image_std": [0, 0, 0]}), "deviation"),
        (json!({"do_resize": "yes"}), "do_resize"),
        (json!({"do_center_crop": false}), "different sizes"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("preprocessor_config.json");
        fs::write(&path, config.to_string()).unwrap();
        let message = Preprocess::open(dir.path(), None).unwrap_err().to_string();
        println!("{message}");
        assert!(message.contains(part) && message.contains(path.to_str().unwrap()), "{message}");
    }
    for (config, part) in [
        (json!({"resize_mode": "stretch"}), "resize_mode = \"stretch\""),
        (json!({"resize_mode": 3}), "resize_mode = 3"),
        (json!({"resize_mode": "longest", "fill_color": 7}), "fill_color = 7"),
        (json!({"interpolation": "lanczos"}), "interpolation = \"lanczos\""),
        (json!({"size": [0, 3]}), "size = 0"),
    ] {
        let message = of_open_clip(&config).unwrap_err();
        assert!(message.contains(part) && message.contains("open_clip_config.json"), "{message}");
    }
}

#[test]
fn what_one_layout_cannot_say_is_no_guess() {
    let longest = json!({"size": 16, "resize_mode": "longest"});
    let open = of_open_clip(&longest).unwrap();
    assert!(open.to_hugging_face().unwrap_err().contains("longest"));
    let said = open.to_open_clip().unwrap();
    assert_eq!(of_open_clip(&said).unwrap(), open);
    let around = of_open_clip(&json!({"size": [20, 12]})).unwrap();
    assert!(around.to_hugging_face().unwrap_err().contains("20 x 12"));
    assert_eq!(of_open_clip(&around.to_open_clip().unwrap()).unwrap(), around);
    assert_eq!(of_open_clip(&json!({"interpolation": "random"})).unwrap(), Preprocess::openai(224));
}

/// Only a picture's header, with a size that no memory could hold.
fn huge_png(width: u32, height: u32) -> Vec<u8> {
    let mut file = encode(ImageFormat::Png, &[0], 1, 1, ExtendedColorType::L8);
    file[16..20].copy_from_slice(&width.to_be_bytes());
    file[20..24].copy_from_slice(&height.to_be_bytes());
    file
}

#[test]
fn the_limit_is_checked_before_decoding() {
    let (preprocess, limits) = (Preprocess::openai(8), Limits { max_pixels: 100 });
    let rgb = waves(11, 10, 3);
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Jpeg] {
        let file = encode(format, &rgb, 11, 10, ExtendedColorType::Rgb8);
        let error = preprocess.decode(&file, &limits).unwrap_err();
        assert_eq!(error, DecodeError::TooLarge { width: 11, height: 10, max_pixels: 100 });
        assert!(preprocess.decode(&file, &Limits { max_pixels: 110 }).is_ok());
    }
    let error = preprocess.decode(&huge_png(u32::MAX, u32::MAX), &Limits::default()).unwrap_err();
    assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
}

#[test]
fn rubbish_is_an_error_and_never_a_panic() {
    let preprocess = Preprocess::openai(16);
    let decode = |file: &[u8]| preprocess.decode(file, &Limits { max_pixels: 1 << 20 });
    assert_eq!(decode(b"").unwrap_err(), DecodeError::Empty);
    assert_eq!(decode(b"hello, this is no picture").unwrap_err(), DecodeError::Unknown);
    assert_eq!(decode(b"GIF89a...........").unwrap_err(), DecodeError::Unsupported(ImageFormat::Gif));

    // The panic hook would print these panics, though they are caught.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let rgb = waves(40, 30, 3);
    let (mut spare, mut sizes) = (Vec::new(), BTreeSet::new());
    let mut state = 7u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Jpeg] {
        let file = encode(format, &rgb, 40, 30, ExtendedColorType::Rgb8);
        // The shortest beginning that is read like the whole file: only a closing
        // chunk or a byte of padding may be missing.
        let whole = (0..=file.len()).find(|length| decode(&file[..*length]).is_ok());
        spare.push((format, file.len() - whole.unwrap()));
        let (mut read, mut refused) = (0, 0);
        for _ in 0..2000 {
            let mut broken = file.clone();
            for _ in 0..=random(4) {
                let at = random(broken.len());
                broken[at] = random(256) as u8;
            }
            match decode(&broken) {
                Ok(pixels) => {
                    sizes.insert(pixels.rgb.len());
                    read += 1;
                }
                Err(_) => refused += 1,
            }
        }
        println!("{format:?}: of 2000 broken files {read} read, {refused} refused");
    }
    std::panic::set_hook(hook);
    println!("bytes that a file can lack: {spare:?}");
    assert!(spare.iter().all(|(_, bytes)| *bytes <= 16));
    assert_eq!(sizes, BTreeSet::from([16 * 16 * 3]));
}

/// Very long pictures must not be resized whole.
#[test]
fn extreme_proportions() {
    for (width, height) in [(1, 20_000), (20_000, 1), (3, 9000), (1, 1), (2, 1)] {
        let grey = waves(width, height, 1);
        let file = encode(ImageFormat::Png, &grey, width, height, ExtendedColorType::L8);
        let pixels = Preprocess::openai(224).decode(&file, &Limits::default()).unwrap();
        assert_eq!(pixels.rgb.len(), 224 * 224 * 3);
    }
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    let Some(dir) = shared("golden/preprocess") else { return };
    let preprocess = Preprocess::openai(224);
    for name in GOLDENS {
        let file = fs::read(dir.join(name)).unwrap();
        let start = std::time::Instant::now();
        for _ in 0..50 {
            std::hint::black_box(preprocess.decode(&file, &Limits::default()).unwrap());
        }
        println!("{name:<18} {:>7.2} ms", start.elapsed().as_secs_f64() * 20.0);
    }
}
