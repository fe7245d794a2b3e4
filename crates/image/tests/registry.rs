//! Pulls against a real registry, and against one that misbehaves.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use image::{Error, Kind, Login, Platform, Pull, Reference, Settings, Want};
use support::{
    Act, Front, Registry, Tar, build, client, client_with, ensure, exists, login, name, push_noise,
    want,
};

#[tokio::test]
async fn an_image_comes_whole_and_only_once() {
    let (dir, registry) = (tempfile::tempdir().unwrap(), Registry::open());
    let bottom = Tar::new()
        .dir("etc/")
        .file("etc/gone", "old")
        .file("./etc/kept", "kept")
        .dir("srv/")
        .file("srv/hidden", "old")
        .bytes();
    let middle = Tar::new()
        .file("etc/.wh.gone", "")
        .dir("srv/")
        .file("srv/.wh..wh..opq", "")
        .file("srv/new", "new")
        .bytes();
    let top = Tar::new()
        .file("a", "one")
        .hard("b", "a")
        .link("c", "/etc/kept")
        .attributes(&[
            ("user.colour", b"red"),
            ("user.overlay.opaque", b"y"),
            ("trusted.overlay.redirect", b"/etc"),
        ])
        .file("d", "with attributes")
        .bytes();
    let built = build(
        &dir.path().join("built"),
        Platform::here(),
        &[bottom, middle, top],
    );
    let at = registry.name("team/app:1");
    assert!(built.push(&at, None, Settings::default()).await.unwrap() > 0);
    assert_eq!(
        built.push(&at, None, Settings::default()).await.unwrap(),
        0,
        "what is there is not sent again"
    );

    let client = client(dir.path());
    let inspected = client
        .inspect(&Reference::Registry(at.clone()), &want(Pull::Always))
        .await
        .unwrap();
    assert!(!inspected.here);
    assert_eq!(inspected.digest.as_deref(), Some(&*built.digest));

    let image = ensure(&client, &at, &want(Pull::IfNotPresent))
        .await
        .unwrap();
    assert_eq!(image.digest.as_deref(), Some(&*built.digest));
    assert_eq!(image.facts.entrypoint, ["/bin/tool", "run"]);
    assert_eq!(
        (image.facts.user.as_deref(), image.facts.workdir.as_deref()),
        (Some("1000:1000"), Some("/srv"))
    );
    assert!(image.fetched.is_some());
    let [bottom, middle, top] = &image.layers[..] else {
        panic!("{:?}", image.layers)
    };
    assert_eq!(fs::read_to_string(bottom.join("etc/kept")).unwrap(), "kept");
    let gone = fs::symlink_metadata(middle.join("etc/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    assert!(!exists(&middle.join("srv/.wh..wh..opq")) && exists(&middle.join("srv/new")));
    let attribute = |path: &std::path::Path, key: &str| {
        let mut value = [0; 64];
        rustix::fs::lgetxattr(path, key, &mut value)
            .ok()
            .map(|n| value[..n].to_vec())
    };
    assert_eq!(
        attribute(&middle.join("srv"), "user.overlay.opaque").as_deref(),
        Some(&b"y"[..])
    );
    let (a, b) = (
        fs::metadata(top.join("a")).unwrap(),
        fs::metadata(top.join("b")).unwrap(),
    );
    assert_eq!(
        (a.ino(), a.mtime(), a.permissions().mode() & 0o7777),
        (b.ino(), 1_700_000_000, 0o644)
    );
    assert_eq!(
        fs::read_link(top.join("c")).unwrap().to_str(),
        Some("/etc/kept")
    );
    assert_eq!(
        attribute(&top.join("d"), "user.colour").as_deref(),
        Some(&b"red"[..])
    );
    assert_eq!(
        attribute(&top.join("d"), "user.overlay.opaque"),
        None,
        "a layer may not speak overlay's words"
    );
    assert_eq!(attribute(&top.join("d"), "trusted.overlay.redirect"), None);

    let again = ensure(&client, &at, &want(Pull::Always)).await.unwrap();
    assert_eq!((again.fetched, &again.layers), (None, &image.layers));
    drop(registry);
    for pull in [Pull::IfNotPresent, Pull::Never] {
        assert_eq!(
            ensure(&client, &at, &want(pull)).await.unwrap().layers,
            image.layers,
            "{pull:?} asks nobody"
        );
    }
    let e = ensure(&client, &at, &want(Pull::Always)).await.unwrap_err();
    assert!(matches!(e, Error::Unreachable { .. }), "{e}");
}

#[tokio::test]
async fn never_is_an_error_where_the_image_is_not_here() {
    let dir = tempfile::tempdir().unwrap();
    let e = ensure(
        &client(dir.path()),
        &name("x.example/a:1"),
        &want(Pull::Never),
    )
    .await
    .unwrap_err();
    assert_eq!(
        e.to_string(),
        "image x.example/a:1 is not on this machine, and its pull policy is Never"
    );
    assert_eq!(e.kind(), Kind::Image);
}

#[tokio::test]
async fn a_registry_with_basic_auth() {
    let (dir, registry) = (tempfile::tempdir().unwrap(), Registry::with_login());
    let (at, _built) = push_noise(&registry, "priv/app:1", 1000).await;
    let client = client(dir.path());
    let with = |login: Option<Login>| Want {
        login,
        ..want(Pull::Always)
    };
    let e = ensure(&client, &at, &with(None)).await.unwrap_err();
    assert!(matches!(e, Error::LoginNeeded { .. }), "{e}");
    assert_eq!(e.kind(), Kind::Authentication);
    let e = ensure(&client, &at, &with(Some(login("tc", "wrong"))))
        .await
        .unwrap_err();
    assert!(
        matches!(&e, Error::LoginRefused { user, .. } if user == "tc"),
        "{e}"
    );
    let elsewhere = Login {
        server: Some("https://other.example/v2/".into()),
        ..login("tc", "tc-secret")
    };
    let e = ensure(&client, &at, &with(Some(elsewhere)))
        .await
        .unwrap_err();
    assert!(
        matches!(e, Error::LoginNeeded { .. }),
        "the login of another registry is not sent: {e}"
    );
    let image = ensure(&client, &at, &with(Some(login("tc", "tc-secret"))))
        .await
        .unwrap();
    assert_eq!(fs::read(image.layers[0].join("noise")).unwrap().len(), 1000);
    let e = ensure(
        &client,
        &registry.name("priv/none:1"),
        &with(Some(login("tc", "tc-secret"))),
    )
    .await
    .unwrap_err();
    assert_eq!(
        e.to_string(),
        format!("registry {0} has no image {0}/priv/none:1", registry.host)
    );
}

#[tokio::test]
async fn a_registry_with_bearer_tokens() {
    let (dir, registry) = (tempfile::tempdir().unwrap(), Registry::open());
    let (at, _built) = push_noise(&registry, "team/app:1", 1000).await;
    let front = Front::before(&registry.host, |seen| {
        if seen.line.starts_with("GET /token?") {
            // base64 of tc:tc-secret
            if seen.header("authorization").as_deref() != Some("Basic dGM6dGMtc2VjcmV0") {
                return Act::Answer(
                    "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                        .into(),
                );
            }
            assert!(
                seen.line.contains("scope=repository%3Ateam%2Fapp%3Apull&")
                    || seen.line.contains("scope=repository%3Ateam%2Fapp%3Apull "),
                "{}",
                seen.line
            );
            let body = r#"{"token":"sesame","expires_in":300}"#;
            return Act::Answer(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            ));
        }
        if seen.header("authorization").as_deref() == Some("Bearer sesame") {
            return Act::Forward;
        }
        let host = seen.header("host").unwrap_or_default();
        Act::Answer(format!(
            "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"reg\",scope=\"repository:team/app:pull\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ))
    });
    let at = name(&format!("{}/{}:1", front.host, at.repository));
    let client = client(dir.path());
    let e = ensure(&client, &at, &want(Pull::Always)).await.unwrap_err();
    assert!(matches!(e, Error::LoginNeeded { .. }), "{e}");
    let with = Want {
        login: Some(login("tc", "tc-secret")),
        ..want(Pull::Always)
    };
    ensure(&client, &at, &with).await.unwrap();
    let tokens = front
        .requests()
        .iter()
        .filter(|s| s.line.contains("/token?") && s.head.contains("Basic"))
        .count();
    assert_eq!(tokens, 1, "a token serves until it ends");
}

#[tokio::test]
async fn refusals_have_words_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    for (answer, kind, words) in [
        (
            "403 Forbidden\r\n",
            Kind::Authorization,
            "forbids anonymous users access to image",
        ),
        (
            "429 Too Many Requests\r\nRetry-After: 90\r\n",
            Kind::Connectivity,
            "it may be asked again in 90 s",
        ),
        ("404 Not Found\r\n", Kind::Image, "has no image"),
        ("502 Bad Gateway\r\n", Kind::Connectivity, "answered 502"),
    ] {
        let text = format!("HTTP/1.1 {answer}Content-Length: 0\r\nConnection: close\r\n\r\n");
        let front = Front::before("", move |_| Act::Answer(text.clone()));
        let e = ensure(
            &client(dir.path()),
            &name(&format!("{}/a/b:1", front.host)),
            &want(Pull::Always),
        )
        .await
        .unwrap_err();
        assert_eq!(e.kind(), kind, "{e}");
        assert!(
            e.to_string().contains(words) && e.to_string().contains("/a/b:1"),
            "{e}"
        );
    }
}

/// What passes is waited for: a manifest and a blob, each refused twice with the word of a registry that has too much to do.
#[tokio::test]
async fn a_registry_that_is_busy_for_a_moment_is_asked_again() {
    for answer in [
        "503 Service Unavailable\r\n",
        "429 Too Many Requests\r\nRetry-After: 0\r\n",
    ] {
        let (dir, registry) = (tempfile::tempdir().unwrap(), Registry::open());
        let (at, _built) = push_noise(&registry, "team/app:1", 1000).await;
        let text = format!("HTTP/1.1 {answer}Content-Length: 0\r\nConnection: close\r\n\r\n");
        let asked = Mutex::new(BTreeMap::<String, u32>::new());
        let front = Front::before(&registry.host, move |seen| {
            let path = seen.line.split(' ').nth(1).unwrap_or_default().to_owned();
            let mut asked = asked.lock().expect("not poisoned");
            let times = asked.entry(path).or_default();
            *times += 1;
            match *times {
                1..=2 => Act::Answer(text.clone()),
                _ => Act::Forward,
            }
        });
        let at = name(&format!("{}/{}:1", front.host, at.repository));
        let image = ensure(&client(dir.path()), &at, &want(Pull::Always)).await;
        let image = image.unwrap_or_else(|e| panic!("{answer}: {e}"));
        assert_eq!(image.layers.len(), 1, "{answer}");
    }
}

#[tokio::test]
async fn a_registry_that_is_silent_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let front = Front::before("", |_| Act::Silence);
    let settings = Settings {
        stall_timeout: Duration::from_millis(100),
        ..Settings::default()
    };
    let at = name(&format!("{}/a:1", front.host));
    let e = ensure(&client_with(dir.path(), settings), &at, &want(Pull::Always))
        .await
        .unwrap_err();
    assert_eq!(
        e.to_string(),
        format!(
            "registry {0} did not answer within 0.1 s for image {0}/a:1",
            front.host
        )
    );
    assert_eq!(e.kind(), Kind::Timeout);
}

#[tokio::test]
async fn a_cut_download_goes_on_where_it_was() {
    const LEN: usize = 3_000_000;
    let (dir, registry) = (tempfile::tempdir().unwrap(), Registry::open());
    let (at, _built) = push_noise(&registry, "team/app:1", LEN).await;
    let blobs = AtomicUsize::new(0);
    let front = Front::before(&registry.host, move |seen| {
        if !seen.line.contains("/blobs/") {
            return Act::Forward;
        }
        // The config comes first; then every answer is cut but the last.
        match blobs.fetch_add(1, Ordering::Relaxed) {
            1..=2 => Act::Cut(1_000_000),
            _ => Act::Forward,
        }
    });
    let at = name(&format!("{}/{}:1", front.host, at.repository));
    let image = ensure(&client(dir.path()), &at, &want(Pull::Always))
        .await
        .unwrap();
    assert_eq!(
        fs::read(image.layers[0].join("noise")).unwrap(),
        support::noise(LEN as u64, LEN)
    );
    let ranges: Vec<_> = front
        .requests()
        .iter()
        .filter_map(|s| s.header("range"))
        .collect();
    assert_eq!(ranges, ["bytes=1000000-", "bytes=2000000-"]);
}

#[tokio::test]
async fn a_pull_given_up_is_taken_up_by_the_next() {
    let (dir, registry) = (tempfile::tempdir().unwrap(), Registry::open());
    let (at, _built) = push_noise(&registry, "team/app:1", 3_000_000).await;
    let blobs = AtomicUsize::new(0);
    let front = Front::before(&registry.host, move |seen| {
        if !seen.line.contains("/blobs/") {
            return Act::Forward;
        }
        match blobs.fetch_add(1, Ordering::Relaxed) {
            1 => Act::Cut(1_000_000),
            2..=4 => Act::Cut(0),
            _ => Act::Forward,
        }
    });
    let at = name(&format!("{}/{}:1", front.host, at.repository));
    let e = ensure(&client(dir.path()), &at, &want(Pull::Always))
        .await
        .unwrap_err();
    assert!(matches!(e, Error::Unreachable { .. }), "{e}");
    let before = front.requests().len();
    ensure(&client(dir.path()), &at, &want(Pull::Always))
        .await
        .unwrap();
    let ranges: Vec<_> = front.requests()[before..]
        .iter()
        .filter_map(|s| s.header("range"))
        .collect();
    assert_eq!(ranges, ["bytes=1000000-"]);
    assert_eq!(
        fs::read_dir(dir.path().join("store/partial"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn what_is_not_what_it_says_is_refused() {
    let registry = Registry::open();
    let (at, _built) = push_noise(&registry, "team/app:1", 1000).await;
    for (part, nth, what) in [
        ("/manifests/", 0, "its manifest"),
        ("/blobs/", 0, "its config"),
        ("/blobs/", 1, "layer 1"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let count = AtomicUsize::new(0);
        let front = Front::before(&registry.host, move |seen| {
            if seen.line.contains(part) && count.fetch_add(1, Ordering::Relaxed) == nth {
                Act::Spoil
            } else {
                Act::Forward
            }
        });
        let at = name(&format!("{}/{}:1", front.host, at.repository));
        let e = ensure(&client(dir.path()), &at, &want(Pull::Always))
            .await
            .unwrap_err();
        // A changed byte of a gzip's end is its own checksum's first.
        let told = matches!(&e, Error::Digest { what: w, .. } if w == what)
            || matches!(e, Error::Layer { .. }) && nth == 1;
        assert!(told, "{what}: {e}");
        assert_eq!(e.kind(), Kind::Image);
        assert_eq!(
            fs::read_dir(dir.path().join("store/layers"))
                .unwrap()
                .count(),
            0
        );
        assert_eq!(
            fs::read_dir(dir.path().join("store/tmp")).unwrap().count(),
            0,
            "nothing half is left"
        );
    }
}

#[tokio::test]
async fn an_image_for_another_platform_says_so() {
    let (dir, registry) = (tempfile::tempdir().unwrap(), Registry::open());
    let other: Platform = "linux/s390x".parse().unwrap();
    let built = build(
        &dir.path().join("built"),
        other,
        &[Tar::new().file("a", "").bytes()],
    );
    let at = registry.name("team/app:1");
    built.push(&at, None, Settings::default()).await.unwrap();
    let e = ensure(&client(dir.path()), &at, &want(Pull::Always))
        .await
        .unwrap_err();
    let here = Platform::here();
    assert_eq!(
        e.to_string(),
        format!("image {at} is not for {here}, only for linux/s390x")
    );
    let mut it = want(Pull::Always);
    it.platform = "linux/s390x".parse().unwrap();
    ensure(&client(dir.path()), &at, &it).await.unwrap();
}

#[tokio::test]
async fn mirrors_come_first_and_may_fail() {
    let (dir, registry) = (tempfile::tempdir().unwrap(), Registry::open());
    let (_, _built) = push_noise(&registry, "hub/team/app:1", 1000).await;
    let dead = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    // The registry of that name does not exist; the first mirror is dead, the second has it below a path.
    let mirrors = vec![
        format!("http://{dead}"),
        format!("http://{}/hub", registry.host),
    ];
    let settings = Settings {
        mirrors: [("r.invalid".to_owned(), mirrors)].into(),
        ..Settings::default()
    };
    let client = client_with(dir.path(), settings);
    let mut with = want(Pull::Always);
    with.login = Some(login("tc", "tc-secret"));
    let image = ensure(&client, &name("r.invalid/team/app:1"), &with)
        .await
        .unwrap();
    assert_eq!(fs::read(image.layers[0].join("noise")).unwrap().len(), 1000);
    assert!(
        image.notes[0].contains(&format!("mirror {dead}: registry {dead} cannot be reached")),
        "{:?}",
        image.notes
    );

    // A mirror without the image falls back to the registry itself.
    let at = name(&format!("{}/hub/team/app:1", registry.host));
    let mirrors = vec![format!("http://{}/nothing", registry.host)];
    let settings = Settings {
        mirrors: [(registry.host.clone(), mirrors)].into(),
        ..Settings::default()
    };
    let image = ensure(&client_with(dir.path(), settings), &at, &with)
        .await
        .unwrap();
    assert!(image.notes[0].contains("has no image"), "{:?}", image.notes);
}

#[tokio::test]
async fn two_that_want_the_same_fetch_it_once() {
    let (dir, registry) = (tempfile::tempdir().unwrap(), Registry::open());
    let (at, built) = push_noise(&registry, "team/app:1", 2_000_000).await;
    let front = Front::before(&registry.host, |_| Act::Forward);
    let at = name(&format!("{}/{}:1", front.host, at.repository));
    // Two clients on two openings of the store share nothing but its files, as two processes do.
    let (one, two) = (client(dir.path()), client(dir.path()));
    let (a, b) = (want(Pull::Always), want(Pull::Always));
    let (first, second) = tokio::join!(ensure(&one, &at, &a), ensure(&two, &at, &b));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.layers, second.layers);
    let manifest = fs::read(
        built
            .path()
            .join("blobs/sha256")
            .join(&first.digest.unwrap()[7..]),
    )
    .unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
    let times = front
        .requests()
        .iter()
        .filter(|s| s.line.contains(&layer))
        .count();
    assert_eq!(times, 1);
}

#[tokio::test]
async fn a_blob_may_lie_elsewhere_but_the_login_stays_here() {
    let (dir, registry) = (tempfile::tempdir().unwrap(), Registry::open());
    let (at, _built) = push_noise(&registry, "team/app:1", 1000).await;
    let elsewhere = Front::before(&registry.host, |_| Act::Forward);
    let host = elsewhere.host.clone();
    let front = Front::before(&registry.host, move |seen| {
        let closed = "Content-Length: 0\r\nConnection: close\r\n\r\n";
        if seen.header("authorization").is_none() {
            let asks = "WWW-Authenticate: Basic realm=\"x\"";
            return Act::Answer(format!("HTTP/1.1 401 Unauthorized\r\n{asks}\r\n{closed}"));
        }
        let path = seen.line.split(' ').nth(1).unwrap_or_default();
        if path.contains("/blobs/") {
            let to = format!("Location: http://{host}{path}");
            return Act::Answer(format!(
                "HTTP/1.1 307 Temporary Redirect\r\n{to}\r\n{closed}"
            ));
        }
        Act::Forward
    });
    let at = name(&format!("{}/{}:1", front.host, at.repository));
    let with = Want {
        login: Some(login("tc", "tc-secret")),
        ..want(Pull::Always)
    };
    ensure(&client(dir.path()), &at, &with).await.unwrap();
    let seen = elsewhere.requests();
    assert_eq!(seen.len(), 2, "the config and the layer: {seen:?}");
    assert!(seen.iter().all(|s| s.header("authorization").is_none()));
}
