//! A namespace whose LimitRange wants more of each container than the little that is asked for. No right to read it is needed: the API
//! server says it when it refuses a pod.

use driver::backend::{EventKind, Events};
use kube::Error;
use pipeline::pod::Amounts;

use crate::said::say;

/// What each container is to ask for at least, of an answer that says so and wants more than `now`.
pub(crate) fn wants(error: &Error, now: Amounts) -> Option<Amounts> {
    let Error::Api(status) = error else {
        return None;
    };
    let least = |what: &str, now: Option<u64>, scale: fn(&str) -> Option<f64>| {
        let head = format!("minimum {what} usage per Container is ");
        let (_, rest) = status.message.split_once(&head)?;
        let text = rest.split([',', ']', ' ']).next()?;
        let wanted = scale(text)?.ceil() as u64;
        now.is_none_or(|now| wanted > now).then_some(wanted)
    };
    let cpu = least("cpu", now.cpu_millis, |text| Some(quantity(text)? * 1000.0));
    let memory = least("memory", now.memory_bytes, quantity);
    (cpu.is_some() || memory.is_some()).then(|| Amounts {
        cpu_millis: cpu.or(now.cpu_millis),
        memory_bytes: memory.or(now.memory_bytes),
    })
}

/// Says so in the Initialize log.
pub(crate) fn tell(namespace: &str, events: &Events) {
    let message = format!(
        "the namespace {namespace} has a LimitRange: every container asks for the least that it allows"
    );
    say(events, None, EventKind::Normal, "LimitRange", message);
}

/// A quantity as Kubernetes writes them (`k8s.io/apimachinery/pkg/api/resource`).
fn quantity(text: &str) -> Option<f64> {
    let digits = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let scale = match suffix {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_what_is_wanted() {
        let now = Amounts {
            cpu_millis: Some(10),
            memory_bytes: Some(10 << 20),
        };
        let wanted = |message: &str| {
            let status = kube::core::Status {
                message: message.to_owned(),
                code: 403,
                ..kube::core::Status::default()
            };
            wants(&Error::Api(Box::new(status)), now)
        };
        let both = "pods \"p\" is forbidden: [minimum memory usage per Container is 20Mi, but request is 10Mi, minimum cpu usage per Container is 50m, but request is 10m]";
        let least = wanted(both).expect("more is wanted");
        assert_eq!(
            (least.cpu_millis, least.memory_bytes),
            (Some(50), Some(20 << 20))
        );
        let cpu = wanted(
            "pods \"p\" is forbidden: minimum cpu usage per Container is 1, but request is 10m",
        );
        assert_eq!(cpu.expect("more is wanted").cpu_millis, Some(1000));
        // It is asked for already, or is another matter.
        assert_eq!(
            wanted("minimum memory usage per Container is 10Mi, but limit is 5Mi"),
            None
        );
        assert_eq!(
            wanted("maximum memory usage per Container is 1Gi, but limit is 2Gi"),
            None
        );
    }
}
