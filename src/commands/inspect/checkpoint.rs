//! Checkpoints.

use std::fmt::Write;

use crate::inspect::checkpoint::{CheckpointInfo, TowerInfo};
use crate::text::size;

/// A checkpoint as text.
pub fn text(info: &CheckpointInfo) -> String {
    let mut text = format!("{}: a checkpoint, {}\n", info.path.display(), info.layout);
    let tower = |text: &mut String, name: &str, tower: &Option<TowerInfo>| {
        let _ = match tower {
            None => writeln!(text, "  {name:<10} none"),
            Some(t) => writeln!(
                text,
                "  {name:<10} width {}, {} layers, {} heads, features of {}; {:.1} M parameters in {} tensors, {}\n  {:<10} {}",
                t.width,
                t.layers,
                t.heads,
                t.projection,
                t.parameters as f64 / 1e6,
                t.tensors,
                t.dtypes.iter().cloned().collect::<Vec<_>>().join(" and "),
                "",
                t.fingerprint
            ),
        };
    };
    tower(&mut text, "text", &info.text);
    tower(&mut text, "vision", &info.vision);
    if let Some(bytes) = info.onnx_bytes {
        let _ = writeln!(text, "  onnx       vision_model.onnx, {}", size(bytes));
    }
    let _ = match &info.picture {
        Ok((width, height)) => writeln!(text, "  pictures   {width} x {height}"),
        Err(fault) => writeln!(text, "  pictures   {fault}"),
    };
    let _ = match &info.vocabulary {
        Ok(tokens) => writeln!(text, "  tokenizer  {tokens} tokens"),
        Err(fault) => writeln!(text, "  tokenizer  {fault}"),
    };
    let _ = match info.encoder() {
        Some(kind) => writeln!(text, "  encode     takes it as \"{kind}\""),
        None => writeln!(text, "  encode     has no image encoder here: neither a vision tower nor vision_model.onnx"),
    };
    text
}
