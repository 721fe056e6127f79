//! Keys of samples, and the paths of the pictures that they stand for.

/// A part of a path as `pipeline pack` writes it in a key: a key ends at the first dot of the file name, so that it has
/// none, nor spaces.
pub fn packed_name(name: &str) -> String {
    name.replace(['/', '\\', '.', ' '], "_")
}

/// The keys that a picture may have in shards, by its path; the likeliest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// Whole keys: the path and each shorter end of it, as `pipeline pack` writes it and up to the first dot of the file
    /// name. The file name alone is among them only if the path has no folder.
    pub whole: Vec<String>,
    /// The file name alone, likewise.
    pub names: Vec<String>,
}

impl Keys {
    /// Those of the picture at `path`.
    pub fn of(path: &str) -> Self {
        let parts: Vec<&str> = path.split(['/', '\\']).filter(|part| !part.is_empty() && *part != ".").collect();
        let Some((file, folders)) = parts.split_last() else { return Self::default() };
        let to_first_dot = file.split('.').next().unwrap_or_default().to_owned();
        let packed = packed_name(file.rsplit_once('.').map_or(*file, |(stem, _)| stem));
        let packed_folders: Vec<String> = folders.iter().map(|folder| packed_name(folder)).collect();
        let mut whole = Vec::new();
        for from in 0..folders.len() {
            whole.push(format!("{}/{packed}", packed_folders[from..].join("/")));
            whole.push(format!("{}/{to_first_dot}", folders[from..].join("/")));
            // As `pack` wrote folders before keys had slashes.
            whole.push(format!("{}_{packed}", packed_folders[from..].join("_")));
        }
        let names = vec![packed, to_first_dot];
        if folders.is_empty() {
            whole.clone_from(&names);
        }
        Self { whole, names }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_the_keys_of_its_ends() {
        let keys = Keys::of("./data/val.2017/a dog.1.jpg");
        assert_eq!(
            keys.whole,
            [
                "data/val_2017/a_dog_1",
                "data/val.2017/a dog",
                "data_val_2017_a_dog_1",
                "val_2017/a_dog_1",
                "val.2017/a dog",
                "val_2017_a_dog_1"
            ]
        );
        assert_eq!(keys.names, ["a_dog_1", "a dog"]);
        assert_eq!(Keys::of("a.jpg").whole, ["a", "a"]);
        assert_eq!(Keys::of(""), Keys::default());
    }
}
