//! What the parts of this crate share: where a shard is, what its bytes are, what can be wrong with it.

use std::path::PathBuf;

use tokio::io::AsyncRead;
use url::Url;

/// The prefix of a shard that a command prints.
pub(crate) const PIPE: &str = "pipe:";

/// The bytes of a shard, from the first.
pub type ByteStream = Box<dyn AsyncRead + Send + Unpin>;

/// Where the bytes of a shard are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Location {
    /// A file on this machine.
    Local(PathBuf),
    /// An `http(s)://`, `s3://` or `gs://` object.
    Remote(Url),
    /// The output of a shell command.
    Pipe {
        /// The command.
        command: String,
        /// The folder it runs in.
        folder: PathBuf,
    },
}

/// A shard: its name, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// As written in the config after expansion; relative paths stay relative,
    /// so that the name stays the same when the whole project is moved.
    pub url: String,
    /// Where to read it.
    pub location: Location,
}

/// A shard cannot be opened or looked up.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file on this machine cannot be read, or a command cannot be started.
    #[error("shard `{url}` cannot be read: {error}")]
    File {
        /// Its name.
        url: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// An object on a server.
    #[error("shard `{url}` cannot be read: {fault}")]
    Remote {
        /// Its url.
        url: String,
        /// What the server said, with its status, or why it could not be asked.
        fault: String,
    },
    /// Another version than the one the run began with.
    #[error(
        "shard `{url}` changed while the run used it: it was {was}, and is {is}; put the old one back and go on with \
         --resume, or start again (--force) with the new one"
    )]
    Changed {
        /// Its name.
        url: String,
        /// The identity of the version that the run began with.
        was: String,
        /// The identity of the version that is there now.
        is: String,
    },
}
