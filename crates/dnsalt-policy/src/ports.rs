//! Sets of source ports, and what they are worth in bits.

use std::fmt;
use std::str::FromStr;

use crate::PolicyError;

/// A closed range of ports, `low <= high`, without port 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    low: u16,
    high: u16,
}

impl PortRange {
    /// 1024 to 65535: everything that is not reserved to the system's own services.
    pub const UNPRIVILEGED: PortRange = PortRange { low: 1024, high: u16::MAX };

    /// A range; both ends belong to it.
    ///
    /// # Errors
    /// When `low` is above `high`, or 0.
    pub fn new(low: u16, high: u16) -> Result<Self, PolicyError> {
        if low == 0 {
            return Err(PolicyError::PortRange(format!("{low}-{high}")));
        }
        if low > high {
            return Err(PolicyError::EmptyRange { low, high });
        }
        Ok(PortRange { low, high })
    }

    /// The lowest port.
    pub fn low(self) -> u16 {
        self.low
    }

    /// The highest port.
    pub fn high(self) -> u16 {
        self.high
    }

    /// How many ports there are: 1 to 65535.
    pub fn count(self) -> u32 {
        u32::from(self.high) - u32::from(self.low) + 1
    }

    fn contains(self, port: u16) -> bool {
        (self.low..=self.high).contains(&port)
    }
}

impl From<u16> for PortRange {
    /// One port; 0 stands for itself and is refused where ranges are read from text.
    fn from(port: u16) -> Self {
        PortRange { low: port, high: port }
    }
}

impl FromStr for PortRange {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let port = |text: &str| text.trim().parse::<u16>();
        let parsed = match text.split_once('-') {
            Some((low, high)) => port(low).and_then(|low| Ok((low, port(high)?))),
            None => port(text).map(|port| (port, port)),
        };
        let (low, high) = parsed.map_err(|_| PolicyError::PortRange(text.to_owned()))?;
        PortRange::new(low, high)
    }
}

impl serde::Serialize for PortRange {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.low == self.high {
            write!(f, "{}", self.low)
        } else {
            write!(f, "{}-{}", self.low, self.high)
        }
    }
}

/// The ports that queries may leave from: ranges in ascending order that do not touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSet {
    ranges: Vec<PortRange>,
}

impl PortSet {
    /// Fewer than these are no protection: 8 bits.
    pub const FEWEST: u32 = 256;

    /// What `avoid` leaves of `range`.
    ///
    /// # Errors
    /// When nothing is left, or less than [`PortSet::FEWEST`].
    pub fn new(range: PortRange, avoid: &[PortRange]) -> Result<Self, PolicyError> {
        let mut ranges = Vec::new();
        let mut start = None;
        for port in range.low..=range.high {
            let usable = !avoid.iter().any(|avoided| avoided.contains(port));
            match (usable, start) {
                (true, None) => start = Some(port),
                (false, Some(low)) => {
                    ranges.push(PortRange { low, high: port - 1 });
                    start = None;
                }
                _ => {}
            }
        }
        ranges.extend(start.map(|low| PortRange { low, high: range.high }));
        let set = PortSet { ranges };
        match set.count() {
            0 => Err(PolicyError::NothingLeft { ports: range }),
            left if left < Self::FEWEST => Err(PolicyError::TooFew {
                ports: range,
                left,
                bits: crate::error::Bits::of(set.bits()),
            }),
            _ => Ok(set),
        }
    }

    /// The ranges, ascending.
    pub fn ranges(&self) -> &[PortRange] {
        &self.ranges
    }

    /// The widest range, for firewalls whose NAT rule takes just one.
    pub fn widest(&self) -> PortRange {
        // `max_by_key` gives the last of equals: the higher one, farther from known services.
        self.ranges
            .iter()
            .copied()
            .max_by_key(|range| range.count())
            .unwrap_or(PortRange::UNPRIVILEGED)
    }

    /// How many ports there are.
    pub fn count(&self) -> u32 {
        self.ranges.iter().map(|range| range.count()).sum()
    }

    /// What an attacker has to guess, in bits: log2 of the count.
    pub fn bits(&self) -> f64 {
        f64::from(self.count()).log2()
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges: Vec<_> = self.ranges.iter().map(ToString::to_string).collect();
        f.write_str(&ranges.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(range: &str, avoid: &[&str]) -> Result<PortSet, PolicyError> {
        let avoid: Vec<PortRange> = avoid.iter().map(|text| text.parse().unwrap()).collect();
        PortSet::new(range.parse().unwrap(), &avoid)
    }

    #[test]
    fn avoiding_splits_the_range() {
        let ports = set("1024-65535", &["4789", "4791", "8472", "11211"]).unwrap();
        assert_eq!(ports.to_string(), "1024-4788,4790,4792-8471,8473-11210,11212-65535");
        assert_eq!(ports.count(), 64_508);
        assert_eq!(ports.widest().to_string(), "11212-65535");
        assert!((ports.bits() - 15.977).abs() < 0.001);
    }

    #[test]
    fn ends_and_overlaps_can_be_avoided() {
        let ports = set("1024-2048", &["1000-1100", "1050-1200", "2048"]).unwrap();
        assert_eq!(ports.to_string(), "1201-2047");
        assert_eq!(set("65000-65535", &["65535"]).unwrap().to_string(), "65000-65534");
    }

    #[test]
    fn too_little_is_refused() {
        assert!(matches!(set("4789-4789", &["4789"]), Err(PolicyError::NothingLeft { .. })));
        let few = set("1024-1031", &[]).unwrap_err();
        assert_eq!(
            few.to_string(),
            "`ports` 1024-1031 less `avoid` leaves 8 ports, 3.0 bits; at least 256 are needed for any protection"
        );
    }

    #[test]
    fn ranges_are_read_from_text() {
        assert_eq!("1024-65535".parse(), Ok(PortRange::UNPRIVILEGED));
        assert_eq!("53".parse(), Ok(PortRange::from(53)));
        assert_eq!("9-5".parse::<PortRange>(), Err(PolicyError::EmptyRange { low: 9, high: 5 }));
        for bad in ["", "-", "1-", "0-5", "0", "65536", "1-65536", "a-b", "1-2-3", "-1"] {
            assert!(matches!(bad.parse::<PortRange>(), Err(PolicyError::PortRange(_))), "{bad}");
        }
    }
}
