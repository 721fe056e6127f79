//! From what the config says (`train-{000..011}.tar`, globs, lists) to shards.

mod braces;
mod nearby;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use url::Url;

use crate::types::{Location, PIPE, Source};
pub use braces::expand_braces;
use nearby::what_is_there;

/// Whether `pipe:` in a list of shards may run a shell command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pipes {
    /// It is an error.
    Refused,
    /// It runs.
    Allowed,
}

/// What is wrong with the `urls` of the config.
#[derive(Debug, PartialEq, Eq)]
pub enum UrlError {
    /// Braces that bash would not expand either, or a glob that is not one.
    Pattern {
        /// The whole pattern.
        pattern: String,
        /// What is wrong with it.
        fault: String,
    },
    /// A scheme that is not read, or one that needs a feature or an option.
    Scheme {
        /// The url as written.
        url: String,
        /// What is wrong with it.
        fault: String,
        /// What to do.
        help: &'static str,
    },
    /// Several shards in one text, as WebDataset's older versions take them.
    Joined {
        /// The url as written.
        url: String,
    },
    /// A named file does not exist.
    Missing {
        /// The path as written; the first one, where the pattern names several.
        url: String,
        /// How many more files of the same pattern are missing.
        more: usize,
        /// What is there instead.
        found: String,
    },
    /// A pattern that no file matches.
    NoMatch {
        /// The pattern as written.
        pattern: String,
        /// The folder that was searched and what is in it.
        found: String,
    },
    /// The same shard would be read twice per epoch.
    Twice {
        /// Its name.
        url: String,
    },
    /// `urls` has no entry.
    Empty,
}

impl UrlError {
    /// What is wrong.
    pub fn message(&self) -> String {
        match self {
            Self::Pattern { pattern, fault } => format!("`{pattern}` {fault}"),
            Self::Scheme { url, fault, .. } => format!("`{url}`: {fault}"),
            Self::Joined { url } => format!("`{url}` joins several shards with `::`"),
            Self::Missing { url, more: 0, .. } => format!("shard `{url}` is missing"),
            Self::Missing { url, more, .. } => format!("shard `{url}` is missing (and {more} more of its pattern)"),
            Self::NoMatch { pattern, .. } => format!("`{pattern}` matches no file"),
            Self::Twice { url } => format!("shard `{url}` is listed twice"),
            Self::Empty => "`urls` is empty".to_owned(),
        }
    }

    /// What to do, or what was found instead.
    pub fn help(&self) -> String {
        match self {
            Self::Pattern { .. } => {
                "a range is written {000..011}, a list {a,b}; each brace is closed, and `*` stands for any name"
                    .to_owned()
            }
            Self::Scheme { help, .. } => (*help).to_owned(),
            Self::Joined { url } => {
                let list: Vec<String> = url.split("::").map(|one| format!("{one:?}")).collect();
                format!("write a list: urls = [{}]", list.join(", "))
            }
            Self::Missing { found, .. } | Self::NoMatch { found, .. } => found.clone(),
            Self::Twice { .. } => "take one of them out of `urls`".to_owned(),
            Self::Empty => "name at least one shard".to_owned(),
        }
    }
}

impl std::fmt::Display for UrlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.message(), self.help())
    }
}

impl std::error::Error for UrlError {}

/// The shards that `patterns` name, in the order written; files of a glob sorted.
///
/// Relative paths are relative to `base`, the folder of the config; `pipe:` commands run there too.
///
/// # Errors
/// [`UrlError`], for the first pattern that cannot be used. Remote shards are
/// not looked up here.
pub fn resolve(patterns: &[String], base: &Path, pipes: Pipes) -> Result<Vec<Source>, UrlError> {
    let (shards, faults) = resolve_all(patterns, base, pipes);
    faults.into_iter().next().map_or(Ok(shards), Err)
}

