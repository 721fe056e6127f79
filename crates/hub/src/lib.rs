//! Turns the value of `weights` into a path on this machine. A path stays as it is. For
//! `hf:owner/name[@revision]`, a repository of the Hugging Face hub, the files are fetched into the
//! hub's own cache.
//!
//! `huggingface_hub` and `transformers` use the same cache, so files that one of them has fetched are
//! there for the others. `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE` have the
//! same meaning as for these libraries.

#[cfg(feature = "fetch")]
mod fetch;

use std::path::{Path, PathBuf};

#[cfg(feature = "fetch")]
pub use fetch::Hub;

/// The prefix of a repository's name.
pub const SCHEME: &str = "hf:";

/// A repository and a revision of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// `owner/name`.
    pub repository: String,
    /// A branch, a tag or a commit; default: `main`.
    pub revision: String,
}

/// Why a name could not be turned into a folder.
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
    /// The hub refused the request.
    #[error("hf:{name}: {endpoint} answered {status}: {hint}")]
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
    /// The hub could not be asked or the download broke off, and the cache has no copy.
    #[error("hf:{name}{}: {message}", .file.as_ref().map(|file| format!(", {file}")).unwrap_or_default())]
    Failed {
        /// Repository and revision.
        name: String,
        /// The file that was being fetched, if any.
        file: Option<String>,
        /// What went wrong, and what to do.
        message: String,
    },
    /// A repository without a CLIP checkpoint.
    #[error(
        "hf:{name} has no CLIP checkpoint: it needs config.json with model.safetensors or pytorch_model.bin, or \
         open_clip_config.json with open_clip_model.safetensors; it has {found}"
    )]
    NoCheckpoint {
        /// Repository and revision.
        name: String,
        /// The first of its files.
        found: String,
    },
}

impl Name {
    /// Parses the part after `hf:`.
    ///
    /// # Errors
    /// [`HubError::Name`] for other characters than letters, digits and `.-_`, since the parts become parts of paths.
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

/// Returns the path that `weights` names; a relative path is relative to `base`. Fetches a checkpoint on
/// the hub, once per process.
///
/// # Errors
/// [`HubError`], only for a name on the hub.
pub fn resolve(weights: &Path, base: &Path) -> Result<PathBuf, HubError> {
    match on_hub(weights) {
        None => Ok(base.join(weights)),
        Some(text) => fetch_once(Name::parse(text)?),
    }
}

/// As [`resolve`], but never asks the hub: `None` if it would have to.
///
/// # Errors
/// [`HubError`] if [`resolve`] would fail without asking: for a name of the wrong form, a build that
/// cannot fetch, or a checkpoint missing from the cache while `HF_HUB_OFFLINE` is set.
pub fn resolve_locally(weights: &Path, base: &Path) -> Result<Option<PathBuf>, HubError> {
    match on_hub(weights) {
        None => Ok(Some(base.join(weights))),
        Some(text) => fetched(&Name::parse(text)?),
    }
}

/// The part after `hf:`, if `weights` is on the hub.
fn on_hub(weights: &Path) -> Option<&str> {
    weights.to_str()?.strip_prefix(SCHEME)
}

#[cfg(not(feature = "fetch"))]
fn fetch_once(name: Name) -> Result<PathBuf, HubError> {
    Err(HubError::NoFeature(format!("{SCHEME}{name}")))
}

#[cfg(not(feature = "fetch"))]
fn fetched(name: &Name) -> Result<Option<PathBuf>, HubError> {
    Err(HubError::NoFeature(format!("{SCHEME}{name}")))
}

#[cfg(feature = "fetch")]
use once::{fetch_once, fetched};

#[cfg(feature = "fetch")]
mod once {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use parking_lot::Mutex;

    use crate::{Hub, HubError, Name};

    /// The checkpoints that this process has fetched.
    static FETCHED: Mutex<BTreeMap<Name, PathBuf>> = Mutex::new(BTreeMap::new());

    pub fn fetch_once(name: Name) -> Result<PathBuf, HubError> {
        // Locked while fetching, because stages that are built at the same time need the same weights.
        let mut fetched = FETCHED.lock();
        if let Some(folder) = fetched.get(&name) {
            return Ok(folder.clone());
        }
        let folder = Hub::from_env(&name)?.fetch(&name)?;
        fetched.insert(name, folder.clone());
        Ok(folder)
    }

    pub fn fetched(name: &Name) -> Result<Option<PathBuf>, HubError> {
        if let Some(folder) = FETCHED.lock().get(name) {
            return Ok(Some(folder.clone()));
        }
        Hub::from_env(name)?.settled(name)
    }
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
        assert_eq!(resolve_locally(Path::new("models/a"), base).unwrap().unwrap(), Path::new("/configs/models/a"));
    }

    #[cfg(not(feature = "fetch"))]
    #[test]
    fn a_build_that_cannot_fetch_says_how_to_get_one_that_can() {
        let name = (Path::new("hf:openai/clip"), Path::new("/"));
        for error in [resolve(name.0, name.1).unwrap_err(), resolve_locally(name.0, name.1).unwrap_err()] {
            let message = error.to_string();
            assert!(message.contains("hf:openai/clip") && message.contains("--features hub"), "{message}");
        }
    }
}
