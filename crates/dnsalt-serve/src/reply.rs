//! Replies, written into a buffer that is used again: header and question of the query, then what is added.

use std::net::IpAddr;

use dnsalt_wire::dns::edns::option;
use dnsalt_wire::dns::rrtype;

const HEADER: usize = 12;
const IN: u16 = 1;
/// What we take over UDP, and send at most (the DNS flag day of 2020).
pub(crate) const EDNS_SIZE: u16 = 1232;
/// The largest offset that a compression pointer holds.
const FARTHEST: usize = 0x3fff;

/// Response codes.
pub(crate) mod rcode {
    pub(crate) const FORMERR: u8 = 1;
    pub(crate) const NXDOMAIN: u8 = 3;
    pub(crate) const NOTIMP: u8 = 4;
    pub(crate) const REFUSED: u8 = 5;
}

/// A section that records can be added to, in this order.
#[derive(Clone, Copy)]
pub(crate) enum Section {
    Answer = 6,
    Authority = 8,
}

/// The OPT record of a reply.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Opt<'a> {
    /// The extended response code: 16 for a version that is not known.
    pub(crate) bad_version: bool,
    /// DO, as it was asked.
    pub(crate) dnssec_ok: bool,
    /// Client and server cookie.
    pub(crate) cookie: Option<([u8; 8], [u8; 16])>,
    /// What this server is called.
    pub(crate) nsid: Option<&'a [u8]>,
}

/// Whom a record is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner(pub(crate) u16);

/// A reply that is being written.
pub(crate) struct Reply<'a> {
    out: &'a mut Vec<u8>,
    question: usize,
}

impl<'a> Reply<'a> {
    /// To a query whose question ends at `question`; with the header alone if that is no more than its 12 bytes.
    pub(crate) fn to(query: &[u8], question: usize, out: &'a mut Vec<u8>) -> Self {
        out.clear();
        out.extend_from_slice(&query[..question]);
        // QR, the kind of query, RD; AA, TC, RA and all the rest is ours to say.
        out[2] = 0x80 | query[2] & 0x79;
        out[3] = 0;
        out[4..HEADER].fill(0);
        out[5] = u8::from(question > HEADER);
        Reply { out, question }
    }

    pub(crate) fn set_code(&mut self, code: u8) {
        self.out[3] = code;
    }

    pub(crate) fn set_authoritative(&mut self) {
        self.out[2] |= 0x04;
    }

    /// Who says where to ask does not answer.
    pub(crate) fn set_referral(&mut self) {
        self.out[2] &= !0x04;
    }

    /// Without any records, to be asked for over TCP.
    pub(crate) fn truncate(&mut self) {
        self.out.truncate(self.question);
        self.out[6..HEADER].fill(0);
        self.out[2] |= 0x02;
    }

    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    fn record(
        &mut self,
        section: Section,
        owner: Owner,
        rtype: u16,
        ttl: u32,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let Owner(owner) = owner;
        self.out.extend_from_slice(&(0xc000 | owner).to_be_bytes());
        self.out.extend_from_slice(&rtype.to_be_bytes());
        self.out.extend_from_slice(&IN.to_be_bytes());
        self.out.extend_from_slice(&ttl.to_be_bytes());
        let length_at = self.out.len();
        self.out.extend_from_slice(&[0, 0]);
        write(self.out);
        let length = (self.out.len() - length_at - 2) as u16;
        self.out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
        // No reply has more than a few.
        self.out[section as usize + 1] += 1;
    }

    /// An alias: these labels, then the name at `suffix`.
    pub(crate) fn cname(&mut self, owner: Owner, labels: &[&[u8]], suffix: u16) {
        self.record(Section::Answer, owner, rrtype::CNAME, 0, |out| name(out, labels, suffix));
    }

    /// A name server: these labels, then the name at `suffix`.
    pub(crate) fn ns(
        &mut self,
        section: Section,
        owner: Owner,
        labels: &[&[u8]],
        suffix: u16,
        ttl: u32,
    ) {
        self.record(section, owner, rrtype::NS, ttl, |out| name(out, labels, suffix));
    }

    pub(crate) fn txt<'t>(
        &mut self,
        owner: Owner,
        strings: impl IntoIterator<Item = &'t [u8]>,
        ttl: u32,
    ) {
        self.record(Section::Answer, owner, rrtype::TXT, ttl, |out| {
            for text in strings {
                out.push(text.len() as u8);
                out.extend_from_slice(text);
            }
        });
    }

    pub(crate) fn address(&mut self, owner: Owner, address: IpAddr, ttl: u32) {
        match address {
            IpAddr::V4(address) => self.record(Section::Answer, owner, rrtype::A, ttl, |out| {
                out.extend_from_slice(&address.octets());
            }),
            IpAddr::V6(address) => self.record(Section::Answer, owner, rrtype::AAAA, ttl, |out| {
                out.extend_from_slice(&address.octets());
            }),
        }
    }

    /// The start of the zone: server, mailbox, serial, and times, the last of which is how long "no" is kept.
    pub(crate) fn soa(&mut self, section: Section, zone: Owner, ttl: u32) {
        let Owner(at) = zone;
        self.record(section, zone, rrtype::SOA, ttl, |out| {
            name(out, &[b"ns"], at);
            name(out, &[b"hostmaster"], at);
            for number in [1_u32, 3600, 600, 604_800, 5] {
                out.extend_from_slice(&number.to_be_bytes());
            }
        });
    }

    /// The OPT record, which comes last.
    pub(crate) fn opt(&mut self, opt: &Opt<'_>) {
        let out = &mut *self.out;
        out.push(0);
        out.extend_from_slice(&rrtype::OPT.to_be_bytes());
        out.extend_from_slice(&EDNS_SIZE.to_be_bytes());
        out.extend_from_slice(&[u8::from(opt.bad_version), 0]);
        out.extend_from_slice(&[u8::from(opt.dnssec_ok) << 7, 0]);
        let length_at = out.len();
        out.extend_from_slice(&[0, 0]);
        if let Some((client, server)) = opt.cookie {
            out.extend_from_slice(&option::COOKIE.to_be_bytes());
            out.extend_from_slice(&24_u16.to_be_bytes());
            out.extend_from_slice(&client);
            out.extend_from_slice(&server);
        }
        if let Some(nsid) = opt.nsid {
            out.extend_from_slice(&option::NSID.to_be_bytes());
            out.extend_from_slice(&(nsid.len() as u16).to_be_bytes());
            out.extend_from_slice(nsid);
        }
        let length = (out.len() - length_at - 2) as u16;
        out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
        out[11] += 1;
    }
}

/// Where a name is that ends the name of the question, and has this length.
pub(crate) fn suffix(question_name: usize, length: usize) -> u16 {
    ((HEADER + question_name - length) & FARTHEST) as u16
}

fn name(out: &mut Vec<u8>, labels: &[&[u8]], suffix: u16) {
    for label in labels {
        out.push(label.len() as u8);
        out.extend_from_slice(label);
    }
    out.extend_from_slice(&(0xc000 | suffix).to_be_bytes());
}
