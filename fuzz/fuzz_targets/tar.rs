//! Any bytes as a tar: samples, skips or a fault, and never more samples than headers.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use stage_shards::{CaptionSource, Rules, Samples};
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().build().unwrap());

fuzz_target!(|data: &[u8]| {
    for captions in [CaptionSource::Txt, CaptionSource::Json("caption".into())] {
        let rules = Arc::new(Rules { max_member: 1 << 16, max_caption: 200, captions, ..Rules::default() });
        let mut samples = Samples::new(data, rules);
        let mut seen = 0;
        while let Some(sample) = RUNTIME.block_on(samples.next()) {
            assert_eq!(sample.index, seen);
            seen += 1;
            if let Ok(content) = sample.content {
                assert!(!content.image.is_empty() && !content.captions.is_empty());
                assert!(content.captions.iter().all(|c| !c.is_empty() && c.len() <= 200 && !c.contains('\0')));
            }
        }
        assert!(seen as usize <= data.len() / 512);
        assert_eq!(samples.finish().0, seen);
    }
});