/// As [`resolve`], with everything that is wrong: one fault per pattern.
pub fn resolve_all(patterns: &[String], base: &Path, pipes: Pipes) -> (Vec<Source>, Vec<UrlError>) {
    let (mut shards, mut faults) = (Vec::new(), Vec::new());
    for pattern in patterns {
        faults.extend(resolve_one(pattern, base, pipes, &mut shards).err());
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = shards.iter().find(|shard| !seen.insert(&shard.location)) {
        faults.push(UrlError::Twice { url: twice.url.clone() });
    }
    if shards.is_empty() && faults.is_empty() {
        faults.push(UrlError::Empty);
    }
    (shards, faults)
}

/// Adds the shards of one pattern.
fn resolve_one(pattern: &str, base: &Path, pipes: Pipes, shards: &mut Vec<Source>) -> Result<(), UrlError> {
    let piped = pattern.trim_start().starts_with(PIPE);
    if piped && pipes == Pipes::Refused {
        return Err(UrlError::Scheme {
            url: pattern.to_owned(),
            fault: "`pipe:` would run a shell command".to_owned(),
            help: "read the file itself, or an http(s)://, s3:// or gs:// url, or, if you trust whoever wrote this, set \
                   allow_pipes = true in the stage `shards`",
        });
    }
    let mut missing: Option<(String, usize)> = None;
    for url in expand_braces(pattern)? {
        if let Some(command) = url.trim_start().strip_prefix(PIPE).filter(|_| piped) {
            let location = Location::Pipe { command: command.to_owned(), folder: base.to_owned() };
            shards.push(Source { url, location });
        } else if let Some(remote) = remote(&url)? {
            shards.push(Source { url, location: Location::Remote(remote) });
        } else if !local(&url, base, shards)? {
            let (_, count) = missing.get_or_insert((url, 0));
            *count += 1;
        }
    }
    let Some((url, count)) = missing else { return Ok(()) };
    // Only where there is no such file: a name may have `::` in it.
    if url.contains("::") {
        return Err(UrlError::Joined { url: pattern.to_owned() });
    }
    let found = what_is_there(&base.join(without_scheme(&url)));
    Err(UrlError::Missing { url, more: count - 1, found })
}

/// The url of a remote shard; `None` for a local path.
fn remote(url: &str) -> Result<Option<Url>, UrlError> {
    let Some((scheme, _)) = url.split_once("://") else { return Ok(None) };
    let refuse = |fault: &str, help| Err(UrlError::Scheme { url: url.to_owned(), fault: fault.to_owned(), help });
    match scheme {
        "file" => Ok(None),
        "http" | "https" | "s3" | "gs" if !cfg!(feature = "cloud") => refuse(
            &format!("`{scheme}://` needs a build with the feature `cloud`"),
            "cargo build --features cloud, or copy the shard to this machine",
        ),
        "http" | "https" | "s3" | "gs" if url.contains('*') => {
            refuse("a remote folder is not listed", "name the shards with braces: name-{000..011}.tar")
        }
        "http" | "https" | "s3" | "gs" => match Url::parse(url) {
            Ok(parsed) if parsed.path().contains("::") => Err(UrlError::Joined { url: url.to_owned() }),
            Ok(parsed) if parsed.has_host() => Ok(Some(parsed)),
            Ok(_) => refuse("no host or bucket is named", "write scheme://host/path or s3://bucket/path"),
            Err(error) => refuse(&error.to_string(), "write scheme://host/path or s3://bucket/path"),
        },
        _ => refuse(&format!("`{scheme}://` is not read"), "use a path, http(s)://, s3:// or gs://"),
    }
}

fn without_scheme(url: &str) -> &str {
    url.strip_prefix("file://").unwrap_or(url)
}

/// Adds the files of a local path or glob; `false` if a path without a pattern does not exist.
fn local(url: &str, base: &Path, shards: &mut Vec<Source>) -> Result<bool, UrlError> {
    let written = without_scheme(url);
    let path = base.join(written);
    if path.is_file() {
        shards.push(Source { url: url.to_owned(), location: Location::Local(path) });
        return Ok(true);
    }
    if !written.contains(['*', '?', '[']) {
        return Ok(false);
    }

    // A `[` in the config's own folder is part of its name, not of the pattern.
    let prefix = if Path::new(written).is_absolute() { None } else { Some(base) };
    let full = match prefix.and_then(Path::to_str) {
        Some(base) if !base.is_empty() => format!("{}/{written}", glob::Pattern::escape(base)),
        _ => written.to_owned(),
    };
    let fault = |fault: String| UrlError::Pattern { pattern: url.to_owned(), fault };
    let mut found = Vec::new();
    for entry in glob::glob(&full).map_err(|error| fault(format!("is not a pattern: {error}")))? {
        let file = entry.map_err(|error| fault(format!("cannot be searched: {error}")))?;
        if file.is_file() {
            found.push(file);
        }
    }
    if found.is_empty() && url.contains("::") {
        return Err(UrlError::Joined { url: url.to_owned() });
    }
    if found.is_empty() {
        let fixed: PathBuf = path
            .components()
            .take_while(|part| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']))
            .collect();
        return Err(UrlError::NoMatch { pattern: url.to_owned(), found: what_is_there(&fixed) });
    }
    found.sort();
    shards.extend(found.into_iter().map(|file| {
        let name = prefix.and_then(|base| file.strip_prefix(base).ok()).unwrap_or(&file);
        Source { url: name.display().to_string(), location: Location::Local(file) }
    }));
    Ok(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        }
        dir
    }

    /// The message of each fault.
    fn faults(dir: &Path, patterns: &[&str]) -> Vec<String> {
        let patterns: Vec<String> = patterns.iter().map(|&p| p.to_owned()).collect();
        resolve_all(&patterns, dir, Pipes::Refused).1.iter().map(UrlError::message).collect()
    }

    fn names(dir: &Path, patterns: &[&str]) -> Result<Vec<String>, UrlError> {
        let patterns: Vec<String> = patterns.iter().map(|&p| p.to_owned()).collect();
        Ok(resolve(&patterns, dir, Pipes::Refused)?.into_iter().map(|shard| shard.url).collect())
    }

    #[test]
    fn paths_are_relative_to_the_config_and_globs_are_sorted() {
        let dir = folder(&["d/b-1.tar", "d/b-0.tar", "d/a.tar", "d/sub/c.tar", "d/[x].tar"]);
        let at = dir.path();
        assert_eq!(names(at, &["d/b-*.tar"]).unwrap(), ["d/b-0.tar", "d/b-1.tar"]);
        assert_eq!(names(at, &["d/b-{1,0}.tar", "d/a.tar"]).unwrap(), ["d/b-1.tar", "d/b-0.tar", "d/a.tar"]);
        assert_eq!(names(at, &["d/**/c.tar"]).unwrap(), ["d/sub/c.tar"]);
        assert_eq!(names(at, &["d/{a,b}*.tar"]).unwrap(), ["d/a.tar", "d/b-0.tar", "d/b-1.tar"]);
        assert_eq!(names(at, &["d/[x].tar"]).unwrap(), ["d/[x].tar"]);
        let absolute = at.join("d/a.tar");
        let absolute = absolute.to_str().unwrap();
        assert_eq!(names(Path::new("/elsewhere"), &[absolute]).unwrap(), [absolute]);
        assert_eq!(names(Path::new("/elsewhere"), &[&format!("file://{absolute}")]).unwrap().len(), 1);
        let shard = resolve(&["d/a.tar".to_owned()], at, Pipes::Refused).unwrap().remove(0);
        assert_eq!(shard.location, Location::Local(at.join("d/a.tar")));
    }

    #[test]
    fn a_folder_with_brackets_in_its_name_can_be_globbed() {
        let dir = folder(&["[odd]/a-0.tar", "[odd]/a-1.tar"]);
        assert_eq!(names(&dir.path().join("[odd]"), &["a-*.tar"]).unwrap(), ["a-0.tar", "a-1.tar"]);
    }

    #[test]
    fn what_is_missing_is_named_with_what_is_near() {
        let dir = folder(&["data/train-000.tar", "data/train-001.tar", "data/x", "data/y", "data/z"]);
        let error = |pattern: &str| names(dir.path(), &[pattern]).unwrap_err().to_string();
        let missing = error("data/train-{000..002}.tar");
        assert!(
            missing.contains("data/train-002.tar") && missing.contains("nearest name there is `train-00"),
            "{missing}"
        );
        assert!(error("dta/train-000.tar").contains("has no `dta`; the nearest name there is `data`"));
        let unmatched = error("data/*.tgz");
        assert!(unmatched.contains("matches no file") && unmatched.contains("and 2 more"), "{unmatched}");
        assert!(error("dat/*.tar").contains("nearest name there is `data`"));
        let here = names(Path::new(""), &["no-*.tar"]).unwrap_err().to_string();
        assert!(here.contains("`no-*.tar` matches no file: the current folder has "), "{here}");
        assert!(error("~/a.tar").contains("`~` is not expanded"));
        assert!(error("data").contains("is missing"));
        assert!(error("data/a[.tar").contains("data/a["));
    }

    #[test]
    fn each_pattern_has_a_fault_of_its_own() {
        let dir = folder(&["a-0.tar", "a-3.tar", "b.tar", "c::d.tar"]);
        let at = dir.path();
        let found =
            faults(at, &["a-{0..3}.tar", "b.tar", "a-{0..3.tar", "ftp://x/y.tar", "no-*.tar", "pipe:cat b.tar"]);
        assert_eq!(
            found,
            [
                "shard `a-1.tar` is missing (and 1 more of its pattern)",
                "`a-{0..3.tar` has a `{` that is never closed",
                "`ftp://x/y.tar`: `ftp://` is not read",
                "`no-*.tar` matches no file",
                "`pipe:cat b.tar`: `pipe:` would run a shell command",
            ]
        );
        assert_eq!(faults(at, &["c::d.tar"]), [""; 0]);
        assert_eq!(faults(at, &["b.tar::a-0.tar"]), ["`b.tar::a-0.tar` joins several shards with `::`"]);
        let help = names(at, &["b.tar::a-{0..1}.tar"]).unwrap_err().help();
        assert_eq!(help, r#"write a list: urls = ["b.tar", "a-{0..1}.tar"]"#);
    }

    #[test]
    fn what_is_not_read_is_refused_with_a_reason() {
        let error = |pattern: &str| names(Path::new("."), &[pattern]).unwrap_err().to_string();
        let pipe = "pipe:curl -s http://x/{0..1}.tar";
        assert!(error(pipe).contains("shell command") && error(pipe).contains("allow_pipes = true"));
        let allowed = resolve(&[pipe.to_owned()], Path::new("at"), Pipes::Allowed).unwrap();
        let command = |n| Location::Pipe { command: format!("curl -s http://x/{n}.tar"), folder: "at".into() };
        assert_eq!(allowed.into_iter().map(|shard| shard.location).collect::<Vec<_>>(), [command(0), command(1)]);
        assert!(error("ftp://host/a.tar").contains("`ftp://` is not read"));
        assert_eq!(names(Path::new("."), &[]).unwrap_err(), UrlError::Empty);
        let dir = folder(&["a.tar"]);
        assert_eq!(names(dir.path(), &["a.tar", "*.tar"]).unwrap_err(), UrlError::Twice { url: "a.tar".to_owned() });
        if cfg!(feature = "cloud") {
            assert_eq!(names(Path::new("."), &["s3://b/{0..1}.tar"]).unwrap(), ["s3://b/0.tar", "s3://b/1.tar"]);
            assert!(error("s3://b/*.tar").contains("braces"));
            assert!(error("s3:///a.tar").contains("s3:///a.tar"));
        } else {
            assert!(error("s3://b/0.tar").contains("--features cloud"));
            assert!(error("http://b/0.tar").contains("--features cloud"));
        }
    }
}
