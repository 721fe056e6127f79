//! `tensorboard/`: event files, for `tensorboard --logdir runs`.
//!
//! Written here because no maintained crate writes them and the format is small: protobuf messages with two checksums
//! each (TensorFlow's TFRecord).

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use items::metric;
use pipeline_engine::{Measurement, StepValues};
use prost::Message;

/// The first steps have one point each. Later 2, 4, … steps share a point, so that the file grows with the logarithm of
/// the number of steps.
const SINGLE: u64 = 1000;

/// `tensorflow.Event`: the fields used here.
#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Scalars>,
}

/// `tensorflow.Summary`.
#[derive(Clone, PartialEq, Message)]
struct Scalars {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

/// `tensorflow.Summary.Value`.
#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, tag = "2")]
    simple_value: f32,
}

/// An event file, open for writing.
pub struct EventFile {
    out: BufWriter<File>,
    /// Sums over the steps that share the next point.
    sums: Vec<(&'static str, f64)>,
    count: u64,
}

impl EventFile {
    /// Creates a file in `dir`. TensorBoard shows all files of a folder as one run.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn create(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let time = chrono::Utc::now().timestamp_micros();
        let file = File::create(dir.join(format!("events.out.tfevents.{time}.pipeline")))?;
        let mut events = Self { out: BufWriter::new(file), sums: Vec::new(), count: 0 };
        events.put(&Event { file_version: Some("brain.Event:2".into()), ..now(0) })?;
        Ok(events)
    }

    /// Adds the values of a step.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn step(&mut self, step: &StepValues<'_>) -> io::Result<()> {
        for (name, value) in step.values {
            match self.sums.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum += value,
                None => self.sums.push((name, *value)),
            }
        }
        self.count += 1;
        if self.count < (step.step / SINGLE + 1).next_power_of_two() {
            return Ok(());
        }
        let count = self.count as f64;
        let mean = |(name, sum): (&str, f64)| (format!("{}/{name}", metric::TRAIN), sum / count);
        let values = self.sums.drain(..).map(mean).collect();
        self.count = 0;
        self.scalars(step.step, values)
    }

    /// Adds measurements.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn measured(&mut self, all: &[Measurement]) -> io::Result<()> {
        let Some(first) = all.first() else { return Ok(()) };
        let value = |m: &Measurement| (format!("{}/{}/{}", m.eval, m.metric, m.part), m.value);
        self.scalars(first.step, all.iter().map(value).collect())?;
        // A running TensorBoard shows an epoch as soon as it was measured.
        self.out.flush()
    }

    fn scalars(&mut self, step: u64, values: Vec<(String, f64)>) -> io::Result<()> {
        let value = values.into_iter().map(|(tag, value)| Scalar { tag, simple_value: value as f32 }).collect();
        self.put(&Event { summary: Some(Scalars { value }), ..now(step) })
    }

    fn put(&mut self, event: &Event) -> io::Result<()> {
        let bytes = event.encode_to_vec();
        let length = (bytes.len() as u64).to_le_bytes();
        for part in [&length, &masked(&length)[..], &bytes, &masked(&bytes)] {
            self.out.write_all(part)?;
        }
        Ok(())
    }
}

fn now(step: u64) -> Event {
    let wall_time = chrono::Utc::now().timestamp_micros() as f64 / 1e6;
    Event { wall_time, step: step as i64, ..Event::default() }
}

/// The masked CRC-32C of a TFRecord.
fn masked(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_holds_whole_records_and_few_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut events = EventFile::create(dir.path()).unwrap();
        for step in 1..=4000 {
            events
                .step(&StepValues { epoch: 1, step, values: &[(metric::LOSS, 2.0), (metric::LR, step as f64)] })
                .unwrap();
        }
        drop(events);
        let path = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
        let bytes = std::fs::read(path).unwrap();
        let (mut at, mut points) = (0, 0);
        while at < bytes.len() {
            let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
            assert_eq!(bytes[at + 8..at + 12], masked(&bytes[at..at + 8]));
            let body = &bytes[at + 12..at + 12 + length];
            assert_eq!(bytes[at + 12 + length..at + 16 + length], masked(body));
            let event = Event::decode(body).unwrap();
            for scalar in event.summary.iter().flat_map(|summary| &summary.value) {
                points += usize::from(scalar.tag == "train/loss");
                assert!(scalar.tag != "train/loss" || scalar.simple_value == 2.0);
            }
            at += 16 + length;
        }
        assert!((1900..2100).contains(&points), "{points} points for 4000 steps");
        // The known answer of CRC-32C.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    }
}
