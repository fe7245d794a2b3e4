//! What hangs together: identifiers, what may stand in a containerized group, what else is refused elsewhere.
//!
//! Each check is a walk over the lowered model, so that lowering a part needs to know nothing of its surroundings.

mod aliases;
mod duplicates;
mod groups;
mod loops;
mod mounts;
mod objects;
mod portable;
pub(super) mod references;
mod settings;
mod strategies;
mod wholes;

use super::load::Options;
use super::lower::Cx;
use super::pipeline::Pipeline;

/// Every check of a pipeline.
pub(super) fn pipeline(pipeline: &Pipeline, options: Options, cx: &mut Cx) {
    duplicates::stages(pipeline, cx);
    aliases::pipeline(pipeline, cx);
    let mut portable = portable::Portable::new(options);
    portable.pipeline(pipeline);
    for stage in pipeline.all_stages() {
        duplicates::steps(stage, cx);
        groups::stage(stage, cx);
        wholes::stage(stage, cx);
        portable.stage(stage);
    }
    for deadlock in crate::plan::deadlocks(pipeline) {
        cx.push(deadlock);
    }
    for wrong in crate::plan::wrong_deadlines(pipeline) {
        cx.push(wrong);
    }
    for wrong in crate::plan::handed_over(pipeline) {
        cx.push(wrong);
    }
    portable.finish(cx);
}
