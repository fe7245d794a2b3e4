//! `Background`: a service beside the steps, until its group ends.

use indexmap::IndexMap;
use syntax::{Diagnostic, code};

use super::super::lower::Cx;
use super::super::macros::model;
use super::super::param::Param;
use super::super::resources::Reports;
use super::super::units::Duration;
use super::common::Container;
use super::run::Shell;

model! {
    /// `spec` of a Background step.
    Background {
        flat container: Container;
        /// A script in place of the image's entrypoint.
        command: Option<Param<String>> = "command";
        /// What reads it; `Sh` where nothing is said.
        shell: Option<Param<Shell>> = "shell";
        /// In place of the image's; goes before `command`.
        entrypoint: Option<Param<Vec<Param<String>>>> = "entrypoint";
        /// Ports of a VM; must be empty in a pod, where all containers share their network.
        port_bindings: IndexMap<String, Param<String>> = "portBindings";
        /// Test reports, collected when the group ends.
        reports: Option<Param<Reports>> = "reports";
        /// An extension: when it is ready, so that what follows may start. At once where nothing is said.
        readiness: Option<Readiness> = "readiness";
    }
}

model! {
    /// `readiness:`: exactly one of `exec`, `tcp`, `http` and `unix`.
    Readiness {
        /// A command in its container that succeeds.
        exec: Option<ExecProbe> = "exec";
        /// A port that accepts.
        tcp: Option<TcpProbe> = "tcp";
        /// A URL that answers below 400.
        http: Option<HttpProbe> = "http";
        /// A socket that accepts.
        unix: Option<UnixProbe> = "unix";
        /// How often it is asked; a second where nothing is said.
        period: Option<Param<Duration>> = "period";
        /// How long it may take; 60 seconds where nothing is said.
        timeout: Option<Param<Duration>> = "timeout";
        /// Whether the step fails if it is not ready in time, as it does where nothing is said; else that is a warning.
        required: Option<Param<bool>> = "required";
    }
    after Readiness::check;
}

model! {
    /// `exec:`.
    ExecProbe {
        /// The program and its arguments, without a shell.
        command: Option<Param<Vec<Param<String>>>> = "command" required;
    }
}

model! {
    /// `tcp:`.
    TcpProbe {
        /// On `localhost` of the pod.
        port: Option<Param<u32>> = "port" required;
        /// Another host.
        host: Option<Param<String>> = "host";
    }
}

model! {
    /// `http:`.
    HttpProbe {
        /// On `localhost` of the pod.
        port: Option<Param<u32>> = "port" required;
        /// `/` where nothing is said.
        path: Option<Param<String>> = "path";
        /// Another host.
        host: Option<Param<String>> = "host";
    }
}

model! {
    /// `unix:`.
    UnixProbe {
        /// The socket's path, in a directory that the containers share.
        path: Option<Param<String>> = "path" required;
    }
}

impl Readiness {
    fn check(&self, cx: &mut Cx) {
        let probes = [
            self.exec.is_some(),
            self.tcp.is_some(),
            self.http.is_some(),
            self.unix.is_some(),
        ];
        if probes.iter().filter(|there| **there).count() != 1 {
            cx.push(
                Diagnostic::error(
                    code::ONE_OF,
                    "`readiness` has exactly one of `exec`, `tcp`, `http` and `unix`",
                )
                .at(self.span.head(1), "")
                .help("write for instance `tcp: {port: 5432}`"),
            );
        }
        for port in [
            self.tcp.as_ref().and_then(|tcp| tcp.port.as_ref()),
            self.http.as_ref().and_then(|http| http.port.as_ref()),
        ] {
            if let Some(Param::Literal(port)) = port
                && !(1..=65_535).contains(&port.value)
            {
                let message = format!("`{}` is not a port", port.value);
                cx.push(
                    Diagnostic::error(code::WRONG_TYPE, message)
                        .at(port.span, "")
                        .help("write a number from 1 to 65535"),
                );
            }
        }
    }
}
