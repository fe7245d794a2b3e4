//! `volumes`.

use syntax::yaml::Node;
use syntax::{Span, Spanned, code};

use super::super::form::{self, Choice, Form, Forms};
use super::super::lower::{Cx, Fields, Lower, Slot};
use super::super::macros::{model, words};
use super::super::param::Param;
use super::super::units::Memory;

/// One of `volumes`.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume {
    /// Where it is written.
    pub span: Span,
    /// Where it is mounted in every container.
    pub mount_path: Option<Param<String>>,
    /// What is there.
    pub source: VolumeSource,
}

/// What a volume holds.
#[derive(Debug, Clone, PartialEq)]
pub enum VolumeSource {
    /// An empty directory of the pod.
    EmptyDir(EmptyDir),
    /// A path of the node.
    HostPath(HostPath),
    /// A claim.
    PersistentVolumeClaim(PersistentVolumeClaim),
    /// A ConfigMap of the namespace.
    ConfigMap(ConfigMap),
    /// A Kubernetes Secret of the namespace; its values are not masked in logs.
    Secret(SecretVolume),
}

/// The types of volumes.
const TYPES: [&str; 5] = [
    "EmptyDir",
    "PersistentVolumeClaim",
    "HostPath",
    "ConfigMap",
    "Secret",
];

words! {
    /// Where an empty directory lies.
    Medium {
        /// On disk.
        Disk = "",
        /// In memory.
        Memory = "Memory",
    }
}

words! {
    /// What a path of the node must be, as Kubernetes names it.
    HostPathType {
        /// Anything.
        Any = "",
        /// A directory, made where it is not there.
        DirectoryOrCreate = "DirectoryOrCreate",
        /// A directory.
        Directory = "Directory",
        /// A file, made where it is not there.
        FileOrCreate = "FileOrCreate",
        /// A file.
        File = "File",
        /// A socket.
        Socket = "Socket",
        /// A character device.
        CharDevice = "CharDevice",
        /// A block device.
        BlockDevice = "BlockDevice",
    }
}

model! {
    /// `spec` of `EmptyDir`.
    EmptyDir {
        /// On disk where nothing is said.
        medium: Option<Param<Medium>> = "medium";
        /// Its bound.
        size: Option<Param<Memory>> = "size";
    }
}

model! {
    /// `spec` of `HostPath`.
    HostPath {
        /// On the node.
        path: Option<Param<String>> = "path" required;
        /// What it must be.
        kind: Option<Param<HostPathType>> = "type";
    }
}

model! {
    /// `spec` of `PersistentVolumeClaim`.
    PersistentVolumeClaim {
        /// The claim.
        claim_name: Option<Param<String>> = "claimName" required;
        /// Mounted read-only.
        read_only: Option<Param<bool>> = "readOnly";
    }
}

model! {
    /// `spec` of `ConfigMap`.
    ConfigMap {
        /// Its name.
        name: Option<Param<String>> = "name" required;
        /// It may be absent.
        optional: Option<Param<bool>> = "optional";
    }
}

model! {
    /// `spec` of `Secret`.
    SecretVolume {
        /// Its name.
        name: Option<Param<String>> = "name" required;
        /// It may be absent.
        optional: Option<Param<bool>> = "optional";
    }
}

impl Lower for Volume {
    fn lower(node: &Node, name: &str, cx: &mut Cx) -> Option<Self> {
        let mut fields = Fields::of(node, name, cx)?;
        fields.required("type", cx);
        fields.required("mountPath", cx);
        let kind: Option<Spanned<String>> = Slot::take(&mut fields, "type", cx);
        let mount_path = Slot::take(&mut fields, "mountPath", cx);
        let span = fields.span;
        let kind_name = kind.as_ref().map_or("", |kind| kind.value.as_str());
        // An empty directory needs no settings.
        if TYPES.contains(&kind_name) && kind_name != "EmptyDir" {
            fields.required("spec", cx);
        }
        let source = match kind_name {
            "EmptyDir" => Some(VolumeSource::EmptyDir(fields.value("spec", cx).unwrap_or(
                EmptyDir {
                    span,
                    medium: None,
                    size: None,
                },
            ))),
            "HostPath" => fields
                .value_as("spec", "spec of HostPath", cx)
                .map(VolumeSource::HostPath),
            "PersistentVolumeClaim" => fields
                .value_as("spec", "spec of PersistentVolumeClaim", cx)
                .map(VolumeSource::PersistentVolumeClaim),
            "ConfigMap" => fields
                .value_as("spec", "spec of ConfigMap", cx)
                .map(VolumeSource::ConfigMap),
            "Secret" => fields
                .value_as("spec", "spec of Secret", cx)
                .map(VolumeSource::Secret),
            unknown => {
                if let Some(kind) = &kind {
                    cx.unknown_word_as(
                        code::UNKNOWN_VOLUME_TYPE,
                        kind.span,
                        "type",
                        unknown,
                        &TYPES,
                    );
                }
                fields.ignore(&["spec"]);
                None
            }
        };
        fields.finish(cx);
        Some(Self {
            span,
            mount_path,
            source: source?,
        })
    }

    fn form(forms: &mut Forms) -> Form {
        forms.object("Volume", "A directory of every container.", |forms, own| {
            own.keys = vec![
                form::required("type", "What it is.", Form::Words(TYPES.to_vec())),
                form::required("mountPath", "Where it is mounted.", Form::Text),
                form::key("spec", "Its settings.", Form::Any),
            ];
            own.choice = Some(Choice {
                by: "type",
                below: "spec",
                forms: vec![
                    ("EmptyDir", EmptyDir::form(forms)),
                    ("HostPath", HostPath::form(forms)),
                    ("PersistentVolumeClaim", PersistentVolumeClaim::form(forms)),
                    ("ConfigMap", ConfigMap::form(forms)),
                    ("Secret", SecretVolume::form(forms)),
                ],
            });
        })
    }
}
