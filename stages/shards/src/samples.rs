//! Tar members to samples: a picture and its captions.
//!
//! The WebDataset layout: the key of a member is its path up to the first dot
//! of its file name, the rest is the extension; the members of a sample are
//! adjacent in the tar.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::io::AsyncRead;

use crate::members::{Fault, Kind, Member, Members};

/// A larger caption member is not read.
const MAX_TEXT: u64 = 1 << 20;

/// What makes a sample. Its `Debug` form is part of the key of cached features.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Extensions of pictures, lowercase; the first that a sample has is taken.
    pub images: Vec<String>,
    /// Where the captions are.
    pub captions: CaptionSource,
    /// Bytes of the largest picture that is read.
    pub max_member: u64,
    /// Bytes of the longest caption.
    pub max_caption: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            images: ["jpg", "jpeg", "png", "webp"].map(str::to_owned).to_vec(),
            captions: CaptionSource::Txt,
            max_member: 64 << 20,
            max_caption: 4096,
        }
    }
}

/// Where the captions of a sample are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaptionSource {
    /// `key.txt`, one caption per line.
    Txt,
    /// A field of `key.json`: a text, or a list of texts.
    Json(String),
    /// Captions are not read: a picture alone is a sample.
    Unread,
}

impl CaptionSource {
    fn extension(&self) -> &'static str {
        match self {
            Self::Txt => "txt",
            Self::Json(_) => "json",
            Self::Unread => "",
        }
    }
}

/// One sample as it is in the shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawSample {
    /// Path up to the first dot of the file name, without a leading `./`.
    pub key: String,
    /// Position among the samples of the shard, those that cannot be used included.
    pub index: u32,
    /// Its captions and its picture, or why it cannot be used.
    pub content: Result<Content, Reason>,
}

/// The content of a usable sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The encoded picture.
    pub image: Vec<u8>,
    /// The extension it had.
    pub extension: String,
    /// At least one, unless they are [`CaptionSource::Unread`].
    pub captions: Vec<String>,
}

/// Why a sample cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // each variant is its message
pub enum Reason {
    #[error("no picture (looked for {wanted}; {members})")]
    NoImage { wanted: String, members: Endings },
    #[error("no .{wanted} with captions ({members})")]
    NoCaptionMember { wanted: &'static str, members: Endings },
    #[error("`{0}` is a link; pack with --dereference --hard-dereference")]
    Link(String),
    #[error("`{path}` has {size} bytes, more than {limit}")]
    TooLarge { path: String, size: u64, limit: u64 },
    #[error("`{0}` is empty")]
    Empty(String),
    #[error("two members with the extension .{0}")]
    Repeated(String),
    #[error("the key came before in this shard; the members of a sample must lie next to each other")]
    Duplicate,
    #[error("the shard is cut or damaged inside this sample")]
    Cut,
    #[error("the captions are not UTF-8{0}")]
    NotUtf8(&'static str),
    #[error("the captions hold a NUL byte")]
    Nul,
    #[error("a caption of {length} bytes, more than {limit}")]
    CaptionTooLong { length: usize, limit: usize },
    #[error("no caption in `{0}`")]
    NoCaption(String),
    #[error("not JSON: {0}")]
    NotJson(String),
    #[error("no field `{0}` with a text or a list of texts")]
    NoField(String),
}

/// What the members of a sample are called after the first dot of their file names, lowercase.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endings(Vec<String>);

impl Endings {
    /// Endings that are named; a sample may have thousands.
    const NAMED: usize = 4;

    fn add(&mut self, ending: &str) {
        // One more shows that there are more.
        if self.0.len() <= Self::NAMED && !self.0.iter().any(|known| known == ending) {
            self.0.push(ending.to_owned());
        }
    }
}

impl std::fmt::Display for Endings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named: Vec<String> = self.0.iter().take(Self::NAMED).map(|ending| format!(".{ending}")).collect();
        let more = if self.0.len() > Self::NAMED { ", …" } else { "" };
        write!(f, "its members are {}{more}", named.join(", "))?;
        if self.0.iter().any(|ending| ending.contains('.')) {
            f.write_str(
                "; a key ends at the first dot of the file name: pack the files without other dots in their names",
            )?;
        }
        Ok(())
    }
}

