//! How image registries are reached from this machine: what belongs to the machine and not to a pipeline.

use std::collections::{BTreeMap, BTreeSet};

use image::Settings;

use crate::problem::Problem;

/// Mirrors: `HOST=URL`, separated by commas; several of one host are asked in order.
const MIRRORS: &str = "STEPYARD_REGISTRY_MIRRORS";
/// Hosts (and ports) without TLS, separated by commas. Those on loopback need not be named.
const INSECURE: &str = "STEPYARD_INSECURE_REGISTRIES";

/// Of the environment, so that a command that takes a run over reaches the same.
pub(crate) fn settings() -> Result<Settings, Problem> {
    let read = |name| std::env::var(name).unwrap_or_default();
    parse(&read(MIRRORS), &read(INSECURE))
}

fn parse(mirrors: &str, insecure: &str) -> Result<Settings, Problem> {
    let mut settings = Settings {
        mirrors: BTreeMap::new(),
        insecure: words(insecure).map(str::to_owned).collect::<BTreeSet<_>>(),
        ..Settings::default()
    };
    for word in words(mirrors) {
        let (host, url) = word
            .split_once('=')
            .filter(|(host, url)| !host.is_empty() && url.contains("://"))
            .ok_or_else(|| {
                Problem::invalid(format!("`{word}` in {MIRRORS} is not a mirror"))
                    .help("write HOST=URL, such as `docker.io=https://mirror.example`")
            })?;
        let urls = settings.mirrors.entry(host.to_owned()).or_default();
        urls.push(url.to_owned());
    }
    Ok(settings)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_of_a_host_keep_their_order() {
        let text = "docker.io=https://a.example, docker.io=http://b.example/hub ,ghcr.io=https://c.example";
        let settings = parse(text, "reg.local:5000,").expect("a good text");
        assert_eq!(
            settings.mirrors["docker.io"],
            ["https://a.example", "http://b.example/hub"]
        );
        assert_eq!(settings.mirrors["ghcr.io"], ["https://c.example"]);
        assert!(settings.insecure.contains("reg.local:5000"));
    }

    #[test]
    fn what_is_no_mirror_is_told() {
        for text in ["docker.io", "=https://a.example", "docker.io=a.example"] {
            assert!(parse(text, "").is_err(), "{text}");
        }
    }
}
