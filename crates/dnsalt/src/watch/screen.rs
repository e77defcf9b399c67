//! The terminal: taken over, and given back as it was, however we end.

use std::io::{self, Stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute};
use ratatui::layout::Size;
use ratatui::{Frame, Terminal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Whether the terminal is ours now; the hook of panics asks for it, too.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Whether something panicked, in whichever thread.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// The terminal while it is ours.
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    over: Arc<AtomicBool>,
}

/// What the user did.
pub(crate) enum Input {
    /// Pressed a key.
    Key(KeyEvent),
    /// Changed the size of the terminal.
    Resized,
}

impl Screen {
    /// Takes it over. Signals that would end us are noted from now on, and do not.
    pub(crate) fn take() -> io::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&over))?;
        }
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
        self.over.load(Ordering::Relaxed) || PANICKED.load(Ordering::Relaxed)
    }

    /// What the user does within a time.
    pub(crate) fn input(patience: Duration) -> io::Result<Option<Input>> {
        match event::poll(patience) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            // A signal: the loop looks which.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(None),
            Err(error) => return Err(error),
        }
        Ok(match event::read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => Some(Input::Key(key)),
            Event::Resize(..) => Some(Input::Resized),
            _ => None,
        })
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

/// Once, whoever asks for it.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // The terminal may be gone: there is nobody to tell.
        let _ = execute!(io::stdout(), LeaveAlternateScreen, cursor::Show);
        let _ = disable_raw_mode();
    }
}