/// The samples of one shard, in its order.
#[derive(Debug)]
pub struct Samples<R> {
    members: Members<R>,
    rules: Arc<Rules>,
    open: Option<Open>,
    /// Digests of the keys so far, 16 bytes each: a shard may have millions.
    finished: HashSet<u128>,
    count: u32,
    over: bool,
    fault: Option<Fault>,
}

/// A sample whose members are still coming.
#[derive(Debug, Default)]
struct Open {
    key: String,
    duplicate: bool,
    /// The best picture so far: its place in the preferences, its extension, its bytes.
    image: Option<(usize, String, Result<Vec<u8>, Reason>)>,
    captions: Option<Result<Vec<String>, Reason>>,
    /// Extensions of pictures and captions that were seen.
    seen: Vec<String>,
    /// Those of all members.
    members: Endings,
    repeated: Option<String>,
}

impl<R: AsyncRead + Unpin> Samples<R> {
    /// The samples in the tar that `reader` reads.
    pub fn new(reader: R, rules: Arc<Rules>) -> Self {
        let members = Members::new(reader);
        Self { members, rules, open: None, finished: HashSet::new(), count: 0, over: false, fault: None }
    }

    /// The next sample; `None` at the end of the shard, whole or not ([`Samples::finish`]).
    pub async fn next(&mut self) -> Option<RawSample> {
        while !self.over {
            match self.members.next().await {
                Ok(Some(member)) => {
                    let done = self.take(&member).await;
                    if done.is_some() {
                        return done;
                    }
                }
                Ok(None) => self.over = true,
                Err(fault) => self.stop(fault),
            }
        }
        let open = self.open.take()?;
        Some(self.close(open))
    }

    /// After the last sample: how many there were, and why the shard ended early,
    /// if it did.
    pub fn finish(self) -> (u32, Option<Fault>) {
        (self.count, self.fault)
    }

    fn stop(&mut self, fault: Fault) {
        self.over = true;
        self.fault = Some(fault);
    }

    /// Adds a member to its sample. Returns the sample before, if this member begins a new one.
    async fn take(&mut self, member: &Member) -> Option<RawSample> {
        if member.kind == Kind::Other {
            return None;
        }
        let (key, extension) = key_and_extension(&member.path)?;
        let mut done = None;
        if self.open.as_ref().is_none_or(|open| open.key != key) {
            done = self.open.take().map(|open| self.close(open));
            let duplicate = self.finished.contains(&digest(key));
            self.open = Some(Open { key: key.to_owned(), duplicate, ..Open::default() });
        }
        if let Err(fault) = self.add(member, extension).await {
            self.stop(fault);
        }
        done
    }

    async fn add(&mut self, member: &Member, extension: String) -> Result<(), Fault> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let rank = self.rules.images.iter().position(|image| *image == extension);
        let is_text = self.rules.captions != CaptionSource::Unread && extension == self.rules.captions.extension();
        open.members.add(&extension);
        if open.duplicate || (rank.is_none() && !is_text) {
            return Ok(());
        }
        if open.seen.contains(&extension) {
            open.repeated.get_or_insert(extension);
            return Ok(());
        }
        open.seen.push(extension.clone());
        if is_text {
            open.captions = Some(Err(Reason::Cut));
            let bytes = body(&mut self.members, member, MAX_TEXT).await?;
            open.captions = Some(bytes.and_then(|bytes| captions(&bytes, &self.rules, &member.path)));
        } else if let Some(rank) = rank
            && open.image.as_ref().is_none_or(|(best, ..)| rank < *best)
        {
            // The preferred picture replaces the other one before it is read:
            // a sample never has more than one in memory.
            open.image = Some((rank, extension.clone(), Err(Reason::Cut)));
            let bytes = body(&mut self.members, member, self.rules.max_member).await?;
            open.image = Some((rank, extension, bytes));
        }
        Ok(())
    }

    fn close(&mut self, open: Open) -> RawSample {
        let index = self.count;
        self.count += 1;
        self.finished.insert(digest(&open.key));
        RawSample { key: open.key.clone(), index, content: self.content(open) }
    }

    fn content(&self, open: Open) -> Result<Content, Reason> {
        // A cut shard may have had what is missing here.
        let is_cut = self.fault.as_ref().is_some_and(|fault| !matches!(fault, Fault::Behind { .. }));
        let missing = |reason| if is_cut { Reason::Cut } else { reason };
        if open.duplicate {
            return Err(Reason::Duplicate);
        }
        if let Some(extension) = open.repeated {
            return Err(Reason::Repeated(extension));
        }
        let members = open.members;
        let Some((_, extension, image)) = open.image else {
            return Err(missing(Reason::NoImage { wanted: self.rules.images.join(", "), members }));
        };
        let captions = match (open.captions, &self.rules.captions) {
            (_, CaptionSource::Unread) => Ok(Vec::new()),
            (Some(captions), _) => captions,
            (None, source) => {
                return Err(missing(Reason::NoCaptionMember { wanted: source.extension(), members }));
            }
        };
        Ok(Content { image: image?, extension, captions: captions? })
    }
}

