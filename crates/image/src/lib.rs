//! image references, registries, layouts, unpacking and the content store
