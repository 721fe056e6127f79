//! Pictures to the tower's input, as open_clip and OpenAI's CLIP do it with
//! Pillow and torchvision: shorter side to the image size (bicubic, antialiased),
//! centre crop, RGB, scaled and normalised.
//!
//! The order is theirs: a picture is resized in the mode that Pillow opens it in
//! (grey, CMYK, with alpha, palette, 16 bit) and made RGB afterwards. EXIF
//! orientation is not applied, as Pillow's `open` does not.

mod jpeg;
mod picture;
mod resize;

use std::path::Path;

use serde_json::{Value, json};

use crate::{Error, files};
pub use picture::{DecodeError, Limits};
use resize::{Filter, Geometry, Size};

/// Grows with every change of this module that changes pixels, so that
/// features cached from the old ones are not taken for new.
const VERSION: u32 = 4;

const OPENAI_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const OPENAI_STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];
/// Side of OpenAI's ViT-B inputs.
const OPENAI_SIZE: u32 = 224;
/// Where transformers keeps the settings of its image processor: nested in the first since version 5.
const PROCESSOR: &str = "processor_config.json";
const PREPROCESSOR: &str = "preprocessor_config.json";
/// Where open_clip keeps them, as `preprocess_cfg`.
const OPEN_CLIP: &str = "open_clip_config.json";
/// An image encoder beside the text tower's weights.
const ONNX: &str = "vision_model.onnx";
/// A larger input is taken for a mistake in the config.
const MAX_SIDE: u32 = 4096;

/// A picture of the tower's input size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Red, green and blue of each pixel, row by row: `height * width * 3` values.
    pub rgb: Vec<u8>,
}

/// The preprocessing of one checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocess {
    geometry: Geometry,
    /// What a value of a pixel is multiplied with, 1/255.
    rescale: f32,
    mean: [f32; 3],
    std: [f32; 3],
}

impl Preprocess {
    /// OpenAI's: bicubic to `size` on the shorter side, centre crop of `size` x
    /// `size` pixels, their mean and standard deviation.
    pub fn openai(size: u32) -> Self {
        let size = size.clamp(1, MAX_SIDE);
        Self {
            geometry: Geometry {
                resize: Some(Size::Shortest(size)),
                crop: Some((size, size)),
                filter: Filter::Bicubic,
            },
            rescale: 1.0 / 255.0,
            mean: OPENAI_MEAN,
            std: OPENAI_STD,
        }
    }

    /// The preprocessing of a checkpoint folder: what transformers would take for it, from
    /// `processor_config.json` (its `image_processor`, as transformers 5 saves it) or else from
    /// `preprocessor_config.json`; without them open_clip's, from `open_clip_config.json`. What a file
    /// omits is OpenAI's; sizes that it omits are `image_size`, the side of the vision tower's input in
    /// pixels, else 224.
    ///
    /// A folder that has none of them gets [`Preprocess::openai`], with a warning if it has an image
    /// encoder: a vision tower, as `image_size` says, or `vision_model.onnx`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where a file cannot be read; [`Error::Config`] where it asks
    /// for something that is not done here or that gives no fixed size.
    pub fn open(dir: &Path, image_size: Option<u32>) -> Result<Self, Error> {
        let default_size = image_size.unwrap_or(OPENAI_SIZE);
        let parsed = |path: &Path, parse: &dyn Fn(&Value) -> Result<Self, String>| {
            let json = read_json(path)?;
            parse(&json).map_err(|message| Error::Config { path: path.to_owned(), message })
        };
        let nested = dir.join(PROCESSOR);
        if files::has(&nested)? && read_json(&nested)?.get("image_processor").is_some_and(|found| !found.is_null()) {
            return parsed(&nested, &|json| {
                let found = &json["image_processor"];
                Self::hugging_face(found, default_size).map_err(|message| format!("image_processor: {message}"))
            });
        }
        let flat = dir.join(PREPROCESSOR);
        if files::has(&flat)? {
            return parsed(&flat, &|json| Self::hugging_face(json, default_size));
        }
        let encodes = image_size.is_some() || files::has(&dir.join(ONNX))?;
        let open_clip = dir.join(OPEN_CLIP);
        if files::has(&open_clip)? {
            return parsed(&open_clip, &|json| {
                if encodes && json["preprocess_cfg"].is_null() {
                    assume_openai(&open_clip, "it has no preprocess_cfg");
                }
                Self::open_clip(json, default_size)
            });
        }
        if encodes {
            assume_openai(dir, "it has neither processor_config.json nor preprocessor_config.json");
        }
        Ok(Self::openai(default_size))
    }

