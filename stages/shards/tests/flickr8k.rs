//! The real shards beside the repository, if they are there.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use stage_shards::{Opener, Pipes, Rules, Samples, resolve};

#[test]
fn every_photo_is_found_once_with_its_five_captions() {
    let data = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/flickr8k"));
    if !data.is_dir() {
        println!("skipped: {} is not there", data.display());
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (part, photos) in [("train", 5602), ("dev", 946), ("test", 938)] {
        let mut keys = BTreeSet::new();
        for source in resolve(&[format!("{part}-*.tar")], data, Pipes::Refused).unwrap() {
            runtime.block_on(async {
                let stream = Opener::default().open(&source).await.unwrap();
                let mut samples = Samples::new(stream, Arc::new(Rules::default()));
                while let Some(sample) = samples.next().await {
                    let content = sample.content.unwrap();
                    assert_eq!(content.captions.len(), 5, "{} of {}", sample.key, source.url);
                    assert_eq!(content.image[..2], [0xff, 0xd8], "{} of {}", sample.key, source.url);
                    assert!(keys.insert(sample.key));
                }
                assert!(samples.finish().1.is_none());
            });
        }
        assert_eq!(keys.len(), photos, "{part}");
    }
}
