//! The router: turns, credit, bounds, and ends.

use addon::link::{Frame, INITIAL_CREDIT};
use addon::router::{Action, CHANNELS, Event, Router, SILENCE_MS};

fn open(router: &mut Router, driver: u32, channel: u32, name: &str) -> u32 {
    router.handle(Event::FromDriver(
        driver,
        channel,
        Frame::Open(name.to_owned()),
    ));
    let Some(Action::Connect(link, container)) = router.poll_action() else {
        panic!("nothing to connect to");
    };
    assert_eq!(container, name);
    router.handle(Event::Linked(link));
    assert_eq!(router.poll_driver(driver), Some((channel, Frame::Opened)));
    link
}

fn message(len: usize) -> Frame {
    Frame::Message(vec![7; len])
}

#[test]
fn a_flood_takes_its_turns_and_no_more_than_its_credit() {
    let mut router = Router::new();
    router.handle(Event::Connected(1));
    let loud = open(&mut router, 1, 10, "step-loud");
    let quiet = open(&mut router, 1, 20, "step-quiet");
    let mut sent = 0;
    while router.wants_addon(loud) {
        router.handle(Event::FromAddon(loud, message(65_536)));
        sent += 65_536;
    }
    assert!(sent <= 256 * 1024, "its addon is no longer read: {sent}");
    router.handle(Event::FromAddon(quiet, message(5)));
    let turns: Vec<u32> = std::iter::from_fn(|| router.poll_driver(1))
        .map(|(channel, _)| channel)
        .collect();
    assert!(turns[..2].contains(&20), "{turns:?}");
    // The credit is used up; the rest waits, the other goes on.
    while router.wants_addon(loud) {
        router.handle(Event::FromAddon(loud, message(65_536)));
        while router.poll_driver(1).is_some() {}
    }
    router.handle(Event::FromAddon(quiet, message(5)));
    assert_eq!(router.poll_driver(1), Some((20, message(5))));
    assert_eq!(router.poll_driver(1), None);
    router.handle(Event::FromDriver(1, 10, Frame::Credit(INITIAL_CREDIT)));
    assert!(matches!(
        router.poll_driver(1),
        Some((10, Frame::Message(_)))
    ));
    assert_eq!(
        router.poll_addon(loud),
        Some(Frame::Credit(INITIAL_CREDIT)),
        "the addon hears of it"
    );
    // A cancel goes the other way and waits for nothing of this.
    router.handle(Event::FromDriver(1, 10, message(9)));
    assert_eq!(router.poll_addon(loud), Some(message(9)));
}

#[test]
fn the_last_words_of_an_addon_come_before_its_end() {
    let mut router = Router::new();
    router.handle(Event::Connected(1));
    let link = open(&mut router, 1, 3, "step-a");
    router.handle(Event::FromAddon(link, message(4)));
    router.handle(Event::Unlinked(link, "gone".to_owned()));
    assert_eq!(router.poll_driver(1), Some((3, message(4))));
    assert_eq!(
        router.poll_driver(1),
        Some((3, Frame::Close("gone".to_owned())))
    );
    // The channel's number may be used again.
    open(&mut router, 1, 3, "step-a");
}

#[test]
fn who_breaks_the_rules_ends_alone() {
    let mut router = Router::new();
    router.handle(Event::Connected(1));
    router.handle(Event::Connected(2));
    let bad = open(&mut router, 1, 1, "step-bad");
    let good = open(&mut router, 2, 1, "step-good");
    router.handle(Event::FromAddon(bad, Frame::Open("step-good".to_owned())));
    assert_eq!(router.poll_action(), Some(Action::Drop(bad)));
    assert!(matches!(router.poll_driver(1), Some((1, Frame::Close(_)))));
    for name in ["", "../x", "a/b", "-x", "UPPER", &"x".repeat(64)] {
        router.handle(Event::FromDriver(1, 7, Frame::Open(name.to_owned())));
        assert!(
            matches!(router.poll_driver(1), Some((7, Frame::Close(_)))),
            "{name}"
        );
    }
    for channel in 0..=CHANNELS as u32 {
        router.handle(Event::FromDriver(
            1,
            channel,
            Frame::Open("step-a".to_owned()),
        ));
    }
    let actions: Vec<Action> = std::iter::from_fn(|| router.poll_action()).collect();
    assert_eq!(actions.last(), Some(&Action::Hang(1)));
    router.handle(Event::FromAddon(good, message(1)));
    assert_eq!(router.poll_driver(2), Some((1, message(1))));
    router.handle(Event::Disconnected(1));
    let drops = std::iter::from_fn(|| router.poll_action()).count();
    assert_eq!(drops, CHANNELS);
}

#[test]
fn a_driver_that_only_asks_is_not_read_for_ever() {
    let mut router = Router::new();
    router.handle(Event::Connected(1));
    let mut pings = 0;
    while router.wants_driver(1) {
        router.handle(Event::FromDriver(1, 0, Frame::Ping));
        pings += 1;
        assert!(pings < 10_000);
    }
    while router.poll_driver(1).is_some() {}
    assert!(router.wants_driver(1));
    let link = open(&mut router, 1, 1, "step-a");
    let mut bytes = 0usize;
    while router.wants_driver(1) {
        router.handle(Event::FromDriver(1, 1, message(1 << 20)));
        bytes += 1 << 20;
        assert!(bytes < 1 << 28);
    }
    assert!(router.poll_addon(link).is_some());
    assert!(router.wants_driver(1));
}

#[test]
fn a_driver_that_has_pinged_and_falls_silent_is_hung_up() {
    let mut router = Router::new();
    router.at(1_000);
    router.handle(Event::Connected(1));
    router.handle(Event::Connected(2));
    let _ = open(&mut router, 1, 10, "step-a");
    let _ = open(&mut router, 2, 10, "step-a");
    assert_eq!(router.poll_timeout(), None, "nobody has promised anything");
    router.handle(Event::FromDriver(1, 0, Frame::Ping));
    assert_eq!(router.poll_driver(1), Some((0, Frame::Pong)));
    assert_eq!(router.poll_timeout(), Some(1_000 + SILENCE_MS));
    // Whatever it says counts.
    router.at(SILENCE_MS);
    router.handle(Event::FromDriver(1, 10, Frame::Credit(1)));
    router.at(1_000 + SILENCE_MS);
    router.handle_timeout();
    assert_eq!(router.poll_action(), None);
    router.at(2 * SILENCE_MS);
    router.handle_timeout();
    assert_eq!(router.poll_action(), Some(Action::Hang(1)));
    assert_eq!(router.poll_timeout(), None, "it is told once");
}
