//! Which cluster, and as whom: kubeconfigs and connectors, good and bad.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::support::{Group, free_port};
use crate::world::{Cluster, IMAGE, Running};

fn one() -> Group {
    Group::new().step("a", IMAGE, "shell: Sh", "echo there")
}

/// The kubeconfig's cluster and user, as the test cluster has them: with embedded certificates.
pub(crate) struct Parts {
    pub(crate) server: String,
    pub(crate) ca: String,
    certificate: String,
    key: String,
}

impl Parts {
    pub(crate) fn of(cluster: &Cluster) -> Self {
        let raw = [
            "config",
            "view",
            "--raw",
            "--flatten",
            "--minify",
            "-o",
            "json",
        ];
        let config: Value = serde_json::from_str(&cluster.kubectl(&raw)).expect("JSON");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (of, user) = (
            &config["clusters"][0]["cluster"],
            &config["users"][0]["user"],
        );
        Self {
            server: text(&of["server"]),
            ca: text(&of["certificate-authority-data"]),
            certificate: text(&user["client-certificate-data"]),
            key: text(&user["client-key-data"]),
        }
    }

    fn kubeconfig(&self, user: &Value) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "c", "cluster": {"server": self.server, "certificate-authority-data": self.ca}}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        })
    }
}

/// A service account that may do everything in the namespace, and a token of it.
pub(crate) fn token(cluster: &Cluster) -> String {
    cluster.kubectl(&["create", "serviceaccount", "runner"]);
    let account = format!("--serviceaccount={}:runner", cluster.namespace);
    cluster.kubectl(&[
        "create",
        "rolebinding",
        "runner",
        "--clusterrole=admin",
        &account,
    ]);
    cluster
        .kubectl(&["create", "token", "runner"])
        .trim()
        .to_owned()
}

pub(crate) fn forget(cluster: &Cluster) {
    cluster.kubectl(&["delete", "serviceaccount/runner", "rolebinding/runner"]);
}

fn run_with(
    cluster: &Cluster,
    group: &Group,
    kubeconfig: &str,
    more: &[&str],
) -> crate::support::Seen {
    let mut command = cluster.running_command(group, more);
    command
        .env("KUBECONFIG", kubeconfig)
        .env("HOME", cluster.home.path());
    Running::of(command).end()
}

#[test]
fn kubeconfigs_with_a_token_an_exec_plugin_and_a_proxy() {
    let Some(cluster) = Cluster::new("kubeconfigs") else {
        return;
    };
    let parts = Parts::of(&cluster);
    let token = token(&cluster);
    let credential = json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": token}});
    let plugin = format!("#!/bin/sh\ncat <<'E'\n{credential}\nE\n");
    let plugin = cluster.home.write("plugin", plugin);
    let exec = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh", "args": [plugin], "interactiveMode": "Never"}});
    let token_file = cluster.home.write("token", &token);
    let mut proxied = parts.kubeconfig(&json!({"token": token}));
    let (proxy, asked) = proxy();
    proxied["clusters"][0]["cluster"]["proxy-url"] = format!("http://{proxy}").into();
    let table = [
        ("token", parts.kubeconfig(&json!({"token": token}))),
        (
            "token file",
            parts.kubeconfig(&json!({"tokenFile": token_file})),
        ),
        ("exec plugin", parts.kubeconfig(&exec)),
        ("proxy", proxied),
    ];
    for (name, config) in table {
        let path = cluster.home.write("config", config.to_string());
        let seen = run_with(&cluster, &one(), &path.to_string_lossy(), &[]);
        seen.says(name, 0, &["[s/g/a] there"]);
    }
    let asked = asked.try_iter().collect::<Vec<_>>();
    assert!(
        asked.iter().any(|line| line.starts_with("CONNECT ")),
        "{asked:?}"
    );
    forget(&cluster);
}

/// A proxy that takes CONNECT; it tells what it was asked for.
fn proxy() -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let tell = tell.clone();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
                let mut first = String::new();
                reader.read_line(&mut first).expect("a request");
                let _ = tell.send(first.trim().to_owned());
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
                    line.clear();
                }
                let to = first.split(' ').nth(1).unwrap_or_default();
                let there = std::net::TcpStream::connect(to).expect("the API server");
                (&stream)
                    .write_all(b"HTTP/1.1 200 OK\r\n\r\n")
                    .expect("written");
                let (mut up, mut down) = (there.try_clone().expect("a socket"), there);
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut reader, &mut up);
                    let _ = up.shutdown(std::net::Shutdown::Write);
                });
                let _ = std::io::copy(&mut down, &mut &stream);
                let _ = stream.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    (address, told)
}