    /// Whether a folder has settings for [`Preprocess::open`].
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be read.
    pub fn is_given(dir: &Path) -> Result<bool, Error> {
        Ok(files::has(&dir.join(PROCESSOR))?
            || files::has(&dir.join(PREPROCESSOR))?
            || files::has(&dir.join(OPEN_CLIP))?)
    }

    fn hugging_face(json: &Value, image_size: u32) -> Result<Self, String> {
        if !json.is_object() {
            return Err("it is not a JSON object".into());
        }
        let flag = |key: &str| match &json[key] {
            Value::Null => Ok(None),
            Value::Bool(on) => Ok(Some(*on)),
            other => Err(format!("{key} = {other} is neither true nor false")),
        };
        let on = |key: &str| flag(key).map(|on| on.unwrap_or(true));
        // Each class of transformers saves all of its settings: what is missing is not done by it.
        // What CLIP's own class does without a setting is known.
        let class = json["image_processor_type"].as_str().or(json["feature_extractor_type"].as_str());
        let clip = class.is_none_or(|class| class.starts_with("CLIP"));
        let known = |key: &str| match json[key].is_null() && !clip {
            true => Err(format!(
                "{key} is missing, and it is known for CLIPImageProcessor only, not for {}",
                class.unwrap_or_default()
            )),
            false => Ok(()),
        };
        if flag("do_pad")? == Some(true) {
            return Err("do_pad = true; pictures are not padded here".into());
        }
        if !json["crop_pct"].is_null() {
            return Err(format!("crop_pct = {} is not done here; crop_size is", json["crop_pct"]));
        }
        let mut this = Self::openai(image_size);
        this.geometry.resize = match &json["size"] {
            _ if !on("do_resize")? => None,
            Value::Null => {
                known("size")?;
                Some(Size::Shortest(side(&Value::Null, "size", image_size)?))
            }
            Value::Object(size) if size.contains_key("shortest_edge") && size.contains_key("longest_edge") => {
                return Err("size has shortest_edge and longest_edge; one of both is done here".into());
            }
            Value::Object(size) if size.contains_key("shortest_edge") => {
                Some(Size::Shortest(side(&size["shortest_edge"], "size.shortest_edge", image_size)?))
            }
            size @ Value::Object(_) => {
                let (height, width) = height_width(size, "size", image_size)?;
                Some(Size::Exact { height, width })
            }
            // A number is the shorter side to CLIP's class, and both sides to the others.
            size => {
                let side = side(size, "size", image_size)?;
                Some(if clip { Size::Shortest(side) } else { Size::Exact { height: side, width: side } })
            }
        };
        this.geometry.crop = match flag("do_center_crop")?.unwrap_or(clip) {
            true => Some(height_width(&json["crop_size"], "crop_size", image_size)?),
            false => None,
        };
        this.geometry.filter = match &json["resample"] {
            Value::Null => {
                known("resample")?;
                Filter::Bicubic
            }
            number => match number.as_u64() {
                Some(2) => Filter::Bilinear,
                Some(3) => Filter::Bicubic,
                _ => return Err(format!("resample = {number}; 2 (bilinear) and 3 (bicubic) are done here")),
            },
        };
        if !on("do_rescale")? {
            this.rescale = 1.0;
        } else if let Some(factor) = number(json, "rescale_factor")? {
            this.rescale = factor;
        }
        if on("do_normalize")? {
            known("image_mean")?;
            known("image_std")?;
            this.set_mean_std(&json["image_mean"], &json["image_std"])?;
        } else {
            (this.mean, this.std) = ([0.0; 3], [1.0; 3]);
        }
        this.checked()
    }

