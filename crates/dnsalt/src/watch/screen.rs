//! The terminal: taken over, and given back as it was, however we end.

use std::io::{self, Stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute};
use ratatui::layout::Size;
use ratatui::{Frame, Terminal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::keys::{self, Key};

/// How long the rest of a sequence may take to come: over a slow line it comes in parts.
const REST: Duration = Duration::from_millis(50);

/// How long we may take to end after a signal.
const GRACE: Duration = Duration::from_secs(2);

/// Whether the terminal is ours now; the hook of panics asks for it, too.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Whether something panicked, in whichever thread.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// The terminal while it is ours.
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    over: Arc<AtomicBool>,
}

impl Screen {
    /// Takes it over. Signals that would end us are noted from now on, and do not.
    pub(crate) fn take() -> io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&over))?;
        }
        let flag = Arc::clone(&over);
        thread::Builder::new().name("guard".to_owned()).spawn(move || guard(&flag))?;
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICKED.store(true, Ordering::SeqCst);
            // First, so that what is said of the panic can be read.
            give_back();
            hook(panic);
        }));
        TAKEN.store(true, Ordering::SeqCst);
        // From here on every way out gives it back.
        let screen = enable_raw_mode()
            .and_then(|()| execute!(io::stdout(), EnterAlternateScreen, cursor::Hide))
            .and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        match screen {
            Ok(terminal) => Ok(Screen { terminal, over }),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }

    /// Whether a signal came that ends us, or a thread panicked.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) || Self::has_panicked()
    }

    /// Whether a thread panicked: what is shown is not to be trusted any more.
    pub(crate) fn has_panicked() -> bool {
        PANICKED.load(Ordering::Relaxed)
    }

    /// The keys that are pressed within a time.
    ///
    /// Read here, and not by crossterm: on a terminal that went away it reads without end, and a key
    /// that comes together with a change of size waits until the next (0.29).
    pub(crate) fn keys(patience: Duration) -> io::Result<Vec<Key>> {
        let mut bytes = [0; 256];
        if !readable(patience)? {
            return Ok(Vec::new());
        }
        let mut length = read_some(&mut bytes)?;
        while keys::may_go_on(&bytes[..length]) && length < bytes.len() && readable(REST)? {
            length += read_some(&mut bytes[length..])?;
        }
        Ok(keys::keys(&bytes[..length]))
    }

    /// Its size.
    pub(crate) fn size(&self) -> io::Result<Size> {
        self.terminal.size()
    }

    /// Draws what has changed.
    pub(crate) fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        // Somebody gave it back already: what we draw would stay there.
        if !self.is_over() {
            self.terminal.draw(render)?;
        }
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Whether there is something to read within a time; a signal ends the waiting.
fn readable(patience: Duration) -> io::Result<bool> {
    let stdin = io::stdin();
    let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
    let timeout = Timespec::try_from(patience).map_err(io::Error::other)?;
    match poll(&mut fds, Some(&timeout)) {
        Err(Errno::INTR) => Ok(false),
        result => Ok(result? > 0),
    }
}

/// What is there. Nothing, from a terminal that can be read, says that it went away.
fn read_some(buffer: &mut [u8]) -> io::Result<usize> {
    match rustix::io::read(io::stdin(), buffer) {
        Ok(0) | Err(Errno::IO) => {
            Err(io::Error::new(io::ErrorKind::BrokenPipe, "the terminal went away"))
        }
        result => Ok(result?),
    }
}

/// Ends us for a signal if nothing else does: a terminal that takes nothing any more, as that of a
/// connection that hangs, would hold the one who draws for ever.
fn guard(over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(250));
    }
    thread::sleep(GRACE);
    let _ = disable_raw_mode();
    std::process::exit(3);
}

/// Once, whoever asks for it.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // The terminal may be gone: there is nobody to tell.
        let _ = execute!(io::stdout(), LeaveAlternateScreen, cursor::Show);
        let _ = disable_raw_mode();
    }
}
