//! pods on this machine: namespaces, overlay and cgroups, with no daemon