    fn open_clip(json: &Value, image_size: u32) -> Result<Self, String> {
        let image_size = match &json["model_cfg"]["vision_cfg"]["image_size"] {
            Value::Null => image_size,
            size => side(size, "model_cfg.vision_cfg.image_size", image_size)?,
        };
        let config = &json["preprocess_cfg"];
        let (height, width) = match &config["size"] {
            Value::Array(sides) if sides.len() == 2 => {
                (side(&sides[0], "size", image_size)?, side(&sides[1], "size", image_size)?)
            }
            size => {
                let side = side(size, "preprocess_cfg.size", image_size)?;
                (side, side)
            }
        };
        let word = |key: &str, default: &'static str| match &config[key] {
            Value::Null => Ok(default.to_owned()),
            Value::String(word) => Ok(word.clone()),
            other => Err(format!("preprocess_cfg.{key} = {other} is no word")),
        };
        let mut this = Self::openai(image_size);
        this.geometry.crop = Some((height, width));
        this.geometry.filter = match word("interpolation", "bicubic")?.as_str() {
            // What is random in training is bicubic after it.
            "bicubic" | "random" => Filter::Bicubic,
            "bilinear" => Filter::Bilinear,
            other => {
                return Err(format!(
                    "preprocess_cfg.interpolation = {other:?}; \"bicubic\" and \"bilinear\" are done here"
                ));
            }
        };
        this.geometry.resize = Some(match word("resize_mode", "shortest")?.as_str() {
            "squash" => Size::Exact { height, width },
            "shortest" if height == width => Size::Shortest(height),
            "shortest" => {
                // open_clip hands the filter to the square's resize alone.
                this.geometry.filter = Filter::Bicubic;
                Size::Around { height, width }
            }
            "longest" if config["fill_color"].as_f64().unwrap_or(0.0) == 0.0 => Size::Inside { height, width },
            "longest" => {
                return Err(format!(
                    "preprocess_cfg.fill_color = {}; \"longest\" is padded with 0 here",
                    config["fill_color"]
                ));
            }
            other => {
                return Err(format!(
                    "preprocess_cfg.resize_mode = {other:?}; \"shortest\", \"longest\" and \"squash\" are done here"
                ));
            }
        });
        this.set_mean_std(&config["mean"], &config["std"])?;
        this.checked()
    }

    /// The `preprocessor_config.json` that says the same.
    ///
    /// # Errors
    /// What transformers cannot say, with the key.
    pub fn to_hugging_face(&self) -> Result<Value, String> {
        let (size, do_resize) = match self.geometry.resize {
            None => (Value::Null, false),
            Some(Size::Shortest(side)) => (json!({ "shortest_edge": side }), true),
            Some(Size::Exact { height, width }) => (json!({ "height": height, "width": width }), true),
            Some(Size::Inside { .. }) => {
                return Err("preprocess_cfg.resize_mode is \"longest\", for which transformers has no word".into());
            }
            Some(Size::Around { height, width }) => {
                return Err(format!(
                    "preprocess_cfg.resize_mode is \"shortest\" to {height} x {width}, and transformers has it to a \
                     square alone"
                ));
            }
        };
        let crop =
            self.geometry.crop.map_or(Value::Null, |(height, width)| json!({ "height": height, "width": width }));
        let mut config = json!({
            "image_processor_type": "CLIPImageProcessor",
            "do_convert_rgb": true,
            "do_resize": do_resize,
            "resample": match self.geometry.filter { Filter::Bilinear => 2, Filter::Bicubic => 3 },
            "do_center_crop": self.geometry.crop.is_some(),
            "do_rescale": true,
            "rescale_factor": if self.rescale == 1.0 / 255.0 { 1.0 / 255.0 } else { shortest(self.rescale) },
            "do_normalize": true,
            "image_mean": self.mean.map(shortest),
            "image_std": self.std.map(shortest),
        });
        for (key, value) in [("size", size), ("crop_size", crop)] {
            if !value.is_null() {
                config[key] = value;
            }
        }
        Ok(config)
    }

    /// The `preprocess_cfg` of open_clip that says the same.
    ///
    /// # Errors
    /// What open_clip cannot say, with the key.
    pub fn to_open_clip(&self) -> Result<Value, String> {
        let (height, width) = self.geometry.output().ok_or("crop_size is missing")?;
        let mode = match self.geometry.resize {
            Some(Size::Shortest(side)) if (height, width) == (side, side) => "shortest",
            Some(Size::Exact { height: high, width: wide }) if (height, width) == (high, wide) => "squash",
            Some(Size::Inside { height: high, width: wide }) if (height, width) == (high, wide) => "longest",
            Some(Size::Around { height: high, width: wide }) if (height, width) == (high, wide) => "shortest",
            _ => return Err("open_clip resizes to the size that it crops to, and this preprocessing does not".into()),
        };
        if self.rescale != 1.0 / 255.0 {
            return Err(format!("rescale_factor is {}, and open_clip has 1/255", self.rescale));
        }
        Ok(json!({
            "size": if height == width { json!(height) } else { json!([height, width]) },
            "mode": "RGB",
            "mean": self.mean.map(shortest),
            "std": self.std.map(shortest),
            "interpolation": match self.geometry.filter { Filter::Bilinear => "bilinear", Filter::Bicubic => "bicubic" },
            "resize_mode": mode,
            "fill_color": 0,
        }))
    }

    fn set_mean_std(&mut self, mean: &Value, std: &Value) -> Result<(), String> {
        self.mean = three(mean, "mean")?.unwrap_or(self.mean);
        self.std = three(std, "std")?.unwrap_or(self.std);
        if self.std.contains(&0.0) {
            return Err("the standard deviation has a 0".into());
        }
        Ok(())
    }

    fn checked(self) -> Result<Self, String> {
        match self.geometry.output() {
            Some(_) => Ok(self),
            None => Err("pictures come out in different sizes; set do_center_crop and crop_size".into()),
        }
    }

    /// Rows and columns of what [`decode`](Preprocess::decode) gives.
    pub fn size(&self) -> (usize, usize) {
        let (height, width) = self.geometry.output().unwrap_or((OPENAI_SIZE, OPENAI_SIZE));
        (height as usize, width as usize)
    }

    /// Decodes, resizes and crops one JPEG, PNG or WebP file; the format is told
    /// from its content. The result has [`size`](Preprocess::size) pixels. The size
    /// of the picture is read from its header before memory is taken for it.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] with the reason, for a file that is no such picture, is
    /// broken or cut short, or has more pixels than `limits` allow.
    pub fn decode(&self, file: &[u8], limits: &Limits) -> Result<Pixels, DecodeError> {
        let picture = picture::decode(file, limits)?;
        let (height, width) = self.size();
        let rgb = resize::resize_and_crop(picture, &self.geometry);
        Ok(Pixels { height, width, rgb })
    }

    /// The tower's input: `(value * rescale - mean) / std` of each channel.
    /// `rgb` is `[height, width, 3]`, the result `[3, height, width]`.
    pub fn normalise(&self, rgb: &[u8]) -> Vec<f32> {
        let mut out = vec![0.0; rgb.len() / 3 * 3];
        self.normalise_into(rgb, &mut out);
        out
    }

    /// As [`normalise`](Preprocess::normalise), into a slice of the same length,
    /// such as one picture's part of a batch `[N, 3, height, width]`.
    pub fn normalise_into(&self, rgb: &[u8], out: &mut [f32]) {
        let plane = rgb.len() / 3;
        for (channel, out) in out.chunks_exact_mut(plane.max(1)).enumerate().take(3) {
            let table: [f32; 256] =
                std::array::from_fn(|value| (value as f32 * self.rescale - self.mean[channel]) / self.std[channel]);
            for (out, pixel) in out.iter_mut().zip(rgb.chunks_exact(3)) {
                *out = table[usize::from(pixel[channel])];
            }
        }
    }

    /// Tells one preprocessing from another, for the fingerprint of cached features.
    pub fn fingerprint(&self) -> [u8; 32] {
        *blake3::hash(format!("{VERSION} {self:?}").as_bytes()).as_bytes()
    }
}

