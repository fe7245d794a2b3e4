//! Layers as nobody meant them: any bytes are unpacked inside, or refused; nothing panics, nothing half stays.

mod support;

use std::fs;

use image::{Platform, Want};
use proptest::prelude::*;
use support::{Tar, build, client};

/// Something of every kind that unpacking knows, with links that lead out.
fn seed(out: &str) -> Vec<u8> {
    Tar::new()
        .dir("d/")
        .file("d/f", "some text")
        .hard("d/h", "d/f")
        .link("l", out)
        .link("up", "../../../..")
        .file("up/g", "more")
        .file("d/.wh.x", "")
        .dir("o/")
        .file("o/.wh..wh..opq", "")
        .attributes(&[("user.a", b"b")])
        .file("x", "last")
        .bytes()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_layer_stays_inside(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(out.path().join("victim"), "untouched").unwrap();
        let mut layer = seed(&out.path().display().to_string());
        for (at, byte) in changes {
            let at = at.index(layer.len());
            layer[at] = byte;
            // A header whose sum is wrong is not even looked at: put it right, so that what it says is.
            let header = at / 512 * 512;
            let sum: u32 = (0..512)
                .map(|i| if (148..156).contains(&i) { 32 } else { u32::from(layer[header + i]) })
                .sum();
            layer[header + 148..header + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        if !whole {
            layer.truncate(cut.index(layer.len()));
        }
        let built = build(&dir.path().join("built"), Platform::here(), &[layer]);
        let client = client(dir.path());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let reference = format!("oci:{}", built.dir.display()).parse().unwrap();
        let done = runtime.block_on(client.ensure(&reference, &Want::default(), &|_| ()));
        let layers = fs::read_dir(dir.path().join("store/layers")).unwrap().count();
        prop_assert_eq!(layers, usize::from(done.is_ok()));
        prop_assert_eq!(fs::read_dir(dir.path().join("store/tmp")).unwrap().count(), 0);
        prop_assert_eq!(fs::read_to_string(out.path().join("victim")).unwrap(), "untouched");
        prop_assert_eq!(fs::read_dir(out.path()).unwrap().count(), 1);
    }
}
