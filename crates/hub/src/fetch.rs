//! Fetches a checkpoint's files into the hub's cache.
//!
//! It uses hf-hub 0.5 with its blocking client (ureq with rustls). Version 1.0 would add a second HTTP
//! client, an asynchronous runtime and the hub's chunk store to fetch the same few files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};

use crate::{HubError, Name};

const ENDPOINT: &str = "https://huggingface.co";
/// How many times a download is retried, each time from the byte where it broke off.
const RETRIES: usize = 3;

/// Small files that are fetched if the repository has them.
const BESIDE: [&str; 10] = [
    "config.json",
    "open_clip_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
];
/// A config and the files that may hold its weights, in order of preference: the order in which a
/// checkpoint folder is read.
const LAYOUTS: [(&str, &[&str]); 2] = [
    (
        "config.json",
        &["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"],
    ),
    ("open_clip_config.json", &["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]),
];
/// The image encoder of a folder whose text tower is CLIP's.
const ONNX: &str = "vision_model.onnx";

/// A hub, and the cache of the files that were fetched from it.
#[derive(Clone, Debug)]
pub struct Hub {
    /// The hub's address, without a closing slash.
    pub endpoint: String,
    /// The folder that has `models--OWNER--NAME`.
    pub cache: PathBuf,
    /// The token for repositories that are not open to everyone.
    pub token: Option<String>,
    /// True if the hub is never asked.
    pub offline: bool,
}

impl Hub {
    /// The hub that the environment variables describe.
    ///
    /// # Errors
    /// If they name no cache and there is no home folder to put one in.
    pub fn from_env(name: &Name) -> Result<Self, HubError> {
        let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let home = match var("HF_HOME") {
            Some(home) => PathBuf::from(home),
            None => {
                let home = std::env::home_dir().ok_or_else(|| HubError::Failed {
                    name: name.to_string(),
                    file: None,
                    message: "there is no home folder for the cache; set HF_HOME".into(),
                })?;
                home.join(".cache/huggingface")
            }
        };
        let endpoint = var("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
        let offline =
            var("HF_HUB_OFFLINE").is_some_and(|word| ["1", "on", "yes", "true"].contains(&&*word.to_lowercase()));
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            cache: var("HF_HUB_CACHE").map_or_else(|| home.join("hub"), PathBuf::from),
            token: var("HF_TOKEN").or_else(|| Cache::new(home.join("hub")).token()),
            offline,
        })
    }

    /// Returns the folder of a repository's checkpoint at a revision. Fetches the files that are not in
    /// the cache; for a branch or tag, first asks the hub whether it has moved. If the hub does not
    /// answer, warns and uses the last revision that was fetched completely.
    ///
    /// # Errors
    /// [`HubError`] if the hub refuses, a download fails, or the repository has no CLIP checkpoint.
    pub fn fetch(&self, name: &Name) -> Result<PathBuf, HubError> {
        if let Some(folder) = self.settled(name)? {
            return Ok(folder);
        }
        let before = self.cached(name);
        match (self.update(name), before) {
            (Err(error @ HubError::Failed { .. }), Some(folder)) => {
                tracing::warn!("{error}; using {}", folder.display());
                Ok(folder)
            }
            (result, _) => result,
        }
    }

    /// The folder that [`fetch`](Self::fetch) returns without asking the hub; `None` if it would ask.
    ///
    /// # Errors
    /// If the hub must not be asked and the cache has no complete checkpoint.
    pub fn settled(&self, name: &Name) -> Result<Option<PathBuf>, HubError> {
        match self.cached(name) {
            Some(folder) if self.offline || is_commit(&name.revision) => Ok(Some(folder)),
            None if self.offline => {
                let message = format!(
                    "it is not complete in {}, and HF_HUB_OFFLINE forbids asking the hub",
                    self.cache.display()
                );
                Err(HubError::Failed { name: name.to_string(), file: None, message })
            }
            _ => Ok(None),
        }
    }

    /// The folder of the last commit known for this revision, if it is complete.
    fn cached(&self, name: &Name) -> Option<PathBuf> {
        let repo = self.repo(name, &name.revision);
        let commit = match is_commit(&name.revision) {
            true => name.revision.clone(),
            false => {
                let reference = self.cache.join(repo.folder_name()).join("refs").join(&name.revision);
                std::fs::read_to_string(reference).ok()?.trim().to_owned()
            }
        };
        let folder = is_commit(&commit).then(|| self.snapshot(name, &commit))?;
        whole(&folder).then_some(folder)
    }

    fn repo(&self, name: &Name, revision: &str) -> Repo {
        Repo::with_revision(name.repository.clone(), RepoType::Model, revision.to_owned())
    }

    fn snapshot(&self, name: &Name, commit: &str) -> PathBuf {
        Cache::new(self.cache.clone()).repo(self.repo(name, commit)).pointer_path(commit)
    }

    /// Asks the hub for the revision's commit and fetches its missing files.
    fn update(&self, name: &Name) -> Result<PathBuf, HubError> {
        let api = ApiBuilder::from_cache(Cache::new(self.cache.clone()))
            .with_endpoint(self.endpoint.clone())
            .with_token(self.token.clone())
            .with_user_agent("pipeline", env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(|error| self.fault(name, None, error))?;
        let info = api.repo(self.repo(name, &name.revision)).info().map_err(|error| self.fault(name, None, error))?;
        if !is_commit(&info.sha) {
            let message = format!("{} answered {:?}, which is not a commit", self.endpoint, info.sha);
            return Err(HubError::Failed { name: name.to_string(), file: None, message });
        }
        let there: BTreeSet<&str> = info.siblings.iter().map(|file| file.rfilename.as_str()).collect();
        let Some(weights) = weights(|file| there.contains(file)) else {
            let mut found: Vec<&str> = there.into_iter().take(12).collect();
            if info.siblings.len() > found.len() {
                found.push("…");
            }
            return Err(HubError::NoCheckpoint { name: name.to_string(), found: found.join(", ") });
        };
        // Weights last: a folder that has them also has the other files.
        let beside = BESIDE.into_iter().filter(|file| there.contains(file));
        // With the files that its weights may be in: vision_model.onnx.data, vision_model.onnx_data.
        let onnx = there.iter().copied().filter(|file| there.contains(ONNX) && file.starts_with(ONNX));
        for file in beside.chain(onnx).chain([weights]) {
            self.file(&api, name, &info.sha, file)?;
        }
        let folder = self.snapshot(name, &info.sha);
        for file in shards(&folder.join(weights)).map_err(|message| self.failed(name, Some(weights), message))? {
            self.file(&api, name, &info.sha, &file)?;
        }
        let cache = Cache::new(self.cache.clone());
        let noted = cache.repo(self.repo(name, &name.revision)).create_ref(&info.sha);
        noted.map_err(|error| self.failed(name, None, format!("{}: {error}", self.cache.display())))?;
        tracing::info!("hf:{name} is in {}", folder.display());
        Ok(folder)
    }

    /// Fetches one file unless it is in the cache.
    fn file(&self, api: &Api, name: &Name, commit: &str, file: &str) -> Result<(), HubError> {
        if self.snapshot(name, commit).join(file).exists() {
            return Ok(());
        }
        let mut left = RETRIES;
        loop {
            match api.repo(self.repo(name, commit)).download(file) {
                Ok(_) => return Ok(()),
                Err(error) if left > 0 && may_pass(&error) => {
                    left -= 1;
                    tracing::warn!("hf:{name}, {file}: {error}; trying again");
                }
                Err(error) => return Err(self.fault(name, Some(file), error)),
            }
        }
    }

    fn failed(&self, name: &Name, file: Option<&str>, message: String) -> HubError {
        HubError::Failed { name: name.to_string(), file: file.map(str::to_owned), message }
    }

    fn fault(&self, name: &Name, file: Option<&str>, error: ApiError) -> HubError {
        match (status(&error), &error) {
            (Some(status @ (401 | 403)), _) => HubError::Refused {
                name: name.to_string(),
                endpoint: self.endpoint.clone(),
                status,
                hint: "the repository does not exist, or is not open to everyone; check the name, or set HF_TOKEN",
            },
            (Some(status @ 404), _) => HubError::Refused {
                name: name.to_string(),
                endpoint: self.endpoint.clone(),
                status,
                hint: "no such repository or revision; check the name",
            },
            (_, ApiError::InvalidResume) => self.failed(
                name,
                file,
                format!("a partly fetched file in {} is too long; remove the *.part files there", self.cache.display()),
            ),
            _ => self.failed(name, file, format!("{} could not be read: {error}", self.endpoint)),
        }
    }
}

fn status(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::RequestError(error) => match **error {
            ureq::Error::StatusCode(status) => Some(status),
            _ => None,
        },
        _ => None,
    }
}

/// True if another try may succeed.
fn may_pass(error: &ApiError) -> bool {
    match error {
        ApiError::RequestError(_) => status(error).is_none_or(|status| status >= 500 || status == 429),
        ApiError::IoError(_) => true,
        _ => false,
    }
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The file from which the weights of a folder are read, or the index of their shards; `has` is true
/// for the files that exist.
fn weights(has: impl Fn(&str) -> bool) -> Option<&'static str> {
    let layouts = LAYOUTS.iter().filter(|(config, _)| has(config));
    layouts.flat_map(|(_, files)| *files).copied().find(|file| has(file))
}

/// The files that an index lists; none for a file of weights.
fn shards(path: &Path) -> Result<BTreeSet<String>, String> {
    if path.extension().is_none_or(|extension| extension != "json") {
        return Ok(BTreeSet::new());
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let index: serde_json::Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let files = index["weight_map"].as_object().ok_or("it has no weight_map")?.values();
    // The names become paths, so they must not lead out of the folder.
    let name = |value: &serde_json::Value| {
        let name = value.as_str().filter(|name| Path::new(name).file_name() == Some(name.as_ref()));
        name.map(str::to_owned).ok_or_else(|| format!("{value} is not the name of a file"))
    };
    files.map(name).collect()
}

/// True if a folder has every file that a checkpoint needs.
fn whole(folder: &Path) -> bool {
    let has = |file: &str| folder.join(file).is_file();
    weights(has).is_some_and(|file| shards(&folder.join(file)).is_ok_and(|files| files.iter().all(|file| has(file))))
}