fn digest(key: &str) -> u128 {
    let mut bytes = [0; 16];
    blake3::Hasher::new().update(key.as_bytes()).finalize_xof().fill(&mut bytes);
    u128::from_le_bytes(bytes)
}

/// Reads a member's body, if it has one that is small enough.
async fn body<R: AsyncRead + Unpin>(
    members: &mut Members<R>,
    member: &Member,
    limit: u64,
) -> Result<Result<Vec<u8>, Reason>, Fault> {
    let (path, size) = (member.path.clone(), member.size);
    if member.kind == Kind::Link {
        return Ok(Err(Reason::Link(path)));
    }
    match size {
        0 => Ok(Err(Reason::Empty(path))),
        _ if size > limit => Ok(Err(Reason::TooLarge { path, size, limit })),
        _ => members.read().await.map(Ok),
    }
}

/// The key and the lowercase extension of a member; `None` for members that belong to
/// no sample: hidden files, those that macOS adds, names without a dot.
pub fn key_and_extension(path: &str) -> Option<(&str, String)> {
    let path = path.trim_start_matches("./").trim_start_matches('/');
    let hidden = |part: &str| part == "__MACOSX" || (part.starts_with('.') && part != "." && part != "..");
    if path.split('/').any(hidden) {
        return None;
    }
    let name = path.rfind('/').map_or(0, |slash| slash + 1);
    let dot = name + path[name..].find('.')?;
    Some((&path[..dot], path[dot + 1..].to_lowercase()))
}

/// The captions in a `.txt` or `.json` member.
fn captions(bytes: &[u8], rules: &Rules, path: &str) -> Result<Vec<String>, Reason> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Reason::NotUtf8(" (but UTF-16)"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Reason::NotUtf8(""))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let found: Vec<String> = match &rules.captions {
        CaptionSource::Txt => text.split(['\n', '\r']).map(str::to_owned).collect(),
        CaptionSource::Json(field) => from_json(text, field)?,
        CaptionSource::Unread => Vec::new(),
    };
    let mut captions = Vec::with_capacity(found.len());
    for caption in found {
        let caption = caption.trim();
        if caption.contains('\0') {
            return Err(Reason::Nul);
        }
        if caption.len() > rules.max_caption {
            return Err(Reason::CaptionTooLong { length: caption.len(), limit: rules.max_caption });
        }
        if !caption.is_empty() {
            captions.push(caption.to_owned());
        }
    }
    if captions.is_empty() { Err(Reason::NoCaption(path.to_owned())) } else { Ok(captions) }
}

/// A text is one caption even if it has several lines: JSON has lists for several.
fn from_json(text: &str, field: &str) -> Result<Vec<String>, Reason> {
    use serde_json::Value;
    let value: Value = serde_json::from_str(text).map_err(|error| Reason::NotJson(error.to_string()))?;
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let none = || Reason::NoField(field.to_owned());
    match value.get(field) {
        Some(Value::String(caption)) => Ok(vec![one_line(caption)]),
        Some(Value::Array(captions)) => {
            captions.iter().map(|caption| caption.as_str().map(one_line).ok_or_else(none)).collect()
        }
        _ => Err(none()),
    }
}
