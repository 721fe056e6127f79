//! What images show, from the shards themselves: members `KEY.json`.

use std::path::Path;

use benchmarks::files::FileError;
use serde::Deserialize;
use stage_shards::{Location, Pipes, resolve};

use super::{Known, KnownError, Listed, names_of};

/// KEY.json.
#[derive(Deserialize)]
struct Member {
    objects: Vec<Object>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Object {
    Name(String),
    Named {
        #[serde(alias = "name", alias = "category")]
        kind: String,
    },
}

impl Object {
    fn name(self) -> String {
        match self {
            Self::Name(name) | Self::Named { kind: name } => name,
        }
    }
}

impl Known {
    /// From the shards themselves: `objects` of each KEY.json, a list of names or of objects with a
    /// `kind`, `name` or `category`. What is not listed is absent.
    ///
    /// # Errors
    /// A shard that cannot be read (only local ones can), or has no such member.
    pub fn from_members(shards: &[String], base: &Path, least: u32) -> Result<Self, KnownError> {
        let fault = KnownError::Shards;
        let mut listed = Vec::new();
        for source in resolve(shards, base, Pipes::Refused).map_err(|e| fault(e.to_string()))? {
            let Location::Local(path) = &source.location else {
                return Err(fault(format!(
                    "shard `{}` is not on this machine; give a table of what images show",
                    source.url
                )));
            };
            let read = |source| FileError::Read { path: path.clone(), source };
            let mut archive = tar::Archive::new(std::fs::File::open(path).map_err(read)?);
            for entry in archive.entries().map_err(read)? {
                let entry = entry.map_err(read)?;
                let name = entry.path().map_err(read)?.display().to_string();
                let Some(key) = name.strip_suffix(".json") else { continue };
                let wrong = |message: String| fault(format!("shard `{}`: {name}: {message}", source.url));
                let member: Member = serde_json::from_reader(entry).map_err(|e| wrong(e.to_string()))?;
                let present = member.objects.into_iter().map(Object::name).collect();
                listed.push(Listed { image: key.to_owned(), present, ..Listed::default() });
            }
        }
        if listed.is_empty() {
            return Err(fault(format!("no KEY.json with `objects` in {}; give --truth FILE", shards.join(", "))));
        }
        let names = names_of(&listed);
        Self::from_listed(listed, &names, least)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::names;
    use super::*;

    fn shard(path: &Path, members: &[(&str, &str)]) {
        let mut builder = tar::Builder::new(std::fs::File::create(path).unwrap());
        for (name, text) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        builder.finish().unwrap();
    }

    #[test]
    fn objects_are_names_or_have_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        let one = (r"0.json", r#"{"objects":["dog","ball"]}"#);
        shard(&path, &[("0.txt", "x"), one, ("1.json", r#"{"objects":[{"kind":"cat"},{"category":"dog"}]}"#)]);
        let known = Known::from_members(&["a.tar".to_owned()], folder.path(), 1).unwrap();
        assert_eq!(known.pictures[1].image, "1");
        assert_eq!(names(&known, &known.pictures[1].present), ["cat", "dog"]);
        assert_eq!(names(&known, &known.pictures[1].absent), ["ball"]);
        shard(&path, &[one, ("1.json", "{}")]);
        let said = Known::from_members(&["a.tar".to_owned()], folder.path(), 1).unwrap_err().to_string();
        assert!(said.contains("shard `a.tar`: 1.json: missing field `objects`"), "{said}");
        shard(&path, &[("0.txt", "x")]);
        let said = Known::from_members(&["a.tar".to_owned()], folder.path(), 1).unwrap_err().to_string();
        assert!(said.contains("no KEY.json"), "{said}");
    }
}
