//! The filter in the kernel: classic BPF, made for a list of ports.
//!
//! ```text
//!   ip[0] >> 4 == 4 ──> not a later fragment, UDP or TCP ──> x = header length ──┐
//!             == 6 ──> next header UDP or TCP ───────────> x = 40 ──────────────┤
//!             else drop                       source or destination port in the list? keep
//! ```

/// A filter for UDP and TCP packets, IPv4 and IPv6, from or to one of a few ports.
///
/// IPv6 packets with extension headers and later fragments do not pass: DNS has neither as a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortFilter {
    program: Vec<Instruction>,
}

/// The list of ports makes no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a filter takes 1 to {most} ports, not {given}", most = PortFilter::MOST)]
pub struct FilterError {
    given: usize,
}

/// `struct sock_filter`: operation, jump if true, jump if false, operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) if_true: u8,
    pub(crate) if_false: u8,
    pub(crate) operand: u32,
}

// The operations we use, from linux/bpf_common.h.
const LOAD_BYTE: u16 = 0x30; // a = packet[k], one byte
const LOAD_HALF: u16 = 0x28; // a = packet[k], two bytes
const LOAD_HALF_X: u16 = 0x48; // a = packet[x + k], two bytes
const X_HEADER: u16 = 0xb1; // x = 4 * (packet[k] & 0xf)
const X_SET: u16 = 0x01; // x = k
const SHIFT_RIGHT: u16 = 0x74; // a >>= k
const JUMP: u16 = 0x05; // forward by k
const JUMP_EQUAL: u16 = 0x15; // a == k?
const JUMP_ANY_BIT: u16 = 0x45; // a & k?
const RETURN: u16 = 0x06; // keep k bytes

const KEEP: u32 = 0x0004_0000;

impl PortFilter {
    /// The most ports that fit the jumps of classic BPF.
    pub const MOST: usize = 64;

    /// A filter for these ports.
    ///
    /// # Errors
    /// When there are none, or more than [`PortFilter::MOST`].
    pub fn new(ports: &[u16]) -> Result<Self, FilterError> {
        if ports.is_empty() || ports.len() > Self::MOST {
            return Err(FilterError { given: ports.len() });
        }
        let op = |code, operand| Instruction { code, if_true: 0, if_false: 0, operand };
        let jump =
            |code, operand, if_true, if_false| Instruction { code, if_true, if_false, operand };
        let mut program = vec![
            op(LOAD_BYTE, 0),
            op(SHIFT_RIGHT, 4),
            jump(JUMP_EQUAL, 4, 2, 0),
            jump(JUMP_EQUAL, 6, 8, 0),
            op(RETURN, 0),
            // IPv4
            op(LOAD_HALF, 6),
            jump(JUMP_ANY_BIT, 0x1fff, 3, 0),
            op(LOAD_BYTE, 9),
            jump(JUMP_EQUAL, 17, 2, 0),
            jump(JUMP_EQUAL, 6, 1, 0),
            op(RETURN, 0),
            jump(JUMP, 5, 0, 0),
            // IPv6
            op(LOAD_BYTE, 6),
            jump(JUMP_EQUAL, 17, 2, 0),
            jump(JUMP_EQUAL, 6, 1, 0),
            op(RETURN, 0),
            jump(JUMP, 2, 0, 0),
            // x = length of the IP header
            op(X_HEADER, 0),
            jump(JUMP, 1, 0, 0),
            op(X_SET, 40),
        ];
        for offset in [0, 2] {
            program.push(op(LOAD_HALF_X, offset));
            for port in ports {
                // Equal: fall on the return behind this; else over it.
                program.push(jump(JUMP_EQUAL, u32::from(*port), 0, 1));
                program.push(op(RETURN, KEEP));
            }
        }
        program.push(op(RETURN, 0));
        Ok(PortFilter { program })
    }

