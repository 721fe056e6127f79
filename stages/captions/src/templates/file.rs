//! Files of templates: one per line; empty lines and lines that begin with `#` do not count.

use std::path::{Path, PathBuf};

/// A fault in a template file.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The file cannot be read.
    #[error("{}: cannot read templates: {error}", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A line is not a template.
    #[error("{}: line {line}: {what}", .file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The file as a whole cannot be used.
    #[error("{}: {what}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
    /// There are fewer templates than should be used, or none should be.
    #[error("{}: holds {count} templates, {wanted} should be used; choose 1 to {count}", .file.display())]
    Count {
        /// The file.
        file: PathBuf,
        /// Templates in it.
        count: usize,
        /// How many should be used.
        wanted: usize,
    },
}

/// Where templates come from, and how many of them are used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Source<'a> {
    /// A user's file; `None`: our own list.
    pub file: Option<&'a Path>,
    /// Use only the first N; `None`: all.
    pub first: Option<usize>,
}

impl Source<'_> {
    /// Reads the user's file, or our own list `own` with this `name`, one template per line.
    pub(super) fn load<T>(
        self,
        name: &str,
        own: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, TemplateError> {
        let (file, text) = match self.file {
            Some(file) => {
                let wrong = |error| TemplateError::Read { file: file.to_owned(), error };
                (file.to_owned(), std::fs::read_to_string(file).map_err(wrong)?)
            }
            None => (PathBuf::from(name), own.to_owned()),
        };
        let mut found = Vec::new();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                let wrong = |what| TemplateError::Line { file: file.clone(), line: i + 1, what };
                found.push(parse(line).map_err(wrong)?);
            }
        }
        if found.is_empty() {
            return Err(TemplateError::File { file, what: "holds no template; write one per line".to_owned() });
        }
        let (count, wanted) = (found.len(), self.first.unwrap_or(found.len()));
        if wanted == 0 || wanted > count {
            return Err(TemplateError::Count { file, count, wanted });
        }
        found.truncate(wanted);
        Ok(found)
    }

    /// The name of the file for messages; `own` is the name of our own list.
    pub(super) fn name(&self, own: &str) -> PathBuf {
        self.file.map_or_else(|| own.into(), Path::to_owned)
    }
}