fn read_json(path: &Path) -> Result<Value, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    serde_json::from_str(&text).map_err(|error| Error::Config { path: path.to_owned(), message: error.to_string() })
}

/// Says that the numbers which pictures are normalised with are a guess.
fn assume_openai(path: &Path, reason: &str) {
    if files::first_time("preprocessing", path) {
        tracing::warn!(
            "{}: {reason}; OpenAI's mean and standard deviation are assumed. If the images of its training were \
             normalised otherwise, save the image processor too",
            path.display()
        );
    }
}

/// A side in pixels; `default` where it is left out.
fn side(json: &Value, key: &str, default: u32) -> Result<u32, String> {
    let side = match json {
        Value::Null => Some(u64::from(default)),
        other => other.as_u64(),
    };
    side.and_then(|side| u32::try_from(side).ok())
        .filter(|side| (1..=MAX_SIDE).contains(side))
        .ok_or_else(|| format!("{key} = {json} is no side from 1 to {MAX_SIDE} pixels"))
}

/// A size as a number, `{"height", "width"}` or `{"shortest_edge"}`.
fn height_width(json: &Value, key: &str, default: u32) -> Result<(u32, u32), String> {
    if json.is_object() && !json["height"].is_null() && !json["width"].is_null() {
        Ok((side(&json["height"], key, default)?, side(&json["width"], key, default)?))
    } else {
        let one = if json.is_object() { &json["shortest_edge"] } else { json };
        if json.is_object() && one.is_null() {
            return Err(format!("{key} = {json} has neither height and width nor shortest_edge"));
        }
        let side = side(one, key, default)?;
        Ok((side, side))
    }
}

fn number(json: &Value, key: &str) -> Result<Option<f32>, String> {
    match &json[key] {
        Value::Null => Ok(None),
        value => match value.as_f64() {
            Some(number) => Ok(Some(number as f32)),
            None => Err(format!("{key} = {value} is no number")),
        },
    }
}

/// The number that a person would write for this one.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}

fn three(json: &Value, key: &str) -> Result<Option<[f32; 3]>, String> {
    if json.is_null() {
        return Ok(None);
    }
    let numbers: Option<Vec<f32>> =
        json.as_array().and_then(|list| list.iter().map(|v| v.as_f64().map(|n| n as f32)).collect());
    match numbers.and_then(|list| <[f32; 3]>::try_from(list).ok()) {
        Some(three) => Ok(Some(three)),
        None => Err(format!("{key} = {json} is no list of three numbers")),
    }
}
