//! Runs of a sweep as processes of their own, and signals while they run.

#[cfg(not(unix))]
pub use other::Child;
#[cfg(unix)]
pub use unix::Child;

#[cfg(unix)]
mod unix {
    use std::io;
    use std::process::{Command, ExitStatus};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::SeqCst};

    use rustix::process::{Pid, Signal, kill_process};
    use tokio::signal::unix::{SignalKind, signal};

    /// The run in progress. Ctrl-C reaches it from the terminal: it finishes its step and saves, and this program waits for
    /// that. SIGTERM reaches this program alone, which sends it on to the run.
    #[derive(Default)]
    pub struct Child {
        state: Arc<State>,
        listening: std::cell::Cell<bool>,
    }

    #[derive(Default)]
    struct State {
        /// Process id of the run; 0 between runs.
        pid: AtomicI32,
        stopped: AtomicBool,
    }

    impl Child {
        /// True once the user asked the sweep to end.
        pub fn stopped(&self) -> bool {
            self.state.stopped.load(SeqCst)
        }

        /// Starts a run and waits until it ends.
        ///
        /// # Errors
        /// The process cannot be started.
        pub fn run(&self, command: &mut Command) -> io::Result<ExitStatus> {
            if !self.listening.replace(true) {
                listen(self.state.clone())?;
            }
            let mut child = command.spawn()?;
            self.state.pid.store(child.id().cast_signed(), SeqCst);
            let status = child.wait();
            self.state.pid.store(0, SeqCst);
            status
        }
    }

    fn listen(state: Arc<State>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            runtime.block_on(async {
                let (Ok(mut interrupt), Ok(mut terminate)) =
                    (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
                else {
                    return;
                };
                loop {
                    let forward = tokio::select! {
                        _ = interrupt.recv() => false,
                        _ = terminate.recv() => true,
                    };
                    state.stopped.store(true, SeqCst);
                    if let (true, Some(pid)) = (forward, Pid::from_raw(state.pid.load(SeqCst))) {
                        // The process may have ended in the meantime.
                        let _ = kill_process(pid, Signal::TERM);
                    }
                }
            });
        })?;
        Ok(())
    }
}

#[cfg(not(unix))]
mod other {
    use std::io;
    use std::process::{Command, ExitStatus};

    /// The run in progress.
    #[derive(Default)]
    pub struct Child;

    impl Child {
        pub fn stopped(&self) -> bool {
            false
        }

        pub fn run(&self, command: &mut Command) -> io::Result<ExitStatus> {
            command.status()
        }
    }
}
