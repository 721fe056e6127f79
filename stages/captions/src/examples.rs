//! `examples.jsonl`: texts of the newest epoch, for people to read.

use items::{Paired, Role};
use pipeline_engine::{RunDir, StageError};
use serde_json::json;

const FILE: &str = "examples.jsonl";
/// Images whose texts are shown.
const IMAGES: usize = 8;

/// Writes the texts of the first images of a batch, one text per line, with the nearest other image:
/// the object usually comes from its caption. `texts` are B x R, in the order of `roles`.
pub fn write(dir: &RunDir, paired: &Paired, roles: &[Role], texts: &[String]) -> Result<(), StageError> {
    let mut lines = String::new();
    let items = &paired.batch.items;
    for (i, (item, row)) in items.iter().zip(texts.chunks(roles.len())).take(IMAGES).enumerate() {
        let nearest = paired.neighbours.get(i * paired.k).filter(|_| paired.k > 0);
        let neighbour = nearest.and_then(|place| items.get(*place as usize));
        let cosine = paired.cosines.get(i * paired.k).filter(|_| neighbour.is_some());
        let shown = roles.iter().zip(row).filter(|(role, text)| !role.is_phrase() && !text.is_empty());
        for (role, text) in shown {
            let line = json!({
                "epoch": paired.batch.epoch, "shard": &*item.shard, "key": &*item.key,
                "role": role.to_string(), "text": text,
                "neighbour_shard": neighbour.map(|n| &*n.shard), "neighbour": neighbour.map(|n| &*n.key),
                "neighbour_caption": neighbour.map(|n| n.caption()), "cosine": cosine,
            });
            lines.push_str(&format!("{line}\n"));
        }
    }
    dir.write(FILE, lines.as_bytes())?;
    Ok(())
}
