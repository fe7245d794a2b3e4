//! Numbers as people read them.

/// A span of time: `0ms`, `412ms`, `1.2s`, `41s`, `1m 05s`, `2h 03m`, `3d 04h`.
pub(crate) fn took(ms: u64) -> String {
    let s = ms / 1000;
    match ms {
        0..1000 => format!("{ms}ms"),
        1000..10_000 => format!("{}.{}s", s, ms % 1000 / 100),
        10_000..60_000 => format!("{s}s"),
        60_000..3_600_000 => format!("{}m {:02}s", s / 60, s % 60),
        3_600_000..172_800_000 => format!("{}h {:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d {:02}h", s / 86_400, s / 3600 % 24),
    }
}

/// A span of time that still grows: whole seconds, so that the eye is drawn to what changes, not to a counter.
pub(crate) fn running(ms: u64) -> String {
    if ms < 60_000 {
        format!("{}s", ms / 1000)
    } else {
        took(ms)
    }
}

/// An amount of memory: `512 B`, `1.5 KiB`, `12.3 MiB`, `640 MiB`, `2.0 GiB`.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(value < 99.95);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// `1 step`, `2 steps`, `1,234 lines`.
pub(crate) fn count(n: u64, thing: &str) -> String {
    let plural = match thing {
        _ if n == 1 => String::new(),
        _ if thing.ends_with("ch") || thing.ends_with('s') => "es".to_owned(),
        _ => "s".to_owned(),
    };
    format!("{} {thing}{plural}", grouped(n))
}

/// `1,234,567`.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let seen: Vec<_> = [
            0,
            999,
            1000,
            1290,
            9999,
            10_500,
            59_999,
            60_000,
            65_000,
            3_600_000,
            7_380_000,
            172_799_999,
            172_800_000,
        ]
        .map(took)
        .into();
        assert_eq!(
            seen,
            [
                "0ms", "999ms", "1.0s", "1.2s", "9.9s", "10s", "59s", "1m 00s", "1m 05s", "1h 00m",
                "2h 03m", "47h 59m", "2d 00h"
            ]
        );
        assert_eq!(running(900), "0s");
        assert_eq!(running(61_000), "1m 01s");
    }

    #[test]
    fn amounts() {
        let seen: Vec<_> = [
            0,
            1023,
            1024,
            1536,
            12_897_485,
            671_088_640,
            1_073_741_823,
            2_147_483_648,
        ]
        .map(bytes)
        .into();
        assert_eq!(
            seen,
            [
                "0 B", "1023 B", "1.0 KiB", "1.5 KiB", "12.3 MiB", "640 MiB", "1.0 GiB", "2.0 GiB"
            ]
        );
    }

    #[test]
    fn counts() {
        assert_eq!(count(0, "step"), "0 steps");
        assert_eq!(count(1, "step"), "1 step");
        assert_eq!(count(2, "match"), "2 matches");
        assert_eq!(count(1_234_567, "line"), "1,234,567 lines");
    }
}
