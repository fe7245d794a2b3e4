//! `Wait`, `Barrier`, `Queue`: steps that run nothing and wait, for time, for other steps, for other runs.

use syntax::yaml::Node;

use super::super::macros::{model, words};
use super::super::param::Param;
use super::super::units::Duration;

model! {
    /// `spec` of a Wait step.
    Wait {
        /// How long.
        duration: Option<Param<Duration>> = "duration" required;
        /// Kept as it is.
        metadata: Option<Node> = "metadata";
    }
}

model! {
    /// `spec` of a Barrier step.
    BarrierStep {
        /// One of the pipeline's `flowControl.barriers`.
        barrier: Option<Param<String>> = "barrierRef" required;
    }
}

words! {
    /// How long a queue's place is held.
    QueueScope {
        /// Until the pipeline is over.
        Pipeline = "Pipeline",
        /// Until the stage is over.
        Stage = "Stage",
        /// Until the step group is over.
        StepGroup = "StepGroup",
    }
}

model! {
    /// `spec` of a Queue step.
    Queue {
        /// Runs with the same key follow one another.
        key: Option<Param<String>> = "key" required;
        /// How long its place is held.
        scope: Option<Param<QueueScope>> = "scope" required;
    }
}
