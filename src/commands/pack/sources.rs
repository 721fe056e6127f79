//! Where pictures and captions come from.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use pipeline_engine::did_you_mean;
use serde::Deserialize;
use serde_json::Value;
use tables::Dialect;

use super::key_of;

/// A picture and its captions, not yet read.
pub struct Row {
    /// Where it stands in the source, for messages.
    pub at: String,
    /// The file.
    pub image: PathBuf,
    /// Its WebDataset key, as it should be.
    pub key: String,
    /// One line each.
    pub captions: Vec<String>,
}

/// Names of columns that the user gives.
pub struct Columns<'a> {
    pub image: Option<&'a str>,
    pub caption: Option<&'a str>,
}

/// Columns that tables keep such things in, the likeliest first.
const IMAGE: [&str; 9] =
    ["image", "filepath", "file_name", "filename", "path", "image_path", "file", "img", "image_id"];
const CAPTION: [&str; 6] = ["caption", "captions", "text", "title", "sentence", "comment"];
const PICTURES: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// Reads a source; `images` is the folder that its paths start from.
///
/// # Errors
/// A source that cannot be read, or is none of those that are known.
pub fn read(source: &Path, images: Option<&Path>, columns: &Columns<'_>) -> Result<Vec<Row>> {
    let metadata = std::fs::metadata(source).with_context(|| source.display().to_string())?;
    if metadata.is_dir() {
        return folder(source);
    }
    let beside = source.parent().unwrap_or(Path::new(""));
    let images = images.unwrap_or(beside);
    if !images.as_os_str().is_empty() && !images.is_dir() {
        bail!("--images {}: there is no such folder", images.display());
    }
    let extension = source.extension().and_then(|e| e.to_str()).unwrap_or_default().to_lowercase();
    match extension.as_str() {
        "json" => coco(source, images),
        "csv" => table(source, images, columns, Dialect::CSV),
        "tsv" => table(source, images, columns, Dialect::TSV),
        "jsonl" | "ndjson" => lines(source, images, columns),
        _ => bail!(
            "{} is none of the sources that are known: COCO captions (.json), a table (.csv, .tsv, .jsonl), or a folder",
            source.display()
        ),
    }
}

/// One line, without empty space around it; nothing where nothing is left.
fn one_line(caption: &str) -> Option<String> {
    let line = caption.split_whitespace().collect::<Vec<_>>().join(" ");
    (!line.is_empty()).then_some(line)
}

#[derive(Deserialize)]
struct Coco {
    images: Vec<CocoImage>,
    annotations: Vec<CocoCaption>,
}

#[derive(Deserialize)]
struct CocoImage {
    id: Value,
    file_name: String,
}

#[derive(Deserialize)]
struct CocoCaption {
    image_id: Value,
    caption: String,
}

fn coco(source: &Path, images: &Path) -> Result<Vec<Row>> {
    let text = std::fs::read_to_string(source).with_context(|| source.display().to_string())?;
    let coco: Coco = serde_json::from_str(&text).map_err(|e| {
        anyhow!(
            "{} is no COCO captions file ({e}); it has `images` with id and file_name, and `annotations` with image_id and caption",
            source.display()
        )
    })?;
    let mut captions: HashMap<String, Vec<String>> = HashMap::new();
    for annotation in coco.annotations {
        captions.entry(annotation.image_id.to_string()).or_default().extend(one_line(&annotation.caption));
    }
    let rows = coco.images.into_iter().map(|image| Row {
        at: format!("image {}", image.id),
        captions: captions.remove(&image.id.to_string()).unwrap_or_default(),
        key: key_of(Path::new(&image.file_name), Path::new("")),
        image: images.join(&image.file_name),
    });
    Ok(rows.collect())
}

/// Rows of a table; those of the same picture become one.
#[derive(Default)]
struct Merged {
    rows: Vec<Row>,
    by_image: HashMap<String, usize>,
}

impl Merged {
    fn add(&mut self, line: usize, image: &str, captions: Vec<String>, images: &Path) {
        let image = image.trim();
        if let Some(index) = self.by_image.get(image) {
            self.rows[*index].captions.extend(captions);
            return;
        }
        self.by_image.insert(image.to_owned(), self.rows.len());
        self.rows.push(Row {
            at: format!("line {line}"),
            image: images.join(image),
            key: key_of(Path::new(image), Path::new("")),
            captions,
        });
    }
}

fn table(source: &Path, images: &Path, columns: &Columns<'_>, dialect: Dialect) -> Result<Vec<Row>> {
    let bytes = std::fs::read(source).with_context(|| source.display().to_string())?;
    let mut records = tables::records(&bytes, dialect).records.into_iter();
    let Some(header) = records.next() else { bail!("{} is empty", source.display()) };
    let names = header.fields().map_err(|_| not_utf8(source, 1))?;
    let known: Vec<&str> = names.iter().map(|name| name.trim()).collect();
    let image = column(source, &known, columns.image, &IMAGE, "image")?;
    let caption = column(source, &known, columns.caption, &CAPTION, "caption")?;
    let mut merged = Merged::default();
    for record in records {
        let line = record.line;
        let field = |place: usize| match record.field(place) {
            Some(field) => field.map_err(|_| not_utf8(source, line)),
            None => Err(anyhow!(
                "{}:{line}: {} columns, but the first line names {}",
                source.display(),
                record.width(),
                known.len()
            )),
        };
        let captions = one_line(field(caption)?).into_iter().collect();
        merged.add(line, field(image)?, captions, images);
    }
    Ok(merged.rows)
}

