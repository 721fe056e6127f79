//! Where a path that does not exist stops existing, for messages.

use std::path::Path;

/// One sentence about a `path` that does not exist: the last folder on the way to it that does, and
/// the nearest name in there.
pub(super) fn what_is_there(path: &Path) -> String {
    // The path of a pattern without a folder.
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

/// The names in a folder, sorted; only a part of a huge folder.
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
