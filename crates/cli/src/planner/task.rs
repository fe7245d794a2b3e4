//! What the delegate does by itself, with the values of its secrets.

use engine::event::Failure;
use pipeline::resolve::script::Shell;
use pipeline::resolve::{self, Output, Text};

use super::start::output;
use crate::delegate::{Asking, Computed, Condition, Criteria, Request, Task};

/// Of what is prepared; `fill` puts the values of secrets into a text.
pub(super) fn task(
    task: &resolve::Task,
    outputs: &[Output],
    fill: &mut dyn FnMut(&Text) -> Result<String, Failure>,
) -> Result<Task, Failure> {
    Ok(match task {
        resolve::Task::Http(own) => {
            let mut headers = Vec::new();
            for (name, value) in &own.headers {
                headers.push((name.clone(), fill(value)?));
            }
            let certificate = match &own.certificate {
                Some((certificate, key)) => Some((fill(certificate)?, fill(key)?)),
                None => None,
            };
            let computed = |own: &resolve::Computed| Computed {
                name: own.name.clone(),
                text: own.text.clone(),
                secret: own.secret,
            };
            Task::Http(Request {
                method: own.method.clone(),
                url: fill(&own.url)?,
                headers,
                body: own.body.as_ref().map(&mut *fill).transpose()?,
                certificate,
                assertion: own.assertion.clone(),
                outputs: own.outputs.iter().map(computed).collect(),
                known: own.known.clone(),
            })
        }
        resolve::Task::Approval(own) => Task::Approval(Asking {
            bash: own.shell == Shell::Bash,
            text: own.text.clone(),
            interval_ms: own.interval_ms,
            timeout_ms: own.timeout_ms,
            approval: criteria(&own.approval),
            rejection: own.rejection.as_ref().map(criteria),
            known: own.known.clone(),
            outputs: outputs.iter().cloned().map(output).collect(),
        }),
    })
}

fn criteria(own: &resolve::Criteria) -> Criteria {
    match own {
        resolve::Criteria::Jexl(text) => Criteria::Jexl(text.clone()),
        resolve::Criteria::KeyValues { any, conditions } => Criteria::KeyValues {
            any: *any,
            conditions: conditions
                .iter()
                .map(|(key, operator, value)| Condition {
                    key: key.clone(),
                    operator: operator.as_str().to_owned(),
                    value: value.clone(),
                })
                .collect(),
        },
    }
}
