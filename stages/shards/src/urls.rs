//! From what the config says (`train-{000..011}.tar`, globs, lists) to shards.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use url::Url;

use crate::pipe::PREFIX;

/// Where the bytes of a shard are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Location {
    /// A file on this machine.
    Local(PathBuf),
    /// An `http(s)://`, `s3://` or `gs://` object.
    Remote(Url),
    /// What a shell command prints.
    Pipe {
        /// The command.
        command: String,
        /// Where it is run.
        folder: PathBuf,
    },
}

/// Whether `pipe:` in a list of shards may run a shell command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pipes {
    /// It is an error.
    Refused,
    /// It runs.
    Allowed,
}

/// A shard: the name it goes by, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// As written in the config after expansion; relative paths stay relative,
    /// so that the name survives a move of the whole project.
    pub url: String,
    /// Where to read it.
    pub location: Location,
}

/// What is wrong with the `urls` of the config.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UrlError {
    /// Braces that bash would not expand either.
    #[error("`{pattern}`: {fault}")]
    Braces {
        /// The pattern, whole.
        pattern: String,
        /// What is wrong with it.
        fault: String,
    },
    /// A scheme that is not read, or one that needs a feature.
    #[error("`{url}`: {reason}")]
    Scheme {
        /// The url as written.
        url: String,
        /// Why, and what to do.
        reason: String,
    },
    /// A named file is not there.
    #[error("shard `{url}` is missing: {found}")]
    Missing {
        /// The path as written.
        url: String,
        /// What is there instead.
        found: String,
    },
    /// A pattern that no file matches.
    #[error("`{pattern}` matches no file: {found}")]
    NoMatch {
        /// The pattern as written.
        pattern: String,
        /// The folder looked in and what is there.
        found: String,
    },
    /// The same shard would be read twice an epoch.
    #[error("shard `{url}` is listed twice: take one of them out of `urls`")]
    Twice {
        /// Its name.
        url: String,
    },
    /// `urls` has no entry.
    #[error("`urls` is empty: name at least one shard")]
    Empty,
}

/// More shards than this from one pattern is a typing error.
const MOST: usize = 1_000_000;
/// And so are names of more bytes than this, in all.
const MOST_BYTES: usize = 256 << 20;
/// Braces in a pattern, one in another or one behind another.
const MOST_BRACES: usize = 100;
/// The most digits of a number that is padded.
const MOST_DIGITS: usize = 64;

