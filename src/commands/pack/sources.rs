//! Where pictures and captions come from.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use pipeline_engine::did_you_mean;
use serde::Deserialize;
use serde_json::Value;
use tables::Dialect;

use super::{Unusable, key_of};

/// A picture and its captions, not yet read.
pub struct Row {
    /// Where it stands in the source, for messages.
    pub at: String,
    /// The file.
    pub image: PathBuf,
    /// Its WebDataset key, as it should be.
    pub key: String,
    /// One line each; or why the row cannot be used.
    pub captions: Result<Vec<String>, Unusable>,
}

/// What the user says about a table: the names of columns, and whether quotes in it are characters like any other.
#[derive(Default)]
pub struct Columns<'a> {
    pub image: Option<&'a str>,
    pub caption: Option<&'a str>,
    pub unquoted: bool,
}

/// Columns that tables keep such things in, the likeliest first.
const IMAGE: [&str; 9] =
    ["image", "filepath", "file_name", "filename", "path", "image_path", "file", "img", "image_id"];
const CAPTION: [&str; 6] = ["caption", "captions", "text", "title", "sentence", "comment"];
const PICTURES: [&str; 4] = ["jpg", "jpeg", "png", "webp"];
/// Pictures that cannot be packed; a folder's are named, so that nobody misses them later.
const OTHER_PICTURES: [&str; 13] =
    ["gif", "bmp", "tif", "tiff", "heic", "heif", "avif", "jp2", "jxl", "jfif", "jpe", "ppm", "tga"];
/// Captions of a picture in a folder are in a file of its name with one of these endings.
const BESIDE: [&str; 3] = ["txt", "caption", "TXT"];

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

/// One line, without empty space around it; nothing where nothing is left. Only line breaks are changed.
fn one_line(caption: &str) -> Option<String> {
    let lines = caption.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
    let line = lines.collect::<Vec<_>>().join(" ");
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
        captions: Ok(captions.remove(&image.id.to_string()).unwrap_or_default()),
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
            self.rows[*index].captions.iter_mut().for_each(|all| all.extend(captions.iter().cloned()));
            return;
        }
        self.by_image.insert(image.to_owned(), self.rows.len());
        self.rows.push(Row {
            at: format!("line {line}"),
            image: images.join(image),
            key: key_of(Path::new(image), Path::new("")),
            captions: Ok(captions),
        });
    }
}

