//! Numbers and times as they stand in lines and tables.

use dnsalt_audit::grouped;

use crate::watch::history::SECOND;

/// `1,204`.
pub(super) fn number(count: u64) -> String {
    grouped(count as f64)
}

/// A rate: `0.3`, `9.8`, `1,204`.
pub(super) fn rate(rate: f64) -> String {
    if rate > 0.0 && rate < 9.95 && (rate - rate.round()).abs() > 0.04 {
        format!("{rate:.1}")
    } else {
        grouped(rate)
    }
}

/// `42 s`, `13 min`, `2 h 13 min`, `3 d 4 h`.
pub(super) fn span(seconds: u64) -> String {
    let two = |large: u64, name: &str, small: u64, other: &str| match small {
        0 => format!("{large} {name}"),
        _ => format!("{large} {name} {small} {other}"),
    };
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=3_599 => format!("{} min", seconds / 60),
        3_600..=86_399 => two(seconds / 3600, "h", seconds / 60 % 60, "min"),
        _ => two(seconds / 86_400, "d", seconds / 3600 % 24, "h"),
    }
}

/// How long ago a time was, both in nanoseconds since 1970.
pub(super) fn ago(now: u64, then: u64) -> String {
    format!("{} ago", span(now.saturating_sub(then) / SECOND))
}

/// The time of day, UTC, of nanoseconds since 1970.
pub(super) fn clock(time: u64) -> String {
    let of_day = time / SECOND % 86_400;
    format!("{:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

/// A text of at most `width` signs; what is too much is left out in the middle, where addresses of one
/// network look the same.
pub(super) fn shortened(text: &str, width: usize) -> String {
    let signs: Vec<char> = text.chars().collect();
    if signs.len() <= width {
        return text.to_owned();
    }
    let (head, tail) = (width / 2, width.saturating_sub(width / 2 + 1));
    let ends = [&signs[..head], &['…'], &signs[signs.len() - tail..]];
    ends.concat().into_iter().take(width).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_for_people() {
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!([0.0, 0.3, 2.0, 9.94, 1204.4].map(rate), ["0", "0.3", "2", "9.9", "1,204"]);
        let spans = [7, 119, 120, 3600, 8000, 90_000].map(span);
        assert_eq!(spans, ["7 s", "119 s", "2 min", "1 h", "2 h 13 min", "1 d 1 h"]);
        assert_eq!(clock(86_399 * SECOND), "23:59:59");
        assert_eq!(ago(10 * SECOND, 12 * SECOND), "0 s ago");
    }

    #[test]
    fn long_addresses_keep_both_ends() {
        assert_eq!(shortened("10.0.0.1", 8), "10.0.0.1");
        assert_eq!(shortened("2001:db8:1:2:3:4:5:6", 11), "2001:…4:5:6");
        assert_eq!(shortened("abc", 1), "…");
        assert_eq!(shortened("abc", 0), "");
    }
}
