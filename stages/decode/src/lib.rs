//! The stage `decode`: image files to pictures of the encoder's input size.
//!
//! The preprocessing is that of the model ([`Preprocess`]), so the stage needs `[model]`.
//! Samples whose feature is known, skipped samples and end-of-shard markers pass through.

use clip::preprocess::{DecodeError, Limits, Preprocess};
use items::{Flow, ImageBytes, Pixels, Recipe, SampleId, Work};
use model::Model;
use pipeline_engine::{Build, Built, Look, Map, Pass, StageError, StageKind, Worker, choice, options};

choice! {
    /// What to do with a picture that cannot be decoded.
    pub enum OnError {
        /// Skip it and write it to the skip ledger.
        Skip = "skip",
        /// End the run.
        Stop = "stop",
    }
}

options! {
    /// Options of the stage `decode`.
    pub struct DecodeOptions {
        /// Threads that decode.
        workers: usize = 2, 1..=256 => free;
        /// The most pixels of a picture, by its header; a larger one is not decoded.
        max_pixels: u64 = Limits::default().max_pixels, 1..=4_294_967_295u64;
        /// What to do with a picture that cannot be decoded: skip it and write it to the
        /// skip ledger (skip), or end the run (stop).
        on_error: OnError = OnError::Skip;
    }
}

/// The kind `decode`.
#[derive(Debug)]
pub struct Decode;

impl StageKind for Decode {
    const KIND: &'static str = "decode";
    const ABOUT: &'static str = "decodes, resizes and crops pictures as the model was trained on";
    const CAPACITY: usize = 64;
    type In = Flow<ImageBytes>;
    type Out = Flow<Pixels>;
    type Options = DecodeOptions;

    fn verify(_: &DecodeOptions, look: &mut Look<'_>) {
        if let Some(model) = Model::seen(look)
            && let Err(error) = model.preprocess()
        {
            look.fault("", error.to_string(), "");
        }
    }

    fn build(options: DecodeOptions, build: &mut Build<'_>) -> Result<Built<Self::In, Self::Out>, StageError> {
        let preprocess = Model::of(build)?.preprocess()?;
        let limits = Limits { max_pixels: options.max_pixels };
        Recipe::note(
            build.services,
            Self::KIND,
            format!("max_pixels={} on_error={}", options.max_pixels, options.on_error.word()),
        );
        let decoder = Decoder { preprocess, limits, on_error: options.on_error };
        Ok(Built::Map { workers: options.workers, map: Box::new(decoder) })
    }
}

/// A picture that cannot be decoded, where that ends the run.
#[derive(Debug, thiserror::Error)]
#[error("shard `{shard}`, sample `{key}`: {reason}; fix it, or set on_error = \"skip\" to go on without such pictures")]
struct Undecodable {
    shard: String,
    key: String,
    reason: DecodeError,
}

struct Decoder {
    preprocess: Preprocess,
    limits: Limits,
    on_error: OnError,
}

