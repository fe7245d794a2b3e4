//! Frames and messages: what goes in comes out, whatever the pieces; what is broken is an error and nothing more.

use addon::frame::{
    Attempt, Exit, Hello, Output, Program, Record, Report, Request, Shell, Start, StopReason,
};
use addon::link::{Decoder, Error, Frame, HEADER, MAX_BODY, encode};
use proptest::prelude::*;

fn frames() -> impl Strategy<Value = Vec<(u32, Frame)>> {
    let frame = prop_oneof![
        "[a-z0-9-]{0,20}".prop_map(Frame::Open),
        Just(Frame::Opened),
        ".{0,20}".prop_map(Frame::Close),
        any::<u32>().prop_map(Frame::Credit),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(Frame::Message),
        Just(Frame::Ping),
        Just(Frame::Pong),
    ];
    proptest::collection::vec((any::<u32>(), frame), 0..12)
}

proptest! {
    #[test]
    fn frames_survive_any_pieces(frames in frames(), size in 1usize..70) {
        let mut bytes = Vec::new();
        for (channel, frame) in &frames {
            encode(*channel, frame, &mut bytes).expect("small");
        }
        let mut decoder = Decoder::default();
        let mut got = Vec::new();
        for piece in bytes.chunks(size) {
            decoder.push(piece);
            while let Some(frame) = decoder.take().expect("they are whole") {
                got.push(frame);
            }
        }
        prop_assert_eq!(got, frames);
        prop_assert_eq!(decoder.pending(), 0);
    }

    #[test]
    fn a_stranger_cannot_hurt(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut decoder = Decoder::default();
        decoder.push(&bytes);
        while let Ok(Some(_)) = decoder.take() {}
        let _ = Report::from_bytes(&bytes);
        let _ = Request::from_bytes(&bytes);
    }

    #[test]
    fn bulk_survives(id in any::<u32>(), offset in any::<u64>(), path in ".{0,30}", bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for report in [
            Report::Output { offset, at_ms: offset ^ 7, bytes: bytes.clone() },
            Report::File { id, path: path.clone(), offset, bytes: bytes.clone() },
            Report::Attached { id, bytes: bytes.clone() },
        ] {
            prop_assert_eq!(Report::from_bytes(&report.to_bytes()), Ok(report));
        }
    }
}

#[test]
fn a_length_beyond_the_bound_is_refused_before_it_is_awaited() {
    for len in [MAX_BODY as u32 + 6, u32::MAX, 0, 4] {
        let mut decoder = Decoder::default();
        decoder.push(&len.to_le_bytes());
        assert_eq!(decoder.take(), Err(Error::Length(len as usize)));
    }
    let mut out = Vec::new();
    let large = Frame::Message(vec![0; MAX_BODY + 1]);
    assert_eq!(
        encode(0, &large, &mut out),
        Err(Error::Length(MAX_BODY + 1))
    );
    assert!(out.is_empty());
    encode(0, &Frame::Message(vec![0; MAX_BODY]), &mut out).expect("it fits");
    assert_eq!(out.len(), HEADER + MAX_BODY);
}

#[test]
fn requests_and_reports_survive() {
    let attempt = Attempt {
        run: "r".to_owned(),
        step: "s".to_owned(),
        number: 2,
    };
    for request in [
        Request::Hello(Hello {
            version: 1,
            run: "r".to_owned(),
            epoch: 3,
            attempt: Some(attempt.clone()),
            acked: 9,
        }),
        Request::Start(Box::new(Start {
            attempt: attempt.clone(),
            program: Program::Script {
                shell: Shell::Bash,
                text: "echo \"ü\"\n".to_owned(),
            },
            env: vec![("A".to_owned(), "b".to_owned())],
            workdir: "/harness".to_owned(),
            secrets: vec!["s".to_owned()],
            outputs: Vec::new(),
            background: true,
            readiness: None,
            timeout_ms: 5,
        })),
        Request::Input {
            id: 1,
            bytes: vec![0, 255, 10],
        },
        Request::Stop {
            attempt: attempt.clone(),
            grace_ms: 1,
            reason: StopReason::GroupEnd,
        },
    ] {
        assert_eq!(Request::from_bytes(&request.to_bytes()), Ok(request));
    }
    let report = Report::Finished(Box::new(Record {
        attempt,
        exit: Exit::Signal(9),
        stopped: Some(StopReason::Timeout),
        oom: true,
        started_ms: 1,
        ended_ms: 2,
        elapsed_ms: 1,
        cpu_ms: 3,
        peak_memory: 4,
        output_bytes: 5,
        outputs: vec![Output {
            name: "N".to_owned(),
            value: "a\nb".to_owned(),
            secret: true,
        }],
        warnings: vec!["w".to_owned()],
    }));
    assert_eq!(Report::from_bytes(&report.to_bytes()), Ok(report));
}

#[test]
fn a_message_of_a_later_release_is_read() {
    // Unknown fields are ignored.
    let hello =
        br#"{"Hello":{"version":2,"run":"r","epoch":1,"attempt":null,"acked":0,"later":[1]}}"#;
    let bytes = [&[0], &hello[..]].concat();
    assert!(matches!(Request::from_bytes(&bytes), Ok(Request::Hello(hello)) if hello.version == 2));
}
