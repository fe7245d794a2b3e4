//! A wall clock that is off by what a file says: a library before the machine's own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::Home;

const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t id, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(id, at);
    if (id == CLOCK_REALTIME && done == 0) {
        FILE *file = fopen(getenv("CLOCK_IS_OFF_BY"), "r");
        long long seconds = 0;
        if (file) {
            if (fscanf(file, "%lld", &seconds) == 1) at->tv_sec += seconds;
            fclose(file);
        }
    }
    return done;
}
"#;

/// It.
pub(crate) struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    pub(crate) fn new(home: &Home) -> Self {
        let source = home.write("clock.c", CLOCK);
        let library = home.path().join("clock.so");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(&source)
            .arg("-ldl")
            .status()
            .expect("a C compiler, which linking Rust needs too");
        assert!(built.success());
        let clock = Self {
            library,
            file: home.path().join("offset"),
        };
        clock.jump(0);
        clock
    }

    /// The clock is off by so many seconds from here on.
    pub(crate) fn jump(&self, seconds: i64) {
        // Replaced as a whole: who reads at this moment reads one or the other.
        let early = self.file.with_extension("early");
        fs::write(&early, seconds.to_string()).expect("a file");
        fs::rename(&early, &self.file).expect("renamed");
    }

    /// A command goes by it.
    pub(crate) fn set(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("CLOCK_IS_OFF_BY", &self.file);
    }
}
