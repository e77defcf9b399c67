//! What is forged in the name of a server, and when it is asked over TCP alone.

use std::net::IpAddr;

use dnsalt_salt::layout::Counter;

use super::{Model, SECOND, Server};

impl Model {
    pub(super) fn is_locked(&self, server: IpAddr) -> bool {
        self.servers
            .get(&server)
            .and_then(|server| server.locked_until)
            .is_some_and(|until| self.now <= until)
            && (self.terms.lockdown_after != 0 || self.terms.lockdown_unsolicited != 0)
    }

    /// What is counted of a server in this second.
    fn second(&mut self, server: IpAddr) -> &mut Server {
        let now = self.now;
        let server = self.servers.entry(server).or_default();
        if server.since.is_none_or(|since| now - since >= SECOND) {
            *server =
                Server { since: Some(now), locked_until: server.locked_until, ..Server::default() };
        }
        server
    }

    pub(super) fn missed(&mut self, server: IpAddr) {
        let enough = self.terms.lockdown_after;
        if enough == 0 {
            return;
        }
        let one = self.second(server);
        one.misses += 1;
        if one.misses >= enough {
            self.lock(server);
        }
    }

    pub(super) fn unsolicited(&mut self, server: IpAddr) {
        let (enough, most) = (self.terms.lockdown_after, self.terms.lockdown_unsolicited);
        if enough == 0 && most == 0 {
            return;
        }
        let locked = self.is_locked(server);
        let one = self.second(server);
        one.unsolicited += 1;
        let mut goes_on = most != 0 && one.unsolicited > most;
        if !goes_on && enough != 0 && locked {
            one.misses += 1;
            goes_on = one.misses >= enough;
        }
        if goes_on {
            self.lock(server);
        }
    }

    fn lock(&mut self, server: IpAddr) {
        if !self.is_locked(server) {
            self.tally(Counter::Lockdowns);
        }
        // The engine's odd numbers are one more at most.
        let until = self.now + self.terms.lockdown;
        self.servers.entry(server).or_default().locked_until = Some(until);
    }
}
