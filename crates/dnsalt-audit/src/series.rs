//! The queries of one resolver as plain columns, for the tests.

use crate::last::Last;

/// Port and ID of queries in the order of time, without retransmissions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// Nanoseconds since 1970.
    pub times: Vec<u64>,
    /// Any number that tells servers apart.
    pub servers: Vec<u32>,
    /// Source ports.
    pub ports: Vec<u16>,
    /// Query IDs.
    pub ids: Vec<u16>,
    /// A hash of each question.
    pub questions: Vec<u32>,
}

impl Series {
    /// Adds a query.
    pub fn push(&mut self, time: u64, server: u32, port: u16, id: u16, question: u32) {
        self.times.push(time);
        self.servers.push(server);
        self.ports.push(port);
        self.ids.push(id);
        self.questions.push(question);
    }

    /// How many queries there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Forgets all, but keeps the memory.
    pub fn clear(&mut self) {
        self.times.clear();
        self.servers.clear();
        self.ports.clear();
        self.ids.clear();
        self.questions.clear();
    }

    /// For each query the index of the one before it to the same server; its own if it is the first.
    pub(crate) fn before_at_server(&self, last: &mut Last) -> Vec<u32> {
        last.begin(self.len());
        let before = |(i, server): (usize, &u32)| {
            u32::try_from(last.replace(u64::from(*server), i).unwrap_or(i)).unwrap_or(0)
        };
        self.servers.iter().enumerate().map(before).collect()
    }
}