    pub(crate) fn program(&self) -> &[Instruction] {
        &self.program
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel does with a program, for the operations that we use.
    fn keeps(filter: &PortFilter, packet: &[u8]) -> bool {
        let (mut a, mut x, mut at) = (0_u32, 0_usize, 0);
        loop {
            let Instruction { code, if_true, if_false, operand: k } = filter.program[at];
            let byte = |at: usize| packet.get(at).copied().map(u32::from);
            let half = |at: usize| Some(byte(at)? << 8 | byte(at + 1)?);
            let index = k as usize;
            let jump = |condition: bool| usize::from(if condition { if_true } else { if_false });
            at += 1;
            // A load beyond the end of the packet ends the program: drop.
            let loaded = match code {
                LOAD_BYTE | X_HEADER => byte(index),
                LOAD_HALF => half(index),
                LOAD_HALF_X => half(x + index),
                _ => Some(0),
            };
            let Some(loaded) = loaded else { return false };
            match code {
                LOAD_BYTE | LOAD_HALF | LOAD_HALF_X => a = loaded,
                X_HEADER => x = 4 * (loaded as usize & 0xf),
                X_SET => x = index,
                SHIFT_RIGHT => a >>= k,
                JUMP => at += index,
                JUMP_EQUAL => at += jump(a == k),
                JUMP_ANY_BIT => at += jump(a & k != 0),
                RETURN => return k != 0,
                other => panic!("{other:#x}"),
            }
        }
    }

    fn v4(protocol: u8, words: u8, fragment: u16, source: u16, destination: u16) -> Vec<u8> {
        let mut packet = vec![0; usize::from(words) * 4];
        packet[0] = 0x40 | words;
        packet[6..8].copy_from_slice(&fragment.to_be_bytes());
        packet[9] = protocol;
        packet.extend_from_slice(&source.to_be_bytes());
        packet.extend_from_slice(&destination.to_be_bytes());
        packet
    }

    fn v6(protocol: u8, source: u16, destination: u16) -> Vec<u8> {
        let mut packet = vec![0; 40];
        packet[0] = 0x60;
        packet[6] = protocol;
        packet.extend_from_slice(&source.to_be_bytes());
        packet.extend_from_slice(&destination.to_be_bytes());
        packet
    }

    #[test]
    fn dns_in_both_families_and_directions_is_kept() {
        let filter = PortFilter::new(&[53, 5353]).unwrap();
        for protocol in [17, 6] {
            assert!(keeps(&filter, &v4(protocol, 5, 0, 44444, 53)));
            assert!(keeps(&filter, &v4(protocol, 5, 0, 53, 44444)));
            assert!(keeps(&filter, &v4(protocol, 15, 0, 1, 5353)), "with options");
            assert!(keeps(&filter, &v4(protocol, 5, 0x2000, 1, 53)), "the first fragment");
            assert!(keeps(&filter, &v6(protocol, 5353, 1)));
            assert!(keeps(&filter, &v6(protocol, 1, 53)));
        }
    }

    #[test]
    fn all_else_is_dropped() {
        let filter = PortFilter::new(&[53]).unwrap();
        assert!(!keeps(&filter, &v4(17, 5, 0, 44444, 54)));
        assert!(!keeps(&filter, &v4(17, 5, 185, 1, 53)), "a later fragment");
        assert!(!keeps(&filter, &v4(1, 5, 0, 53, 53)), "ICMP");
        assert!(!keeps(&filter, &v6(58, 53, 53)), "ICMPv6");
        assert!(!keeps(&filter, &v6(17, 1, 2)));
        assert!(!keeps(&filter, &[0x50; 60]));
        assert!(!keeps(&filter, &[0x45]), "cut short");
        assert!(!keeps(&filter, &[]));
    }

    #[test]
    fn the_number_of_ports_is_bounded() {
        assert!(PortFilter::new(&[]).is_err());
        let many: Vec<u16> = (1..=65).collect();
        assert!(PortFilter::new(&many).is_err());
        let filter = PortFilter::new(&many[..64]).unwrap();
        assert!(keeps(&filter, &v4(17, 5, 0, 999, 64)));
        assert!(!keeps(&filter, &v4(17, 5, 0, 999, 65)));
    }
}
