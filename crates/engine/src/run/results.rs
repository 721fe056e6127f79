//! `results.jsonl` of a run that is resumed.

use crate::error::RunError;
use crate::stage::{Measurement, Phase, Position, RunDir};

/// What a resumed run had measured up to `start`, in results.jsonl and here. Lines beyond are dropped:
/// a run wrote them that was killed before its next checkpoint, and they come again. So do lines
/// between two epochs, of evals that `measured` names, since nobody knows whether all were written.
pub(crate) fn take_up(
    dir: &RunDir,
    start: Position,
    epochs: u32,
    measured: impl Fn(&str) -> bool,
) -> Result<Vec<Measurement>, RunError> {
    let path = dir.join("results.jsonl");
    let past = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(RunError::Folder(format!("cannot read {}: {error}", path.display()))),
    };
    let stays = |m: &Measurement| {
        let between = start.steps == 0 && m.epoch == start.epochs;
        m.epoch <= start.epochs && !(between && measured(&m.eval))
    };
    let (mut kept, mut text) = (Vec::new(), String::new());
    for line in String::from_utf8_lossy(&past).lines() {
        // Skip a torn last line (killed while writing).
        let Ok(mut measurement) = serde_json::from_str::<Measurement>(line) else { continue };
        if !stays(&measurement) {
            continue;
        }
        if measurement.phase == Phase::After && measurement.epoch < epochs {
            // It was the last epoch when it was measured.
            measurement.phase = Phase::Epoch;
            text += &serde_json::to_string(&measurement).map_err(|e| RunError::Folder(e.to_string()))?;
        } else {
            text += line;
        }
        text.push('\n');
        kept.push(measurement);
    }
    dir.write("results.jsonl", text.as_bytes())?;
    Ok(kept)
}
