//! pods in a Kubernetes cluster; the only crate with Kubernetes types