fn table(source: &Path, images: &Path, columns: &Columns<'_>, usual: Dialect) -> Result<Vec<Row>> {
    let bytes = std::fs::read(source).with_context(|| source.display().to_string())?;
    let found = tables::records(&bytes, Dialect::of(&bytes, Dialect { quoting: !columns.unquoted, ..usual }));
    if let Some((line, fault)) = found.quote_fault() {
        bail!(
            "{}:{line}: {fault}; write a quote within a field twice, or add --unquoted if quotes in this table are \
             characters like any other",
            source.display()
        );
    }
    let mut records = found.records.into_iter();
    let Some(header) = records.next() else { bail!("{} is empty", source.display()) };
    let names = header.fields().map_err(|_| not_utf8(source, 1))?;
    let known: Vec<&str> = names.iter().map(|name| name.trim()).collect();
    let image = column(source, &known, columns.image, &IMAGE, "image")?;
    let caption = column(source, &known, columns.caption, &CAPTION, "caption")?;
    let mut merged = Merged::default();
    for record in records {
        let line = record.line;
        let wrong_width = |advice: &str| {
            let (path, width) = (source.display(), record.width());
            anyhow!("{path}:{line}: {width} columns, but the first line names {}{advice}", known.len())
        };
        if record.width() > known.len() {
            // Part of a caption would be lost.
            return Err(wrong_width("; a field that holds what separates fields stands in double quotes"));
        }
        let field = |place: usize| match record.field(place) {
            Some(field) => field.map_err(|_| not_utf8(source, line)),
            None => Err(wrong_width("")),
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
        let neither = || wrong(&format!("`{caption}` is neither a text nor a list of texts"));
        let captions: Vec<&str> = match &object[caption] {
            Value::String(text) => vec![text],
            Value::Array(list) => list.iter().map(|text| text.as_str().ok_or_else(neither)).collect::<Result<_>>()?,
            // A missing value, as pandas writes it.
            Value::Null => Vec::new(),
            _ => return Err(neither()),
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
    let mut found = Vec::new();
    walk(root, &mut found)?;
    // By path, so that the order does not depend on the file system.
    found.sort_by(|a, b| a.path.cmp(&b.path));
    let rows = found.into_iter().map(|Found { path, unusable }| Row {
        at: "file".into(),
        key: key_of(&path, root),
        captions: unusable.map_or_else(|| beside(&path), Err),
        image: path,
    });
    Ok(rows.collect())
}

/// The captions in the file beside a picture; none if there is no such file.
fn beside(image: &Path) -> Result<Vec<String>, Unusable> {
    for path in BESIDE.map(|extension| image.with_extension(extension)) {
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Unusable::UnreadableCaptions(path, error)),
        };
        let text = std::str::from_utf8(&bytes).map_err(|e| Unusable::NotUtf8(path, e.valid_up_to()))?;
        return Ok(text.trim_start_matches('\u{feff}').split(['\n', '\r']).filter_map(one_line).collect());
    }
    Ok(Vec::new())
}

/// What a folder holds that looks like a picture, or like more of them.
struct Found {
    path: PathBuf,
    /// Why it cannot be packed, as far as its name shows.
    unusable: Option<Unusable>,
}

fn walk(folder: &Path, found: &mut Vec<Found>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))? {
        let entry = entry.with_context(|| folder.display().to_string())?;
        let path = entry.path();
        if entry.file_type().with_context(|| path.display().to_string())?.is_dir() {
            // What macOS keeps beside pictures is none of them, and readers of shards skip it.
            if entry.file_name() != "__MACOSX" {
                walk(&path, found)?;
            }
        } else if path.is_dir() {
            // Not through links: a loop would never end.
            found.push(Found { path, unusable: Some(Unusable::LinkedFolder) });
        } else {
            let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_lowercase();
            if PICTURES.contains(&extension.as_str()) {
                found.push(Found { path, unusable: None });
            } else if OTHER_PICTURES.contains(&extension.as_str()) {
                found.push(Found { path, unusable: Some(Unusable::Ending(extension)) });
            }
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
        read(&source, None, &Columns::default())
    }

    fn captions(row: &Row) -> &[String] {
        row.captions.as_deref().unwrap()
    }

    #[test]
    fn rows_of_one_picture_are_merged_and_know_their_line() {
        let text = "\u{feff}image,caption,note\na.jpg,\"two\nlines, \"\"quoted\"\"\",\n\nb.jpg,one,x\na.jpg, more ,\n";
        let rows = read_text("t.csv", text.as_bytes()).unwrap();
        let read: Vec<_> = rows.iter().map(|row| (row.at.as_str(), row.key.as_str(), captions(row).to_vec())).collect();
        let own = |captions: &[&str]| captions.iter().map(|caption| (*caption).to_owned()).collect::<Vec<_>>();
        assert_eq!(read, [("line 2", "a", own(&["two lines, \"quoted\"", "more"])), ("line 5", "b", own(&["one"]))]);
    }

    #[test]
    fn quotes_and_tabs_of_a_table_are_those_of_pandas() {
        let text = "path\ttitle\na.jpg\t\"the \"\"red\"\" ball\"\nb.jpg\t\"a dog \"\"Rex\"\"\twith  a tab\"\n";
        // Tabs in a .csv are open_clip's default, commas in a .tsv a mistake that costs nothing.
        for (name, text) in [("t.tsv", text.to_owned()), ("t.csv", text.to_owned())] {
            let rows = read_text(name, text.as_bytes()).unwrap();
            assert_eq!(captions(&rows[0]), ["the \"red\" ball"], "{name}");
            assert_eq!(captions(&rows[1]), ["a dog \"Rex\"\twith  a tab"], "{name}");
        }
        assert_eq!(captions(&read_text("t.tsv", b"path,title\na.jpg,one\n").unwrap()[0]), ["one"]);
        let open = b"path\ttitle\na.jpg\t\"b\nb.jpg\tc\n";
        let said = read_text("t.tsv", open).map(drop).unwrap_err().to_string();
        assert!(said.contains("t.tsv:2: a quote") && said.contains("--unquoted"), "{said}");
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("t.tsv");
        std::fs::write(&source, open).unwrap();
        let rows = read(&source, None, &Columns { unquoted: true, ..Columns::default() }).unwrap();
        assert_eq!((captions(&rows[0]), captions(&rows[1])), (&["\"b".to_owned()][..], &["c".to_owned()][..]));
    }

    #[test]
    fn a_folder_names_what_it_cannot_give() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        for name in ["a.jpg", "b.jpg", "c.gif", "d.JPG", "e.png"] {
            put(name, b"x");
        }
        put("a.txt", b"a caf\xe9\n");
        put("b.txt", "\u{feff}a café\r\n\r\n two".as_bytes());
        put("c.txt", b"moving");
        put("d.TXT", b"loud");
        put("notes.txt", b"of no picture");
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        put("sub/f.jpg", b"x");
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.path().join("sub"), folder.path().join("zlink")).unwrap();
        let rows = read(folder.path(), None, &Columns::default()).unwrap();
        let keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
        assert_eq!(keys[..6], ["a", "b", "c", "d", "e", "sub/f"]);
        let fault = |index: usize| rows[index].captions.as_ref().unwrap_err().to_string();
        assert!(fault(0).contains("a.txt is not UTF-8 (byte 6 is the first that is not)"), "{}", fault(0));
        assert_eq!(captions(&rows[1]), ["a café", "two"]);
        assert!(fault(2).contains(".gif"), "{}", fault(2));
        assert_eq!(captions(&rows[3]), ["loud"]);
        assert!(captions(&rows[4]).is_empty());
        if cfg!(unix) {
            assert!(fault(6).contains("a link to a folder"), "{}", fault(6));
        }
    }

    #[test]
    fn faults_of_a_table_name_its_line() {
        let said = |text: &[u8]| read_text("t.csv", text).map(drop).unwrap_err().to_string();
        assert!(said(b"").contains("t.csv is empty"));
        assert!(said(b"image,caption\na.jpg,x\nb.jpg\n").contains("t.csv:3: 1 columns, but the first line names 2"));
        assert!(said(b"image,caption\na.jpg,x,y\n").contains("t.csv:2: 3 columns, but the first line names 2"));
        assert!(said(b"image,caption\na.jpg,\xff\n").contains("t.csv:2: this is not UTF-8"));
        assert!(said(b"image,words\na.jpg,x\n").contains("which column is the caption"));
        // What is in other columns does not matter.
        assert_eq!(read_text("t.csv", b"image,caption,note\na.jpg,x,\xff\n").unwrap().len(), 1);
    }
}
