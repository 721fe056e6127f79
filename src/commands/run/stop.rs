//! Ctrl-C and SIGTERM: the first one lets the run finish its step and save, the second one ends the program.

use anyhow::Context as _;
use pipeline_engine::Handle;

use crate::{exit, log, view};

/// Asks the run to end; the second time, ends the program.
pub fn asked(handle: &Handle) {
    if handle.interrupt() {
        view::give_back();
        log::notice("stopped at once; checkpoints that were written are complete");
        std::process::exit(exit::INTERRUPTED.into());
    }
    log::notice("finishing the step, then saving; once more to stop at once");
}

/// Listens for signals until the program ends.
pub fn on_signals(handle: Handle) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().context("cannot listen for Ctrl-C")?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            while wait_for_signal().await.is_ok() {
                asked(&handle);
            }
        });
    })?;
    Ok(())
}

#[cfg(unix)]
async fn wait_for_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn wait_for_signal() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
