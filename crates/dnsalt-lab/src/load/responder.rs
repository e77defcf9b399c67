//! Answers every query, whichever server it is for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use super::packet::{REPLY, reply};
use super::socket::{BATCH, Socket};
use crate::{Host, LabError};

/// A thread that answers until it is dropped.
#[derive(Debug)]
pub struct Responder {
    ends: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Responder {
    /// On the server, on this processor.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn start(host: &Host, cpu: usize) -> Result<Self, LabError> {
        let mut socket = Socket::open(host, "eth0")?;
        let (ends, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (ended, count) = (Arc::clone(&ends), Arc::clone(&answered));
        let thread = std::thread::spawn(move || {
            super::generator::pin(cpu);
            let mut replies = Vec::with_capacity(BATCH);
            while !ended.load(Ordering::Relaxed) {
                // What the kernel refuses shows as a loss.
                let got = socket.receive(true).unwrap_or(0);
                replies.clear();
                replies.extend((0..got).filter_map(|index| reply(socket.packet(index))));
                let _ = socket.send::<REPLY>(&mut replies);
                count.fetch_add(replies.len() as u64, Ordering::Relaxed);
            }
        });
        Ok(Responder { ends, answered, thread: Some(thread) })
    }

    /// Queries that were answered.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
