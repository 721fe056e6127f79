//! What `weights` names, as a path on this machine: a path as it is, or `hf:owner/name[@revision]`,
//! a repository of the Hugging Face hub that is fetched into the hub's own cache.
//!
//! The cache is the one that `huggingface_hub` and `transformers` use, so what one has fetched
//! serves the other. `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE` mean
//! what they mean there.

#[cfg(feature = "fetch")]
mod fetch;

use std::path::{Path, PathBuf};

#[cfg(feature = "fetch")]
pub use fetch::Hub;

/// What the name of a repository begins with.
pub const SCHEME: &str = "hf:";

/// A repository and a revision of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// `owner/name`.
    pub repository: String,
    /// A branch, a tag or a commit; `main` where none is given.
    pub revision: String,
}

/// Why a name gave no folder.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Not `hf:owner/name[@revision]`.
    #[error("{0:?} is not of the form hf:owner/name or hf:owner/name@revision")]
    Name(String),
    /// This build cannot fetch.
    #[error(
        "{0} is on the Hugging Face hub, and this build does not fetch; \
         build with `--features hub`, or give the path of a downloaded folder"
    )]
    NoFeature(String),
    /// The hub refused.
    #[error("hf:{name}: {endpoint} says {status}: {hint}")]
    Refused {
        /// Repository and revision.
        name: String,
        /// The hub's address.
        endpoint: String,
        /// HTTP status.
        status: u16,
        /// What to do.
        hint: &'static str,
    },
    /// The hub could not be asked, or broke off, and the cache does not help.
    #[error("hf:{name}{}: {message}", .file.as_ref().map(|file| format!(", {file}")).unwrap_or_default())]
    Failed {
        /// Repository and revision.
        name: String,
        /// The file that was fetched, if it came so far.
        file: Option<String>,
        /// What went wrong, and what to do.
        message: String,
    },
    /// A repository without a CLIP checkpoint.
    #[error(
        "hf:{name} holds no CLIP checkpoint: it needs config.json with model.safetensors or pytorch_model.bin, or \
         open_clip_config.json with open_clip_model.safetensors; it has {found}"
    )]
    NoCheckpoint {
        /// Repository and revision.
        name: String,
        /// Its files, the first of them.
        found: String,
    },
}

impl Name {
    /// Reads what follows `hf:`.
    ///
    /// # Errors
    /// [`HubError::Name`]: parts become parts of paths, so they hold letters, digits and `.-_` only.
    pub fn parse(text: &str) -> Result<Self, HubError> {
        let wrong = || HubError::Name(format!("{SCHEME}{text}"));
        let (repository, revision) = text.split_once('@').unwrap_or((text, "main"));
        let part = |part: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            !part.is_empty() && !part.starts_with('.') && part.chars().all(known)
        };
        let parts = repository.split('/').count();
        if !repository.split('/').all(part) || !(1..=2).contains(&parts) || !revision.split('/').all(part) {
            return Err(wrong());
        }
        Ok(Self { repository: repository.to_owned(), revision: revision.to_owned() })
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.revision.as_str() {
            "main" => write!(f, "{}", self.repository),
            revision => write!(f, "{}@{revision}", self.repository),
        }
    }
}

/// The path that `weights` means; relative ones are relative to `base`. Fetches what is on the hub,
/// once in the life of this process.
///
/// # Errors
/// [`HubError`], for a name on the hub only.
pub fn resolve(weights: &Path, base: &Path) -> Result<PathBuf, HubError> {
    match weights.to_str().and_then(|text| text.strip_prefix(SCHEME)) {
        None => Ok(base.join(weights)),
        Some(text) => fetch_once(Name::parse(text)?),
    }
}

#[cfg(not(feature = "fetch"))]
fn fetch_once(name: Name) -> Result<PathBuf, HubError> {
    Err(HubError::NoFeature(format!("{SCHEME}{name}")))
}

#[cfg(feature = "fetch")]
fn fetch_once(name: Name) -> Result<PathBuf, HubError> {
    use std::collections::BTreeMap;
    use std::sync::{Mutex, PoisonError};
    // Held while fetching: stages that are built beside each other ask for the same weights.
    static FETCHED: Mutex<BTreeMap<Name, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut fetched = FETCHED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(folder) = fetched.get(&name) {
        return Ok(folder.clone());
    }
    let folder = Hub::from_env(&name)?.fetch(&name)?;
    fetched.insert(name, folder.clone());
    Ok(folder)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_parts_of_paths_and_nothing_else() {
        let name = Name::parse("openai/clip-vit-base-patch32").unwrap();
        assert_eq!((name.repository.as_str(), name.revision.as_str()), ("openai/clip-vit-base-patch32", "main"));
        assert_eq!(name.to_string(), "openai/clip-vit-base-patch32");
        let name = Name::parse("me/clip@refs/pr/3").unwrap();
        assert_eq!((name.revision.as_str(), name.to_string().as_str()), ("refs/pr/3", "me/clip@refs/pr/3"));
        for wrong in ["", "a/b/c", "a//b", "../b", "a/..", "a/b@", "a/b@../../x", "a/b@/x", "a b/c", "a/b@x y", "a\\b"]
        {
            let message = Name::parse(wrong).unwrap_err().to_string();
            assert!(message.contains("hf:owner/name@revision"), "{wrong}: {message}");
        }
    }

    #[test]
    fn paths_stay_paths() {
        let base = Path::new("/configs");
        assert_eq!(resolve(Path::new("models/a"), base).unwrap(), Path::new("/configs/models/a"));
        assert_eq!(resolve(Path::new("/models/a"), base).unwrap(), Path::new("/models/a"));
    }

    #[cfg(not(feature = "fetch"))]
    #[test]
    fn a_build_that_cannot_fetch_says_how_to_get_one_that_can() {
        let message = resolve(Path::new("hf:openai/clip"), Path::new("/")).unwrap_err().to_string();
        assert!(message.contains("hf:openai/clip") && message.contains("--features hub"), "{message}");
    }
}
