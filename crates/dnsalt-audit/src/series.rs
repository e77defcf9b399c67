//! The queries of one resolver as plain columns, for the tests.

/// Port and ID of queries in the order of time, without retransmissions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// Nanoseconds since 1970.
    pub times: Vec<u64>,
    /// Numbers that tell servers apart, counted from 0.
    pub servers: Vec<u32>,
    /// Source ports.
    pub ports: Vec<u16>,
    /// Query IDs.
    pub ids: Vec<u16>,
    /// A hash of each question.
    pub questions: Vec<u32>,
}

impl Series {
    /// Room for so many queries.
    pub(crate) fn with_capacity(count: usize) -> Self {
        Series {
            times: Vec::with_capacity(count),
            servers: Vec::with_capacity(count),
            ports: Vec::with_capacity(count),
            ids: Vec::with_capacity(count),
            questions: Vec::with_capacity(count),
        }
    }

    /// Adds a query.
    #[inline]
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
    /// `places` is room that is used again.
    pub(crate) fn before_at_server(&self, places: &mut Vec<u32>) -> Vec<u32> {
        const NONE: u32 = u32::MAX;
        let most = self.servers.iter().max().map_or(0, |most| *most as usize + 1);
        if places.len() < most {
            places.resize(most, NONE);
        }
        let mut all = Vec::with_capacity(self.servers.len());
        for (i, server) in (0..).zip(&self.servers) {
            let before = std::mem::replace(&mut places[*server as usize], i);
            all.push(if before == NONE { i } else { before });
        }
        for server in &self.servers {
            places[*server as usize] = NONE;
        }
        all
    }
}
