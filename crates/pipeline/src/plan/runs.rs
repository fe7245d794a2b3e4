//! Where steps do what they do.

/// Where a step does what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Runs {
    /// In a container of its group's pod.
    Container,
    /// As a process of the delegate, in a directory of its own.
    Process,
    /// Nowhere: it waits for time, for other steps, for other runs, or for a person.
    Nowhere,
}

/// Where steps of a type do what they do.
pub fn runs(step_type: &str) -> Runs {
    match step_type {
        "ShellScript" | "Http" | "CustomApproval" => Runs::Process,
        "Wait" | "Barrier" | "Queue" | "HarnessApproval" => Runs::Nowhere,
        _ => Runs::Container,
    }
}
