//! What costs nothing to see of a benchmark before a run: its file, and where its images are.
//! Nothing is read.

use std::path::Path;

use pipeline_engine::Look;

use crate::pictures::folder as folder_of;

const FILE_HELP: &str = "give the benchmark's file in the format it is published in (docs/benchmarks.md)";

/// Reports a benchmark's file (the option `file`) that does not exist.
pub fn file(look: &mut Look<'_>, path: &Path) {
    let path = look.path(path);
    if path.is_dir() {
        look.fault("file", format!("{} is a folder, not a benchmark's file", path.display()), FILE_HELP);
    } else if !path.exists() {
        look.fault("file", format!("{} does not exist", path.display()), FILE_HELP);
    }
}

/// Reports images (the option `images`) that are neither a folder nor shards.
pub fn images(look: &mut Look<'_>, images: &[String]) {
    if folder_of(images, |path| look.path(path)).is_none() {
        shards(look, images);
    }
}

/// As [`images`], for a benchmark that cannot do with shards.
pub fn folder(look: &mut Look<'_>, images: &[String]) {
    if folder_of(images, |path| look.path(path)).is_none() {
        look.fault("images", needs_folder(images), "");
    }
}

/// The message for images that are not one folder.
pub(crate) fn needs_folder(images: &[String]) -> String {
    format!("parts of images are cut from files; give a folder in place of {}", images.join(", "))
}

/// As [`images`], for a benchmark that cannot do with a folder, since it needs captions. The stage
/// that reads shards says what it finds.
pub fn shards(look: &mut Look<'_>, images: &[String]) {
    let folders: Vec<_> = images.iter().map(|image| look.path(image)).filter(|path| path.is_dir()).collect();
    for folder in &folders {
        look.fault("images", format!("{} is a folder, not a shard", folder.display()), "");
    }
    if images.is_empty() {
        look.fault("images", "`images` is empty", "name at least one shard");
    } else if folders.is_empty() {
        look.source("images", &items::source::shards(images));
    }
}
