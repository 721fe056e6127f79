//! `pipe:COMMAND`: a shard that a shell command prints, as in WebDataset.
//!
//! A list of shards may come from anywhere, and this runs the commands in it: it is off unless
//! the config says `allow_pipes = true`.

use std::io;
use std::path::Path;
use std::process::Stdio;

use futures::stream;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio_util::io::StreamReader;

use crate::types::ByteStream;

/// Bytes that one read asks for.
const READ_SIZE: usize = 1 << 20;

/// Bytes of a command's standard error that an error message repeats.
const COMPLAINTS: usize = 2000;

/// The output of a command, run by `sh` in `folder`. If the command fails, the last read is an
/// error, so that half a shard is never taken for a whole one. The command and everything that it
/// started are killed when the stream is dropped; an interrupt at the keyboard does not reach them,
/// so that a shard that is being read then can still be read to its end.
pub(crate) fn open(command: &str, folder: &Path) -> io::Result<ByteStream> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(folder).kill_on_drop(true);
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    #[cfg(unix)]
    shell.process_group(0);
    let mut child = shell.spawn()?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(io::Error::other("the command has no output"));
    };
    let complaints = tokio::spawn(complaints(stderr));
    let piped = Piped { child, stdout, complaints };
    let chunks = stream::try_unfold(piped, |mut piped| async move {
        let chunk = piped.next().await?;
        Ok::<_, io::Error>(chunk.map(|chunk| (io::Cursor::new(chunk), piped)))
    });
    Ok(Box::new(StreamReader::new(Box::pin(chunks))))
}

struct Piped {
    child: Child,
    stdout: ChildStdout,
    complaints: tokio::task::JoinHandle<String>,
}

#[cfg(unix)]
impl Drop for Piped {
    fn drop(&mut self) {
        // `None` once it has ended; the group has the number of the shell.
        let group = self.child.id().and_then(|id| rustix::process::Pid::from_raw(id as i32));
        if let Some(group) = group {
            // It may have ended on its own just now.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

impl Piped {
    /// The next bytes; `None` after the last, if the command ended well.
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut chunk = Vec::with_capacity(READ_SIZE);
        if self.stdout.read_buf(&mut chunk).await? > 0 {
            return Ok(Some(chunk));
        }
        let status = self.child.wait().await?;
        if status.success() {
            return Ok(None);
        }
        let said = (&mut self.complaints).await.unwrap_or_default();
        let said = if said.is_empty() { "it said nothing".to_owned() } else { format!("it said: {said}") };
        Err(io::Error::other(format!("the command failed ({status}); {said}")))
    }
}

/// The end of what a command wrote to its standard error, on one line.
async fn complaints(mut stderr: ChildStderr) -> String {
    let mut kept = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = stderr.read(&mut chunk).await {
        kept.extend_from_slice(&chunk[..read]);
        kept.drain(..kept.len().saturating_sub(COMPLAINTS));
    }
    String::from_utf8_lossy(&kept).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn printed(command: &str) -> io::Result<Vec<u8>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut bytes = Vec::new();
            open(command, Path::new(""))?.read_to_end(&mut bytes).await?;
            Ok(bytes)
        })
    }

    #[test]
    fn all_that_is_printed_comes_whatever_is_said_beside_it() {
        let many = printed("yes | head -c 3000000; yes complaint | head -c 500000 >&2").unwrap();
        assert_eq!(many.len(), 3_000_000);
        assert_eq!(printed("printf ''").unwrap(), b"");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_a_command_started_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let pid = runtime.block_on(async {
            let mut stream = open("sleep 600 & echo $! > pid; echo begun; wait", dir.path()).unwrap();
            stream.read_exact(&mut [0; 6]).await.unwrap();
            std::fs::read_to_string(&file).unwrap().trim().to_owned()
        });
        // Killed, though perhaps not yet swept up by whoever inherits it.
        let dead = || {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            state.is_empty() || state.contains(") Z ")
        };
        for _ in 0..1000 {
            if dead() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("the command's child is still there");
    }

    #[test]
    fn a_command_that_fails_is_an_error_and_no_end() {
        let error = printed("printf half; echo 'no such\n bucket' >&2; exit 3").unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("it said: no such bucket"), "{error}");
        let error = printed("false").unwrap_err().to_string();
        assert!(error.ends_with("it said nothing"), "{error}");
        assert!(open("true", Path::new("/no/such/folder")).is_err());
    }
}
