//! NegBench's files (arXiv 2501.09425): multiple choice and retrieval with negation.

use std::path::Path;

use crate::files::{FileError, csv_rows, literal_list, quoted};

/// A question: which of the captions is true of the image?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McqRow {
    /// Path of the image.
    pub image_path: String,
    /// Four captions, or two in the binary questions.
    pub captions: Vec<String>,
    /// Which is true.
    pub correct_answer: usize,
    /// What the true one does: `positive`, `negative`, `hybrid`.
    pub correct_answer_template: String,
}

/// An image and its captions with negation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrievalRow {
    /// Path of the image.
    pub filepath: String,
    /// At least one.
    pub captions: Vec<String>,
}

/// Reads multiple choice: `image_path, caption_0, …, correct_answer, correct_answer_template`,
/// with four captions, or with two as in NegBench's binary questions.
///
/// # Errors
/// A missing column; a row with an empty caption, path or type, or an answer that is none.
pub fn read_mcq(path: &Path) -> Result<Vec<(usize, McqRow)>, FileError> {
    const COLUMNS: [&str; 6] = ["image_path", "caption_0", "caption_1", "correct_answer", "caption_2", "caption_3"];
    let four = csv_rows(path, &COLUMNS, &["correct_answer_template"]);
    let (rows, options) = match four {
        Ok(rows) => (rows, 4),
        Err(error) => match csv_rows(path, &COLUMNS[..4], &[]) {
            Ok(rows) if rows[0].optional("caption_2").is_none() && rows[0].optional("caption_3").is_none() => (rows, 2),
            _ => return Err(error),
        },
    };
    let read = |row: crate::files::CsvRow| {
        let caption = |i: usize| row.text(&format!("caption_{i}")).map(str::to_owned);
        let typed = row.optional("correct_answer_template");
        let read = McqRow {
            image_path: row.text("image_path")?.to_owned(),
            captions: (0..options).map(caption).collect::<Result<_, _>>()?,
            correct_answer: row.below("correct_answer", options)?,
            correct_answer_template: match typed {
                None => "all".to_owned(),
                Some(_) => row.text("correct_answer_template")?.to_lowercase(),
            },
        };
        Ok((row.line, read))
    };
    rows.into_iter().map(read).collect()
}

/// Reads negated retrieval: `filepath, captions`, the captions a Python or JSON list.
///
/// # Errors
/// A missing column; a row whose captions are no list, none, or empty.
pub fn read_retrieval(path: &Path) -> Result<Vec<(usize, RetrievalRow)>, FileError> {
    let read = |row: crate::files::CsvRow| {
        let captions = literal_list(row.text("captions")?).ok_or_else(|| {
            row.fault("`captions` is not a list of strings, as in ['a dog, no ball', 'no ball, a dog']")
        })?;
        if captions.is_empty() {
            return Err(row.fault("`captions` is an empty list"));
        }
        if let Some(empty) = captions.iter().position(|caption| caption.trim().is_empty()) {
            return Err(row.fault(format!("caption {empty} of `captions` is empty")));
        }
        Ok((row.line, RetrievalRow { filepath: row.text("filepath")?.to_owned(), captions }))
    };
    csv_rows(path, &["filepath", "captions"], &[])?.into_iter().map(read).collect()
}

/// Writes multiple choice with four captions.
///
/// # Errors
/// When the file cannot be written.
pub fn write_mcq(path: &Path, rows: &[McqRow]) -> Result<(), FileError> {
    let header =
        ["image_path", "caption_0", "caption_1", "caption_2", "caption_3", "correct_answer", "correct_answer_template"];
    let records = rows.iter().map(|row| {
        let mut record = vec![row.image_path.clone()];
        record.extend(row.captions.iter().cloned());
        record.extend([row.correct_answer.to_string(), row.correct_answer_template.clone()]);
        record
    });
    write(path, &header, records)
}

/// Writes negated retrieval; the captions as a JSON list, which Python reads too.
///
/// # Errors
/// When the file cannot be written.
pub fn write_retrieval(path: &Path, rows: &[RetrievalRow]) -> Result<(), FileError> {
    let list = |row: &RetrievalRow| serde_json::to_string(&row.captions).unwrap_or_default();
    write(path, &["filepath", "captions"], rows.iter().map(|row| vec![row.filepath.clone(), list(row)]))
}

fn write(path: &Path, header: &[&str], records: impl Iterator<Item = Vec<String>>) -> Result<(), FileError> {
    let mut text = header.join(",") + "\n";
    for record in records {
        text += &record.iter().map(|field| quoted(field)).collect::<Vec<_>>().join(",");
        text.push('\n');
    }
    pipeline_engine::write_atomically(path, text.as_bytes())
        .map_err(|source| FileError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HEADER: &str = "image_path,caption_0,caption_1,caption_2,caption_3,correct_answer,correct_answer_template";

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mcq.csv");
        let row = McqRow {
            image_path: "a/b.jpg".into(),
            captions: ["a \"dog\", no ball", "x", "y", "z"].map(str::to_owned).to_vec(),
            correct_answer: 0,
            correct_answer_template: "hybrid".into(),
        };
        write_mcq(&path, std::slice::from_ref(&row)).unwrap();
        assert_eq!(read_mcq(&path).unwrap(), [(2, row)]);
        let row = RetrievalRow { filepath: "b.jpg".into(), captions: vec!["it's \"a\" dog".into(), "é".into()] };
        write_retrieval(&path, std::slice::from_ref(&row)).unwrap();
        assert_eq!(read_retrieval(&path).unwrap(), [(2, row)]);
    }

    #[test]
    fn faults_name_the_row() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.csv");
        let mcq = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_mcq(&path).map_err(|e| e.to_string())
        };
        let good = "a.jpg,one,two,three,four,0,positive";
        assert!(
            mcq(&format!("{HEADER}\n{good}\na.jpg,one,,three,four,0,negative\n"))
                .unwrap_err()
                .contains("f.csv:3: `caption_1` is empty")
        );
        assert!(
            mcq(&format!("{HEADER}\n{good}\na.jpg,one,two,three,four,4,hybrid\n"))
                .unwrap_err()
                .contains("f.csv:3: `correct_answer` is 4")
        );
        assert!(mcq(&HEADER.replace("caption_3,", "")).unwrap_err().contains("no column `caption_3`"));
        assert!(mcq("filepath,captions\nb.jpg,\"['a']\"\n").unwrap_err().contains("no column `image_path`"));
        assert_eq!(
            mcq("image_path,caption_0,caption_1,correct_answer\na.jpg,yes,no,1\n").unwrap()[0].1.captions.len(),
            2
        );
        let retrieval = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_retrieval(&path).unwrap_err().to_string()
        };
        assert!(retrieval("filepath,captions\nb.jpg,a dog\n").contains("f.csv:2: `captions` is not a list"));
        assert!(retrieval("filepath,captions\nb.jpg,[]\n").contains("empty list"));
        assert!(retrieval("filepath,captions\nb.jpg,\"['a', ' ']\"\n").contains("caption 1 of `captions` is empty"));
    }
}