impl Map<Flow<ImageBytes>, Flow<Pixels>> for Decoder {
    fn worker(&self, _: &Pass<'_>) -> Result<Box<dyn Worker<Flow<ImageBytes>, Flow<Pixels>> + '_>, StageError> {
        Ok(Box::new(|_: &Pass<'_>, flow| Ok(self.decode(flow)?)))
    }
}

impl Decoder {
    fn decode(&self, flow: Flow<ImageBytes>) -> Result<Flow<Pixels>, Undecodable> {
        let mut stop = None;
        let flow = flow.map(|sample| {
            sample.map_todo(|id, image| match self.preprocess.decode(&image.bytes, &self.limits) {
                Ok(picture) => {
                    Work::Todo(Pixels { rgb: picture.rgb, width: picture.width as u32, height: picture.height as u32 })
                }
                Err(reason) => {
                    let skipped = Work::Skipped { stage: Decode::KIND.into(), reason: reason.to_string().into() };
                    stop = Some(undecodable(id, reason));
                    skipped
                }
            })
        });
        match (stop, self.on_error) {
            (Some(error), OnError::Stop) => Err(error),
            _ => Ok(flow),
        }
    }
}

fn undecodable(id: &SampleId, reason: DecodeError) -> Undecodable {
    Undecodable { shard: id.shard.url.clone(), key: id.key.to_string(), reason }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Cursor;
    use std::sync::Arc;

    use items::{Sample, Shard};

    use super::*;

    fn decoder(on_error: OnError) -> Decoder {
        Decoder { preprocess: Preprocess::openai(32), limits: Limits { max_pixels: 5000 }, on_error }
    }

    fn flow(work: Work<ImageBytes>) -> Flow<ImageBytes> {
        let shard = Arc::new(Shard { number: 0, url: "photos/0.tar".into(), identity: String::new() });
        let id = SampleId { shard, index: 3, key: "dog".into() };
        Flow::Sample(Sample { id, captions: ["a dog".to_owned()].into(), work })
    }

    fn file(bytes: Vec<u8>) -> Flow<ImageBytes> {
        flow(Work::Todo(ImageBytes { extension: "jpg".into(), bytes }))
    }

    fn png(side: u32) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        image::RgbImage::from_pixel(side, side, image::Rgb([9, 8, 7]))
            .write_to(&mut out, image::ImageFormat::Png)
            .unwrap();
        out.into_inner()
    }

    fn work(flow: Flow<Pixels>) -> Work<Pixels> {
        let Flow::Sample(sample) = flow else { panic!("the end of a shard") };
        assert_eq!((&*sample.id.key, sample.id.index, &*sample.captions), ("dog", 3, ["a dog".to_owned()].as_slice()));
        sample.work
    }

    #[test]
    fn a_file_becomes_a_picture_whatever_its_extension() {
        let Work::Todo(pixels) = work(decoder(OnError::Stop).decode(file(png(50))).unwrap()) else { panic!() };
        assert_eq!((pixels.width, pixels.height), (32, 32));
        assert_eq!(pixels.rgb, [9, 8, 7].repeat(32 * 32));
    }

    #[test]
    fn what_cannot_be_decoded_is_skipped_with_its_reason() {
        for (bytes, part) in [(b"nonsense".to_vec(), "no picture"), (png(71), "71 x 71"), (vec![], "empty")] {
            let Work::Skipped { stage, reason } = work(decoder(OnError::Skip).decode(file(bytes)).unwrap()) else {
                panic!("not skipped")
            };
            assert_eq!(&*stage, "decode");
            assert!(reason.contains(part), "{reason}");
        }
    }

    #[test]
    fn or_ends_the_run_with_shard_and_key() {
        let error = decoder(OnError::Stop).decode(file(b"nonsense".to_vec())).unwrap_err().to_string();
        assert!(["photos/0.tar", "dog", "no picture", "on_error"].iter().all(|part| error.contains(part)), "{error}");
    }

    #[test]
    fn what_is_done_or_skipped_passes_through() {
        let decoder = decoder(OnError::Stop);
        let Work::Done(feature) = work(decoder.decode(flow(Work::Done([1.0, 2.0].into()))).unwrap()) else { panic!() };
        assert_eq!(*feature, [1.0, 2.0]);
        let skipped = Work::Skipped { stage: "shards".into(), reason: "no caption".into() };
        let Work::Skipped { stage, .. } = work(decoder.decode(flow(skipped)).unwrap()) else { panic!() };
        assert_eq!(&*stage, "shards");

        let shard = Arc::new(Shard { number: 4, url: "4.tar".into(), identity: String::new() });
        let end = decoder.decode(Flow::ShardEnd { shard, samples: 7, fault: None }).unwrap();
        assert!(matches!(end, Flow::ShardEnd { samples: 7, fault: None, .. }));
    }
}
