//! Single samples: generated captions and skipped samples.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::Value;

use super::pictures::{Key, thumbnails};
use super::{Files, SHOWN, escape};

/// Images that are shown.
const EXAMPLES: usize = 8;

/// Texts of the last epoch, as they went into training, with their images.
pub fn examples(page: &mut String, files: &Files) {
    let text = |m: &Value, key: &str| m[key].as_str().unwrap_or_default().to_owned();
    // The lines of an image are adjacent.
    let mut images: Vec<(Key, Vec<&Value>)> = Vec::new();
    for line in &files.examples {
        let key = (text(line, "shard"), text(line, "key"));
        match images.last_mut() {
            Some((last, lines)) if *last == key => lines.push(line),
            _ => images.push((key, vec![line])),
        }
    }
    images.truncate(EXAMPLES);
    let Some((_, lines)) = images.first() else { return };
    let epoch = &lines[0]["epoch"];
    let neighbour = |line: &Value| (text(line, "neighbour_shard"), text(line, "neighbour"));
    let wanted: BTreeSet<Key> = images.iter().flat_map(|(key, lines)| [key.clone(), neighbour(lines[0])]).collect();
    let found = thumbnails(&files.base(), &wanted);
    let _ = write!(
        page,
        "<h2>Generated captions</h2><p class=soft>Images of the first step of epoch {epoch}, each with its nearest neighbour in the batch.</p><div class=examples>"
    );
    for (key, lines) in &images {
        page.push_str("<div class=example><div class=pair>");
        figure(page, &found, key, "image", "");
        let near = neighbour(lines[0]);
        if !near.1.is_empty() {
            let cosine = lines[0]["cosine"].as_f64().map(|c| format!(", cosine {c:.2}")).unwrap_or_default();
            let caption = text(lines[0], "neighbour_caption");
            figure(page, &found, &near, &format!("nearest{cosine}"), &caption);
        }
        page.push_str("</div><dl>");
        for line in lines {
            let _ = write!(page, "<dt>{}<dd>{}", escape(&text(line, "role")), escape(&text(line, "text")));
        }
        page.push_str("</dl></div>");
    }
    page.push_str("</div>");
}

/// A picture, or a box in its place.
pub fn figure(page: &mut String, found: &BTreeMap<Key, String>, key: &Key, what: &str, caption: &str) {
    page.push_str("<figure>");
    match found.get(key) {
        Some(data) => {
            let _ = write!(page, "<img src=\"{data}\" alt=\"{}\" loading=lazy>", escape(&key.1));
        }
        None => page
            .push_str("<div class=none>no picture here: its shard is not a file on this machine, or was moved</div>"),
    }
    let caption = if caption.is_empty() { String::new() } else { format!("<br>{}", escape(caption)) };
    let _ = write!(page, "<figcaption>{what}: {}{caption}</figcaption></figure>", escape(&key.1));
}

/// True if a line of the skip ledger stands for a lost shard, not for a sample.
pub fn is_shard(skip: &Value) -> bool {
    skip["key"] == "" && skip["index"].is_null()
}

/// Skipped samples: the count for each reason, and the first of them.
pub fn skipped(page: &mut String, skipped: &[Value]) {
    let lost = skipped.iter().filter(|skip| is_shard(skip)).count();
    let shards = if lost > 0 { format!(", and {} lost", crate::text::count(lost, "shard")) } else { String::new() };
    let _ = write!(page, "<h2>Samples skipped: {}{shards}</h2>", skipped.len() - lost);
    if skipped.is_empty() {
        page.push_str("<p class=soft>Every sample could be used.</p>");
        return;
    }
    let text = |skip: &Value, key: &str| escape(skip[key].as_str().unwrap_or_default());
    let mut reasons: BTreeMap<(String, String), usize> = BTreeMap::new();
    for skip in skipped {
        *reasons.entry((text(skip, "stage"), text(skip, "reason"))).or_default() += 1;
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    page.push_str("<div class=scroll><table class=rows><tr><th class=n>samples<th>stage<th>reason");
    for ((stage, reason), count) in reasons.iter().take(SHOWN) {
        let _ = write!(
            page,
            "<tr><td class=n data-l=samples>{count}<td data-l=stage>{stage}<td class=full data-l=reason>{reason}"
        );
    }
    page.push_str("</table></div><details><summary>list</summary><div class=scroll><table class=rows><tr><th>shard<th>key<th>stage<th>reason");
    for skip in skipped.iter().take(SHOWN) {
        let of = |key: &str| text(skip, key);
        let _ = write!(
            page,
            "<tr><td class=head>{}<td data-l=key>{}<td data-l=stage>{}<td class=full data-l=reason>{}",
            of("shard"),
            of("key"),
            of("stage"),
            of("reason")
        );
    }
    page.push_str("</table></div>");
    if skipped.len() > SHOWN {
        let _ = write!(page, "<p>and {} more in skipped.jsonl</p>", skipped.len() - SHOWN);
    }
    page.push_str("</details>");
}
