//! The tables of the engine: how ends are called, and which changes are legal.

use std::fmt::Write as _;

use addon::frame::{Attempt, Exit, Record, StopReason};
use engine::classify;
use engine::event::{ErrorKind, Status};
use engine::phase::{Change, Phase, Sort};

fn record(exit: Exit, stopped: Option<StopReason>, oom: bool) -> Record {
    Record {
        attempt: Attempt {
            run: "r".to_owned(),
            step: "s".to_owned(),
            number: 0,
        },
        exit,
        stopped,
        oom,
        started_ms: 1,
        ended_ms: 2,
        elapsed_ms: 1,
        cpu_ms: 1,
        peak_memory: 64 << 20,
        output_bytes: 0,
        outputs: Vec::new(),
        warnings: Vec::new(),
    }
}

#[test]
fn every_end_has_its_name() {
    use ErrorKind as E;
    use Status as S;
    let nowhere = || Exit::NotStarted("bash is not in the image".to_owned());
    for (exit, stopped, oom, status, error) in [
        (Exit::Code(0), None, false, S::Success, None),
        (Exit::Code(1), None, false, S::Failed, Some(E::Unknown)),
        (Exit::Code(127), None, false, S::Failed, Some(E::Unknown)),
        (Exit::Signal(11), None, false, S::Failed, Some(E::Unknown)),
        (
            Exit::Signal(9),
            None,
            true,
            S::Failed,
            Some(E::ResourceLimitsFailure),
        ),
        (Exit::Code(0), None, true, S::Success, None),
        (
            Exit::Code(1),
            None,
            true,
            S::Failed,
            Some(E::ResourceLimitsFailure),
        ),
        (
            Exit::Code(137),
            None,
            true,
            S::Failed,
            Some(E::ResourceLimitsFailure),
        ),
        (
            nowhere(),
            None,
            false,
            S::Failed,
            Some(E::PluginImageFailure),
        ),
        (
            Exit::Signal(15),
            Some(StopReason::Abort),
            false,
            S::Aborted,
            Some(E::Unknown),
        ),
        (
            Exit::Signal(9),
            Some(StopReason::Timeout),
            false,
            S::Expired,
            Some(E::Timeout),
        ),
        (
            Exit::Signal(15),
            Some(StopReason::GroupEnd),
            false,
            S::Success,
            None,
        ),
        (
            Exit::Code(0),
            Some(StopReason::NotReady),
            false,
            S::Failed,
            Some(E::Timeout),
        ),
        (
            Exit::Signal(15),
            Some(StopReason::Terminated),
            false,
            S::Failed,
            Some(E::InfrastructureFailure),
        ),
    ] {
        let record = record(exit.clone(), stopped, oom);
        let (found, failure) = classify::record(&record);
        let what = format!("{exit:?} {stopped:?} oom {oom}");
        assert_eq!((found, failure.map(|f| f.error)), (status, error), "{what}");
    }
}

#[test]
fn the_table_of_legal_changes() {
    const PHASES: [Phase; 12] = [
        Phase::Waiting,
        Phase::Entered,
        Phase::Starting,
        Phase::Running,
        Phase::Ready,
        Phase::Recorded,
        Phase::Lost,
        Phase::Pausing,
        Phase::Asking,
        Phase::Handled,
        Phase::Finished(Status::Success),
        Phase::Finished(Status::Failed),
    ];
    const CHANGES: [Change; 16] = [
        Change::Enter,
        Change::Starting,
        Change::Started,
        Change::Ready,
        Change::Record,
        Change::Lose,
        Change::Pause,
        Change::Ask,
        Change::Handle,
        Change::Retry,
        Change::Again,
        Change::Finish(Status::Success),
        Change::Finish(Status::Failed),
        Change::Finish(Status::Skipped),
        Change::Carry(Status::Success),
        Change::Carry(Status::Failed),
    ];
    let mut table = String::new();
    for sort in [Sort::Composite, Sort::Initialize, Sort::Step] {
        for phase in PHASES {
            for change in CHANGES {
                if let Some(next) = phase.next(sort, change) {
                    let _ = writeln!(table, "{sort:?}: {phase:?} + {change:?} = {next:?}");
                }
            }
        }
    }
    insta::assert_snapshot!(table);
}
