//! libFuzzer around the target that `STEPYARD_FUZZ_TARGET` names: one binary, linked once, for all of them.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

static CHECK: OnceLock<fn(&[u8])> = OnceLock::new();

fuzz_target!(
    init: {
        let name = std::env::var("STEPYARD_FUZZ_TARGET").expect("STEPYARD_FUZZ_TARGET names a target");
        let check = fuzz_targets::target(&name).expect("there is such a target");
        CHECK.set(check).expect("set once");
    },
    |data: &[u8]| {
        CHECK.get().expect("set at the start")(data);
    }
);
