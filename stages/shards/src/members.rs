//! The members of a tar, one after the other, from a stream of bytes.
//!
//! The headers are parsed by the `tar` crate; the walk is our own, because it
//! must not block a thread, must never allocate more than the caller allows, and
//! must tell a complete tar from one that was cut.

use std::io;

use tar::{EntryType, Header, PaxExtensions};
use tokio::io::{AsyncRead, AsyncReadExt};

const BLOCK: u64 = 512;

/// Zeros after the end marker that are searched for other bytes. Programs fill up to the next multiple of their record
/// size, mostly 10 KiB.
const MAX_FILLING: u64 = 64 << 20;

/// The longest extended header (long name, pax record) that is read.
const MAX_EXTENDED: u64 = 1 << 20;

/// What a member is, as far as samples are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A symbolic or hard link: it has a name but no bytes.
    Link,
    /// A folder, a device, a pipe.
    Other,
}

/// One member, before its body is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Path inside the tar; bytes that are not UTF-8 are replaced.
    pub path: String,
    /// File, link or other.
    pub kind: Kind,
    /// Bytes of the body.
    pub size: u64,
}

/// Why a shard ended before the end-of-archive block.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It is not a tar.
    #[error("not a tar: {0}")]
    Foreign(String),
    /// The bytes stop too early.
    #[error("truncated: it ends after {at} bytes, without the end marker of a tar")]
    Cut {
        /// How many bytes there were.
        at: u64,
    },
    /// A header in the middle makes no sense.
    #[error("damaged at byte {at}: {what}; what follows cannot be read")]
    Damaged {
        /// Offset of the header.
        at: u64,
        /// What is wrong with it.
        what: String,
    },
    /// Bytes follow its end marker, as in two tars that `cat` put together.
    #[error(
        "its end marker is at byte {end}, but bytes follow from {at} on, which are not read; if tars were put together \
         with `cat`, join them with `tar --concatenate`, or give them one by one"
    )]
    Behind {
        /// Offset of the end marker.
        end: u64,
        /// Offset of the block that is not empty.
        at: u64,
    },
    /// Reading failed.
    #[error("cannot be read after {at} bytes: {error}")]
    Read {
        /// Bytes read before.
        at: u64,
        /// What the system or the server said.
        error: io::Error,
    },
}

/// Walks a tar. After [`Members::next`] returned `None` or a [`Fault`], nothing more comes.
#[derive(Debug)]
pub struct Members<R> {
    reader: R,
    /// Bytes consumed.
    at: u64,
    /// Bytes of the current member's body that are not consumed yet.
    body: u64,
    /// Zeros between that body and the next header.
    padding: u64,
}

impl<R: AsyncRead + Unpin> Members<R> {
    /// A walk from the first byte of a tar.
    pub fn new(reader: R) -> Self {
        Self { reader, at: 0, body: 0, padding: 0 }
    }

    /// The next member; the rest of the one before is skipped. `None` at the end
    /// marker.
    ///
    /// # Errors
    /// [`Fault`] when the tar cannot be followed any further.
    pub async fn next(&mut self) -> Result<Option<Member>, Fault> {
        let (mut long_path, mut long_size) = (None, None);
        loop {
            self.pass(self.body + self.padding).await?;
            (self.body, self.padding) = (0, 0);
            let at = self.at;
            let mut header = Header::new_old();
            let got = self.fill(header.as_mut_bytes()).await?;
            if let Some(why) = foreign(at, &header.as_bytes()[..got]) {
                return Err(Fault::Foreign(why.to_owned()));
            }
            if got < BLOCK as usize {
                return Err(Fault::Cut { at: self.at });
            }
            if header.as_bytes().iter().all(|&byte| byte == 0) {
                return self.behind(at).await.map(|()| None);
            }
            if !checksum_holds(&header) {
                return Err(match at {
                    0 => Fault::Foreign("the first 512 bytes are not a tar header".to_owned()),
                    _ => Fault::Damaged { at, what: "a tar header is missing there".to_owned() },
                });
            }

            let kind = header.entry_type();
            let damaged = |what: String| Fault::Damaged { at, what };
            let size = header.entry_size().map_err(|error| damaged(error.to_string()))?;
            let size = long_size.filter(|_| !extends(kind)).unwrap_or(size);
            // So that no sum of offsets can overflow.
            if size > i64::MAX as u64 / 2 {
                return Err(damaged(format!("a member of {size} bytes")));
            }
            (self.body, self.padding) = (size, size.next_multiple_of(BLOCK) - size);

            match kind {
                EntryType::GNULongName | EntryType::XHeader => {
                    if size > MAX_EXTENDED {
                        return Err(damaged(format!("an extended header of {size} bytes")));
                    }
                    let bytes = self.read().await?;
                    if kind == EntryType::GNULongName {
                        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
                        long_path = Some(String::from_utf8_lossy(&bytes[..end]).into_owned());
                        continue;
                    }
                    for record in PaxExtensions::new(&bytes).flatten() {
                        match record.key() {
                            Ok("path") => long_path = Some(String::from_utf8_lossy(record.value_bytes()).into_owned()),
                            Ok("size") => long_size = record.value().ok().and_then(|size| size.parse().ok()),
                            _ => {}
                        }
                    }
                }
                EntryType::GNULongLink | EntryType::XGlobalHeader => {}
                EntryType::GNUSparse => return Err(damaged("a sparse member; pack without --sparse".to_owned())),
                _ => {
                    let path = long_path.unwrap_or_else(|| String::from_utf8_lossy(&header.path_bytes()).into_owned());
                    let kind = match kind {
                        EntryType::Regular | EntryType::Continuous if path.ends_with('/') => Kind::Other,
                        EntryType::Regular | EntryType::Continuous => Kind::File,
                        EntryType::Link | EntryType::Symlink => Kind::Link,
                        _ => Kind::Other,
                    };
                    return Ok(Some(Member { path, kind, size }));
                }
            }
        }
    }