fn not_utf8(source: &Path, line: usize) -> anyhow::Error {
    anyhow!("{}:{line}: this is not UTF-8; convert the file first", source.display())
}

fn lines(source: &Path, images: &Path, columns: &Columns<'_>) -> Result<Vec<Row>> {
    let text = std::fs::read_to_string(source).with_context(|| source.display().to_string())?;
    let mut merged = Merged::default();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |what: &str| anyhow!("{}:{number}: {what}", source.display());
        let Ok(Value::Object(object)) = serde_json::from_str(line) else { return Err(wrong("no JSON object")) };
        let known: Vec<&str> = object.keys().map(String::as_str).collect();
        let image = known[column(source, &known, columns.image, &IMAGE, "image")?];
        let caption = known[column(source, &known, columns.caption, &CAPTION, "caption")?];
        let Some(path) = object[image].as_str() else { return Err(wrong(&format!("`{image}` is no text"))) };
        let captions: Vec<&str> = match &object[caption] {
            Value::String(text) => vec![text],
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
            _ => return Err(wrong(&format!("`{caption}` is neither a text nor a list of texts"))),
        };
        merged.add(number, path, captions.into_iter().filter_map(one_line).collect(), images);
    }
    Ok(merged.rows)
}

/// The place of a column: the one that was named, or the likeliest.
fn column(source: &Path, names: &[&str], wanted: Option<&str>, usual: &[&str], what: &str) -> Result<usize> {
    let place = |name: &str| names.iter().position(|n| n.eq_ignore_ascii_case(name));
    match wanted {
        Some(wanted) => place(wanted)
            .ok_or_else(|| anyhow!("{} has no column `{wanted}`; {}", source.display(), did_you_mean(wanted, names))),
        None => usual.iter().find_map(|name| place(name)).ok_or_else(|| {
            let list = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            anyhow!("{}: which column is the {what}? Name it with --{what}-column; there are {list}", source.display())
        }),
    }
}

fn folder(root: &Path) -> Result<Vec<Row>> {
    let mut pictures = Vec::new();
    walk(root, &mut pictures)?;
    // By path, so that the order does not depend on the file system.
    pictures.sort();
    let rows = pictures.into_iter().map(|image| {
        let beside = ["txt", "caption"].iter().find_map(|e| std::fs::read(image.with_extension(e)).ok());
        let text = beside.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let captions = text.lines().filter_map(one_line).collect();
        Row { at: "file".into(), key: key_of(&image, root), image, captions }
    });
    Ok(rows.collect())
}

fn walk(folder: &Path, pictures: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))? {
        let entry = entry.with_context(|| folder.display().to_string())?;
        let path = entry.path();
        let is_picture =
            path.extension().and_then(|e| e.to_str()).is_some_and(|e| PICTURES.contains(&e.to_lowercase().as_str()));
        // Not through links: a loop would never end.
        if entry.file_type().with_context(|| path.display().to_string())?.is_dir() {
            walk(&path, pictures)?;
        } else if is_picture {
            pictures.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read_text(name: &str, text: &[u8]) -> Result<Vec<Row>> {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join(name);
        std::fs::write(&source, text).unwrap();
        read(&source, None, &Columns { image: None, caption: None })
    }

    #[test]
    fn rows_of_one_picture_are_merged_and_know_their_line() {
        let text = "\u{feff}image,caption,note\na.jpg,\"two\nlines, \"\"quoted\"\"\",\n\nb.jpg,one,x\na.jpg, more ,\n";
        let rows = read_text("t.csv", text.as_bytes()).unwrap();
        let read: Vec<_> = rows.iter().map(|row| (row.at.as_str(), row.key.as_str(), row.captions.clone())).collect();
        let own = |captions: &[&str]| captions.iter().map(|caption| (*caption).to_owned()).collect::<Vec<_>>();
        assert_eq!(read, [("line 2", "a", own(&["two lines, \"quoted\"", "more"])), ("line 5", "b", own(&["one"]))]);
        let rows = read_text("t.tsv", b"image\tcaption\na.jpg\t\"b\n").unwrap();
        assert_eq!(rows[0].captions, ["\"b"]);
    }

    #[test]
    fn faults_of_a_table_name_its_line() {
        let said = |text: &[u8]| read_text("t.csv", text).map(drop).unwrap_err().to_string();
        assert!(said(b"").contains("t.csv is empty"));
        assert!(said(b"image,caption\na.jpg,x\nb.jpg\n").contains("t.csv:3: 1 columns, but the first line names 2"));
        assert!(said(b"image,caption\na.jpg,\xff\n").contains("t.csv:2: this is not UTF-8"));
        assert!(said(b"image,words\na.jpg,x\n").contains("which column is the caption"));
        // What is in other columns does not matter.
        assert_eq!(read_text("t.csv", b"image,caption,note\na.jpg,x,\xff\n").unwrap().len(), 1);
    }
}
