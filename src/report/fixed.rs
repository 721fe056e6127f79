//! Pictures with a question that training fixed.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::pictures::thumbnails;
use super::samples::figure;
use super::{Files, escape};
use crate::answers::Fixed;

/// How many answers changed, and a few pictures, each with the true text and the false one that was chosen before.
pub fn pictures(page: &mut String, files: &Files) {
    let Some(changes) = &files.changes else { return };
    page.push_str("<h2>What changed</h2><p class=soft>");
    for count in changes.counted() {
        let _ = write!(page, "{}.<br>", escape(&count));
    }
    if changes.shown.is_empty() {
        page.push_str("</p>");
        return;
    }
    let key = |one: &Fixed| (one.shard.clone(), one.key.clone());
    let found = thumbnails(&files.base(), &changes.shown.iter().map(key).collect::<BTreeSet<_>>());
    let _ = write!(page, "Below: {}</p><div class=examples>", changes.about());
    for one in &changes.shown {
        page.push_str("<div class=example><div class=pair>");
        figure(page, &found, &key(one), "image", "");
        page.push_str("</div><dl>");
        for (what, scored) in [("true", &one.right), ("false, chosen before", &one.wrong)] {
            let _ = write!(page, "<dt>{what}: {:.3} → {:.3}<dd>{}", scored.before, scored.after, escape(&scored.text));
        }
        page.push_str("</dl></div>");
    }
    page.push_str("</div>");
}