#[test]
fn what_is_wrong_with_a_kubeconfig_is_told_before_anything_is_made() {
    let Some(cluster) = Cluster::new("bad-kubeconfigs") else {
        return;
    };
    let parts = Parts::of(&cluster);
    let mut nowhere = parts.kubeconfig(&json!({"token": "x"}));
    nowhere["clusters"][0]["cluster"]["server"] = format!("https://{}", free_port()).into();
    let mut untrusted = parts.kubeconfig(&json!({"token": "x"}));
    untrusted["clusters"][0]["cluster"]
        .as_object_mut()
        .expect("a cluster")
        .remove("certificate-authority-data");
    let mut no_context = parts.kubeconfig(&json!({"token": "x"}));
    no_context
        .as_object_mut()
        .expect("a file")
        .remove("current-context");
    let mut old = parts.kubeconfig(&json!({"token": "x"}));
    old["clusters"][0]["cluster"]["server"] = format!("http://{}", version("29")).into();
    let plugin = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/no/such/plugin", "interactiveMode": "Never"}});
    let refuses = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", "echo log in first >&2; exit 3"], "interactiveMode": "Never"}});
    let mut no_user = parts.kubeconfig(&json!({}));
    no_user["users"] = json!([]);
    let table: [(&str, String, &[&str], &[&str]); 11] = [
        (
            "no YAML",
            "users: [{name: u, user: {token: hunter2}]\n".to_owned(),
            &[],
            &["the kubeconfig", "cannot be read", "line 1"],
        ),
        (
            "no user",
            no_user.to_string(),
            &[],
            &["the kubeconfig has no user"],
        ),
        (
            "a plugin that refuses",
            parts.kubeconfig(&refuses).to_string(),
            &[],
            &["failed to get credentials from `sh`: it ended with exit status: 3: log in first\n"],
        ),
        (
            "nowhere",
            nowhere.to_string(),
            &[],
            &[
                "failed to reach the API server",
                "Connection refused",
                "can be reached from here",
            ],
        ),
        (
            "untrusted",
            untrusted.to_string(),
            &[],
            &["certificate", "certificate-authority"],
        ),
        (
            "no context",
            no_context.to_string(),
            &[],
            &["says no current context", "it has here"],
        ),
        (
            "another context",
            parts.kubeconfig(&json!({})).to_string(),
            &["--kube=there"],
            &["has no context `there`", "it has here"],
        ),
        (
            "an old server",
            old.to_string(),
            &[],
            &[
                "is Kubernetes 1.29",
                "the oldest that Stepyard works with is 1.33",
            ],
        ),
        (
            "an expired token",
            parts.kubeconfig(&json!({"token": "expired"})).to_string(),
            &[],
            &["Unauthorized", "missing, wrong or expired"],
        ),
        (
            "no plugin",
            parts.kubeconfig(&plugin).to_string(),
            &[],
            &["/no/such/plugin"],
        ),
        (
            "half a certificate",
            parts
                .kubeconfig(&json!({"client-certificate-data": parts.certificate}))
                .to_string(),
            &[],
            &["key"],
        ),
    ];
    for (name, config, more, wanted) in table {
        let path = cluster.home.write("config", config);
        cluster.home.write("p.yaml", one().text());
        let kube = more.first().copied().unwrap_or("--kube");
        let mut command =
            cluster.command(&["run", "p.yaml", kube, "--namespace", &cluster.namespace]);
        command.env("KUBECONFIG", path);
        let seen = Running::of(command).end();
        assert_ne!(seen.code, Some(0), "{name}: {}", seen.out);
        assert!(!seen.out.contains("hunter2"), "{name}: {}", seen.out);
        for part in wanted {
            assert!(
                seen.out.contains(part),
                "{name}: no `{part}` in {}",
                seen.out
            );
        }
    }
    let seen = run_with(&cluster, &one(), "/no/such/file", &[]);
    seen.says(
        "no file",
        1,
        &["/no/such/file", "set KUBECONFIG to the file to use"],
    );
}

/// A server that says only which version it is.
fn version(minor: &'static str) -> String {
    answering(move |_, _| {
        (
            200,
            json!({"major": "1", "minor": minor, "gitVersion": "", "gitCommit": "", "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": ""}),
        )
    })
}

/// A server of JSON.
fn answering(answer: impl Fn(&str, &str) -> (u16, Value) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(&stream);
            let mut first = String::new();
            let _ = reader.read_line(&mut first);
            let mut length = 0;
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
                let lower = line.to_ascii_lowercase();
                if let Some(value) = lower.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap_or(0);
                }
                line.clear();
            }
            let mut body = vec![0; length];
            let _ = reader.read_exact(&mut body);
            let path = first.split(' ').nth(1).unwrap_or_default();
            let (status, answer) = answer(path, &String::from_utf8_lossy(&body));
            let answer = answer.to_string();
            let _ = (&stream).write_all(
                format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}", answer.len()).as_bytes(),
            );
        }
    });
    address
}

