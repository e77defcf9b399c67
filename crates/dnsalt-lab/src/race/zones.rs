//! What the name servers of the race know, true and false.
//!
//! ```text
//!   .            bank.test   NS ns1.bank.test ...   10.53.3.53 ...
//!                attack.test NS ns.attack.test      10.53.4.66
//!   bank.test    every name: 192.0.2.80
//!   attack.test  every name: 198.51.100.66, from the attacker's own server,
//!                which would answer for bank.test as well
//! ```

use std::net::Ipv4Addr;
use std::sync::Arc;

use domain::base::iana::{Class, Rcode};
use domain::base::message_builder::{AdditionalBuilder, AnswerBuilder};
use domain::base::opt::Cookie;
use domain::base::opt::cookie::ServerCookie;
use domain::base::{Message, MessageBuilder, Name, ParsedName, Rtype, Serial, ToName, Ttl};
use domain::rdata::{A, Ns, Soa};

use super::network::{ATTACKER, ROOT, servers};
use crate::actor::Answer;

/// The attacked zone.
pub(super) const BANK: &str = "bank.test";
/// Letters of a name that the attacker has asked, like r7.bank.test.
pub const LETTERS: u32 = {
    let (mut letters, mut at) = (1, 0);
    while at < BANK.len() {
        letters += BANK.as_bytes()[at].is_ascii_alphabetic() as u32;
        at += 1;
    }
    letters
};
/// The attacker's own.
pub(super) const ATTACK: &str = "attack.test";
/// What every name of the attacked zone leads to.
pub(super) const REAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);
/// What it leads to once it is poisoned.
pub(super) const FALSE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 66);

/// What servers with cookies give; as long as that of RFC 9018.
const SERVER_COOKIE: [u8; 16] = *b"the lab's cookie";

const TTL: Ttl = Ttl::from_secs(3600);

pub(super) type Labels = Name<Vec<u8>>;

/// A name, written by ourselves.
///
/// # Panics
/// When it is none.
pub(super) fn name(text: &str) -> Labels {
    Name::vec_from_str(text).expect("a name that is written in the lab")
}

/// A zone with its name servers.
type Delegation = (Labels, Vec<(Labels, Ipv4Addr)>);

/// The answers of the root.
pub(super) fn root(count: u8) -> Answer {
    let bank = (1..).zip(servers(count));
    let bank = bank.map(|(i, address)| (name(&format!("ns{i}.{BANK}")), address)).collect();
    let attack = vec![(name(&format!("ns.{ATTACK}")), ATTACKER)];
    let delegations: [Delegation; 2] = [(name(BANK), bank), (name(ATTACK), attack)];
    Arc::new(move |query| {
        let query = Message::from_octets(query).ok()?;
        let qname = query.sole_question().ok()?.into_qname();
        let reply = MessageBuilder::new_vec().start_answer(&query, Rcode::NOERROR).ok()?;
        let mut additional = match delegations.iter().find(|(zone, _)| qname.ends_with(zone)) {
            Some(delegation) => referral(reply, delegation)?,
            None => of_the_root(&query, reply)?,
        };
        edns(&query, &mut additional, false)?;
        Some(additional.finish())
    })
}

fn referral(
    reply: AnswerBuilder<Vec<u8>>,
    (zone, servers): &Delegation,
) -> Option<AdditionalBuilder<Vec<u8>>> {
    let mut authority = reply.authority();
    for (server, _) in servers {
        authority.push((zone, TTL, Ns::new(server))).ok()?;
    }
    let mut additional = authority.additional();
    for (server, address) in servers {
        additional.push((server, TTL, A::new(*address))).ok()?;
    }
    Some(additional)
}

fn of_the_root(
    query: &Message<&[u8]>,
    mut reply: AnswerBuilder<Vec<u8>>,
) -> Option<AdditionalBuilder<Vec<u8>>> {
    let question = query.sole_question().ok()?;
    let (apex, server) = (Labels::root_vec(), name("a.root.test"));
    reply.header_mut().set_aa(true);
    if question.qtype() == Rtype::NS && question.qname() == &apex {
        reply.push((&apex, TTL, Ns::new(&server))).ok()?;
    } else if question.qtype() == Rtype::A && question.qname() == &server {
        reply.push((&server, TTL, A::new(ROOT))).ok()?;
    }
    let mut authority = reply.authority();
    authority.push((&apex, TTL, soa(&apex))).ok()?;
    Some(authority.additional())
}

