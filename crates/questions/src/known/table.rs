//! Tables of what images show.

use std::path::Path;

use benchmarks::files::{FileError, list_field, read_lines, table_rows};
use serde::Deserialize;

use super::{Known, KnownError, Listed, names_of};

/// A line of JSON.
#[derive(Deserialize)]
struct Line {
    image: String,
    present: Vec<String>,
    #[serde(default)]
    absent: Option<Vec<String>>,
    #[serde(default)]
    captions: Vec<String>,
}

impl Known {
    /// From a table: JSON lines or a CSV with `image`, `present` and, if known, `absent` and
    /// `captions`. Lists in a CSV are separated by `;`, or written as JSON or Python lists.
    /// Without `absent`, what at least `least` other images show and this one does not is absent.
    ///
    /// # Errors
    /// A missing column or a wrong row: the file and the row.
    pub fn from_table(path: &Path, least: u32) -> Result<Self, KnownError> {
        let is_csv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
        let listed = if is_csv { csv(path)? } else { json_lines(path)? };
        let names = names_of(&listed);
        Self::from_listed(listed, &names, least)
    }
}

fn csv(path: &Path) -> Result<Vec<Listed>, FileError> {
    let listed = |row: benchmarks::files::TableRow| {
        let list = |name: &str| row.optional(name).map(list_field);
        Ok(Listed {
            image: row.text("image")?.to_owned(),
            present: list_field(row.raw("present")),
            absent: list("absent"),
            captions: list("captions").unwrap_or_default(),
        })
    };
    table_rows(path, &["image", "present"], &["absent", "captions"])?.into_iter().map(listed).collect()
}

fn json_lines(path: &Path) -> Result<Vec<Listed>, FileError> {
    let listed = |(number, line): (usize, String)| {
        let Line { image, present, absent, captions } = serde_json::from_str(&line).map_err(|e| {
            let message = format!("{e}; it needs `image` and `present` (a list), and may have `absent` and `captions`");
            FileError::row(path, number, message)
        })?;
        Ok(Listed { image, captions, present, absent })
    };
    read_lines(path)?.into_iter().map(listed).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::{names, written};
    use super::*;

    #[test]
    fn faults_name_the_row() {
        let said = |name: &str, text: &str| {
            let (_dir, path) = written(name, text);
            Known::from_table(&path, 1).unwrap_err().to_string()
        };
        assert!(said("t.csv", "image,objects\na.jpg,dog\n").contains("no column `present`"));
        assert!(said("t.csv", "image,present\n,dog\n").contains("t.csv:2: `image` is empty"));
        assert!(
            said("t.jsonl", "{\"image\":\"a\",\"present\":[\"dog\"]}\n{\"image\":\"b\"}\n")
                .contains("t.jsonl:2: missing field `present`")
        );
        assert!(said("t.csv", "image,present\na.jpg,dog\n").contains("--least"));
    }

    #[test]
    fn a_table_may_list_what_is_absent() {
        let (_dir, path) =
            written("t.csv", "image,present,absent\na.jpg,dog;ball,cat\nb.jpg,\"['cat', 'boat']\",dog\n");
        let known = Known::from_table(&path, 1).unwrap();
        assert_eq!(names(&known, &known.pictures[0].absent), ["cat"]);
        let (_dir, path) = written("t.csv", "image,present\na.jpg,dog;ball\nb.jpg,puppy;boat\n");
        let known = Known::from_table(&path, 1).unwrap();
        assert_eq!(names(&known, &known.pictures[0].absent), ["boat"], "a puppy is a dog");
    }
}
