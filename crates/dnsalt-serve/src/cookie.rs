//! Server cookies (RFC 7873) as RFC 9018 makes them: whoever sends one back has received a packet at its address.
//!
//! ```text
//!   version 1 | reserved (3) | timestamp (4) | SipHash-2-4(key, client cookie, the above, address) (8)
//! ```

use std::net::IpAddr;

use siphasher::sip::SipHasher24;

/// Bytes of ours.
pub(crate) const LENGTH: usize = 16;
/// So old, and so new where clocks differ, a cookie may be, in seconds (RFC 9018 section 4.3).
const PAST: u32 = 3600;
const FUTURE: u32 = 300;

/// A cookie for a client that sent this one.
pub(crate) fn of(key: &[u8; 16], client: [u8; 8], address: IpAddr, now: u32) -> [u8; LENGTH] {
    let mut cookie = [0; LENGTH];
    cookie[0] = 1;
    cookie[4..8].copy_from_slice(&now.to_be_bytes());
    let hash = hash(key, client, &cookie[..8], address);
    cookie[8..].copy_from_slice(&hash);
    cookie
}

/// Whether a cookie is ours, for this client at this address, and not too old.
pub(crate) fn is_good(
    key: &[u8; 16],
    client: [u8; 8],
    cookie: &[u8],
    address: IpAddr,
    now: u32,
) -> bool {
    let Some(cookie) = cookie.first_chunk::<LENGTH>().filter(|_| cookie.len() == LENGTH) else {
        return false;
    };
    let made = u32::from_be_bytes([cookie[4], cookie[5], cookie[6], cookie[7]]);
    // Serial number arithmetic (RFC 1982).
    let fresh = now.wrapping_sub(made) <= PAST || made.wrapping_sub(now) <= FUTURE;
    cookie[0] == 1 && fresh && hash(key, client, &cookie[..8], address) == cookie[8..]
}

fn hash(key: &[u8; 16], client: [u8; 8], head: &[u8], address: IpAddr) -> [u8; 8] {
    let mut input = [0; 32];
    input[..8].copy_from_slice(&client);
    input[8..16].copy_from_slice(head);
    let length = match address {
        IpAddr::V4(address) => {
            input[16..20].copy_from_slice(&address.octets());
            20
        }
        IpAddr::V6(address) => {
            input[16..].copy_from_slice(&address.octets());
            32
        }
    };
    SipHasher24::new_with_key(key).hash(&input[..length]).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9018, appendix A.1.
    #[test]
    fn the_first_example_of_the_rfc() {
        let key = [
            0xe5, 0xe9, 0x73, 0xe5, 0xa6, 0xb2, 0xa4, 0x3f, 0x48, 0xe7, 0xdc, 0x84, 0x9e, 0x37,
            0xbf, 0xcf,
        ];
        let client = [0x24, 0x64, 0xc4, 0xab, 0xcf, 0x10, 0xc9, 0x57];
        let cookie = of(&key, client, "198.51.100.100".parse().unwrap(), 1_559_731_985);
        let expected = [
            0x01, 0x00, 0x00, 0x00, 0x5c, 0xf7, 0x9f, 0x11, 0x1f, 0x81, 0x30, 0xc3, 0xee, 0xe2,
            0x94, 0x80,
        ];
        assert_eq!(cookie, expected);
    }

    #[test]
    fn only_its_own_client_has_it_and_not_for_ever() {
        let (key, client, now) = ([7; 16], [1; 8], 1_800_000_000);
        for address in ["192.0.2.1", "2001:db8::1"] {
            let address: IpAddr = address.parse().unwrap();
            let cookie = of(&key, client, address, now);
            let good =
                |client, cookie: &[u8], address, now| is_good(&key, client, cookie, address, now);
            assert!(
                good(client, &cookie, address, now) && good(client, &cookie, address, now + 3600)
            );
            assert!(good(client, &cookie, address, now - 300));
            assert!(
                !good(client, &cookie, address, now + 3601)
                    && !good(client, &cookie, address, now - 301)
            );
            assert!(!good([2; 8], &cookie, address, now));
            assert!(!good(client, &cookie, "192.0.2.2".parse().unwrap(), now));
            assert!(!good(client, &cookie[..15], address, now) && !good(client, &[], address, now));
            assert!(!is_good(&[8; 16], client, &cookie, address, now));
        }
    }
}