/// The answers of a server of leaf zones: every name has this address.
pub(super) fn leaf(
    zones: &[&str],
    address: Ipv4Addr,
    own: &[(String, Ipv4Addr)],
    cookies: bool,
) -> Answer {
    let zones: Vec<_> = zones.iter().map(|zone| name(zone)).collect();
    let own: Vec<_> = own.iter().map(|(server, address)| (name(server), *address)).collect();
    Arc::new(move |query| {
        let query = Message::from_octets(query).ok()?;
        let question = query.sole_question().ok()?;
        let qname: ParsedName<_> = question.into_qname();
        let question = query.sole_question().ok()?;
        let Some(zone) = zones.iter().find(|zone| qname.ends_with(zone)) else {
            return refuse(&query);
        };
        let mut reply = MessageBuilder::new_vec().start_answer(&query, Rcode::NOERROR).ok()?;
        reply.header_mut().set_aa(true);
        let is_apex = qname == *zone;
        let mut any = true;
        match question.qtype() {
            Rtype::A => {
                let known = own.iter().find(|(server, _)| qname == *server);
                let address = known.map_or(address, |(_, address)| *address);
                reply.push((&qname, TTL, A::new(address))).ok()?;
            }
            Rtype::NS if is_apex => {
                for (server, _) in own.iter().filter(|(server, _)| server.ends_with(zone)) {
                    reply.push((&qname, TTL, Ns::new(server))).ok()?;
                }
            }
            Rtype::SOA if is_apex => reply.push((&qname, TTL, soa(zone))).ok()?,
            _ => any = false,
        }
        let mut authority = reply.authority();
        if !any {
            authority.push((zone, TTL, soa(zone))).ok()?;
        }
        let mut additional = authority.additional();
        edns(&query, &mut additional, cookies)?;
        Some(additional.finish())
    })
}

fn refuse(query: &Message<&[u8]>) -> Option<Vec<u8>> {
    Some(MessageBuilder::new_vec().start_answer(query, Rcode::REFUSED).ok()?.finish())
}

fn soa(zone: &Labels) -> Soa<Labels> {
    Soa::new(zone.to_name(), name("hostmaster.test"), Serial(1), TTL, TTL, TTL, TTL)
}

/// An OPT record for a query that has one; a cookie for one that has one, if there are any here.
fn edns(
    query: &Message<&[u8]>,
    reply: &mut AdditionalBuilder<Vec<u8>>,
    cookies: bool,
) -> Option<()> {
    if let Some(asked) = query.opt() {
        let asked = asked.opt().first::<Cookie>().filter(|_| cookies);
        reply
            .opt(|opt| {
                opt.set_udp_payload_size(1232);
                match asked {
                    // Which one does not matter: an attacker who sees none has to guess the client's.
                    Some(cookie) => {
                        let own = ServerCookie::from_octets(&SERVER_COOKIE);
                        opt.cookie(Cookie::new(cookie.client(), Some(own)))
                    }
                    None => Ok(()),
                }
            })
            .ok()?;
    }
    Some(())
}

/// What the attacker wants to be believed (Kaminsky 2008): an answer to the question that was asked, and
/// with it, if it wants the whole zone, that this has another server. ID 0, to be set for each packet.
///
/// ```text
///   r7.bank.test     A  198.51.100.66
///   bank.test        NS www.bank.test
///   www.bank.test    A  10.53.4.66
/// ```
pub(super) fn forged(asked: &str, whole_zone: bool) -> Option<Vec<u8>> {
    let (zone, qname, www) = (name(BANK), name(asked), name(&format!("www.{BANK}")));
    let mut question = MessageBuilder::new_vec().question();
    question.push((&qname, Rtype::A, Class::IN)).ok()?;
    let header = question.header_mut();
    header.set_qr(true);
    header.set_aa(true);
    let mut answer = question.answer();
    answer.push((&qname, TTL, A::new(FALSE))).ok()?;
    let mut authority = answer.authority();
    if whole_zone {
        authority.push((&zone, TTL, Ns::new(&www))).ok()?;
    }
    let mut additional = authority.additional();
    if whole_zone {
        additional.push((&www, TTL, A::new(ATTACKER))).ok()?;
    }
    Some(additional.finish())
}