    /// The body of the member that [`Members::next`] returned last. Allocates as many bytes
    /// as the member's size says: the caller checks it first.
    ///
    /// # Errors
    /// [`Fault::Cut`] or [`Fault::Read`].
    pub async fn read(&mut self) -> Result<Vec<u8>, Fault> {
        let mut bytes = vec![0; self.body as usize];
        let got = self.fill(&mut bytes).await?;
        self.body -= got as u64;
        if self.body > 0 { Err(Fault::Cut { at: self.at }) } else { Ok(bytes) }
    }

    /// Searches for bytes that follow the end marker at `end`.
    async fn behind(&mut self, end: u64) -> Result<(), Fault> {
        let mut block = [0; 16 * BLOCK as usize];
        while self.at - end < MAX_FILLING {
            let at = self.at;
            // The tar is whole: a stream that fails now takes nothing away.
            let Ok(got) = self.fill(&mut block).await else { return Ok(()) };
            if let Some(place) = block[..got].iter().position(|&byte| byte != 0) {
                return Err(Fault::Behind { end, at: at + place as u64 });
            }
            if got < block.len() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads until `into` is full or the stream ends; returns how many bytes were read.
    async fn fill(&mut self, into: &mut [u8]) -> Result<usize, Fault> {
        let mut got = 0;
        while got < into.len() {
            match self.reader.read(&mut into[got..]).await {
                Ok(0) => break,
                Ok(more) => {
                    got += more;
                    self.at += more as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Fault::Read { at: self.at, error }),
            }
        }
        Ok(got)
    }

    /// Skips `left` bytes.
    async fn pass(&mut self, mut left: u64) -> Result<(), Fault> {
        let mut scrap = [0; 16 * 1024];
        while left > 0 {
            let want = scrap.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let got = self.fill(&mut scrap[..want]).await?;
            if got < want {
                return Err(Fault::Cut { at: self.at });
            }
            left -= got as u64;
        }
        Ok(())
    }
}

/// Whether a header describes the member that follows.
fn extends(kind: EntryType) -> bool {
    matches!(kind, EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader | EntryType::XGlobalHeader)
}

/// Recognises the files that are most often taken for a tar by their first bytes.
fn foreign(at: u64, start: &[u8]) -> Option<&'static str> {
    match start {
        _ if at > 0 => None,
        [] => Some("the file is empty"),
        [0x1f, 0x8b, ..] => Some("it is gzip-compressed; unpack it first (gunzip)"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("it is zstd-compressed; unpack it first (zstd -d)"),
        [b'P', b'K', 3, 4, ..] => Some("it is a zip file; pack it as a tar"),
        _ if start.trim_ascii_start().starts_with(b"<") => Some("it is a web page or XML, perhaps an error page"),
        _ if start.starts_with(b"version https://git-lfs") => {
            Some("it is a Git LFS pointer; fetch the file (git lfs pull)")
        }
        _ => None,
    }
}

fn checksum_holds(header: &Header) -> bool {
    let bytes = header.as_bytes();
    // The checksum field itself counts as eight spaces.
    let sum: u32 = bytes[..148].iter().chain(&bytes[156..]).map(|&byte| u32::from(byte)).sum::<u32>() + 8 * 32;
    header.cksum().is_ok_and(|written| written == sum)
}
