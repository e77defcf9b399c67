//! Errors of ICMP that quote a salted query: its port and ID are put back, or they are dropped. An error
//! that quotes what never left is an attacker's, who would measure by it or split replies into
//! fragments.

use crate::ingress::Origin;
use crate::layout::Counter;
use crate::slot::{self, is_server, is_source, is_still};
use crate::tables::is_let_through;
use crate::{Address, Tables, taken};

/// What is quoted of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// From which address it left.
    pub source: Address,
    /// Who was asked.
    pub server: Address,
    /// From which port it left.
    pub port: u16,
    /// On which port it asked.
    pub server_port: u16,
}

/// What to do with the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it in as it is.
    Pass,
    /// Let it in, with this port and ID in the quote.
    Translate(Origin),
    /// Do not let it in.
    Drop,
}

/// Decides on an error that quotes a query of somebody whose queries are salted.
#[inline(always)]
pub fn error<T: Tables>(tables: &T, quote: &Quote) -> Verdict {
    let config = tables.config();
    let place = taken::place(config.key[0], quote.source, quote.server, quote.port);
    let Some(word) = tables.taken(place) else { return Verdict::Pass };
    let now = tables.now();
    if let Some((_, slot, state)) = taken::find(tables, word, quote.port, now)
        && state.is_outstanding(now)
        && is_still(slot, state)
        && is_server(slot, quote.server, quote.server_port)
        && is_source(tables, slot, state, quote.source, quote.server)
    {
        let client = Address::of(&slot.client);
        let origin = Origin {
            client,
            port: slot.client_port.load(),
            id: slot.client_id.load(),
            added: slot::added(slot),
        };
        if is_still(slot, state) {
            tables.count(Counter::IcmpTranslated);
            return Verdict::Translate(origin);
        }
    }
    if is_let_through(tables, quote.source, quote.port) {
        return Verdict::Pass;
    }
    tables.count(Counter::IcmpDropped);
    Verdict::Drop
}
