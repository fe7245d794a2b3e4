//! Settings of containers and volumes that no container takes, as far as they are written out.

use syntax::{Diagnostic, Span, Spanned, code};

use super::super::infra::{ContainerSecurityContext, Volume, VolumeSource};
use super::super::lower::{Cx, nearest};
use super::super::param::Param;
use super::objects::{self, is_object_name};
use crate::pod::CAPABILITIES;

pub(super) fn refuse(at: Span, message: String, help: String, cx: &mut Cx) {
    let diagnostic = Diagnostic::error(code::BAD_SETTING, message);
    cx.push(diagnostic.at(at, "").help(help));
}

/// A text that is written out.
pub(super) fn written(setting: Option<&Param<String>>) -> Option<&Spanned<String>> {
    match setting? {
        Param::Literal(own) => Some(own),
        _ => None,
    }
}

/// What a volume is of.
pub(super) fn volume(volume: &Volume, cx: &mut Cx) {
    let (name, what) = match &volume.source {
        VolumeSource::HostPath(own) => {
            if let Some(path) = written(own.path.as_ref())
                && !path.value.starts_with('/')
            {
                refuse(
                    path.span,
                    format!("`{}` is no path of a node", path.value),
                    "write an absolute path, such as `/var/cache/builds`".to_owned(),
                    cx,
                );
            }
            return;
        }
        VolumeSource::PersistentVolumeClaim(own) => (written(own.claim_name.as_ref()), "a claim"),
        VolumeSource::ConfigMap(own) => (written(own.name.as_ref()), "a ConfigMap"),
        VolumeSource::Secret(own) => (written(own.name.as_ref()), "a Secret"),
        VolumeSource::EmptyDir(_) => return,
    };
    if let Some(name) = name.filter(|own| !is_object_name(&own.value)) {
        refuse(
            name.span,
            format!("`{}` is no name of {what}", name.value),
            objects::NAMES.to_owned(),
            cx,
        );
    }
}

/// The capabilities of a security context.
pub(super) fn security(context: &ContainerSecurityContext, cx: &mut Cx) {
    let Some(own) = context.capabilities.as_ref().and_then(Param::literal) else {
        return;
    };
    let lists = [&own.add, &own.drop].into_iter().flatten();
    for name in lists.filter_map(Param::literal).flatten() {
        let Some(name) = written(Some(name)) else {
            continue;
        };
        let plain = name.value.strip_prefix("CAP_").unwrap_or(&name.value);
        if plain == "ALL" || CAPABILITIES.contains(&plain) {
            continue;
        }
        let help = nearest(plain, CAPABILITIES).map_or_else(
            || "write names as Linux has them, without `CAP_`: `NET_ADMIN`, or `ALL`".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        refuse(
            name.span,
            format!("Linux knows no capability `{}`", name.value),
            help,
            cx,
        );
    }
}

/// The image of a step.
pub(super) fn image(image: Option<&Param<String>>, cx: &mut Cx) {
    if let Some(image) = written(image)
        && image.value.trim().contains(char::is_whitespace)
    {
        refuse(
            image.span,
            format!(
                "`{}` is not an image reference: it contains white space",
                image.value
            ),
            "write [registry[:port]/]repository[:tag][@sha256:…]".to_owned(),
            cx,
        );
    }
}