/// The shards that `patterns` name, in the order written; files of a glob sorted.
///
/// Relative paths are relative to `base`, the folder of the config; there `pipe:` runs too.
///
/// # Errors
/// [`UrlError`], for the first pattern that cannot be used. Remote shards are
/// not looked for here.
pub fn resolve(patterns: &[String], base: &Path, pipes: Pipes) -> Result<Vec<Source>, UrlError> {
    let mut shards = Vec::new();
    for pattern in patterns {
        let piped = pattern.trim_start().starts_with(PREFIX);
        if piped && pipes == Pipes::Refused {
            let reason = "`pipe:` would run a shell command; read the file itself, or an http(s)://, s3:// or gs:// \
                          url, or, if you trust whoever wrote this, set allow_pipes = true in the stage `shards`";
            return Err(UrlError::Scheme { url: pattern.clone(), reason: reason.to_owned() });
        }
        for url in expand_braces(pattern)? {
            if let Some(command) = url.trim_start().strip_prefix(PREFIX).filter(|_| piped) {
                let location = Location::Pipe { command: command.to_owned(), folder: base.to_owned() };
                shards.push(Source { url, location });
                continue;
            }
            match remote(&url)? {
                Some(remote) => shards.push(Source { url, location: Location::Remote(remote) }),
                None => local(&url, base, &mut shards)?,
            }
        }
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = shards.iter().find(|shard| !seen.insert(&shard.location)) {
        return Err(UrlError::Twice { url: twice.url.clone() });
    }
    if shards.is_empty() { Err(UrlError::Empty) } else { Ok(shards) }
}

/// The url behind a remote shard; `None` for a local path.
fn remote(url: &str) -> Result<Option<Url>, UrlError> {
    let Some((scheme, _)) = url.split_once("://") else { return Ok(None) };
    let refuse = |reason: String| Err(UrlError::Scheme { url: url.to_owned(), reason });
    match scheme {
        "file" => Ok(None),
        "http" | "https" | "s3" | "gs" if !cfg!(feature = "cloud") => {
            refuse(format!("`{scheme}://` needs a build with the feature `cloud` (cargo build --features cloud)"))
        }
        "http" | "https" | "s3" | "gs" if url.contains('*') => {
            refuse("a remote folder is not listed; name the shards with braces: name-{000..011}.tar".to_owned())
        }
        "http" | "https" | "s3" | "gs" => match Url::parse(url) {
            Ok(parsed) if parsed.has_host() => Ok(Some(parsed)),
            Ok(_) => refuse("no host or bucket is named".to_owned()),
            Err(error) => refuse(error.to_string()),
        },
        _ => refuse(format!("`{scheme}://` is not read; use a path, http(s)://, s3:// or gs://")),
    }
}

/// Adds the files behind a local path or glob.
fn local(url: &str, base: &Path, shards: &mut Vec<Source>) -> Result<(), UrlError> {
    let written = url.strip_prefix("file://").unwrap_or(url);
    let path = base.join(written);
    if path.is_file() {
        shards.push(Source { url: url.to_owned(), location: Location::Local(path) });
        return Ok(());
    }
    if !written.contains(['*', '?', '[']) {
        return Err(UrlError::Missing { url: url.to_owned(), found: what_is_there(&path) });
    }

    // A `[` in the config's own folder is part of its name, not of the pattern.
    let prefix = if Path::new(written).is_absolute() { None } else { Some(base) };
    let full = match prefix.and_then(Path::to_str) {
        Some(base) if !base.is_empty() => format!("{}/{written}", glob::Pattern::escape(base)),
        _ => written.to_owned(),
    };
    let fault = |fault: String| UrlError::Braces { pattern: url.to_owned(), fault };
    let mut found = Vec::new();
    for entry in glob::glob(&full).map_err(|error| fault(error.to_string()))? {
        let file = entry.map_err(|error| fault(error.to_string()))?;
        if file.is_file() {
            found.push(file);
        }
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
    Ok(())
}

/// One sentence on where the way to `path` ends and what is near it there.
fn what_is_there(path: &Path) -> String {
    // What a pattern without a folder leaves.
    if path.as_os_str().is_empty() {
        return format!("the current folder has {}", some_of(&names_in(Path::new("."))));
    }
    if path.is_dir() {
        return format!("{} has {}", path.display(), some_of(&names_in(path)));
    }
    let folder = path.ancestors().skip(1).find(|folder| folder.as_os_str().is_empty() || folder.is_dir());
    let folder = match folder {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let wanted = path.strip_prefix(folder).ok().and_then(|rest| rest.components().next());
    let wanted =
        wanted.map_or_else(|| path.display().to_string(), |part| part.as_os_str().to_string_lossy().into_owned());
    let tilde = if wanted == "~" { " (`~` is not expanded: write the whole path)" } else { "" };
    let names = names_in(folder);
    let near = names
        .iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(name, &wanted), name))
        .filter(|(likeness, _)| *likeness > 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match near {
        Some((_, name)) => format!("{} has no `{wanted}`{tilde}; the nearest name there is `{name}`", folder.display()),
        None => format!("{} has no `{wanted}`{tilde}; it has {}", folder.display(), some_of(&names)),
    }
}

/// The names in a folder, sorted; of a huge folder only a part.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().take(10_000);
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn some_of(names: &[String]) -> String {
    match names {
        [] => "nothing in it".to_owned(),
        [a, b, c, _, rest @ ..] => format!("{a}, {b}, {c} and {} more", rest.len() + 1),
        few => few.join(", "),
    }
}

/// Expands braces as bash does: `{a,b}`, `{000..011}`, `{0..10..2}`, `{a..e}`, nested.
///
/// Numbers are padded to the longer end when one of them starts with a zero.
/// Braces without a comma or a range stay as they are.
///
/// # Errors
/// [`UrlError::Braces`] when a brace is not closed or opened, when there are more than 100
/// of them, or when there would be more than a million shards.
pub fn expand_braces(pattern: &str) -> Result<Vec<String>, UrlError> {
    expand(pattern, &mut 0).map_err(|fault| UrlError::Braces { pattern: pattern.to_owned(), fault })
}

/// `braces` counts those that were opened so far: each is a call that waits for others.
fn expand(pattern: &str, braces: &mut usize) -> Result<Vec<String>, String> {
    let Some(open) = pattern.find('{') else {
        return match pattern.contains('}') {
            true => Err("a `}` closes nothing".to_owned()),
            false => Ok(vec![pattern.to_owned()]),
        };
    };
    *braces += 1;
    if *braces > MOST_BRACES {
        return Err(format!("has more than {MOST_BRACES} braces"));
    }
    let (head, inside) = (&pattern[..open], &pattern[open + 1..]);
    if head.contains('}') {
        return Err("a `}` closes nothing".to_owned());
    }

    // The matching brace, and the commas on the way that are not in inner braces.
    let (mut level, mut close, mut parts, mut from) = (0usize, None, Vec::new(), 0);
    for (at, char) in inside.char_indices() {
        match char {
            '{' => level += 1,
            '}' if level > 0 => level -= 1,
            '}' => {
                close = Some(at);
                break;
            }
            ',' if level == 0 => {
                parts.push(&inside[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    let close = close.ok_or("a `{` is never closed")?;
    parts.push(&inside[from..close]);

    let mut middles = Vec::new();
    if parts.len() > 1 {
        for part in parts {
            middles.extend(expand(part, braces)?);
            fits(middles.len(), middles.iter().map(String::len).max().unwrap_or(0))?;
        }
    } else if let Some(range) = range(parts[0])? {
        middles = range;
    } else {
        middles.extend(expand(parts[0], braces)?.into_iter().map(|text| format!("{{{text}}}")));
    }

    let tails = expand(&inside[close + 1..], braces)?;
    let longest = |texts: &[String]| texts.iter().map(String::len).max().unwrap_or(0);
    fits(middles.len().saturating_mul(tails.len()), head.len() + longest(&middles) + longest(&tails))?;
    Ok(middles.iter().flat_map(|middle| tails.iter().map(move |tail| format!("{head}{middle}{tail}"))).collect())
}

/// So many names of at most `length` bytes.
fn fits(count: usize, length: usize) -> Result<(), String> {
    if count > MOST {
        return Err(format!("expands to more than {MOST} shards"));
    }
    match count.saturating_mul(length) > MOST_BYTES {
        true => Err(format!("expands to names of more than {} MiB", MOST_BYTES >> 20)),
        false => Ok(()),
    }
}

/// `1..3`, `000..011`, `a..e`, each with an optional `..step`; `None` for anything else.
fn range(text: &str) -> Result<Option<Vec<String>>, String> {
    let ends: Vec<&str> = text.split("..").collect();
    let (first, last, step) = match ends[..] {
        [first, last] => (first, last, "1"),
        [first, last, step] => (first, last, step),
        _ => return Ok(None),
    };
    let Ok(step) = step.parse::<i64>().map(i64::unsigned_abs) else { return Ok(None) };
    let step = step.max(1);
    if let (Ok(a), Ok(b)) = (first.parse::<i64>(), last.parse::<i64>()) {
        let padded = |end: &str| end.trim_start_matches('-').starts_with('0') && end.trim_start_matches('-').len() > 1;
        let width = if padded(first) || padded(last) { first.len().max(last.len()) } else { 0 };
        if width > MOST_DIGITS {
            return Err(format!("a number of more than {MOST_DIGITS} digits"));
        }
        return Ok(Some(steps(a, b, step)?.map(|n| format!("{n:0width$}")).collect()));
    }
    let letter = |end: &str| match end.as_bytes() {
        [byte] if byte.is_ascii_alphabetic() => Some(i64::from(*byte)),
        _ => None,
    };
    let (Some(a), Some(b)) = (letter(first), letter(last)) else { return Ok(None) };
    Ok(Some(steps(a, b, step)?.map(|n| char::from(n as u8).to_string()).collect()))
}

/// From `a` to `b`, both included, up or down.
fn steps(a: i64, b: i64, step: u64) -> Result<impl Iterator<Item = i64>, String> {
    let count = a.abs_diff(b) / step;
    if count >= MOST as u64 {
        return Err(format!("expands to more than {MOST} shards"));
    }
    Ok((0..=count).map(move |k| {
        // Between the ends, but the way there may be longer than an i64.
        let offset = (k * step) as i64;
        if a <= b { a.wrapping_add(offset) } else { a.wrapping_sub(offset) }
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn join(pattern: &str) -> String {
        expand_braces(pattern).unwrap().join(" ")
    }

    #[test]
    fn braces_expand_as_in_bash() {
        let table = [
            ("a.tar", "a.tar"),
            ("s-{000..003}.tar", "s-000.tar s-001.tar s-002.tar s-003.tar"),
            ("{8..11}", "8 9 10 11"),
            ("{08..11}", "08 09 10 11"),
            ("{0..100..50}", "0 50 100"),
            ("{000..5..2}", "000 002 004"),
            ("{3..1}", "3 2 1"),
            ("{-1..1}", "-1 0 1"),
            ("{-01..1}", "-01 000 001"),
            ("{a..d}", "a b c d"),
            ("{a,b}{1..2}", "a1 a2 b1 b2"),
            ("{a,}x", "ax x"),
            ("x{a,b{1..2},{c,d}e}y", "xay xb1y xb2y xcey xdey"),
            ("{{0..1},5}", "0 1 5"),
            ("{}", "{}"),
            ("{a}", "{a}"),
            ("{a{1,2}}", "{a1} {a2}"),
            ("{1..b}", "{1..b}"),
            (
                "{-9223372036854775808..9223372036854775807..9223372036854775807}",
                "-9223372036854775808 -1 9223372036854775806",
            ),
            ("{train,dev}/x-{00..01}.tar", "train/x-00.tar train/x-01.tar dev/x-00.tar dev/x-01.tar"),
        ];
        for (pattern, want) in table {
            assert_eq!(join(pattern), want, "{pattern}");
        }
    }

    #[test]
    fn broken_braces_say_what_is_wrong() {
        for (pattern, part) in [
            ("s-{000..003.tar", "never closed"),
            ("s-000..003}.tar", "closes nothing"),
            ("{a,b}}", "closes nothing"),
            ("{0..9999999}", "more than 1000000"),
            ("{-9223372036854775808..9223372036854775807}", "more than 1000000"),
            ("{0..999}{0..999}{0..999}", "more than 1000000"),
            (&"{".repeat(40), "never closed"),
            (&format!("{}a{}", "{".repeat(101), "}".repeat(101)), "more than 100 braces"),
            (&"{a}".repeat(101), "more than 100 braces"),
            // Each is within bounds, and all together are not.
            (&format!("{{{}{{0..999999}}}}", "{0..999999},".repeat(30)), "more than 1000000"),
            (&format!("{}{{0..999999}}", "x".repeat(300)), "more than 256 MiB"),
            (&format!("{{{}1..2}}", "0".repeat(70_000)), "more than 64 digits"),
        ] {
            let error = expand_braces(pattern).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(pattern), "{error}");
        }
    }

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        }
        dir
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
