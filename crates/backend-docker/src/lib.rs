//! pods on a Docker or Podman socket
