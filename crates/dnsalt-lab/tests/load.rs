//! Load goes through a gateway, and every answer is the right one.

use std::time::Duration;

use dnsalt_lab::load::{Generator, Path, Responder, Shape};
use dnsalt_lab::require_root;

fn path() -> Option<Path> {
    match require_root() {
        Ok(()) => Some(Path::new().unwrap()),
        Err(why) => {
            eprintln!("skipped: {why}");
            None
        }
    }
}

#[test]
fn every_shape_is_answered() {
    let Some(path) = path() else { return };
    let responder = Responder::start(&path.server, 1).unwrap();
    for shape in Shape::ALL {
        let mut generator = Generator::new(&path.client, shape, None).unwrap();
        let fast = generator.as_fast_as_it_goes(256, Duration::from_millis(200)).unwrap();
        assert!(fast.answered > 1000 && fast.wrong == 0 && fast.lost == 0, "{shape:?}: {fast:?}");
        let slow = generator.at_rate(2000.0, Duration::from_millis(200)).unwrap();
        assert!((200..=400).contains(&slow.sent), "{shape:?}: {}", slow.sent);
        assert!(slow.wrong == 0 && slow.lost == 0, "{shape:?}: {slow:?}");
        assert!(slow.percentile(0.5) > Some(Duration::ZERO));
    }
    assert!(responder.answered() > 4000);
}

#[test]
fn what_is_dropped_is_lost() {
    let Some(path) = path() else { return };
    let mut generator = Generator::new(&path.client, Shape::Fixed, None).unwrap();
    let outcome = generator.at_rate(1000.0, Duration::from_millis(100)).unwrap();
    assert_eq!((outcome.answered, outcome.lost), (0, outcome.sent));
}