/// A group with the connector `c`, and its secrets.
pub(crate) fn with_connector(group: Group, credential: &Value, secrets: &[(&str, &str)]) -> Group {
    let connector = json!({"connector": {"identifier": "c", "name": "c", "type": "K8sCluster", "spec": {"credential": credential}}});
    let mut group = group.document(&format!("{connector}\n"));
    for (name, value) in secrets {
        let secret = json!({"secret": {"identifier": name, "name": name, "type": "SecretText", "spec": {"secretManagerIdentifier": "m", "valueType": "Inline", "value": value}}});
        group = group.document(&format!("{secret}\n"));
    }
    group
}

/// A run through the connector `c`, with no kubeconfig at all.
fn through(
    cluster: &Cluster,
    credential: &Value,
    secrets: &[(&str, &str)],
) -> crate::support::Seen {
    let group = with_connector(one(), credential, secrets);
    run_with(cluster, &group, "/no/such/file", &[])
}

#[test]
fn connectors_of_every_kind() {
    let Some(cluster) = Cluster::new("connectors") else {
        return;
    };
    let parts = Parts::of(&cluster);
    let token = token(&cluster);
    let manual = |auth: Value| json!({"type": "ManualConfig", "spec": {"masterUrl": parts.server, "auth": auth}});
    let plain = |text: &str| {
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(text)
            .expect("base64");
        String::from_utf8(bytes).expect("PEM")
    };
    let account = manual(
        json!({"type": "ServiceAccount", "spec": {"serviceAccountTokenRef": "tok", "caCertRef": "ca"}}),
    );
    let seen = through(&cluster, &account, &[("tok", &token), ("ca", &parts.ca)]);
    seen.says("ServiceAccount", 0, &["[s/g/a] there"]);
    let pair = manual(
        json!({"type": "ClientKeyCert", "spec": {"clientCertRef": "crt", "clientKeyRef": "key", "caCertRef": "ca"}}),
    );
    let secrets = [
        ("crt", parts.certificate.as_str()),
        ("key", &plain(&parts.key)),
        ("ca", &parts.ca),
    ];
    through(&cluster, &pair, &secrets).says("ClientKeyCert", 0, &["[s/g/a] there"]);

    // An issuer of its own: what it gives is a service account's token, which the server knows.
    let given = token.clone();
    let issuer = answering(move |path, body| {
        if path == "/token" {
            let good = body.contains("grant_type=password")
                && body.contains("username=ann")
                && body.contains("password=p%26w")
                && body.contains("client_id=stepyard")
                && body.contains("scope=openid+groups");
            if good {
                (200, json!({"id_token": given, "token_type": "Bearer"}))
            } else {
                (
                    401,
                    json!({"error": "invalid_grant", "error_description": "no such user"}),
                )
            }
        } else {
            let host = path.trim_end_matches("/.well-known/openid-configuration");
            (
                200,
                json!({"token_endpoint": format!("http://{}/token", host.trim_start_matches('/'))}),
            )
        }
    });
    let oidc = |user: &str| {
        manual(
            json!({"type": "OpenIdConnect", "spec": {"oidcIssuerUrl": format!("http://{issuer}/{issuer}"), "oidcUsername": user, "oidcPasswordRef": "pw", "oidcClientIdRef": "id", "oidcScopes": "groups", "caCertRef": "ca"}}),
        )
    };
    let secrets = [("pw", "p&w"), ("id", "stepyard"), ("ca", &parts.ca)];
    through(&cluster, &oidc("ann"), &secrets).says("OpenIdConnect", 0, &["[s/g/a] there"]);
    through(&cluster, &oidc("bob"), &secrets).says(
        "a user that is none",
        1,
        &["gave no token for bob: no such user"],
    );

    // Servers take no passwords any more: it is theirs to say so.
    let password = manual(
        json!({"type": "UsernamePassword", "spec": {"username": "ann", "passwordRef": "pw", "caCertRef": "ca"}}),
    );
    through(&cluster, &password, &secrets).says(
        "UsernamePassword",
        1,
        &["missing, wrong or expired"],
    );
    let inherited = json!({"type": "InheritFromDelegate"});
    through(&cluster, &inherited, &[]).says("InheritFromDelegate", 1, &["/no/such/file"]);
    let nothing = manual(json!({"type": "ServiceAccount", "spec": {}}));
    through(&cluster, &nothing, &[]).says(
        "half a connector",
        2,
        &["the connector `c` has no `serviceAccountTokenRef`"],
    );
    let missing =
        manual(json!({"type": "ServiceAccount", "spec": {"serviceAccountTokenRef": "none"}}));
    through(&cluster, &missing, &[]).says("no secret", 2, &["`none`"]);
    forget(&cluster);
}
