//! Thumbnails of a few images from the shards of the run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use base64::Engine;
use image::codecs::jpeg::JpegEncoder;

/// Pixels on the longer side.
const SIDE: u32 = 168;
/// Larger image files are not opened.
const MOST_BYTES: u64 = 32 << 20;
/// Images with a longer side are not decoded, in pixels.
const MOST_PIXELS: u32 = 12_000;

/// Shard and key of a sample.
pub type Key = (String, String);

/// Returns thumbnails as `data:` URLs for those of the wanted images that are found. Shards that are not files on this
/// machine are not read again for a report.
pub fn thumbnails(base: &Path, wanted: &BTreeSet<Key>) -> BTreeMap<Key, String> {
    let mut by_shard: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (shard, key) in wanted {
        by_shard.entry(shard).or_default().insert(key);
    }
    let mut found = BTreeMap::new();
    for (shard, mut keys) in by_shard {
        // A part of a folder, as the stage `files` names it.
        if let Some((folder, part)) = shard.rsplit_once("/ (")
            && part.contains(" files, ")
        {
            for key in keys {
                let picture = base.join(folder).join(key);
                let fits = std::fs::metadata(&picture).is_ok_and(|file| file.len() <= MOST_BYTES);
                let thumbnail = fits.then(|| std::fs::read(&picture).ok().and_then(shrink)).flatten();
                found.extend(thumbnail.map(|thumbnail| ((shard.to_owned(), key.to_owned()), thumbnail)));
            }
            continue;
        }
        let path = base.join(shard.strip_prefix("file://").unwrap_or(shard));
        if let Ok(file) = File::open(&path) {
            // Damage in a shard is in the ledger already.
            let _ = read(file, &mut keys, &mut |key, thumbnail| {
                found.insert((shard.to_owned(), key.to_owned()), thumbnail);
            });
        }
    }
    found
}

fn read(file: File, keys: &mut BTreeSet<&str>, give: &mut dyn FnMut(&str, String)) -> std::io::Result<()> {
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        let stem = name.rfind('/').map_or(0, |slash| slash + 1);
        let Some(dot) = name[stem..].find('.') else { continue };
        let (key, extension) = (&name[..stem + dot], name[stem + dot + 1..].to_lowercase());
        if !["jpg", "jpeg", "png", "webp"].contains(&&*extension) || !keys.contains(key) || entry.size() > MOST_BYTES {
            continue;
        }
        let mut bytes = Vec::new();
        entry.take(MOST_BYTES).read_to_end(&mut bytes)?;
        if let Some(thumbnail) = shrink(bytes) {
            give(key, thumbnail);
        }
        keys.remove(key);
        if keys.is_empty() {
            break;
        }
    }
    Ok(())
}

fn shrink(bytes: Vec<u8>) -> Option<String> {
    let mut reader = image::ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?;
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(MOST_PIXELS);
    limits.max_image_height = Some(MOST_PIXELS);
    reader.limits(limits);
    let picture = reader.decode().ok()?;
    let small = if picture.width().max(picture.height()) > SIDE { picture.thumbnail(SIDE, SIDE) } else { picture };
    let small = small.to_rgb8();
    let mut jpeg = Vec::new();
    small.write_with_encoder(JpegEncoder::new_with_quality(&mut jpeg, 78)).ok()?;
    Some(format!("data:image/jpeg;base64,{}", base64::engine::general_purpose::STANDARD.encode(jpeg)))
}
