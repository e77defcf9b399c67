//! Keys, from the bytes that a terminal sends.
//!
//! The few that there are come as a byte each. What has none begins with an escape, and is passed over:
//!
//! ```text
//!   q, 1, space ...   itself           arrows, F1 ...   ESC [ ... letter    ESC O letter
//!   Tab  09   ^C  03   Esc  1b         with Alt         ESC letter
//! ```

/// A key that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// One that has a sign, or space.
    Sign(char),
    Tab,
    Escape,
    ControlC,
}

const ESCAPE: u8 = 0x1b;

/// The keys in what was read at one time.
pub(crate) fn keys(mut bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    while let [first, rest @ ..] = bytes {
        bytes = rest;
        keys.extend(match first {
            0x03 => Some(Key::ControlC),
            b'\t' => Some(Key::Tab),
            &ESCAPE if rest.is_empty() => Some(Key::Escape),
            &ESCAPE => {
                bytes = behind_sequence(rest);
                None
            }
            b' '..=b'~' => Some(Key::Sign(char::from(*first))),
            _ => None,
        });
    }
    keys
}

/// Whether more may be on its way: an escape alone is a key, or the beginning of a longer one.
pub(crate) fn may_go_on(bytes: &[u8]) -> bool {
    bytes.last() == Some(&ESCAPE)
}

/// What stands behind a sequence, of which the escape was taken (ECMA-48 section 5.4).
fn behind_sequence(bytes: &[u8]) -> &[u8] {
    let length = match bytes {
        [b'[', rest @ ..] => rest
            .iter()
            .position(|byte| (0x40..=0x7e).contains(byte))
            .map_or(bytes.len(), |at| at + 2),
        [b'O', _, ..] => 2,
        _ => 1,
    };
    &bytes[length..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_bytes() {
        let expected = [Key::Sign('q'), Key::Sign(' '), Key::Tab, Key::ControlC];
        assert_eq!(keys(b"q \t\x03"), expected);
        assert_eq!(keys("\u{e9}\r\0".as_bytes()), []);
    }

    #[test]
    fn sequences_are_no_escape() {
        assert_eq!(keys(b"\x1b"), [Key::Escape]);
        assert_eq!(keys(b"\x1b[A\x1bOP\x1b[15~\x1bx1"), [Key::Sign('1')]);
        assert_eq!(keys(b"\x1b[1;5"), [], "cut short");
        assert_eq!(keys(b"\x1bO"), []);
        assert!(may_go_on(b"q\x1b") && !may_go_on(b"\x1b[A") && !may_go_on(b""));
    }
}
