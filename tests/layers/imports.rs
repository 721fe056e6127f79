//! The imports between the files of a crate, with re-exports followed to the file that defines the item.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A module's path within the crate: `["config", "options"]`.
type Module = Vec<String>;

/// What one file imports and re-exports, as paths.
#[derive(Default)]
struct File {
    /// Its path below the folder: `config/options.rs`.
    name: String,
    uses: Vec<Vec<String>>,
    /// `pub use`: the name that it gives, and the path behind it.
    gives: BTreeMap<String, Vec<String>>,
}

/// The imports of a crate.
pub struct Imports {
    files: BTreeMap<Module, File>,
    edges: BTreeSet<(String, String)>,
}

impl Imports {
    /// Reads the files below the `src` of a crate.
    pub fn of(src: &Path) -> Self {
        let mut files = BTreeMap::new();
        read(src, src, &mut files);
        let mut imports = Self { files, edges: BTreeSet::new() };
        for (module, file) in &imports.files {
            // The root only re-exports.
            for path in file.uses.iter().filter(|_| !module.is_empty()) {
                if let Some(found) = imports.resolve(module, path, 0).filter(|found| *found != file.name) {
                    imports.edges.insert((file.name.clone(), found));
                }
            }
        }
        imports
    }

    /// Pairs of a file and one that it imports.
    pub fn edges(&self) -> impl Iterator<Item = (&str, &str)> {
        self.edges.iter().map(|(from, to)| (from.as_str(), to.as_str()))
    }

    /// Groups of files that all import each other, directly or not.
    pub fn circles(&self) -> Vec<BTreeSet<&str>> {
        let reach = |from: &str| -> BTreeSet<&str> {
            let (mut found, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
            while let Some(file) = open.pop() {
                for (_, next) in self.edges().filter(|(from, _)| *from == file) {
                    if found.insert(next) {
                        open.push(next.to_owned());
                    }
                }
            }
            found
        };
        let files: BTreeSet<&str> = self.edges().map(|(from, _)| from).collect();
        let all: BTreeMap<&str, BTreeSet<&str>> = files.iter().map(|file| (*file, reach(file))).collect();
        let circle = |file: &&str| -> BTreeSet<&str> {
            all[*file].iter().copied().filter(|other| all.get(other).is_some_and(|back| back.contains(*file))).collect()
        };
        let circles: BTreeSet<_> = files.iter().map(circle).filter(|circle| !circle.is_empty()).collect();
        circles.into_iter().collect()
    }

    /// The file that defines what `path` names, seen from `module`.
    fn resolve(&self, module: &Module, path: &[String], depth: usize) -> Option<String> {
        assert!(depth < 20, "re-exports in a circle at {path:?}");
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => Module::new(),
            "self" => module.clone(),
            "super" => module.split_last()?.1.to_vec(),
            // A path that starts with a module of this file's own.
            _ => {
                rest = path;
                module.clone()
            }
        };
        let begin = at.clone();
        while let Some((name, more)) = rest.split_first() {
            if name == "super" {
                at.pop();
                rest = more;
                continue;
            }
            let child: Module = at.iter().chain([name]).cloned().collect();
            if self.files.contains_key(&child) {
                (at, rest) = (child, more);
                continue;
            }
            if let Some(given) = self.files[&at].gives.get(name) {
                return self.resolve(&at, given, depth + 1);
            }
            break;
        }
        // Another crate's item has no module here.
        let is_ours = at != begin || ["crate", "self", "super"].contains(&first.as_str());
        // What the root has beside its modules are macros, which any file may use.
        (is_ours && !at.is_empty()).then(|| self.files[&at].name.clone())
    }
}

fn read(src: &Path, folder: &Path, files: &mut BTreeMap<Module, File>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(src, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let below = path.strip_prefix(src).unwrap();
            let mut module: Module =
                below.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
            if module.last().is_some_and(|last| ["mod", "lib"].contains(&last.as_str())) {
                module.pop();
            }
            let mut file = parse(&std::fs::read_to_string(&path).unwrap());
            file.name = below.to_string_lossy().replace('\\', "/");
            files.insert(module, file);
        }
    }
}

/// Finds the paths in a file's code. Unit tests stand at its end, and may use what they like.
fn parse(text: &str) -> File {
    let code: String = text
        .split("#[cfg(test)]\nmod tests")
        .next()
        .unwrap()
        .lines()
        .map(|line| line.split("//").next().unwrap())
        .filter(|line| !line.contains("$crate"))
        .map(|line| line.to_owned() + "\n")
        .collect();
    let mut file = File::default();
    for statement in code.split(';') {
        let Some(start) = find_use(statement) else {
            file.uses.extend(inline(statement));
            continue;
        };
        let (before, tree) = statement.split_at(start);
        file.uses.extend(inline(before));
        let is_public = last_line(before).starts_with("pub");
        let mut paths = Vec::new();
        expand(&[], tree.trim_start_matches("use ").trim(), &mut paths);
        for path in paths {
            let (path, name) = match path.as_slice() {
                [path @ .., word, new] if word == "as" => (path.to_vec(), Some(new.clone())),
                _ => (path.clone(), path.last().cloned()),
            };
            match name.filter(|_| is_public) {
                Some(name) => drop(file.gives.insert(name, path)),
                None => file.uses.push(path),
            }
        }
    }
    file
}

/// Where a `use` starts in a statement.
fn find_use(statement: &str) -> Option<usize> {
    let place = statement.rfind("use ")?;
    let before = last_line(&statement[..place]);
    (before.is_empty() || before.starts_with("pub")).then_some(place)
}

fn last_line(text: &str) -> &str {
    text.rsplit('\n').next().unwrap_or_default().trim()
}

/// Paths that start with `crate::` or `super::`, outside of `use`.
fn inline(code: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for start in ["crate::", "super::"] {
        for (place, _) in code.match_indices(start) {
            let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            if !code[..place].ends_with(is_word) {
                let path: String = code[place..].chars().take_while(|c| is_word(*c)).collect();
                paths.push(path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect());
            }
        }
    }
    paths
}

/// `a::{b, c::{d as e}}` as `a::b` and `a::c::d as e`; `as` and the new name are parts of their own.
fn expand(head: &[String], tree: &str, paths: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    if let Some((before, list)) = tree.split_once('{') {
        let head: Vec<String> = head
            .iter()
            .cloned()
            .chain(before.split("::").map(|part| part.trim().to_owned()))
            .filter(|p| !p.is_empty())
            .collect();
        let list = list.trim_end().strip_suffix('}').unwrap_or(list);
        let (mut depth, mut from) = (0, 0);
        for (place, c) in list.char_indices().chain([(list.len(), ',')]) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    if !list[from..place].trim().is_empty() {
                        expand(&head, &list[from..place], paths);
                    }
                    from = place + 1;
                }
                _ => {}
            }
        }
    } else {
        let parts = tree.split("::").flat_map(|part| part.split_whitespace()).map(str::to_owned);
        let mut path: Vec<String> = head.iter().cloned().chain(parts).collect();
        // `a::{self}` is `a`; a glob is its module.
        if path.last().is_some_and(|last| ["self", "*"].contains(&last.as_str())) && path.len() > 1 {
            path.pop();
        }
        paths.push(path);
    }
}
